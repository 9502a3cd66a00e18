import Linux

/// One or more netlink messages being written: header, fixed part, attributes (type, length, value, padded to 4 bytes).
/// Grows up to `limit` bytes; what does not fit (the buffer, or the 16-bit length of an attribute) is remembered in
/// `failure` and reported when the buffer is sent, so that writers need no error path of their own.
///
/// Format: linux/netlink.h and Documentation/userspace-api/netlink/intro.rst. `attribute(_:_:)` writes integers in host
/// order (rtnetlink), `attribute(_:big:)` in network order (netfilter).
package struct MessageBuffer: ~Copyable {
    private var base: UnsafeMutableRawPointer
    private var capacity: Int
    private let limit: Int
    private var messageStart: Int?
    package private(set) var count = 0
    /// Number of finished messages.
    package private(set) var messageCount = 0
    package private(set) var failure: Failure?

    package enum Failure: Sendable, Equatable {
        case limit(bytes: Int)
        case attributeTooLong(type: UInt16, bytes: Int)
    }

    /// - Parameter limit: bytes past which the buffer refuses to grow; 64 MiB holds about 400,000 service endpoints.
    package init(capacity: Int = 1024, limit: Int = 64 << 20) {
        self.capacity = max(64, capacity)
        self.limit = limit
        base = .allocate(byteCount: self.capacity, alignment: 8)
    }

    deinit { base.deallocate() }

    package var bytes: [UInt8] { Array(UnsafeRawBufferPointer(start: base, count: count)) }

    package func withBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        try body(UnsafeRawBufferPointer(start: base, count: count))
    }

    package mutating func removeAll() { (count, messageCount, messageStart, failure) = (0, 0, nil, nil) }

    // MARK: messages

    /// Starts a message; the sequence number is filled in when the buffer is sent.
    package mutating func begin(type: UInt16, flags: MessageFlags) {
        messageStart = count
        append(UInt32(0))
        append(type)
        append(flags.rawValue)
        append(UInt32(0))
        append(UInt32(0))
    }

    package mutating func end() {
        guard let start = messageStart else { return }
        patch(UInt32(count - start), at: start)
        messageStart = nil
        messageCount += 1
    }

    package mutating func message(type: UInt16, flags: MessageFlags, _ body: (inout MessageBuffer) -> Void) {
        begin(type: type, flags: flags)
        body(&self)
        end()
    }

    /// Numbers the messages from `first` on and returns the last number and that of the last message that asks for an answer.
    mutating func number(from first: UInt32) -> (last: UInt32, lastAnswered: UInt32?) {
        var offset = 0
        var sequence = first
        var answered: UInt32?
        while offset + 16 <= count {
            let length = Int(base.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
            let flags = MessageFlags(rawValue: base.loadUnaligned(fromByteOffset: offset + 6, as: UInt16.self))
            guard length >= 16 else { break }
            base.storeBytes(of: sequence, toByteOffset: offset + 8, as: UInt32.self)
            if flags.contains(.ack) { answered = sequence }
            sequence &+= 1
            offset += length
        }
        return (sequence &- 1, answered)
    }

    /// Makes the last message but `before` ask for an ack.
    package mutating func askForLastAnswer(before: Int) {
        var offset = 0
        for _ in 0..<max(0, messageCount - before - 1) {
            guard offset + 16 <= count else { return }
            offset += Int(base.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        }
        guard offset + 16 <= count else { return }
        let flags = base.loadUnaligned(fromByteOffset: offset + 6, as: UInt16.self)
        base.storeBytes(of: flags | MessageFlags.ack.rawValue, toByteOffset: offset + 6, as: UInt16.self)
    }

    // MARK: values

    /// A fixed part or a value in host order.
    package mutating func append<T: BitwiseCopyable>(_ value: T) {
        let size = MemoryLayout<T>.size
        guard reserve(size) else { return }
        base.storeBytes(of: value, toByteOffset: count, as: T.self)
        count += size
    }

    package mutating func append(contentsOf bytes: UnsafeRawBufferPointer) {
        guard reserve(bytes.count), let source = bytes.baseAddress else { return }
        (base + count).copyMemory(from: source, byteCount: bytes.count)
        count += bytes.count
    }

    package mutating func append(contentsOf bytes: [UInt8]) { bytes.withUnsafeBytes { append(contentsOf: $0) } }

    /// Once more what stands at `offset`.
    mutating func appendCopy(of offset: Int, _ length: Int) {
        guard offset >= 0, length >= 0, offset + length <= count, reserve(length) else { return }
        (base + count).copyMemory(from: base + offset, byteCount: length)
        count += length
    }

    /// Other bytes in place of those at `offset`.
    mutating func overwrite(_ bytes: [UInt8], _ start: Int, _ length: Int, at offset: Int) {
        guard failure == nil, offset >= 0, offset + length <= count, start >= 0, start + length <= bytes.count else {
            return
        }
        bytes.withUnsafeBytes {
            guard let source = $0.baseAddress else { return }
            (base + offset).copyMemory(from: source + start, byteCount: length)
        }
    }

    /// Whole messages from another buffer.
    package mutating func appendMessages(_ bytes: UnsafeRawBufferPointer, count: Int) {
        append(contentsOf: bytes)
        messageCount += count
    }

    private mutating func pad() {
        while count & 3 != 0, reserve(1) { append(UInt8(0)) }
    }

    private mutating func patch<T: BitwiseCopyable>(_ value: T, at offset: Int) {
        guard offset + MemoryLayout<T>.size <= capacity else { return }
        base.storeBytes(of: value, toByteOffset: offset, as: T.self)
    }

    private mutating func reserve(_ more: Int) -> Bool {
        if failure != nil { return false }
        if count + more <= capacity { return true }
        guard count + more <= limit else {
            failure = .limit(bytes: limit)
            return false
        }
        let grown = min(limit, max(capacity * 2, count + more))
        let next = UnsafeMutableRawPointer.allocate(byteCount: grown, alignment: 8)
        next.copyMemory(from: base, byteCount: count)
        base.deallocate()
        (base, capacity) = (next, grown)
        return true
    }

    // MARK: attributes

    private mutating func header(_ type: UInt16, _ valueLength: Int) -> Bool {
        guard valueLength + 4 <= Int(UInt16.max) else {
            failure = failure ?? .attributeTooLong(type: type, bytes: valueLength)
            return false
        }
        append(UInt16(valueLength + 4))
        append(type)
        return true
    }

    /// A value in host order.
    package mutating func attribute<T: BitwiseCopyable & FixedWidthInteger>(_ type: UInt16, _ value: T) {
        guard header(type, MemoryLayout<T>.size) else { return }
        append(value)
        pad()
    }

    /// A value in network order.
    package mutating func attribute<T: BitwiseCopyable & FixedWidthInteger>(_ type: UInt16, big value: T) {
        attribute(type, value.bigEndian)
    }

    package mutating func attribute(_ type: UInt16, bytes: UnsafeRawBufferPointer) {
        guard header(type, bytes.count) else { return }
        append(contentsOf: bytes)
        pad()
    }

    package mutating func attribute(_ type: UInt16, bytes: [UInt8]) {
        bytes.withUnsafeBytes { attribute(type, bytes: $0) }
    }

    package mutating func attribute(_ type: UInt16, _ address: IPAddress) {
        switch address {
        case .v4(let value): attribute(type, big: value)
        case .v6(let high, let low):
            guard header(type, 16) else { return }
            append(high.bigEndian)
            append(low.bigEndian)
        }
    }

    /// A NUL-terminated string.
    package mutating func attribute(_ type: UInt16, string: String) {
        var string = string
        string.withUTF8 { text in
            guard header(type, text.count + 1) else { return }
            append(contentsOf: UnsafeRawBufferPointer(text))
            append(UInt8(0))
            pad()
        }
    }

    package mutating func flag(_ type: UInt16) { _ = header(type, 0) }

    package mutating func nested(_ type: UInt16, _ body: (inout MessageBuffer) -> Void) {
        let start = beginNested(type)
        body(&self)
        endNested(start, type)
    }

    /// For writers that cannot use a closure; returns what `endNested` needs.
    package mutating func beginNested(_ type: UInt16) -> Int {
        let start = count
        append(UInt16(0))
        append(type | nestedFlag)
        return start
    }

    package mutating func endNested(_ start: Int, _ type: UInt16) {
        guard failure == nil else { return }
        let length = count - start
        guard length <= Int(UInt16.max) else {
            failure = .attributeTooLong(type: type, bytes: length)
            return
        }
        patch(UInt16(length), at: start)
    }
}

/// NLA_F_NESTED: told to be set by linux/netlink.h on every attribute that holds attributes; the bridge needs it.
let nestedFlag: UInt16 = 0x8000

/// nlmsg_flags.
package struct MessageFlags: OptionSet, Sendable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }
    package static let request = MessageFlags(rawValue: 0x001)
    package static let multi = MessageFlags(rawValue: 0x002)
    package static let ack = MessageFlags(rawValue: 0x004)
    package static let dumpInterrupted = MessageFlags(rawValue: 0x010)
    package static let dump = MessageFlags(rawValue: 0x300)
    package static let replace = MessageFlags(rawValue: 0x100)
    package static let exclusive = MessageFlags(rawValue: 0x200)
    package static let create = MessageFlags(rawValue: 0x400)
    package static let append = MessageFlags(rawValue: 0x800)
}
