/// One part of an expression; parts that it consists of are numbers in the program's list, lower than its own.
enum CELNode: Sendable {
    case literal(CELValue)
    case identifier(String)
    /// `a.b`; a test is `has(a.b)`, an optional selection `a.?b`.
    case select(Int32, String, isTest: Bool, isOptional: Bool)
    /// `a[b]`, `a[?b]`
    case index(Int32, Int32, isOptional: Bool)
    case call(CELFunction, target: Int32?, [Int32])
    case list([Int32])
    case map([(Int32, Int32)])
    case and([Int32])
    case or([Int32])
    case not(Int32)
    case negate(Int32)
    case conditional(Int32, Int32, Int32)
    case binary(CELOperator, Int32, Int32)
    /// `range.all(variable, body)` and its kin; `filter` is the condition of a map with three arguments.
    case loop(CELLoop, range: Int32, variable: String, filter: Int32?, body: Int32)
    /// `cel.bind(name, value, body)`
    case bind(String, Int32, Int32)
}

enum CELLoop: String, Sendable {
    case all, exists, map, filter
    case existsOne = "exists_one"
}

enum CELOperator: String, Sendable {
    case add = "+"
    case subtract = "-"
    case multiply = "*"
    case divide = "/"
    case modulo = "%"
    case less = "<"
    case lessOrEqual = "<="
    case greater = ">"
    case greaterOrEqual = ">="
    case equal = "=="
    case notEqual = "!="
    case `in`

    var precedence: Int {
        switch self {
        case .less, .lessOrEqual, .greater, .greaterOrEqual, .equal, .notEqual, .in: 3
        case .add, .subtract: 4
        case .multiply, .divide, .modulo: 5
        }
    }
    /// As messages name the operation.
    var functionName: String { self == .in ? "@in" : "_\(rawValue)_" }
}

/// A compiled expression: a value without references to anything, evaluated as often as wanted.
package struct CELProgram: Sendable {
    package let source: String
    let nodes: [CELNode]
    /// Byte of the source, for messages.
    let places: [Int32]
    /// What it gives, as far as that is known.
    package internal(set) var type = CELType.dyn
    var root: Int32 { Int32(nodes.count) - 1 }

    /// Most parts within each other, and most bytes: what evaluates goes as deep.
    static let depth = 64
    static let length = 64 << 10

    init(source: String, nodes: [CELNode], places: [Int32]) {
        (self.source, self.nodes, self.places) = (source, nodes, places)
    }

    /// "ERROR: <input>:1:5: undeclared reference ..." with the line and a mark below. Source: cel-go's common.Error.
    static func report(_ message: String, at place: Int, in source: String) -> CELError {
        let bytes = Array(source.utf8)
        let place = min(max(place, 0), bytes.count)
        let start = (bytes[..<place].lastIndex(of: 10) ?? -1) + 1
        let end = bytes[place...].firstIndex(of: 10) ?? bytes.count
        let line = bytes[..<place].count { $0 == 10 } + 1
        // Columns are characters.
        let column = String(decoding: bytes[start..<place], as: UTF8.self).unicodeScalars.count
        let text = String(decoding: bytes[start..<end], as: UTF8.self)
        return CELError(
            "ERROR: <input>:\(line):\(column + 1): \(message)\n | \(text)\n | "
                + String(repeating: ".", count: column) + "^")
    }
}
