package import Codecs

/// Which objects a list, a watch or a workload means, by their labels.
/// Source: k8s.io/apimachinery/pkg/labels (text form) and metav1.LabelSelector (object form).
package struct LabelSelector: Sendable, Equatable {
    package enum Operator: Sendable, Equatable {
        case exists, doesNotExist
        case `in`([String])
        case notIn([String])
        case greaterThan(Int64)
        case lessThan(Int64)
    }
    package struct Requirement: Sendable, Equatable {
        package var key: String
        package var op: Operator
        package init(_ key: String, _ op: Operator) { (self.key, self.op) = (key, op) }
    }

    package var requirements: [Requirement]
    /// Matches nothing: what a missing selector of a workload means.
    package var matchesNothing = false

    package init(_ requirements: [Requirement] = []) { self.requirements = requirements }
    package static let everything = LabelSelector()
    package static let nothing: LabelSelector = {
        var selector = LabelSelector()
        selector.matchesNothing = true
        return selector
    }()

    package var isEverything: Bool { requirements.isEmpty && !matchesNothing }

    package static func equal(_ labels: [String: String]) -> LabelSelector {
        LabelSelector(labels.sorted { $0.key < $1.key }.map { Requirement($0.key, .in([$0.value])) })
    }

    package func matches(_ labels: [String: String]) -> Bool { matches { labels[$0] } }
    /// `labels`: the JSON object at metadata.labels, or null.
    package func matches(labels: JSON) -> Bool { matches { labels[$0].string } }

    /// `value` gives a label's value, nil where there is none.
    package func matches(_ value: (String) -> String?) -> Bool {
        guard !matchesNothing else { return false }
        return requirements.allSatisfy { requirement in
            let value = value(requirement.key)
            switch requirement.op {
            case .exists: return value != nil
            case .doesNotExist: return value == nil
            case .in(let values): return value.map(values.contains) ?? false
            case .notIn(let values): return value.map { !values.contains($0) } ?? true
            case .greaterThan(let bound): return value.flatMap { Int64($0) }.map { $0 > bound } ?? false
            case .lessThan(let bound): return value.flatMap { Int64($0) }.map { $0 < bound } ?? false
            }
        }
    }

    /// metav1.LabelSelector; `.null` selects nothing, `{}` everything.
    package init(json: JSON) throws(APIError) {
        guard !json.isNull else {
            self = .nothing
            return
        }
        var list: [Requirement] = []
        for (key, value) in json["matchLabels"].stringMap.sorted(by: { $0.key < $1.key }) {
            list.append(Requirement(key, .in([value])))
        }
        for expression in json["matchExpressions"].elements {
            let key = expression["key"].string ?? ""
            let values = expression["values"].elements.compactMap(\.string)
            switch expression["operator"].string ?? "" {
            case "In": list.append(Requirement(key, .in(values)))
            case "NotIn": list.append(Requirement(key, .notIn(values)))
            case "Exists": list.append(Requirement(key, .exists))
            case "DoesNotExist": list.append(Requirement(key, .doesNotExist))
            case let other: throw .badRequest("\"\(other)\" is not a valid label selector operator")
            }
        }
        self.init(list)
    }

    /// The text form of `?labelSelector=` and `kubectl -l`.
    package init(parsing text: String) throws(APIError) {
        var parser = LabelSelectorParser(text)
        self.init(try parser.requirements())
    }

    /// Canonical text: parsing it gives the same selector.
    package var text: String {
        requirements.map { requirement in
            switch requirement.op {
            case .exists: requirement.key
            case .doesNotExist: "!" + requirement.key
            case .in(let values):
                values.count == 1
                    ? "\(requirement.key)=\(values[0])" : "\(requirement.key) in (\(values.joined(separator: ",")))"
            case .notIn(let values):
                values.count == 1
                    ? "\(requirement.key)!=\(values[0])" : "\(requirement.key) notin (\(values.joined(separator: ",")))"
            case .greaterThan(let bound): "\(requirement.key)>\(bound)"
            case .lessThan(let bound): "\(requirement.key)<\(bound)"
            }
        }.joined(separator: ",")
    }
}

private struct LabelSelectorParser {
    enum Token: Equatable {
        case word(String)
        case symbol(String)
        case end
    }
    let text: String
    var tokens: [Token] = []
    var at = 0

    init(_ text: String) {
        self.text = text
        var word = ""
        var tokens: [Token] = []
        func flush() {
            if !word.isEmpty { tokens.append(.word(word)) }
            word = ""
        }
        let characters = Array(text.unicodeScalars)
        var i = 0
        while i < characters.count {
            let c = characters[i]
            switch c {
            case " ", "\t", "\n", "\r": flush()
            case "(", ")", ",", "<", ">":
                flush()
                tokens.append(.symbol(String(c)))
            case "!", "=":
                flush()
                if i + 1 < characters.count, characters[i + 1] == "=" {
                    tokens.append(.symbol(String(c) + "="))
                    i += 1
                } else {
                    tokens.append(.symbol(String(c)))
                }
            default: word.unicodeScalars.append(c)
            }
            i += 1
        }
        flush()
        self.tokens = tokens
    }

