/// A JSON document as a tree of values, for the moments in which an object is looked into or changed.
///
/// Objects rest as encoded bytes; a tree lives only as long as the request or reconciliation that needs it. Object keys
/// keep the order in which they were written, so that decoding and encoding an object gives the same text.
/// Source: RFC 8259. Integers that fit are `Int64`; everything else with a number's form is `Double`.
package enum JSON: Sendable, Equatable {
    case null
    case bool(Bool)
    case int(Int64)
    case double(Double)
    case string(String)
    case array([JSON])
    case object(JSONObject)
}

/// An ordered list of members with unique keys. Lookup is linear: Kubernetes objects have a handful of members a level,
/// where comparing short strings beats hashing them and a tree costs no tables.
package struct JSONObject: Sendable {
    package typealias Member = (key: String, value: JSON)
    package private(set) var members: [Member]

    package init() { members = [] }
    /// The caller vouches for unique keys.
    package init(members: [Member]) { self.members = members }

    package var count: Int { members.count }
    package var isEmpty: Bool { members.isEmpty }
    package var keys: [String] { members.map(\.key) }

    package func index(of key: String) -> Int? {
        for i in members.indices where members[i].key == key { return i }
        return nil
    }

    /// nil: no such member. Setting nil removes the member; setting a new key appends it.
    package subscript(key: String) -> JSON? {
        get { index(of: key).map { members[$0].value } }
        set {
            if let i = index(of: key) {
                if let newValue { members[i].value = newValue } else { members.remove(at: i) }
            } else if let newValue {
                members.append((key, newValue))
            }
        }
        _modify {
            if let i = index(of: key) {
                var value: JSON? = members[i].value
                members[i].value = .null  // gives the only reference to the one who modifies it
                defer {
                    if let value { members[i].value = value } else { members.remove(at: i) }
                }
                yield &value
            } else {
                var value: JSON?
                defer { if let value { members.append((key, value)) } }
                yield &value
            }
        }
    }

    package mutating func removeValue(forKey key: String) -> JSON? {
        guard let i = index(of: key) else { return nil }
        return members.remove(at: i).value
    }
    package mutating func removeAll(where shouldRemove: (Member) -> Bool) { members.removeAll(where: shouldRemove) }
    package mutating func reserveCapacity(_ n: Int) { members.reserveCapacity(n) }
    /// Appends without looking for the key.
    package mutating func append(_ key: String, _ value: JSON) { members.append((key, value)) }
    package mutating func sort() { members.sort { $0.key < $1.key } }
    package mutating func mapValues(_ transform: (String, JSON) -> JSON) {
        for i in members.indices { members[i].value = transform(members[i].key, members[i].value) }
    }
}

extension JSONObject: Equatable {
    /// Order does not count.
    package static func == (a: Self, b: Self) -> Bool {
        guard a.count == b.count else { return false }
        for (i, member) in a.members.enumerated() {
            if b.members[i].key == member.key {
                if b.members[i].value != member.value { return false }
            } else {
                guard let other = b[member.key], other == member.value else { return false }
            }
        }
        return true
    }
}

extension JSONObject: Sequence {
    package func makeIterator() -> IndexingIterator<[Member]> { members.makeIterator() }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
    package init(dictionaryLiteral elements: (String, JSON)...) { self.init(members: elements.map { ($0.0, $0.1) }) }
}

extension JSON {
    /// As documents: 2500 and 2.5e3 are the same number.
    package static func == (a: JSON, b: JSON) -> Bool {
        switch (a, b) {
        case (.null, .null): true
        case (.bool(let x), .bool(let y)): x == y
        case (.int(let x), .int(let y)): x == y
        case (.double(let x), .double(let y)): x == y
        case (.int(let x), .double(let y)), (.double(let y), .int(let x)): Int64(exactly: y) == x
        case (.string(let x), .string(let y)): x == y
        case (.array(let x), .array(let y)): x == y
        case (.object(let x), .object(let y)): x == y
        default: false
        }
    }
}

// MARK: - Access

