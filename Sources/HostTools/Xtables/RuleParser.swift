import Netlink

/// Reads the arguments of iptables, or of a line of iptables-restore: a command and a rule.
struct RuleParser {
    struct Command {
        /// The letter of the short option.
        var letter: Character?
        var chain: String?
        var newName: String?
        var policy: String?
        var position: Int?
        var table: String?
        var rules: [Rule] = []
        var isZeroing = false
        var format = Rule.ListFormat()
        var counters: (UInt64, UInt64)?
        var isVersionAsked = false
        var isHelpAsked = false
        /// For the other family: skipped.
        var isForeign = false
        var notes: [String] = []
    }

    private static let longOptions: [(name: StaticString, letter: Character)] = [
        ("append", "A"), ("delete", "D"), ("check", "C"), ("insert", "I"), ("replace", "R"), ("list", "L"),
        ("list-rules", "S"), ("flush", "F"), ("zero", "Z"), ("new-chain", "N"), ("delete-chain", "X"),
        ("rename-chain", "E"), ("policy", "P"), ("source", "s"), ("destination", "d"), ("src", "s"), ("dst", "d"),
        ("protocol", "p"), ("in-interface", "i"), ("jump", "j"), ("table", "t"), ("match", "m"), ("numeric", "n"),
        ("out-interface", "o"), ("verbose", "v"), ("wait", "w"), ("wait-interval", "W"), ("exact", "x"),
        ("fragments", "f"), ("version", "V"), ("help", "h"), ("line-numbers", "0"), ("modprobe", "M"),
        ("set-counters", "c"), ("goto", "g"), ("ipv4", "4"), ("ipv6", "6"),
    ]
    private static let commands = "ADCIRLSFZNXEP"

    private let family: AddressFamily
    private let arguments: [String]
    private let chainExists: (String, String) throws(ToolError) -> Bool
    private var position = 0
    private var command = Command()
    private var rule: Rule
    private var sources: [Rule.Address] = []
    private var destinations: [Rule.Address] = []
    private var isInverted = false
    private var seen: Set<Character> = []
    private var targetName: String?
    /// Options given, per match and for the target.
    private var given: [[String]] = []
    private var givenToTarget: [String] = []

    /// - Parameter chainExists: whether a table has a chain.
    static func parse(
        _ family: AddressFamily, _ arguments: [String], table: String? = nil,
        chainExists: @escaping (String, String) throws(ToolError) -> Bool
    ) throws(ToolError) -> Command {
        var parser = RuleParser(family, arguments, table, chainExists)
        try parser.run()
        return parser.command
    }

    private init(
        _ family: AddressFamily, _ arguments: [String], _ table: String?,
        _ chainExists: @escaping (String, String) throws(ToolError) -> Bool
    ) {
        (self.family, self.arguments, self.chainExists) = (family, arguments, chainExists)
        rule = Rule(family)
        command.table = table
    }

    private var table: String { command.table ?? "filter" }

    // MARK: words

    private mutating func run() throws(ToolError) {
        while position < arguments.count, !command.isVersionAsked, !command.isHelpAsked {
            let word = arguments[position]
            position += 1
            if word == "!" {
                guard !isInverted else { throw ToolError(2, "Multiple consecutive ! not allowed") }
                isInverted = true
                continue
            }
            if word.hasPrefix("--"), word.utf8.count > 2 {
                try long(String(word.dropFirst(2)))
            } else if word.hasPrefix("-"), word.utf8.count > 1 {
                try cluster(word.dropFirst())
            } else {
                throw ToolError(2, "Bad argument `\(word)'", isVersioned: false)
            }
            isInverted = false
        }
        if command.isVersionAsked || command.isHelpAsked || command.isForeign { return }
        try finish()
    }

