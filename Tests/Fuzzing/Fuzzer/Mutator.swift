/// Changes inputs at random, the same way each time for the same seed: without knowledge of what the decoder did with them,
/// for the second that `make test` has. `make fuzz` uses libFuzzer, which has that knowledge.
struct Mutator {
    private var state: UInt64
    private let words: [[UInt8]]
    static let largest = 4096

    init(seed: String, words: [String]) {
        state = seed.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 } | 1
        self.words = words.map { Array($0.utf8) }
    }

    private mutating func random(below limit: Int) -> Int {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return limit <= 1 ? 0 : Int(truncatingIfNeeded: (state >> 16) % UInt64(limit))
    }

    private static let interesting: [[UInt8]] = [
        [0], [0xFF], [0x7F], [0x80], [0, 0], [0xFF, 0xFF], [0x7F, 0xFF, 0xFF, 0xFF], [0xFF, 0xFF, 0xFF, 0xFF],
        [0x80, 0, 0, 0], [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
        Array("9223372036854775807".utf8),
        Array("-9223372036854775808".utf8), Array("18446744073709551616".utf8), Array("1e400".utf8), Array("-1".utf8),
        Array("\u{FEFF}".utf8), [0xC0, 0x80], [0xED, 0xA0, 0x80],
    ]

    mutating func mutated(_ corpus: [[UInt8]]) -> [UInt8] {
        var bytes = corpus.isEmpty ? [] : corpus[random(below: corpus.count)]
        for _ in 0...random(below: 4) { change(&bytes, corpus) }
        if bytes.count > Self.largest { bytes.removeLast(bytes.count - Self.largest) }
        return bytes
    }

    private mutating func change(_ bytes: inout [UInt8], _ corpus: [[UInt8]]) {
        let at = random(below: bytes.count + 1)
        let length = min(random(below: 1 + random(below: 32)), bytes.count - at)
        switch random(below: 9) {
        case 0 where at < bytes.count: bytes[at] ^= 1 << UInt8(random(below: 8))
        case 1 where at < bytes.count: bytes[at] = UInt8(random(below: 256))
        case 2: bytes.insert(UInt8(random(below: 256)), at: at)
        case 3: bytes.removeSubrange(at..<at + length)
        case 4: bytes.insert(contentsOf: Array(bytes[at..<at + length]), at: random(below: bytes.count + 1))
        case 5: bytes.insert(contentsOf: Self.interesting[random(below: Self.interesting.count)], at: at)
        case 6 where !words.isEmpty: bytes.insert(contentsOf: words[random(below: words.count)], at: at)
        case 7 where !corpus.isEmpty:
            let other = corpus[random(below: corpus.count)]
            let from = random(below: other.count + 1)
            bytes.replaceSubrange(at..., with: other[from...])
        case 8: bytes.removeSubrange(at...)
        default: bytes.append(UInt8(random(below: 256)))
        }
    }
}
