/// Functions and arithmetic over values that are there.
enum CELFunctions {
    static let overflow = CELError("integer overflow")
    private static var noOverload: CELError { CELEvaluation.noOverload }

    // MARK: - Arithmetic

    static func arithmetic(_ op: CELOperator, _ a: CELValue, _ b: CELValue) throws(CELError) -> CELValue {
        switch (a, b) {
        case (.int(let x), .int(let y)): return .int(try whole(op, x, y))
        case (.uint(let x), .uint(let y)): return .uint(try whole(op, x, y))
        case (.double(let x), .double(let y)):
            switch op {
            case .add: return .double(x + y)
            case .subtract: return .double(x - y)
            case .multiply: return .double(x * y)
            case .divide: return .double(x / y)
            default: throw noOverload
            }
        case (.string(let x), .string(let y)) where op == .add: return .string(x + y)
        case (.bytes(let x), .bytes(let y)) where op == .add: return .bytes(x + y)
        default:
            guard op == .add, let x = a.items, let y = b.items else { throw noOverload }
            return .list(x + y)
        }
    }

    private static func whole<T: FixedWidthInteger>(_ op: CELOperator, _ x: T, _ y: T) throws(CELError) -> T {
        let (result, hasOverflow): (T, Bool)
        switch op {
        case .add: (result, hasOverflow) = x.addingReportingOverflow(y)
        case .subtract: (result, hasOverflow) = x.subtractingReportingOverflow(y)
        case .multiply: (result, hasOverflow) = x.multipliedReportingOverflow(by: y)
        case .divide:
            if y == 0 { throw CELError("division by zero") }
            (result, hasOverflow) = x.dividedReportingOverflow(by: y)
        default:
            if y == 0 { throw CELError("modulus by zero") }
            (result, hasOverflow) = x.remainderReportingOverflow(dividingBy: y)
        }
        if hasOverflow { throw overflow }
        return result
    }

    // MARK: - Functions

    /// The target, where there is one, is the first value.
    static func call(_ function: CELFunction, _ v: [CELValue]) throws(CELError) -> CELValue {
        switch function {
        case .size: return try size(v)
        case .type: return .type(v.first?.typeName ?? "")
        case .dyn: return v.first ?? .null
        case .int, .uint, .double, .string, .bool, .bytes:
            guard let value = v.first else { throw noOverload }
            return try convert(value, to: function)
        case .optionalNone: return .optional(nil)
        case .optionalOf: return .optional(v.first)
        case .optionalOfNonZero:
            guard let value = v.first else { throw noOverload }
            return .optional(isZero(value) ? nil : value)
        case .hasValue:
            guard case .optional(let inner)? = v.first else { throw noOverload }
            return .bool(inner != nil)
        case .value:
            guard case .optional(let inner)? = v.first else { throw noOverload }
            guard let inner else { throw CELError("optional.none() dereference") }
            return inner
        case .setsContains, .setsEquivalent, .setsIntersects:
            guard v.count == 2, let a = v[0].items, let b = v[1].items else { throw noOverload }
            return .bool(sets(function, a, b))
        case .quantity, .isQuantity, .sign, .isInteger, .asInteger, .asApproximateFloat, .add, .sub:
            return try quantities(function, v)
        case .semver, .isSemver, .major, .minor, .patch: return try versions(function, v)
        case .compareTo, .isGreaterThan, .isLessThan:
            let order = try order(v)
            if function == .compareTo { return .int(Int64(order)) }
            return .bool(function == .isGreaterThan ? order > 0 : order < 0)
        case .min, .max, .sum, .isSorted, .join: return try lists(function, v)
        case .indexOf, .lastIndexOf:
            guard v.count == 2, let items = v[0].items else { return try CELTexts.call(function, v) }
            let at =
                function == .indexOf
                ? items.firstIndex { $0.equals(v[1]) } : items.lastIndex { $0.equals(v[1]) }
            return .int(Int64(at ?? -1))
        default: return try CELTexts.call(function, v)
        }
    }

    private static func size(_ v: [CELValue]) throws(CELError) -> CELValue {
        guard let value = v.first else { throw noOverload }
        switch value {
        case .string(let text): return .int(Int64(text.unicodeScalars.count))
        case .bytes(let bytes): return .int(Int64(bytes.count))
        default:
            guard let count = value.items?.count ?? value.keys?.count else { throw noOverload }
            return .int(Int64(count))
        }
    }

    private static func isZero(_ value: CELValue) -> Bool {
        switch value {
        case .null: true
        case .bool(let flag): !flag
        case .int(let number): number == 0
        case .uint(let number): number == 0
        case .double(let number): number == 0
        default: value.weight == 0
        }
    }

    /// As a text, for `string()` and messages.
    static func text(_ value: CELValue) -> String {
        switch value {
        case .string(let text): text
        case .int(let number): "\(number)"
        case .uint(let number): "\(number)"
        case .double(let number): Int64(exactly: number).map { "\($0)" } ?? "\(number)"
        case .bool(let flag): flag ? "true" : "false"
        default: value.typeName
        }
    }

