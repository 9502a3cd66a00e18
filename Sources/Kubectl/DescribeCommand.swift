import Codecs
import KubeAPI
import Linux

/// `kubectl describe`: a page for each kind that people look at, and one for all others.
enum DescribeCommands {
    static let all: [Command] = [
        Command(
            "describe", "(-f FILENAME | TYPE [NAME_PREFIX | -l label] | TYPE/NAME) [options]",
            "Show details of a specific resource or group of resources",
            Flags.files + Flags.selector + Flags.allNamespaces + """
                |show-events|b|true|If true, display events related to the described object.
                |chunk-size|s|500|Return large lists in chunks rather than all at once. Pass 0 to disable.

                """, run)
    ]

    private typealias Page = @Sendable (Session, Session.Found, inout DescribeText) throws -> Void

    private static let pages: [(kind: String, page: Page)] = [
        ("pods", { _, found, out in out.pod(found.object) }),
        ("deployments.apps", deployment), ("replicasets.apps", replicaSet), ("statefulsets.apps", statefulSet),
        ("daemonsets.apps", daemonSet), ("jobs.batch", job), ("cronjobs.batch", cronJob), ("services", service),
        ("nodes", node), ("configmaps", configMap), ("secrets", secret), ("serviceaccounts", serviceAccount),
        ("namespaces", namespace), ("persistentvolumeclaims", claim), ("persistentvolumes", volume),
        ("storageclasses.storage.k8s.io", storageClass), ("ingresses.networking.k8s.io", ingress),
        ("endpointslices.discovery.k8s.io", endpointSlice), ("roles.rbac.authorization.k8s.io", role),
        ("clusterroles.rbac.authorization.k8s.io", role), ("rolebindings.rbac.authorization.k8s.io", binding),
        ("clusterrolebindings.rbac.authorization.k8s.io", binding), ("resourcequotas", quota),
        ("priorityclasses.scheduling.k8s.io", priorityClass), ("poddisruptionbudgets.policy", budget),
    ]
    /// Those that show no events.
    private static let withoutEvents: Set<String> = [
        "secrets", "namespaces", "roles.rbac.authorization.k8s.io", "clusterroles.rbac.authorization.k8s.io",
        "rolebindings.rbac.authorization.k8s.io", "clusterrolebindings.rbac.authorization.k8s.io", "resourcequotas",
    ]

    private static func run(_ session: Session) throws {
        if session.arguments.isEmpty, !session.options.isSet("filename"), !session.options.isSet("kustomize") {
            throw CommandError(
                "You must specify the type of resource to describe. Use \"kubectl api-resources\" for a complete list of supported resources."
            )
        }
        var errors = ErrorList()
        var found = try session.find(session.arguments, errors: &errors)
        if found.isEmpty, errors.errors.count == 1, let error = errors.errors.first as? APIError, error.isNotFound {
            // The word may be how several names begin.
            found = try byPrefix(session)
            if found.isEmpty { throw error }
            errors = ErrorList()
        }
        if found.isEmpty, errors.errors.isEmpty {
            let isNamespaced = try session.targets(session.arguments).allSatisfy(\.resource.namespaced)
            Terminal.error(
                isNamespaced && !session.options.bool("all-namespaces")
                    ? "No resources found in \(try session.namespace) namespace." : "No resources found")
        }
        for (i, item) in found.enumerated() {
            if i > 0 { Terminal.out("\n\n") }
            var out = DescribeText()
            let name = item.resource.qualified
            if let page = pages.first(where: { $0.kind == name })?.page {
                try page(session, item, &out)
            } else {
                out.head(item.object)
                out.marks(item.object)
                out.content(item.object)
            }
            if session.options.bool("show-events"), !withoutEvents.contains(name) {
                try out.events(session, item, byName: name == "nodes")
            }
            Terminal.out(TabText.described(out.text))
        }
        try errors.throwIfAny()
    }

    private static func byPrefix(_ session: Session) throws -> [Session.Found] {
        guard session.arguments.count == 2, let target = try session.targets(session.arguments).first,
            let name = target.names.first
        else { return [] }
        return try session.pages(target.resource, query: []).flatMap { $0["items"].elements }
            .filter { ($0["metadata"]["name"].string ?? "").hasPrefix(name) }
            .map { item in
                var item = item
                item["apiVersion"] = .string(target.resource.apiVersion)
                item["kind"] = .string(target.resource.kind)
                return Session.Found(resource: target.resource, object: item)
            }
    }

    // MARK: - Workloads

    static func selector(_ value: JSON) -> String {
        guard let selector = try? LabelSelector(json: value), !value.isNull else { return "<unset>" }
        return selector.text.isEmpty ? "<none>" : selector.text
    }