    var peek: Token { at < tokens.count ? tokens[at] : .end }
    mutating func next() -> Token {
        defer { at += 1 }
        return peek
    }
    func fail(_ why: String) -> APIError { .badRequest("unable to parse requirement: \(why)") }
    func show(_ token: Token) -> String {
        switch token {
        case .word(let word): word
        case .symbol(let symbol): symbol
        case .end: ""
        }
    }

    mutating func requirements() throws(APIError) -> [LabelSelector.Requirement] {
        var list: [LabelSelector.Requirement] = []
        guard peek != .end else { return list }
        while true {
            list.append(try requirement())
            let token = next()
            if token == .end { return list }
            guard token == .symbol(",") else { throw fail("found '\(show(token))', expected: ',' or 'end of string'") }
        }
    }

    mutating func requirement() throws(APIError) -> LabelSelector.Requirement {
        var negated = false
        if peek == .symbol("!") {
            at += 1
            negated = true
        }
        guard case .word(let key) = next() else {
            throw fail(
                "found '\(show(tokens.isEmpty ? .end : tokens[Swift.min(at, tokens.count) - 1]))', expected: identifier"
            )
        }
        if let problem = LabelSyntax.keyProblem(key) { throw fail("key: Invalid value: \"\(key)\": \(problem)") }
        if negated { return .init(key, .doesNotExist) }
        switch peek {
        case .end, .symbol(","): return .init(key, .exists)
        case .symbol("="), .symbol("=="):
            at += 1
            return .init(key, .in([try value(key)]))
        case .symbol("!="):
            at += 1
            return .init(key, .notIn([try value(key)]))
        case .symbol(">"), .symbol("<"):
            let greater = next() == .symbol(">")
            guard case .word(let word) = next(), let bound = Int64(word) else {
                throw fail("values[0]: Invalid value: for 'Gt', 'Lt' operators, the value must be an integer")
            }
            return .init(key, greater ? .greaterThan(bound) : .lessThan(bound))
        case .word("in"), .word("notin"):
            let isIn = next() == .word("in")
            guard next() == .symbol("(") else { throw fail("expected: '('") }
            var values: [String] = []
            while true {
                switch peek {
                case .word(let word):
                    at += 1
                    if let problem = LabelSyntax.valueProblem(word) {
                        throw fail("values: Invalid value: \"\(word)\": \(problem)")
                    }
                    values.append(word)
                case .symbol(","), .symbol(")"): values.append("")
                default: throw fail("found '\(show(peek))', expected: ',', ')' or identifier")
                }
                let token = next()
                if token == .symbol(")") { break }
                guard token == .symbol(",") else { throw fail("found '\(show(token))', expected: ',' or ')'") }
            }
            return .init(key, isIn ? .in(values.sorted()) : .notIn(values.sorted()))
        default:
            throw fail("found '\(show(peek))', expected: in, notin, =, ==, !=, gt, lt")
        }
    }

    mutating func value(_ key: String) throws(APIError) -> String {
        guard case .word(let word) = peek else { return "" }
        at += 1
        if let problem = LabelSyntax.valueProblem(word) {
            throw fail("values[0][\(key)]: Invalid value: \"\(word)\": \(problem)")
        }
        return word
    }
}

/// Which objects a list or watch means, by the few fields that a kind allows (`?fieldSelector=`).
package struct FieldSelector: Sendable, Equatable {
    package struct Term: Sendable, Equatable {
        package var field: String
        package var value: String
        package var negated: Bool
        package init(_ field: String, _ value: String, negated: Bool = false) {
            (self.field, self.value, self.negated) = (field, value, negated)
        }
    }
    package var terms: [Term]
    package init(_ terms: [Term] = []) { self.terms = terms }
    package static let everything = FieldSelector()
    package static func equal(_ field: String, _ value: String) -> FieldSelector { FieldSelector([Term(field, value)]) }

    package init(parsing text: String) throws(APIError) {
        var terms: [Term] = []
        for part in text.split(separator: ",") {
            guard let equals = part.firstIndex(of: "="), equals > part.startIndex else {
                throw .badRequest("invalid field selector: \"\(part)\"; can't understand")
            }
            var field = part[..<equals]
            let negated = field.last == "!"
            if negated { field = field.dropLast() }
            var value = part[part.index(after: equals)...]
            if !negated, value.first == "=" { value = value.dropFirst() }
            terms.append(Term(String(field), String(value), negated: negated))
        }
        self.init(terms)
    }

    package var text: String { terms.map { "\($0.field)\($0.negated ? "!=" : "=")\($0.value)" }.joined(separator: ",") }

    /// `value` gives a field's text ("" where it is absent).
    package func matches(_ value: (String) -> String) -> Bool {
        terms.allSatisfy { (value($0.field) == $0.value) != $0.negated }
    }
}
