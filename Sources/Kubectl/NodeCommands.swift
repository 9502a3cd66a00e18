import Codecs
import KubeAPI
import Linux

/// `cordon`, `uncordon`, `drain`, `taint`, `top`.
enum NodeCommands {
    static let all: [Command] = [
        Command("cordon", "NODE [options]", "Mark node as unschedulable", Flags.selector + Flags.dryRun) {
            try mark($0, true)
        },
        Command("uncordon", "NODE [options]", "Mark node as schedulable", Flags.selector + Flags.dryRun) {
            try mark($0, false)
        },
        Command(
            "drain", "NODE [options]", "Drain node in preparation for maintenance",
            Flags.selector + Flags.dryRun + """
                |ignore-daemonsets|b||Ignore DaemonSet-managed pods.
                |delete-emptydir-data|b||Continue even if there are pods using emptyDir.
                |force|b||Continue even if there are pods that do not declare a controller.
                |disable-eviction|b||Force drain to use delete, even if eviction is supported.
                |grace-period|s|-1|Period of time in seconds given to each pod to terminate gracefully.
                |timeout|s|0s|The length of time to wait before giving up, zero means infinite
                |pod-selector|s||Label selector to filter pods on the node
                |skip-wait-for-delete-timeout|s|0|Accepted
                |chunk-size|s|500|Accepted

                """, drain),
        Command(
            "taint", "NODE NAME KEY_1=VAL_1:TAINT_EFFECT_1 ... KEY_N=VAL_N:TAINT_EFFECT_N [options]",
            "Update the taints on one or more nodes",
            Flags.output + Flags.selector + Flags.all + Flags.dryRun + Flags.manager("kubectl-taint") + Flags.validate
                + "|overwrite|b||If true, allow taints to be overwritten.\n",
            taint),
        Command(
            "top node", "[NAME | -l label]", "Display resource (CPU/memory) usage of nodes",
            Flags.selector
                + "|no-headers|b||If present, print output without headers.\n|sort-by|s||One of cpu, memory\n|show-capacity|b||Print node resources based on Capacity instead of Allocatable.\n|use-protocol-buffers|b||Accepted\n"
        ) { try top($0, isNodes: true) },
        Command(
            "top pod", "[NAME | -l label]", "Display resource (CPU/memory) usage of pods",
            Flags.selector + Flags.fields + Flags.allNamespaces
                + "|no-headers|b||If present, print output without headers.\n|sort-by|s||One of cpu, memory\n|containers|b||If present, print usage of containers within a pod.\n|sum|b||Print the sum of the resource usage\n|use-protocol-buffers|b||Accepted\n"
        ) { try top($0, isNodes: false) },
    ]

    private static func nodes(_ session: Session, _ words: [String]) throws -> [Session.Found] {
        if words.isEmpty, session.options.isSet("selector") || session.options.bool("all") {
            return try session.findAll(["nodes"])
        }
        guard !words.isEmpty else {
            throw CommandError.usage("USAGE: \(session.command) NODE [flags]", session.command)
        }
        return try session.findAll(
            ["nodes"]
                + words.map {
                    $0.hasPrefix("node/") || $0.hasPrefix("nodes/") ? String($0.drop { $0 != "/" }.dropFirst()) : $0
                })
    }

    private static func mark(_ session: Session, _ cordoned: Bool) throws {
        let verb = cordoned ? "cordoned" : "uncordoned"
        for node in try nodes(session, session.arguments) {
            if (node.object["spec"]["unschedulable"].bool ?? false) == cordoned {
                try session.report(node.object, node.resource, "already \(verb)")
                continue
            }
            if try session.dryRun() != .client {
                let query = try session.dryRun() == .server ? [("dryRun", "All")] : []
                _ = try session.api.call(
                    "PATCH", node.path, query: query, body: ["spec": ["unschedulable": cordoned ? true : .null]],
                    type: PatchType.merge.rawValue)
            }
            try session.report(node.object, node.resource, verb)
        }
    }

