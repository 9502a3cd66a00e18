import Linux
import Netlink

extension HostTool {
    /// iptables and its relatives, under the names of both packages' forms.
    static var xtables: [HostTool] {
        var tools: [HostTool] = []
        for (prefix, family) in [("iptables", AddressFamily.ipv4), ("ip6tables", .ipv6)] {
            for middle in ["", "-nft"] {
                tools.append(HostTool(prefix + middle) { IptablesCommand(family, $0).run() })
                tools.append(HostTool(prefix + middle + "-save") { IptablesSave(family, $0).run() })
                tools.append(HostTool(prefix + middle + "-restore") { IptablesRestore(family, $0).run() })
            }
        }
        return tools
    }
}

/// What the tools say of themselves: they are told apart by `-V`, and scripts compare it.
enum Xtables {
    static let version = "v1.8.9 (nf_tables)"
    /// Another program's transaction came in between: tried again, as often as this.
    static let attempts = 20

    static func name(_ family: AddressFamily) -> String { family == .ipv4 ? "iptables" : "ip6tables" }

    /// The original's forms of an error; returns the exit code.
    static func report(_ error: ToolError, _ program: String, _ call: ToolCall, line: Int = 0) -> Int32 {
        switch error.code {
        case 1 where !error.isVersioned:
            let place = line > 0 && !error.isPlain ? "line \(line) failed: " : ""
            if !error.text.isEmpty { call.complain("\(program): \(place)\(error.text)") }
        default:
            var text = error.isVersioned ? "\(program) \(version): \(error.text)" : error.text
            if line > 0, error.code == 2 { text += "\nError occurred at line: \(line)" }
            if error.code == 2 {
                if !text.isEmpty { text += "\n" }
                text += "Try `\(program) -h' or '\(program) --help' for more information."
            }
            call.complain(text)
        }
        return error.code
    }
}

/// One command line of iptables or ip6tables.
struct IptablesCommand {
    private let family: AddressFamily
    private let call: ToolCall
    private var program: String { Xtables.name(family) }

    init(_ family: AddressFamily, _ call: ToolCall) { (self.family, self.call) = (family, call) }

    func run() -> Int32 {
        do throws(ToolError) {
            let kernel = try XtablesKernel(family)
            for attempt in 1... {
                let command = try RuleParser.parse(family, call.arguments) { (table, chain) throws(ToolError) in
                    try kernel.hasChain(table, chain)
                }
                if attempt == 1 { for note in command.notes { call.complain(note) } }
                if command.isVersionAsked {
                    call.line("\(program) \(Xtables.version)")
                    return 0
                }
                if command.isHelpAsked {
                    help()
                    return 0
                }
                if command.isForeign { throw ToolError(2, "", isVersioned: false) }
                var output: [String] = []
                try IptablesCommand.perform(command, kernel) { output.append($0) }
                if try kernel.commit() || attempt >= Xtables.attempts {
                    for line in output { call.line(line) }
                    break
                }
            }
            return 0
        } catch { return Xtables.report(error, program, call) }
    }

    /// Adds the command's changes to the kernel's transaction; listings and what `-v` says go to `say`.
    static func perform(
        _ command: RuleParser.Command, _ kernel: XtablesKernel, say: (String) -> Void
    ) throws(ToolError) {
        let table = command.table ?? "filter"
        let chain = command.chain ?? ""
        let verbose: (String) -> Void = { if command.format.isVerbose { say($0) } }
        func announce(_ rule: Rule) {
            guard command.format.isVerbose else { return }
            say(rule.line(Rule.ListFormat(isNumeric: true, isVerbose: true, isInline: true), number: nil))
        }
        switch command.letter {
        case "A":
            for rule in command.rules {
                try kernel.add(rule, table: table, chain: chain, position: nil)
                announce(rule)
            }
        case "I":
            for rule in command.rules.reversed() {
                try kernel.add(rule, table: table, chain: chain, position: command.position ?? 1)
                announce(rule)
            }
        case "D":
            if let position = command.position {
                try kernel.delete(table: table, chain: chain, position: position)
            } else {
                for rule in command.rules {
                    announce(rule)
                    try kernel.delete(
                        table: table, chain: chain, position: try kernel.find(rule, table: table, chain: chain))
                }
            }
        case "R":
            for rule in command.rules {
                announce(rule)
                try kernel.replace(rule, table: table, chain: chain, position: command.position ?? 1)
            }
        case "C":
            for rule in command.rules {
                announce(rule)
                _ = try kernel.find(rule, table: table, chain: chain)
            }
        case "N": try kernel.newChain(table, chain)
        case "X": try kernel.deleteChain(table, command.chain, verbose: verbose)
        case "F": try kernel.flush(table, command.chain, verbose: verbose)
        case "E": try kernel.rename(table, chain, to: command.newName ?? "")
        case "P": try kernel.setPolicy(table, chain, command.policy ?? "", counters: command.counters)
        case "Z": try kernel.zero(table, command.chain, position: command.position, verbose: verbose)
        case "L": try XtablesListing.list(kernel, table, command, say: say)
        case "S": try XtablesListing.rules(kernel, table, command, say: say)
        default: break
        }
        if command.isZeroing {
            try kernel.zero(table, command.chain, position: command.position, verbose: verbose)
        }
    }

