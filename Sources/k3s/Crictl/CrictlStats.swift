import Codecs
import Linux

/// What is used: `stats` and `statsp`.
enum CrictlStats {
    private static let sampling: StaticString = """
        +|all|a||b|||Show all containers (default shows just running)
        +|id|||s|||Filter by container id
        +|label|||l|||Filter by key=value label
        +|output|o||s|table||Output format, One of: json|yaml|table
        +|pod|p||s|||Filter by pod id
        +|seconds|s||s|1||Sample duration for CPU usage in seconds
        +|watch|w||b|||Watch resources
        """

    static let verbs: [CrictlVerb] = [
        CrictlVerb("stats", "[ID]", "List container(s) resource usage statistics", sampling) { session in
            try show(session, "ListContainerStats", ["CONTAINER", "NAME", "CPU %", "MEM", "DISK", "INODES"]) { stats in
                (stats["cpu"], stats["memory"])
            } row: { id, stats, percent, memory in
                let layer = stats["writable_layer"]
                return [
                    id, stats["attributes"]["metadata"]["name"].string ?? "", percent, memory,
                    CrictlText.size(layer["used_bytes"]["value"].int ?? 0),
                    "\(layer["inodes_used"]["value"].int ?? 0)",
                ]
            }
        },
        CrictlVerb("statsp", "[ID]", "List pod statistics", sampling) { session in
            try show(session, "ListPodSandboxStats", ["POD", "POD ID", "CPU %", "MEM"]) { stats in
                (stats["linux"]["cpu"], stats["linux"]["memory"])
            } row: { id, stats, percent, memory in
                [stats["attributes"]["metadata"]["name"].string ?? "", id, percent, memory]
            }
        },
    ]

    private static func show(
        _ session: CrictlSession, _ method: String, _ headings: [String], usage: (JSON) -> (cpu: JSON, memory: JSON),
        row: (_ id: String, _ stats: JSON, _ percent: String, _ memory: String) -> [String]
    ) throws -> Int32 {
        let values = session.values
        guard session.arguments.count < 2 else { throw CrictlVerb.ShowHelp() }
        var filter: JSON = ["label_selector": try CrictlText.labels(values.list("label"))]
        if let id = values.string("id") ?? session.arguments.first { filter["id"] = .string(id) }
        if let pod = values.string("pod"), method == "ListContainerStats" { filter["pod_sandbox_id"] = .string(pod) }
        let seconds = try session.number("seconds") ?? 1
        func ask() throws -> [JSON] {
            let what = method == "ListContainerStats" ? "get container stats" : "get pod stats: list pod sandbox stats"
            return try session.call(method, ["filter": filter], what)["stats"].elements.sorted {
                ($0["attributes"]["id"].string ?? "") < ($1["attributes"]["id"].string ?? "")
            }
        }
        var before = try ask()
        if let text = try session.text(method + "Response", ["stats": .array(before)]) {
            print(text)
            return 0
        }
        while true {
            sleep(UInt32(clamping: max(0, seconds)))
            let now = try ask()
            var rows = [headings]
            for stats in now {
                let id = stats["attributes"]["id"].string ?? ""
                let (cpu, memory) = usage(stats)
                let used = cpu["usage_core_nano_seconds"]["value"].int ?? 0
                let bytes = memory["working_set_bytes"]["value"].int ?? 0
                // What does not run, and what is new.
                if used == 0, bytes == 0, !values.bool("all") { continue }
                guard let old = before.first(where: { $0["attributes"]["id"].string == id }) else { continue }
                let then = usage(old).cpu
                let time = (cpu["timestamp"].int ?? 0) - (then["timestamp"].int ?? 0)
                let spent = used - (then["usage_core_nano_seconds"]["value"].int ?? 0)
                let percent = time > 0 ? Double(spent) / Double(time) * 100 : 0
                rows.append(
                    row(CrictlText.short(id), stats, CrictlText.twoPlaces(percent), CrictlText.size(bytes)))
            }
            if values.bool("watch") { Terminal.write("\u{1B}[2J\u{1B}[H", to: STDOUT_FILENO) }
            CrictlLists.table(rows)
            guard values.bool("watch") else { return 0 }
            before = now
        }
    }
}
