/// An address with a prefix length: a network ("10.42.0.0/24") or an interface address ("10.42.0.1/24"); host bits are kept.
package struct IPPrefix: Hashable, Sendable, CustomStringConvertible {
    package var address: IPAddress
    package var length: UInt8

    package init?(_ address: IPAddress, length: Int) {
        guard (0...address.bitWidth).contains(length) else { return nil }
        (self.address, self.length) = (address, UInt8(length))
    }

    /// One address: /32 or /128.
    package init(host address: IPAddress) { (self.address, length) = (address, UInt8(address.bitWidth)) }

    package init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let address = IPAddress(parts[0]),
            parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let length = Int(parts[1])
        else { return nil }
        self.init(address, length: length)
    }

    package var family: AddressFamily { address.family }

    /// The network's first address, host bits cleared.
    package var network: IPAddress {
        switch address {
        case .v4(let value): .v4(length == 0 ? 0 : value & (.max << (32 - UInt32(length))))
        case .v6(let high, let low):
            .v6(
                length == 0 ? 0 : length >= 64 ? high : high & (.max << (64 - UInt64(length))),
                length <= 64 ? 0 : length >= 128 ? low : low & (.max << (128 - UInt64(length))))
        }
    }
    package var masked: IPPrefix { var copy = self; copy.address = network; return copy }

    /// Network-order bytes of the netmask.
    package var maskBytes: [UInt8] {
        (0..<address.byteCount).map { index in
            let bits = min(8, max(0, Int(length) - index * 8))
            return bits == 0 ? 0 : UInt8(truncatingIfNeeded: 0xff << (8 - bits))
        }
    }

    /// How many addresses it holds, `UInt64.max` if that does not fit.
    package var addressCount: UInt64 {
        let bits = address.bitWidth - Int(length)
        return bits >= 64 ? .max : 1 << UInt64(bits)
    }

    package var lastAddress: IPAddress {
        switch masked.address {
        case .v4(let value): .v4(length == 32 ? value : value | (UInt32.max >> UInt32(length)))
        case .v6(let high, let low):
            .v6(
                length >= 64 ? high : high | (UInt64.max >> UInt64(length)),
                length <= 64 ? .max : length >= 128 ? low : low | (UInt64.max >> UInt64(length - 64)))
        }
    }

    package func contains(_ other: IPAddress) -> Bool {
        other.family == family && IPPrefix(other, length: Int(length))?.network == network
    }

    package var description: String { "\(address)/\(length)" }
}

/// A 48-bit Ethernet address.
package struct MACAddress: Hashable, Sendable, CustomStringConvertible {
    /// The address in the low 48 bits.
    package var value: UInt64

    package init(value: UInt64) { self.value = value & 0xffff_ffff_ffff }

    package init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 6 else { return nil }
        value = bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }

    package init?(_ text: some StringProtocol) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        let bytes = parts.compactMap { $0.utf8.count == 2 && $0.first != "+" ? UInt8($0, radix: 16) : nil }
        guard parts.count == 6, bytes.count == 6 else { return nil }
        self.init(bytes: bytes)
    }

    package var bytes: [UInt8] {
        stride(from: 40, through: 0, by: -8).map { UInt8(truncatingIfNeeded: value >> UInt64($0)) }
    }

    package var description: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
    }
}
