/// Functions that expressions can call; operators and macros are nodes of their own. Sources: langdef.md, cel-go's ext
/// package, k8s.io/apiserver/pkg/cel/library (quantities, versions, lists).
enum CELFunction: String, Sendable, CaseIterable {
    case size, type, dyn, int, uint, double, string, bool, bytes
    case startsWith, endsWith, contains, matches
    case lowerAscii, upperAscii, indexOf, lastIndexOf, charAt, substring, replace, split, trim, join, reverse
    case min, max, sum, isSorted
    case quantity, isQuantity, sign, isInteger, asInteger, asApproximateFloat, add, sub
    case compareTo, isGreaterThan, isLessThan
    case semver, isSemver, major, minor, patch
    case hasValue, value, orValue, or
    case optionalNone = "optional.none"
    case optionalOf = "optional.of"
    case optionalOfNonZero = "optional.ofNonZeroValue"
    case setsContains = "sets.contains"
    case setsEquivalent = "sets.equivalent"
    case setsIntersects = "sets.intersects"

    /// One line per way of calling: name, target, arguments, result. Letters are `CELType.letter`; `-` is none, `*` any.
    private static let table: StaticString = """
        size - s i
        size - L i
        size - M i
        size - y i
        size s - i
        size L - i
        size M - i
        size y - i
        type - * t
        dyn - * *
        int - i i
        int - u i
        int - d i
        int - s i
        uint - i u
        uint - u u
        uint - d u
        uint - s u
        double - i d
        double - u d
        double - d d
        double - s d
        string - s s
        string - i s
        string - u s
        string - d s
        string - b s
        string - y s
        bool - b b
        bool - s b
        bytes - s y
        bytes - y y
        startsWith s s b
        endsWith s s b
        contains s s b
        matches s s b
        matches - ss b
        lowerAscii s - s
        upperAscii s - s
        trim s - s
        reverse s - s
        charAt s i s
        indexOf s s i
        indexOf s si i
        indexOf L * i
        lastIndexOf s s i
        lastIndexOf s si i
        lastIndexOf L * i
        substring s i s
        substring s ii s
        replace s ss s
        replace s ssi s
        split s s L
        split s si L
        join L - s
        join L s s
        min L - *
        max L - *
        sum L - *
        isSorted L - b
        quantity - s q
        isQuantity - s b
        sign q - i
        isInteger q - b
        asInteger q - i
        asApproximateFloat q - d
        add q q q
        add q i q
        sub q q q
        sub q i q
        compareTo q q i
        compareTo v v i
        isGreaterThan q q b
        isGreaterThan v v b
        isLessThan q q b
        isLessThan v v b
        semver - s v
        semver - sb v
        isSemver - s b
        isSemver - sb b
        major v - i
        minor v - i
        patch v - i
        hasValue o - b
        value o - *
        orValue o * *
        or o o o
        optional.none - - o
        optional.of - * o
        optional.ofNonZeroValue - * o
        sets.contains - LL b
        sets.equivalent - LL b
        sets.intersects - LL b
        """

    /// What a call gives; nil: there is no such way of calling it.
    func result(target: CELType?, _ arguments: [CELType]) -> CELType? {
        func fits(_ letter: UInt8, _ type: CELType) -> Bool {
            letter == UInt8(ascii: "*") || type.letter == UInt8(ascii: "*") || type.letter == letter
        }
        var found: CELType?
        for line in Self.table.description.split(separator: "\n") {
            let words = line.split(separator: " ").map { Array($0.utf8) }
            guard words.count == 4, words[0].elementsEqual(rawValue.utf8) else { continue }
            let wanted = words[2] == [UInt8(ascii: "-")] ? [] : words[2]
            let ofNothing = words[1] == [UInt8(ascii: "-")]
            guard ofNothing == (target == nil), wanted.count == arguments.count,
                target.map({ fits(words[1][0], $0) }) ?? true, zip(wanted, arguments).allSatisfy(fits)
            else { continue }
            let type = CELType(letter: words[3][0])
            // Several are possible: which one, is seen when it is called.
            if let before = found, before != type { return .dyn }
            found = type
        }
        return found
    }
}

/// What is known of a value before it is there.
package indirect enum CELType: Sendable, Equatable {
    case dyn, null, bool, int, uint, double, string, bytes, type, quantity, version
    case list(CELType)
    case map(CELType, CELType)
    case optional(CELType)
    /// A name for messages, and the fields.
    case object(String, [CELField])

    /// As in the functions' table.
    var letter: UInt8 {
        switch self {
        case .dyn: UInt8(ascii: "*")
        case .null: UInt8(ascii: "n")
        case .bool: UInt8(ascii: "b")
        case .int: UInt8(ascii: "i")
        case .uint: UInt8(ascii: "u")
        case .double: UInt8(ascii: "d")
        case .string: UInt8(ascii: "s")
        case .bytes: UInt8(ascii: "y")
        case .type: UInt8(ascii: "t")
        case .quantity: UInt8(ascii: "q")
        case .version: UInt8(ascii: "v")
        case .list: UInt8(ascii: "L")
        case .map: UInt8(ascii: "M")
        case .optional: UInt8(ascii: "o")
        case .object: UInt8(ascii: "O")
        }
    }

    init(letter: UInt8) {
        switch letter {
        case UInt8(ascii: "n"): self = .null
        case UInt8(ascii: "b"): self = .bool
        case UInt8(ascii: "i"): self = .int
        case UInt8(ascii: "u"): self = .uint
        case UInt8(ascii: "d"): self = .double
        case UInt8(ascii: "s"): self = .string
        case UInt8(ascii: "y"): self = .bytes
        case UInt8(ascii: "t"): self = .type
        case UInt8(ascii: "q"): self = .quantity
        case UInt8(ascii: "v"): self = .version
        case UInt8(ascii: "L"): self = .list(.dyn)
        case UInt8(ascii: "M"): self = .map(.dyn, .dyn)
        case UInt8(ascii: "o"): self = .optional(.dyn)
        default: self = .dyn
        }
    }

    /// As messages name it.
    package var text: String {
        switch self {
        case .dyn: "dyn"
        case .null: "null"
        case .bool: "bool"
        case .int: "int"
        case .uint: "uint"
        case .double: "double"
        case .string: "string"
        case .bytes: "bytes"
        case .type: "type"
        case .quantity: "kubernetes.Quantity"
        case .version: "kubernetes.Semver"
        case .list(let item): "list(\(item.text))"
        case .map(let key, let value): "map(\(key.text), \(value.text))"
        case .optional(let value): "optional_type(\(value.text))"
        case .object(let name, _): name
        }
    }
}

package struct CELField: Sendable, Equatable {
    package var name: String
    package var type: CELType
    package init(_ name: String, _ type: CELType) { (self.name, self.type) = (name, type) }
}
