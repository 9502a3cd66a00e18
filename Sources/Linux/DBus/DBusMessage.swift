/// A message of D-Bus, as much of it as logind and systemd need. Little endian is written, both are read.
/// Source: the D-Bus specification 0.43, "Message Format" and "Marshaling".
package struct DBusMessage: Sendable, Equatable {
    package enum Kind: UInt8, Sendable {
        case call = 1
        case answer = 2
        case error = 3
        case signal = 4
    }
    package enum Value: Sendable, Equatable {
        case string(String)
        case objectPath(String)
        case signature(String)
        case byte(UInt8)
        case bool(Bool)
        case uint32(UInt32)
        case uint64(UInt64)
        case int32(Int32)
        /// An index into the descriptors that came with the message.
        case descriptor(UInt32)
        indirect case variant(Value)
        /// Of elements with this signature.
        indirect case array(String, [Value])
        indirect case structure([Value])

        var signature: String {
            switch self {
            case .string: "s"
            case .objectPath: "o"
            case .signature: "g"
            case .byte: "y"
            case .bool: "b"
            case .uint32: "u"
            case .uint64: "t"
            case .int32: "i"
            case .descriptor: "h"
            case .variant: "v"
            case .array(let element, _): "a" + element
            case .structure(let members): "(" + members.map(\.signature).joined() + ")"
            }
        }
    }

    /// Where a value of a type begins: at a multiple of this.
    private static func alignment(_ type: UInt8?) -> Int {
        switch type {
        case UInt8(ascii: "("), UInt8(ascii: "{"), UInt8(ascii: "t"), UInt8(ascii: "x"), UInt8(ascii: "d"): 8
        case UInt8(ascii: "y"), UInt8(ascii: "g"), UInt8(ascii: "v"): 1
        case UInt8(ascii: "n"), UInt8(ascii: "q"): 2
        default: 4
        }
    }

    package var kind = Kind.call
    package var serial: UInt32 = 1
    /// By the numbers of the specification: 1 path, 2 interface, 3 member, 4 error name, 5 reply serial, 6 destination,
    /// 7 sender, 8 signature, 9 number of descriptors.
    package var fields: [UInt8: Value] = [:]
    package var body: [Value] = []

    package init(_ kind: Kind = .call) { self.kind = kind }

    package static func call(
        _ member: String, on path: String, _ interface: String, at destination: String, _ body: [Value] = []
    ) -> DBusMessage {
        var message = DBusMessage()
        message.fields = [
            1: .objectPath(path), 2: .string(interface), 3: .string(member), 6: .string(destination),
        ]
        message.body = body
        return message
    }

    package var member: String { text(3) }
    package var path: String { text(1) }
    package var interface: String { text(2) }
    package var errorName: String { text(4) }
    /// Of the call that this answers.
    package var answers: UInt32? {
        if case .uint32(let serial)? = fields[5] { serial } else { nil }
    }
    private func text(_ field: UInt8) -> String {
        switch fields[field] {
        case .string(let text), .objectPath(let text): text
        default: ""
        }
    }

    // MARK: Writing

    package func encoded() -> [UInt8] {
        var content = Writer()
        for value in body { content.append(value) }
        var fields = fields
        if !body.isEmpty { fields[8] = .signature(body.map(\.signature).joined()) }
        var writer = Writer()
        writer.bytes = [UInt8(ascii: "l"), kind.rawValue, 0, 1]
        writer.append(UInt32(content.bytes.count))
        writer.append(serial)
        var list = Writer(base: 16)
        for (code, value) in fields.sorted(by: { $0.key < $1.key }) {
            list.align(8)
            list.bytes.append(code)
            list.append(.variant(value))
        }
        writer.append(UInt32(list.bytes.count))
        writer.bytes += list.bytes
        writer.align(8)
        return writer.bytes + content.bytes
    }

    private struct Writer {
        var bytes: [UInt8] = []
        /// Where the first byte stands in the message; the body begins at a multiple of eight.
        var base = 0
        mutating func align(_ size: Int) {
            while (base + bytes.count) % size != 0 { bytes.append(0) }
        }
        mutating func append<T: FixedWidthInteger>(_ number: T) {
            align(T.bitWidth / 8)
            withUnsafeBytes(of: number.littleEndian) { bytes.append(contentsOf: $0) }
        }
        mutating func append(_ value: Value) {
            switch value {
            case .string(let text), .objectPath(let text):
                append(UInt32(text.utf8.count))
                bytes += Array(text.utf8) + [0]
            case .signature(let text): bytes += [UInt8(truncatingIfNeeded: text.utf8.count)] + Array(text.utf8) + [0]
            case .byte(let number): bytes.append(number)
            case .bool(let flag): append(UInt32(flag ? 1 : 0))
            case .uint32(let number), .descriptor(let number): append(number)
            case .uint64(let number): append(number)
            case .int32(let number): append(number)
            case .variant(let inner):
                append(.signature(inner.signature))
                append(inner)
            case .array(let element, let values):
                append(UInt32(0))
                let count = bytes.count - 4
                // The padding before the first element does not count.
                align(DBusMessage.alignment(element.utf8.first))
                let start = bytes.count
                for value in values { append(value) }
                withUnsafeBytes(of: UInt32(bytes.count - start).littleEndian) { length in
                    for (index, byte) in length.enumerated() { bytes[count + index] = byte }
                }
            case .structure(let members):
                align(8)
                for member in members { append(member) }
            }
        }
    }

    // MARK: Reading

    package struct Malformed: Error, Equatable {}
    /// Their messages are small.
    static let limit = 1 << 20
    private static let arrayLimit = 1 << 16

    /// The length of the message that begins with `bytes`; nil: more is needed to know.
    package static func length(_ bytes: ArraySlice<UInt8>) throws(Malformed) -> Int? {
        guard bytes.count >= 16 else { return nil }
        var reader = try Reader(bytes)
        reader.at = 4
        let body = Int(clamping: try reader.number(UInt32.self))
        reader.at = 12
        let fields = Int(clamping: try reader.number(UInt32.self))
        guard body <= limit, fields <= limit else { throw Malformed() }
        return (16 + fields + 7) / 8 * 8 + body
    }

    package init(decoding bytes: ArraySlice<UInt8>) throws(Malformed) {
        guard let length = try Self.length(bytes), bytes.count >= length,
            let kind = Kind(rawValue: bytes[bytes.startIndex + 1])
        else { throw Malformed() }
        self.kind = kind
        var reader = try Reader(bytes.prefix(length))
        reader.at = 8
        serial = try reader.number(UInt32.self)
        let end = 16 + Int(clamping: try reader.number(UInt32.self))
        while reader.at < end {
            try reader.align(8)
            let code = try reader.byte()
            var type = Array("v".utf8)[...]
            guard case .variant(let value)? = try reader.value(&type) else { continue }
            fields[code] = value
        }
        guard case .signature(let signature)? = fields[8] else { return }
        try reader.align(8)
        var types = Array(signature.utf8)[...]
        while !types.isEmpty {
            // What follows a type that is not known here cannot be found.
            guard let value = try reader.value(&types) else { break }
            body.append(value)
        }
    }

    private struct Reader {
        let bytes: [UInt8]
        let isBig: Bool
        var at = 0
        init(_ slice: ArraySlice<UInt8>) throws(Malformed) {
            bytes = Array(slice)
            guard let first = bytes.first, first == UInt8(ascii: "l") || first == UInt8(ascii: "B") else {
                throw Malformed()
            }
            isBig = first == UInt8(ascii: "B")
        }
        mutating func align(_ size: Int) throws(Malformed) {
            at = (at + size - 1) / size * size
            guard at <= bytes.count else { throw Malformed() }
        }
        mutating func byte() throws(Malformed) -> UInt8 {
            guard at < bytes.count else { throw Malformed() }
            defer { at += 1 }
            return bytes[at]
        }
        mutating func number<T: FixedWidthInteger>(_ type: T.Type) throws(Malformed) -> T {
            let size = T.bitWidth / 8
            try align(size)
            guard at + size <= bytes.count else { throw Malformed() }
            defer { at += size }
            let raw = bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: at, as: T.self) }
            return isBig ? T(bigEndian: raw) : T(littleEndian: raw)
        }
        mutating func text(_ count: Int) throws(Malformed) -> String {
            guard count >= 0, count <= DBusMessage.limit, at + count + 1 <= bytes.count else { throw Malformed() }
            defer { at += count + 1 }
            return String(decoding: bytes[at..<(at + count)], as: UTF8.self)
        }
        /// The value of the first complete type of `types`, which is taken off; nil: a type that is not known here.
        mutating func value(_ types: inout ArraySlice<UInt8>, depth: Int = 0) throws(Malformed) -> Value? {
            guard depth < 8, let type = types.popFirst() else { throw Malformed() }
            switch type {
            case UInt8(ascii: "s"): return .string(try text(Int(clamping: try number(UInt32.self))))
            case UInt8(ascii: "o"): return .objectPath(try text(Int(clamping: try number(UInt32.self))))
            case UInt8(ascii: "g"): return .signature(try text(Int(try byte())))
            case UInt8(ascii: "y"): return .byte(try byte())
            case UInt8(ascii: "b"): return .bool(try number(UInt32.self) != 0)
            case UInt8(ascii: "u"): return .uint32(try number(UInt32.self))
            case UInt8(ascii: "t"): return .uint64(try number(UInt64.self))
            case UInt8(ascii: "i"): return .int32(try number(Int32.self))
            case UInt8(ascii: "h"): return .descriptor(try number(UInt32.self))
            case UInt8(ascii: "v"):
                var inner = Array(try text(Int(try byte())).utf8)[...]
                guard !inner.isEmpty else { throw Malformed() }
                return try value(&inner, depth: depth + 1).map { .variant($0) }
            case UInt8(ascii: "a"): return try array(&types, depth: depth)
            case UInt8(ascii: "("), UInt8(ascii: "{"):
                try align(8)
                var members: [Value] = []
                while let next = types.first, next != UInt8(ascii: ")"), next != UInt8(ascii: "}") {
                    guard let member = try value(&types, depth: depth + 1) else { return nil }
                    members.append(member)
                }
                guard types.popFirst() != nil else { throw Malformed() }
                return .structure(members)
            default: return nil
            }
        }

        private mutating func array(_ types: inout ArraySlice<UInt8>, depth: Int) throws(Malformed) -> Value? {
            let size = Int(clamping: try number(UInt32.self))
            let element = try DBusMessage.complete(types)
            types.removeFirst(element.count)
            try align(DBusMessage.alignment(element.first))
            guard size <= DBusMessage.arrayLimit, at + size <= bytes.count else { throw Malformed() }
            let end = at + size
            var values: [Value] = []
            while at < end {
                let before = at
                var type = element
                guard let value = try value(&type, depth: depth + 1) else { return nil }
                guard at > before else { throw Malformed() }
                values.append(value)
            }
            guard at == end else { throw Malformed() }
            return .array(String(decoding: element, as: UTF8.self), values)
        }
    }

    /// The first complete type of a signature.
    private static func complete(_ types: ArraySlice<UInt8>) throws(Malformed) -> ArraySlice<UInt8> {
        var depth = 0
        for index in types.indices {
            switch types[index] {
            case UInt8(ascii: "("), UInt8(ascii: "{"): depth += 1
            case UInt8(ascii: ")"), UInt8(ascii: "}"): depth -= 1
            default: break
            }
            if depth < 0 { break }
            if depth == 0, types[index] != UInt8(ascii: "a") { return types[...index] }
        }
        throw Malformed()
    }
}
