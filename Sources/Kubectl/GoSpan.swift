import Codecs
import KubeAPI

/// Durations as Go reads them and as Kubernetes shows ages.
enum GoSpan {
    /// `1h30m`, `300ms`, `1.5s`; nil for anything else.
    static func seconds(_ text: String) -> Double? {
        var rest = text[...]
        let isNegative = rest.hasPrefix("-")
        if isNegative || rest.hasPrefix("+") { rest = rest.dropFirst() }
        if rest == "0" { return 0 }
        guard !rest.isEmpty else { return nil }
        var total = 0.0
        while !rest.isEmpty {
            let number = rest.prefix { $0 == "." || ("0"..."9").contains($0) }
            rest = rest.dropFirst(number.count)
            let unit = rest.prefix { $0 != "." && !("0"..."9").contains($0) }
            rest = rest.dropFirst(unit.count)
            let factor: Double
            switch unit {
            case "ns": factor = 1e-9
            case "us", "µs": factor = 1e-6
            case "ms": factor = 1e-3
            case "s": factor = 1
            case "m": factor = 60
            case "h": factor = 3600
            default: return nil
            }
            guard let value = Double(number) else { return nil }
            total += value * factor
        }
        return isNegative ? -total : total
    }

    /// `8759h59m52s`, as time.Duration prints whole seconds.
    static func text(_ seconds: Int64) -> String {
        if seconds < 60 { return "\(seconds)s" }
        if seconds < 3600 { return "\(seconds / 60)m\(seconds % 60)s" }
        return "\(seconds / 3600)h\(seconds / 60 % 60)m\(seconds % 60)s"
    }

    /// `5m12s`, `3d4h`: k8s.io/apimachinery/pkg/util/duration HumanDuration.
    static func human(_ s: Int64) -> String {
        func pair(_ a: Int64, _ x: String, _ b: Int64, _ y: String) -> String {
            b == 0 ? "\(a)\(x)" : "\(a)\(x)\(b)\(y)"
        }
        switch s {
        case ..<(-1): return "<invalid>"
        case ..<0: return "0s"
        case ..<120: return "\(s)s"
        case ..<600: return pair(s / 60, "m", s % 60, "s")
        case ..<(3 * 3600): return "\(s / 60)m"
        case ..<(8 * 3600): return pair(s / 3600, "h", s / 60 % 60, "m")
        case ..<(48 * 3600): return "\(s / 3600)h"
        case ..<(192 * 3600): return pair(s / 86400, "d", s / 3600 % 24, "h")
        case ..<(730 * 86400): return "\(s / 86400)d"
        case ..<(8 * 365 * 86400): return pair(s / 86400 / 365, "y", s / 86400 % 365, "d")
        default: return "\(s / 86400 / 365)y"
        }
    }

    /// Since a time of the API; `<unknown>` for none.
    static func age(_ time: JSON) -> String {
        guard let text = time.string, let then = Timestamp(text) else { return "<unknown>" }
        return human((SystemClock().now().nanoseconds - then.nanoseconds) / 1_000_000_000)
    }
}
