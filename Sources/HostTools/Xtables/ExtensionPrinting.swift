import Linux
import Netlink

/// How an extension is printed: as options (`-S`, iptables-save), or in words (`-L`), with or without names for numbers.
enum Style {
    case save
    case list(numeric: Bool)
    var isSave: Bool { if case .save = self { true } else { false } }
    var isNamed: Bool { if case .list(let numeric) = self { !numeric } else { false } }
}

extension Extension {
    /// The options as they would be given, each with a space before it.
    func options(_ blob: Blob, transport: UInt8) -> String {
        var text = ""
        for option in options where option.names[0] != "-" {
            guard let value = printed(option, blob, .save, transport) else { continue }
            text += (isInverted(option, blob) ? " ! --" : " --") + option.names[0]
            if !value.isEmpty { text += " " + value }
        }
        return text
    }

    /// What `-L` says, with a space before it.
    func words(_ blob: Blob, numeric: Bool, transport: UInt8) -> String {
        let style = Style.list(numeric: numeric)
        var parts: [String] = []
        if let prefix, !prefix.isEmpty {
            let inverted = options.contains { $0.flag?.isSet(in: blob) == true && isInverted($0, blob) }
            parts.append(expand(prefix, "", inverted: inverted, blob, numeric))
        }
        for option in options {
            guard let label = option.list, let value = printed(option, blob, style, transport) else { continue }
            let inverted = isInverted(option, blob)
            switch option.kind {
            case "ports":
                parts.append(label + (value.contains { $0 == ":" } ? "s:" : ":") + (inverted ? "!" : "") + value)
            case "icmp": parts.append(icmpWords(label, blob, inverted, numeric))
            default:
                let text = expand(label, value, inverted: inverted && !label.hasPrefix("SET"), blob, numeric)
                if !text.isEmpty { parts.append(text) }
            }
        }
        if kernelName == "connlimit" {
            let mask = format(options[2], blob, style, transport) ?? ""
            let text = parts.joined(separator: " ").split(separator: "|", omittingEmptySubsequences: false)
            return " #conn \(blob.u32(20) & 2 != 0 ? "dst" : "src")/\(mask) \(text.last ?? "")"
        }
        return parts.isEmpty ? "" : " " + parts.joined(separator: " ")
    }

    private func isInverted(_ option: Option, _ blob: Blob) -> Bool {
        guard let inversion = option.inversion else { return false }
        return blob.number(inversion.offset, inversion.width) & inversion.value != 0
    }

    /// The value where the option is to be printed ("" for one without a value).
    private func printed(_ option: Option, _ blob: Blob, _ style: Style, _ transport: UInt8) -> String? {
        guard !option.isHidden else { return nil }
        if let flag = option.flag, !flag.isSet(in: blob) { return nil }
        guard let value = format(option, blob, style, transport) else { return nil }
        // The first rate's burst is listed even where it is the usual one.
        if let hidden = option.hiddenValue, hidden == value, style.isSave || kernelName != "limit" { return nil }
        if option.flag == nil, !option.isAlways, !isInverted(option, blob),
            value == format(option, initial, style, transport)
        {
            return nil
        }
        return value
    }

    private func expand(_ template: String, _ value: String, inverted: Bool, _ blob: Blob, _ numeric: Bool) -> String {
        var text = ""
        var rest = template[...]
        while let character = rest.popFirst() {
            switch character {
            case "~": text += inverted ? "! " : ""
            case "^": text += inverted ? " !" : ""
            case "!": text += inverted ? "!" : ""
            case "?": text += inverted ? "!" : kernelName == "pkttype" ? "" : "="
            case "%":
                let word = rest
                switch word {
                case "log": (text, rest) = (text + logWords(blob, numeric), "")
                case "masks": (text, rest) = (text + connmarkMasks(blob), "")
                case "packet": (text, rest) = (value == "0" ? "" : "packet " + value, "")
                case "upto": (text, rest) = ("|<= " + value, "")
                case "above": (text, rest) = ("|> " + value, "")
                case "on": (text, rest) = (text + "\(blob.address(8, family)):\(value)", "")
                default: text += value
                }
            default: text.append(character)
            }
        }
        return text
    }

