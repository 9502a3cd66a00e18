import Linux
import Netlink

/// What an option's argument means, kind by kind. Errors are texts of the original; the exit code of all is 2.
extension Extension {
    /// - Parameter transport: the rule's protocol, for names of ports.
    func apply(
        _ option: Option, _ value: String, inverted: Bool, transport: UInt8, to blob: inout Blob
    ) throws(ToolError) {
        if inverted {
            guard let inversion = option.inversion else {
                throw ToolError(2, "\(name): option \"--\(option.names[0])\" cannot be inverted.\n")
            }
            blob.set(
                inversion.offset, inversion.width, blob.number(inversion.offset, inversion.width) | inversion.value)
        }
        option.flag?.set(in: &blob)
        try parse(option, value, transport, &blob)
    }

    private func bad(_ option: Option, _ value: String) -> ToolError {
        ToolError(2, "\(name): Bad value for \"--\(option.names[0])\" option: \"\(value)\"")
    }

    private func number(_ option: Option, _ value: some StringProtocol, max: UInt64) throws(ToolError) -> UInt64 {
        guard let number = Number.parse(value, max: max) else {
            throw ToolError(
                2, "\(name): bad value for option \"--\(option.names[0])\", or out of range (0-\(max)).\n")
        }
        return number
    }

    /// "5", "5:7", ":7", "5:"
    private func range(
        _ option: Option, _ value: String, max: UInt64, separator: Character = ":"
    ) throws(ToolError) -> (UInt64, UInt64) {
        let parts = value.split(separator: separator, maxSplits: 1, omittingEmptySubsequences: false)
        let first = parts[0].isEmpty && parts.count > 1 ? 0 : try number(option, parts[0], max: max)
        let last = parts.count == 1 ? first : parts[1].isEmpty ? max : try number(option, parts[1], max: max)
        guard first <= last else { throw bad(option, value) }
        return (first, last)
    }

    private func valueAndMask(_ option: Option, _ value: String) throws(ToolError) -> (UInt32, UInt32) {
        let parts = value.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        let mark = try number(option, parts[0], max: 0xffff_ffff)
        let mask = parts.count > 1 ? try number(option, parts[1], max: 0xffff_ffff) : 0xffff_ffff
        return (UInt32(mark), UInt32(mask))
    }

    static func port(_ text: some StringProtocol, _ transport: UInt8) throws(ToolError) -> UInt16 {
        let name = transport == 0 ? nil : Names.protocolName(transport)
        guard let port = Names.port(text, name) else {
            throw ToolError(2, "invalid port/service `\(text)' specified")
        }
        return port
    }

    private func ports(_ value: Substring, _ transport: UInt8) throws(ToolError) -> (UInt16, UInt16) {
        let parts = value.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        let first = parts[0].isEmpty && parts.count > 1 ? 0 : try Extension.port(parts[0], transport)
        let last = parts.count == 1 ? first : parts[1].isEmpty ? 65535 : try Extension.port(parts[1], transport)
        guard first <= last else { throw ToolError(2, "invalid portrange (min > max)") }
        return (first, last)
    }

    /// Names joined by commas.
    private func bits(_ option: Option, _ value: some StringProtocol) throws(ToolError) -> UInt64 {
        let names = Extension.names(option.detail)
        var sum: UInt64 = 0
        for word in value.split(separator: ",", omittingEmptySubsequences: false) {
            if option.detail == "ctstatus", word == "NONE" { continue }
            guard let found = names.first(where: { $0.name.lowercased() == word.lowercased() }) else {
                let shown =
                    ["ctstate", "ctstatus", "state"].contains(option.detail) ? "Bad \(option.detail)" : "Bad type"
                throw ToolError(2, "\(shown) \"\(word)\"")
            }
            sum |= found.value
        }
        return sum
    }

