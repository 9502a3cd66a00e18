import Codecs

/// kubectl's JSONPath templates: `{range .items[*]}{.metadata.name}{"\n"}{end}`.
///
/// Source: kubernetes.io/docs/reference/kubectl/jsonpath. Missing fields give nothing, an index outside is an error.
struct JSONPath {
    indirect enum Node {
        case text(String)
        case path([Step])
        case range([Step], [Node])
    }
    enum Step {
        case root
        case current
        case field(String)
        case wildcard
        case index(Int)
        case slice(Int?, Int?, Int?)
        case recursive
        case filter([Step], String, Operand)
        case union([[Step]])
        case literal(JSON)
    }
    enum Operand {
        case none
        case value(JSON)
        case path([Step])
    }
    struct Failure: Error, CustomStringConvertible { var description: String }

    let nodes: [Node]

    init(_ template: String) throws {
        var parser = Parser(Array(template))
        nodes = try parser.nodes(inRange: false)
    }

    /// A bare path, with or without braces and the leading dot: of `--sort-by` and custom columns.
    init(relaxed text: String) throws {
        var body = text[...]
        if body.hasPrefix("{"), body.hasSuffix("}") { body = body.dropFirst().dropLast() }
        guard !body.isEmpty, !body.contains(where: { $0 == "{" || $0 == "}" }) else {
            throw CommandError(
                "unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or '{.name1.name2}'"
            )
        }
        try self.init("{" + (body.hasPrefix(".") || body.hasPrefix("$") ? "" : ".") + body + "}")
    }

    func text(_ document: JSON) throws -> String {
        var out = ""
        try run(nodes, document, document, &out)
        return out
    }

    private func run(_ nodes: [Node], _ root: JSON, _ current: JSON, _ out: inout String) throws {
        for node in nodes {
            switch node {
            case .text(let text): out += text
            case .path(let steps):
                out += try Self.values(steps, root, current).map(Self.shown).joined(separator: " ")
            case .range(let steps, let body):
                for value in try Self.values(steps, root, current) { try run(body, root, value, &out) }
            }
        }
    }

    /// What all paths of the template give.
    func values(_ document: JSON) throws -> [JSON] {
        try nodes.flatMap { node -> [JSON] in
            if case .path(let steps) = node { try Self.values(steps, document, document) } else { [] }
        }
    }

    static func shown(_ value: JSON) -> String {
        switch value {
        case .null: ""
        case .string(let text): text
        default: value.sorted.text
        }
    }

    private static func values(_ steps: [Step], _ root: JSON, _ current: JSON) throws -> [JSON] {
        var found = [current]
        for step in steps {
            var next: [JSON] = []
            for value in found {
                switch step {
                case .root: next.append(root)
                case .current: next.append(value)
                case .literal(let literal): next.append(literal)
                case .field(let name):
                    if let member = value.object?[name] { next.append(member) }
                case .wildcard:
                    if let list = value.array { next += list }
                    if let object = value.object { next += object.members.sorted { $0.key < $1.key }.map(\.value) }
                case .index(let index):
                    guard let list = value.array else {
                        if value.isNull { continue }
                        throw Failure(description: "\(value.sorted.text) is not array or slice")
                    }
                    let place = index < 0 ? index + list.count : index
                    guard list.indices.contains(place) else {
                        throw Failure(
                            description: "array index out of bounds: index \(index), length \(list.count)")
                    }
                    next.append(list[place])
                case .slice(let from, let to, let by):
                    guard let list = value.array else { continue }
                    let start = max(0, min(list.count, from.map { $0 < 0 ? $0 + list.count : $0 } ?? 0))
                    let end = max(start, min(list.count, to.map { $0 < 0 ? $0 + list.count : $0 } ?? list.count))
                    var at = start
                    while at < end {
                        next.append(list[at])
                        at += max(1, by ?? 1)
                    }
                case .recursive: descend(value, &next)
                case .union(let paths):
                    for path in paths { next += try values(path, root, value) }
                case .filter(let left, let op, let right):
                    for element in value.array ?? [] where try holds(element, left, op, right, root) {
                        next.append(element)
                    }
                }
            }
            found = next
        }
        return found
    }

