internal import Codecs

extension CELProgram {
    /// The expression's value.
    /// - Parameter limit: how many steps it may take; a step is a node, an element of a loop, or ten bytes of a text.
    package func evaluate(
        _ variables: [(name: String, value: CELValue)], limit: Int64 = 1_000_000
    ) throws(CELError) -> CELValue {
        var evaluation = CELEvaluation(program: self, scope: variables, left: limit)
        return try evaluation.value(root)
    }
}

/// One evaluation. Depth is bounded by the parser, work by `left`.
struct CELEvaluation {
    let program: CELProgram
    var scope: [(name: String, value: CELValue)]
    var left: Int64

    mutating func pay(_ steps: Int) throws(CELError) {
        left -= Int64(clamping: steps)
        if left < 0 { throw CELError("operation cancelled: actual cost limit exceeded") }
    }

    static let noOverload = CELError("no such overload")

    mutating func value(_ node: Int32) throws(CELError) -> CELValue {
        try pay(1)
        switch program.nodes[Int(node)] {
        case .literal(let value): return value
        case .identifier(let name): return try variable(name)
        case .select(let operand, let name, let isTest, let isOptional):
            return try select(try value(operand), name, isTest, isOptional)
        case .index(let operand, let key, let isOptional):
            return try index(try value(operand), try value(key), isOptional)
        case .call(let function, let target, let list): return try call(function, target, list)
        case .list(let items): return .list(try all(items))
        case .map(let entries): return try map(entries)
        case .and(let parts): return try logic(parts, decides: false)
        case .or(let parts): return try logic(parts, decides: true)
        case .not(let operand):
            guard case .bool(let flag) = try value(operand) else { throw Self.noOverload }
            return .bool(!flag)
        case .negate(let operand): return try negate(try value(operand))
        case .conditional(let condition, let yes, let no):
            guard case .bool(let flag) = try value(condition) else { throw Self.noOverload }
            return try value(flag ? yes : no)
        case .binary(let op, let a, let b): return try binary(op, try value(a), try value(b))
        case .loop(let loop, let range, let variable, let filter, let body):
            return try run(loop, try value(range), variable, filter, body)
        case .bind(let name, let bound, let body):
            scope.append((name, try value(bound)))
            defer { scope.removeLast() }
            return try value(body)
        }
    }

    private func variable(_ name: String) throws(CELError) -> CELValue {
        if let found = scope.last(where: { $0.name == name }) { return found.value }
        if CELChecker.typeNames.contains(name) { return .type(name) }
        throw CELError("no such attribute: \(name)")
    }

    private mutating func all(_ list: [Int32]) throws(CELError) -> [CELValue] {
        var values: [CELValue] = []
        for node in list { values.append(try value(node)) }
        return values
    }

    private mutating func map(_ entries: [(Int32, Int32)]) throws(CELError) -> CELValue {
        var map = CELMap()
        for (key, value) in entries {
            let key = try self.value(key)
            switch key {
            case .bool, .int, .uint, .string: break
            default: throw CELError("unsupported key type: \(key.typeName)")
            }
            try pay(map.entries.count)
            if map[key] != nil { throw CELError("Failed with repeated key") }
            map.entries.append((key, try self.value(value)))
        }
        return .map(map)
    }

    // MARK: - Members

    private func select(
        _ object: CELValue, _ name: String, _ isTest: Bool, _ isOptional: Bool
    ) throws(CELError) -> CELValue {
        if case .optional(let inner) = object {
            guard let inner else { return isTest ? .bool(false) : .optional(nil) }
            let found = try select(inner, name, isTest, !isTest)
            return found
        }
        guard object.keys != nil else {
            throw isTest || object.items != nil ? Self.noOverload : CELError("no such key: \(name)")
        }
        let found = object.member(.string(name))
        if isTest { return .bool(found != nil) }
        if isOptional { return .optional(found) }
        guard let found else { throw CELError("no such key: \(name)") }
        return found
    }

    private func index(_ object: CELValue, _ key: CELValue, _ isOptional: Bool) throws(CELError) -> CELValue {
        if case .optional(let inner) = object {
            guard let inner else { return .optional(nil) }
            return try index(inner, key, true)
        }
        if let items = object.items {
            let at: Int64?
            switch key {
            case .int(let i): at = i
            case .uint(let i): at = Int64(exactly: i)
            case .double(let i): at = Int64(exactly: i)
            default: throw Self.noOverload
            }
            guard let at, at >= 0, at < Int64(items.count) else {
                if isOptional { return .optional(nil) }
                throw CELError("index out of bounds: \(at ?? -1)")
            }
            return isOptional ? .optional(items[Int(at)]) : items[Int(at)]
        }
        guard object.keys != nil else { throw Self.noOverload }
        let found = object.member(key)
        if isOptional { return .optional(found) }
        guard let found else { throw CELError("no such key: \(CELFunctions.text(key))") }
        return found
    }