    private static func pods(_ session: Session, _ found: Session.Found) throws -> String {
        guard let selector = try? LabelSelector(json: found.object["spec"]["selector"]).text else { return "" }
        let list = try session.api.get(
            "/api/v1/namespaces/\(found.namespace)/pods", query: [("labelSelector", selector)])
        var counts: [String: Int] = [:]
        let uid = found.object["metadata"]["uid"]
        for pod in list["items"].elements
        where pod["metadata"]["ownerReferences"].elements.contains(where: {
            $0["uid"] == uid && $0["controller"].bool == true
        }) {
            counts[pod["status"]["phase"].shown, default: 0] += 1
        }
        return ["Running", "Pending:Waiting", "Succeeded", "Failed"].map { entry in
            let parts = entry.split(separator: ":").map(String.init)
            return "\(counts[parts[0]] ?? 0) \(parts.last ?? "")"
        }.joined(separator: " / ")
    }

    private static func deployment(_ session: Session, _ found: Session.Found, _ out: inout DescribeText) throws {
        let (object, spec, status) = (found.object, found.object["spec"], found.object["status"])
        func count(_ key: String) -> Int64 { status[key].int ?? 0 }
        out.head(object)
        out.field("CreationTimestamp", DescribeText.time(object["metadata"]["creationTimestamp"]))
        out.marks(object)
        out.field("Selector", selector(spec["selector"]))
        out.field(
            "Replicas",
            "\(spec["replicas"].int ?? 0) desired | \(count("updatedReplicas")) updated | \(count("replicas")) total | \(count("availableReplicas")) available | \(count("unavailableReplicas")) unavailable"
        )
        out.field("StrategyType", spec["strategy"]["type"].shown)
        out.field("MinReadySeconds", "\(spec["minReadySeconds"].int ?? 0)")
        let rolling = spec["strategy"]["rollingUpdate"]
        if !rolling.isNull {
            out.field(
                "RollingUpdateStrategy",
                "\(rolling["maxUnavailable"].shown) max unavailable, \(rolling["maxSurge"].shown) max surge")
        }
        out.template(spec["template"])
        out.conditions(object)
        let sets = try RolloutHistory.revisions(session, found).map(\.object)
        func told(_ list: [JSON]) -> String {
            list.isEmpty
                ? "<none>"
                : list.map {
                    "\($0["metadata"]["name"].shown) (\($0["status"]["replicas"].int ?? 0)/\($0["spec"]["replicas"].int ?? 0) replicas created)"
                }.joined(separator: ", ")
        }
        out.field("OldReplicaSets", told(Array(sets.dropLast())))
        out.field("NewReplicaSet", told(Array(sets.suffix(1))))
    }

    private static func replicaSet(_ session: Session, _ found: Session.Found, _ out: inout DescribeText) throws {
        let object = found.object
        out.head(object)
        out.field("Selector", selector(object["spec"]["selector"]))
        out.marks(object)
        out.controller(object)
        out.field(
            "Replicas",
            "\(object["status"]["replicas"].int ?? 0) current / \(object["spec"]["replicas"].int ?? 0) desired")
        out.field("Pods Status", try pods(session, found))
        out.template(object["spec"]["template"])
        out.conditions(object)
    }

    private static func statefulSet(_ session: Session, _ found: Session.Found, _ out: inout DescribeText) throws {
        let (object, spec) = (found.object, found.object["spec"])
        out.head(object)
        out.field("CreationTimestamp", DescribeText.time(object["metadata"]["creationTimestamp"]))
        out.field("Selector", selector(spec["selector"]))
        out.marks(object)
        out.field("Replicas", "\(spec["replicas"].int ?? 0) desired | \(object["status"]["replicas"].int ?? 0) total")
        out.field("Update Strategy", spec["updateStrategy"]["type"].shown)
        if let partition = spec["updateStrategy"]["rollingUpdate"]["partition"].int {
            out.line(1, "Partition:\t\(partition)")
        }
        out.field("Pods Status", try pods(session, found))
        out.template(spec["template"])
        let claims = spec["volumeClaimTemplates"].elements
        guard !claims.isEmpty else { return out.field("Volume Claims", "<none>") }
        out.line(0, "Volume Claims:")
        for claim in claims {
            out.line(1, "Name:\t\(claim["metadata"]["name"].shown)")
            out.line(1, "StorageClass:\t\(claim["spec"]["storageClassName"].shown)")
            var inner = DescribeText()
            inner.labels("  Labels", claim["metadata"]["labels"])
            inner.annotations(claim["metadata"]["annotations"], title: "  Annotations")
            for line in inner.text.split(separator: "\n") { out.line(0, String(line)) }
            out.line(1, "Capacity:\t\(claim["spec"]["resources"]["requests"]["storage"].string ?? "<default>")")
            out.line(1, "Access Modes:\t[\(claim["spec"]["accessModes"].texts.joined(separator: " "))]")
        }
    }

