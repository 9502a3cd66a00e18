import Linux
import Netlink

extension HostTool {
    static var conntrack: [HostTool] { [HostTool("conntrack") { ConntrackCommand($0).run() }] }
}

/// `conntrack -L -D -C -F` with the filters of conntrack-tools 1.4.7.
struct ConntrackCommand {
    /// What entries are wanted; nil and empty: any.
    struct Filter {
        var family: AddressFamily?
        var transport: UInt8?
        /// Original source and destination, reply source and destination.
        var addresses: [IPPrefix?] = [nil, nil, nil, nil]
        var ports: [UInt16?] = [nil, nil, nil, nil]
        var icmp: [UInt16?] = [nil, nil, nil]
        var state: String?
        var mark: (value: UInt32, mask: UInt32)?
        var status: UInt32 = 0
        var unsetStatus: UInt32 = 0
        var zone: UInt16?
        var isSourceTranslated = false
        var isDestinationTranslated = false
        var isTranslated = false

        func matches(_ entry: ConntrackEntry) -> Bool {
            if let family, entry.original.source.family != family { return false }
            if let transport, entry.original.transport != transport { return false }
            let found = [
                entry.original.source, entry.original.destination, entry.reply.source, entry.reply.destination,
            ]
            for (wanted, address) in zip(addresses, found) { if let wanted, !wanted.contains(address) { return false } }
            let foundPorts = [
                entry.original.sourcePort, entry.original.destinationPort, entry.reply.sourcePort,
                entry.reply.destinationPort,
            ]
            for (wanted, port) in zip(ports, foundPorts) { if let wanted, wanted != port { return false } }
            if icmp.contains(where: { $0 != nil }) {
                guard let one = entry.original.icmp else { return false }
                for (wanted, value) in zip(icmp, [one.0, UInt16(one.1), UInt16(one.2)]) {
                    if let wanted, wanted != value { return false }
                }
            }
            if let state, entry.stateName != state { return false }
            if let mark, (entry.mark ?? 0) & mark.mask != mark.value & mark.mask { return false }
            if entry.status & status != status || entry.status & unsetStatus != 0 { return false }
            if let zone, entry.zone ?? 0 != zone { return false }
            if isSourceTranslated, !entry.isSourceTranslated { return false }
            if isDestinationTranslated, !entry.isDestinationTranslated { return false }
            if isTranslated, !entry.isSourceTranslated, !entry.isDestinationTranslated { return false }
            return true
        }
    }

    private static let title = "conntrack v1.4.7 (conntrack-tools)"
    private let call: ToolCall

    init(_ call: ToolCall) { self.call = call }

    func run() -> Int32 {
        do throws(ToolError) {
            return try perform()
        } catch {
            call.complain("\(ConntrackCommand.title): \(error.text)")
            if error.code == 2 { call.complain("Try `conntrack -h' or 'conntrack --help' for more information.") }
            return error.code
        }
    }