    private func icmpWords(_ label: String, _ blob: Blob, _ inverted: Bool, _ numeric: Bool) -> String {
        let (type, first, last) = (UInt64(blob.u8(0)), blob.u8(1), blob.u8(2))
        let code = first == last ? UInt64(first) : 255
        if !numeric, first == last || first == 0 && last == 255,
            let found = Extension.names(family == .ipv4 ? "icmp4" : "icmp6").first(where: {
                $0.value == type << 8 | code
            })
        {
            return "\(label) \(inverted ? "!" : "")\(found.name)"
        }
        let codes = first == last ? " code \(first)" : first != 0 || last != 255 ? " codes \(first)-\(last)" : ""
        return label + (inverted ? " !" : "") + "type \(type)" + codes
    }

    private func logWords(_ blob: Blob, _ numeric: Bool) -> String {
        let (level, flags) = (blob.u8(0), blob.u8(1))
        if numeric { return "flags \(flags) level \(level)" }
        let name = Extension.names("loglevel").first { $0.value == UInt64(level) }.map { String($0.name) } ?? "\(level)"
        let words = ["tcp-sequence", "tcp-options", "ip-options", "uid", "", "macdecode"]
        return words.enumerated().filter { !$0.element.isEmpty && flags & 1 << UInt8($0.offset) != 0 }
            .reduce("level " + name) { $0 + " " + $1.element }
    }

    private func connmarkMasks(_ blob: Blob) -> String {
        let (ct, nf) = (blob.u32(4), blob.u32(8))
        if ct == .max, nf == .max { return "" }
        if ct == nf { return " mask 0x" + Number.hex(ct) }
        return blob.u8(14) == 1
            ? " nfmask 0x\(Number.hex(nf)) ctmask ~0x\(Number.hex(ct))"
            : " ctmask 0x\(Number.hex(ct)) nfmask ~0x\(Number.hex(nf))"
    }

