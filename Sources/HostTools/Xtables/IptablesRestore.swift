import Linux
import Netlink

/// iptables-restore and ip6tables-restore: each table's lines are one transaction, sent at its COMMIT.
struct IptablesRestore {
    struct Settings {
        var isFlushing = true
        var isTest = false
        var isVerbose = false
        var hasCounters = false
        var table: String?
        var file: String?
    }

    private let family: AddressFamily
    private let call: ToolCall
    /// The first chain that a rule jumps to and that is not there.
    private final class Missing { var name: String? }
    private let missing = Missing()
    private var program: String { Xtables.name(family) + "-restore" }

    init(_ family: AddressFamily, _ call: ToolCall) { (self.family, self.call) = (family, call) }

    func run() -> Int32 {
        var line = 0
        do throws(ToolError) {
            guard let settings = try arguments() else { return 0 }
            let text: [UInt8]
            do throws(SysError) {
                if let file = settings.file, file != "-" {
                    text = try Files.read(file)
                } else {
                    text = try call.readInput()
                }
            } catch {
                let reason = strerror(error.code).map { String(cString: $0) } ?? "error"
                call.complain("Can't open \(settings.file ?? "-"): \(reason)")
                return 1
            }
            let kernel = try XtablesKernel(family)
            try restore(text, settings, kernel, &line)
            return 0
        } catch { return Xtables.report(error, program, call, line: error.code == 4 ? 0 : line) }
    }

    private func arguments() throws(ToolError) -> Settings? {
        var settings = Settings()
        var arguments = call.arguments[...]
        while let word = arguments.popFirst() {
            switch word {
            case "-n", "--noflush": settings.isFlushing = false
            case "-c", "--counters": settings.hasCounters = true
            case "-t", "--test": settings.isTest = true
            case "-v", "--verbose": settings.isVerbose = true
            case "-4", "--ipv4", "-6", "--ipv6": break
            case "-T", "--table": settings.table = arguments.popFirst()
            case "-M", "--modprobe", "-W", "--wait-interval": _ = arguments.popFirst()
            case "-w", "--wait":
                if let next = arguments.first, UInt64(next) != nil { arguments.removeFirst() }
            case "-V", "--version":
                call.line("\(program) \(Xtables.version)")
                return nil
            case "-h", "--help":
                call.line(
                    "Usage: \(program) [-c] [-v] [-V] [-t] [-h] [-n] [-w secs] [-W usecs] [-T table] [-M command] [-4] [-6] [file]"
                )
                return nil
            case _ where word.hasPrefix("-w") && UInt64(word.dropFirst(2)) != nil: break
            case _ where word.hasPrefix("-W") || word.hasPrefix("--wait"): break
            case _ where word.hasPrefix("-") && word != "-":
                throw ToolError(1, "unrecognized option '\(word)'\nTry `\(program) -h' for more information.")
            default: settings.file = word
            }
        }
        return settings
    }

    /// The lines of one table, done again when another program changed the tables meanwhile.
    private func restore(
        _ text: [UInt8], _ settings: Settings, _ kernel: XtablesKernel, _ line: inout Int
    ) throws(ToolError) {
        let lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
        let count = lines.last == "" ? lines.count - 1 : lines.count
        var index = 0
        var start = 0
        var attempts = 0
        var table: String?
        var output: [String] = []
        missing.name = nil
        while index < count {
            let text = lines[index]
            index += 1
            line = index
            kernel.line = index
            if text.isEmpty { continue }
            if text.hasPrefix("#") {
                if settings.isVerbose { call.line(text) }
                continue
            }
            if table != nil, text.hasPrefix("COMMIT") {
                table = nil
                // Jumps are checked when all of a table is there.
                if let name = missing.name { throw ToolError(2, "Chain '\(name)' does not exist") }
                if settings.isTest {
                    kernel.reset()
                } else if try !kernel.commit() {
                    attempts += 1
                    guard attempts < Xtables.attempts else { throw ToolError(4, "the tables keep changing") }
                    output = []
                    index = start
                    continue
                }
                attempts = 0
                for one in output { call.line(one) }
                output = []
            } else if table == nil, text.hasPrefix("*") {
                start = index - 1
                let name = String(text.dropFirst().prefix { $0 != " " && $0 != "\t" })
                guard BuiltinTables.chains(name) != nil else {
                    throw ToolError(2, "\(program): line \(index) table name '\(name)' invalid")
                }
                table = name
                if let wanted = settings.table, wanted != name {
                    // Another table's lines.
                    while index < count, !lines[index].hasPrefix("COMMIT") { index += 1 }
                    continue
                }
                if settings.isFlushing {
                    if settings.isVerbose {
                        let chains = try kernel.table(name).sorted
                        for chain in chains { output.append("Flushing chain `\(chain.name)'") }
                        for chain in chains where chain.builtin == nil {
                            output.append("Deleting chain `\(chain.name)'")
                        }
                    }
                    try kernel.clear(name)
                } else if IptablesRestore.asksForRules(lines[index...]) {
                    // Before anything is added to them.
                    try kernel.table(name, rules: true)
                }
            } else if let table, text.hasPrefix(":") {
                if settings.table == nil || settings.table == table { try chain(text, table, settings, kernel) }
            } else if let table {
                if settings.table == nil || settings.table == table {
                    try rule(text, table, settings, kernel) { output.append($0) }
                }
            } else {
                throw ToolError(1, "line \(index) failed", isVersioned: false, isPlain: true)
            }
        }
        if table != nil {
            throw ToolError(1, "COMMIT expected at line \(count + 1)", isVersioned: false, isPlain: true)
        }
    }

