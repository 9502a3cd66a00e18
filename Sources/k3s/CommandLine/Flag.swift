/// A command line flag as data: parsing, help and the configuration file all work from the same row.
struct Flag: Sendable {
    enum Kind: Sendable {
        case bool
        case string
        /// May be given several times; some are also split at commas by whoever reads them.
        case list
    }

    var name: String
    var alias: String?
    var environment: [String]
    var kind: Kind
    /// As help shows it.
    var defaultText: String
    var help: String
    var group: String

    init(
        _ name: String, _ kind: Kind = .string, alias: String? = nil, environment: String..., defaultText: String = "",
        group: String, _ help: String
    ) {
        (self.name, self.kind, self.alias, self.environment) = (name, kind, alias, environment)
        (self.defaultText, self.group, self.help) = (defaultText, group, help)
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
    var arguments: [String] = []
    var wantsHelp = false

    mutating func add(_ name: String, _ value: String) { values[name, default: []].append(value) }
    mutating func set(_ name: String, _ list: [String]) { values[name] = list }

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
