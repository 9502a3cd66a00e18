/// The text of a template in pieces, and the words of an action as a pipeline.
struct GoTemplateParser {
    enum Piece {
        case text(String)
        case action([Substring])
    }

    typealias Failure = GoTemplate.Failure
    var pieces: ArraySlice<Piece>

    init(_ pieces: ArraySlice<Piece>) { self.pieces = pieces }

    static func split(_ text: String) throws(Failure) -> [Piece] {
        var pieces: [Piece] = []
        var rest = text[...]
        while let open = rest.firstRange(of: "{{") {
            var before = rest[..<open.lowerBound]
            rest = rest[open.upperBound...]
            if rest.hasPrefix("- ") || rest.hasPrefix("-\n") || rest.hasPrefix("-}}") {
                while before.last?.isWhitespace == true { before.removeLast() }
                rest = rest.dropFirst()
            }
            if !before.isEmpty { pieces.append(.text(String(before))) }
            if rest.drop(while: \.isWhitespace).hasPrefix("/*") {
                guard let end = rest.firstRange(of: "*/") else { throw Failure("template: unclosed comment") }
                rest = rest[end.upperBound...].drop(while: \.isWhitespace)
            }
            var words: [Substring] = []
            while true {
                rest = rest.drop(while: \.isWhitespace)
                let trims = rest.hasPrefix("-}}")
                if trims || rest.hasPrefix("}}") {
                    rest = rest.dropFirst(trims ? 3 : 2)
                    if trims { rest = rest.drop(while: \.isWhitespace) }
                    break
                }
                words.append(try word(&rest))
            }
            pieces.append(.action(words))
        }
        if !rest.isEmpty { pieces.append(.text(String(rest))) }
        return pieces
    }

    private static func word(_ rest: inout Substring) throws(Failure) -> Substring {
        guard let first = rest.first else { throw Failure("template: unclosed action") }
        let whole = rest
        if first == "\"" || first == "`" || first == "'" {
            rest = rest.dropFirst()
            while let next = rest.popFirst(), next != first {
                if next == "\\", first != "`" { rest = rest.dropFirst() }
            }
            return whole[..<rest.startIndex]
        }
        if rest.hasPrefix(":=") {
            rest = rest.dropFirst(2)
        } else if "()|,=".contains(first) {
            rest = rest.dropFirst()
            // Fields of what is in the parentheses.
            if first == ")", rest.first == "." { rest = rest.drop { $0 == "." || isName($0) } }
        } else {
            rest = rest.drop { isName($0) || ".$-+".contains($0) }
        }
        guard rest.startIndex > whole.startIndex else { throw Failure("template: unexpected \"\(first)\" in command") }
        return whole[..<rest.startIndex]
    }

    private static func isName(_ character: Character) -> Bool {
        character.isLetter || character.isNumber || character == "_"
    }

    static func pipeline(_ words: ArraySlice<Substring>) throws(Failure) -> GoTemplate.Pipeline {
        var words = words
        let result = try pipeline(&words, depth: 0)
        guard words.isEmpty else { throw Failure("template: unexpected \"\(words[words.startIndex])\" in command") }
        return result.pipeline
    }

    private static func pipeline(
        _ words: inout ArraySlice<Substring>, depth: Int
    ) throws(Failure) -> (pipeline: GoTemplate.Pipeline, fields: [String]) {
        guard depth < 32 else { throw Failure("template: parentheses are nested too deeply") }
        var result = GoTemplate.Pipeline()
        if let end = words.firstIndex(where: { $0 == ":=" || $0 == "=" }), depth == 0 {
            for word in words[..<end] where word != "," {
                guard word.hasPrefix("$") else { throw Failure("template: expected a variable; found \"\(word)\"") }
                result.variables.append(String(word))
            }
            result.assigns = words[end] == "="
            words = words[(end + 1)...]
        }
        var command: [GoTemplate.Operand] = []
        while let word = words.popFirst() {
            if word == "|" {
                result.commands.append(command)
                command = []
            } else if word == "(" {
                let inner = try pipeline(&words, depth: depth + 1)
                command.append(.group(inner.pipeline, inner.fields))
            } else if word.hasPrefix(")") {
                guard depth > 0 else { throw Failure("template: unexpected right paren") }
                result.commands.append(command)
                return (result, path(word.dropFirst()))
            } else {
                command.append(try operand(word))
            }
        }
        guard depth == 0 else { throw Failure("template: unclosed left paren") }
        result.commands.append(command)
        guard !result.commands.contains(where: \.isEmpty) else { throw Failure("template: missing value for command") }
        return (result, [])
    }

    private static func path(_ text: Substring) -> [String] { text.split(separator: ".").map(String.init) }

    private static func operand(_ word: Substring) throws(Failure) -> GoTemplate.Operand {
        switch word.first {
        case ".": return .field(path(word))
        case "$":
            let parts = path(word)
            return .variable(parts.first ?? "$", Array(parts.dropFirst()))
        case "`": return .literal(.string(String(word.dropFirst().dropLast())))
        case "\"":
            guard case .string(let text)? = try? JSON.parse(Array(word.utf8)) else {
                throw Failure("template: bad string \(word)")
            }
            return .literal(.string(text))
        default:
            switch word {
            case "true", "false": return .literal(.bool(word == "true"))
            case "nil": return .literal(.null)
            default:
                if let number = Int64(word) { return .literal(.int(number)) }
                if word.first?.isNumber == true, let number = Double(word) { return .literal(.double(number)) }
                return .name(String(word))
            }
        }
    }
}