    private static func drain(_ session: Session) throws {
        let options = session.options
        let all = try nodes(session, session.arguments)
        try mark(session, true)
        let timeout = try options.seconds("timeout")
        let until = timeout > 0 ? Terminal.now + timeout : nil
        for node in all {
            var query = [("fieldSelector", "spec.nodeName=\(node.name)")]
            if let selector = options.given("pod-selector") { query.append(("labelSelector", selector)) }
            var doomed: [JSON] = []
            var daemons: [String] = []
            var (alone, local, owned): ([String], [String], [String]) = ([], [], [])
            for pod in try session.api.get("/api/v1/pods", query: query)["items"].elements {
                let name = "\(pod["metadata"]["namespace"].shown)/\(pod["metadata"]["name"].shown)"
                if !pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].isNull { continue }
                let isOver = ["Succeeded", "Failed"].contains(pod["status"]["phase"].string ?? "")
                let controller = pod["metadata"]["ownerReferences"].elements.first { $0["controller"].bool == true }
                if controller?["kind"].string == "DaemonSet", !isOver {
                    if options.bool("ignore-daemonsets") { daemons.append(name) } else { owned.append(name) }
                    continue
                }
                if controller == nil, !isOver { alone.append(name) }
                if !isOver,
                    pod["spec"]["volumes"].elements.contains(where: {
                        !$0["emptyDir"].isNull || $0.object?["emptyDir"] != nil
                    })
                {
                    local.append(name)
                }
                doomed.append(pod)
            }
            var refusals: [String] = []
            if !owned.isEmpty {
                refusals.append(
                    "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore): \(owned.joined(separator: ", "))"
                )
            }
            if !local.isEmpty, !options.bool("delete-emptydir-data") {
                refusals.append(
                    "cannot delete Pods with local storage (use --delete-emptydir-data to override): \(local.joined(separator: ", "))"
                )
            }
            if !alone.isEmpty, !options.bool("force") {
                refusals.append(
                    "cannot delete Pods that declare no controller (use --force to override): \(alone.joined(separator: ", "))"
                )
            }
            guard refusals.isEmpty else {
                Terminal.error(
                    "error: unable to drain node \(GoText.quoted(node.name)) due to error: \(refusals.count == 1 ? refusals[0] : "[\(refusals.joined(separator: ", "))]"), continuing command...\nThere are pending nodes to be drained:\n \(node.name)"
                )
                throw CommandError(refusals.joined(separator: "\n"), plain: true)
            }
            var warnings: [String] = []
            if !alone.isEmpty {
                warnings.append("deleting Pods that declare no controller: \(alone.joined(separator: ", "))")
            }
            if !daemons.isEmpty {
                warnings.append("ignoring DaemonSet-managed Pods: \(daemons.joined(separator: ", "))")
            }
            if !warnings.isEmpty { Terminal.error("Warning: " + warnings.joined(separator: "; ")) }
            if try session.dryRun() == .none { try evict(session, doomed, until) }
            try session.report(node.object, node.resource, "drained")
        }
    }

    private static func evict(_ session: Session, _ pods: [JSON], _ until: Double?) throws {
        let resource = try session.catalog.resource("pods")
        let grace = try session.options.int("grace-period")
        var waiting: [Session.Found] = []
        for pod in pods {
            let found = Session.Found(resource: resource, object: pod)
            let body = DeleteCommand.deleteOptions(grace: grace)
            let deletes = session.options.bool("disable-eviction")
            Terminal.line("\(deletes ? "deleting" : "evicting") pod \(found.namespace)/\(found.name)")
            while true {
                do {
                    if deletes {
                        _ = try session.api.call("DELETE", found.path, body: body)
                    } else {
                        let eviction: JSON = [
                            "apiVersion": "policy/v1", "kind": "Eviction",
                            "metadata": ["name": .string(found.name), "namespace": .string(found.namespace)],
                            "deleteOptions": body,
                        ]
                        _ = try session.api.call("POST", found.path + "/eviction", body: eviction)
                    }
                    waiting.append(found)
                    break
                } catch let error as APIError where error.isNotFound {
                    break
                } catch let error as APIError where error.code == 429 {
                    Terminal.error(
                        "error when evicting pods/\(GoText.quoted(found.name)) -n \(GoText.quoted(found.namespace)) (will retry after 5s): \(error.message)"
                    )
                    if let until, Terminal.now > until {
                        throw CommandError(
                            "error when evicting pods/\(GoText.quoted(found.name)) -n \(GoText.quoted(found.namespace)): global timeout reached: \(session.options.string("timeout"))"
                        )
                    }
                    Terminal.sleep(5)
                }
            }
        }
        for found in waiting {
            try DeleteCommand.waitUntilGone(
                session, found, uid: found.object["metadata"]["uid"].string ?? "", until: until)
            Terminal.line("pod/\(found.name) \(session.options.bool("disable-eviction") ? "deleted" : "evicted")")
        }
    }

    // MARK: - taint

    private static func taint(_ session: Session) throws {
        var words = session.arguments
        guard let type = words.first, ["node", "nodes", "no"].contains(type) else {
            throw CommandError(
                words.isEmpty
                    ? "one or more resources must be specified as <resource> <name> or <resource>/<name>"
                    : "invalid resource type \(words[0]), only node(s) is supported")
        }
        words.removeFirst()
        let names = Array(
            words.prefix {
                !$0.utf8.contains(UInt8(ascii: ":")) && !$0.hasSuffix("-") && !$0.utf8.contains(UInt8(ascii: "="))
            })
        var added: [JSON] = []
        var removed: [(key: String, effect: String)] = []
        for word in words.dropFirst(names.count) {
            if word.hasSuffix("-") {
                let parts = word.dropLast().split(separator: ":", maxSplits: 1).map(String.init)
                removed.append((String(parts[0].prefix { $0 != "=" }), parts.count == 2 ? parts[1] : ""))
                continue
            }
            let parts = word.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2, ["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(parts[1]) else {
                throw CommandError.usage(
                    parts.count == 2
                        ? "invalid taint effect: \(parts[1]), unsupported taint effect" : "invalid taint spec: \(word)",
                    "taint")
            }
            let pair = parts[0].split(separator: "=", maxSplits: 1).map(String.init)
            var entry: JSON = ["effect": .string(parts[1]), "key": .string(pair[0])]
            if pair.count == 2 { entry["value"] = .string(pair[1]) }
            added.append(entry)
        }
        guard !added.isEmpty || !removed.isEmpty else { throw CommandError("at least one taint update is required") }
        for node in try nodes(session, names) {
            var taints = node.object["spec"]["taints"].elements
            for (key, effect) in removed {
                let before = taints.count
                taints.removeAll { $0["key"].string == key && (effect.isEmpty || $0["effect"].string == effect) }
                if taints.count == before {
                    throw CommandError("taint \(GoText.quoted(effect.isEmpty ? key : "\(key):\(effect)")) not found")
                }
            }
            for entry in added {
                if let i = taints.firstIndex(where: { $0["key"] == entry["key"] && $0["effect"] == entry["effect"] }) {
                    guard session.options.bool("overwrite") else {
                        throw CommandError(
                            "node \(node.name) already has \(entry["key"].shown) taint(s) with same effect(s) and --overwrite is false"
                        )
                    }
                    taints[i] = entry
                } else {
                    taints.insert(entry, at: 0)
                }
            }
            var after = node.object
            if try session.dryRun() != .client {
                after = try session.api.call(
                    "PATCH", node.path, query: try session.writeQuery(manager: "kubectl-taint"),
                    body: ["spec": ["taints": taints.isEmpty ? .null : .array(taints)]],
                    type: PatchType.merge.rawValue)
            }
            let verb = added.isEmpty ? "untainted" : removed.isEmpty ? "tainted" : "modified"
            // Alone among the commands, this one does not say that it was a dry run.
            if session.options.isSet("output") {
                try session.report(after, node.resource, verb)
            } else {
                Terminal.line("node/\(node.name) \(verb)")
            }
        }
    }

    // MARK: - top

    private static func top(_ session: Session, isNodes: Bool) throws {
        let options = session.options
        let namespace = try options.bool("all-namespaces") ? nil : session.namespace
        var path =
            "/apis/metrics.k8s.io/v1beta1/"
            + (isNodes ? "nodes" : (namespace.map { "namespaces/\($0)/" } ?? "") + "pods")
        let name = session.arguments.first
        guard try session.catalog.groupVersions.contains(where: { $0.hasPrefix("metrics.k8s.io/") }) else {
            throw CommandError("Metrics API not available")
        }
        if let name { path += "/" + name }
        let answer: JSON
        do { answer = try session.api.get(path, query: session.listQuery()) } catch let error as APIError
            where error.code == 404 && name == nil || error.code == 503
        {
            throw CommandError("Metrics API not available")
        }
        let items = name == nil ? answer["items"].elements : [answer]
        if items.isEmpty {
            return Terminal.error(
                isNodes || namespace == nil
                    ? "No resources found" : "No resources found in \(namespace ?? "") namespace.")
        }
        func amounts(_ usage: JSON) -> (Int64, Int64) {
            ((Quantity(usage["cpu"].shown) ?? .zero).milliValue, (Quantity(usage["memory"].shown) ?? .zero).value)
        }
        var lines: [(cells: [String], cpu: Int64, memory: Int64)] = []
        for item in items {
            let name = item["metadata"]["name"].shown
            if isNodes {
                let node = try session.api.get("/api/v1/nodes/\(name)")["status"][
                    options.bool("show-capacity") ? "capacity" : "allocatable"]
                let (used, all) = (amounts(item["usage"]), amounts(node))
                func percent(_ a: Int64, _ b: Int64) -> String {
                    b > 0 ? "\(Int64(Double(a) / Double(b) * 100))%" : "<unknown>"
                }
                lines.append(
                    (
                        [name, "\(used.0)m", percent(used.0, all.0), "\(used.1 >> 20)Mi", percent(used.1, all.1)],
                        used.0, used.1
                    ))
                continue
            }
            let containers = item["containers"].elements.map { ($0["name"].shown, amounts($0["usage"])) }
            let lead = namespace == nil ? [item["metadata"]["namespace"].shown] : []
            if options.bool("containers") {
                for (container, used) in containers {
                    lines.append((lead + [name, container, "\(used.0)m", "\(used.1 >> 20)Mi"], used.0, used.1))
                }
            } else {
                let sum = containers.reduce((Int64(0), Int64(0))) { ($0.0 + $1.1.0, $0.1 + $1.1.1) }
                lines.append((lead + [name, "\(sum.0)m", "\(sum.1 >> 20)Mi"], sum.0, sum.1))
            }
        }
        switch options.string("sort-by") {
        case "cpu": lines.sort { $0.cpu > $1.cpu }
        case "memory": lines.sort { $0.memory > $1.memory }
        default: lines.sort { $0.cells.lexicographicallyPrecedes($1.cells) }
        }
        var rows: [[String]] = []
        if !options.bool("no-headers") {
            rows.append(
                isNodes
                    ? ["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"]
                    : (namespace == nil ? ["NAMESPACE"] : [])
                        + (options.bool("containers") ? ["POD", "NAME"] : ["NAME"]) + ["CPU(cores)", "MEMORY(bytes)"])
        }
        // These columns are padded to the last, as upstream's are.
        Terminal.out(TabText.table((rows + lines.map(\.cells)).map { $0 + [""] }))
    }
}
