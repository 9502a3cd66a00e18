internal import Codecs
internal import KubeAPI

/// Cron jobs: jobs by the clock. Source: pkg/apis/batch/validation.
struct CronJobStrategy: ResourceStrategy {
    var tracksGeneration: Bool { true }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        // Its jobs' names have eleven characters more.
        if object.name.utf8.count > 52 {
            check.add(.invalid("metadata.name", .string(object.name), "must be no more than 52 characters"))
        }
        checkSpec(object.spec, old: nil, &check)
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        if subresource.isEmpty { checkSpec(object.spec, old: old.spec, &check) }
    }

    private func checkSpec(_ spec: JSON, old: JSON?, _ check: inout Validation) {
        checkSchedule(spec, old: old, &check)
        check.nonNegative(spec["startingDeadlineSeconds"], "spec.startingDeadlineSeconds")
        check.oneOf(
            spec["concurrencyPolicy"], ["Allow", "Forbid", "Replace"], "spec.concurrencyPolicy", required: true)
        check.nonNegative(spec["successfulJobsHistoryLimit"], "spec.successfulJobsHistoryLimit")
        check.nonNegative(spec["failedJobsHistoryLimit"], "spec.failedJobsHistoryLimit")
        let job = spec["jobTemplate"]["spec"]
        if job["manualSelector"].bool == true {
            check.add(.notSupported("spec.jobTemplate.spec.manualSelector", true, ["nil", "false"]))
        } else if !job["selector"].isNull {
            check.add(
                .invalid("spec.jobTemplate.spec.selector", job["selector"], "`selector` will be auto-generated"))
        }
        JobStrategy.checkSpec(job, "spec.jobTemplate.spec", &check)
    }

    private func checkSchedule(_ spec: JSON, old: JSON?, _ check: inout Validation) {
        let schedule = spec["schedule"].string ?? ""
        if schedule.isEmpty {
            check.add(.required("spec.schedule"))
        } else if schedule.contains("TZ") {
            check.add(
                .invalid(
                    "spec.schedule", .string(schedule),
                    "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"))
        } else if let problem = CronSyntax.problem(schedule) {
            check.add(.invalid("spec.schedule", .string(schedule), problem))
        }
        guard let zone = spec["timeZone"].string, old.map({ $0["timeZone"] != spec["timeZone"] }) ?? true else {
            return
        }
        if zone.isEmpty {
            check.add(.invalid("spec.timeZone", "", "timeZone must be nil or non-empty string"))
        } else if zone.lowercased() == "local" {
            check.add(
                .invalid(
                    "spec.timeZone", .string(zone),
                    "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"))
        } else if zone.utf8.count > 64 || zone.hasPrefix("/") || zone.split(separator: "/").contains("..")
            || !zone.utf8.allSatisfy(Self.isZoneCharacter)
        {
            check.add(.invalid("spec.timeZone", .string(zone), "unknown time zone \(zone)"))
        }
    }

    private static func isZoneCharacter(_ byte: UInt8) -> Bool {
        (97...122).contains(byte) || (65...90).contains(byte) || (48...57).contains(byte)
            || [UInt8(ascii: "/"), UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "+")].contains(byte)
    }
}

/// The syntax of schedules: five fields, or "@daily" and the like. Source: github.com/robfig/cron/v3 (standard parser).
enum CronSyntax {
    private static let descriptors = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"]
    private static let months = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ]
    private static let days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]

    private struct Field {
        var range: ClosedRange<Int>
        var names: [String] = []
        /// The number of the first name.
        var first = 0
    }
    private static let fields = [
        Field(range: 0...59), Field(range: 0...23), Field(range: 1...31),
        Field(range: 1...12, names: months, first: 1), Field(range: 0...6, names: days),
    ]

    /// nil: fine.
    static func problem(_ text: String) -> String? {
        if text.hasPrefix("@") {
            if descriptors.contains(text) { return nil }
            guard text.hasPrefix("@every ") else { return "unrecognized descriptor: \(text)" }
            let duration = text.dropFirst("@every ".count)
            return isDuration(duration)
                ? nil : "failed to parse duration \(text): time: invalid duration \"\(duration)\""
        }
        let parts = text.split(whereSeparator: { $0 == " " || $0 == "\t" })
        guard parts.count == fields.count else {
            return "expected exactly 5 fields, found \(parts.count): \(parts.map(String.init))"
        }
        for (part, field) in zip(parts, fields) {
            for term in part.split(separator: ",") {
                if let problem = problem(term, field) { return problem }
            }
            if part.allSatisfy({ $0 == "," }) {
                return "failed to parse int from : strconv.Atoi: parsing \"\": invalid syntax"
            }
        }
        return nil
    }

    /// "*", "?", "5", "1-5", each with or without "/2"
    private static func problem(_ term: Substring, _ field: Field) -> String? {
        let steps = term.split(separator: "/", omittingEmptySubsequences: false)
        let bounds = steps[0].split(separator: "-", omittingEmptySubsequences: false)
        var (low, high) = (field.range.lowerBound, field.range.upperBound)
        if bounds[0] == "*" || bounds[0] == "?" {
            if bounds.count > 1 { return "too many hyphens: \(term)" }
        } else {
            guard let start = number(bounds[0], field) else { return notANumber(bounds[0]) }
            low = start
            switch bounds.count {
            case 1: high = steps.count == 1 ? start : high
            case 2:
                guard let end = number(bounds[1], field) else { return notANumber(bounds[1]) }
                high = end
            default: return "too many hyphens: \(term)"
            }
        }
        switch steps.count {
        case 1: break
        case 2:
            guard let step = number(steps[1], Field(range: field.range)) else { return notANumber(steps[1]) }
            if step == 0 { return "step of range should be a positive number: \(term)" }
        default: return "too many slashes: \(term)"
        }
        if low < field.range.lowerBound {
            return "beginning of range (\(low)) below minimum (\(field.range.lowerBound)): \(term)"
        }
        if high > field.range.upperBound {
            return "end of range (\(high)) above maximum (\(field.range.upperBound)): \(term)"
        }
        if low > high { return "beginning of range (\(low)) beyond end of range (\(high)): \(term)" }
        return nil
    }

    private static func number(_ text: Substring, _ field: Field) -> Int? {
        if let index = field.names.firstIndex(of: text.lowercased()) { return index + field.first }
        guard !text.isEmpty, text.utf8.count < 10, text.utf8.allSatisfy({ $0 &- 48 < 10 }) else { return nil }
        return Int(text)
    }

    private static func notANumber(_ text: Substring) -> String {
        "failed to parse int from \(text): strconv.Atoi: parsing \"\(text)\": invalid syntax"
    }

    /// Go's durations: numbers, each with a unit.
    private static func isDuration(_ text: Substring) -> Bool {
        var rest = text.utf8[...]
        guard !rest.isEmpty else { return false }
        while !rest.isEmpty {
            let digits = rest.prefix { $0 &- 48 < 10 || $0 == UInt8(ascii: ".") }
            let unit = rest.dropFirst(digits.count).prefix { ($0 | 0x20) &- 97 < 26 }
            guard digits.contains(where: { $0 &- 48 < 10 }), digits.count(where: { $0 == UInt8(ascii: ".") }) < 2,
                ["ns", "us", "ms", "s", "m", "h"].contains(String(Substring(unit)))
            else { return false }
            rest = rest.dropFirst(digits.count + unit.count)
        }
        return true
    }
}
