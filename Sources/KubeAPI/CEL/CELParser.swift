/// Reads an expression into a list of nodes: macros are resolved, chains of `&&` and `||` are one node.
struct CELParser {
    private var lexer: CELLexer
    private var token = CELLexer.Token.end
    private var place = 0
    private var nodes: [CELNode] = []
    private var places: [Int32] = []
    private var depths: [UInt8] = []
    private var nesting = 0

    static func parse(_ source: String) throws(CELError) -> CELProgram {
        guard source.utf8.count <= CELProgram.length else {
            throw CELError(
                "expression code point size exceeds limit: size: \(source.utf8.count), limit \(CELProgram.length)")
        }
        var parser = CELParser(source)
        try parser.advance()
        _ = try parser.expression()
        guard parser.token == .end else { throw parser.unexpected() }
        return CELProgram(source: source, nodes: parser.nodes, places: parser.places)
    }

    private init(_ source: String) { lexer = CELLexer(source) }

    private mutating func advance() throws(CELError) { (token, place) = try lexer.next() }

    private func unexpected() -> CELError {
        let text =
            switch token {
            case .end: "<EOF>"
            case .identifier(let name), .symbol(let name): name
            default: "literal"
            }
        return lexer.fail("mismatched input '\(text)'", at: place)
    }

    private mutating func accept(_ symbol: String) throws(CELError) -> Bool {
        guard token == .symbol(symbol) else { return false }
        try advance()
        return true
    }
    private mutating func expect(_ symbol: String) throws(CELError) {
        if try !accept(symbol) { throw unexpected() }
    }

    private mutating func add(_ node: CELNode, _ parts: [Int32], at place: Int) throws(CELError) -> Int32 {
        let depth = (parts.map { Int(depths[Int($0)]) }.max() ?? 0) + 1
        guard depth <= CELProgram.depth else {
            throw lexer.fail("expression recursion limit exceeded: \(CELProgram.depth)", at: place)
        }
        nodes.append(node)
        places.append(Int32(place))
        depths.append(UInt8(depth))
        return Int32(nodes.count - 1)
    }

    // MARK: - Operators

    private mutating func expression() throws(CELError) -> Int32 {
        nesting += 1
        defer { nesting -= 1 }
        guard nesting <= CELProgram.depth else {
            throw lexer.fail("expression recursion limit exceeded: \(CELProgram.depth)", at: place)
        }
        let condition = try binary(1)
        let mark = place
        guard try accept("?") else { return condition }
        let yes = try binary(1)
        try expect(":")
        let no = try expression()
        return try add(.conditional(condition, yes, no), [condition, yes, no], at: mark)
    }

    private var binaryOperator: CELOperator? {
        switch token {
        case .identifier("in"): .in
        case .symbol(let text): CELOperator(rawValue: text)
        default: nil
        }
    }

    /// By precedence: 1 `||`, 2 `&&`, 3 relations, 4 sums, 5 products.
    private mutating func binary(_ level: Int) throws(CELError) -> Int32 {
        if level <= 2 {
            let symbol = level == 1 ? "||" : "&&"
            var parts = [try binary(level + 1)]
            let mark = place
            while try accept(symbol) { parts.append(try binary(level + 1)) }
            if parts.count == 1 { return parts[0] }
            return try add(level == 1 ? .or(parts) : .and(parts), parts, at: mark)
        }
        var left = try unary()
        while let op = binaryOperator, op.precedence >= level {
            let mark = place
            try advance()
            var right = try unary()
            // Stronger ones first.
            while let next = binaryOperator, next.precedence > op.precedence {
                right = try tighter(right, next.precedence)
            }
            left = try add(.binary(op, left, right), [left, right], at: mark)
        }
        return left
    }

    private mutating func tighter(_ first: Int32, _ level: Int) throws(CELError) -> Int32 {
        var left = first
        while let op = binaryOperator, op.precedence == level {
            let mark = place
            try advance()
            var right = try unary()
            while let next = binaryOperator, next.precedence > level { right = try tighter(right, next.precedence) }
            left = try add(.binary(op, left, right), [left, right], at: mark)
        }
        return left
    }

    private mutating func unary() throws(CELError) -> Int32 {
        let mark = place
        var (nots, minuses) = (0, 0)
        if token == .symbol("!") {
            while try accept("!") { nots += 1 }
        } else {
            while try accept("-") { minuses += 1 }
        }
        if minuses > 0, case .int(let digits) = token, digits == UInt64(Int64.max) + 1 {
            try advance()
            let least = try add(.literal(.int(.min)), [], at: mark)
            return minuses == 1 ? try member(least) : try add(.negate(least), [least], at: mark)
        }
        let operand = try member(try primary())
        // Twice is not at all.
        if nots % 2 == 1 { return try add(.not(operand), [operand], at: mark) }
        if minuses % 2 == 1 { return try add(.negate(operand), [operand], at: mark) }
        return operand
    }

    // MARK: - Members

