import Linux
import Netlink

extension HostTool {
    static var sets: [HostTool] { [HostTool("ipset") { IPSetCommand($0).run() }] }
}

/// ipset 7.17's commands for the types of `SetType`.
struct IPSetCommand {
    private struct Flags {
        var isExistFine = false
        var isQuiet = false
        var isTerse = false
        var namesOnly = false
        var isSaving = false
        var file: String?
    }

    private static let title = "ipset v7.17"
    private static let commands: [(names: [String], command: String)] = [
        (["create", "-N", "--create", "n", "new"], "create"), (["add", "-A", "--add", "a"], "add"),
        (["del", "-D", "--del", "d"], "del"), (["test", "-T", "--test", "t"], "test"),
        (["destroy", "-X", "--destroy", "x"], "destroy"), (["list", "-L", "--list", "l"], "list"),
        (["save", "-S", "--save", "s"], "save"), (["restore", "-R", "--restore", "r"], "restore"),
        (["flush", "-F", "--flush", "f"], "flush"), (["rename", "-E", "--rename", "e"], "rename"),
        (["swap", "-W", "--swap", "w"], "swap"), (["version", "-V", "-v", "--version"], "version"),
        (["help", "-h", "-H", "--help"], "help"),
    ]

    private let call: ToolCall

    init(_ call: ToolCall) { self.call = call }

    func run() -> Int32 {
        var isQuiet = false
        do throws(ToolError) {
            let kernel = try IPSetKernel()
            return try perform(call.arguments, kernel, &isQuiet)
        } catch {
            if !isQuiet {
                call.complain("\(IPSetCommand.title): \(error.text)")
                if error.code == 2 { call.complain("Try `ipset help' for more information.") }
            }
            return error.code
        }
    }

    private func perform(
        _ arguments: [String], _ kernel: IPSetKernel, _ isQuiet: inout Bool, inRestore: Bool = false
    ) throws(ToolError) -> Int32 {
        var flags = Flags()
        var command: String?
        var words: [String] = []
        var rest = arguments[...]
        while let word = rest.popFirst() {
            switch word {
            case "-exist", "-!", "--exist": flags.isExistFine = true
            case "-quiet", "-q", "--quiet": (flags.isQuiet, isQuiet) = (true, true)
            case "-terse", "-t", "--terse": flags.isTerse = true
            case "-name", "-n", "--name": flags.namesOnly = true
            case "-sorted", "-s", "--sorted", "-resolve", "-r", "--resolve": break
            case "-output", "-o", "--output":
                let kind = rest.popFirst()
                guard kind == "plain" || kind == "save" else {
                    throw ToolError(2, "Couldn't parse output mode: \(kind ?? "")")
                }
                flags.isSaving = kind == "save"
            case "-file", "-f", "--file": flags.file = rest.popFirst()
            default:
                if command == nil {
                    guard let found = IPSetCommand.commands.first(where: { $0.names.contains(word) }) else {
                        throw ToolError(2, "No command specified: unknown argument \(word)")
                    }
                    command = found.command
                } else {
                    words.append(word)
                }
            }
        }
        guard let command else { throw ToolError(2, "No command specified.") }
        let needed = ["create": 2, "add": 2, "del": 2, "test": 2, "rename": 2, "swap": 2][command] ?? 0
        guard words.count >= needed else {
            throw ToolError(
                2,
                words.isEmpty
                    ? "Missing mandatory argument to command \(command)"
                    : "Missing second mandatory argument to command \(command)")
        }
        switch command {
        case "create": try create(words, flags, kernel)
        case "add", "del", "test": return try element(command, words, flags, kernel)
        case "list": try list(words.first, flags, kernel)
        case "save":
            flags.isSaving = true
            try list(words.first, flags, kernel)
        case "destroy", "flush":
            try simple(
                command == "destroy" ? .destroy : .flush, words, kernel, flags.isExistFine ? [] : .exclusive)
        case "rename", "swap": try simple(command == "rename" ? .rename : .swap, words, kernel)
        case "restore":
            guard !inRestore else { throw ToolError(2, "Unknown command restore") }
            return try restore(flags, kernel)
        case "version": call.line("\(IPSetCommand.title), protocol version: 7")
        default: call.line("\(IPSetCommand.title)\n\nUsage: ipset [options] COMMAND")
        }
        return 0
    }

