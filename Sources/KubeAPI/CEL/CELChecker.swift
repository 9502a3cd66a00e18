extension CELProgram {
    /// Reads and checks an expression; `variables` are what it may name.
    package static func compile(_ source: String, variables: [CELField]) throws(CELError) -> CELProgram {
        var program = try CELParser.parse(source)
        var checker = CELChecker(program: program, scope: variables)
        program.type = try checker.type(of: program.root)
        return program
    }
}

/// Works out the types of all parts as far as they are known, and refuses what can only fail. Source of the texts: cel-go's
/// checker.
struct CELChecker {
    let program: CELProgram
    var scope: [CELField]

    private func fail(_ message: String, _ node: Int32) -> CELError {
        CELProgram.report(message, at: Int(program.places[Int(node)]), in: program.source)
    }
    private func noOverload(_ function: String, _ types: [CELType], _ node: Int32, target: CELType? = nil) -> CELError {
        let list = "(\(types.map(\.text).joined(separator: ", ")))"
        return fail(
            "found no matching overload for '\(function)' applied to '\(target.map { $0.text + "." } ?? "")\(list)'",
            node)
    }

    mutating func type(of node: Int32) throws(CELError) -> CELType {
        switch program.nodes[Int(node)] {
        case .literal(let value): return CELChecker.type(of: value)
        case .identifier(let name):
            if let found = scope.last(where: { $0.name == name }) { return found.type }
            if Self.typeNames.contains(name) { return .type }
            throw fail("undeclared reference to '\(name)' (in container '')", node)
        case .select(let operand, let name, let isTest, let isOptional):
            let type = try field(name, of: try self.type(of: operand), node)
            return isTest ? .bool : isOptional ? .optional(type) : type
        case .index(let operand, let key, let isOptional):
            let type = try element(try self.type(of: operand), try self.type(of: key), node)
            return isOptional ? .optional(type) : type
        case .call(let function, let target, let list): return try call(function, target, list, node)
        case .list(let items):
            let types = try all(items)
            return .list(types.allSatisfy { $0 == types[0] } ? types.first ?? .dyn : .dyn)
        case .map(let entries):
            let (keys, values) = (try all(entries.map(\.0)), try all(entries.map(\.1)))
            return .map(
                keys.allSatisfy { $0 == keys[0] } ? keys.first ?? .dyn : .dyn,
                values.allSatisfy { $0 == values[0] } ? values.first ?? .dyn : .dyn)
        case .and(let parts): return try logic("_&&_", parts, node)
        case .or(let parts): return try logic("_||_", parts, node)
        case .not(let operand):
            let type = try self.type(of: operand)
            guard type.isMaybe(.bool) else { throw noOverload("!_", [type], node) }
            return .bool
        case .negate(let operand):
            let type = try self.type(of: operand)
            guard [.int, .double, .dyn].contains(type) else { throw noOverload("-_", [type], node) }
            return type
        case .conditional(let condition, let yes, let no): return try conditional(condition, yes, no, node)
        case .binary(let op, let left, let right): return try binary(op, left, right, node)
        case .loop(let loop, let range, let variable, let filter, let body):
            return try self.loop(loop, range, variable, filter, body, node)
        case .bind(let name, let value, let body):
            scope.append(CELField(name, try type(of: value)))
            defer { scope.removeLast() }
            return try type(of: body)
        }
    }

    static let typeNames: Set<String> = [
        "bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type",
    ]

    private static func type(of value: CELValue) -> CELType {
        switch value {
        case .null: .null
        case .bool: .bool
        case .int: .int
        case .uint: .uint
        case .double: .double
        case .string: .string
        case .bytes: .bytes
        default: .dyn
        }
    }

    private mutating func all(_ list: [Int32]) throws(CELError) -> [CELType] {
        var types: [CELType] = []
        for node in list { types.append(try type(of: node)) }
        return types
    }

    private func field(_ name: String, of type: CELType, _ node: Int32) throws(CELError) -> CELType {
        switch type {
        case .dyn, .optional: return .dyn
        case .map(_, let value): return value
        case .object(_, let fields):
            if let found = fields.first(where: { $0.name == name }) { return found.type }
            throw fail("undefined field '\(name)'", node)
        default: throw fail("type '\(type.text)' does not support field selection", node)
        }
    }

    private func element(_ type: CELType, _ key: CELType, _ node: Int32) throws(CELError) -> CELType {
        switch type {
        case .dyn, .optional: return .dyn
        case .map(let wanted, let value) where wanted.isMaybe(key): return value
        case .list(let item) where key.isMaybe(.int) || key == .uint || key == .double: return item
        default: throw noOverload("_[_]", [type, key], node)
        }
    }

