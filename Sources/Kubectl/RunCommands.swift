import Codecs
import KubeAPI
import Linux

/// `run`, `expose`, `set image`, `autoscale`.
enum RunCommands {
    static let all: [Command] = [
        Command(
            "run",
            "NAME --image=image [--env=\"key=value\"] [--port=port] [--dry-run=server|client] [--overrides=inline-json] [--command] -- [COMMAND] [args...]",
            "Run a particular image on the cluster",
            Flags.output + Flags.dryRun + Flags.manager("kubectl-run") + """
                |image|s||The image for the container to run.
                |command|b||If true and extra arguments are present, use them as the 'command' field in the container.
                |env|a||Environment variables to set in the container.
                l|labels|s||Comma separated labels to apply to the pod.
                |annotations|a||Annotations to apply to the pod.
                |port|s||The port that this container exposes.
                |expose|b||If true, create a ClusterIP service associated with the pod. Requires `--port`.
                |restart|s|Always|The restart policy for this Pod. Legal values [Always, OnFailure, Never].
                |image-pull-policy|s||The image pull policy for the container.
                |overrides|s||An inline JSON override for the generated object.
                |override-type|s|merge|The method used to override the generated object: json, merge, or strategic.
                |privileged|b||If true, run the container in privileged mode.
                i|stdin|b||Keep stdin open on the container in the pod, even if nothing is attached.
                t|tty|b||Allocate a TTY for the container in the pod.
                |attach|b||If true, wait for the Pod to start running, and then attach to the Pod.
                |rm|b||If true, delete the pod after it exits. Only valid when attaching to the container.
                q|quiet|b||If true, suppress prompt messages.
                |leave-stdin-open|b||Accepted
                |pod-running-timeout|s|1m0s|The length of time to wait until at least one pod is running
                |save-config|b||If true, the configuration of current object will be saved in its annotation.

                """, run),
        Command(
            "expose",
            "(-f FILENAME | TYPE NAME) [--port=port] [--protocol=TCP|UDP|SCTP] [--target-port=number-or-name] [--name=name] [--type=type]",
            "Take a replication controller, service, deployment or pod and expose it as a new Kubernetes service",
            Flags.output + Flags.files + Flags.dryRun + Flags.manager("kubectl-expose") + """
                |port|s||The port that the service should serve on.
                |protocol|s||The network protocol for the service to be created. Default is 'TCP'.
                |target-port|s||Name or number for the port on the container that the service should direct traffic to.
                |name|s||The name for the newly created object.
                |type|s||Type for this service: ClusterIP, NodePort, LoadBalancer, or ExternalName.
                |selector|s||A label selector to use for this service.
                l|labels|s||Labels to apply to the service created by this call.
                |cluster-ip|s||ClusterIP to be assigned to the service. Set to 'None' to create a headless service.
                |external-ip|s||Additional external IP address to accept for the service.
                |session-affinity|s||If non-empty, set the session affinity for the service to this; legal values: 'None', 'ClientIP'
                |overrides|s||Not supported
                |save-config|b||If true, the configuration of current object will be saved in its annotation.

                """, expose),
        Command(
            "set image",
            "(-f FILENAME | TYPE NAME) CONTAINER_NAME_1=CONTAINER_IMAGE_1 ... CONTAINER_NAME_N=CONTAINER_IMAGE_N",
            "Update existing container image(s) of resources", Flags.change("kubectl-set"), setImage),
        Command(
            "autoscale", "(-f FILENAME | TYPE NAME | TYPE/NAME) [--min=MINPODS] --max=MAXPODS [--cpu=CPU]",
            "Auto-scale a deployment, replica set, stateful set, or replication controller",
            Flags.output + Flags.files + Flags.dryRun + Flags.manager("kubectl-autoscale") + """
                |min|s|-1|The lower limit for the number of pods that can be set by the autoscaler.
                |max|s|-1|The upper limit for the number of pods that can be set by the autoscaler. Required.
                |cpu|s||Target CPU utilization over all the pods, such as 50%.
                |cpu-percent|s|-1|Target CPU utilization in percent.
                |name|s||The name for the newly created object.
                |save-config|b||If true, the configuration of current object will be saved in its annotation.

                """, autoscale),
    ]