    private mutating func cluster(_ letters: Substring) throws(ToolError) {
        var rest = letters
        while let letter = rest.popFirst() {
            guard "ADCIRLSFZNXEPsdpjgiomtcwWnvxf46hVM".contains(letter) else {
                throw ToolError(2, "unknown option \"-\(letter)\"")
            }
            // What follows in the same word is the option's argument.
            let takesValue = !"LSFZXwnvxf46hV".contains(letter)
            let isOptional = "LSFZXw".contains(letter)
            if takesValue, !rest.isEmpty {
                try option(letter, "-\(letter)", attached: String(rest))
                return
            }
            if isOptional, !rest.isEmpty, !"nvxLSFZXwt".contains(rest.first ?? " ") || letter == "w" && !rest.isEmpty {
                try option(letter, "-\(letter)", attached: String(rest))
                return
            }
            try option(letter, "-\(letter)", attached: nil)
        }
    }

    private mutating func long(_ text: String) throws(ToolError) {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let name = String(parts[0])
        let attached = parts.count > 1 ? String(parts[1]) : nil
        for exact in [true, false] {
            if let (place, found) = extensionOption(name, exact: exact) {
                try extensionOption(found, in: place, attached)
                return
            }
            let builtin = RuleParser.longOptions.filter { option in
                let text = option.name.description
                return exact ? text == name : text.hasPrefix(name)
            }
            if let first = builtin.first, builtin.allSatisfy({ $0.letter == first.letter }) {
                try option(first.letter, "--" + name, attached: attached)
                return
            }
            if try loadProtocolMatch(name), let (place, found) = extensionOption(name, exact: exact) {
                try extensionOption(found, in: place, attached)
                return
            }
        }
        throw ToolError(2, "unknown option \"--\(name)\"")
    }

    /// "--dport" after "-p tcp" brings the match "tcp".
    private mutating func loadProtocolMatch(_ option: String) throws(ToolError) -> Bool {
        guard rule.transport != 0,
            let type = Extension.named(Names.protocolName(rule.transport), target: false, family),
            !rule.matches.contains(where: { $0.type === type }),
            type.options.contains(where: { $0.names.contains { $0.hasPrefix(option) } })
        else { return false }
        rule.matches.append(ExtensionUse(type))
        given.append([])
        return true
    }

    /// Place -1 is the target.
    private func extensionOption(_ name: String, exact: Bool) -> (Int, Extension.Option)? {
        func search(_ type: Extension) -> Extension.Option? {
            let found = type.options.filter { option in
                option.names.contains { exact ? $0 == name : $0.hasPrefix(name) }
            }
            return exact || found.count == 1 ? found.first : nil
        }
        if case .use(let use) = rule.target, let found = search(use.type) { return (-1, found) }
        for index in rule.matches.indices.reversed() {
            if let found = search(rule.matches[index].type) { return (index, found) }
        }
        return nil
    }

    private mutating func extensionOption(
        _ option: Extension.Option, in place: Int, _ attached: String?
    ) throws(ToolError) {
        let name = option.names[0]
        var values: [String] = attached.map { [$0] } ?? []
        while values.count < option.valueCount {
            guard position < arguments.count else { throw ToolError(2, "option \"--\(name)\" requires an argument") }
            values.append(arguments[position])
            position += 1
        }
        let type: Extension
        if place < 0 {
            guard case .use(let use) = rule.target else { return }
            type = use.type
        } else {
            type = rule.matches[place].type
        }
        var before = place < 0 ? givenToTarget : given[place]
        if type.kernelName == "tcp",
            name == "syn" && before.contains("tcp-flags") || name == "tcp-flags" && before.contains("syn")
        {
            throw ToolError(2, "Only one of `--syn' or `--tcp-flags'  allowed")
        }
        guard !before.contains(name) else {
            throw ToolError(2, "\(type.name): option \"--\(name)\" can only be used once.\n")
        }
        before.append(name)
        var blob = type.initial
        if place < 0 {
            givenToTarget = before
            if case .use(let use) = rule.target { blob = use.blob }
        } else {
            given[place] = before
            blob = rule.matches[place].blob
        }
        try type.apply(
            option, values.joined(separator: " "), inverted: isInverted, transport: rule.transport, to: &blob)
        if place < 0 { rule.target = .use(ExtensionUse(type, blob)) } else { rule.matches[place].blob = blob }
        isInverted = false
    }

    // MARK: options

    private mutating func value(_ name: String, _ attached: String?) throws(ToolError) -> String {
        if let attached { return attached }
        guard position < arguments.count else { throw ToolError(2, "option \"\(name)\" requires an argument") }
        position += 1
        return arguments[position - 1]
    }