    private static func daemonSet(_ session: Session, _ found: Session.Found, _ out: inout DescribeText) throws {
        let (object, status) = (found.object, found.object["status"])
        func count(_ key: String) -> Int64 { status[key].int ?? 0 }
        out.field("Name", found.name)
        out.field("Namespace", found.namespace)
        out.field("Selector", selector(object["spec"]["selector"]))
        out.labels("Node-Selector", object["spec"]["template"]["spec"]["nodeSelector"])
        out.marks(object)
        out.field("Desired Number of Nodes Scheduled", "\(count("desiredNumberScheduled"))")
        out.field("Current Number of Nodes Scheduled", "\(count("currentNumberScheduled"))")
        out.field("Number of Nodes Scheduled with Up-to-date Pods", "\(count("updatedNumberScheduled"))")
        out.field("Number of Nodes Scheduled with Available Pods", "\(count("numberAvailable"))")
        out.field("Number of Nodes Misscheduled", "\(count("numberMisscheduled"))")
        out.field("Pods Status", try pods(session, found))
        out.template(object["spec"]["template"])
    }

    private static func job(_ session: Session, _ found: Session.Found, _ out: inout DescribeText) throws {
        let (object, spec, status) = (found.object, found.object["spec"], found.object["status"])
        out.head(object)
        out.field("Selector", selector(spec["selector"]))
        out.marks(object)
        out.controller(object)
        out.field("Parallelism", spec["parallelism"].isNull ? "<unset>" : spec["parallelism"].shown)
        out.field("Completions", spec["completions"].isNull ? "<unset>" : spec["completions"].shown)
        if let mode = spec["completionMode"].string { out.field("Completion Mode", mode) }
        if let suspended = spec["suspend"].bool { out.field("Suspend", "\(suspended)") }
        if let limit = spec["backoffLimit"].int { out.field("Backoff Limit", "\(limit)") }
        if let seconds = spec["ttlSecondsAfterFinished"].int { out.field("TTL Seconds After Finished", "\(seconds)") }
        if !status["startTime"].isNull { out.field("Start Time", DescribeText.time(status["startTime"])) }
        if !status["completionTime"].isNull { out.field("Completed At", DescribeText.time(status["completionTime"])) }
        if let start = status["startTime"].string.flatMap({ Timestamp($0) }),
            let end = status["completionTime"].string.flatMap({ Timestamp($0) })
        {
            out.field("Duration", HumanDuration.text(seconds: end.seconds - start.seconds))
        }
        if let seconds = spec["activeDeadlineSeconds"].int { out.field("Active Deadline Seconds", "\(seconds)s") }
        let active = status["active"].int ?? 0
        if let ready = status["ready"].int {
            out.field(
                "Pods Statuses",
                "\(active) Active (\(ready) Ready) / \(status["succeeded"].int ?? 0) Succeeded / \(status["failed"].int ?? 0) Failed"
            )
        } else {
            out.field(
                "Pods Statuses",
                "\(active) Active / \(status["succeeded"].int ?? 0) Succeeded / \(status["failed"].int ?? 0) Failed")
        }
        if let indexes = status["completedIndexes"].string { out.field("Completed Indexes", indexes) }
        out.template(spec["template"])
    }

    private static func cronJob(_ session: Session, _ found: Session.Found, _ out: inout DescribeText) throws {
        let (object, spec) = (found.object, found.object["spec"])
        func orUnset(_ value: JSON) -> String { value.isNull ? "<unset>" : value.shown }
        out.head(object)
        out.marks(object)
        out.field("Schedule", spec["schedule"].shown)
        out.field("Concurrency Policy", spec["concurrencyPolicy"].shown)
        out.field("Suspend", spec["suspend"].bool == true ? "True" : "False")
        out.field("Time Zone", orUnset(spec["timeZone"]))
        out.field("Successful Job History Limit", orUnset(spec["successfulJobsHistoryLimit"]))
        out.field("Failed Job History Limit", orUnset(spec["failedJobsHistoryLimit"]))
        out.field(
            "Starting Deadline Seconds",
            spec["startingDeadlineSeconds"].isNull ? "<unset>" : spec["startingDeadlineSeconds"].shown + "s")
        let inner = spec["jobTemplate"]["spec"]
        out.field("Selector", inner["selector"].isNull ? "<unset>" : selector(inner["selector"]))
        out.field("Parallelism", orUnset(inner["parallelism"]))
        out.field("Completions", orUnset(inner["completions"]))
        out.template(inner["template"])
        out.field(
            "Last Schedule Time",
            object["status"]["lastScheduleTime"].isNull
                ? "<unset>" : DescribeText.time(object["status"]["lastScheduleTime"]))
        let active = object["status"]["active"].elements
        out.field("Active Jobs", active.isEmpty ? "<none>" : active.map { $0["name"].shown }.joined(separator: ", "))
    }

    // MARK: - Network

