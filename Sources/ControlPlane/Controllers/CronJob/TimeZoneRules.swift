internal import Codecs
internal import Linux

/// The offsets of a time zone: its past changes from the system's time zone files, and the rule for what is to come.
/// Source: RFC 9636 (TZif), POSIX.1 TZ strings with RFC 9636's extensions.
struct TimeZoneRules: Sendable, Equatable {
    static let utc = TimeZoneRules(transitions: [], offsets: [], first: 0, rule: nil)

    /// Seconds since the epoch, ascending; from each on the offset beside it holds.
    private let transitions: [Int64]
    private let offsets: [Int64]
    private let first: Int64
    private let rule: PosixRule?

    private init(transitions: [Int64], offsets: [Int64], first: Int64, rule: PosixRule?) {
        (self.transitions, self.offsets, self.first, self.rule) = (transitions, offsets, first, rule)
    }

    /// A zone of the system ("Europe/Berlin"); nil: there is none of that name.
    static func named(_ name: String, directory: String = "/usr/share/zoneinfo") -> TimeZoneRules? {
        if name == "UTC" || name == "Etc/UTC" { return .utc }
        let allowed = name.utf8.allSatisfy {
            $0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x7a || $0 &- 48 < 10 || "_+-/".utf8.contains($0)
        }
        guard allowed, !name.isEmpty, !name.hasPrefix("/"), name.utf8.count <= 64 else { return nil }
        return file(directory + "/" + name)
    }

    /// That of the machine.
    static func local() -> TimeZoneRules { file("/etc/localtime") ?? .utc }

    private static func file(_ path: String) -> TimeZoneRules? {
        guard let bytes = try? Files.readIfPresent(path, limit: 256 << 10) else { return nil }
        return TimeZoneRules(file: bytes)
    }

    init?(file bytes: [UInt8]) {
        var reader = Reader(bytes: bytes)
        guard var header = reader.header() else { return nil }
        var wide = false
        if header.version >= 2 {
            // The first block is for old readers: the second says the same with 64 bits.
            guard reader.skip(header.size(wide: false)), let second = reader.header() else { return nil }
            header = second
            wide = true
        }
        guard header.types > 0, header.transitions <= 20_000 else { return nil }
        var transitions: [Int64] = []
        for _ in 0..<header.transitions {
            guard let time = wide ? reader.int64() : reader.int32() else { return nil }
            transitions.append(time)
        }
        var kinds: [Int] = []
        for _ in 0..<header.transitions {
            guard let kind = reader.byte(), Int(kind) < header.types else { return nil }
            kinds.append(Int(kind))
        }
        var types: [Int64] = []
        for _ in 0..<header.types {
            guard let offset = reader.int32(), abs(offset) < 26 * 3600, reader.skip(2) else { return nil }
            types.append(offset)
        }
        guard reader.skip(header.rest(wide: wide)) else { return nil }
        rule = wide ? reader.footer().flatMap { PosixRule($0) } : nil
        self.transitions = transitions
        offsets = kinds.map { types[$0] }
        first = types[0]
    }

    /// Seconds that local time is ahead of UTC.
    func offset(at time: Int64) -> Int64 {
        if let last = transitions.last, time < last || rule == nil {
            var (low, high) = (0, transitions.count)
            while low < high {
                let middle = (low + high) / 2
                if transitions[middle] <= time { low = middle + 1 } else { high = middle }
            }
            return low == 0 ? first : offsets[low - 1]
        }
        return rule?.offset(at: time) ?? first
    }

    /// "2026-03-29T02:30:00+02:00", or with "Z" in UTC.
    func rfc3339(_ time: Timestamp) -> String {
        let offset = offset(at: time.seconds)
        let local = Timestamp(seconds: time.seconds + offset).rfc3339
        guard offset != 0 else { return local }
        func two(_ n: Int64) -> String { n < 10 ? "0\(n)" : "\(n)" }
        let minutes = abs(offset) / 60
        return local.dropLast() + (offset < 0 ? "-" : "+") + two(minutes / 60) + ":" + two(minutes % 60)
    }

    private struct Reader {
        let bytes: [UInt8]
        var at = 0

        struct Header {
            var version: Int
            var utc: Int
            var standard: Int
            var leaps: Int
            var transitions: Int
            var types: Int
            var characters: Int

            func rest(wide: Bool) -> Int { characters + leaps * (wide ? 12 : 8) + standard + utc }
            func size(wide: Bool) -> Int { transitions * (wide ? 9 : 5) + types * 6 + rest(wide: wide) }
        }

        mutating func byte() -> UInt8? {
            guard at < bytes.count else { return nil }
            defer { at += 1 }
            return bytes[at]
        }
        mutating func skip(_ count: Int) -> Bool {
            guard count >= 0, count <= bytes.count - at else { return false }
            at += count
            return true
        }
        private mutating func number(_ width: Int) -> UInt64? {
            guard bytes.count - at >= width else { return nil }
            defer { at += width }
            return bytes[at..<at + width].reduce(0) { $0 << 8 | UInt64($1) }
        }
        mutating func int32() -> Int64? { number(4).map { Int64(Int32(truncatingIfNeeded: $0)) } }
        mutating func int64() -> Int64? { number(8).map { Int64(bitPattern: $0) } }