    private mutating func optionalValue(_ attached: String?) -> String? {
        if let attached { return attached }
        guard position < arguments.count, !arguments[position].hasPrefix("-"), arguments[position] != "!" else {
            return nil
        }
        position += 1
        return arguments[position - 1]
    }

    private mutating func once(_ letter: Character) throws(ToolError) {
        guard seen.insert(letter).inserted else { throw ToolError(2, "multiple -\(letter) flags not allowed") }
    }

    private mutating func notInverted(_ letter: Character) throws(ToolError) {
        if isInverted { throw ToolError(2, "cannot have ! before -\(letter)") }
    }

    private static func position(_ text: String) throws(ToolError) -> Int {
        guard let number = Number.parse(text, max: 0x7fff_ffff), number > 0 else {
            throw ToolError(2, "Invalid rule number `\(text)'")
        }
        return Int(number)
    }

    private mutating func option(_ letter: Character, _ name: String, attached: String?) throws(ToolError) {
        if RuleParser.commands.contains(letter) {
            try commandOption(letter, name, attached)
            return
        }
        switch letter {
        case "s", "d":
            try once(letter)
            let parsed = try RuleParser.addresses(family, try value(name, attached), inverted: isInverted)
            if letter == "s" { sources = parsed } else { destinations = parsed }
        case "p":
            try once(letter)
            let text = try value(name, attached)
            guard let number = Names.protocolNumber(text) else {
                throw ToolError(2, "unknown protocol \"\(text.lowercased())\" specified")
            }
            if number == 0, isInverted { throw ToolError(2, "rule would never match protocol") }
            (rule.transport, rule.isTransportInverted) = (number, isInverted)
        case "i", "o":
            try once(letter)
            let text = try value(name, attached)
            guard !text.isEmpty else { throw ToolError(2, "Empty interface is likely to be undesired") }
            guard text.utf8.count < 16 else {
                throw ToolError(2, "interface name `\(text)' must be shorter than IFNAMSIZ (15)")
            }
            let interface = Rule.Interface(name: text, isInverted: isInverted)
            if letter == "i" { rule.input = interface } else { rule.output = interface }
        case "f":
            try once(letter)
            guard family == .ipv4 else { throw ToolError(2, "`-f' is not supported in IPv6, use -m frag instead") }
            rule.fragment = isInverted ? -1 : 1
        case "m":
            try notInverted(letter)
            let text = try value(name, attached)
            guard let type = Extension.named(text, target: false, family) else {
                throw ToolError(2, "Couldn't load match `\(text)':No such file or directory\n")
            }
            rule.matches.append(ExtensionUse(type))
            given.append([])
        case "j", "g":
            try notInverted(letter)
            try once("j")
            try jump(try value(name, attached), isGoto: letter == "g")
        case "t":
            try notInverted(letter)
            let text = try value(name, attached)
            guard command.table == nil else { throw ToolError(2, "multiple -t flags not allowed") }
            guard BuiltinTables.chains(text) != nil else {
                throw ToolError(
                    3, "table '\(text)' does not exist\nPerhaps iptables or your kernel needs to be upgraded.")
            }
            command.table = text
        case "c":
            let first = try value(name, attached)
            let parts = first.split(separator: ",", omittingEmptySubsequences: false)
            var bytes = parts.count > 1 ? String(parts[1]) : nil
            if bytes == nil { bytes = optionalValue(nil) }
            guard let bytes else { throw ToolError(2, "-c requires packet and byte counter") }
            guard let packets = UInt64(parts[0]) else { throw ToolError(2, "-c packet counter not numeric") }
            guard let bytes = UInt64(bytes) else { throw ToolError(2, "-c byte counter not numeric") }
            (rule.packets, rule.bytes) = (packets, bytes)
            command.counters = (packets, bytes)
        case "w":
            let text = optionalValue(attached)
            if let text, UInt64(text) == nil { throw ToolError(2, "wait seconds not numeric") }
        case "W":
            _ = try value(name, attached)
            command.notes.append("Ignoring deprecated --wait-interval option.")
        case "M": _ = try value(name, attached)
        case "n": command.format.isNumeric = true
        case "v": command.format.isVerbose = true
        case "x": command.format.isExact = true
        case "0": command.format.lineNumbers = true
        case "4": command.isForeign = command.isForeign || family != .ipv4
        case "6": command.isForeign = command.isForeign || family != .ipv6
        case "V": command.isVersionAsked = true
        default: command.isHelpAsked = true
        }
    }

