internal import Codecs
internal import KubeAPI

/// Texts that cells are made of.
enum TableText {
    static func since(_ time: Timestamp?, _ now: Timestamp) -> String {
        guard let time else { return "<unknown>" }
        let (difference, overflow) = now.nanoseconds.subtractingReportingOverflow(time.nanoseconds)
        guard !overflow else { return "<unknown>" }
        // Toward zero, as Go's int(d.Seconds()).
        return HumanDuration.text(seconds: difference / 1_000_000_000)
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