    private static func run(_ session: Session) throws {
        let options = session.options
        guard let name = session.arguments.first, options.dash != 0 else {
            throw CommandError.usage("NAME is required for run", "run")
        }
        let image = options.string("image")
        guard !image.isEmpty else { throw CommandError("required flag(s) \"image\" not set") }
        let restart = options.string("restart")
        guard ["Always", "OnFailure", "Never"].contains(restart) else {
            throw CommandError("invalid restart policy: \(restart), valid values are: Always, OnFailure, Never")
        }
        if options.bool("rm"), !options.bool("attach"), !options.bool("stdin") {
            throw CommandError("--rm should only be used for attached containers")
        }
        var container: JSON = ["image": .string(image), "name": .string(name), "resources": [:]]
        let words = Array(session.arguments.dropFirst())
        if !words.isEmpty { container[options.bool("command") ? "command" : "args"] = .strings(words) }
        for entry in options.list("env") {
            let pair = entry.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard pair.count == 2, !pair[0].isEmpty else { throw CommandError("invalid env: \(entry)") }
            container["env"].append(["name": .string(pair[0]), "value": .string(pair[1])])
        }
        if let port = options.given("port") {
            guard let number = Int64(port) else { throw CommandError("invalid port: \(port)") }
            container["ports"] = [["containerPort": .int(number)]]
        }
        if let policy = options.given("image-pull-policy") { container["imagePullPolicy"] = .string(policy) }
        if options.bool("privileged") { container["securityContext"] = ["privileged": true] }
        if options.bool("stdin") { (container["stdin"], container["stdinOnce"]) = (true, true) }
        if options.bool("tty") { container["tty"] = true }
        let labels: JSON = try options.given("labels").map(CreateCommands.pairs) ?? ["run": .string(name)]
        var pod: JSON = [
            "apiVersion": "v1", "kind": "Pod", "metadata": ["labels": labels, "name": .string(name)],
            "spec": ["containers": [container], "dnsPolicy": "ClusterFirst", "restartPolicy": .string(restart)],
            "status": [:],
        ]
        for entry in options.list("annotations") {
            let pair = entry.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            pod["metadata"]["annotations"][pair[0]] = .string(pair.count == 2 ? pair[1] : "")
        }
        if let text = options.given("overrides") {
            let types = ["json": PatchType.json, "merge": .merge, "strategic": .strategic]
            guard let type = types[options.string("override-type")] else {
                throw CommandError("--override-type must be json, merge or strategic")
            }
            pod = try Patch.apply(type, try JSON.parse(text), to: pod, as: GroupVersionKind("", "v1", "Pod"))
        }
        let attaches = options.bool("attach") || options.bool("stdin")
        if attaches, try session.dryRun() == .none { return try attached(session, pod, name) }
        try CreateCommands.send(session, pod, manager: "kubectl-run")
        if options.bool("expose") {
            guard let port = options.given("port").flatMap({ Int64($0) }) else {
                throw CommandError("--port must be set when exposing a service")
            }
            try CreateCommands.send(
                session,
                [
                    "apiVersion": "v1", "kind": "Service", "metadata": ["name": .string(name)],
                    "spec": [
                        "ports": [["port": .int(port), "protocol": "TCP", "targetPort": .int(port)]],
                        "selector": labels,
                    ],
                    "status": ["loadBalancer": [:]],
                ], manager: "kubectl-run")
        }
    }