    private func simple(
        _ command: IPSetKernel.Command, _ words: [String], _ kernel: IPSetKernel, _ flags: MessageFlags = []
    ) throws(ToolError) {
        do throws(NetlinkError) {
            try kernel.run(command, flags) { message in
                if let first = words.first { message.attribute(2, string: first) }
                if words.count > 1 { message.attribute(3, string: words[1]) }
            }
        } catch { throw ToolError(1, IPSetKernel.text(error, command)) }
    }

    private func create(_ words: [String], _ flags: Flags, _ kernel: IPSetKernel) throws(ToolError) {
        let (name, type) = (words[0], words[1])
        guard name.utf8.count < 32 else {
            throw ToolError(1, "Syntax error: setname '\(name)' is longer than 31 characters")
        }
        guard SetType.names.contains(type) else { throw ToolError(1, "Syntax error: typename '\(type)' is unknown") }
        var family: UInt8 = type.hasPrefix("hash:") ? 2 : 0
        var numbers: [(UInt16, UInt32)] = []
        var bytes: [(UInt16, UInt8)] = []
        var ports: (UInt16, UInt16)?
        var cadt: UInt32 = 0
        var rest = words[2...]
        func number(_ option: String, max: UInt64 = 0xffff_ffff) throws(ToolError) -> UInt64 {
            guard let text = rest.popFirst() else {
                throw ToolError(2, "Missing mandatory argument of option `\(option)'")
            }
            guard let value = Number.parse(text, max: max) else {
                throw ToolError(1, "Syntax error: '\(text)' is invalid as number")
            }
            return value
        }
        while let option = rest.popFirst() {
            switch option {
            case "family", "-6", "-4":
                let text = option == "-6" ? "inet6" : option == "-4" ? "inet" : rest.popFirst() ?? ""
                guard ["inet", "inet6", "ipv4", "ipv6"].contains(text) else {
                    throw ToolError(1, "Syntax error: unknown INET family \(text)")
                }
                family = text.hasSuffix("6") ? 10 : 2
            case "hashsize": numbers.append((SetAttribute.hashSize, UInt32(try number(option))))
            case "maxelem": numbers.append((SetAttribute.maximum, UInt32(try number(option))))
            case "timeout": numbers.append((SetAttribute.timeout, UInt32(try number(option, max: 2_147_483))))
            case "size" where type == "list:set": numbers.append((SetAttribute.size, UInt32(try number(option))))
            case "initval": numbers.append((SetAttribute.initial, UInt32(try number(option))))
            case "bucketsize": bytes.append((SetAttribute.bucketSize, UInt8(try number(option, max: 255))))
            case "netmask": bytes.append((SetAttribute.netmask, UInt8(try number(option, max: 128))))
            case "counters": cadt |= 8
            case "comment": cadt |= 16
            case "forceadd": cadt |= 32
            case "skbinfo": cadt |= 64
            case "range" where type == "bitmap:port":
                let parts = (rest.popFirst() ?? "").split(separator: "-").compactMap { Number.parse($0, max: 65535) }
                guard parts.count == 2 else { throw ToolError(1, "Syntax error: range is invalid") }
                ports = (UInt16(parts[0]), UInt16(parts[1]))
            default: throw ToolError(2, "Unknown argument: `\(option)'")
            }
        }
        if type == "bitmap:port", ports == nil { throw ToolError(2, "Mandatory option `range' is missing") }
        do throws(NetlinkError) {
            let revision = try kernel.query(
                .type,
                {
                    $0.attribute(3, string: type)
                    $0.attribute(5, family)
                }, { attributes -> UInt8? in attributes.attribute(4)?.load(0) })
            try kernel.run(.create, flags.isExistFine ? .create : [.create, .exclusive]) { message in
                message.attribute(2, string: name)
                message.attribute(3, string: type)
                message.attribute(4, revision ?? 0)
                message.attribute(5, family)
                message.nested(7) { data in
                    for (attribute, value) in numbers { data.attribute(attribute | SetAttribute.big, big: value) }
                    for (attribute, value) in bytes { data.attribute(attribute, value) }
                    if let ports {
                        data.attribute(SetAttribute.port | SetAttribute.big, big: ports.0)
                        data.attribute(SetAttribute.portTo | SetAttribute.big, big: ports.1)
                    }
                    if cadt != 0 { data.attribute(SetAttribute.flags | SetAttribute.big, big: cadt) }
                }
            }
        } catch { throw ToolError(1, IPSetKernel.text(error, .create, type: type)) }
    }