        mutating func header() -> Header? {
            guard number(4) == 0x545A_6966, let version = byte(), skip(15) else { return nil }
            var counts: [Int] = []
            for _ in 0..<6 {
                guard let count = number(4), count < 1 << 20 else { return nil }
                counts.append(Int(count))
            }
            return Header(
                version: version >= 0x32 ? Int(version) - 0x30 : 1, utc: counts[0], standard: counts[1],
                leaps: counts[2], transitions: counts[3], types: counts[4], characters: counts[5])
        }

        /// The TZ string between two line ends.
        mutating func footer() -> String? {
            guard byte() == UInt8(ascii: "\n"), let end = bytes[at...].firstIndex(of: UInt8(ascii: "\n")) else {
                return nil
            }
            return String(decoding: bytes[at..<end], as: UTF8.self)
        }
    }
}

/// A TZ string: "CET-1CEST,M3.5.0,M10.5.0/3".
private struct PosixRule: Sendable, Equatable {
    private enum Day: Sendable, Equatable {
        case month(Int64, week: Int64, weekday: Int64)
        /// 1...365, the 29th of February is never counted.
        case julian(Int64)
        case ordinal(Int64)
    }
    private struct Change: Sendable, Equatable {
        var day: Day
        var seconds: Int64
    }
    private var standard: Int64
    private var summer: (Int64, Change, Change)?

    static func == (a: Self, b: Self) -> Bool {
        a.standard == b.standard && a.summer?.0 == b.summer?.0 && a.summer?.1 == b.summer?.1
            && a.summer?.2 == b.summer?.2
    }

    init?(_ text: String) {
        var rest = Substring(text)
        guard Self.name(&rest), let west = Self.time(&rest) else { return nil }
        standard = -west
        guard !rest.isEmpty else { return }
        guard Self.name(&rest) else { return nil }
        var offset = standard + 3600
        if let next = rest.first, next != "," {
            guard let west = Self.time(&rest) else { return nil }
            offset = -west
        }
        guard rest.first == ",", let start = Self.change(&rest), rest.first == ",", let end = Self.change(&rest),
            rest.isEmpty
        else { return nil }
        summer = (offset, start, end)
    }

    private static func name(_ rest: inout Substring) -> Bool {
        if rest.first == "<" {
            guard let end = rest.firstIndex(of: ">") else { return false }
            rest = rest[rest.index(after: end)...]
            return true
        }
        let letters = rest.prefix { $0.isLetter }
        rest = rest.dropFirst(letters.count)
        return letters.count >= 3
    }

    private static func number(_ rest: inout Substring) -> Int64? {
        let digits = rest.prefix { $0.isNumber }
        rest = rest.dropFirst(digits.count)
        return Int64(digits)
    }

    /// "[+-]hh[:mm[:ss]]" in seconds.
    private static func time(_ rest: inout Substring) -> Int64? {
        var sign: Int64 = 1
        if let first = rest.first, first == "-" || first == "+" {
            if first == "-" { sign = -1 }
            rest = rest.dropFirst()
        }
        guard let hours = number(&rest), hours <= 167 else { return nil }
        var seconds = hours * 3600
        for unit: Int64 in [60, 1] where rest.first == ":" {
            rest = rest.dropFirst()
            guard let part = number(&rest), part < 60 else { return nil }
            seconds += part * unit
        }
        return sign * seconds
    }

    private static func change(_ rest: inout Substring) -> Change? {
        rest = rest.dropFirst()
        let day: Day
        switch rest.first {
        case "M":
            rest = rest.dropFirst()
            guard let month = number(&rest), (1...12).contains(month), rest.popFirst() == ".",
                let week = number(&rest), (1...5).contains(week), rest.popFirst() == ".",
                let weekday = number(&rest), weekday < 7
            else { return nil }
            day = .month(month, week: week, weekday: weekday)
        case "J":
            rest = rest.dropFirst()
            guard let number = number(&rest), (1...365).contains(number) else { return nil }
            day = .julian(number)
        default:
            guard let number = number(&rest), number <= 365 else { return nil }
            day = .ordinal(number)
        }
        var seconds: Int64 = 7200
        if rest.first == "/" {
            rest = rest.dropFirst()
            guard let time = time(&rest) else { return nil }
            seconds = time
        }
        return Change(day: day, seconds: seconds)
    }

    func offset(at time: Int64) -> Int64 {
        guard let (offset, start, end) = summer else { return standard }
        let local = time + standard
        let days = local >= 0 ? local / 86400 : (local - 86399) / 86400
        let year = Timestamp.civil(fromDays: days).year
        let from = Self.moment(start, year) - standard
        let to = Self.moment(end, year) - offset
        // In the south summer spans the turn of the year.
        let isSummer = from < to ? from <= time && time < to : !(to <= time && time < from)
        return isSummer ? offset : standard
    }

    /// Of local time, as if it were UTC.
    private static func moment(_ change: Change, _ year: Int64) -> Int64 {
        let first = Timestamp.days(fromCivil: year, 1, 1)
        let day: Int64
        switch change.day {
        case .julian(let n):
            let isLeap = Timestamp.days(in: 2, of: year) == 29
            day = first + n - 1 + (isLeap && n >= 60 ? 1 : 0)
        case .ordinal(let n): day = first + n
        case .month(let month, let week, let weekday):
            let start = Timestamp.days(fromCivil: year, month, 1)
            var offset = (weekday - (start + 4) % 7 + 7) % 7 + (week - 1) * 7
            while offset >= Timestamp.days(in: month, of: year) { offset -= 7 }
            day = start + offset
        }
        return day * 86400 + change.seconds
    }
}
