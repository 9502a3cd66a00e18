import Netlink

/// A rule as iptables knows it.
struct Rule: Equatable, Sendable {
    struct Address: Equatable, Sendable {
        var bytes: [UInt8]
        var mask: [UInt8]
        var isInverted = false
        var isAny: Bool { mask.allSatisfy { $0 == 0 } && !isInverted }
        static func any(_ family: AddressFamily) -> Address {
            let zero = [UInt8](repeating: 0, count: family.byteCount)
            return Address(bytes: zero, mask: zero)
        }
    }

    struct Interface: Equatable, Sendable {
        /// With its "+", empty for any.
        var name = ""
        var isInverted = false
    }

    enum Target: Equatable, Sendable {
        case none
        case verdict(NFVerdict)
        case use(ExtensionUse)
        /// Of the kernel's, without a line in the table.
        case unknown(String)
    }

    var family: AddressFamily
    var source: Address
    var destination: Address
    var input = Interface()
    var output = Interface()
    var transport: UInt8 = 0
    var isTransportInverted = false
    /// -f: 0 not asked for, 1 later fragments, -1 inverted.
    var fragment = 0
    var matches: [ExtensionUse] = []
    /// Names of matches in the kernel that have no line in the table; such a rule is printed, never written.
    var unknown: [String] = []
    var target = Target.none
    var packets: UInt64 = 0
    var bytes: UInt64 = 0

    init(_ family: AddressFamily) {
        self.family = family
        (source, destination) = (.any(family), .any(family))
    }

    /// As `-D` and `-C` compare: without the counters.
    func isSame(as other: Rule) -> Bool {
        var (left, right) = (self, other)
        (left.packets, left.bytes, right.packets, right.bytes) = (0, 0, 0, 0)
        // What the kernel computes for itself in these.
        for index in left.matches.indices where left.matches[index].type.kernelName == "statistic" {
            left.matches[index].blob.set32(12, 0)
        }
        for index in right.matches.indices where right.matches[index].type.kernelName == "statistic" {
            right.matches[index].blob.set32(12, 0)
        }
        return left == right
    }
}

/// How a rule is printed.
extension Rule {
    /// The part behind "-A CHAIN", each with a space before it.
    func options(counters: Bool = false) -> String {
        var text = address("-s", source) + address("-d", destination)
        text += interface("-i", input) + interface("-o", output)
        if transport != 0 || isTransportInverted {
            text += (isTransportInverted ? " ! -p " : " -p ") + Names.protocolName(transport)
        }
        if fragment != 0 { text += fragment < 0 ? " ! -f" : " -f" }
        for match in matches { text += " -m \(match.type.name)" + match.type.options(match.blob, transport: transport) }
        for name in unknown { text += " -m \(name) [unsupported revision]" }
        if counters { text += " -c \(packets) \(bytes)" }
        switch target {
        case .none: break
        case .verdict(.goto(let chain)): text += " -g " + chain
        case .verdict: text += " -j " + targetName
        case .use(let use): text += " -j \(use.type.name)" + use.type.options(use.blob, transport: transport)
        case .unknown(let name): text += " -j \(name) [unsupported revision]"
        }
        return text
    }

    var targetName: String {
        switch target {
        case .none: ""
        case .verdict(let verdict):
            switch verdict {
            case .accept: "ACCEPT"
            case .drop: "DROP"
            case .return: "RETURN"
            case .jump(let chain), .goto(let chain): chain
            }
        case .use(let use): use.type.kernelName
        case .unknown(let name): name
        }
    }

    private func address(_ option: String, _ address: Address) -> String {
        guard !address.isAny else { return "" }
        let shown = Rule.text(address.bytes)
        let mask = AddressMask.length(address.mask).map { "\($0)" } ?? Rule.text(address.mask)
        return (address.isInverted ? " ! " : " ") + "\(option) \(shown)/\(mask)"
    }

