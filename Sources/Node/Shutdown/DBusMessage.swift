/// A message of D-Bus, as much of it as logind needs. Little endian is written, both are read.
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
        case bool(Bool)
        case uint32(UInt32)
        case uint64(UInt64)
        case int32(Int32)
        /// An index into the descriptors that came with the message.
        case descriptor(UInt32)
        indirect case variant(Value)

        var signature: String {
            switch self {
            case .string: "s"
            case .objectPath: "o"
            case .signature: "g"
            case .bool: "b"
            case .uint32: "u"
            case .uint64: "t"
            case .int32: "i"
            case .descriptor: "h"
            case .variant: "v"
            }
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
            case .bool(let flag): append(UInt32(flag ? 1 : 0))
            case .uint32(let number), .descriptor(let number): append(number)
            case .uint64(let number): append(number)
            case .int32(let number): append(number)
            case .variant(let inner):
                append(.signature(inner.signature))
                append(inner)
            }
        }
    }

    // MARK: Reading

    package struct Malformed: Error, Equatable {}
    /// logind's messages are small.
    static let limit = 1 << 20

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
            guard case .variant(let value)? = try reader.value("v") else { continue }
            fields[code] = value
        }
        guard case .signature(let signature)? = fields[8] else { return }
        try reader.align(8)
        for type in signature {
            // What follows a type that is not known here cannot be found.
            guard let value = try reader.value(type) else { break }
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
        mutating func value(_ type: Character, depth: Int = 0) throws(Malformed) -> Value? {
            guard depth < 8 else { throw Malformed() }
            switch type {
            case "s": return .string(try text(Int(clamping: try number(UInt32.self))))
            case "o": return .objectPath(try text(Int(clamping: try number(UInt32.self))))
            case "g": return .signature(try text(Int(try byte())))
            case "b": return .bool(try number(UInt32.self) != 0)
            case "u": return .uint32(try number(UInt32.self))
            case "t": return .uint64(try number(UInt64.self))
            case "i": return .int32(try number(Int32.self))
            case "h": return .descriptor(try number(UInt32.self))
            case "v":
                guard case .signature(let inner)? = try value("g", depth: depth + 1), let first = inner.first else {
                    throw Malformed()
                }
                guard let content = try value(first, depth: depth + 1) else { throw Malformed() }
                return .variant(content)
            default: return nil
            }
        }
    }
}