    private mutating func member(_ first: Int32) throws(CELError) -> Int32 {
        var value = first
        while true {
            let mark = place
            if try accept(".") {
                let isOptional = try accept("?")
                guard case .identifier(let name) = token else { throw unexpected() }
                let namePlace = place
                try advance()
                if !isOptional, token == .symbol("(") {
                    value = try method(name, of: value, at: namePlace)
                } else {
                    value = try add(
                        .select(value, name, isTest: false, isOptional: isOptional), [value], at: mark)
                }
            } else if try accept("[") {
                let isOptional = try accept("?")
                let key = try expression()
                try expect("]")
                value = try add(.index(value, key, isOptional: isOptional), [value, key], at: mark)
            } else {
                return value
            }
        }
    }

    private mutating func arguments(_ end: String) throws(CELError) -> [Int32] {
        var list: [Int32] = []
        while token != .symbol(end) {
            list.append(try expression())
            if try !accept(",") { break }
        }
        try expect(end)
        return list
    }

    private mutating func method(_ name: String, of target: Int32, at mark: Int) throws(CELError) -> Int32 {
        try expect("(")
        var list = try arguments(")")
        if case .identifier(let space) = nodes[Int(target)] {
            if space == "cel", name == "bind" {
                guard list.count == 3, let variable = variable(list[0]) else {
                    throw CELProgram.report(
                        "cel.bind() variable names must be simple identifiers", at: mark, in: lexer.source)
                }
                return try add(.bind(variable, list[1], list[2]), list, at: mark)
            }
            if let function = CELFunction(rawValue: space + "." + name) {
                return try add(.call(function, target: nil, list), list, at: mark)
            }
        }
        if let loop = CELLoop(rawValue: name), list.count == 2 || loop == .map && list.count == 3 {
            guard let variable = variable(list[0]) else {
                throw CELProgram.report("argument must be a simple name", at: mark, in: lexer.source)
            }
            list[0] = target
            let filter = list.count == 3 ? list[1] : nil
            return try add(
                .loop(loop, range: target, variable: variable, filter: filter, body: list[list.count - 1]), list,
                at: mark)
        }
        guard let function = CELFunction(rawValue: name) else { throw undeclared(name, mark) }
        return try add(.call(function, target: target, list), [target] + list, at: mark)
    }

    private func variable(_ node: Int32) -> String? {
        if case .identifier(let name) = nodes[Int(node)] { return name }
        return nil
    }

    private func undeclared(_ name: String, _ mark: Int) -> CELError {
        CELProgram.report("undeclared reference to '\(name)' (in container '')", at: mark, in: lexer.source)
    }

    // MARK: - Literals and names

    private static let reserved: Set<String> = [
        "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package",
        "namespace", "return", "var", "void", "while", "in",
    ]

    private mutating func primary() throws(CELError) -> Int32 {
        let mark = place
        switch token {
        case .int(let digits):
            guard let value = Int64(exactly: digits) else { throw lexer.fail("invalid int literal", at: mark) }
            return try literal(.int(value), mark)
        case .uint(let value): return try literal(.uint(value), mark)
        case .double(let value): return try literal(.double(value), mark)
        case .string(let value): return try literal(.string(value), mark)
        case .bytes(let value): return try literal(.bytes(value), mark)
        case .identifier(let name): return try named(name, mark)
        case .symbol("("):
            try advance()
            let inner = try expression()
            try expect(")")
            return inner
        case .symbol("["):
            try advance()
            let items = try arguments("]")
            return try add(.list(items), items, at: mark)
        case .symbol("{"): return try map(mark)
        case .symbol("."):
            // Of the root namespace: there is no other.
            try advance()
            guard case .identifier(let name) = token else { throw unexpected() }
            return try named(name, mark)
        default: throw unexpected()
        }
    }

    private mutating func literal(_ value: CELValue, _ mark: Int) throws(CELError) -> Int32 {
        try advance()
        return try add(.literal(value), [], at: mark)
    }

    private mutating func named(_ name: String, _ mark: Int) throws(CELError) -> Int32 {
        switch name {
        case "true": return try literal(.bool(true), mark)
        case "false": return try literal(.bool(false), mark)
        case "null": return try literal(.null, mark)
        default: break
        }
        if Self.reserved.contains(name) {
            throw lexer.fail("reserved identifier: \(name)", at: mark)
        }
        try advance()
        guard try accept("(") else { return try add(.identifier(name), [], at: mark) }
        let list = try arguments(")")
        if name == "has" {
            guard list.count == 1, case .select(let operand, let field, false, false) = nodes[Int(list[0])] else {
                throw CELProgram.report("invalid argument to has() macro", at: mark, in: lexer.source)
            }
            return try add(
                .select(operand, field, isTest: true, isOptional: false), [operand], at: mark)
        }
        guard let function = CELFunction(rawValue: name) else { throw undeclared(name, mark) }
        return try add(.call(function, target: nil, list), list, at: mark)
    }

    private mutating func map(_ mark: Int) throws(CELError) -> Int32 {
        try expect("{")
        var entries: [(Int32, Int32)] = []
        while token != .symbol("}") {
            let key = try expression()
            try expect(":")
            entries.append((key, try expression()))
            if try !accept(",") { break }
        }
        try expect("}")
        return try add(.map(entries), entries.flatMap { [$0.0, $0.1] }, at: mark)
    }
}
