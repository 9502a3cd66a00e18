/// Whole answers to whole questions, byte for byte but for the id: clients ask the same few names again and again, each
/// search path anew. Only what depends on nothing but the zone is kept (no turns of addresses, no ages of what other
/// servers said), and nothing of it outlives a change of the zone.
///
/// A table of fixed size: a question has one place, where the last one asked is.
struct PreparedAnswers: Sendable {
    struct Entry: Sendable {
        fileprivate var hash: UInt64
        fileprivate var question: [UInt8]
        var answer: [UInt8]
        var type: DNSType
        var code: DNSCode
    }
    private var entries: [Entry?]
    private var isEmpty = true
    /// Longer ones are rare: what all of them take is bounded by `places` times twice as much.
    private static let longest = 512

    /// - Parameter places: a power of two.
    init(places: Int = 256) { entries = Array(repeating: nil, count: places) }

    /// FNV-1a, eight bytes at a time, of all but the id. Whoever makes two questions meet in one place has both answered
    /// as if there were no table.
    private static func hash(_ question: UnsafeRawBufferPointer) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        var index = 2
        while index + 8 <= question.count {
            hash = (hash ^ question.loadUnaligned(fromByteOffset: index, as: UInt64.self)) &* 0x100_0000_01b3
            hash ^= hash >> 29
            index += 8
        }
        while index < question.count {
            hash = (hash ^ UInt64(question[index])) &* 0x100_0000_01b3
            index += 1
        }
        return hash ^ hash >> 32
    }

    private static func isSame(_ kept: [UInt8], _ question: UnsafeRawBufferPointer) -> Bool {
        // memcmp is no part of this module's imports; two lengths that agree are compared as words.
        kept.withUnsafeBytes { kept in
            guard kept.count == question.count else { return false }
            var index = 2
            while index + 8 <= kept.count {
                if kept.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                    != question.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                {
                    return false
                }
                index += 8
            }
            while index < kept.count {
                if kept[index] != question[index] { return false }
                index += 1
            }
            return true
        }
    }

    /// Calls `body` with the entry for a question, if there is one.
    func find<R>(_ question: UnsafeRawBufferPointer, _ body: (borrowing Entry) -> R) -> R? {
        if isEmpty || question.count < 12 { return nil }
        let hash = Self.hash(question)
        return entries.withUnsafeBufferPointer { entries in
            guard let entry = entries[Int(truncatingIfNeeded: hash) & (entries.count - 1)], entry.hash == hash,
                Self.isSame(entry.question, question)
            else { return nil }
            return body(entry)
        }
    }

    mutating func keep(_ question: UnsafeRawBufferPointer, _ answer: [UInt8], _ type: DNSType, _ code: DNSCode) {
        guard question.count >= 12, question.count <= Self.longest, answer.count <= Self.longest else { return }
        let hash = Self.hash(question)
        entries[Int(truncatingIfNeeded: hash) & (entries.count - 1)] = Entry(
            hash: hash, question: Array(question), answer: answer, type: type, code: code)
        isEmpty = false
    }

    mutating func removeAll() {
        if isEmpty { return }
        for index in entries.indices { entries[index] = nil }
        isEmpty = true
    }
}
