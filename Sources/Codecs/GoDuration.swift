/// Go's time.Duration as text: "1h15m30.918s".
package enum GoDuration {
    private static let units: [(String, Int64)] = [
        ("ns", 1), ("us", 1000), ("\u{B5}s", 1000), ("\u{3BC}s", 1000), ("ms", 1_000_000), ("s", 1_000_000_000),
        ("m", 60_000_000_000), ("h", 3_600_000_000_000),
    ]

    /// Nanoseconds; nil where Go's ParseDuration gives an error.
    package static func parse(_ text: String) -> Int64? {
        var rest = Substring(text)
        let negative = rest.first == "-"
        if negative || rest.first == "+" { rest.removeFirst() }
        if rest == "0" { return 0 }
        guard !rest.isEmpty else { return nil }
        var total: Int64 = 0
        while !rest.isEmpty {
            let number = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
            rest = rest.dropFirst(number.count)
            let unit = rest.prefix { !($0.isASCII && ($0.isNumber || $0 == ".")) }
            rest = rest.dropFirst(unit.count)
            let parts = number.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.count <= 2, number.contains(where: \.isNumber),
                let scale = units.first(where: { $0.0 == unit })?.1,
                let whole = parts[0].isEmpty ? 0 : Int64(parts[0])
            else { return nil }
            let (product, overflow) = whole.multipliedReportingOverflow(by: scale)
            guard !overflow else { return nil }
            var part = product
            if parts.count == 2 {
                var weight = Double(scale)
                var fraction = 0.0
                for digit in parts[1].utf8.prefix(18) {
                    weight /= 10
                    fraction += Double(digit - 48) * weight
                }
                let (sum, overflow) = part.addingReportingOverflow(Int64(fraction.rounded()))
                guard !overflow else { return nil }
                part = sum
            }
            let (sum, tooLarge) = total.addingReportingOverflow(part)
            guard !tooLarge else { return nil }
            total = sum
        }
        return negative ? -total : total
    }

    package static func text(_ nanoseconds: Int64) -> String {
        if nanoseconds == 0 { return "0s" }
        let sign = nanoseconds < 0 ? "-" : ""
        let magnitude = nanoseconds.magnitude
        if magnitude < 1000 { return "\(sign)\(magnitude)ns" }
        if magnitude < 1_000_000 { return sign + decimal(magnitude, 1000) + "\u{B5}s" }
        if magnitude < 1_000_000_000 { return sign + decimal(magnitude, 1_000_000) + "ms" }
        let minutes = magnitude / 60_000_000_000
        let seconds = decimal(magnitude % 60_000_000_000, 1_000_000_000) + "s"
        if minutes == 0 { return sign + seconds }
        if minutes < 60 { return "\(sign)\(minutes)m\(seconds)" }
        return "\(sign)\(minutes / 60)h\(minutes % 60)m\(seconds)"
    }

    /// Of whole seconds: "8759h59m52s". What passes Go's 292 years is shown as that.
    package static func text(seconds: Int64) -> String {
        let (nanoseconds, isTooLarge) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        return text(isTooLarge ? (seconds < 0 ? .min : .max) : nanoseconds)
    }

    private static func decimal(_ value: UInt64, _ unit: UInt64) -> String {
        let fraction = value % unit
        guard fraction > 0 else { return "\(value / unit)" }
        var digits = String(fraction + unit).dropFirst()
        while digits.last == "0" { digits.removeLast() }
        return "\(value / unit).\(digits)"
    }
}

/// Lengths of time for people: one or two units. Source: k8s.io/apimachinery/pkg/util/duration.
package enum HumanDuration {
    private static let year: Int64 = 365 * 86_400

    /// HumanDuration: `5m12s`, `3d4h`.
    package static func text(seconds: Int64) -> String {
        switch seconds {
        case ..<(-1): "<invalid>"
        case ..<0: "0s"
        case ..<120: "\(seconds)s"
        case ..<600: pair(seconds / 60, "m", seconds % 60, "s")
        case ..<(3 * 3600): "\(seconds / 60)m"
        case ..<(8 * 3600): pair(seconds / 3600, "h", seconds / 60 % 60, "m")
        case ..<(48 * 3600): "\(seconds / 3600)h"
        case ..<(192 * 3600): pair(seconds / 86_400, "d", seconds / 3600 % 24, "h")
        case ..<(2 * year): "\(seconds / 86_400)d"
        case ..<(8 * year): pair(seconds / year, "y", seconds / 86_400 % 365, "d")
        default: "\(seconds / year)y"
        }
    }

    /// ShortHumanDuration: `23h`.
    package static func short(seconds: Int64) -> String {
        switch seconds {
        case ..<(-1): "<invalid>"
        case ..<0: "0s"
        case ..<60: "\(seconds)s"
        case ..<3600: "\(seconds / 60)m"
        case ..<86_400: "\(seconds / 3600)h"
        case ..<year: "\(seconds / 86_400)d"
        default: "\(seconds / year)y"
        }
    }

    private static func pair(_ a: Int64, _ unit: String, _ b: Int64, _ smaller: String) -> String {
        b == 0 ? "\(a)\(unit)" : "\(a)\(unit)\(b)\(smaller)"
    }
}