    private func element(
        _ command: String, _ words: [String], _ flags: Flags, _ kernel: IPSetKernel
    ) throws(ToolError) -> Int32 {
        let number: IPSetKernel.Command = command == "add" ? .add : command == "del" ? .delete : .test
        let set = words[0]
        var type: String?
        do throws(NetlinkError) {
            type = try kernel.query(.header, { $0.attribute(2, string: set) }) { $0.attribute(3)?.string }
        } catch { throw ToolError(1, IPSetKernel.text(error, number)) }
        guard let type else { throw ToolError(1, "The set with the given name does not exist") }
        var member = try SetMember(words[1], type: type)
        var rest = words[2...]
        while let option = rest.popFirst() {
            switch option {
            case "nomatch": member.isException = true
            case "timeout", "packets", "bytes":
                guard let text = rest.popFirst(), let value = Number.parse(text) else {
                    throw ToolError(2, "Missing mandatory argument of option `\(option)'")
                }
                switch option {
                case "timeout": member.timeout = UInt32(clamping: value)
                case "packets": member.packets = value
                default: member.bytes = value
                }
            case "comment":
                guard let text = rest.popFirst() else {
                    throw ToolError(2, "Missing mandatory argument of option `comment'")
                }
                member.comment = text
            case "before", "after":
                member.reference = rest.popFirst()
                member.isBefore = option == "before"
            default: throw ToolError(2, "Unknown argument: `\(option)'")
            }
        }
        do throws(NetlinkError) {
            try kernel.run(number, number == .test || flags.isExistFine ? [] : .exclusive) { message in
                message.attribute(2, string: set)
                message.nested(7) { member.encode(into: &$0) }
            }
            if number == .test, !flags.isQuiet { call.complain("Warning: \(member.key) is in set \(set).") }
            return 0
        } catch {
            if number == .test, error.code == 4103 {
                if !flags.isQuiet { call.complain("\(member.key) is NOT in set \(set).") }
                return 1
            }
            throw ToolError(1, IPSetKernel.text(error, number, type: type))
        }
    }

    private func list(_ name: String?, _ flags: Flags, _ kernel: IPSetKernel) throws(ToolError) {
        let sets: [(header: SetHeader, members: [SetMember])]
        do throws(NetlinkError) { sets = try kernel.list(name) } catch {
            throw ToolError(1, IPSetKernel.text(error, .list))
        }
        for (index, (header, members)) in sets.enumerated() {
            if flags.namesOnly {
                call.line(header.name)
                continue
            }
            if flags.isSaving {
                call.line("create \(header.name) \(header.type) \(header.options)")
                for member in members { call.line("add \(header.name) \(member.line)") }
                continue
            }
            if index > 0 { call.line("") }
            call.line("Name: \(header.name)\nType: \(header.type)\nRevision: \(header.revision)")
            call.line("Header: \(header.options)\nSize in memory: \(header.memory)")
            call.line("References: \(header.references)\nNumber of entries: \(header.count)")
            if flags.isTerse { continue }
            call.line("Members:")
            for member in members { call.line(member.line) }
        }
    }

    private func restore(_ flags: Flags, _ kernel: IPSetKernel) throws(ToolError) -> Int32 {
        let bytes: [UInt8]
        do throws(SysError) {
            if let file = flags.file { bytes = try Files.read(file) } else { bytes = try call.readInput() }
        } catch { throw ToolError(1, "Cannot open \(flags.file ?? "-") for reading: \(error)") }
        var isQuiet = false
        for (index, line) in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            let words = try IptablesRestore.words(String(decoding: line, as: UTF8.self)[...])
            guard let first = words.first, !first.hasPrefix("#"), first != "COMMIT" else { continue }
            do throws(ToolError) {
                _ = try perform((flags.isExistFine ? ["-exist"] : []) + words, kernel, &isQuiet, inRestore: true)
            } catch { throw ToolError(error.code, "Error in line \(index + 1): \(error.text)") }
        }
        return 0
    }
}