    /// Whether a table's lines look at rules that are there, by place or by what is in them.
    private static func asksForRules(_ lines: ArraySlice<String>) -> Bool {
        for line in lines {
            if line.hasPrefix("COMMIT") { return false }
            let command = line.drop { $0 != "-" }
            if ["-D", "-R", "-C", "-I", "-Z", "-L", "-S", "--d", "--r", "--c", "--i", "--z", "--l"].contains(where: {
                command.hasPrefix($0)
            }) {
                return true
            }
        }
        return false
    }

    /// ":NAME POLICY [PACKETS:BYTES]"
    private func chain(_ text: String, _ table: String, _ settings: Settings, _ kernel: XtablesKernel) throws(ToolError)
    {
        let words = text.dropFirst().split { $0 == " " || $0 == "\t" }
        guard let first = words.first else {
            throw ToolError(2, "\(program): line \(kernel.line) chain name invalid\n")
        }
        let name = String(first)
        guard name.utf8.count <= 28 else {
            throw ToolError(2, "Invalid chain name `\(name)' (28 chars max)")
        }
        guard words.count > 1 else { throw ToolError(2, "\(program): line \(kernel.line) policy invalid\n") }
        if words[1] != "-" || BuiltinTables.chains(table)?.contains(where: { $0.name == name }) == true {
            var counters: (UInt64, UInt64)?
            if words[1] != "-", settings.hasCounters {
                guard words.count > 2, let parsed = IptablesRestore.counters(words[2]) else {
                    throw ToolError(2, "invalid policy counters for chain '\(name)'")
                }
                counters = parsed
            }
            if words[1] != "-" {
                guard words[1] == "ACCEPT" || words[1] == "DROP" else { throw ToolError(1, "Bad policy name.") }
                try kernel.setPolicy(table, name, String(words[1]), counters: counters)
            }
        } else if try kernel.hasChain(table, name) {
            try kernel.flush(table, name) { _ in }
        } else {
            try kernel.newChain(table, name)
        }
    }

    /// "[PACKETS:BYTES]"
    static func counters(_ text: Substring) -> (UInt64, UInt64)? {
        guard text.hasPrefix("["), text.hasSuffix("]") else { return nil }
        let parts = text.dropFirst().dropLast().split(separator: ":")
        guard parts.count == 2, let packets = UInt64(parts[0]), let bytes = UInt64(parts[1]) else { return nil }
        return (packets, bytes)
    }

    private func rule(
        _ text: String, _ table: String, _ settings: Settings, _ kernel: XtablesKernel, say: (String) -> Void
    ) throws(ToolError) {
        var rest = text[...]
        var counts: (UInt64, UInt64)?
        if rest.hasPrefix("[") {
            guard let end = rest.firstIndex(of: "]"), let parsed = IptablesRestore.counters(rest[...end]) else {
                throw ToolError(2, "invalid counter")
            }
            if settings.hasCounters { counts = parsed }
            rest = rest[rest.index(after: end)...]
        }
        let words = try IptablesRestore.words(rest)
        guard !words.contains(where: { $0 == "--table" || $0.hasPrefix("-t") && !$0.hasPrefix("--") }) else {
            throw ToolError(2, "The -t option cannot be used in \(program).\n")
        }
        var command = try RuleParser.parse(family, words, table: table) { (table, chain) throws(ToolError) in
            if try !kernel.hasChain(table, chain) { missing.name = missing.name ?? chain }
            return true
        }
        if command.isForeign { return }
        if let counts {
            for index in command.rules.indices {
                (command.rules[index].packets, command.rules[index].bytes) = counts
            }
        }
        if settings.isVerbose { command.format.isVerbose = true }
        try IptablesCommand.perform(command, kernel, say: say)
    }

    /// Words with double or single quotes and backslashes in them, as a shell's.
    static func words(_ text: Substring) throws(ToolError) -> [String] {
        var words: [String] = []
        var word = ""
        var (isOpen, isEscaped) = (false, false)
        var quote: Character?
        // A line ends at a NUL, as it does in C.
        for character in text.prefix(while: { $0 != "\0" }) {
            if isEscaped {
                word.append(character)
                isEscaped = false
            } else if let open = quote {
                if character == open {
                    quote = nil
                } else if character == "\\" {
                    isEscaped = true
                } else {
                    word.append(character)
                }
            } else if character == "\"" || character == "'" {
                (quote, isOpen) = (character, true)
            } else if character == " " || character == "\t" || character == "\r" || character == "\r\n" {
                if isOpen { words.append(word) }
                (word, isOpen) = ("", false)
            } else {
                word.append(character)
                isOpen = true
            }
        }
        if isOpen { words.append(word) }
        guard words.count < 255 else { throw ToolError(2, "Parser cannot handle more arguments\n") }
        return words
    }
}
