import Codecs
import KubeAPI
import Linux

/// `scale`, `rollout` and `wait`.
enum ScaleCommands {
    private static let targets = Flags.files + Flags.selector

    static let all: [Command] = [
        Command(
            "scale",
            "[--resource-version=version] [--current-replicas=count] --replicas=COUNT (-f FILENAME | TYPE NAME)",
            "Set a new size for a deployment, replica set, or replication controller",
            Flags.output + targets + Flags.all + Flags.dryRun + """
                |replicas|s||The new desired number of replicas. Required.
                |current-replicas|s|-1|Precondition for current size.
                |resource-version|s||Precondition for resource version.
                |timeout|s|0s|The length of time to wait before giving up on a scale operation

                """, scale),
        Command(
            "rollout status", "(TYPE NAME | TYPE/NAME) [flags]", "Show the status of the rollout",
            targets
                + "w|watch|b|true|Watch the status of the rollout until it's done.\n|timeout|s|0s|The length of time to wait before ending watch\n|revision|s|0|Pin to a specific revision for showing its status.\n",
            status),
        Command(
            "rollout history", "(TYPE NAME | TYPE/NAME) [flags]", "View rollout history",
            Flags.output + targets + "|revision|s|0|See the details, including podTemplate of the revision specified\n",
            RolloutHistory.history),
        Command(
            "rollout undo", "(TYPE NAME | TYPE/NAME) [flags]", "Undo a previous rollout",
            Flags.output + targets + Flags.dryRun + "|to-revision|s|0|The revision to rollback to.\n",
            RolloutHistory.undo),
        Command(
            "rollout restart", "RESOURCE", "Restart a resource",
            Flags.output + targets + Flags.manager("kubectl-rollout")
        ) { session in
            try change(session) { found in
                if found.object["spec"]["paused"].bool ?? false {
                    throw CommandError("can't restart paused deployment (run rollout resume first)")
                }
                return (
                    [
                        "spec": [
                            "template": [
                                "metadata": [
                                    "annotations": [
                                        "kubectl.kubernetes.io/restartedAt": .string(SystemClock().now().rfc3339)
                                    ]
                                ]
                            ]
                        ]
                    ], "restarted"
                )
            }
        },
        Command(
            "rollout pause", "RESOURCE", "Mark the provided resource as paused",
            Flags.output + targets + Flags.manager("kubectl-rollout")
        ) { session in
            try change(session) { found in
                if found.object["spec"]["paused"].bool ?? false {
                    throw CommandError("\(found.resource.qualified) \(GoText.quoted(found.name)) is already paused")
                }
                return (["spec": ["paused": true]], "paused")
            }
        },
        Command(
            "rollout resume", "RESOURCE", "Resume a paused resource",
            Flags.output + targets + Flags.manager("kubectl-rollout")
        ) { session in
            try change(session) { found in
                guard found.object["spec"]["paused"].bool ?? false else {
                    throw CommandError("\(found.resource.qualified) \(GoText.quoted(found.name)) is not paused")
                }
                return (["spec": ["paused": .null]], "resumed")
            }
        },
        Command(
            "wait",
            "([-f FILENAME] | resource.group/resource.name | resource.group [(-l label | --all)]) [--for=create|--for=delete|--for condition=available|--for=jsonpath='{}'[=value]]",
            "Experimental: Wait for a specific condition on one or many resources",
            Flags.output + targets + Flags.fields + Flags.all + Flags.allNamespaces + """
                |for|a||The condition to wait on: [create|delete|condition=condition-name[=condition-value]|jsonpath='{JSONPath expression}'=[JSONPath value]].
                |timeout|s|30s|The length of time to wait before giving up.
                |local|b||Not supported

                """, wait),
    ]