    /// Created, waited for, attached to, and with `--rm` deleted.
    private static func attached(_ session: Session, _ pod: JSON, _ name: String) throws {
        let options = session.options
        var pod = pod
        let namespace = try session.namespace
        pod["metadata"]["namespace"] = .string(namespace)
        _ = try session.api.call(
            "POST", "/api/v1/namespaces/\(namespace)/pods", query: try session.writeQuery(manager: "kubectl-run"),
            body: pod)
        let path = "/api/v1/namespaces/\(namespace)/pods/\(name)"
        func delete() throws {
            guard options.bool("rm") else { return }
            _ = try session.api.call("DELETE", path, body: ["kind": "DeleteOptions", "apiVersion": "v1"])
            if !options.bool("quiet") {
                Terminal.line("pod \(GoText.quoted(name)) deleted from \(namespace) namespace")
            }
        }
        let until = try Terminal.now + options.seconds("pod-running-timeout")
        var now = try session.api.get(path)
        var phase: String { now["status"]["phase"].string ?? "" }
        while phase == "Pending" || phase.isEmpty {
            guard Terminal.now < until else {
                try delete()
                throw CommandError("timed out waiting for the condition")
            }
            Terminal.sleep(0.1)
            now = try session.api.get(path)
        }
        var failure: (any Error)?
        do {
            if phase == "Running" {
                try ExecCommands.attach(session, now, container: name)
            } else {
                Terminal.write(try session.api.raw("GET", path + "/log"), to: STDOUT_FILENO)
            }
        } catch { failure = error }
        // The pod's own end counts, where it has one.
        if failure == nil, pod["spec"]["restartPolicy"].string != "Always" {
            let end = Terminal.now + 60
            while !["Succeeded", "Failed"].contains(phase), Terminal.now < end {
                Terminal.sleep(0.1)
                now = try session.api.get(path)
            }
            let code = now["status"]["containerStatuses"].elements.first?["state"]["terminated"]["exitCode"].int ?? 0
            if code != 0 {
                failure = CommandError(
                    "pod \(namespace)/\(name) terminated (\(now["status"]["containerStatuses"][0]["state"]["terminated"]["reason"].shown))\n",
                    code: Int32(clamping: code), plain: true)
            }
        }
        try delete()
        if let failure { throw failure }
    }

    private static func expose(_ session: Session) throws {
        let options = session.options
        guard !session.arguments.isEmpty || options.isSet("filename") else {
            throw CommandError(
                "You must provide one or more resources by argument or filename.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'"
            )
        }
        for found in try session.findAll(session.arguments) {
            let (object, spec) = (found.object, found.object["spec"])
            let selector: JSON
            switch found.resource.qualified {
            case _ where options.isSet("selector"): selector = try CreateCommands.pairs(options.string("selector"))
            case "services", "replicationcontrollers": selector = spec["selector"]
            case "pods":
                selector = object["metadata"]["labels"]
                guard !selector.isNull else {
                    throw CommandError(
                        "couldn't retrieve selectors via --selector flag or introspection: the pod has no labels and cannot be exposed"
                    )
                }
            case "deployments.apps", "replicasets.apps":
                guard spec["selector"]["matchExpressions"].elements.isEmpty else {
                    throw CommandError(
                        "couldn't retrieve selectors via --selector flag or introspection: couldn't convert expressions - \"\(spec["selector"]["matchExpressions"].text)\" to map-based selector format"
                    )
                }
                selector = spec["selector"]["matchLabels"]
            default:
                throw CommandError(
                    "cannot expose a \(found.resource.kind)\(found.resource.group.isEmpty ? "" : "." + found.resource.group)"
                )
            }
            let template = found.resource.qualified == "pods" ? spec : spec["template"]["spec"]
            var ports: [(number: Int64, proto: String)] = []
            if found.resource.qualified == "services" {
                ports = spec["ports"].elements.map { ($0["port"].int ?? 0, $0["protocol"].string ?? "TCP") }
            } else {
                ports = template["containers"].elements.flatMap { $0["ports"].elements }.map {
                    ($0["containerPort"].int ?? 0, $0["protocol"].string ?? "TCP")
                }
            }
            if let given = options.given("port") {
                let known = ports
                ports = try given.split(separator: ",").map { part in
                    guard let number = Int64(part) else { throw CommandError("invalid port: \(part)") }
                    return (number, known.first { $0.number == number }?.proto ?? "TCP")
                }
            }
            guard !ports.isEmpty else {
                throw CommandError(
                    "couldn't find port via --port flag or introspection\nSee 'kubectl expose -h' for help and examples"
                )
            }
            var entries: [JSON] = []
            for (i, port) in ports.enumerated() {
                let target = options.given("target-port")
                var entry: JSON = [
                    "port": .int(port.number), "protocol": .string(options.given("protocol") ?? port.proto),
                    "targetPort": target.map { Int64($0).map(JSON.int) ?? .string($0) } ?? .int(port.number),
                ]
                if ports.count > 1 { entry["name"] = .string("port-\(i + 1)") }
                entries.append(entry)
            }
            var service: JSON = [
                "apiVersion": "v1", "kind": "Service",
                "metadata": ["name": .string(options.given("name") ?? found.name)],
            ]
            let labels = try options.given("labels").map(CreateCommands.pairs) ?? object["metadata"]["labels"]
            if !labels.isNull { service["metadata"]["labels"] = labels }
            var body: JSON = ["ports": .array(entries), "selector": selector]
            if let type = options.given("type") { body["type"] = .string(type) }
            if let address = options.given("cluster-ip") { body["clusterIP"] = .string(address) }
            if let address = options.given("external-ip") { body["externalIPs"] = [.string(address)] }
            if let affinity = options.given("session-affinity") { body["sessionAffinity"] = .string(affinity) }
            service["spec"] = body
            service["status"] = ["loadBalancer": [:]]
            try CreateCommands.send(session, service, verb: "exposed", manager: "kubectl-expose")
        }
    }

