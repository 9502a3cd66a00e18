/// Header fields of an HTTP message: ordered, multi-valued, names compared without regard to ASCII case (RFC 9110 5.1).
///
/// A linear array: messages carry about ten fields, for which a scan is cheaper than hashing.
package struct HTTPHeaderFields: Sendable, Equatable, ExpressibleByDictionaryLiteral {
    package struct Field: Sendable, Equatable {
        package var name: String
        package var value: String

        package init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    package private(set) var fields: [Field] = []

    package init() {}

    package init(_ pairs: [(String, String)]) {
        fields.reserveCapacity(pairs.count)
        for (name, value) in pairs { fields.append(Field(name: name, value: value)) }
    }

    package init(dictionaryLiteral elements: (String, String)...) {
        self.init(elements)
    }

    package var isEmpty: Bool { fields.isEmpty }
    package var count: Int { fields.count }

    /// The first value of the name, or nil. Setting replaces every field of that name; nil removes them.
    package subscript(_ name: String) -> String? {
        get {
            for field in fields where asciiCaseInsensitiveEqual(field.name, name) { return field.value }
            return nil
        }
        set {
            guard let newValue else {
                remove(name)
                return
            }
            guard let first = fields.firstIndex(where: { asciiCaseInsensitiveEqual($0.name, name) }) else {
                add(name, newValue)
                return
            }
            fields[first].value = newValue
            var seen = false
            fields.removeAll { field in
                guard asciiCaseInsensitiveEqual(field.name, name) else { return false }
                defer { seen = true }
                return seen
            }
        }
    }

    package mutating func add(_ name: String, _ value: String) {
        fields.append(Field(name: name, value: value))
    }

    package mutating func append(contentsOf other: HTTPHeaderFields) {
        fields.append(contentsOf: other.fields)
    }

    package mutating func remove(_ name: String) {
        fields.removeAll { asciiCaseInsensitiveEqual($0.name, name) }
    }

    package func contains(_ name: String) -> Bool {
        fields.contains { asciiCaseInsensitiveEqual($0.name, name) }
    }

    /// Every value of the name, in order.
    package func values(_ name: String) -> [String] {
        var result: [String] = []
        for field in fields where asciiCaseInsensitiveEqual(field.name, name) { result.append(field.value) }
        return result
    }

    /// The members of a comma separated list field, over all its occurrences, trimmed; empty members are dropped.
    package func listMembers(_ name: String) -> [String] {
        var result: [String] = []
        for field in fields where asciiCaseInsensitiveEqual(field.name, name) {
            for part in field.value.utf8.split(separator: UInt8(ascii: ",")) {
                let trimmed = trimOptionalWhitespace(part)
                if !trimmed.isEmpty { result.append(String(Substring(trimmed))) }
            }
        }
        return result
    }

    /// Whether a list field has this member, without regard to ASCII case (`Connection: keep-alive, Upgrade`).
    package func hasMember(_ name: String, _ member: String) -> Bool {
        for field in fields where asciiCaseInsensitiveEqual(field.name, name) {
            for part in field.value.utf8.split(separator: UInt8(ascii: ",")) {
                if asciiCaseInsensitiveEqual(trimOptionalWhitespace(part), member.utf8) { return true }
            }
        }
        return false
    }
}

func trimOptionalWhitespace(_ text: Substring.UTF8View) -> Substring.UTF8View {
    var view = text
    while let first = view.first, first == 0x20 || first == 0x09 { view.removeFirst() }
    while let last = view.last, last == 0x20 || last == 0x09 { view.removeLast() }
    return view
}

@inline(__always)
func asciiLowercased(_ byte: UInt8) -> UInt8 {
    byte &- 0x41 < 26 ? byte | 0x20 : byte
}

package func asciiCaseInsensitiveEqual(_ a: String, _ b: String) -> Bool {
    asciiCaseInsensitiveEqual(a.utf8, b.utf8)
}

func asciiCaseInsensitiveEqual<A: Collection<UInt8>, B: Collection<UInt8>>(_ a: A, _ b: B) -> Bool {
    guard a.count == b.count else { return false }
    var other = b.makeIterator()
    for byte in a {
        guard let match = other.next() else { return false }
        if byte != match, asciiLowercased(byte) != asciiLowercased(match) { return false }
    }
    return true
}
