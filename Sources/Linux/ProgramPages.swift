/// The pages of the running program's own file: code and constants.
///
/// Start-up touches most of the program once: certificates, joining, the import of images. The kernel counts these clean
/// pages as resident for good, though a quiet node uses a small part of them, and under pressure it has to find out one by
/// one that nobody needs them. Taking them out of the page table costs nothing but a minor fault at the next use: they stay
/// in the page cache, from where the kernel can drop them at once.
package enum ProgramPages {
    /// Takes them out of this process's page table.
    package static func release() throws(SysError) {
        let smaps = try Files.readString("/proc/self/smaps", limit: 4 << 20)
        for range in ranges(smaps: smaps, program: try Proc.executable()) {
            guard let address = UnsafeMutableRawPointer(bitPattern: range.lowerBound) else { continue }
            madvise(address, range.count, MADV_DONTNEED)
        }
    }

    /// Mappings of `program` that are read-only and have never been written: of these the file has every byte. What was
    /// written before it became read-only (relocations) counts as anonymous, and would be lost.
    package static func ranges(smaps: String, program: String) -> [Range<UInt>] {
        var found: [Range<UInt>] = []
        var candidate: Range<UInt>?
        for line in smaps.split(separator: "\n") {
            let words = line.split(separator: " ", maxSplits: 5)
            guard let first = words.first else { continue }
            if first == "Anonymous:" {
                if let range = candidate, words.count > 1, words[1] == "0" { found.append(range) }
                candidate = nil
            } else if words.count == 6, let range = addresses(first) {
                let isOwn = words[5].drop { $0 == " " } == program
                candidate = isOwn && (words[1] == "r-xp" || words[1] == "r--p") ? range : nil
            }
        }
        return found
    }

    private static func addresses(_ word: Substring) -> Range<UInt>? {
        let ends = word.split(separator: "-")
        guard ends.count == 2, let low = UInt(ends[0], radix: 16), let high = UInt(ends[1], radix: 16), low < high
        else { return nil }
        return low..<high
    }
}