    /// As xtables does: in quotes where anything but letters, digits, "-" and "_" is in it.
    static func quoted(_ text: String) -> String {
        let isPlain =
            !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x5f: true
                default: false
                }
            }
        if isPlain { return text }
        return text.reduce("\"") { $0 + ($1 == "\"" || $1 == "\\" || $1 == "'" ? "\\" : "") + String($1) } + "\""
    }

    static func tcpFlagNames(_ flags: UInt8) -> String {
        let found = names("tcpflags").filter { flags & UInt8($0.value) != 0 }.map { String($0.name) }
        return found.isEmpty ? "NONE" : found.joined(separator: ",")
    }

    static func rateText(_ period: UInt32) -> String {
        guard period > 0 else { return "0/sec" }
        let units: [(String, UInt32)] = [
            ("day", 864_000_000), ("hour", 36_000_000), ("min", 600_000), ("sec", 10000),
        ]
        var chosen = 0
        while chosen + 1 < units.count {
            let next = units[chosen + 1].1
            if period > next || next / period < next % period { break }
            chosen += 1
        }
        return "\(units[chosen].1 / period)/\(units[chosen].0)"
    }

    /// The value's text; nil: the option is not there.
    private func format(_ option: Option, _ blob: Blob, _ style: Style, _ transport: UInt8) -> String? {
        let offset = option.offset
        switch option.kind {
        case "flag": return ""
        case "u8": return "\(blob.u8(offset))"
        case "u16": return "\(blob.u16(offset))"
        case "u32": return "\(blob.u32(offset))"
        case "hex8": return "0x" + Number.hex(blob.u8(offset), digits: 2)
        case "nth": return "\(UInt64(blob.u32(offset)) + 1)"
        case "range16", "range32":
            let width = option.kind == "range16" ? 2 : 4
            let (first, last) = (blob.number(offset, width), blob.number(option.second ?? offset + width, width))
            return first == last ? "\(first)" : "\(first):\(last)"
        case "user", "group":
            let (first, last) = (blob.u32(offset), blob.u32(option.second ?? offset))
            if first != last { return "\(first)-\(last)" }
            guard style.isNamed else { return "\(first)" }
            return Names.identifierName(first, file: option.kind == "user" ? "/etc/passwd" : "/etc/group") ?? "\(first)"
        case "ports":
            let (first, last) = (blob.u16(offset), blob.u16(offset + 2))
            let shown = [first, last].map { portText($0, style, transport) }
            return first == last ? shown[0] : shown[0] + ":" + shown[1]
        case "multiport":
            var parts: [String] = []
            var index = 0
            let count = min(15, Int(blob.u8(1)))
            while index < count {
                var text = portText(blob.u16(2 + 2 * index), style, transport)
                if blob.u8(32 + index) != 0, index + 1 < count {
                    index += 1
                    text += ":" + portText(blob.u16(2 + 2 * index), style, transport)
                }
                parts.append(text)
                index += 1
            }
            return parts.joined(separator: ",")
        case "beport": return "\(blob.big16(offset))"
        case "tcpflags":
            let (mask, value) = (blob.u8(offset), blob.u8(offset + 1))
            if case .list(true) = style {
                return "0x\(Number.hex(mask, digits: 2).uppercased())/0x\(Number.hex(value, digits: 2).uppercased())"
            }
            return Extension.tcpFlagNames(mask) + (style.isSave ? " " : "/") + Extension.tcpFlagNames(value)
        case "icmp":
            if family == .ipv4, blob.u8(0) == 255, blob.u8(1) == 0, blob.u8(2) == 255 { return "any" }
            return blob.u8(1) == 0 && blob.u8(2) == 255 ? "\(blob.u8(0))" : "\(blob.u8(0))/\(blob.u8(1))"
        case "quoted":
            let text = blob.string(offset, (Int(option.detail) ?? 0) + 1)
            return style.isSave || option.names[0] == "nflog-prefix" && !text.isEmpty ? Extension.quoted(text) : text
        case "string": return blob.string(offset, Int(option.detail) ?? 0)
        case "bits":
            let value = blob.number(offset, option.width)
            let found = Extension.names(option.detail).filter { value & $0.value != 0 }.map { String($0.name) }
            return found.isEmpty && option.detail == "ctstatus" ? "NONE" : found.joined(separator: ",")
        case "enum":
            let value = blob.number(offset, option.width)
            return Extension.names(option.detail).first { $0.value == value }.map { String($0.name) } ?? "\(value)"
        case "protocol": return "\(blob.u16(offset))"
        case "direction": return blob.u16(offset) & 0x1000 != 0 ? "REPLY" : "ORIGINAL"
        case "mark":
            let (mark, mask) = (blob.u32(offset), blob.u32(offset + 4))
            return mask == .max ? "0x" + Number.hex(mark) : "0x\(Number.hex(mark))/0x\(Number.hex(mask))"
        case "xmark":
            let (mark, mask) = (blob.u32(offset), blob.u32(offset + 4))
            if style.isSave { return "0x\(Number.hex(mark))/0x\(Number.hex(mask))" }
            if mark == 0 { return "and 0x" + Number.hex(~mask) }
            if mark == mask { return "or 0x" + Number.hex(mark) }
            if mask == 0 { return "xor 0x" + Number.hex(mark) }
            return mask == .max ? "set 0x" + Number.hex(mark) : "xset 0x\(Number.hex(mark))/0x\(Number.hex(mask))"
        case "nfmask":
            // Of CONNMARK, where it saves or restores.
            return blob.u8(14) == 0 ? nil : "0x" + Number.hex(blob.u32(offset))
        case "tproxymark": return "0x\(Number.hex(blob.u32(offset + 4)))/0x\(Number.hex(blob.u32(offset)))"
        case "rate": return Extension.rateText(blob.u32(offset))
        case "probability": return Extension.fraction(blob.u32(offset))
        case "mac": return MACAddress(bytes: blob.slice(offset, 6))?.description ?? ""
        case "loglevel": return "\(blob.u8(offset))"
        case "class":
            let value = blob.u32(offset)
            let digits = style.isSave ? 4 : 1
            return Number.hex(value >> 16, digits: digits) + ":" + Number.hex(value & 0xffff, digits: digits)
        case "mss": return blob.u16(offset) == 0xffff || blob.u16(offset) == 0 ? nil : "\(blob.u16(offset))"
        case "clamp": return blob.u16(offset) == 0xffff ? "" : nil
        case "interface":
            // A prefix has its "+" in the name already.
            return blob.string(offset, 16)
        case "ipset": return setText(option, blob)
        default: return formatAddresses(option, blob)
        }
    }

    private func portText(_ port: UInt16, _ style: Style, _ transport: UInt8) -> String {
        style.isNamed ? Names.portName(port, Names.protocolName(transport)) : "\(port)"
    }

    /// Of 2^31, with eleven digits.
    private static func fraction(_ value: UInt32) -> String {
        var whole = value >> 31
        var rest = UInt64(value & 0x7fff_ffff)
        var digits: [UInt8] = []
        for _ in 0..<11 {
            rest *= 10
            digits.append(UInt8(rest >> 31))
            rest &= 0x7fff_ffff
        }
        var carry = rest > 1 << 30 || rest == 1 << 30 && (digits.last ?? 0) & 1 == 1
        for index in digits.indices.reversed() where carry {
            carry = digits[index] == 9
            digits[index] = carry ? 0 : digits[index] + 1
        }
        if carry { whole += 1 }
        return "\(whole)." + digits.map { "\($0)" }.joined()
    }

    private func formatAddresses(_ option: Option, _ blob: Blob) -> String? {
        let offset = option.offset
        switch option.kind {
        case "address":
            let mask = blob.slice(offset + 16, family.byteCount)
            let length = AddressMask.length(mask)
            let address = "\(blob.address(offset, family))"
            if let length { return length == family.byteCount * 8 ? address : "\(address)/\(length)" }
            return "\(address)/\(blob.address(offset + 16, family))"
        case "plainaddress", "netmask": return "\(blob.address(offset, family))"
        case "connmask": return "\(AddressMask.length(blob.slice(offset, family.byteCount)) ?? 0)"
        case "addresses": return "\(blob.address(offset, family))-\(blob.address(offset + 16, family))"
        case "netmap":
            let layout = NATLayout(blob, family)
            let (first, last) = (blob.slice(layout.first, family.byteCount), blob.slice(layout.last, family.byteCount))
            let mask = zip(first, last).map { ~($0 ^ $1) }
            let length = AddressMask.length(mask) ?? 0
            let address = "\(blob.address(layout.first, family))"
            return length == family.byteCount * 8 ? address : "\(address)/\(length)"
        case "natports":
            let layout = NATLayout(blob, family)
            return portRange(blob, layout)
        case "nat":
            let layout = NATLayout(blob, family)
            let flags = blob.u32(layout.flags)
            var text = ""
            if flags & 1 != 0 {
                let (first, last) = (blob.address(layout.first, family), blob.address(layout.last, family))
                text = first == last ? "\(first)" : "\(first)-\(last)"
                if family == .ipv6, flags & 2 != 0 { text = "[\(text)]" }
            }
            if flags & 2 != 0 {
                text += ":" + portRange(blob, layout)
                if flags & 0x20 != 0 { text += "/\(blob.big16(layout.ports + 4))" }
            }
            return text
        default: return nil
        }
    }

    private func portRange(_ blob: Blob, _ layout: NATLayout) -> String {
        let (first, last) = (blob.big16(layout.ports), blob.big16(layout.ports + 2))
        return first == last ? "\(first)" : "\(first)-\(last)"
    }
}

enum AddressMask {
    /// Bits of a mask that is a prefix.
    static func length(_ mask: [UInt8]) -> Int? {
        var length = 0
        for (index, byte) in mask.enumerated() {
            let ones = (~byte).leadingZeroBitCount
            length += ones
            if ones < 8 {
                let isClean =
                    byte == UInt8(truncatingIfNeeded: 0xff00 >> ones) && mask[(index + 1)...].allSatisfy { $0 == 0 }
                return isClean ? length : nil
            }
        }
        return length
    }
}
