/// Go-style flags: `--name value`, `--name=value`, `-name value`; a flag without value for booleans; `--` ends them.
/// Order of precedence: command line, then environment, then default (the default is its reader's).
struct FlagParser: Sendable {
    var flags: [Flag]
    /// `-it` is `-i -t`.
    var clusters = false
    /// What follows the first argument is somebody else's.
    var argumentsEndFlags = false

    init(flags: [Flag]) { self.flags = flags }

    func parse(_ arguments: [String], environment: (String) -> String?) throws -> FlagValues {
        var values = FlagValues()
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            if argument == "--" {
                values.arguments.append(contentsOf: rest)
                break
            }
            guard argument.hasPrefix("-"), argument.count > 1 else {
                values.arguments.append(argument)
                guard argumentsEndFlags else { continue }
                values.arguments += rest
                break
            }
            if clusters, let letters = separated(argument) {
                rest = (letters + rest)[...]
                continue
            }
            let body = argument.drop { $0 == "-" }
            let name = String(body.prefix { $0 != "=" })
            if name == "help" || name == "h" {
                values.wantsHelp = true
                continue
            }
            guard let flag = flags.first(where: { $0.name == name || $0.alias == name }) else {
                throw UsageError("flag provided but not defined: -\(name)")
            }
            let given = body.firstIndex(of: "=").map { String(body[body.index(after: $0)...]) }
            if case .bool = flag.kind {
                let text = given ?? "true"
                guard Self.boolean(text) != nil else {
                    throw UsageError(
                        "invalid boolean value \"\(text)\" for -\(name): parse error, expected true or false")
                }
                values.set(flag.name, [text])
            } else if let value = given ?? rest.popFirst() {
                if case .list = flag.kind { values.add(flag.name, value) } else { values.set(flag.name, [value]) }
            } else {
                throw UsageError("flag needs an argument: -\(name)")
            }
        }
        for flag in flags where !values.isSet(flag.name) {
            for variable in flag.environment {
                guard let value = environment(variable), !value.isEmpty else { continue }
                if case .bool = flag.kind, Self.boolean(value) == nil {
                    throw UsageError(
                        "could not parse \"\(value)\" as bool value from environment variable \"\(variable)\" for flag \(flag.name)"
                    )
                }
                values.set(flag.name, [value], fromEnvironment: true)
                break
            }
        }
        return values
    }

    /// The flags of a word such as "-it"; nil where it is a flag itself, or has a letter that is none.
    private func separated(_ word: String) -> [String]? {
        let letters = word.dropFirst()
        guard letters.count > 1, !word.hasPrefix("--"),
            !flags.contains(where: { $0.name == letters.prefix { $0 != "=" } || $0.alias == String(letters) }),
            letters.allSatisfy({ letter in flags.contains { $0.alias == String(letter) } })
        else { return nil }
        return letters.map { "-\($0)" }
    }

    /// What was given and cannot be followed: throws for a flag that is refused, returns the names of those without effect.
    /// Variables of the environment that belong to others (AWS_...) are not worth a line.
    func withoutEffect(_ values: FlagValues) throws -> [String] {
        var names: [String] = []
        for flag in flags where values.isSet(flag.name) {
            if case .bool = flag.kind, !values.bool(flag.name) { continue }
            switch flag.state {
            case .effective: continue
            case .refused: throw UsageError("--\(flag.name) is not supported yet")
            case .later, .hidden:
                if values.fromEnvironment.contains(flag.name), flag.environment.first?.hasPrefix("K3S_") != true {
                    continue
                }
                if values.string(flag.name) != flag.defaultText { names.append(flag.name) }
            }
        }
        return names
    }

    /// Go's strconv.ParseBool.
    static func boolean(_ text: String) -> Bool? {
        switch text {
        case "1", "t", "T", "true", "TRUE", "True": true
        case "0", "f", "F", "false", "FALSE", "False": false
        default: nil
        }
    }

    /// The flags' part of a command's help, grouped as users know it.
    func help() -> String {
        var lines: [String] = ["OPTIONS:"]
        for flag in flags where flag.state == .effective || flag.state == .later {
            var left = "   --\(flag.name)"
            if let alias = flag.alias { left += ", \(alias.count == 1 ? "-" : "--")\(alias)" }
            if case .bool = flag.kind {} else { left += " value" }
            var right = flag.group.isEmpty ? flag.help : "(\(flag.group)) \(flag.help)"
            if flag.state == .later { right += " (no effect yet)" }
            if !flag.defaultText.isEmpty { right += " (default: \(flag.defaultText))" }
            if !flag.environment.isEmpty { right += " [\(flag.environment.map { "$" + $0 }.joined(separator: ", "))]" }
            lines.append(left.padding(to: 44) + " " + right)
        }
        return lines.joined(separator: "\n")
    }
}

extension String {
    func padding(to width: Int) -> String {
        count >= width ? self : self + String(repeating: " ", count: width - count)
    }
}
