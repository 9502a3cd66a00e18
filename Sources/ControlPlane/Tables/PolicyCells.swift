internal import Codecs
internal import KubeAPI

/// Rows of networking, scaling, certificates and the like.
enum PolicyCells {
    @Sendable static func ingress(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        let spec = object.spec
        let className =
            spec["ingressClassName"].string ?? object.annotations["kubernetes.io/ingress.class"]
        var hosts: [String] = []
        for rule in spec["rules"].elements {
            let host = rule["host"].string ?? ""
            hosts.append(host.isEmpty ? "*" : host)
        }
        // After the third only their number is told.
        let shown =
            hosts.isEmpty
            ? "*"
            : hosts.prefix(3).joined(separator: ",")
                + (hosts.count > 3 ? " + \(hosts.count - 3) more..." : "")
        let addresses = object.status["loadBalancer"]["ingress"].elements.compactMap { item in
            item["ip"].string.flatMap { $0.isEmpty ? nil : $0 } ?? item["hostname"].string
        }
        return [
            .string(object.name), TableText.orNone(className), .string(shown),
            .string(Set(addresses).sorted().joined(separator: ",")),
            .string(spec["tls"].elements.isEmpty ? "80" : "80, 443"), .string(object.age(now)),
        ]
    }

    @Sendable static func ingressClass(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        let parameters = object.spec["parameters"]
        var text = "<none>"
        if !parameters.isNull {
            text = parameters["kind"].string ?? ""
            if let group = parameters["apiGroup"].string { text += "." + group }
            text += "/" + (parameters["name"].string ?? "")
        }
        return [
            .string(object.name), .string(object.spec["controller"].string ?? ""), .string(text),
            .string(object.age(now)),
        ]
    }

    @Sendable static func ipAddress(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        let parent = object.spec["parentRef"]
        var parts = [parent["resource"].string ?? ""]
        if let group = parent["group"].string, !group.isEmpty { parts[0] += "." + group }
        if let namespace = parent["namespace"].string, !namespace.isEmpty { parts.append(namespace) }
        parts.append(parent["name"].string ?? "")
        return [.string(object.name), .string(parent.isNull ? "<none>" : parts.joined(separator: "/"))]
    }

    @Sendable static func apiService(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        let service = object.spec["service"]
        let condition = object.condition("Available")
        let status = condition["status"].string ?? "Unknown"
        return [
            .string(object.name),
            .string(service.isNull ? "Local" : "\(service["namespace"].string ?? "")/\(service["name"].string ?? "")"),
            .string(status == "True" ? status : "\(status) (\(condition["reason"].string ?? ""))"),
            .string(object.age(now)),
        ]
    }

    @Sendable static func serviceCIDR(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        let networks = object.spec["cidrs"].elements.compactMap(\.string)
        return [.string(object.name), .string(networks.joined(separator: ",")), .string(object.age(now))]
    }

    @Sendable static func signingRequest(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        let spec = object.spec
        var text = ""
        for condition in object.status["conditions"].elements where condition["type"].string == "Denied" {
            text = "Denied"
        }
        if text.isEmpty, !object.condition("Approved").isNull { text = "Approved" }
        if text.isEmpty { text = "Pending" }
        if !object.condition("Failed").isNull { text += ",Failed" }
        if !(object.status["certificate"].string ?? "").isEmpty { text += ",Issued" }
        return [
            .string(object.name), .string(object.age(now)), TableText.orNone(spec["signerName"].string),
            .string(spec["username"].string ?? ""),
            .string(spec["expirationSeconds"].int.map { HumanDuration.text(seconds: $0) } ?? "<none>"), .string(text),
        ]
    }

    @Sendable static func autoscaler(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        let spec = object.spec
        let target = spec["scaleTargetRef"]
        return [
            .string(object.name), .string("\(target["kind"].string ?? "")/\(target["name"].string ?? "")"),
            .string(metrics(spec["metrics"].elements, object.status["currentMetrics"].elements)),
            .string(spec["minReplicas"].int.map(String.init) ?? "<unset>"), .int(spec["maxReplicas"].int ?? 0),
            .int(object.status["currentReplicas"].int ?? 0), .string(object.age(now)),
        ]
    }

