/// Protocol buffers' wire format, written. Scalars that are zero or empty are left out, as proto3 has it; messages are
/// written even when they are empty, for their presence says something.
/// Source: protobuf.dev/programming-guides/encoding.
package struct ProtobufWriter: Sendable {
    package private(set) var bytes: [UInt8] = []

    package init() {}

    package mutating func string(_ number: UInt32, _ text: String?) {
        guard let text, !text.isEmpty else { return }
        self.bytes(number, text.utf8)
    }

    /// Also the empty string: an element of a repeated field.
    package mutating func element(_ number: UInt32, _ text: String) { bytes(number, text.utf8) }

    package mutating func bytes(_ number: UInt32, _ content: some Collection<UInt8>) {
        tag(number, wireType: 2)
        varint(UInt64(content.count))
        bytes.append(contentsOf: content)
    }

    package mutating func bool(_ number: UInt32, _ flag: Bool) {
        guard flag else { return }
        tag(number, wireType: 0)
        bytes.append(1)
    }

    package mutating func int(_ number: UInt32, _ value: Int64) {
        guard value != 0 else { return }
        tag(number, wireType: 0)
        varint(UInt64(bitPattern: value))
    }

    package mutating func double(_ number: UInt32, _ value: Double) {
        // By bits: a negative zero is not left out.
        guard value.bitPattern != 0 else { return }
        tag(number, wireType: 1)
        for shift in stride(from: 0, to: 64, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: value.bitPattern >> UInt64(shift)))
        }
    }

    /// Also zero: proto2's explicit presence.
    package mutating func present(_ number: UInt32, _ value: Int64) {
        tag(number, wireType: 0)
        varint(UInt64(bitPattern: value))
    }

    package mutating func presentDouble(_ number: UInt32, _ value: Double) {
        tag(number, wireType: 1)
        for shift in stride(from: 0, to: 64, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: value.bitPattern >> UInt64(shift)))
        }
    }

    /// The head of a message or of bytes whose content is written by somebody else.
    package mutating func head(_ number: UInt32, length: Int) {
        tag(number, wireType: 2)
        varint(UInt64(length))
    }

    /// A message in the message; its length, known only afterwards, is put before what `body` wrote.
    package mutating func message(_ number: UInt32, _ body: (inout ProtobufWriter) -> Void) {
        tag(number, wireType: 2)
        let start = bytes.count
        bytes.append(0)
        body(&self)
        var length = UInt64(bytes.count - start - 1)
        var head: [UInt8] = []
        while length > 0x7F {
            head.append(UInt8(truncatingIfNeeded: length & 0x7F | 0x80))
            length >>= 7
        }
        head.append(UInt8(truncatingIfNeeded: length))
        if head.count == 1 {
            bytes[start] = head[0]
        } else {
            bytes.replaceSubrange(start...start, with: head)
        }
    }

    private mutating func tag(_ number: UInt32, wireType: UInt64) { varint(UInt64(number) << 3 | wireType) }

    private mutating func varint(_ value: UInt64) {
        var rest = value
        while rest > 0x7F {
            bytes.append(UInt8(truncatingIfNeeded: rest & 0x7F | 0x80))
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }
}
