/// Protocol buffers' wire format, read only as far as a message goes. Source: protobuf.dev/programming-guides/encoding.
package struct ProtobufError: Error, Sendable, Equatable, CustomStringConvertible {
    package var message: String
    package var description: String { message }
    package init(_ message: String) { self.message = message }
}

/// Fields of one message, in the order in which they stand. Never reads beyond its bytes, never allocates for a length
/// that is not there.
package struct ProtobufReader {
    package enum Value {
        case varint(UInt64)
        case fixed64(UInt64)
        case fixed32(UInt32)
        case bytes(ArraySlice<UInt8>)
    }

    private let bytes: ArraySlice<UInt8>
    private var at: Int

    package init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        at = bytes.startIndex
    }

    /// The next field; nil at the end.
    package mutating func next() throws(ProtobufError) -> (number: Int, value: Value)? {
        guard at < bytes.endIndex else { return nil }
        let tag = try varint()
        guard tag >> 3 > 0, tag >> 3 < 1 << 29 else { throw ProtobufError("proto: illegal tag \(tag >> 3)") }
        let number = Int(tag >> 3)
        switch tag & 7 {
        case 0: return (number, .varint(try varint()))
        case 1: return (number, .fixed64(try fixed(8)))
        case 2:
            let length = try varint()
            guard length <= UInt64(bytes.endIndex - at) else { throw ProtobufError("unexpected EOF") }
            defer { at += Int(length) }
            return (number, .bytes(bytes[at..<at + Int(length)]))
        case 5: return (number, .fixed32(UInt32(truncatingIfNeeded: try fixed(4))))
        default: throw ProtobufError("proto: illegal wireType \(tag & 7)")
        }
    }

    private mutating func varint() throws(ProtobufError) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while at < bytes.endIndex {
            let byte = bytes[at]
            at += 1
            guard shift < 63 || byte <= 1 else { throw ProtobufError("proto: integer overflow") }
            value |= UInt64(byte & 0x7F) << shift
            if byte & 0x80 == 0 { return value }
            shift += 7
        }
        throw ProtobufError("unexpected EOF")
    }

    private mutating func fixed(_ count: Int) throws(ProtobufError) -> UInt64 {
        guard count <= bytes.endIndex - at else { throw ProtobufError("unexpected EOF") }
        var value: UInt64 = 0
        for i in 0..<count { value |= UInt64(bytes[at + i]) << UInt64(8 * i) }
        at += count
        return value
    }
}