    private func parse(
        _ option: Option, _ value: String, _ transport: UInt8, _ blob: inout Blob
    ) throws(ToolError) {
        let offset = option.offset
        let second = option.second ?? offset
        switch option.kind {
        case "flag": break
        case "u8", "hex8": blob.set(offset, 1, try number(option, value, max: option.kind == "u8" ? 255 : 63))
        case "u16": blob.set(offset, 2, try number(option, value, max: 65535))
        case "u32": blob.set(offset, 4, try number(option, value, max: 0xffff_ffff))
        case "range16", "range32":
            let width = option.kind == "range16" ? 2 : 4
            let (first, last) = try range(option, value, max: width == 2 ? 65535 : 0xffff_ffff)
            blob.set(offset, width, first)
            blob.set(option.second ?? offset + width, width, last)
        case "user", "group":
            let file = option.kind == "user" ? "/etc/passwd" : "/etc/group"
            if let identifier = Names.identifier(value, file: file) {
                blob.set32(offset, identifier)
                blob.set32(second, identifier)
            } else {
                let (first, last) = try range(
                    option, value, max: 0xffff_fffe, separator: value.contains { $0 == ":" } ? ":" : "-")
                blob.set(offset, 4, first)
                blob.set(second, 4, last)
            }
        case "ports":
            let (first, last) = try ports(value[...], transport)
            blob.set16(offset, first)
            blob.set16(offset + 2, last)
        case "multiport":
            var count = 0
            for word in value.split(separator: ",", omittingEmptySubsequences: false) {
                let (first, last) = try ports(word, transport)
                guard count + (first == last ? 1 : 2) <= 15 else { throw ToolError(2, "too many ports specified") }
                blob.set16(2 + 2 * count, first)
                if first != last {
                    blob.set(32 + count, 1, 1)
                    count += 1
                    blob.set16(2 + 2 * count, last)
                }
                count += 1
            }
            blob.set(1, 1, UInt64(count))
        case "beport": blob.setBig16(offset, UInt16(try number(option, value, max: 65535)))
        case "tcpflags":
            let words = value.split(separator: " ")
            for (index, word) in words.prefix(2).enumerated() {
                blob.set(offset + index, 1, UInt64(try Extension.tcpFlags(word)))
            }
        case "syn":
            blob.set(offset, 1, 0x17)
            blob.set(offset + 1, 1, 0x02)
        case "icmp": try parseICMP(value, &blob)
        case "quoted", "string":
            let limit = Int(option.detail) ?? 0
            guard value.utf8.count <= limit else {
                throw ToolError(
                    2,
                    "\(name): option \"--\(option.names[0])\": Length must be between 0 and \(limit) but is"
                        + " \(value.utf8.count)")
            }
            blob.put(offset, Array(value.utf8) + [0])
        case "bits":
            blob.set(offset, option.width, try bits(option, value))
        case "enum":
            let names = Extension.names(option.detail)
            let isPrefix = option.detail.hasPrefix("reject")
            guard let found = names.first(where: { isPrefix ? $0.name.hasPrefix(value) : $0.name == value }) else {
                switch option.detail {
                case "pkttype": throw ToolError(2, "Bad packet type '\(value)'")
                case "statistic": throw ToolError(2, "Bad mode \"\(value)\"")
                default: throw ToolError(2, "unknown reject type \"\(value)\"")
                }
            }
            blob.set(offset, option.width, found.value)
        case "protocol":
            guard let number = Names.protocolNumber(value) else {
                throw ToolError(2, "unknown protocol \"\(value)\" specified")
            }
            blob.set(offset, 2, UInt64(number))
        case "direction":
            switch value.uppercased() {
            case "ORIGINAL": break
            case "REPLY": blob.set16(offset, blob.u16(offset) | 0x1000)
            default: throw bad(option, value)
            }
        case "mark", "xmark", "setmark", "andmark", "ormark", "xormark": try parseMark(option, value, &blob)
        case "nfmask": blob.set(offset, 4, try number(option, value, max: 0xffff_ffff))
        case "bothmasks":
            let mask = try number(option, value, max: 0xffff_ffff)
            blob.set(offset, 4, mask)
            blob.set(offset + 4, 4, mask)
        case "tproxymark":
            let (mark, mask) = try valueAndMask(option, value)
            blob.set32(offset, mask)
            blob.set32(offset + 4, mark)
        case "rate": blob.set32(offset, try Extension.rate(value))
        case "probability":
            guard let probability = Double(value), (0...1).contains(probability) else { throw bad(option, value) }
            blob.set32(offset, UInt32((probability * 0x8000_0000).rounded()))
        case "nth":
            let every = try number(option, value, max: 0xffff_ffff)
            guard every > 0 else { throw bad(option, value) }
            blob.set(offset, 4, every - 1)
        case "mac":
            guard let address = MACAddress(value) else { throw ToolError(2, "\(name): Invalid MAC address specified.") }
            blob.put(offset, address.bytes)
        case "loglevel":
            if let found = Extension.names("loglevel").first(where: { $0.name.hasPrefix(value.lowercased()) }) {
                blob.set(offset, 1, found.value)
            } else {
                guard let level = Number.parse(value, max: 7) else {
                    throw ToolError(2, "log-level \"\(value)\" unknown")
                }
                blob.set(offset, 1, level)
            }
        case "dscpclass":
            guard let found = Extension.names("dscpclass").first(where: { $0.name == value.uppercased() }) else {
                throw ToolError(2, "Invalid DSCP value `\(value)'\n")
            }
            blob.set(offset, 1, found.value)
        case "class":
            let parts = value.split(separator: ":")
            guard parts.count == 2, let major = UInt16(parts[0], radix: 16), let minor = UInt16(parts[1], radix: 16)
            else { throw ToolError(2, "Bad class value `\(value)'") }
            blob.set32(offset, UInt32(major) << 16 | UInt32(minor))
        case "mss": blob.set(offset, 2, try number(option, value, max: 65534))
        case "clamp": blob.set(offset, 2, 0xffff)
        case "interface":
            guard value.utf8.count < 16 else {
                throw ToolError(2, "interface name `\(value)' must be shorter than IFNAMSIZ (15)")
            }
            let isPrefix = value.hasSuffix("+")
            let name = Array((isPrefix ? String(value.dropLast()) : value).utf8)
            blob.put(offset, Array(value.utf8))
            blob.put(offset + 16, [UInt8](repeating: 0xff, count: name.count + (isPrefix ? 0 : 1)))
        case "ipset": try parseSet(option, value, &blob)
        default: try parseAddresses(option, value, transport, &blob)
        }
    }