    private static func descend(_ value: JSON, _ out: inout [JSON]) {
        out.append(value)
        for element in value.elements { descend(element, &out) }
        for (_, member) in value.object?.members.sorted(by: { $0.key < $1.key }) ?? [] { descend(member, &out) }
    }

    private static func holds(_ element: JSON, _ left: [Step], _ op: String, _ right: Operand, _ root: JSON) throws
        -> Bool
    {
        let mine = try values(left, root, element)
        guard let a = mine.first else { return false }
        let b: JSON
        switch right {
        case .none: return true
        case .value(let value): b = value
        case .path(let steps):
            guard let value = try values(steps, root, element).first else { return false }
            b = value
        }
        let order: Bool?
        if let x = a.double, let y = b.double {
            order = x < y
        } else if let x = a.string, let y = b.string {
            order = x < y
        } else {
            order = nil
        }
        switch op {
        case "==": return a == b
        case "!=": return a != b
        case "<": return order == .some(true)
        case ">": return order == .some(false) && a != b
        case "<=": return order == .some(true) || a == b
        default: return order == .some(false)
        }
    }

    // MARK: - Parsing

    private struct Parser {
        let text: [Character]
        var at = 0
        init(_ text: [Character]) { self.text = text }

        func failure(_ what: String) -> CommandError { CommandError("error parsing jsonpath \(String(text)), \(what)") }
        var peek: Character? { at < text.count ? text[at] : nil }

        mutating func nodes(inRange: Bool) throws -> [Node] {
            var nodes: [Node] = []
            var plain = ""
            while let c = peek {
                guard c == "{" else {
                    plain.append(c)
                    at += 1
                    continue
                }
                if !plain.isEmpty {
                    nodes.append(.text(plain))
                    plain = ""
                }
                at += 1
                skipSpaces()
                if takeWord("end") {
                    try close()
                    guard inRange else { throw failure("not in range, nothing to end") }
                    return nodes
                }
                if takeWord("range") {
                    skipSpaces()
                    let steps = try path(until: "}")
                    try close()
                    nodes.append(.range(steps, try self.nodes(inRange: true)))
                    continue
                }
                while let c = peek, c != "}" {
                    if c == "\"" || c == "'" {
                        nodes.append(.text(try quoted()))
                    } else if c.isWhitespace {
                        at += 1
                    } else {
                        nodes.append(.path(try path(until: "}")))
                    }
                }
                try close()
            }
            if !plain.isEmpty { nodes.append(.text(plain)) }
            guard !inRange else { throw failure("unclosed range: {end} is expected") }
            return nodes
        }

        private mutating func skipSpaces() { while let c = peek, c.isWhitespace { at += 1 } }

        private mutating func takeWord(_ word: String) -> Bool {
            let letters = Array(word)
            guard at + letters.count <= text.count, Array(text[at..<at + letters.count]) == letters else {
                return false
            }
            if at + letters.count < text.count, text[at + letters.count].isLetter { return false }
            at += letters.count
            return true
        }

        private mutating func close() throws {
            skipSpaces()
            guard peek == "}" else { throw failure("unclosed action") }
            at += 1
        }

        private mutating func quoted() throws -> String {
            guard let mark = peek else { return "" }
            at += 1
            var out = ""
            while let c = peek, c != mark {
                at += 1
                guard c == "\\", let next = peek else {
                    out.append(c)
                    continue
                }
                at += 1
                switch next {
                case "n": out.append("\n")
                case "t": out.append("\t")
                case "r": out.append("\r")
                default: out.append(next)
                }
            }
            guard peek == mark else { throw failure("unterminated quoted string") }
            at += 1
            return out
        }

