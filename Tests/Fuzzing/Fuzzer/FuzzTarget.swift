/// One decoder of untrusted bytes: it may refuse them with an error, never trap, hang or take memory without bound.
struct FuzzTarget: Sendable {
    let name: String
    /// Well-formed inputs from which others are made, beside the files in Tests/Fuzzing/Corpus/<name>.
    let seeds: [[UInt8]]
    /// Words of the format, to be put in where random bytes would rarely hit.
    let words: [String]
    let run: @Sendable ([UInt8]) -> Void

    init(_ name: String, seeds: [String], words: [String] = [], _ run: @escaping @Sendable ([UInt8]) -> Void) {
        self.init(name, bytes: seeds.map { Array($0.utf8) }, words: words, run)
    }

    init(_ name: String, bytes: [[UInt8]], words: [String] = [], _ run: @escaping @Sendable ([UInt8]) -> Void) {
        (self.name, seeds, self.words, self.run) = (name, bytes, words, run)
    }

    static let all = codecs + api + network + transport + containers + grpc + hostTools

    /// What must hold; the process dies otherwise, as it does of a trap in a decoder.
    static func require(_ condition: Bool, _ what: @autoclosure () -> String) {
        if !condition { fatalError(what()) }
    }
}

extension [UInt8] {
    var asText: String { String(decoding: self, as: UTF8.self) }

    /// Two inputs in one: what is before and after the first NUL.
    var halves: ([UInt8], [UInt8]) {
        guard let middle = firstIndex(of: 0) else { return (self, []) }
        return (Array(self[..<middle]), Array(self[(middle + 1)...]))
    }
}