    private func help() {
        call.write(
            """
            \(program) \(Xtables.version)

            Usage: \(program) -[ACD] chain rule-specification [options]
                   \(program) -I chain [rulenum] rule-specification [options]
                   \(program) -R chain rulenum rule-specification [options]
                   \(program) -D chain rulenum [options]
                   \(program) -[LS] [chain [rulenum]] [options]
                   \(program) -[FZ] [chain] [options]
                   \(program) -[NX] chain
                   \(program) -E old-chain-name new-chain-name
                   \(program) -P chain target [options]
                   \(program) -h (print this help information)

            """)
    }
}

enum XtablesListing {
    private static func chains(
        _ kernel: XtablesKernel, _ name: String, _ wanted: String?
    ) throws(ToolError) -> [XtablesTable.Chain] {
        let table = try kernel.table(name, rules: true)
        guard let wanted else { return table.sorted }
        guard let index = table.index(wanted) else {
            throw ToolError(
                1, "chain `\(wanted)' in table `\(name)' is incompatible, use 'nft' tool.", isVersioned: true)
        }
        return [table.chains[index]]
    }

    /// `-L`
    static func list(
        _ kernel: XtablesKernel, _ table: String, _ command: RuleParser.Command, say: (String) -> Void
    ) throws(ToolError) {
        let format = command.format
        for (index, chain) in try chains(kernel, table, command.chain).enumerated() {
            if command.position == nil {
                if index > 0 { say("") }
                if chain.builtin != nil {
                    let policy = "policy \(chain.isAccepting ? "ACCEPT" : "DROP")"
                    let counts = [chain.packets, chain.bytes].map {
                        format.isExact ? "\($0)" : Rule.shortCount($0)
                    }
                    say(
                        "Chain \(chain.name) (\(policy)\(format.isVerbose ? " \(counts[0]) packets, \(counts[1]) bytes" : ""))"
                    )
                } else {
                    let references = Int(clamping: chain.use) - chain.entries.count
                    say("Chain \(chain.name) (\(references) references)")
                }
                say(Rule.header(format))
            }
            for (number, entry) in chain.entries.enumerated()
            where command.position == nil || command.position == number + 1 {
                say(entry.rule.line(format, number: number + 1))
            }
        }
    }

    /// `-S`
    static func rules(
        _ kernel: XtablesKernel, _ table: String, _ command: RuleParser.Command, say: (String) -> Void
    ) throws(ToolError) {
        let counters = command.format.isVerbose
        let found = try chains(kernel, table, command.chain)
        if command.position == nil {
            for chain in found {
                if chain.builtin != nil {
                    let counts = counters ? " -c \(chain.packets) \(chain.bytes)" : ""
                    say("-P \(chain.name) \(chain.isAccepting ? "ACCEPT" : "DROP")\(counts)")
                } else {
                    say("-N \(chain.name)")
                }
            }
        }
        for chain in found {
            for (number, entry) in chain.entries.enumerated()
            where command.position == nil || command.position == number + 1 {
                say("-A \(chain.name)" + entry.rule.options(counters: counters))
            }
        }
    }
}