        /// Steps up to `end`, an operator, a comma, a bracket or a space.
        private mutating func path(until end: Character) throws -> [Step] {
            var steps: [Step] = []
            while let c = peek, c != end, !c.isWhitespace, !"=!<>,)".contains(where: { $0 == c }) {
                switch c {
                case "$":
                    at += 1
                    steps.append(.root)
                case "@":
                    at += 1
                    steps.append(.current)
                case ".":
                    at += 1
                    if peek == "." {
                        at += 1
                        steps.append(.recursive)
                    }
                    if peek == "[" || peek == nil || peek == end { continue }
                    if peek == "*" {
                        at += 1
                        steps.append(.wildcard)
                        continue
                    }
                    let name = fieldName(end)
                    if !name.isEmpty { steps.append(.field(name)) }
                case "[": try brackets(&steps)
                case "*":
                    at += 1
                    steps.append(.wildcard)
                default:
                    let name = fieldName(end)
                    if let number = Int64(name), steps.isEmpty {
                        steps.append(.literal(.int(number)))
                    } else {
                        guard !name.isEmpty else {
                            throw failure(
                                "unrecognized character in action: U+\(String(c.unicodeScalars.first?.value ?? 0, radix: 16))"
                            )
                        }
                        if steps.isEmpty { throw failure("unrecognized identifier \(name)") }
                        steps.append(.field(name))
                    }
                }
            }
            return steps
        }

        private mutating func fieldName(_ end: Character) -> String {
            var name = ""
            while let c = peek {
                if c == "\\", at + 1 < text.count {
                    name.append(text[at + 1])
                    at += 2
                    continue
                }
                if c == end || c == "." || c == "[" || c == "]" || c.isWhitespace
                    || "=!<>,)$@{}".contains(where: { $0 == c })
                {
                    break
                }
                name.append(c)
                at += 1
            }
            return name
        }

        private mutating func brackets(_ steps: inout [Step]) throws {
            at += 1
            skipSpaces()
            if peek == "?" {
                at += 1
                guard peek == "(" else { throw failure("unterminated filter") }
                at += 1
                skipSpaces()
                let left = try path(until: ")")
                skipSpaces()
                var op = ""
                while let c = peek, "=!<>".contains(where: { $0 == c }) {
                    op.append(c)
                    at += 1
                }
                skipSpaces()
                var right = Operand.none
                if !op.isEmpty {
                    if peek == "\"" || peek == "'" {
                        right = .value(.string(try quoted()))
                    } else if peek == "@" || peek == "$" || peek == "." {
                        right = .path(try path(until: ")"))
                    } else {
                        var word = ""
                        while let c = peek, c != ")", !c.isWhitespace {
                            word.append(c)
                            at += 1
                        }
                        guard let value = try? JSON.parse(word) else { throw failure("unrecognized operand \(word)") }
                        right = .value(value)
                    }
                }
                skipSpaces()
                guard peek == ")" else { throw failure("unterminated filter") }
                at += 1
                guard peek == "]" else { throw failure("unclosed array expect ]") }
                at += 1
                steps.append(.filter(left, op, right))
                return
            }
            var choices: [[Step]] = []
            while let c = peek, c != "]" {
                if c == "," || c.isWhitespace {
                    at += 1
                } else if c == "'" || c == "\"" {
                    choices.append([.field(try quoted())])
                } else if c == "*" {
                    at += 1
                    choices.append([.wildcard])
                } else {
                    var word = ""
                    while let c = peek, c != "]", c != "," {
                        word.append(c)
                        at += 1
                    }
                    let parts = word.split(separator: ":", omittingEmptySubsequences: false).map { String($0).trimmed }
                    if parts.count == 1, let index = Int(parts[0]) {
                        choices.append([.index(index)])
                    } else if parts.count > 1, parts.count < 4, parts.allSatisfy({ $0.isEmpty || Int($0) != nil }) {
                        choices.append([
                            .slice(Int(parts[0]), Int(parts[1]), parts.count == 3 ? Int(parts[2]) : nil)
                        ])
                    } else if word.hasPrefix(".") || word.hasPrefix("@") || word.hasPrefix("$") {
                        var inner = Parser(Array(word + "]"))
                        choices.append(try inner.path(until: "]"))
                    } else {
                        throw failure("invalid array index \(word)")
                    }
                }
            }
            guard peek == "]" else { throw failure("unterminated array") }
            at += 1
            if choices.count == 1 { steps += choices[0] } else { steps.append(.union(choices)) }
        }
    }
}