    private func interface(_ option: String, _ interface: Interface) -> String {
        interface.name.isEmpty ? "" : (interface.isInverted ? " ! " : " ") + "\(option) \(interface.name)"
    }

    private static func text(_ bytes: [UInt8]) -> String { IPAddress(bytes: bytes)?.description ?? "" }

    struct ListFormat {
        var isNumeric = false
        var isVerbose = false
        var isExact = false
        var lineNumbers = false
        /// The one line that `-v` prints of a rule that is added or deleted.
        var isInline = false
    }

    /// A line of `-L`.
    func line(_ format: ListFormat, number: Int?) -> String {
        var text = ""
        if let number, format.lineNumbers { text += padded("\(number)", 4) + " " }
        if format.isVerbose, !format.isInline {
            text += Rule.count(packets, format.isExact) + Rule.count(bytes, format.isExact)
        }
        let inline = format.isInline
        func field(_ value: String, _ width: Int) -> String { (inline ? value : padded(value, width)) + " " }
        text += field(targetName, 9)
        text += isTransportInverted ? "!" : " "
        text += field(format.isNumeric && !inline ? "\(transport)" : Names.protocolName(transport), 4)
        if inline { text += "opt " }
        text += fragment == 0 ? "-- " : fragment < 0 ? "!f " : "-f "
        if format.isVerbose {
            let shown = [input, output].map { ($0.isInverted ? "!" : "") + ($0.name.isEmpty ? "*" : $0.name) }
            text += inline ? "in \(shown[0]) out \(shown[1]) " : " \(padded(shown[0], 6)) \(padded(shown[1], 6)) "
        }
        text += (source.isInverted ? "!" : " ") + field(hostText(source, format.isNumeric), 19)
        text += (destination.isInverted ? "!" : " ") + (inline ? "-> " : "")
        text += field(hostText(destination, format.isNumeric), 19) + (inline ? " " : "")
        if case .verdict(.goto) = target { text += "[goto] " }
        for match in matches {
            text += match.type.words(match.blob, numeric: format.isNumeric, transport: transport)
        }
        for name in unknown { text += " " + name }
        if case .use(let use) = target {
            text += use.type.words(use.blob, numeric: format.isNumeric, transport: transport)
        }
        return text
    }

    private func hostText(_ address: Address, _ numeric: Bool) -> String {
        if address.mask.allSatisfy({ $0 == 0 }) {
            return numeric ? (family == .ipv4 ? "0.0.0.0/0" : "::/0") : "anywhere"
        }
        guard let parsed = IPAddress(bytes: address.bytes) else { return "" }
        let length = AddressMask.length(address.mask)
        let name = numeric ? nil : Names.hostName(parsed)
        let shown = name ?? "\(parsed)"
        if length == family.byteCount * 8 { return shown }
        return shown + "/" + (length.map { "\($0)" } ?? Rule.text(address.mask))
    }

    /// In five columns, or as it is.
    static func count(_ number: UInt64, _ exact: Bool) -> String {
        if exact { return leftPadded("\(number)", 8) + " " }
        var (value, unit) = (number, "")
        if value > 99999 {
            for next in ["K", "M", "G", "T"] {
                (value, unit) = (value / 1000 + (value % 1000 >= 500 ? 1 : 0), next)
                if value <= 9999 { break }
            }
        }
        return leftPadded("\(value)", unit.isEmpty ? 5 : 4) + unit + " "
    }

    /// As `count`, without columns.
    static func shortCount(_ number: UInt64) -> String { String(count(number, false).drop { $0 == " " }.dropLast()) }

    static func header(_ format: ListFormat) -> String {
        var text = format.lineNumbers ? "num  " : ""
        if format.isVerbose { text += format.isExact ? "    pkts      bytes " : " pkts bytes " }
        text += "target     prot opt"
        if format.isVerbose { text += " in     out    " }
        return text + " source               destination         "
    }
}

func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.utf8.count))
}

func leftPadded(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.utf8.count)) + text
}