    private static func convert(_ value: CELValue, to kind: CELFunction) throws(CELError) -> CELValue {
        let error = CELError("type conversion error from '\(value.typeName)' to '\(kind.rawValue)'")
        switch (kind, value) {
        case (.int, .int), (.uint, .uint), (.double, .double), (.string, .string), (.bool, .bool), (.bytes, .bytes):
            return value
        case (.int, .uint(let number)):
            guard let result = Int64(exactly: number) else { throw overflow }
            return .int(result)
        case (.int, .double(let number)):
            guard let result = Int64(exactly: number.rounded(.towardZero)) else { throw overflow }
            return .int(result)
        case (.int, .string(let text)):
            guard let result = Int64(text) else { throw error }
            return .int(result)
        case (.uint, .int(let number)):
            guard let result = UInt64(exactly: number) else { throw overflow }
            return .uint(result)
        case (.uint, .double(let number)):
            guard let result = UInt64(exactly: number.rounded(.towardZero)) else { throw overflow }
            return .uint(result)
        case (.uint, .string(let text)):
            guard let result = UInt64(text) else { throw error }
            return .uint(result)
        case (.double, .int(let number)): return .double(Double(number))
        case (.double, .uint(let number)): return .double(Double(number))
        case (.double, .string(let text)):
            guard let result = Double(text) else { throw error }
            return .double(result)
        case (.string, .int), (.string, .uint), (.string, .double), (.string, .bool): return .string(text(value))
        case (.string, .bytes(let bytes)):
            guard let text = String(validating: bytes, as: UTF8.self) else {
                throw CELError("invalid UTF-8 in bytes, cannot convert to string")
            }
            return .string(text)
        case (.bytes, .string(let text)): return .bytes(Array(text.utf8))
        case (.bool, .string(let text)):
            switch text {
            case "true", "True", "TRUE", "t", "1": return .bool(true)
            case "false", "False", "FALSE", "f", "0": return .bool(false)
            default: throw error
            }
        default: throw noOverload
        }
    }

    private static func sets(_ function: CELFunction, _ a: [CELValue], _ b: [CELValue]) -> Bool {
        func isWithin(_ a: [CELValue], _ b: [CELValue]) -> Bool {
            a.allSatisfy { item in b.contains { $0.equals(item) } }
        }
        return switch function {
        case .setsContains: isWithin(b, a)
        case .setsEquivalent: isWithin(a, b) && isWithin(b, a)
        default: a.contains { item in b.contains { $0.equals(item) } }
        }
    }

    private static func order(_ v: [CELValue]) throws(CELError) -> Int {
        guard v.count == 2 else { throw noOverload }
        switch (v[0], v[1]) {
        case (.quantity(let a), .quantity(let b)): return a == b ? 0 : a < b ? -1 : 1
        case (.version(let a), .version(let b)): return a.order(b)
        default: throw noOverload
        }
    }

    private static func quantities(_ function: CELFunction, _ v: [CELValue]) throws(CELError) -> CELValue {
        if function == .quantity || function == .isQuantity {
            guard case .string(let text)? = v.first else { throw noOverload }
            let amount = Quantity(text)
            if function == .isQuantity { return .bool(amount != nil) }
            guard let amount else {
                throw CELError(
                    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
            }
            return .quantity(amount)
        }
        guard case .quantity(let own)? = v.first else { throw noOverload }
        let isWhole = own.nanos % 1_000_000_000 == 0
        switch function {
        case .sign: return .int(own.nanos == 0 ? 0 : own.nanos < 0 ? -1 : 1)
        case .isInteger: return .bool(isWhole && Int64(exactly: own.nanos / 1_000_000_000) != nil)
        case .asInteger:
            guard isWhole, let value = Int64(exactly: own.nanos / 1_000_000_000) else {
                throw CELError("cannot convert value to integer")
            }
            return .int(value)
        case .asApproximateFloat: return .double(Double(own.nanos) / 1e9)
        default:
            let other: Quantity
            switch v.last {
            case .quantity(let amount) where v.count == 2: other = amount
            case .int(let number) where v.count == 2: other = Quantity(number)
            default: throw noOverload
            }
            return .quantity(function == .add ? own + other : own - other)
        }
    }

    private static func versions(_ function: CELFunction, _ v: [CELValue]) throws(CELError) -> CELValue {
        if function == .semver || function == .isSemver {
            guard case .string(let text)? = v.first else { throw noOverload }
            var isLenient = false
            if v.count == 2, case .bool(let flag) = v[1] { isLenient = flag }
            let version = SemanticVersion(text, isLenient: isLenient)
            if function == .isSemver { return .bool(version != nil) }
            guard let version else { throw CELError("not a semantic version: \(text)") }
            return .version(version)
        }
        guard case .version(let own)? = v.first else { throw noOverload }
        let number = function == .major ? own.major : function == .minor ? own.minor : own.patch
        guard let value = Int64(exactly: number) else { throw overflow }
        return .int(value)
    }

    private static func lists(_ function: CELFunction, _ v: [CELValue]) throws(CELError) -> CELValue {
        guard let items = v.first?.items else { throw noOverload }
        if function == .join { return try CELTexts.join(items, v.count == 2 ? v[1] : .string("")) }
        if function == .sum {
            var total = items.first ?? .int(0)
            for item in items.dropFirst() { total = try arithmetic(.add, total, item) }
            return total
        }
        if function != .isSorted, items.isEmpty { throw CELError("\(function.rawValue) called on empty list") }
        var best = items.first ?? .null
        for item in items.dropFirst() {
            guard let order = best.order(item) ?? (try? Self.order([best, item])) else { throw noOverload }
            switch function {
            case .isSorted:
                if order > 0 { return .bool(false) }
                best = item
            case .min: if order > 0 { best = item }
            default: if order < 0 { best = item }
            }
        }
        return function == .isSorted ? .bool(true) : best
    }
}