    private mutating func commandOption(_ letter: Character, _ name: String, _ attached: String?) throws(ToolError) {
        try notInverted(letter)
        if let other = command.letter {
            // Zeroing goes with listing.
            let pair = "\(other)\(letter)"
            if ["LZ", "SZ"].contains(pair) {
                command.isZeroing = true
                return
            }
            guard ["ZL", "ZS"].contains(pair) else { throw ToolError(2, "Cannot use -\(letter) with -\(other)") }
            command.isZeroing = true
        }
        command.letter = letter
        switch letter {
        case "A", "C": command.chain = try value(name, attached)
        case "D", "I":
            command.chain = try value(name, attached)
            if let number = optionalValue(nil) { command.position = try RuleParser.position(number) }
        case "R":
            command.chain = try value(name, attached)
            guard let number = optionalValue(nil) else { throw ToolError(2, "-R requires a rule number") }
            command.position = try RuleParser.position(number)
        case "L", "S", "Z":
            command.chain = optionalValue(attached) ?? command.chain
            if command.chain != nil, let number = optionalValue(nil) {
                command.position = try RuleParser.position(number)
            }
        case "F", "X": command.chain = optionalValue(attached)
        case "N":
            let chain = try value(name, attached)
            if chain.hasPrefix("-") { throw ToolError(2, "chain name not allowed to start with `-'") }
            if ["ACCEPT", "DROP", "RETURN", "QUEUE"].contains(chain)
                || Extension.named(chain, target: true, family) != nil
            {
                throw ToolError(2, "chain name may not clash with target name")
            }
            command.chain = chain
        case "E":
            command.chain = try value(name, attached)
            guard let new = optionalValue(nil) else {
                throw ToolError(2, "-E requires old-chain-name and new-chain-name")
            }
            command.newName = new
        default:
            command.chain = try value(name, attached)
            guard let policy = optionalValue(nil) else { throw ToolError(2, "-P requires a chain and a policy") }
            command.policy = policy
        }
        if let chain = command.chain, chain.utf8.count > 28 {
            throw ToolError(2, "chain name `\(chain)' too long (must be under 29 chars)")
        }
    }

    private mutating func jump(_ name: String, isGoto: Bool) throws(ToolError) {
        targetName = name
        if isGoto {
            rule.target = .verdict(.goto(name))
            return
        }
        switch name {
        case "ACCEPT": rule.target = .verdict(.accept)
        case "DROP": rule.target = .verdict(.drop)
        case "RETURN": rule.target = .verdict(.return)
        default:
            if let type = Extension.named(name, target: true, family) {
                rule.target = .use(ExtensionUse(type))
            } else {
                rule.target = .verdict(.jump(name))
            }
        }
    }

    // MARK: checks

    private mutating func finish() throws(ToolError) {
        guard let letter = command.letter else { throw ToolError(2, "no command specified") }
        for (index, match) in rule.matches.enumerated() { try check(match, given[index]) }
        if case .use(let use) = rule.target { try check(use, givenToTarget) }
        // The original's way to fill the counter of "nth"; of "random" it is without meaning.
        for index in rule.matches.indices where rule.matches[index].type.kernelName == "statistic" {
            let blob = rule.matches[index].blob
            rule.matches[index].blob.set32(12, blob.u32(4) &- blob.u32(8))
        }
        guard "ADCIR".contains(letter) else { return }
        if let chain = command.chain {
            if !rule.output.name.isEmpty, chain == "PREROUTING" || chain == "INPUT" {
                throw ToolError(2, "Can't use -o with \(chain)\n")
            }
            if !rule.input.name.isEmpty, chain == "POSTROUTING" || chain == "OUTPUT" {
                throw ToolError(2, "Can't use -i with \(chain)\n")
            }
        }
        switch rule.target {
        case .verdict(.jump(let chain)), .verdict(.goto(let chain)):
            guard try chainExists(table, chain) else { throw ToolError(2, "Chain '\(chain)' does not exist") }
        default: break
        }
        let all = [Rule.Address.any(family)]
        for source in sources.isEmpty ? all : sources {
            for destination in destinations.isEmpty ? all : destinations {
                var one = rule
                (one.source, one.destination) = (source, destination)
                command.rules.append(one)
            }
        }
        if letter == "R", command.rules.count > 1 {
            throw ToolError(2, "Replacement rule does not specify a unique address")
        }
    }