    private func perform() throws(ToolError) -> Int32 {
        var filter = Filter()
        var (command, isExtended, hasIdentifiers) = (Character?.none, false, false)
        var arguments = call.arguments[...]
        func value(_ name: String) throws(ToolError) -> String {
            guard let next = arguments.popFirst() else { throw ToolError(2, "option `\(name)' requires an argument") }
            return next
        }
        while let word = arguments.popFirst() {
            switch word {
            case "-L", "--dump", "-D", "--delete", "-C", "--count", "-F", "--flush", "-V", "--version", "-h", "--help":
                let letters: [String: Character] = [
                    "--dump": "L", "--delete": "D", "--count": "C", "--flush": "F", "--version": "V", "--help": "h",
                ]
                let letter = letters[word] ?? word.last
                guard command == nil else { throw ToolError(2, "Can't use -\(letter ?? "?") with -\(command ?? "?")") }
                command = letter
                if let table = arguments.first, !table.hasPrefix("-") {
                    guard table == "conntrack" else { throw ToolError(2, "`\(table)' unsupported table") }
                    arguments.removeFirst()
                }
            case "-f", "--family":
                switch try value(word) {
                case "ipv4": filter.family = .ipv4
                case "ipv6": filter.family = .ipv6
                case let other: throw ToolError(2, "`\(other)' unsupported protocol")
                }
            case "-p", "--protonum":
                let name = try value(word)
                guard
                    let number = ConntrackEntry.protocols.first(where: { $0.name == name })?.number
                        ?? Number.parse(name, max: 255).map({ UInt8($0) })
                else { throw ToolError(2, "`\(name)' unsupported protocol") }
                filter.transport = number
            case "-o", "--output":
                for name in try value(word).split(separator: ",") {
                    switch name {
                    case "extended": isExtended = true
                    case "id": hasIdentifiers = true
                    case "ktimestamp", "timestamp", "labels", "userspace": break
                    default: throw ToolError(2, "invalid output format `\(name)'")
                    }
                }
            case "-m", "--mark":
                let text = try value(word)
                let parts = text.split(separator: "/", maxSplits: 1)
                guard let first = parts.first.flatMap({ Number.parse($0, max: 0xffff_ffff) }) else {
                    throw ToolError(2, "invalid mark `\(text)'")
                }
                let mask = parts.count > 1 ? Number.parse(parts[1], max: 0xffff_ffff) ?? 0 : 0xffff_ffff
                filter.mark = (UInt32(first), UInt32(mask))
            case "-u", "--status":
                for name in try value(word).split(separator: ",") {
                    switch name {
                    case "ASSURED": filter.status |= 4
                    case "SEEN_REPLY": filter.status |= 2
                    case "UNREPLIED", "UNSET": filter.unsetStatus |= 2
                    case "CONFIRMED": filter.status |= 8
                    case "FIXED_TIMEOUT": filter.status |= 1 << 10
                    case "EXPECTED": filter.status |= 1
                    default: throw ToolError(2, "unknown status `\(name)'")
                    }
                }
            case "-w", "--zone":
                guard let zone = Number.parse(try value(word), max: 65535) else { throw ToolError(2, "invalid zone") }
                filter.zone = UInt16(zone)
            case "-b", "--buffer-size", "-t", "--timeout": _ = try value(word)
            case "-z", "--zero": break
            default:
                guard try ConntrackCommand.filterOption(word, &filter, &arguments) else {
                    throw ToolError(2, word.hasPrefix("-") ? "unknown option `\(word)'" : "Bad parameter")
                }
            }
        }
        return try run(command, filter, isExtended, hasIdentifiers)
    }

    /// Options about addresses and ports.
    private static func filterOption(
        _ word: String, _ filter: inout Filter, _ arguments: inout ArraySlice<String>
    ) throws(ToolError) -> Bool {
        let addresses = [
            ["-s", "--src", "--orig-src"], ["-d", "--dst", "--orig-dst"], ["-r", "--reply-src"], ["-q", "--reply-dst"],
        ]
        let ports = [
            ["--sport", "--orig-port-src"], ["--dport", "--orig-port-dst"], ["--reply-port-src"], ["--reply-port-dst"],
        ]
        let icmp = [
            ["--icmp-id", "--icmpv6-id"], ["--icmp-type", "--icmpv6-type"], ["--icmp-code", "--icmpv6-code"],
        ]
        if let index = addresses.firstIndex(where: { $0.contains(word) }) {
            guard let text = arguments.popFirst() else { throw ToolError(2, "option `\(word)' requires an argument") }
            guard let prefix = IPPrefix(text) ?? IPAddress(text).map(IPPrefix.init(host:)) else {
                throw ToolError(2, "Invalid IP address `\(text)'")
            }
            if let family = filter.family, family != prefix.family {
                throw ToolError(2, "mismatched address family")
            }
            filter.family = prefix.family
            filter.addresses[index] = prefix
            return true
        }
        switch word {
        case "-n", "--src-nat", "-g", "--dst-nat", "-j", "--any-nat":
            if word == "-n" || word == "--src-nat" { filter.isSourceTranslated = true }
            if word == "-g" || word == "--dst-nat" { filter.isDestinationTranslated = true }
            if word == "-j" || word == "--any-nat" { filter.isTranslated = true }
            if let next = arguments.first, let address = IPAddress(next) {
                arguments.removeFirst()
                filter.addresses[word == "-n" || word == "--src-nat" ? 3 : 2] = IPPrefix(host: address)
            }
            return true
        case "--state" where filter.transport == 6 || filter.transport == 132:
            guard let state = arguments.popFirst() else { throw ToolError(2, "option `\(word)' requires an argument") }
            let names = filter.transport == 6 ? ConntrackEntry.tcpStates : ConntrackEntry.sctpStates
            guard names.contains(state) else { throw ToolError(2, "unknown TCP state \(state)") }
            filter.state = state
            return true
        default: break
        }
        let hasPorts = [6, 17, 33, 132, 136].contains(filter.transport ?? 0)
        let isICMP = [1, 58].contains(filter.transport ?? 0)
        for (index, names) in (hasPorts ? ports : isICMP ? icmp : []).enumerated() where names.contains(word) {
            guard let text = arguments.popFirst() else { throw ToolError(2, "option `\(word)' requires an argument") }
            guard let number = Number.parse(text, max: 65535) else { throw ToolError(2, "invalid value `\(text)'") }
            if hasPorts { filter.ports[index] = UInt16(number) } else { filter.icmp[index] = UInt16(number) }
            return true
        }
        return false
    }

