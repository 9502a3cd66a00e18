import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct CronScheduleTests {
    struct Next: Sendable {
        var schedule: String
        var from: String
        var next: String?
    }

    @Test(arguments: [
        Next(schedule: "* * * * *", from: "2026-07-09T14:45:00Z", next: "2026-07-09T14:46:00Z"),
        Next(schedule: "* * * * *", from: "2026-07-09T14:59:59Z", next: "2026-07-09T15:00:00Z"),
        Next(schedule: "*/15 * * * *", from: "2026-07-09T14:45:01Z", next: "2026-07-09T15:00:00Z"),
        Next(schedule: "20-35/15 * * * *", from: "2026-07-09T14:45:00Z", next: "2026-07-09T15:20:00Z"),
        Next(schedule: "5/20 * * * *", from: "2026-07-09T14:26:00Z", next: "2026-07-09T14:45:00Z"),
        Next(schedule: "0 0 * * *", from: "2026-12-31T23:59:45Z", next: "2027-01-01T00:00:00Z"),
        Next(schedule: "0 12 9 Jul *", from: "2026-07-09T12:00:00Z", next: "2027-07-09T12:00:00Z"),
        Next(schedule: "0 0 29 feb ?", from: "2026-01-01T00:00:00Z", next: "2028-02-29T00:00:00Z"),
        Next(schedule: "0 0 31 * *", from: "2026-04-01T00:00:00Z", next: "2026-05-31T00:00:00Z"),
        Next(schedule: "0 0 * * sun", from: "2026-07-09T00:00:00Z", next: "2026-07-12T00:00:00Z"),
        Next(schedule: "0 0 * * 1-5", from: "2026-07-10T00:00:00Z", next: "2026-07-13T00:00:00Z"),
        // Both days given: either suffices.
        Next(schedule: "0 0 13 * fri", from: "2026-07-09T00:00:00Z", next: "2026-07-10T00:00:00Z"),
        Next(schedule: "0 0 13 * fri", from: "2026-07-10T00:00:00Z", next: "2026-07-13T00:00:00Z"),
        // A star with a step is a choice as well.
        Next(schedule: "0 0 */10 * fri", from: "2026-07-09T00:00:00Z", next: "2026-07-10T00:00:00Z"),
        Next(schedule: "0 9,17 * * *", from: "2026-07-09T09:00:00Z", next: "2026-07-09T17:00:00Z"),
        Next(schedule: "0 0 31 2 *", from: "2026-01-01T00:00:00Z", next: nil),
        Next(schedule: "@hourly", from: "2026-07-09T14:45:00Z", next: "2026-07-09T15:00:00Z"),
        Next(schedule: "@daily", from: "2026-07-09T14:45:00Z", next: "2026-07-10T00:00:00Z"),
        Next(schedule: "@weekly", from: "2026-07-09T14:45:00Z", next: "2026-07-12T00:00:00Z"),
        Next(schedule: "@monthly", from: "2026-07-09T14:45:00Z", next: "2026-08-01T00:00:00Z"),
        Next(schedule: "@yearly", from: "2026-07-09T14:45:00Z", next: "2027-01-01T00:00:00Z"),
        Next(schedule: "@every 1h30m", from: "2026-07-09T14:45:00Z", next: "2026-07-09T16:15:00Z"),
    ]) func next(_ test: Next) throws {
        let schedule = try CronSchedule(test.schedule)
        let from = try #require(Timestamp(test.from))
        #expect(schedule.next(after: from, in: .utc)?.rfc3339 == test.next, "\(test.schedule)")
    }

    @Test(arguments: [
        ("", "empty spec string"),
        (" ", "expected exactly 5 fields, found 0: []"),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("5-3 * * * *", "beginning of range (5) beyond end of range (3): 5-3"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("* * * foo *", "failed to parse int from foo: strconv.Atoi: parsing \"foo\": invalid syntax"),
        ("@never", "unrecognized descriptor: @never"),
        ("@every 1x", "failed to parse duration @every 1x: time: invalid duration \"1x\""),
    ]) func mistakesAreNamed(_ text: String, _ problem: String) {
        #expect(throws: CronSchedule.Problem(description: problem)) { try CronSchedule(text) }
    }

    /// An independent count: every minute of a year, looked at one by one.
    @Test func aYearHasTheTimesThatItsMinutesHave() throws {
        let schedule = try CronSchedule("*/20 6-8 1,15 * mon")
        let start = try #require(Timestamp("2026-01-01T00:00:00Z"))
        var expected: [Int64] = []
        for minute in 1...Int64(365 * 24 * 60) {
            let time = start.seconds + minute * 60
            let (_, _, day) = Timestamp.civil(fromDays: time / 86400)
            let weekday = (time / 86400 + 4) % 7
            if time / 60 % 20 == 0, (6...8).contains(time / 3600 % 24), day == 1 || day == 15 || weekday == 1 {
                expected.append(time)
            }
        }
        var times: [Int64] = []
        var time = start
        while let next = schedule.next(after: time, in: .utc), next.seconds <= start.seconds + 365 * 86400 {
            times.append(next.seconds)
            time = next
        }
        #expect(times == expected && times.count > 600)
    }

    @Test func theLastTimeIsFoundHoweverLongAgo() throws {
        let now = try #require(Timestamp("2026-07-09T14:45:30Z"))
        for (text, last) in [
            ("* * * * *", "2026-07-09T14:45:00Z"), ("0 0 1 1 *", "2026-01-01T00:00:00Z"),
            ("30 3 * * *", "2026-07-09T03:30:00Z"),
        ] {
            let found = try #require(
                try CronSchedule(text).last(after: Timestamp(seconds: 0), upTo: now, in: .utc))
            #expect(found.time.rfc3339 == last)
            #expect(found.missed == (text == "0 0 1 1 *" ? 56 : 101))
        }
        #expect(try CronSchedule("0 0 1 1 *").last(after: now, upTo: now, in: .utc) == nil)
    }

    // MARK: - Time zones

    /// A time zone file of version 2 with one type and a rule.
    static func zone(_ rule: String, offset: Int32) -> TimeZoneRules? {
        func header(_ types: UInt8) -> [UInt8] {
            Array("TZif2".utf8) + [UInt8](repeating: 0, count: 15) + [UInt8](repeating: 0, count: 16)
                + [0, 0, 0, types, 0, 0, 0, types == 0 ? 0 : 4]
        }
        let bits = UInt32(bitPattern: offset)
        let type = [
            UInt8(truncatingIfNeeded: bits >> 24), UInt8(truncatingIfNeeded: bits >> 16),
            UInt8(truncatingIfNeeded: bits >> 8), UInt8(truncatingIfNeeded: bits), 0, 0,
        ]
        return TimeZoneRules(file: header(0) + header(1) + type + Array("STD\0".utf8) + Array("\n\(rule)\n".utf8))
    }

    struct Offset: Sendable {
        var rule: String
        var time: String
        var minutes: Int64
    }

    @Test(arguments: [
        Offset(rule: "CET-1CEST,M3.5.0,M10.5.0/3", time: "2026-03-29T00:59:59Z", minutes: 60),
        Offset(rule: "CET-1CEST,M3.5.0,M10.5.0/3", time: "2026-03-29T01:00:00Z", minutes: 120),
        Offset(rule: "CET-1CEST,M3.5.0,M10.5.0/3", time: "2026-10-25T00:59:59Z", minutes: 120),
        Offset(rule: "CET-1CEST,M3.5.0,M10.5.0/3", time: "2026-10-25T01:00:00Z", minutes: 60),
        Offset(rule: "EST5EDT,M3.2.0,M11.1.0", time: "2026-03-08T06:59:59Z", minutes: -300),
        Offset(rule: "EST5EDT,M3.2.0,M11.1.0", time: "2026-03-08T07:00:00Z", minutes: -240),
        Offset(rule: "AEST-10AEDT,M10.1.0,M4.1.0/3", time: "2026-01-01T00:00:00Z", minutes: 660),
        Offset(rule: "AEST-10AEDT,M10.1.0,M4.1.0/3", time: "2026-07-01T00:00:00Z", minutes: 600),
        Offset(rule: "<+0530>-5:30", time: "2026-07-01T00:00:00Z", minutes: 330),
        Offset(rule: "<-03>3", time: "2026-07-01T00:00:00Z", minutes: -180),
        Offset(rule: "IST-1GMT0,M10.5.0,M3.5.0/1", time: "2026-01-15T00:00:00Z", minutes: 0),
        Offset(rule: "IST-1GMT0,M10.5.0,M3.5.0/1", time: "2026-07-15T00:00:00Z", minutes: 60),
        Offset(rule: "XXX3YYY,J60/0,J300/0", time: "2028-03-01T02:59:59Z", minutes: -180),
        Offset(rule: "XXX3YYY,J60/0,J300/0", time: "2028-03-01T03:00:00Z", minutes: -120),
    ]) func rulesGiveOffsets(_ offset: Offset) throws {
        let zone = try #require(Self.zone(offset.rule, offset: 0))
        let time = try #require(Timestamp(offset.time))
        #expect(zone.offset(at: time.seconds) == offset.minutes * 60, "\(offset.rule) \(offset.time)")
    }

    @Test func brokenFilesAreNoZones() throws {
        #expect(TimeZoneRules(file: []) == nil)
        #expect(TimeZoneRules(file: Array("TZif2".utf8)) == nil)
        #expect(TimeZoneRules(file: [UInt8](repeating: 0xff, count: 200)) == nil)
        for name in ["../../etc/passwd", "/etc/passwd", "", "No/Such_Zone", "Europe/Ber lin"] {
            #expect(TimeZoneRules.named(name) == nil)
        }
    }

    @Test(.enabled(if: TimeZoneRules.named("Europe/Berlin") != nil, "needs tzdata"))
    func theSystemsFilesAreRead() throws {
        let berlin = try #require(TimeZoneRules.named("Europe/Berlin"))
        // 1980 had its own rule; 2050 follows the footer.
        for (time, hours) in [
            ("1980-04-06T00:59:59Z", 1), ("1980-04-06T01:00:00Z", 2), ("2000-07-01T00:00:00Z", 2),
            ("2050-07-01T00:00:00Z", 2), ("2050-12-01T00:00:00Z", 1),
        ] {
            #expect(berlin.offset(at: try #require(Timestamp(time)).seconds) == Int64(hours) * 3600, "\(time)")
        }
        let noon = try #require(Timestamp("2026-07-09T10:00:00Z"))
        #expect(berlin.rfc3339(noon) == "2026-07-09T12:00:00+02:00")
        #expect(TimeZoneRules.utc.rfc3339(noon) == "2026-07-09T10:00:00Z")
    }

    @Test func clockChangesSkipAndRepeat() throws {
        let berlin = try #require(Self.zone("CET-1CEST,M3.5.0,M10.5.0/3", offset: 3600))
        let half = try CronSchedule("30 2 * * *")
        // On the 29th of March there is no half past two.
        var time = try #require(Timestamp("2026-03-28T00:00:00Z"))
        var times: [String] = []
        for _ in 0..<2 {
            time = try #require(half.next(after: time, in: berlin))
            times.append(berlin.rfc3339(time))
        }
        #expect(times == ["2026-03-28T02:30:00+01:00", "2026-03-30T02:30:00+02:00"])
        // On the 25th of October it comes twice.
        time = try #require(Timestamp("2026-10-24T12:00:00Z"))
        times = []
        for _ in 0..<3 {
            time = try #require(half.next(after: time, in: berlin))
            times.append(berlin.rfc3339(time))
        }
        #expect(
            times == ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-26T02:30:00+01:00"])
        // Midnight that does not exist: the day begins an hour later.
        let beirut = try #require(Self.zone("EET-2EEST,M3.5.0/0,M10.5.0/0", offset: 7200))
        time = try #require(Timestamp("2026-03-28T12:00:00Z"))
        let next = try #require(try CronSchedule("0 1 * * *").next(after: time, in: beirut))
        #expect(beirut.rfc3339(next) == "2026-03-29T01:00:00+03:00")
    }
}