    private static func service(_ session: Session, _ found: Session.Found, _ out: inout DescribeText) throws {
        let (object, spec) = (found.object, found.object["spec"])
        out.head(object)
        out.marks(object)
        out.labels("Selector", spec["selector"])
        out.field("Type", spec["type"].shown)
        if let policy = spec["ipFamilyPolicy"].string { out.field("IP Family Policy", policy) }
        let families = spec["ipFamilies"].texts
        out.field("IP Families", families.isEmpty ? "<none>" : families.joined(separator: ","))
        out.field("IP", spec["clusterIP"].shown)
        let addresses = spec["clusterIPs"].texts
        out.field("IPs", addresses.isEmpty ? "<none>" : addresses.joined(separator: ","))
        if !spec["externalIPs"].elements.isEmpty {
            out.field("External IPs", spec["externalIPs"].texts.joined(separator: ","))
        }
        if let address = spec["loadBalancerIP"].string { out.field("Desired LoadBalancer IP", address) }
        if let name = spec["externalName"].string { out.field("External Name", name) }
        let ingress = object["status"]["loadBalancer"]["ingress"].elements.map {
            $0["ip"].string ?? $0["hostname"].shown
        }
        if !ingress.isEmpty { out.field("LoadBalancer Ingress", ingress.joined(separator: ", ")) }
        let slices = try session.api.get(
            "/apis/discovery.k8s.io/v1/namespaces/\(found.namespace)/endpointslices",
            query: [("labelSelector", "kubernetes.io/service-name=\(found.name)")])["items"].elements
        for port in spec["ports"].elements {
            let name = port["name"].string ?? "<unset>"
            out.field("Port", "\(name)\t\(port["port"].shown)/\(port["protocol"].string ?? "TCP")")
            out.field("TargetPort", "\(port["targetPort"].shown)/\(port["protocol"].string ?? "TCP")")
            if let number = port["nodePort"].int, number != 0 {
                out.field("NodePort", "\(name)\t\(number)/\(port["protocol"].string ?? "TCP")")
            }
            var endpoints: [String] = []
            for slice in slices {
                for entry in slice["ports"].elements where entry["name"].shown == port["name"].shown {
                    for endpoint in slice["endpoints"].elements where endpoint["conditions"]["ready"].bool != false {
                        for address in endpoint["addresses"].texts {
                            endpoints.append(
                                (address.utf8.contains(UInt8(ascii: ":")) ? "[\(address)]" : address) + ":"
                                    + entry["port"].shown)
                        }
                    }
                }
            }
            let more = endpoints.count > 3 ? " + \(endpoints.count - 3) more..." : ""
            out.field("Endpoints", endpoints.prefix(3).joined(separator: ",") + more)
        }
        out.field("Session Affinity", spec["sessionAffinity"].shown)
        if let policy = spec["externalTrafficPolicy"].string { out.field("External Traffic Policy", policy) }
        if let policy = spec["internalTrafficPolicy"].string { out.field("Internal Traffic Policy", policy) }
        if let port = spec["healthCheckNodePort"].int, port != 0 { out.field("HealthCheck NodePort", "\(port)") }
    }

    private static func ingress(_ session: Session, _ found: Session.Found, _ out: inout DescribeText) throws {
        let spec = found.object["spec"]
        func backend(_ value: JSON) -> String {
            let service = value["service"]
            guard !service.isNull else {
                return
                    "APIGroup: \(value["resource"]["apiGroup"].shown), Kind: \(value["resource"]["kind"].shown), Name: \(value["resource"]["name"].shown)"
            }
            return "\(service["name"].shown):\(service["port"]["name"].shown)\(service["port"]["number"].shown)"
        }
        out.field("Name", found.name)
        out.labels("Labels", found.object["metadata"]["labels"])
        out.field("Namespace", found.namespace)
        let addresses = found.object["status"]["loadBalancer"]["ingress"].elements.map {
            $0["ip"].string ?? $0["hostname"].shown
        }
        out.field("Address", addresses.joined(separator: ","))
        out.field("Ingress Class", spec["ingressClassName"].string ?? "<none>")
        out.field("Default backend", spec["defaultBackend"].isNull ? "<default>" : backend(spec["defaultBackend"]))
        if !spec["tls"].elements.isEmpty {
            out.line(0, "TLS:")
            for entry in spec["tls"].elements {
                let name = entry["secretName"].string.map { "\($0)" } ?? "SNI routes"
                out.line(1, "\(name) terminates \(entry["hosts"].texts.joined(separator: ","))")
            }
        }
        out.line(0, "Rules:\n  Host\tPath\tBackends")
        out.line(0, "  ----\t----\t--------")
        for rule in spec["rules"].elements {
            out.line(1, "\(rule["host"].string ?? "*")\t")
            for path in rule["http"]["paths"].elements {
                out.line(2, "\t\(path["path"].shown) \t\(backend(path["backend"])) (<none>)")
            }
        }
        if spec["rules"].elements.isEmpty { out.line(1, "*\t*\t\(backend(spec["defaultBackend"]))") }
        out.annotations(found.object["metadata"]["annotations"])
    }

