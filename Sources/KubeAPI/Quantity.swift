/// An exact amount of a resource: "100m", "1.5Gi", "2e3". Source: k8s.io/apimachinery/pkg/api/resource.
///
/// Kept as a whole number of nano units in 128 bits (the smallest step the API knows; upstream rounds up below it).
package struct Quantity: Sendable, Hashable, Comparable, CustomStringConvertible {
    package enum Format: Sendable { case decimalSI, binarySI, decimalExponent }

    package var nanos: Int128
    package var format: Format

    package init(nanos: Int128, format: Format = .decimalSI) { (self.nanos, self.format) = (nanos, format) }
    package init(_ value: Int64, format: Format = .decimalSI) {
        self.init(nanos: Int128(value) * 1_000_000_000, format: format)
    }
    package init(milli: Int64) { self.init(nanos: Int128(milli) * 1_000_000, format: .decimalSI) }

    package static let zero = Quantity(0)
    package static func == (a: Self, b: Self) -> Bool { a.nanos == b.nanos }
    package static func < (a: Self, b: Self) -> Bool { a.nanos < b.nanos }
    package func hash(into hasher: inout Hasher) { hasher.combine(nanos) }
    /// Sums and differences stop at the ends of 128 bits.
    package static func + (a: Self, b: Self) -> Self {
        let (sum, overflow) = a.nanos.addingReportingOverflow(b.nanos)
        return Self(nanos: overflow ? limit(a.nanos) : sum, format: a.nanos == 0 ? b.format : a.format)
    }
    package static func - (a: Self, b: Self) -> Self {
        let (difference, overflow) = a.nanos.subtractingReportingOverflow(b.nanos)
        return Self(nanos: overflow ? limit(a.nanos) : difference, format: a.nanos == 0 ? b.format : a.format)
    }
    private static func limit(_ nanos: Int128) -> Int128 { nanos < 0 ? .min : .max }

    /// Rounded up to a whole number, saturating: bytes.
    package var value: Int64 { Self.roundedUp(nanos, 1_000_000_000) }
    /// Rounded up to thousandths: CPU.
    package var milliValue: Int64 { Self.roundedUp(nanos, 1_000_000) }

    private static func roundedUp(_ nanos: Int128, _ unit: Int128) -> Int64 {
        let quotient = nanos / unit
        let up = nanos % unit > 0 ? quotient + 1 : quotient
        return Int64(clamping: up)
    }

    private static let binary: [(String, Int)] = [
        ("Ei", 60), ("Pi", 50), ("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10),
    ]
    private static let decimal: [(String, Int)] = [
        ("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3), ("", 0), ("m", -3), ("u", -6), ("n", -9),
    ]

    /// nil: "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        var at = 0
        var negative = false
        if at < bytes.count, bytes[at] == UInt8(ascii: "+") || bytes[at] == UInt8(ascii: "-") {
            negative = bytes[at] == UInt8(ascii: "-")
            at += 1
        }
        var mantissa: Int128 = 0
        var digits = 0
        var fraction = 0
        var point = false
        var lost = false
        while at < bytes.count {
            let byte = bytes[at]
            if byte == UInt8(ascii: "."), !point {
                point = true
            } else if byte &- 48 < 10 {
                digits += 1
                if mantissa < 100_000_000_000_000_000_000_000_000_000_000_000 {
                    mantissa = mantissa * 10 + Int128(byte - 48)
                    if point { fraction += 1 }
                } else if point {
                    lost = lost || byte != 48
                } else {
                    return nil  // beyond any amount that means something
                }
            } else {
                break
            }
            at += 1
        }
        guard digits > 0 else { return nil }
        let suffix = String(decoding: bytes[at...], as: UTF8.self)
        var scaled: Int128
        if let (_, shift) = Self.binary.first(where: { $0.0 == suffix }) {
            format = .binarySI
            let (product, overflow) = mantissa.multipliedReportingOverflow(by: Int128(1) << Int128(shift))
            guard !overflow, let value = Self.scale(product, by: 9 - fraction, &lost) else { return nil }
            scaled = value
        } else if let (_, exponent) = Self.decimal.first(where: { $0.0 == suffix }) {
            format = .decimalSI
            guard let value = Self.scale(mantissa, by: 9 + exponent - fraction, &lost) else { return nil }
            scaled = value
        } else {
            guard let first = suffix.utf8.first, first | 0x20 == UInt8(ascii: "e"),
                let exponent = Int(suffix.dropFirst()), abs(exponent) < 40
            else { return nil }
            format = .decimalExponent
            guard let value = Self.scale(mantissa, by: 9 + exponent - fraction, &lost) else { return nil }
            scaled = value
        }
        if lost, !negative { scaled += 1 }
        // What is more than fits is as much as fits, as upstream.
        scaled = min(scaled, Int128(Int64.max) * 1_000_000_000)
        nanos = negative ? -scaled : scaled
    }

    private static func scale(_ value: Int128, by exponent: Int, _ lost: inout Bool) -> Int128? {
        var value = value
        for _ in 0..<abs(exponent) {
            if exponent > 0 {
                let (product, overflow) = value.multipliedReportingOverflow(by: 10)
                if overflow { return nil }
                value = product
            } else {
                lost = lost || value % 10 != 0
                value /= 10
            }
        }
        return value
    }

    /// Canonical text: the largest suffix with which no fraction is needed.
    package var description: String {
        if nanos == 0 { return "0" }
        let whole = nanos % 1_000_000_000 == 0
        if format == .binarySI, whole, (nanos / 1_000_000_000).magnitude >= 1024 {
            let value = nanos / 1_000_000_000
            for (suffix, shift) in Self.binary where value % (Int128(1) << Int128(shift)) == 0 {
                return "\(value / (Int128(1) << Int128(shift)))\(suffix)"
            }
            return "\(value)"
        }
        if format == .decimalExponent, whole {
            var value = nanos / 1_000_000_000
            var exponent = 0
            while value % 1000 == 0 {
                value /= 1000
                exponent += 3
            }
            return exponent == 0 ? "\(value)" : "\(value)e\(exponent)"
        }
        if format == .binarySI, whole { return "\(nanos / 1_000_000_000)" }
        var unit: Int128 = 1_000_000_000_000_000_000_000_000_000
        for (suffix, _) in Self.decimal {
            if nanos % unit == 0 { return "\(nanos / unit)\(suffix)" }
            unit /= 1000
        }
        return "\(nanos)n"
    }
}