    private static func setImage(_ session: Session) throws {
        let words = Array(session.arguments.prefix { !$0.utf8.contains(UInt8(ascii: "=")) })
        var images: [(name: String, image: String)] = []
        for word in session.arguments.dropFirst(words.count) {
            let pair = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard pair.count == 2, !pair[1].isEmpty else {
                throw CommandError("all resources must be specified before image changes: \(word)")
            }
            images.append((pair[0], pair[1]))
        }
        if words.isEmpty, !session.options.isSet("filename") {
            throw CommandError("one or more resources must be specified as <resource> <name> or <resource>/<name>")
        }
        guard !images.isEmpty else { throw CommandError("at least one image update is required") }
        var errors = ErrorList()
        for found in try session.find(words, errors: &errors) {
            errors.collect {
                let isCron = found.resource.qualified == "cronjobs.batch"
                let isPod = found.resource.qualified == "pods"
                let root =
                    isCron
                    ? found.object["spec"]["jobTemplate"]["spec"]["template"]["spec"]
                    : isPod ? found.object["spec"] : found.object["spec"]["template"]["spec"]
                var changes: [JSON] = []
                let base = isCron ? "/spec/jobTemplate/spec/template/spec" : isPod ? "/spec" : "/spec/template/spec"
                for (name, image) in images {
                    var isThere = false
                    for list in ["initContainers", "containers"] {
                        for (i, container) in root[list].elements.enumerated()
                        where name == "*" || container["name"].string == name {
                            isThere = true
                            guard container["image"].string != image else { continue }
                            changes.append([
                                "op": "replace", "path": .string("\(base)/\(list)/\(i)/image"), "value": .string(image),
                            ])
                        }
                    }
                    guard isThere else { throw CommandError("unable to find container named \(GoText.quoted(name))") }
                }
                if changes.isEmpty { return }
                var after = found.object
                if try session.dryRun() != .client {
                    after = try session.api.call(
                        "PATCH", found.path, query: try session.writeQuery(manager: "kubectl-set"),
                        body: .array(changes), type: PatchType.json.rawValue)
                }
                try session.report(after, found.resource, "image updated")
            }
        }
        try errors.throwIfAny()
    }

    private static func autoscale(_ session: Session) throws {
        let options = session.options
        let most = try options.int("max")
        guard most > 0 else {
            throw CommandError(
                options.isSet("max")
                    ? "--max=MAXPODS is required and must be at least 1, max: \(most)"
                    : "required flag(s) \"max\" not set")
        }
        for found in try session.findAll(session.arguments) {
            guard found.resource.subresources.contains("scale") else {
                throw CommandError("cannot autoscale a \(found.resource.kind)")
            }
            var spec: JSON = [
                "maxReplicas": .int(most),
                "scaleTargetRef": [
                    "apiVersion": .string(found.resource.apiVersion), "kind": .string(found.resource.kind),
                    "name": .string(found.name),
                ],
            ]
            let least = try options.int("min")
            if least > 0 { spec["minReplicas"] = .int(least) }
            let percent = try options.int("cpu-percent")
            let cpu = options.given("cpu") ?? (percent >= 0 ? "\(percent)%" : nil)
            if let cpu {
                let target: JSON =
                    cpu.hasSuffix("%")
                    ? ["type": "Utilization", "averageUtilization": .int(Int64(cpu.dropLast()) ?? 0)]
                    : ["type": "AverageValue", "averageValue": .string(cpu)]
                spec["metrics"] = [["type": "Resource", "resource": ["name": "cpu", "target": target]]]
            }
            try CreateCommands.send(
                session,
                [
                    "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
                    "metadata": ["name": .string(options.given("name") ?? found.name)], "spec": spec,
                ],
                verb: "autoscaled", manager: "kubectl-autoscale")
        }
    }
}