    private static func endpointSlice(_ session: Session, _ found: Session.Found, _ out: inout DescribeText) throws {
        let object = found.object
        out.head(object)
        out.marks(object)
        out.field("AddressType", object["addressType"].shown)
        if object["ports"].elements.isEmpty {
            out.field("Ports", "<unset>")
        } else {
            out.line(0, "Ports:\n  Name\tPort\tProtocol")
            out.line(0, "  ----\t----\t--------")
            for port in object["ports"].elements {
                let name = port["name"].string ?? ""
                out.line(1, "\(name.isEmpty ? "<unset>" : name)\t\(port["port"].shown)\t\(port["protocol"].shown)")
            }
        }
        if object["endpoints"].elements.isEmpty { return out.line(0, "Endpoints: <none>") }
        out.line(0, "Endpoints:")
        for endpoint in object["endpoints"].elements {
            out.line(1, "- Addresses:\t\(endpoint["addresses"].texts.joined(separator: ", "))")
            out.line(2, "Conditions:")
            out.line(3, "Ready:\t\(endpoint["conditions"]["ready"].shown)")
            out.line(2, "Hostname:\t\(endpoint["hostname"].string ?? "<unset>")")
            if !endpoint["targetRef"].isNull {
                out.line(2, "TargetRef:\t\(endpoint["targetRef"]["kind"].shown)/\(endpoint["targetRef"]["name"].shown)")
            }
            out.line(2, "NodeName:\t\(endpoint["nodeName"].string ?? "<unset>")")
            out.line(2, "Zone:\t\(endpoint["zone"].string ?? "<unset>")")
        }
    }

    // MARK: - Configuration

    private static func configMap(_ session: Session, _ found: Session.Found, _ out: inout DescribeText) throws {
        out.head(found.object)
        out.marks(found.object)
        out.line(0, "\nData\n====")
        for (key, value) in found.object["data"].stringMap.sorted(by: { $0.key < $1.key }) {
            out.line(0, "\(key):\n----\n\(value)\n")
        }
        out.line(0, "\nBinaryData\n====")
        for (key, value) in found.object["binaryData"].stringMap.sorted(by: { $0.key < $1.key }) {
            out.line(0, "\(key): \(Base64.decode(value)?.count ?? 0) bytes")
        }
        out.line(0, "")
    }

    private static func secret(_ session: Session, _ found: Session.Found, _ out: inout DescribeText) throws {
        out.head(found.object)
        out.marks(found.object)
        out.line(0, "\nType:\t\(found.object["type"].shown)\n\nData\n====")
        for (key, value) in found.object["data"].stringMap.sorted(by: { $0.key < $1.key }) {
            let bytes = Base64.decode(value) ?? []
            let isToken = key == "token" && found.object["type"].string == "kubernetes.io/service-account-token"
            out.field(key, isToken ? String(decoding: bytes, as: UTF8.self) : "\(bytes.count) bytes")
        }
    }

    private static func serviceAccount(_ session: Session, _ found: Session.Found, _ out: inout DescribeText) throws {
        out.head(found.object)
        out.marks(found.object)
        for (title, key) in [("Image pull secrets", "imagePullSecrets")] {
            let names = found.object[key].elements.map { $0["name"].shown }
            if names.isEmpty { out.field(title, "<none>") }
            for (i, name) in names.enumerated() { out.line(0, (i == 0 ? title + ":" : "") + "\t\(name)") }
        }
    }

    private static func namespace(_ session: Session, _ found: Session.Found, _ out: inout DescribeText) throws {
        out.field("Name", found.name)
        out.marks(found.object)
        out.field("Status", found.object["status"]["phase"].shown)
        let quotas = try session.api.get("/api/v1/namespaces/\(found.name)/resourcequotas")["items"].elements
        if quotas.isEmpty {
            out.line(0, "\nNo resource quota.")
        } else {
            out.line(0, "\nResource Quotas")
            for item in quotas {
                out.line(1, "Name:\t\(item["metadata"]["name"].shown)")
                out.line(1, "Resource\tUsed\tHard")
                out.line(1, "--------\t---\t---")
                for (key, hard) in item["status"]["hard"].stringMap.sorted(by: { $0.key < $1.key }) {
                    out.line(1, "\(key)\t\(item["status"]["used"][key].shown)\t\(hard)")
                }
            }
        }
        let limits = try session.api.get("/api/v1/namespaces/\(found.name)/limitranges")["items"].elements
        if limits.isEmpty { return out.line(0, "\nNo LimitRange resource.") }
        out.line(
            0, "\nResource Limits\n Type\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio")
        out.line(0, " ----\t--------\t---\t---\t---------------\t-------------\t-----------------------")
        for item in limits.flatMap({ $0["spec"]["limits"].elements }) {
            let keys = Set(
                ["min", "max", "defaultRequest", "default", "maxLimitRequestRatio"].flatMap {
                    item[$0].object?.keys ?? []
                })
            for key in keys.sorted() {
                let cells = ["min", "max", "defaultRequest", "default", "maxLimitRequestRatio"].map {
                    item[$0][key].string ?? "-"
                }
                out.line(0, " \(item["type"].shown)\t\(key)\t" + cells.joined(separator: "\t"))
            }
        }
    }