    /// autoscaling/v1 knows the processor only.
    @Sendable static func oldAutoscaler(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        var row = autoscaler(object, now)
        let current = object.status["currentCPUUtilizationPercentage"].int.map { "\($0)%" } ?? "<unknown>"
        row[2] = .string(
            object.spec["targetCPUUtilizationPercentage"].int.map { "cpu: \(current)/\($0)%" } ?? "<none>")
        return row
    }

    private static func metrics(_ specs: [JSON], _ statuses: [JSON]) -> String {
        if specs.isEmpty { return "<none>" }
        var list: [String] = []
        for (i, spec) in specs.enumerated() {
            let type = spec["type"].string ?? ""
            let key = type.isEmpty ? "" : type.prefix(1).lowercased() + type.dropFirst()
            let (wanted, current) = (spec[key], i < statuses.count ? statuses[i][key]["current"] : .null)
            let target = wanted["target"]
            var text: String
            if let utilization = target["averageUtilization"].int {
                text = "\(current["averageUtilization"].int.map { "\($0)%" } ?? "<unknown>")/\(utilization)%"
            } else if let average = target["averageValue"].string {
                let suffix = type == "External" || type == "Object" ? " (avg)" : ""
                text = "\(current["averageValue"].string ?? "<unknown>")/\(average)\(suffix)"
            } else {
                text = "\(current["value"].string ?? "<unknown>")/\(target["value"].string ?? "<auto>")"
            }
            if let name = wanted["name"].string { text = "\(name): \(text)" }
            list.append(text)
        }
        // Two are shown, the rest is a number.
        return list.count > 3
            ? list.prefix(2).joined(separator: ", ") + " + \(list.count - 2) more..." : list.joined(separator: ", ")
    }

    @Sendable static func resourceClaim(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        var states: [String] = []
        if object.isBeingDeleted { states.append("deleted") }
        if object.status["allocation"].isNull {
            if !object.isBeingDeleted { states.append("pending") }
        } else {
            states.append("allocated")
            if !object.status["reservedFor"].elements.isEmpty { states.append("reserved") }
        }
        return [.string(object.name), .string(states.joined(separator: ",")), .string(object.age(now))]
    }

    @Sendable static func priorityLevel(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        let limited = object.spec["limited"]
        let queuing = limited["limitResponse"]["queuing"]
        func shown(_ value: JSON) -> JSON { .string(value.int.map(String.init) ?? "<none>") }
        let shares =
            limited.isNull ? object.spec["exempt"]["nominalConcurrencyShares"] : limited["nominalConcurrencyShares"]
        return [
            .string(object.name), .string(object.spec["type"].string ?? ""), shown(shares), shown(queuing["queues"]),
            shown(queuing["handSize"]), shown(queuing["queueLengthLimit"]), .string(object.age(now)),
        ]
    }

    @Sendable static func flowSchema(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        let dangling = object.condition("Dangling")["status"].string
        return [
            .string(object.name), .string(object.spec["priorityLevelConfiguration"]["name"].string ?? "<none>"),
            .string(String(object.spec["matchingPrecedence"].int ?? 0)),
            .string(object.spec["distinguisherMethod"]["type"].string ?? "<none>"), .string(object.age(now)),
            .string(dangling ?? "?"),
        ]
    }

    /// A reference to parameters of an admission policy.
    @Sendable static func admissionPolicy(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        let kind = object.spec["paramKind"]
        let parameters =
            kind.isNull ? "<unset>" : "\(kind["apiVersion"].string ?? "")/\(kind["kind"].string ?? "")"
        let count = object.spec[object.kind == "MutatingAdmissionPolicy" ? "mutations" : "validations"].elements.count
        return [.string(object.name), .int(Int64(count)), .string(parameters), .string(object.age(now))]
    }

    @Sendable static func admissionPolicyBinding(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        let reference = object.spec["paramRef"]
        var text = "<unset>"
        if !reference.isNull {
            let name = reference["name"].string ?? ""
            let namespace = reference["namespace"].string ?? ""
            text =
                name.isEmpty
                ? TableText.selector(reference["selector"])
                : namespace.isEmpty ? "*/\(name)" : "\(namespace)/\(name)"
        }
        return [
            .string(object.name), .string(object.spec["policyName"].string ?? ""), .string(text),
            .string(object.age(now)),
        ]
    }
}
