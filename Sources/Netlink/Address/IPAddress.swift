/// An IPv4 or IPv6 address as a number in host order; text form follows RFC 5952, and only the strict dotted form of
/// IPv4 is read (no leading zeros: what Go's netip and so Kubernetes accepts).
package enum IPAddress: Hashable, Sendable, Comparable {
    case v4(UInt32)
    /// High and low half.
    case v6(UInt64, UInt64)

    package var isIPv4: Bool { if case .v4 = self { true } else { false } }
    package var family: AddressFamily { isIPv4 ? .ipv4 : .ipv6 }
    /// Length of the wire form in bytes.
    package var byteCount: Int { isIPv4 ? 4 : 16 }
    package var bitWidth: Int { isIPv4 ? 32 : 128 }
    package var isUnspecified: Bool { self == .v4(0) || self == .v6(0, 0) }
    package var isLoopback: Bool {
        switch self {
        case .v4(let value): value >> 24 == 127
        case .v6(let high, let low): high == 0 && low == 1
        }
    }
    package var isLinkLocal: Bool {
        switch self {
        case .v4(let value): value >> 16 == 0xa9fe
        case .v6(let high, _): high >> 54 == 0x3fa
        }
    }

    /// The address `offset` further on, nil past the end of the address space.
    package func advanced(by offset: UInt64) -> IPAddress? {
        switch self {
        case .v4(let value):
            let (sum, overflow) = UInt64(value).addingReportingOverflow(offset)
            return overflow || sum > UInt64(UInt32.max) ? nil : .v4(UInt32(sum))
        case .v6(let high, let low):
            let (sum, carry) = low.addingReportingOverflow(offset)
            if !carry { return .v6(high, sum) }
            return high == .max ? nil : .v6(high + 1, sum)
        }
    }

    /// The network-order bytes (4 or 16).
    package var bytes: [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(byteCount)
        appendBytes(to: &out)
        return out
    }

    package func appendBytes(to out: inout [UInt8]) {
        switch self {
        case .v4(let value): withUnsafeBytes(of: value.bigEndian) { out.append(contentsOf: $0) }
        case .v6(let high, let low):
            withUnsafeBytes(of: (high.bigEndian, low.bigEndian)) { out.append(contentsOf: $0) }
        }
    }

    /// From network-order bytes; nil unless there are 4 or 16.
    package init?(bytes: some Collection<UInt8>) {
        switch bytes.count {
        case 4: self = .v4(bytes.reduce(0) { $0 << 8 | UInt32($1) })
        case 16:
            self = .v6(
                bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) },
                bytes.dropFirst(8).reduce(0) { $0 << 8 | UInt64($1) })
        default: return nil
        }
    }

    package init?(_ text: some StringProtocol) {
        if text.utf8.contains(UInt8(ascii: ":")) {
            guard let address = IPAddress.parseIPv6(Array(text.utf8)) else { return nil }
            self = address
        } else {
            guard let value = IPAddress.parseIPv4(Array(text.utf8)[...]) else { return nil }
            self = .v4(value)
        }
    }

    private static func parseIPv4(_ text: ArraySlice<UInt8>) -> UInt32? {
        let parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var value: UInt32 = 0
        for part in parts {
            guard (1...3).contains(part.count), part.count == 1 || part.first != UInt8(ascii: "0") else { return nil }
            var octet: UInt32 = 0
            for digit in part {
                guard (0x30...0x39).contains(digit) else { return nil }
                octet = octet * 10 + UInt32(digit - 0x30)
            }
            guard octet < 256 else { return nil }
            value = value << 8 | octet
        }
        return value
    }

    private static func parseIPv6(_ text: [UInt8]) -> IPAddress? {
        var groups: [UInt16] = []
        var gap: Int?
        var rest = text[...]
        let colon = UInt8(ascii: ":")
        if rest.first == colon {
            guard rest.count >= 2, rest[rest.startIndex + 1] == colon else { return nil }
            gap = 0
            rest = rest.dropFirst(2)
        }
        while !rest.isEmpty {
            let end = rest.firstIndex(of: colon) ?? rest.endIndex
            let part = rest[rest.startIndex..<end]
            if end == rest.endIndex, part.contains(UInt8(ascii: ".")) {
                guard let tail = parseIPv4(part) else { return nil }
                groups += [UInt16(tail >> 16), UInt16(tail & 0xffff)]
                rest = []
                break
            }
            guard (1...4).contains(part.count), let group = UInt16(String(decoding: part, as: UTF8.self), radix: 16),
                part.first != UInt8(ascii: "+")
            else { return nil }
            groups.append(group)
            guard groups.count <= 8 else { return nil }
            if end == rest.endIndex { break }
            rest = rest[(end + 1)...]
            guard let next = rest.first else { return nil }
            if next == colon {
                guard gap == nil else { return nil }
                gap = groups.count
                rest = rest.dropFirst()
            }
        }
        if let gap {
            guard groups.count < 8 else { return nil }
            groups.insert(contentsOf: Array(repeating: 0, count: 8 - groups.count), at: gap)
        }
        guard groups.count == 8 else { return nil }
        let halves = stride(from: 0, to: 8, by: 4).map { start in
            groups[start..<start + 4].reduce(UInt64(0)) { $0 << 16 | UInt64($1) }
        }
        return .v6(halves[0], halves[1])
    }

    package static func < (left: IPAddress, right: IPAddress) -> Bool {
        switch (left, right) {
        case (.v4(let a), .v4(let b)): a < b
        case (.v6(let a, let b), .v6(let c, let d)): (a, b) < (c, d)
        case (.v4, .v6): true
        case (.v6, .v4): false
        }
    }
}

extension IPAddress: CustomStringConvertible {
    package var description: String {
        switch self {
        case .v4(let value):
            return "\(value >> 24).\(value >> 16 & 0xff).\(value >> 8 & 0xff).\(value & 0xff)"
        case .v6(let high, let low):
            let groups = [high, low].flatMap { half in
                stride(from: 48, through: 0, by: -16).map { UInt16(truncatingIfNeeded: half >> UInt64($0)) }
            }
            // The longest run of two or more zero groups, the first of equals.
            var best = 0..<0
            var index = 0
            while index < 8 {
                var end = index
                while end < 8, groups[end] == 0 { end += 1 }
                if end - index >= 2, end - index > best.count { best = index..<end }
                index = max(end, index + 1)
            }
            func text(_ part: ArraySlice<UInt16>) -> String {
                part.map { String($0, radix: 16) }.joined(separator: ":")
            }
            return best.isEmpty
                ? text(groups[...]) : text(groups[..<best.lowerBound]) + "::" + text(groups[best.upperBound...])
        }
    }
}

/// AF_INET or AF_INET6.
package enum AddressFamily: UInt8, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    case ipv4 = 2
    case ipv6 = 10
    package var description: String { self == .ipv4 ? "IPv4" : "IPv6" }
    package var byteCount: Int { self == .ipv4 ? 4 : 16 }
}