    private static func quota(_ session: Session, _ found: Session.Found, _ out: inout DescribeText) throws {
        out.head(found.object)
        let scopes = found.object["spec"]["scopes"].texts
        if !scopes.isEmpty { out.field("Scopes", scopes.joined(separator: ", ")) }
        out.line(0, "Resource\tUsed\tHard")
        out.line(0, "--------\t----\t----")
        for (key, hard) in found.object["status"]["hard"].stringMap.sorted(by: { $0.key < $1.key }) {
            out.line(0, "\(key)\t\(found.object["status"]["used"][key].shown)\t\(hard)")
        }
    }

    private static func priorityClass(_ session: Session, _ found: Session.Found, _ out: inout DescribeText) throws {
        let object = found.object
        out.field("Name", found.name)
        out.field("Value", object["value"].shown)
        out.field("GlobalDefault", "\(object["globalDefault"].bool ?? false)")
        out.field("PreemptionPolicy", object["preemptionPolicy"].shown)
        out.field("Description", object["description"].shown)
        out.annotations(object["metadata"]["annotations"])
    }

    private static func budget(_ session: Session, _ found: Session.Found, _ out: inout DescribeText) throws {
        let (spec, status) = (found.object["spec"], found.object["status"])
        out.head(found.object)
        if !spec["minAvailable"].isNull { out.field("Min available", spec["minAvailable"].shown) }
        if !spec["maxUnavailable"].isNull { out.field("Max unavailable", spec["maxUnavailable"].shown) }
        out.field("Selector", selector(spec["selector"]))
        out.line(0, "Status:")
        for (title, key) in [
            ("Allowed disruptions", "disruptionsAllowed"), ("Current", "currentHealthy"), ("Desired", "desiredHealthy"),
            ("Total", "expectedPods"),
        ] { out.field(title, "\(status[key].int ?? 0)", level: 2) }
    }

    private static func role(_ session: Session, _ found: Session.Found, _ out: inout DescribeText) throws {
        out.field("Name", found.name)
        out.marks(found.object)
        out.line(0, "PolicyRule:\n  Resources\tNon-Resource URLs\tResource Names\tVerbs")
        out.line(0, "  ---------\t-----------------\t--------------\t-----")
        var rows: [(key: String, line: String)] = []
        for rule in found.object["rules"].elements {
            let tail =
                "[\(rule["nonResourceURLs"].texts.joined(separator: " "))]\t[\(rule["resourceNames"].texts.joined(separator: " "))]\t[\(rule["verbs"].texts.joined(separator: " "))]"
            let verbs = rule["verbs"].texts.joined(separator: " ")
            if rule["resources"].elements.isEmpty { rows.append((verbs, "  \t\(tail)")) }
            for resource in rule["resources"].texts {
                for group in rule["apiGroups"].texts {
                    let name = group.isEmpty ? resource : "\(resource).\(group)"
                    rows.append(("\(verbs) \(group) \(resource)", "  \(name)\t\(tail)"))
                }
            }
        }
        for row in rows.sorted(by: { $0.key < $1.key }) { out.line(0, row.line) }
    }

    private static func binding(_ session: Session, _ found: Session.Found, _ out: inout DescribeText) throws {
        out.field("Name", found.name)
        out.marks(found.object)
        out.line(
            0,
            "Role:\n  Kind:\t\(found.object["roleRef"]["kind"].shown)\n  Name:\t\(found.object["roleRef"]["name"].shown)\nSubjects:\n  Kind\tName\tNamespace"
        )
        out.line(0, "  ----\t----\t---------")
        for subject in found.object["subjects"].elements {
            out.line(0, "  \(subject["kind"].shown)\t\(subject["name"].shown)\t\(subject["namespace"].shown)")
        }
    }

    // MARK: - Storage

    private static func modes(_ list: JSON) -> String {
        let short = ["ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"]
        return list.texts.map { short[$0] ?? $0 }.joined(separator: ",")
    }

    private static func claim(_ session: Session, _ found: Session.Found, _ out: inout DescribeText) throws {
        let (object, spec) = (found.object, found.object["spec"])
        out.head(object)
        out.field("StorageClass", spec["storageClassName"].shown)
        out.field(
            "Status",
            object["metadata"]["deletionTimestamp"].isNull
                ? object["status"]["phase"].shown
                : "Terminating (lasts \(Age.text(object["metadata"]["deletionTimestamp"])))")
        out.field("Volume", spec["volumeName"].shown)
        out.marks(object)
        out.field("Finalizers", "[\(object["metadata"]["finalizers"].texts.joined(separator: " "))]")
        let isBound = !(spec["volumeName"].string ?? "").isEmpty
        out.field("Capacity", isBound ? object["status"]["capacity"]["storage"].shown : "")
        out.field("Access Modes", isBound ? modes(object["status"]["accessModes"]) : "")
        out.field("VolumeMode", spec["volumeMode"].string ?? "Filesystem")
        let users = try session.api.get("/api/v1/namespaces/\(found.namespace)/pods")["items"].elements.filter { pod in
            pod["spec"]["volumes"].elements.contains { $0["persistentVolumeClaim"]["claimName"].string == found.name }
        }.map { $0["metadata"]["name"].shown }
        if users.isEmpty { out.field("Used By", "<none>") }
        for (i, name) in users.enumerated() { out.line(0, (i == 0 ? "Used By:" : "") + "\t\(name)") }
    }

