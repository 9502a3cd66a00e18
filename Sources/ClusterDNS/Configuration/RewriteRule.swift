/// A `rewrite name` rule: which name is looked up instead of the one that was asked.
package struct RewriteRule: Sendable, Equatable {
    package enum Match: String, Sendable { case exact, prefix, suffix, substring }
    package var match: Match
    package var from: String
    package var to: String
    /// Whether the rules after it are not looked at any more.
    package var stops: Bool

    package init(_ match: Match, from: String, to: String, stops: Bool = true) {
        (self.match, self.stops) = (match, stops)
        self.from = RewriteRule.normal(from, match)
        self.to = RewriteRule.normal(to, match)
    }

    private static func normal(_ text: String, _ match: Match) -> String {
        let text = text.lowercased()
        switch match {
        case .exact, .suffix: return text.hasSuffix(".") ? text : text + "."
        case .prefix, .substring: return text
        }
    }

    /// nil: the rule does not match, or gives no name.
    func rewrite(_ name: DNSName) -> DNSName? {
        let text = name.description
        switch match {
        case .exact: return text == from ? DNSName(to) : nil
        case .prefix: return text.hasPrefix(from) ? DNSName(to + String(text.dropFirst(from.count))) : nil
        case .suffix: return text.hasSuffix(from) ? DNSName(String(text.dropLast(from.count)) + to) : nil
        case .substring:
            guard !from.isEmpty else { return nil }
            var (out, rest, found) = ("", text[...], false)
            while !rest.isEmpty {
                if rest.hasPrefix(from) {
                    out += to
                    rest = rest.dropFirst(from.count)
                    found = true
                } else {
                    out.append(rest.removeFirst())
                }
            }
            return found ? DNSName(out) : nil
        }
    }
}
