internal import Codecs
internal import KubeAPI

/// Rows of jobs and cron jobs. Source: pkg/printers/internalversion (printJob, printCronJob).
enum BatchCells {
    @Sendable static func job(_ job: KubeObject, _ now: Timestamp) -> [JSON] {
        let (spec, status) = (job.spec, job.status)
        let succeeded = status["succeeded"].int ?? 0
        let completions: String
        if let wanted = spec["completions"].int {
            completions = "\(succeeded)/\(wanted)"
        } else {
            let parallelism = spec["parallelism"].int ?? 0
            completions = parallelism > 1 ? "\(succeeded)/1 of \(parallelism)" : "\(succeeded)/1"
        }
        var duration = ""
        if let start = status["startTime"].string.flatMap({ Timestamp($0) }) {
            let end = status["completionTime"].string.flatMap { Timestamp($0) } ?? now
            duration = TableText.since(start, end)
        }
        let (names, images) = WorkloadCells.containers(spec["template"])
        return [
            .string(job.name), .string(state(job)), .string(completions), .string(duration), .string(job.age(now)),
            .string(names), .string(images), .string(TableText.selector(spec["selector"])),
        ]
    }

    private static func state(_ job: KubeObject) -> String {
        func holds(_ type: String) -> Bool { job.condition(type)["status"].string == "True" }
        if holds("Complete") { return "Complete" }
        if holds("Failed") { return "Failed" }
        if job.isBeingDeleted { return "Terminating" }
        for type in ["Suspended", "FailureTarget", "SuccessCriteriaMet"] where holds(type) { return type }
        return "Running"
    }

    @Sendable static func cronJob(_ job: KubeObject, _ now: Timestamp) -> [JSON] {
        let spec = job.spec
        let last = job.status["lastScheduleTime"]
        let (names, images) = WorkloadCells.containers(spec["jobTemplate"]["spec"]["template"])
        return [
            .string(job.name), .string(spec["schedule"].string ?? ""), TableText.orNone(spec["timeZone"].string),
            TableText.boolean(spec["suspend"]), .int(Int64(job.status["active"].elements.count)),
            .string(last.isNull ? "<none>" : TableText.since(last, now)), .string(job.age(now)), .string(names),
            .string(images), .string(TableText.selector(spec["jobTemplate"]["spec"]["selector"])),
        ]
    }
}

extension TableText {
    /// "True", "False", "<unset>"
    static func boolean(_ value: JSON) -> JSON {
        value.bool.map { $0 ? "True" : "False" } ?? "<unset>"
    }
}

extension WorkloadCells {
    @Sendable static func daemonSet(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        let status = object.status
        func number(_ key: String) -> JSON { .int(status[key].int ?? 0) }
        let (names, images) = containers(object.spec["template"])
        return [
            .string(object.name), number("desiredNumberScheduled"), number("currentNumberScheduled"),
            number("numberReady"), number("updatedNumberScheduled"), number("numberAvailable"),
            .string(TableText.labels(object.spec["template"]["spec"]["nodeSelector"])), .string(object.age(now)),
            .string(names), .string(images), .string(TableText.selector(object.spec["selector"])),
        ]
    }

    @Sendable static func statefulSet(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        let (names, images) = containers(object.spec["template"])
        return [
            .string(object.name),
            .string("\(object.status["readyReplicas"].int ?? 0)/\(object.spec["replicas"].int ?? 0)"),
            .string(object.age(now)), .string(names), .string(images),
        ]
    }

    @Sendable static func replicationController(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        var row = replicaSet(object, now)
        row[row.count - 1] = .string(TableText.labels(object.spec["selector"]))
        return row
    }

    @Sendable static func disruptionBudget(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        func amount(_ key: String) -> JSON {
            let value = object.spec[key]
            return .string(value.isNull ? "N/A" : value.string ?? value.text)
        }
        return [
            .string(object.name), amount("minAvailable"), amount("maxUnavailable"),
            .int(object.status["disruptionsAllowed"].int ?? 0), .string(object.age(now)),
        ]
    }
}
