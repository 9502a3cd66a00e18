internal import Codecs
internal import KubeAPI

extension PodStrategy {
    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        PodSpecValidation.check(object.spec, "spec", &check)
        if !object.spec["ephemeralContainers"].elements.isEmpty {
            check.add(.forbidden("spec.ephemeralContainers", "cannot be set on create"))
        }
        let gates = object.spec["schedulingGates"].elements
        if !gates.isEmpty, !(object.spec["nodeName"].string ?? "").isEmpty {
            check.add(.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared"))
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        switch subresource {
        case "": validateSpecUpdate(object, old, &check)
        case "status": validateStatus(object, old, &check)
        case "ephemeralcontainers": validateEphemeral(object, old, &check)
        case "resize": validateResize(object, old, &check)
        default: break
        }
    }

    /// What may change of a running pod: images, the deadline (sooner), tolerations (more), and a negative grace period.
    private func validateSpecUpdate(_ object: KubeObject, _ old: KubeObject, _ check: inout Validation) {
        let (new, before) = (object.spec, old.spec)
        for key in ["containers", "initContainers"]
        where new[key].elements.count != before[key].elements.count {
            check.add(.forbidden("spec.\(key)", "pod updates may not add or remove containers"))
            return
        }
        for key in ["containers", "initContainers"] {
            for (i, container) in new[key].elements.enumerated() where (container["image"].string ?? "").isEmpty {
                check.add(.required("spec.\(key)[\(i)].image"))
            }
        }
        checkDeadline(new["activeDeadlineSeconds"], before["activeDeadlineSeconds"], &check)
        // By their text without the seconds: somebody may send a hundred thousand of them.
        let tolerations = Set(new["tolerations"].elements.map(Self.identity))
        if !before["tolerations"].elements.allSatisfy({ tolerations.contains(Self.identity($0)) }) {
            check.add(
                .forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds"))
        }
        let oldGates = before["schedulingGates"].elements
        for gate in new["schedulingGates"].elements where !oldGates.contains(gate) {
            check.add(
                .forbidden(
                    "spec.schedulingGates",
                    "only deletion is allowed, but found new scheduling gate '\(gate["name"].string ?? "")'"))
        }
        if !oldGates.isEmpty { checkGated(new, before, &check) }
        let differing = Self.differences(Self.masked(new, like: before, gated: !oldGates.isEmpty), before)
        guard !differing.isEmpty else { return }
        check.add(
            .forbidden(
                "spec",
                "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
                    + "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
                    + "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"
                    + differing.joined(separator: "\n")))
    }

    private func checkDeadline(_ new: JSON, _ old: JSON, _ check: inout Validation) {
        guard new != old, let before = old.int else {
            if let seconds = new.int, seconds < 1 {
                check.add(.invalid("spec.activeDeadlineSeconds", new, "must be between 1 and 2147483647, inclusive"))
            }
            return
        }
        guard let now = new.int else {
            check.add(
                .invalid(
                    "spec.activeDeadlineSeconds", .null,
                    "must not update from a positive integer to nil value"))
            return
        }
        if now > before {
            check.add(
                .invalid("spec.activeDeadlineSeconds", new, "must be less than or equal to previous value"))
        }
    }

    private static func identity(_ toleration: JSON) -> String {
        JSON.strings(["key", "operator", "value", "effect"].map { toleration[$0].string ?? "" }).text
    }

    /// The new spec with what may change put back to what it was.
    private static func masked(_ new: JSON, like old: JSON, gated: Bool) -> JSON {
        var spec = new
        for key in ["containers", "initContainers"] where !new[key].isNull {
            var containers = new[key].elements
            for i in containers.indices { containers[i]["image"] = old[key][i]["image"] }
            spec[key] = .array(containers)
        }
        for key in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] { spec[key] = old[key] }
        if (old["terminationGracePeriodSeconds"].int ?? 0) < 0, new["terminationGracePeriodSeconds"] == 1 {
            spec["terminationGracePeriodSeconds"] = old["terminationGracePeriodSeconds"]
        }
        if gated {
            // A gated pod's placement may still be narrowed.
            spec["nodeSelector"] = old["nodeSelector"]
            let affinity = old["affinity"]["nodeAffinity"]
            if spec["affinity"]["nodeAffinity"] != affinity {
                spec["affinity"]["nodeAffinity"] = affinity
                if old["affinity"].isNull, spec["affinity"].object?.members.allSatisfy({ $0.value.isNull }) ?? true {
                    spec["affinity"] = .null
                }
            }
        }
        return spec
    }

    /// Selectors and affinities of a pod that waits may be added to (KEP-3838).
    private func checkGated(_ new: JSON, _ old: JSON, _ check: inout Validation) {
        if !old["nodeSelector"].stringMap.allSatisfy({ new["nodeSelector"][$0.key].string == $0.value }) {
            check.add(
                .invalid(
                    "spec.nodeSelector", new["nodeSelector"],
                    "only additions to spec.nodeSelector are allowed (no mutations or deletions)"))
        }
        let required = "requiredDuringSchedulingIgnoredDuringExecution"
        let path = "spec.affinity.nodeAffinity.\(required).nodeSelectorTerms"
        let terms = { (spec: JSON) in spec["affinity"]["nodeAffinity"][required]["nodeSelectorTerms"].elements }
        let (now, before) = (terms(new), terms(old))
        if before.isEmpty { return }
        guard now.count == before.count else {
            check.add(
                .invalid(
                    path, .array(now), "no additions/deletions to non-empty NodeSelectorTerms list are allowed"))
            return
        }
        for (i, term) in before.enumerated() {
            let isKept = ["matchExpressions", "matchFields"].allSatisfy { key in
                Array(now[i][key].elements.prefix(term[key].elements.count)) == term[key].elements
            }
            // A term without anything matches no node: adding to it would widen.
            let isEmpty = term["matchExpressions"].elements.isEmpty && term["matchFields"].elements.isEmpty
            if !isKept || isEmpty && now[i] != term {
                check.add(
                    .invalid("\(path)[\(i)]", now[i], "only additions are allowed (no mutations or deletions)"))
            }
        }
    }

    static func differences(_ new: JSON, _ old: JSON) -> [String] {
        let keys = Set((new.object ?? JSONObject()).keys).union((old.object ?? JSONObject()).keys)
        return keys.sorted().filter { new[$0] != old[$0] }.flatMap {
            ["- \($0): \(old[$0].text)", "+ \($0): \(new[$0].text)"]
        }
    }

    private func checkAddresses(_ list: [JSON], _ check: inout Validation) {
        var families: [Bool] = []
        for (i, entry) in list.enumerated() {
            if let address = IPAddress(entry["ip"].string ?? "") {
                families.append(address.isIPv6)
            } else {
                check.add(.invalid("status.podIPs[\(i)]", entry["ip"], IPAddress.invalidText))
            }
        }
        if families.count > 1, families.count > 2 || families[0] == families[1] {
            check.add(
                .invalid("status.podIPs", .array(list), "may specify no more than one IP for each IP family"))
        }
        DeviceRules.unique(list, "status.podIPs", &check) { $0 }
    }

    private func validateStatus(_ object: KubeObject, _ old: KubeObject, _ check: inout Validation) {
        if let name = object.status["nominatedNodeName"].string, !name.isEmpty,
            let problem = LabelSyntax.subdomainProblem(name)
        {
            check.add(.invalid("status.nominatedNodeName", .string(name), problem))
        }
        checkAddresses(object.status["podIPs"].elements, &check)
        let before = old.status["qosClass"]
        if !before.isNull { check.immutable(object.status["qosClass"], before, "status.qosClass") }
    }
}
