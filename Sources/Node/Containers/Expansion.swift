/// Variable references in commands, arguments, environment values and subPathExpr: `$(NAME)` is replaced where NAME is
/// known and left as it is where not; `$$` is a plain `$`.
/// Source: k8s.io/kubernetes/third_party/forked/golang/expansion.
package enum Expansion {
    package static func expand(_ text: String, _ value: (String) -> String?) -> String {
        let input = Array(text.utf8)
        guard input.contains(UInt8(ascii: "$")) else { return text }
        var out: [UInt8] = []
        out.reserveCapacity(input.count)
        var at = 0
        while at < input.count {
            guard input[at] == UInt8(ascii: "$"), at + 1 < input.count else {
                out.append(input[at])
                at += 1
                continue
            }
            switch input[at + 1] {
            case UInt8(ascii: "$"):
                out.append(UInt8(ascii: "$"))
                at += 2
            case UInt8(ascii: "("):
                guard let end = input[(at + 2)...].firstIndex(of: UInt8(ascii: ")")) else {
                    out.append(contentsOf: input[at..<at + 2])
                    at += 2
                    continue
                }
                let name = String(decoding: input[(at + 2)..<end], as: UTF8.self)
                if let value = value(name) {
                    out.append(contentsOf: value.utf8)
                } else {
                    out.append(contentsOf: input[at...end])
                }
                at = end + 1
            default:
                out.append(contentsOf: input[at..<at + 2])
                at += 2
            }
        }
        return String(decoding: out, as: UTF8.self)
    }

    /// Like `expand`, but a name that is not known is an error: what subPathExpr asks for. Returns the name.
    package static func missing(_ text: String, _ value: (String) -> String?) -> [String] {
        var missing: [String] = []
        _ = expand(text) { name in
            if value(name) == nil { missing.append(name) }
            return value(name)
        }
        return missing
    }
}