    private static func volume(_ session: Session, _ found: Session.Found, _ out: inout DescribeText) throws {
        let (object, spec) = (found.object, found.object["spec"])
        out.field("Name", found.name)
        out.marks(object)
        out.field("Finalizers", "[\(object["metadata"]["finalizers"].texts.joined(separator: " "))]")
        out.field("StorageClass", spec["storageClassName"].shown)
        out.field("Status", object["status"]["phase"].shown)
        let claim = spec["claimRef"]
        out.field("Claim", claim.isNull ? "" : "\(claim["namespace"].shown)/\(claim["name"].shown)")
        out.field("Reclaim Policy", spec["persistentVolumeReclaimPolicy"].shown)
        out.field("Access Modes", modes(spec["accessModes"]))
        out.field("VolumeMode", spec["volumeMode"].string ?? "Filesystem")
        out.field("Capacity", spec["capacity"]["storage"].shown)
        let terms = spec["nodeAffinity"]["required"]["nodeSelectorTerms"].elements
        if terms.isEmpty {
            out.field("Node Affinity", "<none>")
        } else {
            out.line(0, "Node Affinity:\t\n  Required Terms:\t")
            for (i, term) in terms.enumerated() {
                let texts = term["matchExpressions"].elements.map {
                    "\($0["key"].shown) \($0["operator"].shown.lowercased()) [\($0["values"].texts.joined(separator: ", "))]"
                }
                for (j, text) in texts.enumerated() { out.line(0, j == 0 ? "    Term \(i):\t\(text)" : "\t\(text)") }
            }
        }
        out.field("Message", object["status"]["message"].shown)
        out.line(0, "Source:")
        if let local = spec.object?["local"] {
            out.line(
                0,
                "    Type:\tLocalVolume (a persistent volume backed by local storage on a node)\n    Path:\t\(local["path"].shown)"
            )
        } else {
            out.source(spec)
        }
    }

    private static func storageClass(_ session: Session, _ found: Session.Found, _ out: inout DescribeText) throws {
        let object = found.object
        func pairs(_ map: JSON) -> String {
            map.stringMap.isEmpty
                ? "<none>"
                : map.stringMap.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
        }
        out.field("Name", found.name)
        out.field(
            "IsDefaultClass",
            object["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"].string == "true"
                ? "Yes" : "No")
        out.field("Annotations", pairs(object["metadata"]["annotations"]))
        out.field("Provisioner", object["provisioner"].shown)
        out.field("Parameters", pairs(object["parameters"]))
        out.field(
            "AllowVolumeExpansion", object["allowVolumeExpansion"].bool.map { $0 ? "True" : "False" } ?? "<unset>")
        let options = object["mountOptions"].texts
        out.field("MountOptions", options.isEmpty ? "<none>" : options.joined(separator: "\n  "))
        out.field("ReclaimPolicy", object["reclaimPolicy"].shown)
        out.field("VolumeBindingMode", object["volumeBindingMode"].shown)
    }

    // MARK: - Nodes