    private func parseAddresses(
        _ option: Option, _ value: String, _ transport: UInt8, _ blob: inout Blob
    ) throws(ToolError) {
        let offset = option.offset
        func address(_ text: some StringProtocol) throws(ToolError) -> IPAddress {
            guard let address = IPAddress(text), address.family == family else {
                throw ToolError(2, "\(name): Bad IP address \"\(text)\"\n")
            }
            return address
        }
        switch option.kind {
        case "address":
            let parts = value.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            let parsed = try address(parts[0])
            blob.put(offset, parsed.bytes)
            if parts.count == 1 {
                blob.put(offset + 16, [UInt8](repeating: 0xff, count: 16))
            } else {
                guard let length = Int(parts[1]), let prefix = IPPrefix(parsed, length: length) else {
                    throw bad(option, value)
                }
                blob.put(offset + 16, prefix.maskBytes)
            }
        case "plainaddress", "netmask":
            blob.put(offset, [UInt8](repeating: 0, count: 16))
            blob.put(offset, try address(value).bytes)
        case "connmask":
            let zero: IPAddress = family == .ipv4 ? .v4(0) : .v6(0, 0)
            guard let length = Int(value), let prefix = IPPrefix(zero, length: length) else { throw bad(option, value) }
            blob.put(offset, prefix.maskBytes + [UInt8](repeating: 0, count: 16 - family.byteCount))
        case "addresses":
            let parts = value.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
            let first = try address(parts[0])
            let last = parts.count > 1 ? try address(parts[1]) : first
            blob.put(offset, first.bytes)
            blob.put(offset + 16, last.bytes)
        case "netmap":
            let parts = value.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            let parsed = try address(parts[0])
            let length = parts.count > 1 ? Int(parts[1]) ?? -1 : parsed.bitWidth
            guard let prefix = IPPrefix(parsed, length: length) else { throw bad(option, value) }
            let isShort = blob.bytes.count == 24
            blob.set32(isShort ? 4 : 0, 1)
            blob.put(isShort ? 8 : 4, prefix.network.bytes)
            blob.put(isShort ? 12 : 20, prefix.lastAddress.bytes)
        case "nat", "natports": try parseNAT(option, value, transport, &blob)
        default: throw bad(option, value)
        }
    }

    private func parseMark(_ option: Option, _ value: String, _ blob: inout Blob) throws(ToolError) {
        let offset = option.offset
        var (mark, mask) = try valueAndMask(option, value)
        switch option.kind {
        case "setmark": mask |= mark
        case "andmark": (mark, mask) = (0, ~mark)
        case "ormark": mask = mark
        case "xormark": mask = 0
        default: break
        }
        blob.set32(offset, mark)
        blob.set32(offset + 4, mask)
    }

    static func tcpFlags(_ text: some StringProtocol) throws(ToolError) -> UInt8 {
        var flags: UInt8 = 0
        let names = names("tcpflags")
        for word in text.split(separator: ",", omittingEmptySubsequences: false) {
            switch word.uppercased() {
            case "ALL": flags |= 0x3f
            case "NONE": break
            case let word:
                guard let found = names.first(where: { $0.name == word }) else {
                    throw ToolError(2, "Unknown TCP flag `\(word)'")
                }
                flags |= UInt8(found.value)
            }
        }
        return flags
    }

    /// "10/min" as ten-thousandths of a second between two packets.
    static func rate(_ value: String) throws(ToolError) -> UInt32 {
        let parts = value.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        var unit: UInt64 = 1
        if parts.count > 1 {
            let word = parts[1].lowercased()
            let units: [(String, UInt64)] = [("second", 1), ("minute", 60), ("hour", 3600), ("day", 86400)]
            guard !word.isEmpty, let found = units.first(where: { $0.0.hasPrefix(word) }) else {
                throw ToolError(2, "bad rate \"\(value)\"'")
            }
            unit = found.1
        }
        guard let number = Number.parse(parts[0], max: 0xffff_ffff), number > 0 else {
            throw ToolError(2, "bad rate \"\(value)\"'")
        }
        guard number / unit <= 10000 else { throw ToolError(2, "Rate too fast \"\(value)\"\n") }
        return UInt32(10000 * unit / number)
    }

