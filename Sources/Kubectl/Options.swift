import Codecs
import KubeAPI

/// A flag as data: the parser and the help of a command work from the same row.
struct FlagRow: Sendable {
    enum Kind: Character, Sendable {
        case bool = "b"
        case string = "s"
        /// Several times, and each split at commas.
        case list = "l"
        /// Several times, as they are.
        case array = "a"
        /// A value only as `--name=value`; without one it is the default text.
        case optional = "o"
    }

    var short: String
    var name: String
    var kind: Kind
    var defaultText: String
    var help: String

    /// Rows of `short|name|kind|default|help`.
    static func table(_ text: String) -> [FlagRow] {
        text.split(separator: "\n").compactMap { line in
            let cells = line.split(separator: "|", maxSplits: 4, omittingEmptySubsequences: false).map(String.init)
            guard cells.count == 5, let kind = cells[2].first.flatMap(Kind.init) else { return nil }
            return FlagRow(short: cells[0], name: cells[1], kind: kind, defaultText: cells[3], help: cells[4])
        }
    }

    var line: String {
        let left = (short.isEmpty ? "    " : "-\(short), ") + "--\(name)="
        let value: String =
            switch kind {
            case .bool: defaultText.isEmpty ? "false" : defaultText
            case .list, .array: "[]"
            case .string, .optional: Int64(defaultText) != nil ? defaultText : "'\(defaultText)'"
            }
        return "    \(left)\(value):\n\t\(help)\n"
    }
}

/// Why a command ends, as its last words on stderr.
struct CommandError: Error, CustomStringConvertible {
    var description: String
    var code: Int32 = 1
    /// Printed as it is, without "error: " in front.
    var isPlain = false

    init(_ description: String, code: Int32 = 1, plain: Bool = false) {
        (self.description, self.code, isPlain) = (description, code, plain)
    }
    /// What has been said already.
    static func silent(_ code: Int32 = 1) -> CommandError { CommandError("", code: code, plain: true) }
    /// A command line that cannot be followed.
    static func usage(_ text: String, _ command: String) -> CommandError {
        CommandError("\(text)\nSee 'kubectl \(command) -h' for help and examples")
    }
}

/// The values of a command line: pflag's rules (`-n x`, `-nx`, `-n=x`, `-it`, `--name x`, `--name=x`, flags anywhere).
struct Options: Sendable {
    private(set) var values: [String: [String]] = [:]
    private(set) var arguments: [String] = []
    /// How many arguments came before `--`; nil: there was none.
    private(set) var dash: Int?
    private var rows: [FlagRow] = []
    private(set) var wantsHelp = false

    init(_ words: [String], rows: [FlagRow], command: String) throws {
        self.rows = rows
        var rest = words[...]
        func failure(_ text: String) -> CommandError {
            CommandError("\(text)\nSee 'kubectl \(command) --help' for usage.")
        }
        while let word = rest.popFirst() {
            if word == "--" {
                dash = arguments.count
                arguments += rest
                break
            }
            guard word.hasPrefix("-"), word.utf8.count > 1 else {
                arguments.append(word)
                continue
            }
            let equals = word.firstIndex(of: "=")
            var given = equals.map { String(word[word.index(after: $0)...]) }
            if word.hasPrefix("--") {
                let name = String(word[..<(equals ?? word.endIndex)].dropFirst(2))
                if name == "help" {
                    wantsHelp = true
                    continue
                }
                guard let row = rows.first(where: { $0.name == name }) else {
                    throw failure("unknown flag: --\(name)")
                }
                if given == nil {
                    switch row.kind {
                    case .bool: given = "true"
                    case .optional: given = row.defaultText
                    default:
                        given = rest.popFirst()
                        if given == nil { throw failure("flag needs an argument: --\(name)") }
                    }
                }
                try set(row, given ?? "", shown: "--\(name)", failure)
                continue
            }
            var letters = word.dropFirst()
            while let letter = letters.popFirst() {
                if letter == "h", !rows.contains(where: { $0.short == "h" }) {
                    wantsHelp = true
                    continue
                }
                guard let row = rows.first(where: { $0.short == String(letter) }) else {
                    throw failure("unknown shorthand flag: '\(letter)' in \(word)")
                }
                var value: String
                if letters.first == "=" {
                    value = String(letters.dropFirst())
                    letters = ""
                } else if row.kind == .bool || row.kind == .optional {
                    value = row.kind == .bool ? "true" : row.defaultText
                } else if !letters.isEmpty {
                    value = String(letters)
                    letters = ""
                } else if let next = rest.popFirst() {
                    value = next
                } else {
                    throw failure("flag needs an argument: '\(letter)' in \(word)")
                }
                try set(row, value, shown: "-\(letter), --\(row.name)", failure)
            }
        }
    }

    private mutating func set(
        _ row: FlagRow, _ value: String, shown: String, _ failure: (String) -> CommandError
    ) throws {
        switch row.kind {
        case .bool:
            guard Self.boolean(value) != nil else {
                throw failure(
                    "invalid argument \(GoText.quoted(value)) for \"\(shown)\" flag: strconv.ParseBool: parsing \(GoText.quoted(value)): invalid syntax"
                )
            }
            values[row.name] = [value]
        case .string, .optional: values[row.name] = [value]
        case .array: values[row.name, default: []].append(value)
        case .list: values[row.name, default: []] += value.split(separator: ",").map(String.init)
        }
    }

    static func boolean(_ text: String) -> Bool? {
        switch text {
        case "1", "t", "T", "true", "TRUE", "True": true
        case "0", "f", "F", "false", "FALSE", "False": false
        default: nil
        }
    }

    func isSet(_ name: String) -> Bool { values[name] != nil }
    private func row(_ name: String) -> FlagRow? { rows.first { $0.name == name } }
    /// The last value given, else the default; "" without either.
    func string(_ name: String) -> String {
        if let value = values[name]?.last { return value }
        guard let row = row(name), row.kind == .string || row.kind == .bool else { return "" }
        return row.defaultText
    }
    /// As `given`, for flags that all commands have: not where the command has one of that name for itself.
    func shared(_ name: String) -> String? {
        rows.lazy.filter { $0.name == name }.count > 1 ? nil : given(name)
    }
    func given(_ name: String) -> String? { values[name]?.last }
    func list(_ name: String) -> [String] { values[name] ?? [] }
    func bool(_ name: String) -> Bool { Self.boolean(string(name)) ?? false }

    func int(_ name: String) throws -> Int64 {
        let text = string(name)
        guard let number = Int64(text) else {
            throw CommandError(
                "invalid argument \(GoText.quoted(text)) for \"--\(name)\" flag: strconv.ParseInt: parsing \(GoText.quoted(text)): invalid syntax"
            )
        }
        return number
    }

    /// Seconds of a Go duration ("5m", "1h30m", "0"); a bare number counts seconds.
    func seconds(_ name: String) throws -> Double {
        let text = string(name)
        if let number = Double(text) { return number }
        guard let nanoseconds = GoDuration.parse(text) else {
            throw CommandError(
                "invalid argument \(GoText.quoted(text)) for \"--\(name)\" flag: time: invalid duration \(GoText.quoted(text))"
            )
        }
        return Double(nanoseconds) / 1e9
    }
}