    private static func node(_ session: Session, _ found: Session.Found, _ out: inout DescribeText) throws {
        let (object, spec, status) = (found.object, found.object["spec"], found.object["status"])
        let roles = (object["metadata"]["labels"].object?.keys ?? []).filter {
            $0.hasPrefix("node-role.kubernetes.io/")
        }
        .map { String($0.dropFirst("node-role.kubernetes.io/".count)) }.filter { !$0.isEmpty }.sorted()
        out.field("Name", found.name)
        out.field("Roles", roles.isEmpty ? "<none>" : roles.joined(separator: ","))
        out.marks(object)
        out.field("CreationTimestamp", DescribeText.time(object["metadata"]["creationTimestamp"]))
        let taints = spec["taints"].elements.map { taint in
            taint["key"].shown + ((taint["value"].string ?? "").isEmpty ? "" : "=\(taint["value"].shown)")
                + ":\(taint["effect"].shown)"
        }
        if taints.isEmpty { out.field("Taints", "<none>") }
        for (i, taint) in taints.enumerated() { out.line(0, (i == 0 ? "Taints:" : "") + "\t\(taint)") }
        out.field("Unschedulable", "\(spec["unschedulable"].bool ?? false)")
        out.line(0, "Lease:")
        let lease =
            (try? session.api.get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/\(found.name)"))
            ?? .null
        out.line(1, "HolderIdentity:\t\(lease["spec"]["holderIdentity"].string ?? "<unset>")")
        out.line(
            1,
            "AcquireTime:\t\(lease["spec"]["acquireTime"].isNull ? "<unset>" : DescribeText.time(lease["spec"]["acquireTime"]))"
        )
        out.line(
            1,
            "RenewTime:\t\(lease["spec"]["renewTime"].isNull ? "<unset>" : DescribeText.time(lease["spec"]["renewTime"]))"
        )
        out.line(0, "Conditions:\n  Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage")
        out.line(0, "  ----\t------\t-----------------\t------------------\t------\t-------")
        for entry in status["conditions"].elements {
            out.line(
                0,
                "  \(entry["type"].shown) \t\(entry["status"].shown) \t\(DescribeText.time(entry["lastHeartbeatTime"])) \t\(DescribeText.time(entry["lastTransitionTime"])) \t\(entry["reason"].shown) \t\(entry["message"].shown)"
            )
        }
        out.line(0, "Addresses:")
        for address in status["addresses"].elements {
            out.line(1, "\(address["type"].shown):\t\(address["address"].shown)")
        }
        for (title, key) in [("Capacity", "capacity"), ("Allocatable", "allocatable")] {
            out.quantities(title, status[key], level: 0)
        }
        let info = status["nodeInfo"]
        out.line(0, "System Info:")
        for (title, key) in [
            ("Machine ID", "machineID"), ("System UUID", "systemUUID"), ("Boot ID", "bootID"),
            ("Kernel Version", "kernelVersion"),
            ("OS Image", "osImage"), ("Operating System", "operatingSystem"), ("Architecture", "architecture"),
            ("Container Runtime Version", "containerRuntimeVersion"), ("Kubelet Version", "kubeletVersion"),
            ("Kube-Proxy Version", "kubeProxyVersion"),
        ] where key != "kubeProxyVersion" || !info[key].shown.isEmpty { out.line(1, "\(title):\t\(info[key].shown)") }
        if let range = spec["podCIDR"].string { out.field("PodCIDR", range) }
        if !spec["podCIDRs"].elements.isEmpty { out.field("PodCIDRs", spec["podCIDRs"].texts.joined(separator: ",")) }
        if let id = spec["providerID"].string { out.field("ProviderID", id) }
        let pods = try session.api.get(
            "/api/v1/pods",
            query: [("fieldSelector", "spec.nodeName=\(found.name),status.phase!=Succeeded,status.phase!=Failed")])
        usage(pods["items"].elements, status["allocatable"], &out)
    }

    private static func usage(_ pods: [JSON], _ allocatable: JSON, _ out: inout DescribeText) {
        out.line(0, "Non-terminated Pods:\t(\(pods.count) in total)")
        out.line(1, "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge")
        out.line(1, "---------\t----\t\t------------\t----------\t---------------\t-------------\t---")
        func sum(_ pod: JSON, _ field: String, _ resource: String) -> Quantity {
            pod["spec"]["containers"].elements.reduce(.zero) {
                $0 + (Quantity($1["resources"][field][resource].shown) ?? .zero)
            }
        }
        func told(_ quantity: Quantity, _ resource: String) -> String {
            let all = Quantity(allocatable[resource].shown) ?? .zero
            let percent = all.nanos > 0 ? quantity.nanos * 100 / all.nanos : 0
            return "\(quantity) (\(percent)%)"
        }
        var totals: [String: Quantity] = [:]
        for pod in pods {
            var cells: [String] = []
            for (resource, field) in [
                ("cpu", "requests"), ("cpu", "limits"), ("memory", "requests"), ("memory", "limits"),
            ] {
                let value = sum(pod, field, resource)
                totals[resource + field] = (totals[resource + field] ?? .zero) + value
                cells.append(told(value, resource))
            }
            out.line(
                1,
                "\(pod["metadata"]["namespace"].shown)\t\(pod["metadata"]["name"].shown)\t\t"
                    + cells.joined(separator: "\t") + "\t\(Age.text(pod["metadata"]["creationTimestamp"]))")
        }
        out.line(
            0,
            "Allocated resources:\n  (Total limits may be over 100 percent, i.e., overcommitted.)\n  Resource\tRequests\tLimits"
        )
        out.line(1, "--------\t--------\t------")
        for resource in ["cpu", "memory", "ephemeral-storage"] {
            out.line(
                1,
                "\(resource)\t\(told(totals[resource + "requests"] ?? .zero, resource))\t\(told(totals[resource + "limits"] ?? .zero, resource))"
            )
        }
        for (name, _) in (allocatable.object?.members ?? []).sorted(by: { $0.key < $1.key })
        where name.hasPrefix("hugepages-") {
            out.line(1, "\(name)\t0 (0%)\t0 (0%)")
        }
    }
}
