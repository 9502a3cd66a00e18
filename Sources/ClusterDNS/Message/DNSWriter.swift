import Netlink

/// Builds a message with compressed names. What does not fit into `limit` is left out and the message marked truncated.
package struct DNSWriter {
    package private(set) var bytes: [UInt8]
    private let limit: Int
    /// Where a name (and each of its suffixes) was written, by the suffix's bytes.
    private var offsets: [ArraySlice<UInt8>: UInt16] = [:]
    private var counts: (answers: UInt16, authorities: UInt16, additionals: UInt16) = (0, 0, 0)
    package private(set) var isTruncated = false
    /// The name of the question as it is looked up, which may be another than that which was asked (rewrite rules).
    private let questionName: DNSName
    private let question: Int

    package enum Section { case answer, authority, additional }

    /// - Parameters:
    ///   - question: the question's bytes as asked (name, type, class): they are given back unchanged.
    ///   - name: records of this name point to the question's.
    package init(id: UInt16, flags: UInt16, question: [UInt8], name: DNSName, limit: Int) {
        bytes = []
        bytes.reserveCapacity(min(limit, 512))
        self.limit = limit
        questionName = name
        self.question = question.count
        append(id)
        append(flags)
        append(UInt16(question.isEmpty ? 0 : 1))
        for _ in 0..<3 { append(UInt16(0)) }
        bytes += question
    }

    private mutating func append(_ value: UInt16) {
        bytes.append(UInt8(value >> 8))
        bytes.append(UInt8(value & 0xff))
    }
    private mutating func append(_ value: UInt32) {
        append(UInt16(value >> 16))
        append(UInt16(value & 0xffff))
    }
    private mutating func set(_ offset: Int, _ value: UInt16) {
        bytes[offset] = UInt8(value >> 8)
        bytes[offset + 1] = UInt8(value & 0xff)
    }

    private mutating func append(_ name: DNSName, compressed: Bool = true) {
        if question > 0, name == questionName, compressed {
            append(UInt16(0xc00c))
            return
        }
        var index = 0
        let wire = name.wire
        while wire[index] != 0 {
            let suffix = wire[index...]
            if compressed, let offset = offsets[suffix] {
                append(0xc000 | offset)
                return
            }
            if bytes.count < 0x4000 { offsets[suffix] = UInt16(bytes.count) }
            let end = index + 1 + Int(wire[index])
            bytes += wire[index..<end]
            index = end
        }
        bytes.append(0)
    }

    /// False if the record does not fit: then nothing of it is there.
    @discardableResult
    package mutating func add(_ record: DNSRecord, to section: Section, reserving reserved: Int = 0) -> Bool {
        let start = bytes.count
        append(record.name)
        append(record.type.rawValue)
        append(UInt16(1))
        append(record.ttl)
        let length = bytes.count
        append(UInt16(0))
        switch record.data {
        case .address(let address): address.appendBytes(to: &bytes)
        case .name(let name): append(name)
        case .service(let priority, let weight, let port, let target):
            append(priority)
            append(weight)
            append(port)
            // RFC 2782: the target is not compressed.
            append(target, compressed: false)
        case .mail(let preference, let name):
            append(preference)
            append(name)
        case .authority(let primary, let mailbox, let numbers):
            append(primary)
            append(mailbox)
            for number in numbers.prefix(5) { append(number) }
        case .text(let text):
            let part = Array(text.utf8.prefix(255))
            bytes.append(UInt8(part.count))
            bytes += part
        case .raw(let data): bytes += data
        }
        let count = bytes.count - length - 2
        guard bytes.count + reserved <= limit, count <= 0xffff else {
            bytes.removeSubrange(start...)
            offsets = offsets.filter { $0.value < start }
            // Additional records are a courtesy: leaving them out is no truncation (RFC 2181, 9).
            if section != .additional { isTruncated = true }
            return false
        }
        set(length, UInt16(count))
        switch section {
        case .answer: counts.answers += 1
        case .authority: counts.authorities += 1
        case .additional: counts.additionals += 1
        }
        return true
    }

    /// The message's bytes, with an OPT record where the client speaks EDNS.
    package mutating func finish(edns: EDNS?, extendedCode: UInt8 = 0) -> [UInt8] {
        if let edns {
            bytes += edns.reply(extendedCode: extendedCode)
            counts.additionals += 1
        }
        if isTruncated { bytes[2] |= 2 }
        set(6, counts.answers)
        set(8, counts.authorities)
        set(10, counts.additionals)
        return bytes
    }
}

/// What an OPT record says (RFC 6891).
package struct EDNS: Sendable, Equatable {
    /// Largest UDP message that its sender takes.
    package var size: UInt16
    package var version: UInt8 = 0
    package var wantsDNSSEC = false

    package init(size: UInt16, version: UInt8 = 0, wantsDNSSEC: Bool = false) {
        (self.size, self.version, self.wantsDNSSEC) = (size, version, wantsDNSSEC)
    }

    /// What we take and give over UDP: fits into one packet on any network (DNS flag day 2020).
    package static let ownSize: UInt16 = 1232
    package static let recordSize = 11

    package func reply(extendedCode: UInt8 = 0) -> [UInt8] {
        let flags: UInt8 = wantsDNSSEC ? 0x80 : 0
        let size: [UInt8] = [UInt8(EDNS.ownSize >> 8), UInt8(EDNS.ownSize & 0xff)]
        return [0, 0, 41] + size + [extendedCode, 0, flags, 0, 0, 0]
    }
}
