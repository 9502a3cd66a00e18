/// A moment, in nanoseconds since 1970-01-01T00:00:00Z, and its RFC 3339 forms: seconds (`metav1.Time`), microseconds
/// (`metav1.MicroTime`), nanoseconds (container logs). Always UTC on output; offsets are understood on input.
package struct Timestamp: Sendable, Hashable, Comparable, CustomStringConvertible {
    package var nanoseconds: Int64

    package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }
    package init(seconds: Int64) { self.nanoseconds = seconds &* 1_000_000_000 }

    package static func < (a: Self, b: Self) -> Bool { a.nanoseconds < b.nanoseconds }

    /// Whole seconds, rounded down.
    package var seconds: Int64 {
        nanoseconds >= 0 ? nanoseconds / 1_000_000_000 : -((-nanoseconds + 999_999_999) / 1_000_000_000)
    }

    package func advanced(by duration: Duration) -> Timestamp {
        let (s, atto) = duration.components
        return Timestamp(nanoseconds: nanoseconds &+ s &* 1_000_000_000 &+ atto / 1_000_000_000)
    }
    package func duration(since earlier: Timestamp) -> Duration { .nanoseconds(nanoseconds - earlier.nanoseconds) }

    /// "2026-01-02T03:04:05Z"
    package var rfc3339: String { format(fraction: 0) }
    /// "2026-01-02T03:04:05.000006Z"
    package var rfc3339Micro: String { format(fraction: 6) }
    /// "2026-01-02T03:04:05.000000007Z"
    package var rfc3339Nano: String { format(fraction: 9) }
    package var description: String { rfc3339 }

    private func format(fraction: Int) -> String {
        let seconds = self.seconds
        var days = seconds / 86400
        var rest = seconds % 86400
        if rest < 0 {
            rest += 86400
            days -= 1
        }
        let (year, month, day) = Self.civil(fromDays: days)
        var out: [UInt8] = []
        out.reserveCapacity(32)
        out.append(padded: year, 4)
        out.append(UInt8(ascii: "-"))
        out.append(padded: month, 2)
        out.append(UInt8(ascii: "-"))
        out.append(padded: day, 2)
        out.append(UInt8(ascii: "T"))
        out.append(padded: rest / 3600, 2)
        out.append(UInt8(ascii: ":"))
        out.append(padded: rest / 60 % 60, 2)
        out.append(UInt8(ascii: ":"))
        out.append(padded: rest % 60, 2)
        if fraction > 0 {
            let nanos = nanoseconds - seconds * 1_000_000_000
            out.append(UInt8(ascii: "."))
            out.append(padded: fraction == 6 ? nanos / 1000 : nanos, fraction)
        }
        out.append(UInt8(ascii: "Z"))
        return String(decoding: out, as: UTF8.self)
    }

    /// RFC 3339 with any fraction and offset; nil if it is none.
    package init?(_ text: String) {
        let b = Array(text.utf8)
        guard b.count >= 20, b[4] == UInt8(ascii: "-"), b[7] == UInt8(ascii: "-"), b[10] | 0x20 == UInt8(ascii: "t"),
            b[13] == UInt8(ascii: ":"), b[16] == UInt8(ascii: ":"),
            let year = Self.digits(b, 0, 4), let month = Self.digits(b, 5, 2), let day = Self.digits(b, 8, 2),
            let hour = Self.digits(b, 11, 2), let minute = Self.digits(b, 14, 2), let second = Self.digits(b, 17, 2),
            (1...12).contains(month), (1...Self.days(in: month, of: year)).contains(day), hour < 24, minute < 60,
            second <= 60
        else { return nil }
        var at = 19
        var nanos: Int64 = 0
        if b[at] == UInt8(ascii: ".") {
            at += 1
            var scale: Int64 = 100_000_000
            let start = at
            while at < b.count, b[at] &- 48 < 10 {
                nanos += Int64(b[at] - 48) * scale
                scale /= 10
                at += 1
            }
            guard at > start else { return nil }
        }
        var offset: Int64 = 0
        guard at < b.count else { return nil }
        if b[at] | 0x20 == UInt8(ascii: "z") {
            at += 1
        } else {
            guard b[at] == UInt8(ascii: "+") || b[at] == UInt8(ascii: "-"), at + 6 <= b.count,
                b[at + 3] == UInt8(ascii: ":"), let h = Self.digits(b, at + 1, 2), let m = Self.digits(b, at + 4, 2),
                h < 24, m < 60
            else { return nil }
            offset = (h * 3600 + m * 60) * (b[at] == UInt8(ascii: "-") ? -1 : 1)
            at += 6
        }
        guard at == b.count else { return nil }
        let total = Self.days(fromCivil: year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset
        let (product, overflow) = total.multipliedReportingOverflow(by: 1_000_000_000)
        guard !overflow else { return nil }
        nanoseconds = product &+ nanos
    }

    private static func digits(_ b: [UInt8], _ start: Int, _ count: Int) -> Int64? {
        guard start + count <= b.count else { return nil }
        var value: Int64 = 0
        for i in start..<start + count {
            guard b[i] &- 48 < 10 else { return nil }
            value = value * 10 + Int64(b[i] - 48)
        }
        return value
    }

    package static func days(in month: Int64, of year: Int64) -> Int64 {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// Days since the epoch of a date in the proleptic Gregorian calendar, and back (H. Hinnant's algorithms).
    package static func days(fromCivil year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let y = month <= 2 ? year - 1 : year
        let era = (y >= 0 ? y : y - 399) / 400
        let yearOfEra = y - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    package static func civil(fromDays days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let z = days + 719_468
        let era = (z >= 0 ? z : z - 146_096) / 146_097
        let dayOfEra = z - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shifted + 2) / 5 + 1)
    }
}

extension [UInt8] {
    fileprivate mutating func append(padded value: Int64, _ width: Int) {
        let text = Array(String(value).utf8)
        if text.count < width { append(contentsOf: repeatElement(UInt8(ascii: "0"), count: width - text.count)) }
        append(contentsOf: text)
    }
}
