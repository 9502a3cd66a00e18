/// What is asked of other servers, as the cache knows it.
package struct CacheKey: Hashable, Sendable {
    var name: DNSName
    var type: DNSType
    /// Answers differ with them.
    var wantsDNSSEC: Bool
    var disablesChecking: Bool
    /// Which group of servers answers.
    var group: Int

    package init(
        _ name: DNSName, _ type: DNSType, wantsDNSSEC: Bool = false, disablesChecking: Bool = false, group: Int = 0
    ) {
        (self.name, self.type, self.group) = (name, type, group)
        (self.wantsDNSSEC, self.disablesChecking) = (wantsDNSSEC, disablesChecking)
    }
}

/// A server's answer, checked, ready to be given to any client that asks the same.
package struct StoredAnswer: Sendable, Equatable {
    /// The message without its OPT record.
    package private(set) var bytes: [UInt8]
    /// Where the records' TTLs are.
    var ttlOffsets: [UInt16]
    package private(set) var ttl: UInt32
    package private(set) var code: UInt8
    /// Nanoseconds, of the monotonic clock.
    var storedAt: Int64 = 0

    package enum Failure: Error, Sendable {
        /// Not an answer to what was asked, or not a message at all.
        case wrong
        /// To be asked again over TCP.
        case truncated
    }

    /// - Parameter maximumTTL: how long an answer is kept at most (k3s's Corefile: cache 30).
    package init(
        _ message: UnsafeRawBufferPointer, id: UInt16, _ key: CacheKey, maximumTTL: UInt32
    ) throws(Failure) {
        var reader = DNSReader(message)
        do throws(DNSFormatError) {
            guard try reader.short() == id else { throw reader.fail("id") }
            let flags = try reader.short()
            guard flags & 0x8000 != 0 else { throw reader.fail("not an answer") }
            guard try reader.short() == 1 else { throw reader.fail("not one question") }
            let counts = [try reader.short(), try reader.short(), try reader.short()]
            guard try reader.name() == key.name, try reader.short() == key.type.rawValue, try reader.short() == 1
            else { throw reader.fail("another question") }
            // A compressed question cannot be replaced by the client's.
            guard reader.offset == 12 + key.name.wire.count + 4 else { throw reader.fail("question") }
            if flags & 0x0200 != 0 { throw reader.fail("truncated") }
            code = UInt8(flags & 15)
            var (offsets, smallest, negative): ([UInt16], UInt32?, UInt32?) = ([], nil, nil)
            var additionals: UInt16 = 0
            var end = reader.offset
            walk: for (section, count) in counts.enumerated() {
                for _ in 0..<count {
                    let start = reader.offset
                    try reader.skipName()
                    let type = DNSType(try reader.short())
                    _ = try reader.short()
                    let at = reader.offset
                    let ttl = try reader.long()
                    let length = Int(try reader.short())
                    _ = try reader.take(length)
                    if type == .opt {
                        // What follows it may point behind it and is a courtesy: left out with it.
                        end = start
                        break walk
                    }
                    if section == 2 { additionals += 1 }
                    if at <= 0xffff { offsets.append(UInt16(at)) }
                    if section == 0 { smallest = min(smallest ?? ttl, ttl) }
                    if section == 1, type == .soa, reader.offset >= 4 {
                        var minimum = DNSReader(message)
                        minimum.offset = reader.offset - 4
                        negative = min(ttl, try minimum.long())
                    }
                    end = reader.offset
                }
            }
            bytes = Array(message[..<end])
            bytes[10] = UInt8(additionals >> 8)
            bytes[11] = UInt8(additionals & 0xff)
            ttlOffsets = offsets
            let isPositive = code == 0 && counts[0] > 0
            let isCacheable = code == 0 || code == DNSCode.nameError.rawValue
            ttl = min(maximumTTL, isCacheable ? (isPositive ? smallest : negative) ?? 0 : 0)
        } catch {
            // "truncated" is the one failure that is not one.
            if message.count >= 12, message[2] & 0x82 == 0x82,
                message[0] == UInt8(id >> 8), message[1] == UInt8(id & 0xff)
            {
                throw .truncated
            }
            throw .wrong
        }
    }

    /// For one client: its id, its question, what is left of the TTLs.
    func reply(to query: DNSQuery, now: Int64, limit: Int) -> [UInt8]? {
        let total = bytes.count + (query.edns == nil ? 0 : EDNS.recordSize)
        guard total <= limit, query.question.count + 12 <= bytes.count else { return nil }
        let age = UInt32(clamping: (now - storedAt) / 1_000_000_000)
        return [UInt8](unsafeUninitializedCapacity: total) { out, count in
            count = out.initialize(fromContentsOf: bytes)
            out[0] = UInt8(query.id >> 8)
            out[1] = UInt8(query.id & 0xff)
            // Not our own knowledge: the AA bit goes.
            out[2] = (out[2] & 0xfa) | UInt8(query.flags >> 8 & 1)
            out[3] = (out[3] & 0xef) | 0x80 | UInt8(query.flags & 0x10)
            for (index, byte) in query.question.enumerated() { out[12 + index] = byte }
            for offset in ttlOffsets {
                let at = Int(offset)
                let old = (0..<4).reduce(UInt32(0)) { $0 << 8 | UInt32(out[at + $1]) }
                let left = old > 0x7fff_ffff ? 0 : old > age ? old - age : 0
                for index in 0..<4 { out[at + index] = UInt8(left >> UInt32(24 - index * 8) & 0xff) }
            }
            guard let edns = query.edns else { return }
            for byte in EDNS(size: 0, wantsDNSSEC: edns.wantsDNSSEC).reply() {
                out.initializeElement(at: count, to: byte)
                count += 1
            }
            out[11] &+= 1
            if out[11] == 0 { out[10] &+= 1 }
        }
    }
}

