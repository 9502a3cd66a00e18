/// Finding a text in a text. The standard library's own versions live beside its regular expressions, a megabyte that
/// no module of the product links (Package.swift).
extension StringProtocol {
    /// Whether `other` occurs, compared by UTF-8 bytes: no canonical equivalence.
    package func contains(_ other: some StringProtocol) -> Bool { utf8.firstRange(of: other.utf8) != nil }
}

extension Collection where Element: Equatable {
    /// The first place where `other` occurs; an empty one occurs at the start.
    package func firstRange(of other: some Collection<Element>) -> Range<Index>? {
        var start = startIndex
        while true {
            var (here, there) = (start, other.startIndex)
            while there != other.endIndex, here != endIndex, self[here] == other[there] {
                formIndex(after: &here)
                other.formIndex(after: &there)
            }
            if there == other.endIndex { return start..<here }
            if here == endIndex { return nil }
            formIndex(after: &start)
        }
    }
}
