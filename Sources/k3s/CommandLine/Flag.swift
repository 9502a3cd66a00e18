/// A command line flag as data: parsing, help and the configuration file all work from the same row.
struct Flag: Sendable {
    enum Kind: Sendable {
        case bool
        case string
        /// May be given several times; some are also split at commas by whoever reads them.
        case list
    }

    enum State: Sendable {
        case effective
        /// Accepted, said at start.
        case later
        /// As `later`, and not in help.
        case hidden
        /// An error: to ignore it would surprise.
        case refused
    }

    var name: String
    var alias: String?
    var environment: [String]
    var kind: Kind
    /// As help shows it.
    var defaultText: String
    var help: String
    var group: String
    var state: State

    /// Flags from a text with a line for each: `state|name|alias|environment|kind|default|group|help`.
    static func table(_ text: StaticString) -> [Flag] { rows(text.description) }

    static func rows(_ text: String) -> [Flag] {
        text.split(separator: "\n").map { line in
            let cells = line.split(separator: "|", maxSplits: 7, omittingEmptySubsequences: false).map(String.init)
            precondition(cells.count == 8, "flag table: \(line)")
            let state: State =
                switch cells[0] {
                case "+": .effective
                case "h": .hidden
                case "x": .refused
                default: .later
                }
            return Flag(
                name: cells[1], alias: cells[2].isEmpty ? nil : cells[2],
                environment: cells[3].isEmpty ? [] : [cells[3]],
                kind: cells[4] == "b" ? .bool : cells[4] == "l" ? .list : .string, defaultText: cells[5],
                help: cells[7], group: cells[6], state: state)
        }
    }
}

/// Why a command line cannot be followed; printed as k3s (urfave/cli) does, exit code 1.
struct UsageError: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// The values that a command line gave.
struct FlagValues: Sendable {
    private var values: [String: [String]] = [:]
    /// Those that came from environment variables.
    private(set) var fromEnvironment: Set<String> = []
    var arguments: [String] = []
    var wantsHelp = false

    mutating func add(_ name: String, _ value: String) { values[name, default: []].append(value) }
    mutating func set(_ name: String, _ list: [String], fromEnvironment: Bool = false) {
        values[name] = list
        if fromEnvironment { self.fromEnvironment.insert(name) }
    }

    func isSet(_ name: String) -> Bool { values[name] != nil }
    /// The last one wins.
    func string(_ name: String) -> String? { values[name]?.last }
    func list(_ name: String) -> [String] { values[name] ?? [] }
    /// All values, each split at commas, trimmed, without empty ones.
    func commaList(_ name: String) -> [String] {
        list(name).flatMap { $0.split(separator: ",") }.map { $0.trimmingSpaces() }.filter { !$0.isEmpty }
    }
    func bool(_ name: String) -> Bool { values[name]?.last.map(FlagParser.boolean) == .some(true) }
}

extension Substring {
    func trimmingSpaces() -> String {
        var text = self
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return String(text)
    }
}
