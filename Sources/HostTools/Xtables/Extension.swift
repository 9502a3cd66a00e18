import Linux
import Netlink

/// One match or target, as a line of `ExtensionTable` says.
final class Extension: Sendable {
    struct Bits: Sendable {
        var width: Int
        var offset: Int
        var value: UInt64
        var mask: UInt64

        func isSet(in blob: Blob) -> Bool { blob.number(offset, width) & mask == value }
        func set(in blob: inout Blob) { blob.set(offset, width, blob.number(offset, width) & ~mask | value) }
    }

    struct Option: Sendable {
        var names: [String]
        var kind: String
        /// What follows a colon of the kind: a size, or the name of a list of names.
        var detail: String
        /// Bytes of a number that is looked up by names.
        var width: Int
        var offset: Int
        var second: Int?
        var flag: Bits?
        var inversion: Bits?
        var hiddenValue: String?
        var list: String?
        var isAlways = false
        var isHidden = false
        var isMust = false
        var takesValue: Bool { kind != "flag" && kind != "syn" && kind != "clamp" }
        /// "--tcp-flags MASK VALUE", "--match-set NAME DIRECTIONS"
        var valueCount: Int { takesValue ? (kind == "tcpflags" || kind == "ipset" ? 2 : 1) : 0 }
    }

    let name: String
    let isTarget: Bool
    /// The kernel's name, where `name` is another word for it.
    let kernelName: String
    let family: AddressFamily
    let revision: UInt8
    let initial: Blob
    let options: [Option]
    let protocolNumber: UInt8?
    let needsOption: Bool
    let prefix: String?

    private init?(_ header: Substring, _ lines: [Substring], _ family: AddressFamily) {
        let words = header.split(separator: " ")
        guard words.count >= 4 else { return nil }
        let names = words[1].split(separator: "=")
        let isSix = family == .ipv6
        func pick(_ word: Substring) -> Int {
            let parts = word.split(separator: ",")
            return Int(isSix ? parts[parts.count - 1] : parts[0]) ?? 0
        }
        (isTarget, self.family) = (words[0] == "target", family)
        (name, kernelName) = (String(names[0]), String(names[names.count - 1]))
        revision = UInt8(clamping: pick(words[2]))
        var blob = Blob(bytes: [UInt8](repeating: 0, count: pick(words[3])))
        var protocolNumber: UInt8?
        var (needsOption, prefix) = (false, String?.none)
        for word in words.dropFirst(4) {
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            switch parts[0] {
            case "4" where isSix, "6" where !isSix: return nil
            case "need": needsOption = true
            case "proto": protocolNumber = UInt8(parts[1])
            case "list": prefix = parts[1].replacing("_")
            case "init":
                for item in parts[1].split(separator: ",") {
                    let place = item.split(separator: "@")
                    let where_ = place[1].split(separator: "/")
                    if where_.count > 1, where_[1] != (isSix ? "6" : "4") { continue }
                    blob.put(Int(where_[0]) ?? 0, Extension.hex(place[0]))
                }
            default: break
            }
        }
        initial = blob
        (self.protocolNumber, self.needsOption, self.prefix) = (protocolNumber, needsOption, prefix)
        let isShort = initial.bytes.count == 24
        options = lines.map { Extension.option($0, natFlags: isShort ? 4 : 0) }
    }

    private static func hex(_ text: Substring) -> [UInt8] {
        let digits = Array(text.utf8)
        return stride(from: 0, to: digits.count - 1, by: 2).map {
            UInt8(String(decoding: digits[$0...$0 + 1], as: UTF8.self), radix: 16) ?? 0
        }
    }

    private static func bits(_ text: Substring, natFlags: Int) -> Bits? {
        let parts = text.split(separator: ":")
        guard parts.count == 3, let width = Int(parts[0]) else { return nil }
        let values = parts[2].split(separator: "/").map { UInt64($0) ?? 0 }
        let mask = values.count > 1 ? values[1] : values[0]
        return Bits(
            width: width, offset: parts[1] == "nat" ? natFlags : Int(parts[1]) ?? 0, value: values[0], mask: mask)
    }

