internal import Codecs
internal import KubeAPI

/// What `pods/ephemeralcontainers` and `pods/resize` may change, and nothing else.
/// Source: ValidatePodEphemeralContainersUpdate and ValidatePodResize of pkg/apis/core/validation, KEP-277, KEP-1287.
extension PodStrategy {
    private static let mirror = "kubernetes.io/config.mirror"

    // MARK: - Ephemeral containers

    static func with(_ spec: JSON, ephemeral containers: JSON) -> JSON {
        var spec = spec
        spec["ephemeralContainers"] = containers.elements.isEmpty ? .null : containers
        return spec
    }

    /// What is for services that last.
    private static let lasting = [
        "ports", "resources", "resizePolicy", "restartPolicy", "restartPolicyRules", "livenessProbe", "readinessProbe",
        "startupProbe", "lifecycle",
    ]

    func validateEphemeral(_ object: KubeObject, _ old: KubeObject, _ check: inout Validation) {
        let path = "spec.ephemeralContainers"
        if object.annotations[Self.mirror] != nil {
            check.add(.forbidden("", "static pods do not support ephemeral containers"))
        }
        let spec = object.spec
        let others = (spec["containers"].elements + spec["initContainers"].elements).compactMap { $0["name"].string }
        let volumes = Set(spec["volumes"].elements.compactMap { $0["name"].string })
        let containers = spec["ephemeralContainers"].elements
        var names = Set(others)
        for (i, container) in containers.enumerated() {
            let place = "\(path)[\(i)]"
            ContainerValidation(container: container, path: place, volumes: volumes, isInit: false).run(&check)
            let name = container["name"].string ?? ""
            if !name.isEmpty, !names.insert(name).inserted {
                check.add(.duplicate("\(place).name", .string(name)))
            }
            if let target = container["targetContainerName"].string, !target.isEmpty, !others.contains(target) {
                check.add(
                    .init(
                        .notFound, "\(place).targetContainerName", "Not found: \(JSON.string(target).text)"))
            }
            for key in Self.lasting where !container[key].isNull && container[key] != .object(JSONObject()) {
                check.add(.forbidden("\(place).\(key)", "cannot be set for an Ephemeral Container"))
            }
            for (j, mount) in container["volumeMounts"].elements.enumerated() {
                for key in ["subPath", "subPathExpr"] where !(mount[key].string ?? "").isEmpty {
                    check.add(
                        .forbidden("\(place).volumeMounts[\(j)].\(key)", "cannot be set for an Ephemeral Container"))
                }
            }
        }
        for known in old.spec["ephemeralContainers"].elements {
            let name = known["name"].string ?? ""
            guard let now = containers.first(where: { $0["name"] == known["name"] }) else {
                check.add(.forbidden(path, "existing ephemeral containers \"\(name)\" may not be removed\n"))
                continue
            }
            guard now != known else { continue }
            let changes = Self.differences(now, known).joined(separator: "\n")
            check.add(
                .forbidden(path, "existing ephemeral containers \"\(name)\" may not be changed\n\(changes)"))
        }
    }

    // MARK: - Resizing

    private static let lists = ["containers", "initContainers"]

    /// The resources of each container, and nothing else of what was sent; containers are compared in validation.
    static func resized(_ spec: JSON, to asked: JSON) -> JSON {
        var spec = spec
        for key in lists where !asked[key].isNull || !spec[key].isNull {
            let known = spec[key].elements
            var containers = asked[key].elements
            let names = known.map { $0["name"] }
            // Another set or order of containers is left in place, to be refused with its reason.
            guard containers.map({ $0["name"] }) == names else {
                spec[key] = asked[key]
                continue
            }
            for i in containers.indices {
                var container = known[i]
                container["resources"] = containers[i]["resources"]
                container["resizePolicy"] = containers[i]["resizePolicy"]
                containers[i] = container
            }
            if !containers.isEmpty { spec[key] = .array(containers) }
        }
        if !asked["resources"].isNull || !spec["resources"].isNull { spec["resources"] = asked["resources"] }
        return spec
    }

    func validateResize(_ object: KubeObject, _ old: KubeObject, _ check: inout Validation) {
        if old.annotations[Self.mirror] != nil {
            check.add(.forbidden("", "static pods cannot be resized"))
            return
        }
        if old.spec["os"]["name"].string == "windows" {
            check.add(.forbidden("", "windows pods cannot be resized"))
            return
        }
        guard sameContainers(object.spec, old.spec, &check) else { return }
        PodSpecValidation.check(object.spec, "spec", &check)
        if PodQOS.of(object.spec) != PodQOS.of(old.spec) {
            check.add(
                .invalid(
                    "spec", .string(PodQOS.of(object.spec)), "Pod QOS Class may not change as a result of resizing"))
        }
        // A kubelet that can resize says what its running containers have.
        let running = old.status["containerStatuses"].elements.first { !$0["state"]["running"].isNull }
        if let running, running["resources"].isNull {
            check.add(.forbidden("spec", "Pod running on node without support for resize"))
        }
        for key in Self.lists {
            for (i, container) in object.spec[key].elements.enumerated() {
                let known = old.spec[key][i]
                compare(container["resources"], known["resources"], "spec.\(key)[\(i)].resources", &check)
                if container["resizePolicy"] != known["resizePolicy"] {
                    check.add(.forbidden("spec", "only cpu and memory resources are mutable"))
                }
                if key == "initContainers", known["restartPolicy"].string != "Always",
                    container["resources"] != known["resources"]
                {
                    check.add(
                        .forbidden(
                            "spec.\(key)[\(i)].resources", "resources for non-sidecar init containers are immutable")
                    )
                }
            }
        }
        compare(object.spec["resources"], old.spec["resources"], "spec.resources", &check)
    }

    private func sameContainers(_ new: JSON, _ old: JSON, _ check: inout Validation) -> Bool {
        for key in Self.lists {
            let (now, before) = (new[key].elements.map { $0["name"] }, old[key].elements.map { $0["name"] })
            if now.count != before.count {
                check.add(.forbidden("spec.\(key)", "\(key) may not be added or removed on resize"))
                return false
            }
            if now != before {
                check.add(.forbidden("spec.\(key)", "\(key) may not be renamed or reordered on resize"))
                return false
            }
        }
        return true
    }

    private func compare(_ new: JSON, _ old: JSON, _ path: String, _ check: inout Validation) {
        for (kind, word) in [("requests", "requests"), ("limits", "limits")] {
            for (name, amount) in old[kind].object ?? JSONObject() where ["cpu", "memory"].contains(name) {
                if new[kind][name].isNull, amount.quantity.map({ $0 > .zero }) ?? false {
                    check.add(.forbidden("\(path).\(kind)", "resource \(word) cannot be removed"))
                }
            }
            let names = Set((new[kind].object ?? JSONObject()).keys).union((old[kind].object ?? JSONObject()).keys)
            for name in names.sorted() where !["cpu", "memory"].contains(name) {
                if new[kind][name] != old[kind][name] {
                    check.add(.forbidden("spec", "only cpu and memory resources are mutable"))
                    return
                }
            }
        }
    }
}