    private static func scale(_ session: Session) throws {
        let options = session.options
        guard options.isSet("replicas") else { throw CommandError("required flag(s) \"replicas\" not set") }
        let replicas = try options.int("replicas")
        guard replicas >= 0 else {
            throw CommandError("The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0")
        }
        if session.arguments.isEmpty, !options.isSet("filename") {
            throw CommandError(
                "You must provide one or more resources by argument or filename.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'"
            )
        }
        var errors = ErrorList()
        let found = try session.find(session.arguments, errors: &errors)
        if found.isEmpty, errors.errors.isEmpty { throw CommandError("no objects passed to scale") }
        for item in found {
            errors.collect {
                guard item.resource.subresources.contains("scale") else {
                    throw APIError(
                        code: 404, reason: "NotFound", message: "the server could not find the requested resource")
                }
                let path = item.resource.path(item.namespace, item.name, "scale")
                let current = try session.api.get(path)
                let expected = try options.int("current-replicas")
                let have = current["spec"]["replicas"].int ?? 0
                if expected >= 0, have != expected {
                    throw CommandError("Expected replicas to be \(expected), was \(have)")
                }
                if let revision = options.given("resource-version"),
                    revision != current["metadata"]["resourceVersion"].string
                {
                    throw CommandError(
                        "Expected resource version to be \(revision), was \(current["metadata"]["resourceVersion"].string ?? "")"
                    )
                }
                var object = item.object
                if try session.dryRun() != .client {
                    _ = try session.api.call(
                        "PATCH", path, query: try session.writeQuery(manager: "kubectl"),
                        body: ["spec": ["replicas": .int(replicas)]],
                        type: PatchType.merge.rawValue)
                    let timeout = try options.seconds("timeout")
                    let until = Terminal.now + timeout
                    while timeout > 0 {
                        let now = try session.api.get(path)
                        if now["status"]["replicas"].int ?? 0 == replicas { break }
                        if Terminal.now > until { throw CommandError("timed out waiting for the condition") }
                        Terminal.sleep(0.2)
                    }
                    if options.isSet("output") { object = try session.api.get(item.path) }
                }
                try session.report(object, item.resource, "scaled")
            }
        }
        if options.isSet("output") { try session.printer.finish() }
        try errors.throwIfAny()
    }

    private static func change(_ session: Session, _ patch: (Session.Found) throws -> (JSON, String)) throws {
        if session.arguments.isEmpty, !session.options.isSet("filename") {
            throw CommandError("required resource not specified")
        }
        var errors = ErrorList()
        for item in try session.find(session.arguments, errors: &errors) {
            errors.collect {
                let spec = item.object["spec"]
                let verb = session.command.split(separator: " ").last.map(String.init) ?? ""
                let fits =
                    verb == "restart"
                    ? !spec["template"].isNull && item.resource.group == "apps"
                    : item.resource.qualified == "deployments.apps"
                guard fits else {
                    throw CommandError(
                        "\(item.resource.qualified) \(GoText.quoted(item.name)) \(verb == "restart" ? "restarting" : verb == "pause" ? "pausing" : "resuming") is not supported"
                    )
                }
                let (body, done) = try patch(item)
                let after = try session.api.call(
                    "PATCH", item.path, query: try session.writeQuery(manager: "kubectl-rollout"), body: body,
                    type: PatchType.merge.rawValue)
                try session.report(after, item.resource, done)
            }
        }
        try errors.throwIfAny()
    }

    // MARK: - rollout status

    private static func status(_ session: Session) throws {
        if session.arguments.isEmpty, !session.options.isSet("filename") {
            throw CommandError("required resource not specified")
        }
        var errors = ErrorList()
        let found = try session.find(session.arguments, errors: &errors)
        let timeout = try session.options.seconds("timeout")
        let until = Terminal.now + timeout
        for item in found {
            errors.collect {
                var told = ""
                var object = item.object
                while true {
                    let (text, isDone) = try RolloutHistory.progress(
                        item.resource, object, try session.options.int("revision"))
                    if text != told { Terminal.out(text) }
                    told = text
                    if isDone || !session.options.bool("watch") { return }
                    if timeout > 0, Terminal.now > until { throw CommandError("timed out waiting for the condition") }
                    Terminal.sleep(0.2)
                    object = try session.api.get(item.path)
                }
            }
        }
        try errors.throwIfAny()
    }

    // MARK: - wait

