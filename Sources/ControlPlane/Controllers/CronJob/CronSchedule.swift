internal import Codecs

/// When a CronJob runs: five fields as in crontab(5), "@hourly" and its kin, or "@every 1h30m".
///
/// The semantics are those of robfig/cron's standard parser, which Kubernetes uses: where day of month and day of week
/// are both given, either suffices; a local time that a clock change skips does not come, one that it repeats comes twice.
struct CronSchedule: Sendable, Equatable {
    private enum Form: Sendable, Equatable {
        /// Bit n: n matches.
        case fields(minutes: UInt64, hours: UInt64, days: UInt64, months: UInt64, weekdays: UInt64, either: Bool)
        case every(seconds: Int64)
    }
    private let form: Form

    struct Problem: Error, Equatable, CustomStringConvertible {
        var description: String
    }

    private static let monthNames = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ]
    private static let dayNames = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]

    /// What is wrong with a schedule, in the words of upstream's parser; nil: nothing.
    static func problem(_ text: String) -> String? {
        do throws(Problem) {
            _ = try CronSchedule(text)
            return nil
        } catch {
            return error.description
        }
    }

    init(_ text: String) throws(Problem) {
        if text.isEmpty { throw Problem(description: "empty spec string") }
        if text.hasPrefix("@") {
            form = try Self.descriptor(text)
            return
        }
        let parts = text.split(whereSeparator: { $0 == " " || $0 == "\t" }).map(String.init)
        guard parts.count == 5 else {
            throw Problem(
                description: "expected exactly 5 fields, found \(parts.count): [\(parts.joined(separator: " "))]")
        }
        let minutes = try Self.field(parts[0], 0...59)
        let hours = try Self.field(parts[1], 0...23)
        let days = try Self.field(parts[2], 1...31)
        let months = try Self.field(parts[3], 1...12, names: Self.monthNames)
        let weekdays = try Self.field(parts[4], 0...6, names: Self.dayNames)
        form = .fields(
            minutes: minutes.bits, hours: hours.bits, days: days.bits, months: months.bits, weekdays: weekdays.bits,
            either: !days.isStar && !weekdays.isStar)
    }

    private static func descriptor(_ text: String) throws(Problem) -> Form {
        let all: (UInt64, UInt64, UInt64) = (1 << 24 - 1, (1 << 32 - 1) & ~1, (1 << 13 - 1) & ~1)
        func form(hours: UInt64 = 1, days: UInt64? = nil, months: UInt64? = nil, weekdays: UInt64 = 127) -> Form {
            .fields(
                minutes: 1, hours: hours, days: days ?? all.1, months: months ?? all.2, weekdays: weekdays,
                either: false)
        }
        switch text {
        case "@yearly", "@annually": return form(days: 2, months: 2)
        case "@monthly": return form(days: 2)
        case "@weekly": return form(weekdays: 1)
        case "@daily", "@midnight": return form()
        case "@hourly": return form(hours: all.0)
        default: break
        }
        guard text.hasPrefix("@every ") else { throw Problem(description: "unrecognized descriptor: \(text)") }
        guard let seconds = duration(String(text.dropFirst(7))) else {
            throw Problem(
                description:
                    "failed to parse duration \(text): time: invalid duration \(JSON.string(String(text.dropFirst(7))).text)"
            )
        }
        return .every(seconds: max(1, seconds))
    }

    /// A Go duration ("1h30m", "90s", "1.5h"), in whole seconds.
    private static func duration(_ text: String) -> Int64? {
        var rest = Substring(text)
        guard !rest.isEmpty else { return nil }
        var total = 0.0
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isNumber || $0 == "." }
            guard let number = Double(digits) else { return nil }
            rest = rest.dropFirst(digits.count)
            let unit = rest.prefix { !$0.isNumber && $0 != "." }
            rest = rest.dropFirst(unit.count)
            switch unit {
            case "h": total += number * 3600
            case "m": total += number * 60
            case "s": total += number
            case "ms": total += number / 1000
            case "us", "µs": total += number / 1e6
            case "ns": total += number / 1e9
            default: return nil
            }
        }
        return total < 1e10 ? Int64(total) : nil
    }

    private static func field(
        _ text: String, _ bounds: ClosedRange<Int64>, names: [String] = []
    ) throws(Problem) -> (bits: UInt64, isStar: Bool) {
        var bits: UInt64 = 0
        var isStar = false
        for part in text.split(separator: ",") {
            let pieces = part.split(separator: "/", omittingEmptySubsequences: false)
            guard pieces.count <= 2 else { throw Problem(description: "too many slashes: \(part)") }
            let ends = pieces[0].split(separator: "-", omittingEmptySubsequences: false)
            var (low, high) = (bounds.lowerBound, bounds.upperBound)
            let isAll = ends[0] == "*" || ends[0] == "?"
            guard isAll || ends.count <= 2 else { throw Problem(description: "too many hyphens: \(part)") }
            if !isAll {
                low = try number(ends[0], names, bounds.lowerBound)
                high = ends.count == 2 ? try number(ends[1], names, bounds.lowerBound) : low
            }
            var step: Int64 = 1
            if pieces.count == 2 {
                let given = try number(pieces[1], [], 0)
                guard given > 0 else {
                    throw Problem(description: "step of range should be a positive number: \(part)")
                }
                step = given
                if ends.count == 1, !isAll { high = bounds.upperBound }
            }
            if low < bounds.lowerBound {
                throw Problem(description: "beginning of range (\(low)) below minimum (\(bounds.lowerBound)): \(part)")
            }
            if high > bounds.upperBound {
                throw Problem(description: "end of range (\(high)) above maximum (\(bounds.upperBound)): \(part)")
            }
            if low > high {
                throw Problem(description: "beginning of range (\(low)) beyond end of range (\(high)): \(part)")
            }
            if isAll, step == 1 { isStar = true }
            var value = low
            while value <= high {
                bits |= 1 << UInt64(value)
                let (next, overflow) = value.addingReportingOverflow(step)
                if overflow { break }
                value = next
            }
        }
        return (bits, isStar)
    }

    private static func number(_ text: Substring, _ names: [String], _ first: Int64) throws(Problem) -> Int64 {
        if let i = names.firstIndex(of: text.lowercased()) { return Int64(i) + first }
        guard let number = Int64(text) else {
            throw Problem(
                description:
                    "failed to parse int from \(text): strconv.Atoi: parsing \(JSON.string(String(text)).text): invalid syntax"
            )
        }
        guard number >= 0 else { throw Problem(description: "negative number (\(number)) not allowed: \(text)") }
        return number
    }

    // MARK: - Times

    /// The first time after another; nil: none within five years (the 31st of February).
    func next(after time: Timestamp, in zone: TimeZoneRules) -> Timestamp? {
        switch form {
        case .every(let seconds): return Timestamp(seconds: time.seconds + seconds)
        case .fields(let minutes, let hours, let days, let months, let weekdays, let either):
            var t = (time.seconds - mod(time.seconds, 60)) + 60
            let end = t + 5 * 366 * 86400
            while t < end {
                let offset = zone.offset(at: t)
                let local = t + offset
                let day = (local - mod(local, 86400)) / 86400
                let second = mod(local, 86400)
                let (_, month, dayOfMonth) = Timestamp.civil(fromDays: day)
                if months & 1 << UInt64(month) == 0 {
                    let daysLeft = Timestamp.days(in: month, of: Timestamp.civil(fromDays: day).year) - dayOfMonth
                    t = start(ofDay: day + daysLeft + 1, after: t, zone)
                    continue
                }
                let inMonth = days & 1 << UInt64(dayOfMonth) != 0
                let inWeek = weekdays & 1 << UInt64(mod(day + 4, 7)) != 0
                guard either ? inMonth || inWeek : inMonth && inWeek else {
                    t = start(ofDay: day + 1, after: t, zone)
                    continue
                }
                if hours & 1 << UInt64(second / 3600) == 0 {
                    t += 3600 - mod(second, 3600)
                    continue
                }
                if minutes & 1 << UInt64(mod(second, 3600) / 60) == 0 {
                    t += 60 - mod(second, 60)
                    continue
                }
                return Timestamp(seconds: t)
            }
            return nil
        }
    }

    /// The first moment of a local day; where a clock change skips midnight, the first that there is.
    private func start(ofDay day: Int64, after t: Int64, _ zone: TimeZoneRules) -> Int64 {
        var guess = day * 86400 - zone.offset(at: t)
        guess = day * 86400 - zone.offset(at: guess)
        // In the gap the guess may lie before or behind the change by its length.
        while (guess + zone.offset(at: guess)) < day * 86400 { guess += 900 }
        while guess - 900 > t, guess - 900 + zone.offset(at: guess - 900) >= day * 86400 { guess -= 900 }
        return max(guess, t + 60)
    }

    private func mod(_ a: Int64, _ b: Int64) -> Int64 { (a % b + b) % b }

    /// The last time up to `now` that is after `start`, and how many there were (counted to 101 at most).
    func last(after start: Timestamp, upTo now: Timestamp, in zone: TimeZoneRules) -> (time: Timestamp, missed: Int)? {
        guard var time = next(after: start, in: zone), time <= now else { return nil }
        var missed = 1
        if case .every(let seconds) = form {
            let more = (now.seconds - time.seconds) / seconds
            return (Timestamp(seconds: time.seconds + more * seconds), Int(clamping: min(101, more + 1)))
        }
        // Far back only the last stretch matters: go on from a point not long before now.
        while let following = next(after: time, in: zone), following <= now {
            time = following
            missed += 1
            guard missed > 100 else { continue }
            var span: Int64 = 3600
            while span < now.seconds - time.seconds {
                if let recent = next(after: Timestamp(seconds: now.seconds - span), in: zone), recent <= now {
                    time = recent
                    break
                }
                span *= 4
            }
            missed = 101
            while let following = next(after: time, in: zone), following <= now { time = following }
            break
        }
        return (time, min(missed, 101))
    }
}
