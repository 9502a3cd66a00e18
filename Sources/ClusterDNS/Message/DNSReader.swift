import Netlink

/// A message that does not follow RFC 1035: what is wrong and where.
package struct DNSFormatError: Error, Sendable, CustomStringConvertible {
    package var what: StaticString
    package var offset: Int
    package var description: String { "DNS message: \(what) at byte \(offset)" }
}

/// Reads a message of untrusted bytes. Every read is bounded by the message, names by 255 bytes and by pointers that go
/// backwards only, so that reading ends after work in proportion to the message.
package struct DNSReader {
    package let bytes: UnsafeRawBufferPointer
    package var offset = 0

    package init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    func fail(_ what: StaticString) -> DNSFormatError { DNSFormatError(what: what, offset: offset) }

    package mutating func byte() throws(DNSFormatError) -> UInt8 {
        guard offset < bytes.count else { throw fail("ends early") }
        defer { offset += 1 }
        return bytes[offset]
    }

    package mutating func short() throws(DNSFormatError) -> UInt16 {
        guard offset + 2 <= bytes.count else { throw fail("ends early") }
        defer { offset += 2 }
        return UInt16(bytes[offset]) << 8 | UInt16(bytes[offset + 1])
    }

    package mutating func long() throws(DNSFormatError) -> UInt32 {
        let high = try short()
        return UInt32(high) << 16 | UInt32(try short())
    }

    package mutating func take(_ count: Int) throws(DNSFormatError) -> [UInt8] {
        guard count >= 0, offset + count <= bytes.count else { throw fail("ends early") }
        defer { offset += count }
        return Array(bytes[offset..<offset + count])
    }

    /// A name, decompressed and in lower case; the reader is then behind its first form.
    package mutating func name() throws(DNSFormatError) -> DNSName {
        var wire: [UInt8] = []
        wire.reserveCapacity(64)
        var at = offset
        /// Pointers must lead to before where this part of the name began.
        var limit = offset
        var end = -1
        while true {
            guard at < bytes.count else { throw fail("name ends early") }
            let length = Int(bytes[at])
            switch length & 0xc0 {
            case 0:
                if length == 0 {
                    wire.append(0)
                    offset = end >= 0 ? end : at + 1
                    return DNSName(unchecked: wire)
                }
                guard at + 1 + length <= bytes.count else { throw fail("name ends early") }
                guard wire.count + length + 2 <= 255 else { throw fail("name is longer than 255 bytes") }
                wire.append(UInt8(length))
                for index in at + 1...at + length { wire.append(DNSName.lower(bytes[index])) }
                at += 1 + length
            case 0xc0:
                guard at + 1 < bytes.count else { throw fail("name ends early") }
                let target = (length & 0x3f) << 8 | Int(bytes[at + 1])
                guard target < limit else { throw fail("name pointer does not lead backwards") }
                if end < 0 { end = at + 2 }
                (at, limit) = (target, target)
            default: throw fail("name has a label of unknown kind")
            }
        }
    }

    mutating func skipName() throws(DNSFormatError) {
        while true {
            let length = Int(try byte())
            if length == 0 { return }
            switch length & 0xc0 {
            case 0: offset += length
            case 0xc0:
                _ = try byte()
                return
            default: throw fail("name has a label of unknown kind")
            }
        }
    }

    /// One record; nil for one of a class other than IN or an OPT pseudo record.
    mutating func record() throws(DNSFormatError) -> DNSRecord? {
        let name = try name()
        let type = DNSType(try short())
        let recordClass = try short()
        // A TTL with its high bit set counts as 0 (RFC 2181, 8).
        let raw = try long()
        let ttl = raw > 0x7fff_ffff ? 0 : raw
        let length = Int(try short())
        let end = offset + length
        guard end <= bytes.count else { throw fail("record ends early") }
        guard recordClass == 1, type != .opt else {
            offset = end
            return nil
        }
        let data: DNSRecord.Data
        switch type {
        case .a where length == 4, .aaaa where length == 16:
            guard let address = IPAddress(bytes: try take(length)) else { throw fail("address of wrong length") }
            data = .address(address)
        case .a, .aaaa: throw fail("address of wrong length")
        case .cname, .ns, .ptr, .dname: data = .name(try self.name())
        case .mx: data = .mail(preference: try short(), try self.name())
        case .srv:
            let (priority, weight, port) = (try short(), try short(), try short())
            data = .service(priority: priority, weight: weight, port: port, target: try self.name())
        case .soa:
            let (primary, mailbox) = (try self.name(), try self.name())
            var numbers: [UInt32] = []
            for _ in 0..<5 { numbers.append(try long()) }
            data = .authority(primary: primary, mailbox: mailbox, numbers: numbers)
        default: data = .raw(try take(length))
        }
        guard offset == end else { throw fail("record's length is wrong") }
        return DNSRecord(name, type, ttl: ttl, data)
    }
}

/// A message, decoded.
package struct DNSMessage: Sendable, Equatable {
    package var id: UInt16
    package var flags: UInt16
    package var name: DNSName
    package var type: DNSType
    package var answers: [DNSRecord] = []
    package var authorities: [DNSRecord] = []
    package var additionals: [DNSRecord] = []

    package var code: UInt8 { UInt8(flags & 15) }
    package var isTruncated: Bool { flags & 0x200 != 0 }

    /// A response with one question of class IN.
    package init(_ bytes: UnsafeRawBufferPointer) throws(DNSFormatError) {
        var reader = DNSReader(bytes)
        id = try reader.short()
        flags = try reader.short()
        let questions = try reader.short()
        let counts = (try reader.short(), try reader.short(), try reader.short())
        guard questions == 1 else { throw reader.fail("not one question") }
        name = try reader.name()
        type = DNSType(try reader.short())
        guard try reader.short() == 1 else { throw reader.fail("class is not IN") }
        for _ in 0..<counts.0 { if let record = try reader.record() { answers.append(record) } }
        for _ in 0..<counts.1 { if let record = try reader.record() { authorities.append(record) } }
        for _ in 0..<counts.2 { if let record = try reader.record() { additionals.append(record) } }
    }

    package init(_ bytes: [UInt8]) throws(DNSFormatError) {
        let result = bytes.withUnsafeBytes { buffer -> Result<DNSMessage, DNSFormatError> in
            do throws(DNSFormatError) { return .success(try DNSMessage(buffer)) } catch { return .failure(error) }
        }
        self = try result.get()
    }
}