    // MARK: the kernel

    private func run(
        _ command: Character?, _ filter: Filter, _ isExtended: Bool, _ hasIdentifiers: Bool
    ) throws(ToolError) -> Int32 {
        switch command {
        case "V":
            call.line(ConntrackCommand.title)
            return 0
        case "L", "D", "C", "F": break
        default:
            call.line("Command line interface for the connection tracking system. Version 1.4.7")
            call.line("Usage: conntrack -L|-D|-C|-F [options]")
            return 0
        }
        do throws(NetlinkError) {
            let socket = try NetlinkSocket(.netfilter)
            switch command {
            case "C":
                var buffer = MessageBuffer(capacity: 64)
                buffer.message(type: 1 << 8 | 5, flags: [.request, .ack]) { $0.appendNetfilterHeader(family: 0) }
                let count = try socket.query(&buffer, "count connections") { message -> UInt32? in
                    message.payload.dropFirst(4).attribute(1)?.big()
                }
                call.line("\(count ?? 0)")
            case "F":
                var buffer = MessageBuffer(capacity: 64)
                buffer.message(type: 1 << 8 | 2, flags: [.request, .ack]) {
                    $0.appendNetfilterHeader(family: filter.family?.rawValue ?? 0)
                }
                try socket.request(&buffer, "flush connections")
                call.complain("\(ConntrackCommand.title): connection tracking table has been emptied.")
            default: return try list(socket, filter, isExtended, hasIdentifiers, delete: command == "D")
            }
            return 0
        } catch {
            let reason = strerror(error.code).map { String(cString: $0) } ?? "\(error)"
            throw ToolError(
                1, "Operation failed: \(error.code == EPERM ? "such command requires root privileges" : reason)")
        }
    }

    private func list(
        _ socket: NetlinkSocket, _ filter: Filter, _ isExtended: Bool, _ hasIdentifiers: Bool, delete: Bool
    ) throws(NetlinkError) -> Int32 {
        var wanted = filter
        wanted.family = filter.family ?? .ipv4
        var buffer = MessageBuffer(capacity: 64)
        buffer.message(type: 1 << 8 | 1, flags: [.request, .dump]) {
            $0.appendNetfilterHeader(family: wanted.family?.rawValue ?? 2)
        }
        let found = try socket.dump(&buffer, "list connections") { message -> ConntrackEntry? in
            guard message.type == 1 << 8, let entry = ConntrackEntry(message.payload.dropFirst(4)) else { return nil }
            return wanted.matches(entry) ? entry : nil
        }
        var count = 0
        for entry in found {
            if delete {
                var request = MessageBuffer(capacity: 256)
                request.message(type: 1 << 8 | 2, flags: [.request, .ack]) { message in
                    message.appendNetfilterHeader(family: entry.original.source.family.rawValue)
                    message.nested(1) { $0.append(contentsOf: entry.rawTuple) }
                    if let zone = entry.zone { message.attribute(18, big: zone) }
                    if let identifier = entry.identifier { message.attribute(12, big: identifier) }
                }
                do throws(NetlinkError) { try socket.request(&request, "delete a connection") } catch {
                    // It has ended meanwhile.
                    if error.isNotFound { continue }
                    throw error
                }
            }
            count += 1
            call.line(entry.line(extended: isExtended, identifiers: hasIdentifiers))
        }
        call.flush()
        call.complain("\(ConntrackCommand.title): \(count) flow entries have been \(delete ? "deleted" : "shown").")
        return delete && count == 0 ? 1 : 0
    }
}
