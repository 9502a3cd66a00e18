/// The functions of templates: Go's, and what crictl and kubectl add. Source: pkg.go.dev/text/template, "Functions".
enum GoTemplateFunctions {
    typealias Failure = GoTemplate.Failure

    static func isTrue(_ value: JSON) -> Bool {
        switch value {
        case .null: false
        case .bool(let flag): flag
        case .int(let number): number != 0
        case .double(let number): number != 0
        case .string(let text): !text.isEmpty
        case .array(let list): !list.isEmpty
        case .object(let object): !object.isEmpty
        }
    }

    /// As fmt.Print shows it: maps by their keys' order.
    static func print(_ value: JSON) -> String {
        switch value {
        case .null: "<no value>"
        case .string(let text): text
        case .array(let list): "[" + list.map(print).joined(separator: " ") + "]"
        case .object(let object):
            "map["
                + object.members.sorted { $0.key < $1.key }.map { $0.key + ":" + print($0.value) }
                .joined(separator: " ") + "]"
        default: String(decoding: value.encode(), as: UTF8.self)
        }
    }

    static func call(_ name: String, _ arguments: [JSON]) throws(Failure) -> JSON {
        func need(_ count: Int) throws(Failure) {
            guard arguments.count >= count else { throw Failure("template: wrong number of args for \(name)") }
        }
        switch name {
        case "and", "or", "not", "len", "index", "json", "js", "lower", "upper", "title", "eq", "ne": try need(1)
        case "lt", "le", "gt", "ge": try need(2)
        default: break
        }
        switch name {
        case "and", "or": return arguments.last ?? .null
        case "not": return .bool(!isTrue(arguments[0]))
        case "len":
            switch arguments[0] {
            case .string(let text): return .int(Int64(text.utf8.count))
            case .array(let list): return .int(Int64(list.count))
            case .object(let object): return .int(Int64(object.count))
            default: throw Failure("template: len of type \(print(arguments[0]))")
            }
        case "index": return try index(arguments)
        // As an encoder writes it, with the end of the line.
        case "json": return .string(String(decoding: arguments[0].encode(), as: UTF8.self) + "\n")
        case "lower": return .string(print(arguments[0]).lowercased())
        case "upper": return .string(print(arguments[0]).uppercased())
        case "title": return .string(title(print(arguments[0])))
        case "print": return .string(arguments.map(print).joined())
        case "println": return .string(arguments.map(print).joined(separator: " ") + "\n")
        case "printf": return .string(try format(arguments))
        case "eq": return .bool(arguments.dropFirst().contains { $0 == arguments[0] })
        case "ne":
            try need(2)
            return .bool(arguments[0] != arguments[1])
        case "lt": return .bool(try isLess(arguments[0], arguments[1]))
        case "ge": return .bool(try !isLess(arguments[0], arguments[1]))
        case "gt": return .bool(try isLess(arguments[1], arguments[0]))
        case "le": return .bool(try !isLess(arguments[1], arguments[0]))
        default: throw Failure("template: function \"\(name)\" not defined")
        }
    }

    private static func title(_ text: String) -> String {
        var isFirst = true
        return text.reduce(into: "") { result, character in
            result += isFirst ? character.uppercased() : String(character)
            isFirst = !character.isLetter && !character.isNumber && character != "'"
        }
    }

    private static func index(_ arguments: [JSON]) throws(Failure) -> JSON {
        var value = arguments[0]
        for key in arguments.dropFirst() {
            switch (value, key) {
            case (.array(let list), .int(let number)):
                guard number >= 0, number < Int64(list.count) else {
                    throw Failure("template: error calling index: index out of range: \(number)")
                }
                value = list[Int(number)]
            case (.object(let object), .string(let name)): value = object[name] ?? .null
            default: throw Failure("template: error calling index: can't index \(print(value)) by \(print(key))")
            }
        }
        return value
    }

    private static func isLess(_ a: JSON, _ b: JSON) throws(Failure) -> Bool {
        if case .string(let first) = a, case .string(let second) = b { return first < second }
        guard let first = a.double, let second = b.double else {
            throw Failure("template: incompatible types for comparison")
        }
        return first < second
    }

    /// %v, %s, %d, %q, %t and %%; widths with spaces, "-" to the left.
    private static func format(_ arguments: [JSON]) throws(Failure) -> String {
        guard case .string(let pattern)? = arguments.first else { throw Failure("template: printf needs a format") }
        var values = arguments.dropFirst()
        var result = ""
        var rest = pattern[...]
        while let character = rest.popFirst() {
            guard character == "%" else {
                result.append(character)
                continue
            }
            let flags = rest.prefix { $0.isNumber || $0 == "-" || $0 == "." }
            rest = rest.dropFirst(flags.count)
            guard let verb = rest.popFirst() else { return result + "%!(NOVERB)" }
            if verb == "%" {
                result += "%"
                continue
            }
            guard let value = values.popFirst() else {
                result += "%!\(verb)(MISSING)"
                continue
            }
            let text = verb == "q" ? GoText.quoted(print(value)) : print(value)
            let width = min(Int(flags.filter(\.isNumber)) ?? 0, 1000)
            let padding = String(repeating: " ", count: max(0, width - text.count))
            result += flags.hasPrefix("-") ? text + padding : padding + text
        }
        return result
    }
}
