internal import KubeAPI

/// Completion indexes as a Job's status writes them: "0,2,4-7". Kept as ranges, so that a hundred thousand cost nothing.
struct IndexSet: Sendable, Equatable {
    /// Ascending, with gaps between them.
    private(set) var ranges: [ClosedRange<Int64>] = []

    init() {}

    /// What is no index, or not below `limit`, is left out.
    init(_ text: String, below limit: Int64) {
        for part in text.split(separator: ",") {
            let ends = part.split(separator: "-").map { Int64($0) }
            guard let first = ends.first ?? nil, let last = ends.last ?? nil, first >= 0, first <= last, first < limit
            else { continue }
            insert(first...min(last, limit - 1))
        }
    }

    var count: Int64 { ranges.reduce(0) { $0 + ($1.upperBound - $1.lowerBound + 1) } }
    var isEmpty: Bool { ranges.isEmpty }

    func contains(_ index: Int64) -> Bool {
        var (low, high) = (0, ranges.count)
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound < index { low = middle + 1 } else { high = middle }
        }
        return low < ranges.count && ranges[low].contains(index)
    }

    mutating func insert(_ index: Int64) { insert(index...index) }

    mutating func insert(_ range: ClosedRange<Int64>) {
        var (first, last) = (range.lowerBound, range.upperBound)
        var merged: [ClosedRange<Int64>] = []
        var later: [ClosedRange<Int64>] = []
        for known in ranges {
            if known.upperBound + 1 < first {
                merged.append(known)
            } else if known.lowerBound > last + 1 {
                later.append(known)
            } else {
                (first, last) = (min(first, known.lowerBound), max(last, known.upperBound))
            }
        }
        ranges = merged + [first...last] + later
    }

    /// How many of the other's are here.
    func count(in other: IndexSet) -> Int64 {
        var total: Int64 = 0
        for a in ranges {
            for b in other.ranges where a.overlaps(b) {
                total += min(a.upperBound, b.upperBound) - max(a.lowerBound, b.lowerBound) + 1
            }
        }
        return total
    }

    var text: String {
        ranges.map { range in
            if range.lowerBound == range.upperBound { return "\(range.lowerBound)" }
            let joint = range.lowerBound + 1 == range.upperBound ? "," : "-"
            return "\(range.lowerBound)\(joint)\(range.upperBound)"
        }.joined(separator: ",")
    }
}
