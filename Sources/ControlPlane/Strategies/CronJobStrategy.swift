internal import Codecs
internal import KubeAPI

/// Cron jobs: jobs by the clock. Source: pkg/apis/batch/validation.
struct CronJobStrategy: ResourceStrategy {
    var tracksGeneration: Bool { true }

    func warnings(for object: KubeObject) -> [String] {
        ObjectWarnings.name(object)
            + PodWarnings.of(
                object.spec["jobTemplate"]["spec"]["template"]["spec"], "spec.jobTemplate.spec.template.spec")
    }

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
        } else if let problem = CronSchedule.problem(schedule) {
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