    private static func wait(_ session: Session) throws {
        let options = session.options
        guard let condition = options.list("for").last else { throw CommandError("unrecognized condition: []") }
        var timeout = try options.seconds("timeout")
        if timeout < 0 { timeout = 7 * 86400 }
        let until = Terminal.now + timeout
        let parts = condition.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let met: (JSON) throws -> Bool
        switch parts[0].lowercased() {
        case "delete" where parts.count == 1: met = { _ in false }
        case "create" where parts.count == 1: met = { _ in true }
        case "condition" where parts.count == 2:
            let pair = parts[1].split(separator: "=", maxSplits: 1).map(String.init)
            let (name, wanted) = (pair[0].lowercased(), (pair.count == 2 ? pair[1] : "true").lowercased())
            met = { object in
                object["status"]["conditions"].elements.contains { entry in
                    guard entry["type"].string?.lowercased() == name, entry["status"].string?.lowercased() == wanted
                    else { return false }
                    // What was seen of an older version of the object does not count.
                    guard let seen = entry["observedGeneration"].int ?? object["status"]["observedGeneration"].int,
                        let now = object["metadata"]["generation"].int
                    else { return true }
                    return seen >= now
                }
            }
        case "jsonpath" where parts.count == 2:
            var expression = parts[1]
            var wanted: String?
            if let end = expression.lastIndex(of: "}") {
                let rest = expression[expression.index(after: end)...]
                if rest.hasPrefix("=") { wanted = String(rest.dropFirst()) }
                expression = String(expression[...end])
            } else if let equals = expression.firstIndex(of: "=") {
                wanted = String(expression[expression.index(after: equals)...])
                expression = String(expression[..<equals])
            }
            if wanted == "" {
                throw CommandError(
                    "jsonpath wait has to have a value after equal sign, like --for=jsonpath='{.status.readyReplicas}'=3"
                )
            }
            let path = try JSONPath(relaxed: expression)
            met = { object in
                let values = try path.values(object)
                guard let wanted else { return !values.isEmpty }
                guard values.count < 2 else {
                    throw CommandError("given jsonpath expression matches more than one value")
                }
                return values.first.map(JSONPath.shown) == wanted
            }
        default: throw CommandError("unrecognized condition: \(GoText.quoted(condition))")
        }
        if session.arguments.isEmpty, !options.isSet("filename") {
            throw CommandError(
                "You must provide one or more resources by argument or filename.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'"
            )
        }
        let isDelete = parts[0] == "delete"
        let isCreate = parts[0] == "create"
        var found: [Session.Found] = []
        while true {
            var errors = ErrorList()
            found = try session.find(session.arguments, errors: &errors)
            let real = errors.errors.filter { (($0 as? APIError)?.isNotFound ?? false) == false }
            if let first = real.first { throw first }
            if isCreate {
                if !found.isEmpty, errors.errors.isEmpty { break }
                if Terminal.now > until {
                    throw CommandError(
                        "timed out waiting for the condition on \(session.arguments.joined(separator: "/"))")
                }
                Terminal.sleep(0.2)
                continue
            }
            if !isDelete { try errors.throwIfAny() }
            break
        }
        if found.isEmpty {
            if isDelete { return }
            throw CommandError("no matching resources found")
        }
        var errors = ErrorList()
        for item in found {
            errors.collect {
                let label = "\(item.resource.singularName)/\(item.name)"
                var object = item.object
                while true {
                    if try met(object) { break }
                    do {
                        let now = try session.api.get(item.path)
                        if isDelete, now["metadata"]["uid"] != item.object["metadata"]["uid"] { break }
                        object = now
                    } catch let error as APIError where error.isNotFound {
                        if isDelete { break }
                        throw error
                    }
                    if try met(object) { break }
                    if Terminal.now > until {
                        throw CommandError(
                            "timed out waiting for the condition on \(item.resource.plural)/\(item.name)")
                    }
                    Terminal.sleep(0.1)
                }
                if options.isSet("output") {
                    try session.printer.print(object)
                } else {
                    Terminal.line("\(label) condition met")
                }
            }
        }
        try errors.throwIfAny()
    }
}
