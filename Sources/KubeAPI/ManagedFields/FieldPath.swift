internal import Codecs

/// One step of a path to an owned field: a member, an element of a keyed list, a value of a set, or an index.
///
/// The text is what stands behind the prefix in the wire form: `f:replicas`, `k:{"name":"web"}`, `v:"a"`, `i:2`; keys and
/// values are compact JSON with sorted members, so that equal elements have equal texts.
/// Source: structured-merge-diff, fieldpath.
package struct PathElement: Sendable, Hashable {
    package enum Kind: UInt8, Sendable {
        case field, key, value, index
    }
    package let kind: Kind
    package let text: String

    package init(_ kind: Kind, _ text: String) { (self.kind, self.text) = (kind, text) }
    package static func field(_ name: String) -> Self { Self(.field, name) }

    /// An element of a keyed list; nil where it has none of the keys.
    static func key(_ members: [(String, JSON)]) -> Self? {
        if members.isEmpty { return nil }
        let sorted = members.count < 2 ? members : members.sorted { $0.0 < $1.0 }
        return Self(.key, JSON.object(JSONObject(members: sorted.map { (key: $0.0, value: $0.1) })).text)
    }
    static func value(_ value: JSON) -> Self { Self(.value, value.text) }

    /// "f:name" and the like; nil for anything else.
    package init?(wire: String) {
        let bytes = wire.utf8
        guard bytes.count >= 2, bytes[bytes.index(after: bytes.startIndex)] == UInt8(ascii: ":"),
            let first = bytes.first
        else { return nil }
        let text = String(wire.unicodeScalars.dropFirst(2))
        switch first {
        case UInt8(ascii: "f"): self.init(.field, text)
        case UInt8(ascii: "k"):
            guard let json = try? JSON.parse(text), case .object(let object) = json,
                let key = Self.key(object.members.map { ($0.key, $0.value) })
            else { return nil }
            self = key
        case UInt8(ascii: "v"):
            guard let json = try? JSON.parse(text) else { return nil }
            self = .value(json)
        case UInt8(ascii: "i"):
            guard Int64(text) != nil else { return nil }
            self.init(.index, text)
        default: return nil
        }
    }

    static func prefix(_ kind: Kind) -> UInt8 {
        switch kind {
        case .field: UInt8(ascii: "f")
        case .key: UInt8(ascii: "k")
        case .value: UInt8(ascii: "v")
        case .index: UInt8(ascii: "i")
        }
    }

    /// As conflicts show it: `.replicas`, `[name="web"]`, `[="a"]`, `[2]`.
    package var shown: String {
        switch kind {
        case .field: return "." + text
        case .index: return "[\(text)]"
        case .value: return "[=\(text)]"
        case .key:
            guard let json = try? JSON.parse(text), case .object(let object) = json else { return "[\(text)]" }
            return "[" + object.members.map { "\($0.key)=\($0.value.text)" }.joined(separator: ",") + "]"
        }
    }
}

extension PathElement: Comparable {
    /// Members, keys, values, indexes; numbers by their value.
    package static func < (a: Self, b: Self) -> Bool {
        if a.kind != b.kind { return a.kind.rawValue < b.kind.rawValue }
        if a.kind == .field { return a.text < b.text }
        return ordered(a.text, b.text)
    }

    /// By bytes, but a run of digits outside of a string counts as a number.
    private static func ordered(_ a: String, _ b: String) -> Bool {
        var (a, b) = (a, b)
        return a.withUTF8 { x in
            b.withUTF8 { y in
                var at = 0
                var quoted = false
                let end = min(x.count, y.count)
                while at < end, x[at] == y[at] {
                    if x[at] == UInt8(ascii: "\""), at == 0 || x[at - 1] != UInt8(ascii: "\\") { quoted.toggle() }
                    at += 1
                }
                guard at < x.count, at < y.count else { return x.count < y.count }
                if !quoted, isDigit(x[at]) || isDigit(y[at]) {
                    let (m, n) = (digits(x, at), digits(y, at))
                    if m != n { return m < n }
                }
                return x[at] < y[at]
            }
        }
    }
    private static func isDigit(_ byte: UInt8) -> Bool { byte &- 48 < 10 }
    private static func digits(_ text: UnsafeBufferPointer<UInt8>, _ start: Int) -> Int {
        var end = start
        while end < text.count, isDigit(text[end]) { end += 1 }
        return end - start
    }
}
