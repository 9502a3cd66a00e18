/// A template of Go's text/template over JSON, as `-o go-template` wants it: actions with fields, indices, variables,
/// pipelines, `if`, `with`, `range`, literals and the functions that such templates use. Not there: `define`, `template`,
/// `block`, `break` and `continue`; they are refused by name. A key that is not there is an error.
///
/// Source: pkg.go.dev/text/template.
package struct GoTemplate: Sendable {
    package struct Failure: Error, CustomStringConvertible, Equatable {
        package var description: String
        init(_ description: String) { self.description = description }
    }

    private indirect enum Node: Sendable {
        case text(String)
        case action(Pipeline)
        /// `if`, `with` and `range` with what follows `else`.
        case block(String, Pipeline, [Node], [Node])
    }

    struct Pipeline: Sendable {
        /// "$k", "$v"
        var variables: [String] = []
        var assigns = false
        var commands: [[Operand]] = []
    }

    indirect enum Operand: Sendable {
        case literal(JSON)
        /// A function's name.
        case name(String)
        /// "." with fields behind it.
        case field([String])
        case variable(String, [String])
        case group(Pipeline, [String])
    }

    private let nodes: [Node]

    package init(_ text: String) throws(Failure) {
        var parser = GoTemplateParser(try GoTemplateParser.split(text)[...])
        nodes = try Self.list(&parser, depth: 0).nodes
    }

    private static func list(
        _ parser: inout GoTemplateParser, depth: Int
    ) throws(Failure) -> (nodes: [Node], end: [Substring]) {
        guard depth < 64 else { throw Failure("template: blocks are nested too deeply") }
        var nodes: [Node] = []
        while let piece = parser.pieces.popFirst() {
            guard case .action(let words) = piece else {
                if case .text(let text) = piece { nodes.append(.text(text)) }
                continue
            }
            switch words.first {
            case nil: continue
            case "end", "else":
                guard depth > 0 else { throw Failure("template: unexpected {{\(words[0])}}") }
                return (nodes, words)
            case "if", "with", "range":
                let kind = String(words[0])
                nodes.append(try block(kind, words.dropFirst(), &parser, depth))
            case "define", "template", "block", "break", "continue":
                throw Failure("template: {{\(words[0])}} is not there")
            default: nodes.append(.action(try GoTemplateParser.pipeline(words[...])))
            }
        }
        guard depth == 0 else { throw Failure("template: unexpected EOF") }
        return (nodes, [])
    }

    private static func block(
        _ kind: String, _ words: ArraySlice<Substring>, _ parser: inout GoTemplateParser, _ depth: Int
    ) throws(Failure) -> Node {
        let pipeline = try GoTemplateParser.pipeline(words)
        let (body, end) = try list(&parser, depth: depth + 1)
        guard end.first == "else" else { return .block(kind, pipeline, body, []) }
        if end.count > 1 {
            // `else if` is an `if` in the `else`, which ends both.
            return .block(kind, pipeline, body, [try block(String(end[1]), end.dropFirst(2), &parser, depth + 1)])
        }
        let (other, last) = try list(&parser, depth: depth + 1)
        guard last.first == "end" else { throw Failure("template: expected end; found {{else}}") }
        return .block(kind, pipeline, body, other)
    }

    // MARK: - Running

    package func text(of value: JSON) throws(Failure) -> String {
        var run = Run(dot: value, variables: [("$", value)])
        try run.nodes(nodes)
        return run.out
    }

    private struct Run {
        var dot: JSON
        var variables: [(name: String, value: JSON)]
        var out = ""

        mutating func nodes(_ list: [Node]) throws(Failure) {
            for node in list {
                switch node {
                case .text(let text): out += text
                case .action(let pipeline):
                    let value = try evaluate(pipeline)
                    if pipeline.variables.isEmpty {
                        out += GoTemplateFunctions.print(value)
                    } else {
                        bind(pipeline, value)
                    }
                case .block(let kind, let pipeline, let body, let other):
                    let (saved, count) = (dot, variables.count)
                    let value = try evaluate(pipeline)
                    if kind == "range" {
                        try range(pipeline, value, body, other)
                    } else {
                        bind(pipeline, value)
                        let isTrue = GoTemplateFunctions.isTrue(value)
                        if kind == "with", isTrue { dot = value }
                        try nodes(isTrue ? body : other)
                    }
                    dot = saved
                    variables.removeSubrange(count...)
                }
            }
        }

        private mutating func bind(_ pipeline: Pipeline, _ value: JSON) {
            guard let name = pipeline.variables.first else { return }
            if pipeline.assigns, let index = variables.lastIndex(where: { $0.name == name }) {
                variables[index].value = value
            } else {
                variables.append((name, value))
            }
        }

        private mutating func range(
            _ pipeline: Pipeline, _ value: JSON, _ body: [Node], _ other: [Node]
        ) throws(Failure) {
            var items: [(JSON, JSON)] = []
            switch value {
            case .array(let list): items = list.enumerated().map { (.int(Int64($0.offset)), $0.element) }
            case .object(let object):
                items = object.members.sorted { $0.key < $1.key }.map { (.string($0.key), $0.value) }
            case .null: break
            default: throw Failure("template: range can't iterate over \(GoTemplateFunctions.print(value))")
            }
            if items.isEmpty { return try nodes(other) }
            let count = variables.count
            for (key, item) in items {
                dot = item
                let names = pipeline.variables
                if names.count == 2 { variables.append((names[0], key)) }
                if let name = names.last { variables.append((name, item)) }
                try nodes(body)
                variables.removeSubrange(count...)
            }
        }

        private func evaluate(_ pipeline: Pipeline) throws(Failure) -> JSON {
            var value: JSON?
            for command in pipeline.commands { value = try evaluate(command, value) }
            return value ?? .null
        }

        private func evaluate(_ command: [Operand], _ piped: JSON?) throws(Failure) -> JSON {
            guard let first = command.first else { throw Failure("template: missing value for command") }
            guard case .name(let name) = first else {
                guard command.count == 1, piped == nil else {
                    throw Failure("template: can't give argument to non-function")
                }
                return try evaluate(first)
            }
            // The last value decides; what comes after it is not looked at.
            var arguments: [JSON] = []
            for operand in command.dropFirst() {
                arguments.append(try evaluate(operand))
                guard let last = arguments.last else { continue }
                if name == "and", !GoTemplateFunctions.isTrue(last) { return last }
                if name == "or", GoTemplateFunctions.isTrue(last) { return last }
            }
            if let piped { arguments.append(piped) }
            return try GoTemplateFunctions.call(name, arguments)
        }

        private func evaluate(_ operand: Operand) throws(Failure) -> JSON {
            switch operand {
            case .literal(let value): return value
            case .name(let name): return try GoTemplateFunctions.call(name, [])
            case .field(let path): return try walk(dot, path)
            case .variable(let name, let path):
                guard let found = variables.last(where: { $0.name == name }) else {
                    throw Failure("template: undefined variable \"\(name)\"")
                }
                return try walk(found.value, path)
            case .group(let pipeline, let path): return try walk(try evaluate(pipeline), path)
            }
        }

        private func walk(_ value: JSON, _ path: [String]) throws(Failure) -> JSON {
            var value = value
            for name in path {
                guard let object = value.object else {
                    throw Failure("template: can't evaluate field \(name) in \(GoTemplateFunctions.print(value))")
                }
                guard let next = object[name] else { throw Failure("template: map has no entry for key \"\(name)\"") }
                value = next
            }
            return value
        }
    }
}