    private static func option(_ line: Substring, natFlags: Int) -> Option {
        let words = line.split(separator: " ")
        let place = words[1].split(separator: "@")
        let kind = place[0].split(separator: ":")
        let offsets = (place.count > 1 ? place[1] : "0").split(separator: ",").map { Int($0) ?? 0 }
        var option = Option(
            names: words[0].split(separator: "|").map(String.init), kind: String(kind[0]),
            detail: kind.count > 1 ? String(kind[1]) : "", width: kind.count > 2 ? Int(kind[2]) ?? 2 : 2,
            offset: offsets[0],
            second: offsets.count > 1 ? offsets[1] : nil)
        for word in words.dropFirst(2) {
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            switch parts[0] {
            case "always": option.isAlways = true
            case "hidden": option.isHidden = true
            case "must": option.isMust = true
            case "flag": option.flag = bits(parts[1], natFlags: natFlags)
            case "inv": option.inversion = bits(parts[1], natFlags: natFlags)
            case "def": option.hiddenValue = String(parts[1])
            case "list": option.list = parts[1].replacing("_")
            default: break
            }
        }
        return option
    }

    private static func load(_ family: AddressFamily) -> [Extension] {
        var found: [Extension] = []
        var header: Substring?
        var lines: [Substring] = []
        func finish() {
            if let header, let one = Extension(header, lines, family) { found.append(one) }
        }
        for line in ExtensionTable.text.description.split(separator: "\n") {
            if line.utf8.first == UInt8(ascii: " ") {
                lines.append(line)
            } else {
                finish()
                (header, lines) = (line, [])
            }
        }
        finish()
        return found
    }

    private static let ofIPv4 = load(.ipv4)
    private static let ofIPv6 = load(.ipv6)

    static func all(_ family: AddressFamily) -> [Extension] { family == .ipv4 ? ofIPv4 : ofIPv6 }

    static func named(_ name: String, target: Bool, _ family: AddressFamily) -> Extension? {
        let name = !target && (name == "icmpv6" || name == "ipv6-icmp") && family == .ipv6 ? "icmp6" : name
        return all(family).first { $0.isTarget == target && $0.name == name }
    }

    /// What the kernel calls by that name, in the form that the bytes have.
    static func ofKernel(
        _ name: String, _ revision: UInt8, target: Bool, _ family: AddressFamily, _ blob: Blob
    ) -> Extension? {
        let found = all(family).filter { $0.isTarget == target && $0.kernelName == name && $0.revision == revision }
        if name == "conntrack" { return blob.u16(146) & 0x2000 != 0 ? found.last : found.first }
        if name == "CT" { return blob.u16(0) & 2 != 0 ? found.last : found.first }
        return found.first
    }

    struct NamedValue: Sendable {
        var name: Substring
        var value: UInt64
    }

    private static let lists: [Substring: [NamedValue]] = {
        var lists: [Substring: [NamedValue]] = [:]
        for line in ExtensionTable.names.description.split(separator: "\n") {
            let words = line.split(separator: " ")
            lists[words[0]] = words.dropFirst().map { word in
                let parts = word.split(separator: "=")
                return NamedValue(name: parts[0], value: UInt64(parts[1]) ?? 0)
            }
        }
        return lists
    }()

    /// Words for values, in order.
    static func names(_ list: String) -> [NamedValue] { lists[list[...]] ?? [] }
}

extension Substring {
    /// The table's way to write a space.
    fileprivate func replacing(_ mark: Character) -> String { String(map { $0 == mark ? " " : $0 == ";" ? "_" : $0 }) }
}

/// A match or target of a rule: which, and its structure.
struct ExtensionUse: Equatable, Sendable {
    var type: Extension
    var blob: Blob
    /// What the table does not know keeps its name and is printed as such.
    static func == (left: ExtensionUse, right: ExtensionUse) -> Bool {
        left.type === right.type && left.blob == right.blob
    }

    init(_ type: Extension, _ blob: Blob? = nil) { (self.type, self.blob) = (type, blob ?? type.initial) }
}