    private mutating func call(
        _ function: CELFunction, _ target: Int32?, _ list: [Int32], _ node: Int32
    ) throws(CELError) -> CELType {
        var own: CELType?
        if let target { own = try type(of: target) }
        let types = try all(list)
        if function == .matches {
            throw fail("regular expressions ('matches') are not supported by this implementation", node)
        }
        guard let result = function.result(target: own, types) else {
            throw noOverload(function.rawValue, types, node, target: own)
        }
        switch (function, own) {
        case (.value, .optional(let inner)?): return inner
        case (.orValue, .optional(let inner)?): return inner == types[0] ? inner : .dyn
        case (.split, _): return .list(.string)
        default: return result
        }
    }

    private mutating func logic(_ name: String, _ parts: [Int32], _ node: Int32) throws(CELError) -> CELType {
        let types = try all(parts)
        guard types.allSatisfy({ $0.isMaybe(.bool) }) else { throw noOverload(name, types, node) }
        return .bool
    }

    private mutating func conditional(
        _ condition: Int32, _ yes: Int32, _ no: Int32, _ node: Int32
    ) throws(CELError) -> CELType {
        let types = try all([condition, yes, no])
        guard types[0].isMaybe(.bool), types[1].isMaybe(types[2]) else { throw noOverload("_?_:_", types, node) }
        return types[1] == types[2] ? types[1] : .dyn
    }

    private mutating func binary(
        _ op: CELOperator, _ left: Int32, _ right: Int32, _ node: Int32
    ) throws(CELError) -> CELType {
        let (a, b) = (try type(of: left), try type(of: right))
        func isNumber(_ type: CELType) -> Bool { [.int, .uint, .double, .dyn].contains(type) }
        let isGood: Bool
        switch op {
        case .equal, .notEqual: isGood = a.isMaybe(b) || isNumber(a) && isNumber(b) || a == .null || b == .null
        case .less, .lessOrEqual, .greater, .greaterOrEqual:
            let ordered: [CELType] = [.bool, .string, .bytes, .dyn]
            isGood = isNumber(a) && isNumber(b) || a.isMaybe(b) && ordered.contains(a) && ordered.contains(b)
        case .in:
            switch b {
            case .list(let item): isGood = item.isMaybe(a) || isNumber(item) && isNumber(a)
            case .map(let key, _): isGood = key.isMaybe(a)
            default: isGood = b == .dyn
            }
        case .add:
            let summands: [UInt8] = Array("iudsyL*".utf8)
            isGood = a.isMaybe(b) && summands.contains(a.letter) && summands.contains(b.letter)
        case .subtract, .multiply, .divide: isGood = a.isMaybe(b) && isNumber(a) && isNumber(b)
        case .modulo: isGood = a.isMaybe(b) && isNumber(a) && isNumber(b) && a != .double && b != .double
        }
        guard isGood else { throw noOverload(op.functionName, [a, b], node) }
        guard op.precedence > 3 else { return .bool }
        return a == .dyn ? b : a == b || b == .dyn ? a : .dyn
    }

    private mutating func loop(
        _ loop: CELLoop, _ range: Int32, _ variable: String, _ filter: Int32?, _ body: Int32, _ node: Int32
    ) throws(CELError) -> CELType {
        let whole = try type(of: range)
        let item: CELType
        switch whole {
        case .dyn: item = .dyn
        case .list(let type): item = type
        case .map(let key, _): item = key
        default:
            throw fail(
                "expression of type '\(whole.text)' cannot be range of a comprehension (must be list, map, or dynamic)",
                range)
        }
        scope.append(CELField(variable, item))
        defer { scope.removeLast() }
        if let filter {
            let type = try self.type(of: filter)
            guard type.isMaybe(.bool) else { throw fail("expected type 'bool' but found '\(type.text)'", filter) }
        }
        let type = try self.type(of: body)
        if loop == .map { return .list(type) }
        guard type.isMaybe(.bool) else { throw fail("expected type 'bool' but found '\(type.text)'", body) }
        return loop == .filter ? .list(item) : .bool
    }
}

extension CELType {
    /// Whether a value can be of both.
    func isMaybe(_ other: CELType) -> Bool {
        switch (self, other) {
        case (.dyn, _), (_, .dyn): true
        case (.list(let a), .list(let b)), (.optional(let a), .optional(let b)): a.isMaybe(b)
        case (.map(let a, let x), .map(let b, let y)): a.isMaybe(b) && x.isMaybe(y)
        default: self == other
        }
    }
}