    private func check(_ use: ExtensionUse, _ given: [String]) throws(ToolError) {
        let type = use.type
        for option in type.options where option.isMust && !given.contains(option.names[0]) {
            throw ToolError(2, "\(type.name): option \"--\(option.names[0])\" must be specified\n")
        }
        switch type.kernelName {
        case "multiport":
            guard [6, 17, 33, 132, 136].contains(rule.transport), !rule.isTransportInverted else {
                throw ToolError(
                    2, "multiport needs `-p tcp', `-p udp', `-p udplite', `-p sctp' or `-p dccp'")
            }
            if given.isEmpty { throw ToolError(2, "multiport expection an option") }
        case "MARK" where given.isEmpty:
            throw ToolError(2, "MARK: One of the --set-xmark, --{and,or,xor,set}-mark options is required")
        case "CONNMARK" where given.isEmpty: throw ToolError(2, "CONNMARK: No operation specified")
        case "TCPMSS" where given.isEmpty: throw ToolError(2, "TCPMSS target: At least one parameter is required")
        case "recent" where !given.contains { ["set", "rcheck", "update", "remove"].contains($0) }:
            throw ToolError(2, "recent: you must specify one of `--set', `--rcheck' `--update' or `--remove'")
        case "statistic":
            if use.blob.u16(0) == 0, !given.contains("probability") {
                throw ToolError(2, "--probability must be specified when using random mode")
            }
            if use.blob.u16(0) == 1, !given.contains("every") {
                throw ToolError(2, "--every must be specified when using nth mode")
            }
        default:
            if type.needsOption, given.isEmpty { throw ToolError(2, "\(type.name): At least one option is required") }
        }
    }

    // MARK: addresses

    static func addresses(
        _ family: AddressFamily, _ text: String, inverted: Bool
    ) throws(ToolError) -> [Rule.Address] {
        let words = text.split(separator: ",")
        if inverted, words.count > 1 {
            throw ToolError(2, "! not allowed with multiple source or destination IP addresses")
        }
        var found: [Rule.Address] = []
        for word in words {
            let parts = word.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            var mask = [UInt8](repeating: 0xff, count: family.byteCount)
            if parts.count > 1 {
                let zero: IPAddress = family == .ipv4 ? .v4(0) : .v6(0, 0)
                if let length = Number.parse(parts[1], max: 128).map({ Int($0) }),
                    let prefix = IPPrefix(zero, length: length)
                {
                    mask = prefix.maskBytes
                } else if let written = IPAddress(parts[1]), written.family == family {
                    mask = written.bytes
                } else {
                    throw ToolError(2, "invalid mask `\(parts[1])' specified")
                }
            }
            var addresses: [IPAddress] = []
            if let address = network(parts[0], family, isNetwork: parts.count > 1) {
                addresses = [address]
            } else {
                addresses = Names.hosts(String(parts[0]), family)
            }
            guard !addresses.isEmpty else { throw ToolError(2, "host/network `\(parts[0])' not found") }
            for address in addresses {
                let bytes = zip(address.bytes, mask).map { $0 & $1 }
                found.append(Rule.Address(bytes: bytes, mask: mask, isInverted: inverted))
            }
        }
        return found
    }

    /// An address; of a network the last parts may be left out ("10/8").
    private static func network(_ text: Substring, _ family: AddressFamily, isNetwork: Bool) -> IPAddress? {
        if let address = IPAddress(text) { return address.family == family ? address : nil }
        guard family == .ipv4, isNetwork else { return nil }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard (1...3).contains(parts.count) else { return nil }
        return IPAddress(text + String(repeating: ".0", count: 4 - parts.count))
    }
}