/// Answers of other servers for as long as their TTLs allow, bounded in bytes.
struct AnswerCache: Sendable {
    private var entries: [CacheKey: StoredAnswer] = [:]
    private(set) var byteCount = 0
    let limit: Int
    private(set) var hits: UInt64 = 0
    private(set) var evictions: UInt64 = 0

    init(limit: Int) { self.limit = limit }

    var count: Int { entries.count }

    private static func cost(_ key: CacheKey, _ answer: StoredAnswer) -> Int {
        160 + key.name.wire.count + answer.bytes.count + answer.ttlOffsets.count * 2
    }

    mutating func find(_ key: CacheKey, now: Int64) -> StoredAnswer? {
        guard let entry = entries[key], now - entry.storedAt < Int64(entry.ttl) * 1_000_000_000 else { return nil }
        hits += 1
        return entry
    }

    mutating func insert(_ key: CacheKey, _ answer: StoredAnswer, now: Int64) {
        guard answer.ttl > 0 else { return }
        let cost = AnswerCache.cost(key, answer)
        guard cost <= limit / 8 else { return }
        if let old = entries[key] { byteCount -= AnswerCache.cost(key, old) }
        entries[key] = answer
        byteCount += cost
        if byteCount > limit { shrink(keeping: key, now: now) }
    }

    /// Drops what is over, and then any others until a quarter of the room is free (in the hash table's order, which is
    /// as good as random: scanning for the oldest would cost more than asking again).
    private mutating func shrink(keeping kept: CacheKey, now: Int64) {
        let target = limit - limit / 4
        var gone: [CacheKey] = []
        var left = byteCount
        for (key, entry) in entries where now - entry.storedAt >= Int64(entry.ttl) * 1_000_000_000 && key != kept {
            gone.append(key)
            left -= AnswerCache.cost(key, entry)
        }
        let expired = Set(gone)
        for (key, entry) in entries where key != kept && !expired.contains(key) {
            if left <= target { break }
            gone.append(key)
            left -= AnswerCache.cost(key, entry)
        }
        for key in gone { entries[key] = nil }
        evictions += UInt64(gone.count)
        byteCount = left
    }

    mutating func removeAll() {
        entries = [:]
        byteCount = 0
    }
}
