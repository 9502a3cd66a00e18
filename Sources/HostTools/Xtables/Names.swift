import Linux
import Netlink

/// Names of protocols, services, users and hosts: from files only, nothing is asked over the network.
struct Names {
    private static let protocols: [(UInt8, String)] = [
        (6, "tcp"), (132, "sctp"), (17, "udp"), (136, "udplite"), (1, "icmp"), (58, "ipv6-icmp"), (58, "icmpv6"),
        (50, "esp"), (51, "ah"), (135, "ipv6-mh"), (135, "mh"), (0, "all"), (2, "igmp"), (33, "dccp"), (41, "ipv6"),
        (47, "gre"), (4, "ipencap"), (89, "ospf"), (94, "ipip"), (103, "pim"), (112, "vrrp"), (108, "ipcomp"),
    ]

    static func protocolNumber(_ name: String) -> UInt8? {
        if let number = Number.parse(name, max: 255) { return UInt8(number) }
        let lower = name.lowercased()
        return protocols.first { $0.1 == lower }?.0
            ?? lines("/etc/protocols").first { $0.count > 1 && $0.contains { $0 == lower } }.flatMap { UInt8($0[1]) }
    }

    static func protocolName(_ number: UInt8) -> String {
        protocols.first { $0.0 == number }?.1
            ?? lines("/etc/protocols").first { $0.count > 1 && UInt8($0[1]) == number }.map { String($0[0]) }
            ?? "\(number)"
    }

    static func port(_ name: some StringProtocol, _ transport: String?) -> UInt16? {
        if let number = Number.parse(name, max: 65535) { return UInt16(number) }
        for line in lines("/etc/services") where line.count > 1 && line.contains(where: { $0 == name }) {
            let parts = line[1].split(separator: "/")
            if parts.count == 2, transport == nil || parts[1] == transport ?? "" { return UInt16(parts[0]) }
        }
        return nil
    }

    static func portName(_ port: UInt16, _ transport: String) -> String {
        let wanted = "\(port)/\(transport)"
        return lines("/etc/services").first { $0.count > 1 && $0[1] == wanted }.map { String($0[0]) } ?? "\(port)"
    }

    /// Of /etc/passwd or /etc/group.
    static func identifier(_ name: String, file: String) -> UInt32? {
        fields(file, 0, name).flatMap { UInt32($0[2]) }
    }
    static func identifierName(_ number: UInt32, file: String) -> String? {
        fields(file, 2, "\(number)").map { String($0[0]) }
    }

    static func hosts(_ name: String, _ family: AddressFamily) -> [IPAddress] {
        let found = lines("/etc/hosts").filter { $0.dropFirst().contains { $0 == name } }
            .compactMap { IPAddress($0[0]) }.filter { $0.family == family }
        return Array(found.prefix(1))
    }
    static func hostName(_ address: IPAddress) -> String? {
        lines("/etc/hosts").first { $0.count > 1 && IPAddress($0[0]) == address }.map { String($0[1]) }
    }

    private static func fields(_ file: String, _ index: Int, _ value: String) -> [Substring]? {
        guard let text = try? Files.readString(file) else { return nil }
        return text.split(separator: "\n").lazy
            .map { $0.split(separator: ":", omittingEmptySubsequences: false) }
            .first { $0.count > 2 && $0[index] == value }
    }

    private static func lines(_ file: String) -> [[Substring]] {
        guard let text = try? Files.readString(file) else { return [] }
        return text.split(separator: "\n").compactMap { line in
            let words = line.prefix { $0 != "#" }.split { $0 == " " || $0 == "\t" }
            return words.isEmpty ? nil : words
        }
    }
}

enum Number {
    /// Decimal, 0x hexadecimal or 0 octal, as strtoul reads them.
    static func parse(_ text: some StringProtocol, max: UInt64 = .max) -> UInt64? {
        let bytes = Array(text.utf8)
        guard let first = bytes.first, (0x30...0x39).contains(first) else { return nil }
        let value: UInt64?
        if bytes.count > 2, first == 0x30, bytes[1] | 0x20 == UInt8(ascii: "x") {
            value = UInt64(String(decoding: bytes[2...], as: UTF8.self), radix: 16)
        } else if bytes.count > 1, first == 0x30 {
            value = UInt64(String(decoding: bytes, as: UTF8.self), radix: 8)
        } else {
            value = UInt64(String(decoding: bytes, as: UTF8.self))
        }
        guard let value, value <= max else { return nil }
        return value
    }

    static func hex(_ value: some BinaryInteger, digits: Int = 1) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: Swift.max(0, digits - text.count)) + text
    }
}