    // MARK: - Operators

    /// What decides makes up for errors elsewhere, before or after it.
    private mutating func logic(_ parts: [Int32], decides: Bool) throws(CELError) -> CELValue {
        var failure: CELError?
        for part in parts {
            do throws(CELError) {
                guard case .bool(let flag) = try value(part) else { throw Self.noOverload }
                if flag == decides { return .bool(decides) }
            } catch {
                if left < 0 { throw error }
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
        return .bool(!decides)
    }

    private func negate(_ operand: CELValue) throws(CELError) -> CELValue {
        switch operand {
        case .int(let value):
            let (result, overflow) = Int64(0).subtractingReportingOverflow(value)
            if overflow { throw CELFunctions.overflow }
            return .int(result)
        case .double(let value): return .double(-value)
        default: throw Self.noOverload
        }
    }

    private mutating func binary(_ op: CELOperator, _ a: CELValue, _ b: CELValue) throws(CELError) -> CELValue {
        try pay((a.weight + (op == .add ? b.weight : 0)) / 10)
        switch op {
        case .equal, .notEqual:
            let isEqual = a.equals(b, &left)
            try pay(0)
            return .bool(isEqual == (op == .equal))
        case .less, .lessOrEqual, .greater, .greaterOrEqual:
            guard let order = a.order(b) else {
                // Nothing is less or more than what is not a number.
                if case .double = a { return .bool(false) }
                if case .double = b { return .bool(false) }
                throw Self.noOverload
            }
            switch op {
            case .less: return .bool(order < 0)
            case .lessOrEqual: return .bool(order <= 0)
            case .greater: return .bool(order > 0)
            default: return .bool(order >= 0)
            }
        case .in:
            if let items = b.items {
                try pay(items.count)
                return .bool(items.contains { $0.equals(a) })
            }
            guard let keys = b.keys else { throw Self.noOverload }
            try pay(keys.count)
            return .bool(keys.contains { $0.equals(a) })
        default: return try CELFunctions.arithmetic(op, a, b)
        }
    }

    // MARK: - Loops

    private mutating func run(
        _ loop: CELLoop, _ range: CELValue, _ variable: String, _ filter: Int32?, _ body: Int32
    ) throws(CELError) -> CELValue {
        guard let items = range.items ?? range.keys else { throw Self.noOverload }
        var (results, count) = ([CELValue](), 0)
        var failure: CELError?
        for item in items {
            scope.append((variable, item))
            defer { scope.removeLast() }
            if let filter {
                guard case .bool(let flag) = try value(filter) else { throw Self.noOverload }
                if !flag { continue }
            }
            if loop == .map {
                results.append(try value(body))
                continue
            }
            do throws(CELError) {
                guard case .bool(let flag) = try value(body) else { throw Self.noOverload }
                switch loop {
                case .all: if !flag { return .bool(false) }
                case .exists: if flag { return .bool(true) }
                case .filter: if flag { results.append(item) }
                default: if flag { count += 1 }
                }
            } catch {
                // As with `&&` and `||`, one element can decide for all.
                guard left >= 0, loop == .all || loop == .exists else { throw error }
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
        switch loop {
        case .all: return .bool(true)
        case .exists: return .bool(false)
        case .existsOne: return .bool(count == 1)
        case .map, .filter: return .list(results)
        }
    }

    // MARK: - Calls

    private mutating func call(_ function: CELFunction, _ target: Int32?, _ list: [Int32]) throws(CELError) -> CELValue
    {
        var arguments = list
        if let target { arguments.insert(target, at: 0) }
        switch function {
        case .orValue, .or:
            // What is not needed is not looked at.
            guard arguments.count == 2, case .optional(let inner) = try value(arguments[0]) else {
                throw Self.noOverload
            }
            if let inner { return function == .or ? .optional(inner) : inner }
            return try value(arguments[1])
        default:
            let values = try all(arguments)
            try pay(values.reduce(0) { $0 + $1.weight } / 10)
            if values.count > 1 {
                // What is looked for in something may be compared at each place.
                let (whole, part) = (Int64(values[0].weight), Int64(values[1].weight))
                try pay(Int(clamping: whole * part / 100))
            }
            let result = try CELFunctions.call(function, values)
            try pay(result.weight / 10)
            return result
        }
    }
}

extension CELValue {
    /// How much there is to go through.
    var weight: Int {
        switch self {
        case .string(let text): text.utf8.count
        case .bytes(let bytes): bytes.count
        case .list(let items): items.count * 10
        case .map(let map): map.entries.count * 10
        case .tree(.array(let items)): items.count * 10
        case .tree(.object(let object)): object.count * 10
        default: 0
        }
    }
}
