internal import Codecs
internal import KubeAPI

/// Texts that cells are made of.
enum TableText {
    /// A duration for people: two units at most. Source: k8s.io/apimachinery/pkg/util/duration.HumanDuration.
    static func duration(seconds: Int64) -> String {
        if seconds < -1 { return "<invalid>" }
        if seconds < 0 { return "0s" }
        if seconds < 120 { return "\(seconds)s" }
        let minutes = seconds / 60
        if minutes < 10 { return pair(minutes, "m", seconds % 60, "s") }
        if minutes < 180 { return "\(minutes)m" }
        let hours = minutes / 60
        if hours < 8 { return pair(hours, "h", minutes % 60, "m") }
        if hours < 48 { return "\(hours)h" }
        if hours < 192 { return pair(hours / 24, "d", hours % 24, "h") }
        if hours < 24 * 365 * 2 { return "\(hours / 24)d" }
        if hours < 24 * 365 * 8 { return pair(hours / 24 / 365, "y", hours / 24 % 365, "d") }
        return "\(hours / 24 / 365)y"
    }

    private static func pair(_ a: Int64, _ unit: String, _ b: Int64, _ smaller: String) -> String {
        b == 0 ? "\(a)\(unit)" : "\(a)\(unit)\(b)\(smaller)"
    }

    static func since(_ time: Timestamp?, _ now: Timestamp) -> String {
        guard let time else { return "<unknown>" }
        let (difference, overflow) = now.nanoseconds.subtractingReportingOverflow(time.nanoseconds)
        guard !overflow else { return "<unknown>" }
        // Toward zero, as Go's int(d.Seconds()).
        return duration(seconds: difference / 1_000_000_000)
    }

    static func since(_ time: JSON, _ now: Timestamp) -> String { since(time.string.flatMap { Timestamp($0) }, now) }

    /// "a=b,c=d", or "<none>".
    static func labels(_ labels: JSON) -> String {
        let map = labels.stringMap
        if map.isEmpty { return "<none>" }
        return map.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
    }

    /// metav1.FormatLabelSelector
    static func selector(_ selector: JSON) -> String {
        guard !selector.isNull, let parsed = try? LabelSelector(json: selector), !parsed.isEverything else {
            return "<none>"
        }
        return parsed.text
    }

    static func orNone(_ text: String?) -> JSON { .string(text.flatMap { $0.isEmpty ? nil : $0 } ?? "<none>") }

    /// The first three of a list and how many more there are.
    static func firstThree(_ list: [String], empty: String) -> String {
        if list.isEmpty { return empty }
        let shown = list.prefix(3).joined(separator: ",")
        return list.count > 3 ? "\(shown) + \(list.count - 3) more..." : shown
    }

    static func hostPort(_ host: String, _ port: Int64) -> String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}

extension KubeObject {
    func age(_ now: Timestamp) -> String { TableText.since(creationTimestamp, now) }

    func condition(_ type: String) -> JSON {
        status["conditions"].elements.first { $0["type"].string == type } ?? .null
    }
}
