/// major.minor.patch[-pre.release][+build]. Source: semver.org 2.0.0.
package struct SemanticVersion: Sendable, Equatable, Comparable, CustomStringConvertible {
    package var major: UInt64
    package var minor: UInt64
    package var patch: UInt64
    package var pre: [String] = []
    package var build: [String] = []

    /// nil: not a semantic version.
    /// - Parameter isLenient: "v1.2" will do, and leading zeros. Source: library.Semver's normalize.
    package init?(_ text: String, isLenient: Bool = false) {
        var rest = Substring(text)
        if isLenient, rest.hasPrefix("v") { rest = rest.dropFirst() }
        func list(_ after: Substring) -> [String]? {
            let parts = after.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
            return parts.allSatisfy(Self.isIdentifier) ? parts : nil
        }
        if let plus = rest.firstIndex(of: "+") {
            guard let parts = list(rest[rest.index(after: plus)...]) else { return nil }
            build = parts
            rest = rest[..<plus]
        }
        if let dash = rest.firstIndex(of: "-") {
            guard let parts = list(rest[rest.index(after: dash)...]) else { return nil }
            for part in parts where Self.isNumeric(part) && part.utf8.count > 1 && part.hasPrefix("0") { return nil }
            pre = parts
            rest = rest[..<dash]
        }
        var numbers: [UInt64] = []
        for part in rest.split(separator: ".", omittingEmptySubsequences: false) {
            guard Self.isNumeric(String(part)), isLenient || part == "0" || !part.hasPrefix("0"),
                let number = UInt64(part)
            else { return nil }
            numbers.append(number)
        }
        if isLenient { while numbers.count < 3 { numbers.append(0) } }
        guard numbers.count == 3 else { return nil }
        (major, minor, patch) = (numbers[0], numbers[1], numbers[2])
    }

    private static func isNumeric(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { (48...57).contains($0) }
    }
    private static func isIdentifier(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy {
                (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || $0 == 45
            }
    }

    package var description: String {
        var text = "\(major).\(minor).\(patch)"
        if !pre.isEmpty { text += "-" + pre.joined(separator: ".") }
        if !build.isEmpty { text += "+" + build.joined(separator: ".") }
        return text
    }

    /// What was built does not count.
    package static func == (a: Self, b: Self) -> Bool { a.order(b) == 0 }
    package static func < (a: Self, b: Self) -> Bool { a.order(b) < 0 }

    /// -1, 0 or 1.
    package func order(_ other: Self) -> Int {
        for (x, y) in [(major, other.major), (minor, other.minor), (patch, other.patch)] where x != y {
            return x < y ? -1 : 1
        }
        // A release comes after what went before it.
        if pre.isEmpty || other.pre.isEmpty { return pre.isEmpty ? (other.pre.isEmpty ? 0 : 1) : -1 }
        for (x, y) in zip(pre, other.pre) where x != y {
            switch (Self.isNumeric(x), Self.isNumeric(y)) {
            case (true, true):
                if x.utf8.count != y.utf8.count { return x.utf8.count < y.utf8.count ? -1 : 1 }
                return x < y ? -1 : 1
            case (true, false): return -1
            case (false, true): return 1
            case (false, false): return x.utf8.lexicographicallyPrecedes(y.utf8) ? -1 : 1
            }
        }
        if pre.count == other.pre.count { return 0 }
        return pre.count < other.pre.count ? -1 : 1
    }
}
