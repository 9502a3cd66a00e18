import Codecs

/// Messages of protocol buffers as data: a table of fields in place of a type for each message, and `JSON` as the value
/// of all of them (members by the field's name, enumerations as numbers, bytes as base64, maps and messages as objects).
///
/// The table is text, a message per line: `Name field=NUMBERtype ...` with the types `s` string, `b` bool, `i` signed
/// integers and enumerations, `u` unsigned integers, `d` double, `y` bytes, `m` map of strings, `:Name` a message, and a
/// `*` before the type where the field is repeated. Only proto3, where what is absent is zero, false or empty.
///
///     let table = try ProtobufTable("Device ID=1s health=2s topology=3:Topology\nTopology nodes=1*:Node\n...")
///     let device = try table.decode("Device", bytes)     // device["ID"].string
///
/// Source: protobuf.dev/programming-guides/encoding.
package struct ProtobufTable: Sendable {
    enum Kind: Sendable, Equatable {
        case string, bool, int, uint, double, bytes, map
        case message(Int)
    }

    struct Field: Sendable {
        var name: String
        var number: Int
        var kind: Kind
        var repeated: Bool
    }

    private(set) var numbers: [String: Int] = [:]
    /// Fields in the order of their numbers.
    private(set) var messages: [[Field]] = []

    private static let depthLimit = 32
    /// Values in one message, for a few bytes on the wire may become a hundred in memory.
    private static let valueLimit = 1 << 20

    package init(_ text: String) throws(ProtobufError) {
        let lines = text.split(separator: "\n").map { $0.split(separator: " ") }.filter { !$0.isEmpty }
        for (index, line) in lines.enumerated() { numbers[String(line[0])] = index }
        for line in lines {
            var fields: [Field] = []
            for word in line.dropFirst() {
                guard let equals = word.firstIndex(of: "=") else {
                    throw ProtobufError("table: \"\(word)\": no number")
                }
                var rest = word[word.index(after: equals)...]
                let digits = rest.prefix { $0.isNumber }
                rest = rest.dropFirst(digits.count)
                guard let number = Int(digits) else { throw ProtobufError("table: \"\(word)\": no number") }
                let repeated = rest.first == "*"
                if repeated { rest = rest.dropFirst() }
                guard let kind = kind(rest) else { throw ProtobufError("table: \"\(word)\": unknown type \"\(rest)\"") }
                fields.append(Field(name: String(word[..<equals]), number: number, kind: kind, repeated: repeated))
            }
            messages.append(fields.sorted { $0.number < $1.number })
        }
    }

    private func kind(_ text: Substring) -> Kind? {
        switch text {
        case "s": .string
        case "b": .bool
        case "i": .int
        case "u": .uint
        case "d": .double
        case "y": .bytes
        case "m": .map
        default: text.first == ":" ? numbers[String(text.dropFirst())].map { .message($0) } : nil
        }
    }

    package func has(_ message: String) -> Bool { numbers[message] != nil }

    // MARK: - Decoding

    /// Fields that the table does not know are passed over, as every reader of protobuf does.
    package func decode(_ message: String, _ bytes: [UInt8]) throws(ProtobufError) -> JSON {
        guard let number = numbers[message] else { throw ProtobufError("unknown message \(message)") }
        var budget = Self.valueLimit
        return try decode(number, bytes[...], 0, &budget)
    }

    private func decode(
        _ message: Int, _ bytes: ArraySlice<UInt8>, _ depth: Int, _ budget: inout Int
    ) throws(ProtobufError) -> JSON {
        guard depth < Self.depthLimit else { throw ProtobufError("proto: messages are nested too deeply") }
        let fields = messages[message]
        var values: [JSON] = Array(repeating: .null, count: fields.count)
        var lists: [[JSON]?] = Array(repeating: nil, count: fields.count)
        var maps: [Int: [String: String]] = [:]
        var reader = ProtobufReader(bytes)
        while let (number, value) = try reader.next() {
            budget -= 1
            guard budget >= 0 else { throw ProtobufError("proto: too many values in one message") }
            guard let index = fields.firstIndex(where: { $0.number == number }) else { continue }
            let field = fields[index]
            if case .map = field.kind {
                let (key, text) = try entry(value, field)
                maps[index, default: [:]][key] = text
            } else if field.repeated {
                if case .bytes(let packed) = value, let list = try unpacked(packed, field, &budget) {
                    lists[index] = (lists[index] ?? []) + list
                } else {
                    let element = try decode(value, field, depth, &budget)
                    if lists[index]?.append(element) == nil { lists[index] = [element] }
                }
            } else {
                values[index] = try decode(value, field, depth, &budget)
            }
        }
        var object = JSONObject()
        for (index, field) in fields.enumerated() {
            if let map = maps[index] {
                object.append(field.name, .map(map))
            } else if let list = lists[index] {
                object.append(field.name, .array(list))
            } else if !values[index].isNull {
                object.append(field.name, values[index])
            }
        }
        return .object(object)
    }

    private func decode(
        _ value: ProtobufReader.Value, _ field: Field, _ depth: Int, _ budget: inout Int
    ) throws(ProtobufError) -> JSON {
        switch (field.kind, value) {
        case (.string, .bytes(let bytes)): return .string(try text(bytes, field))
        case (.bytes, .bytes(let bytes)): return .string(Base64.encode(Array(bytes)))
        case (.bool, .varint(let number)): return .bool(number != 0)
        case (.int, .varint(let number)): return .int(Int64(bitPattern: number))
        case (.uint, .varint(let number)): return .int(Int64(clamping: number))
        case (.double, .fixed64(let bits)): return .double(Double(bitPattern: bits))
        case (.message(let message), .bytes(let bytes)): return try decode(message, bytes, depth + 1, &budget)
        default: throw ProtobufError("proto: wrong wireType for field \(field.name)")
        }
    }

    private func text(_ bytes: ArraySlice<UInt8>, _ field: Field) throws(ProtobufError) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ProtobufError("string field \(field.name) contains invalid UTF-8")
        }
        return text
    }

    private func entry(_ value: ProtobufReader.Value, _ field: Field) throws(ProtobufError) -> (String, String) {
        guard case .bytes(let bytes) = value else {
            throw ProtobufError("proto: wrong wireType for field \(field.name)")
        }
        var reader = ProtobufReader(bytes)
        var (key, content) = ("", "")
        while let (number, value) = try reader.next() {
            guard case .bytes(let bytes) = value else { continue }
            if number == 1 { key = try text(bytes, field) }
            if number == 2 { content = try text(bytes, field) }
        }
        return (key, content)
    }

    /// Numbers of a repeated field in one piece; nil for fields whose values are bytes themselves.
    private func unpacked(
        _ bytes: ArraySlice<UInt8>, _ field: Field, _ budget: inout Int
    ) throws(ProtobufError) -> [JSON]? {
        guard field.kind == .int || field.kind == .uint || field.kind == .bool else { return nil }
        var list: [JSON] = []
        var (value, shift): (UInt64, UInt64) = (0, 0)
        for byte in bytes {
            guard shift < 64 else { throw ProtobufError("proto: integer overflow") }
            value |= UInt64(byte & 0x7F) << shift
            shift += 7
            if byte & 0x80 != 0 { continue }
            budget -= 1
            guard budget >= 0 else { throw ProtobufError("proto: too many values in one message") }
            list.append(field.kind == .bool ? .bool(value != 0) : .int(Int64(bitPattern: value)))
            (value, shift) = (0, 0)
        }
        guard shift == 0 else { throw ProtobufError("unexpected EOF") }
        return list
    }

    // MARK: - Encoding

    /// Members that the table does not know are an error of the program, and said so.
    package func encode(_ message: String, _ value: JSON) throws(ProtobufError) -> [UInt8] {
        guard let number = numbers[message] else { throw ProtobufError("unknown message \(message)") }
        return try encode(number, value, message)
    }

    private func encode(_ message: Int, _ value: JSON, _ path: String) throws(ProtobufError) -> [UInt8] {
        guard let object = value.object else { throw ProtobufError("\(path): expected an object") }
        let fields = messages[message]
        if let stranger = object.members.first(where: { member in !fields.contains { $0.name == member.key } }) {
            throw ProtobufError("\(path).\(stranger.key): no such field")
        }
        var writer = ProtobufWriter()
        for field in fields {
            guard let value = object[field.name], !value.isNull else { continue }
            let place = path + "." + field.name
            if field.kind == .map {
                for (key, text) in value.stringMap.sorted(by: { $0.key < $1.key }) {
                    writer.message(UInt32(field.number)) { entry in
                        entry.element(1, key)
                        entry.element(2, text)
                    }
                }
            } else if field.repeated {
                try encode(list: value.elements, field, place, &writer)
            } else {
                try encode(value, field, place, &writer)
            }
        }
        return writer.bytes
    }

    private func encode(
        _ value: JSON, _ field: Field, _ place: String, _ writer: inout ProtobufWriter
    ) throws(ProtobufError) {
        let number = UInt32(field.number)
        switch (field.kind, value) {
        case (.string, .string(let text)): writer.string(number, text)
        case (.bool, .bool(let flag)): writer.bool(number, flag)
        case (.int, .int(let count)), (.uint, .int(let count)): writer.int(number, count)
        case (.double, _): writer.double(number, value.double ?? 0)
        case (.bytes, .string(let text)):
            guard let bytes = Base64.decode(text) else { throw ProtobufError("\(place): expected base64") }
            if !bytes.isEmpty { writer.bytes(number, bytes) }
        case (.message(let message), _): writer.bytes(number, try encode(message, value, place))
        default: throw ProtobufError("\(place): a value of another type")
        }
    }

    private func encode(
        list: [JSON], _ field: Field, _ place: String, _ writer: inout ProtobufWriter
    ) throws(ProtobufError) {
        let number = UInt32(field.number)
        switch field.kind {
        case .int, .uint, .bool:
            guard !list.isEmpty else { return }
            var packed: [UInt8] = []
            for element in list {
                var rest = UInt64(bitPattern: element.int ?? (element.bool == true ? 1 : 0))
                while rest > 0x7F {
                    packed.append(UInt8(truncatingIfNeeded: rest & 0x7F | 0x80))
                    rest >>= 7
                }
                packed.append(UInt8(truncatingIfNeeded: rest))
            }
            writer.bytes(number, packed)
        case .string: for element in list { writer.element(number, element.string ?? "") }
        default:
            for element in list {
                switch (field.kind, element) {
                case (.message(let message), _): writer.bytes(number, try encode(message, element, place))
                case (.bytes, .string(let text)): writer.bytes(number, Base64.decode(text) ?? [])
                default: throw ProtobufError("\(place): a value of another type")
                }
            }
        }
    }
}
