import Linux

/// A rewrite rule of a mirror: a regular expression on the repository's path and what to put in its place, where $1 or
/// ${1} is a group. k3s's rules are Go expressions; they run here on the C library's extended expressions, into which
/// the common Perl classes and `(?:` are translated. What has no counterpart (lazy quantifiers, look-around, named
/// groups, flags) is refused when the file is read.
package struct RepositoryRewrite: Sendable, Equatable {
    package let pattern: String
    package let replacement: String
    private let translated: String
    /// Index of each Go group among the translated ones: `(?:` becomes a group too.
    private let groups: [Int]

    /// The reason a pattern is refused.
    struct Refusal: Error { var reason: String }

    init(pattern: String, replacement: String) throws(Refusal) {
        (self.pattern, self.replacement) = (pattern, replacement)
        (translated, groups) = try Self.translate(pattern)
        var compiled = regex_t()
        let code = regcomp(&compiled, translated, REG_EXTENDED)
        guard code == 0 else { throw Refusal(reason: Self.message(code, &compiled)) }
        regfree(&compiled)
    }

    /// Replaces every match, as Go's ReplaceAllString; nil: no match.
    func apply(_ repository: String) -> String? {
        var compiled = regex_t()
        guard regcomp(&compiled, translated, REG_EXTENDED) == 0 else { return nil }
        defer { regfree(&compiled) }
        let text = Array(repository.utf8)
        var result: [UInt8] = []
        var position = 0
        var matched = false
        var previousEnd: Int?
        var matches = [regmatch_t](repeating: regmatch_t(), count: (groups.last ?? 0) + 1)
        while position <= text.count {
            let rest = text[position...].map { CChar(bitPattern: $0) } + [0]
            let flags = position == 0 ? 0 : REG_NOTBOL
            guard regexec(&compiled, rest, matches.count, &matches, flags) == 0 else { break }
            let (start, end) = (position + Int(matches[0].rm_so), position + Int(matches[0].rm_eo))
            result.append(contentsOf: text[position..<start])
            // An empty match right after a match does not count in Go.
            if start != end || start != previousEnd {
                matched = true
                expand(into: &result, text, position, matches)
            }
            previousEnd = end
            if end == start {
                if start < text.count { result.append(text[start]) }
                position = end + 1
            } else {
                position = end
            }
        }
        guard matched else { return nil }
        if position < text.count { result.append(contentsOf: text[position...]) }
        return String(decoding: result, as: UTF8.self)
    }

    private func expand(into result: inout [UInt8], _ text: [UInt8], _ offset: Int, _ matches: [regmatch_t]) {
        var rest = Array(replacement.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "$"), let next = rest.first else {
                result.append(byte)
                continue
            }
            if next == UInt8(ascii: "$") {
                rest.removeFirst()
                result.append(byte)
                continue
            }
            let braced = next == UInt8(ascii: "{")
            let body = braced ? rest.dropFirst() : rest
            // As in Go, $1x is a group named "1x", which does not exist and is empty.
            let name = body.prefix {
                $0 == UInt8(ascii: "_") || (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0)
            }
            guard !name.isEmpty, !braced || body.dropFirst(name.count).first == UInt8(ascii: "}") else {
                result.append(byte)
                continue
            }
            rest = body.dropFirst(name.count + (braced ? 1 : 0))
            guard let number = Int(String(decoding: name, as: UTF8.self)), groups.indices.contains(number) else {
                continue
            }
            let match = matches[groups[number]]
            if match.rm_so >= 0 {
                result.append(contentsOf: text[(offset + Int(match.rm_so))..<(offset + Int(match.rm_eo))])
            }
        }
    }

    private static func translate(_ pattern: String) throws(Refusal) -> (String, [Int]) {
        guard pattern.utf8.allSatisfy({ $0 >= 32 && $0 < 127 }) else { throw Refusal(reason: "want printable ASCII") }
        guard pattern.utf8.count <= 1024 else { throw Refusal(reason: "longer than 1024 characters") }
        var result = ""
        var groups = [0]
        var count = 0
        var quantified = false
        var inBrackets = false
        var characters = Array(pattern)[...]
        while let c = characters.popFirst() {
            if inBrackets {
                guard c == "\\" else {
                    if c == "]" { inBrackets = false }
                    result.append(c)
                    continue
                }
                guard let next = characters.popFirst() else { throw Refusal(reason: "trailing backslash") }
                switch next {
                case "d": result += "0-9"
                case "w": result += "0-9A-Za-z_"
                case "s": result += "[:space:]"
                case ".", "/", "-", "_", "+", "*", "?", "$", "(", ")", "{", "}", "|":
                    // "-" keeps its place only at an end, which cannot be known here.
                    guard next != "-" || characters.first == "]" else {
                        throw Refusal(reason: "\\- inside brackets: put the - last")
                    }
                    result.append(next)
                default: throw Refusal(reason: "\\\(next) inside brackets is not supported")
                }
                continue
            }
            let wasQuantified = quantified
            quantified = false
            switch c {
            case "\\":
                guard let next = characters.popFirst() else { throw Refusal(reason: "trailing backslash") }
                switch next {
                case "d": result += "[0-9]"
                case "D": result += "[^0-9]"
                case "w", "W", "s", "S", "b", "B": result += "\\\(next)"
                case "A": result += "^"
                case "z": result += "$"
                default:
                    guard !next.isLetter, !next.isNumber else { throw Refusal(reason: "\\\(next) is not supported") }
                    result += "\\\(next)"
                }
            case "[":
                inBrackets = true
                result.append(c)
                if characters.first == "^" { result.append(characters.removeFirst()) }
                if characters.first == "]" { result.append(characters.removeFirst()) }
            case "(":
                count += 1
                if characters.first == "?" {
                    guard characters.starts(with: ["?", ":"]) else {
                        throw Refusal(reason: "only (?: is supported of (?")
                    }
                    characters.removeFirst(2)
                } else {
                    groups.append(count)
                }
                result.append(c)
            case "*", "+", "?":
                if wasQuantified { throw Refusal(reason: "lazy or doubled quantifiers are not supported") }
                quantified = true
                result.append(c)
            case "}":
                quantified = true
                result.append(c)
            default: result.append(c)
            }
        }
        return (result, groups)
    }

    private static func message(_ code: Int32, _ compiled: inout regex_t) -> String {
        var buffer = [CChar](repeating: 0, count: 128)
        regerror(code, &compiled, &buffer, buffer.count)
        return text(buffer)
    }
}
