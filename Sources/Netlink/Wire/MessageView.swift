/// A received message or the bytes of an attribute; valid only inside the closure that got it. Nothing here traps on
/// bad lengths: what does not fit is absent.
package struct ByteView {
    let bytes: UnsafeRawBufferPointer

    package init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    package var count: Int { bytes.count }

    /// Integer in host order at `offset`, nil if it would end past the view.
    package func load<T: BitwiseCopyable>(_ offset: Int, as type: T.Type = T.self) -> T? {
        guard offset >= 0, bytes.count >= MemoryLayout<T>.size, offset <= bytes.count - MemoryLayout<T>.size else {
            return nil
        }
        return bytes.loadUnaligned(fromByteOffset: offset, as: T.self)
    }

    package func big<T: FixedWidthInteger & BitwiseCopyable>(_ offset: Int = 0, as type: T.Type = T.self) -> T? {
        (load(offset, as: T.self)).map { T(bigEndian: $0) }
    }

    package func dropFirst(_ count: Int) -> ByteView {
        // Not by slices: their generic types are looked up each time, which was half of what reading the rules back took.
        let skipped = min(max(0, count), bytes.count)
        return ByteView(
            UnsafeRawBufferPointer(start: bytes.baseAddress.map { $0 + skipped }, count: bytes.count - skipped))
    }

    package func prefix(_ count: Int) -> ByteView {
        ByteView(UnsafeRawBufferPointer(start: bytes.baseAddress, count: min(max(0, count), bytes.count)))
    }

    package var array: [UInt8] { Array(bytes) }

    /// Text up to the first NUL.
    package var string: String { String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self) }

    package var address: IPAddress? { IPAddress(bytes: bytes) }

    /// The attributes in the view, ending at the first one whose length makes no sense.
    package var attributes: AttributeSequence { AttributeSequence(rest: self) }

    /// First attribute of that type.
    package func attribute(_ type: UInt16) -> ByteView? {
        for attribute in attributes where attribute.type == type { return attribute.value }
        return nil
    }
}

package struct Attribute {
    /// Type without the NLA_F_NESTED and NLA_F_NET_BYTEORDER bits.
    package var type: UInt16
    package var value: ByteView
}

package struct AttributeSequence: Sequence, IteratorProtocol {
    var rest: ByteView

    package mutating func next() -> Attribute? {
        guard let length = rest.load(0, as: UInt16.self), let type = rest.load(2, as: UInt16.self),
            length >= 4, Int(length) <= rest.count
        else { return nil }
        let value = rest.prefix(Int(length)).dropFirst(4)
        rest = rest.dropFirst((Int(length) + 3) & ~3)
        return Attribute(type: type & 0x3fff, value: value)
    }
}

package struct MessageView {
    package var type: UInt16
    package var flags: MessageFlags
    package var sequence: UInt32
    package var port: UInt32
    /// What follows the 16-byte header.
    package var payload: ByteView
}

/// The messages of one datagram; ends at a header whose length makes no sense and then says so in `malformed`.
package struct MessageSequence: Sequence, IteratorProtocol {
    var rest: ByteView
    package private(set) var malformed = false

    package init(_ bytes: UnsafeRawBufferPointer) { rest = ByteView(bytes) }

    package mutating func next() -> MessageView? {
        guard rest.count > 0 else { return nil }
        guard let length = rest.load(0, as: UInt32.self), let type = rest.load(4, as: UInt16.self),
            let flags = rest.load(6, as: UInt16.self), let sequence = rest.load(8, as: UInt32.self),
            let port = rest.load(12, as: UInt32.self), length >= 16, UInt64(length) <= UInt64(rest.count)
        else {
            malformed = true
            rest = rest.prefix(0)
            return nil
        }
        let payload = rest.prefix(Int(length)).dropFirst(16)
        rest = rest.dropFirst((Int(length) + 3) & ~3)
        return MessageView(
            type: type, flags: MessageFlags(rawValue: flags), sequence: sequence, port: port, payload: payload)
    }
}