extension JSON {
    package var string: String? { if case .string(let s) = self { s } else { nil } }
    package var bool: Bool? { if case .bool(let b) = self { b } else { nil } }
    /// Also a double without a fraction that fits.
    package var int: Int64? {
        switch self {
        case .int(let i): i
        case .double(let d): Int64(exactly: d)
        default: nil
        }
    }
    package var double: Double? {
        switch self {
        case .int(let i): Double(i)
        case .double(let d): d
        default: nil
        }
    }
    package var array: [JSON]? { if case .array(let a) = self { a } else { nil } }
    package var object: JSONObject? { if case .object(let o) = self { o } else { nil } }
    package var isNull: Bool { if case .null = self { true } else { false } }

    /// The elements of an array; none for anything else. For reading lists that may be absent.
    package var elements: [JSON] { array ?? [] }
    /// The members of an object whose values are strings (labels, annotations, data).
    package var stringMap: [String: String] {
        guard case .object(let o) = self else { return [:] }
        var map = [String: String](minimumCapacity: o.count)
        for (key, value) in o { if case .string(let s) = value { map[key] = s } }
        return map
    }

    /// A member of an object; `.null` where there is none, so that paths chain: `pod["spec"]["nodeName"].string`.
    /// Setting `.null` removes the member; setting below something that is not an object makes it one.
    package subscript(key: String) -> JSON {
        get {
            if case .object(let o) = self { o[key] ?? .null } else { .null }
        }
        set {
            // Not `isNull ? nil : newValue`: that nil would be JSON's null, not the absence of a member.
            withObject { o in o[key] = newValue.isNull ? JSON?.none : newValue }
        }
        _modify {
            // Nobody but `o` may hold the members while they change, or every level would be copied.
            var o = JSONObject()
            var scalar: JSON?
            if case .object(let mine) = self { o = mine } else { scalar = self }
            self = .null
            var value = o.removeForModify(key) ?? .null
            defer {
                if value.isNull, let scalar {
                    self = scalar  // nothing came: a scalar does not become an object
                } else {
                    o[key] = value.isNull ? JSON?.none : value
                    self = .object(o)
                }
            }
            yield &value
        }
    }

    /// An element of an array; `.null` outside of it.
    package subscript(index: Int) -> JSON {
        get {
            if case .array(let a) = self, a.indices.contains(index) { a[index] } else { .null }
        }
        set {
            guard case .array(var a) = self, a.indices.contains(index) else { return }
            self = .null
            a[index] = newValue
            self = .array(a)
        }
    }

    package mutating func append(_ value: JSON) {
        if case .array(var a) = self {
            self = .null
            a.append(value)
            self = .array(a)
        } else {
            self = .array([value])
        }
    }

    /// Changes the members in place (an empty object where this was none).
    package mutating func withObject<R>(_ body: (inout JSONObject) -> R) -> R {
        var o: JSONObject
        if case .object(let mine) = self { o = mine } else { o = JSONObject() }
        self = .null
        defer { self = .object(o) }
        return body(&o)
    }

    package static func strings(_ list: [String]) -> JSON { .array(list.map(JSON.string)) }
    /// Keys in sorted order, so that equal maps give equal bytes.
    package static func map(_ map: [String: String]) -> JSON {
        .object(JSONObject(members: map.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) }))
    }
}

extension JSONObject {
    /// Takes a value out for changing, leaving its place, so that nobody else holds its storage.
    fileprivate mutating func removeForModify(_ key: String) -> JSON? {
        guard let i = index(of: key) else { return nil }
        let value = members[i].value
        members[i].value = .null
        return value
    }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByFloatLiteral, ExpressibleByNilLiteral
{
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int64) { self = .int(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(floatLiteral value: Double) { self = .double(value) }
    package init(nilLiteral: ()) { self = .null }
    package init(arrayLiteral elements: JSON...) { self = .array(elements) }
    /// Members whose value is `.null` are kept: a merge patch needs them.
    package init(dictionaryLiteral elements: (String, JSON)...) {
        self = .object(JSONObject(members: elements.map { ($0.0, $0.1) }))
    }
}
