import Linux
import Netlink

/// `nft list ...` in the form of nftables 1.0.6: what is loaded, as text that nft reads. Changing is left to the components that
/// own the tables, and to nft itself.
struct NftCommand {
    static let help = """
        Usage: nft [ options ] list ...
          list ruleset [family]
          list tables|chains|sets|maps [family]
          list table [family] TABLE
          list chain|set|map [family] TABLE NAME
        Options:
          -a, --handle     output handles
          -n, --numeric    numbers instead of names
          -s, --stateless  without counters' values
          -t, --terse      without sets' elements
          -h, --help
          -v, --version

        """

    private struct Failure: Error { var text: String }

    private struct Settings {
        var showsHandles = false
        var isNumeric = false
        var isStateless = false
        var isTerse = false
    }

    /// What a command asks for.
    private struct Request {
        enum Part { case everything, names, chains, sets, maps }
        var part = Part.everything
        var family: UInt8 = 0
        var table: String?
        /// Of the one chain, set or map.
        var name: String?
        /// Where the names stand among the words, for errors.
        var places: (table: Int, name: Int) = (0, 0)
    }

    private let call: ToolCall
    private var settings = Settings()
    private var words: [String] = []

    static func run(_ call: ToolCall) -> Int32 {
        let known =
            "a,handle n,numeric s,stateless t,terse h,help v,version V N S,service u,guid p,numeric-protocol y,numeric-priority T,numeric-time"
        let options: CommandOptions
        do throws(CommandOptions.Failure) { options = try CommandOptions(call.arguments, known: known) } catch {
            call.complain("nft: \(error.text)")
            return 1
        }
        var command = NftCommand(call: call)
        for option in options.given {
            switch option.name {
            case "h": call.write(help); return 0
            case "v", "V": call.line("nftables v1.0.6 (k3s, list only)"); return 0
            case "a": command.settings.showsHandles = true
            case "n": command.settings.isNumeric = true
            case "s": command.settings.isStateless = true
            case "t": command.settings.isTerse = true
            default: break
            }
        }
        // One word may hold a whole command.
        command.words = options.operands.flatMap {
            $0.split(whereSeparator: { $0 == " " || $0 == "\t" }).map(String.init)
        }
        if command.words.isEmpty {
            call.complain("nft: no command specified")
            return 1
        }
        return command.run()
    }

    private init(call: ToolCall) { self.call = call }

    private func run() -> Int32 {
        do throws(Failure) {
            let request = try request()
            try list(request, try read { () throws(NetlinkError) in try NftKernel() })
            return 0
        } catch {
            call.complain("Error: \(error.text)")
            return 1
        }
    }

    private func read<T>(_ body: () throws(NetlinkError) -> T) throws(Failure) -> T {
        do throws(NetlinkError) { return try body() } catch {
            let hint = error.code == EPERM ? " (you must be root)" : ""
            throw Failure(text: "Could not process rule: \(errorText(error.code))\(hint)")
        }
    }

    // MARK: The command line

    /// An error at a word: the line, and what is meant underlined.
    private func failure(_ text: String, at index: Int) -> Failure {
        let before = words.prefix(index).reduce(0) { $0 + $1.unicodeScalars.count + 1 }
        let width = index < words.count ? words[index].unicodeScalars.count : 1
        let space = String(repeating: " ", count: before - (index < words.count || index == 0 ? 0 : 1))
        let line = words.joined(separator: " ")
        return Failure(text: "\(text)\n\(line)\n\(space)\(String(repeating: "^", count: width))")
    }

    private func request() throws(Failure) -> Request {
        guard words[0] == "list" else { throw failure("only \"list\" is there, nothing is changed", at: 0) }
        guard words.count > 1 else { throw failure("syntax error, unexpected newline", at: 1) }
        var request = Request()
        var index = 2
        if index < words.count, let family = NftNames.families.first(where: { $0.name == words[index] }) {
            request.family = family.number
            index += 1
        }
        var wanted = 0
        switch words[1] {
        case "ruleset": break
        case "tables": request.part = .names
        case "chains": request.part = .chains
        case "sets": request.part = .sets
        case "maps": request.part = .maps
        case "table": wanted = 1
        case "chain": (request.part, wanted) = (.chains, 2)
        case "set": (request.part, wanted) = (.sets, 2)
        case "map": (request.part, wanted) = (.maps, 2)
        default: throw failure("syntax error, unexpected string", at: 1)
        }
        guard words.count >= index + wanted else {
            throw failure("syntax error, unexpected newline, expecting string", at: words.count)
        }
        guard words.count == index + wanted else {
            throw failure(
                "syntax error, unexpected string, expecting end of file or newline or semicolon", at: index + wanted)
        }
        // Without a family a table's is ip.
        if wanted > 0, request.family == 0 { request.family = 2 }
        if wanted > 0 { request.table = words[index] }
        if wanted > 1 { request.name = words[index + 1] }
        request.places = (index, index + 1)
        return request
    }

    // MARK: Output