    private func parseICMP(_ value: String, _ blob: inout Blob) throws(ToolError) {
        let found = Extension.names(family == .ipv4 ? "icmp4" : "icmp6").filter {
            $0.name.lowercased().hasPrefix(value.lowercased())
        }
        let exact = found.first { $0.name.lowercased() == value.lowercased() }
        if let one = exact ?? (found.count == 1 ? found.first : nil) {
            let code = one.value & 0xff
            blob.set(0, 1, one.value >> 8)
            blob.set(1, 1, code == 255 ? 0 : code)
            blob.set(2, 1, code)
            return
        }
        guard found.isEmpty else {
            throw ToolError(2, "Ambiguous ICMP type `\(value)': `\(found[0].name)' or `\(found[1].name)'?")
        }
        let parts = value.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        let six = family == .ipv6 ? "ICMPv6" : "ICMP"
        guard let type = Number.parse(parts[0], max: 255) else {
            throw ToolError(2, "Unknown \(six) type `\(value)'")
        }
        blob.set(0, 1, type)
        guard parts.count > 1 else {
            blob.set(1, 1, 0)
            blob.set(2, 1, 255)
            return
        }
        guard let code = Number.parse(parts[1], max: 255) else {
            throw ToolError(2, "Unknown \(six) type `\(value)'")
        }
        blob.set(1, 1, code)
        blob.set(2, 1, code)
    }

    /// "1.2.3.4-1.2.3.9:80-90/8080", "[fd00::1]:80", ":80"; only the ports for "natports".
    private func parseNAT(
        _ option: Option, _ value: String, _ transport: UInt8, _ blob: inout Blob
    ) throws(ToolError) {
        let layout = NATLayout(blob, family)
        var flags = blob.u32(layout.flags)
        var ports: Substring?
        var addresses = value[...]
        if option.kind == "natports" {
            (ports, addresses) = (value[...], "")
        } else if value.hasPrefix("[") {
            guard let end = value.firstIndex(of: "]") else { throw bad(option, value) }
            addresses = value[value.index(after: value.startIndex)..<end]
            let rest = value[value.index(after: end)...]
            if !rest.isEmpty {
                guard rest.first == ":" else { throw bad(option, value) }
                ports = rest.dropFirst()
            }
        } else if family == .ipv4, let colon = value.firstIndex(of: ":") {
            (addresses, ports) = (value[..<colon], value[value.index(after: colon)...])
        }
        if let ports {
            guard [6, 17, 33, 132, 136, 1].contains(transport) else {
                throw ToolError(2, "Need TCP, UDP, SCTP or DCCP with port specification")
            }
            flags |= 2
            let base = ports.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            let range = base[0].split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
            guard let first = Names.port(range[0], Names.protocolName(transport)) else {
                throw ToolError(2, "Port range \"\(base[0])\" is invalid\n")
            }
            let last = range.count > 1 ? Number.parse(range[1], max: 65535).map { UInt16($0) } : first
            guard let last, last >= first else { throw ToolError(2, "Port range \"\(base[0])\" funky\n") }
            blob.setBig16(layout.ports, first)
            blob.setBig16(layout.ports + 2, last)
            if base.count > 1 {
                guard layout.hasBase, let number = Number.parse(base[1], max: 65535) else { throw bad(option, value) }
                flags |= 0x20
                blob.setBig16(layout.ports + 4, UInt16(number))
            }
        }
        if !addresses.isEmpty {
            let range = addresses.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
            for (index, text) in range.enumerated() {
                guard let address = IPAddress(text), address.family == family else {
                    throw ToolError(2, "Bad IP address \"\(text)\"\n")
                }
                if index == 0 { blob.put(layout.first, address.bytes) }
                blob.put(layout.last, address.bytes)
            }
            flags |= 1
        }
        blob.set32(layout.flags, flags)
    }
}

/// Where things are in nf_nat_range2 (48 bytes), nf_nat_range (40) and nf_nat_ipv4_multi_range_compat (24).
struct NATLayout {
    var flags = 0
    var first = 4
    var last = 20
    var ports = 36
    var hasBase = false

    init(_ blob: Blob, _ family: AddressFamily) {
        if blob.bytes.count == 24 {
            (flags, first, last, ports) = (4, 8, 12, 16)
        } else {
            hasBase = blob.bytes.count == 48
        }
    }
}
