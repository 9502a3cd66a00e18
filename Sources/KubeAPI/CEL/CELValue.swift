package import Codecs

/// What is wrong with an expression: at compiling with its place, at evaluating without.
package struct CELError: Error, Sendable, Equatable {
    package var message: String
    package init(_ message: String) { self.message = message }
}

/// A value of the Common Expression Language. Source: github.com/google/cel-spec, langdef.md.
package enum CELValue: Sendable {
    case null
    case bool(Bool)
    case int(Int64)
    case uint(UInt64)
    case double(Double)
    case string(String)
    case bytes([UInt8])
    case list([CELValue])
    case map(CELMap)
    /// An array or an object of a document, of which only what is asked for is looked at.
    case tree(JSON)
    case quantity(Quantity)
    case version(SemanticVersion)
    case type(String)
    indirect case optional(CELValue?)
}

package struct CELMap: Sendable {
    package var entries: [(key: CELValue, value: CELValue)]
    /// What keys have that are not there; nil: such a key is an error.
    package var missing: [CELValue] = []

    package init(_ entries: [(key: CELValue, value: CELValue)] = []) { self.entries = entries }
    package subscript(key: CELValue) -> CELValue? {
        for entry in entries where entry.key.equals(key) { return entry.value }
        return missing.first
    }
}

extension CELValue {
    package init(_ json: JSON) {
        switch json {
        case .null: self = .null
        case .bool(let value): self = .bool(value)
        case .int(let value): self = .int(value)
        case .double(let value): self = .double(value)
        case .string(let value): self = .string(value)
        case .array, .object: self = .tree(json)
        }
    }

    /// As messages name it.
    package var typeName: String {
        switch self {
        case .null: "null_type"
        case .bool: "bool"
        case .int: "int"
        case .uint: "uint"
        case .double: "double"
        case .string: "string"
        case .bytes: "bytes"
        case .list: "list"
        case .map: "map"
        case .tree(let json): json.array == nil ? "map" : "list"
        case .quantity: "kubernetes.Quantity"
        case .version: "kubernetes.Semver"
        case .type: "type"
        case .optional: "optional_type"
        }
    }

    var items: [CELValue]? {
        switch self {
        case .list(let items): items
        case .tree(.array(let items)): items.map(CELValue.init)
        default: nil
        }
    }

    /// Keys of a map, nil for anything else.
    var keys: [CELValue]? {
        switch self {
        case .map(let map): map.entries.map(\.key)
        case .tree(.object(let object)): object.members.map { .string($0.key) }
        default: nil
        }
    }

    func member(_ key: CELValue) -> CELValue? {
        switch (self, key) {
        case (.map(let map), _): map[key]
        case (.tree(.object(let object)), .string(let name)): object[name].map(CELValue.init)
        default: nil
        }
    }

    /// Numbers of different kinds compare by value, other kinds are never equal. What has more than a thousand parts is
    /// equal to nothing: expressions can name lists within lists whose parts nobody would live to count.
    package func equals(_ other: CELValue) -> Bool {
        var left: Int64 = 1000
        return equals(other, &left)
    }

    /// - Parameter left: how many parts may be looked at; below zero: it was not decided.
    func equals(_ other: CELValue, _ left: inout Int64) -> Bool {
        left -= 1
        if left < 0 { return false }
        switch (self, other) {
        case (.null, .null): return true
        case (.bool(let a), .bool(let b)): return a == b
        case (.string(let a), .string(let b)): return a.utf8.elementsEqual(b.utf8)
        case (.bytes(let a), .bytes(let b)): return a == b
        case (.quantity(let a), .quantity(let b)): return a == b
        case (.version(let a), .version(let b)): return a == b
        case (.type(let a), .type(let b)): return a == b
        case (.optional(let a), .optional(let b)):
            if let a, let b { return a.equals(b, &left) }
            return a == nil && b == nil
        default: break
        }
        if isNumber, other.isNumber { return order(other) == 0 }
        if let a = items, let b = other.items {
            guard a.count == b.count else { return false }
            for (x, y) in zip(a, b) where !x.equals(y, &left) { return false }
            return true
        }
        guard let a = keys, let b = other.keys, a.count == b.count else { return false }
        for key in a {
            left -= Int64(a.count)
            guard left >= 0, b.contains(where: { $0.equals(key) }), let mine = member(key),
                let its = other.member(key), mine.equals(its, &left)
            else { return false }
        }
        return true
    }

    private var isNumber: Bool {
        switch self {
        case .int, .uint, .double: true
        default: false
        }
    }

    /// -1, 0 or 1; nil: these have no order (also not-a-number).
    func order(_ other: CELValue) -> Int? {
        func of<T: Comparable>(_ a: T, _ b: T) -> Int { a < b ? -1 : a == b ? 0 : 1 }
        switch (self, other) {
        case (.int(let a), .int(let b)): return of(a, b)
        case (.uint(let a), .uint(let b)): return of(a, b)
        case (.int(let a), .uint(let b)): return a < 0 ? -1 : of(UInt64(a), b)
        case (.uint(let a), .int(let b)): return b < 0 ? 1 : of(a, UInt64(b))
        case (.double(let a), .double(let b)): return a.isNaN || b.isNaN ? nil : of(a, b)
        case (.double(let a), .int(let b)): return a.isNaN ? nil : Self.order(a, Int128(b))
        case (.double(let a), .uint(let b)): return a.isNaN ? nil : Self.order(a, Int128(b))
        case (.int(let a), .double(let b)): return b.isNaN ? nil : -Self.order(b, Int128(a))
        case (.uint(let a), .double(let b)): return b.isNaN ? nil : -Self.order(b, Int128(a))
        case (.bool(let a), .bool(let b)): return a == b ? 0 : a ? 1 : -1
        case (.string(let a), .string(let b)):
            return a.utf8.elementsEqual(b.utf8) ? 0 : a.utf8.lexicographicallyPrecedes(b.utf8) ? -1 : 1
        case (.bytes(let a), .bytes(let b)): return a == b ? 0 : a.lexicographicallyPrecedes(b) ? -1 : 1
        default: return nil
        }
    }

    /// A double is compared with a whole number by value, without rounding the number.
    private static func order(_ a: Double, _ b: Int128) -> Int {
        if a >= 1e20 { return 1 }
        if a <= -1e20 { return -1 }
        let whole = Int128(a.rounded(.down))
        if whole != b { return whole < b ? -1 : 1 }
        return a > Double(whole) ? 1 : 0
    }
}