    private func list(_ request: Request, _ kernel: NftKernel) throws(Failure) {
        var tables = try read { () throws(NetlinkError) in try kernel.tables(request.family) }
        if let name = request.table {
            tables = tables.filter { $0.name == name && $0.family == request.family }
            if tables.isEmpty { throw failure("No such file or directory", at: request.places.table) }
        }
        for table in tables {
            if request.part == .names {
                call.line("table \(NftNames.family(table.family)) \(table.name)")
                continue
            }
            let blocks = try blocks(table, request, kernel)
            if request.name != nil, blocks.isEmpty {
                throw failure("No such file or directory", at: request.places.name)
            }
            // Chains alone are listed of tables that have some.
            if request.part == .chains, blocks.isEmpty { continue }
            write(table, blocks, request)
        }
    }

    private func handle(_ number: UInt64) -> String { settings.showsHandles ? " # handle \(number)" : "" }

    private func write(_ table: NftTable, _ blocks: [[String]], _ request: Request) {
        call.line(
            "table \(NftNames.family(table.family)) \(table.name) {"
                + (request.part == .everything ? handle(table.handle) : ""))
        if request.part == .everything {
            let flags = [(UInt32(1), "dormant"), (2, "owner")].filter { table.flags & $0.0 != 0 }.map(\.1)
            if !flags.isEmpty { call.line("\tflags \(flags.joined(separator: ","))") }
            if let comment = table.comment { call.line("\tcomment \"\(comment)\"") }
            if !flags.isEmpty, !blocks.isEmpty { call.line("") }
        }
        for (index, block) in blocks.enumerated() {
            // What is listed by itself is not set apart.
            if index > 0, request.part == .everything { call.line("") }
            for (number, line) in block.enumerated() {
                call.line(number == 0 || number == block.count - 1 ? "\t\(line)" : "\t\t\(line)")
            }
        }
        call.line("}")
    }

    /// Sets, then chains, each with its first and last line.
    private func blocks(_ table: NftTable, _ request: Request, _ kernel: NftKernel) throws(Failure) -> [[String]] {
        let sets = try read { () throws(NetlinkError) in try kernel.sets(table) }
        var result: [[String]] = []
        if request.part != .chains {
            for set in sets where !set.has(NftSet.anonymous) {
                let isMap = set.has(NftSet.map) || set.has(NftSet.object)
                if request.part != .everything, isMap != (request.part == .maps) { continue }
                if let name = request.name, set.name != name { continue }
                result.append(try block(set, table, kernel))
            }
        }
        guard request.part == .everything || request.part == .chains else { return result }
        // `list chains` has no rules.
        let showsRules = request.part == .everything || request.name != nil
        var rules: [String: [NftRule]] = [:]
        var contents: [String: [NftElement]] = [:]
        if showsRules {
            for rule in try read({ () throws(NetlinkError) in try kernel.rules(table) }) {
                rules[rule.chain, default: []].append(rule)
            }
            for set in sets where set.has(NftSet.anonymous) {
                contents[set.name] = try read { () throws(NetlinkError) in try kernel.elements(table, set) }
            }
        }
        let known = Dictionary(sets.map { ($0.name, $0) }, uniquingKeysWith: { one, _ in one })
        for chain in try read({ () throws(NetlinkError) in try kernel.chains(table) }) {
            if let name = request.name, chain.name != name { continue }
            var lines = ["chain \(chain.name) {\(handle(chain.handle))"] + head(chain, table.family)
            for rule in rules[chain.name] ?? [] {
                let text = rule.expressions.withUnsafeBytes {
                    NftRuleDecoder.decode(
                        ByteView($0), family: table.family, sets: known, contents: contents,
                        isNumeric: settings.isNumeric, isStateless: settings.isStateless)
                }
                let comment = rule.comment.map { " comment \"\($0)\"" } ?? ""
                lines.append(text + comment + handle(rule.handle))
            }
            result.append(lines + ["}"])
        }
        return result
    }

    private func block(_ set: NftSet, _ table: NftTable, _ kernel: NftKernel) throws(Failure) -> [String] {
        let isMap = set.has(NftSet.map) || set.has(NftSet.object)
        var elements: [NftElement]?
        if !settings.isTerse { elements = try read { () throws(NetlinkError) in try kernel.elements(table, set) } }
        return ["\(isMap ? "map" : "set") \(set.name) {\(handle(set.handle))"]
            + set.lines(elements, isNumeric: settings.isNumeric) + ["}"]
    }

    private func head(_ chain: NftChain, _ family: UInt8) -> [String] {
        var lines: [String] = []
        if let comment = chain.comment { lines.append("comment \"\(comment)\"") }
        if let hook = chain.hook {
            let place = NftNames.hook(hook.number, family)
            let priority = NftNames.priority(hook.priority, family, place, isNumeric: settings.isNumeric)
            let device = hook.device.map { " device \"\($0)\"" } ?? ""
            let policy = hook.accepts.map { " policy \($0 ? "accept" : "drop");" } ?? ""
            lines.append("type \(hook.kind) hook \(place)\(device) priority \(priority);\(policy)")
        }
        return lines
    }
}

extension HostTool {
    /// nf_tables as it is.
    static var nft: [HostTool] { [HostTool("nft", NftCommand.run)] }
}
