internal import Codecs
internal import KubeAPI

/// Nodes. A kubelet registers its node together with the status; its later heartbeats, where nothing but their time
/// changes, may reach the disk later.
struct NodeStrategy: ResourceStrategy {
    var selectableFields: [SelectableField] { [SelectableField("spec.unschedulable", absent: "false")] }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        var seen: Set<String> = []
        for (i, taint) in object.spec["taints"].elements.enumerated() {
            let path = "spec.taints[\(i)]"
            let key = taint["key"].string ?? ""
            if let problem = LabelSyntax.keyProblem(key) { check.add(.invalid("\(path).key", .string(key), problem)) }
            if let value = taint["value"].string, let problem = LabelSyntax.valueProblem(value) {
                check.add(.invalid("\(path).value", .string(value), problem))
            }
            check.oneOf(
                taint["effect"], ["NoSchedule", "PreferNoSchedule", "NoExecute"], "\(path).effect", required: true)
            if !seen.insert("\(key):\(taint["effect"].string ?? "")").inserted { check.add(.duplicate(path, taint)) }
        }
        let networks = object.spec["podCIDRs"].elements.compactMap { IPNetwork($0.string ?? "") }
        if networks.count > 2 || networks.count == 2 && networks[0].base.isIPv6 == networks[1].base.isIPv6 {
            check.add(
                .invalid(
                    "spec.podCIDRs", object.spec["podCIDRs"],
                    "may specify no more than one CIDR for each IP family"))
        }
        for (i, network) in object.spec["podCIDRs"].elements.enumerated() where IPNetwork(network.string ?? "") == nil {
            check.add(
                .invalid(
                    "spec.podCIDRs[\(i)]", network, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"))
        }
    }

    func prepareForUpdate(_ object: inout KubeObject, old: KubeObject, subresource: String, _ scope: RequestScope) {
        // podCIDR and podCIDRs are two names of one thing.
        guard subresource.isEmpty else { return }
        if old.spec["configSource"].isNull { object.json["spec"]["configSource"] = .null }
        if let first = object.spec["podCIDR"].string, object.spec["podCIDRs"].elements.isEmpty {
            object.json["spec"]["podCIDRs"] = [.string(first)]
        }
    }

    func prepareForCreate(_ object: inout KubeObject, _ scope: RequestScope) {
        // Settings that came from the API: a feature that has gone.
        if !object.spec["configSource"].isNull { object.json["spec"]["configSource"] = .null }
        if let first = object.spec["podCIDR"].string, object.spec["podCIDRs"].elements.isEmpty {
            object.json["spec"]["podCIDRs"] = [.string(first)]
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        guard subresource.isEmpty else {
            if subresource == "status" { checkStatus(object.status, &check) }
            return
        }
        validateCreate(object, &check)
        let networks = old.spec["podCIDRs"]
        if !networks.elements.isEmpty, object.spec["podCIDRs"] != networks {
            check.add(.forbidden("spec.podCIDRs", "node updates may not change podCIDR except from \"\" to valid"))
        }
        let provider = old.spec["providerID"].string ?? ""
        if !provider.isEmpty, object.spec["providerID"].string != provider {
            check.add(.forbidden("spec.providerID", "node updates may not change providerID except from \"\" to valid"))
        }
    }

    private func checkStatus(_ status: JSON, _ check: inout Validation) {
        DeviceRules.unique(status["addresses"].elements, "status.addresses", &check) { $0 }
        for key in ["capacity", "allocatable"] {
            for (name, amount) in status[key].object ?? JSONObject() {
                guard let quantity = amount.quantity, quantity < .zero else { continue }
                check.add(.invalid("status.\(key).\(name)", amount, "must be greater than or equal to 0"))
            }
        }
    }

    func durability(of object: KubeObject, old: KubeObject, subresource: String) -> WriteUrgency {
        guard subresource == "status", object.metadata["labels"] == old.metadata["labels"],
            object.metadata["annotations"] == old.metadata["annotations"]
        else { return .durable }
        return Self.withoutHeartbeats(object.status) == Self.withoutHeartbeats(old.status) ? .deferred : .durable
    }

    private static func withoutHeartbeats(_ status: JSON) -> JSON {
        var status = status
        var conditions = status["conditions"].elements
        for i in conditions.indices { conditions[i]["lastHeartbeatTime"] = .null }
        status["conditions"] = .array(conditions)
        return status
    }
}
