internal import Codecs
internal import KubeAPI

/// Which devices somebody wants, and which he got. Source: ValidateResourceClaim of pkg/apis/resource/validation.
struct ResourceClaimStrategy: ResourceStrategy {
    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        Self.devices(object.spec["devices"], "spec.devices", &check)
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        if subresource == "status" {
            status(object, old, &check)
        } else {
            check.immutable(object.spec, old.spec, "spec")
        }
    }

    // MARK: - What is wanted

    static func devices(_ devices: JSON, _ path: String, _ check: inout Validation) {
        let names = requestNames(devices)
        let requests = DeviceRules.members(devices["requests"], DeviceRules.requests, "\(path).requests", &check)
        for (i, item) in requests.enumerated() { request(item, "\(path).requests[\(i)]", &check) }
        DeviceRules.unique(requests, "\(path).requests", &check) { $0["name"] }
        for (i, constraint) in DeviceRules.members(devices["constraints"], 32, "\(path).constraints", &check)
            .enumerated()
        {
            let place = "\(path).constraints[\(i)]"
            references(constraint["requests"], names, "\(place).requests", &check)
            let (match, distinct) = (constraint["matchAttribute"].string, constraint["distinctAttribute"].string)
            if let match {
                DeviceRules.qualified(match, "\(place).matchAttribute", fully: true, &check)
            } else if let distinct {
                DeviceRules.qualified(distinct, "\(place).distinctAttribute", fully: true, &check)
            } else {
                check.add(
                    .required(
                        place,
                        "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set"
                    ))
            }
        }
        for (i, config) in DeviceRules.members(devices["config"], 32, "\(path).config", &check).enumerated() {
            references(config["requests"], names, "\(path).config[\(i)].requests", &check)
            DeviceRules.configuration(config, "\(path).config[\(i)]", &check)
        }
    }

    private static func request(_ request: JSON, _ path: String, _ check: inout Validation) {
        DeviceRules.name(request["name"], "\(path).name", .label, &check)
        let alternatives = request["firstAvailable"].elements
        let text = "exactly one of `exactly` or `firstAvailable` is required"
        switch (request["exactly"].isNull, alternatives.isEmpty) {
        case (true, true): check.add(.required(path, text))
        case (false, false): check.add(.invalid(path, .null, text + ", but multiple fields are set"))
        case (false, true): exact(request["exactly"], "\(path).exactly", &check)
        case (true, false):
            let place = "\(path).firstAvailable"
            let items = DeviceRules.members(request["firstAvailable"], DeviceRules.alternatives, place, &check)
            for (i, item) in items.enumerated() {
                DeviceRules.name(item["name"], "\(place)[\(i)].name", .label, &check)
                exact(item, "\(place)[\(i)]", &check)
            }
            DeviceRules.unique(items, place, &check) { $0["name"] }
        }
    }

    private static func exact(_ request: JSON, _ path: String, _ check: inout Validation) {
        DeviceRules.requiredName(request["deviceClassName"], "\(path).deviceClassName", .subdomain, &check)
        DeviceRules.selectors(request["selectors"], "\(path).selectors", &check)
        let count = request["count"].int ?? 0
        switch request["allocationMode"].string ?? "" {
        case "All":
            if count != 0 {
                check.add(
                    .invalid("\(path).count", .int(count), "must not be specified when allocationMode is 'All'"))
            }
        case "ExactCount":
            if count <= 0 { check.add(.invalid("\(path).count", .int(count), "must be greater than zero")) }
        default:
            check.add(.notSupported("\(path).allocationMode", request["allocationMode"], ["All", "ExactCount"]))
        }
        DeviceRules.tolerations(request["tolerations"], "\(path).tolerations", &check)
    }

    // MARK: - Names of requests

    /// "gpu" and "gpu/large", by which constraints, settings and results name requests.
    static func requestNames(_ devices: JSON) -> Set<String> {
        var names: Set<String> = []
        for request in devices["requests"].elements {
            let name = request["name"].string ?? ""
            names.insert(name)
            for one in request["firstAvailable"].elements { names.insert("\(name)/\(one["name"].string ?? "")") }
        }
        return names
    }

    private static func references(_ list: JSON, _ names: Set<String>, _ path: String, _ check: inout Validation) {
        let items = DeviceRules.members(list, DeviceRules.requests, path, &check)
        for (i, item) in items.enumerated() { reference(item, names, "\(path)[\(i)]", &check) }
        DeviceRules.unique(items, path, &check) { $0 }
    }

    private static func reference(_ item: JSON, _ names: Set<String>, _ path: String, _ check: inout Validation) {
        let name = item.string ?? ""
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        if parts.count <= 2 {
            for part in parts { DeviceRules.name(.string(String(part)), path, .label, &check) }
        }
        if parts.count > 2 || !names.contains(name) {
            check.add(
                .invalid(
                    path, .string(name),
                    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
                ))
        }
    }

    // MARK: - What was given

    private func status(_ object: KubeObject, _ old: KubeObject, _ check: inout Validation) {
        let (status, before) = (object.status, old.status)
        let consumers = DeviceRules.members(
            status["reservedFor"], DeviceRules.consumers, "status.reservedFor", &check)
        for (i, consumer) in consumers.enumerated() {
            for key in ["resource", "name", "uid"] where (consumer[key].string ?? "").isEmpty {
                check.add(.required("status.reservedFor[\(i)].\(key)"))
            }
        }
        DeviceRules.unique(consumers, "status.reservedFor", &check) { $0["uid"] }
        deviceStates(status, &check)
        if !consumers.isEmpty {
            if status["allocation"].isNull {
                check.add(.forbidden("status.reservedFor", "may not be specified when `allocated` is not set"))
            } else if object.isBeingDeleted {
                let known = Set(before["reservedFor"].elements.map(\.text))
                if !consumers.allSatisfy({ known.contains($0.text) }) {
                    check.add(
                        .forbidden(
                            "status.reservedFor",
                            "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set")
                    )
                }
            }
        }
        if status["allocation"].isNull { return }
        if before["allocation"].isNull {
            allocation(status["allocation"], Self.requestNames(object.spec["devices"]), &check)
        } else {
            check.immutable(status["allocation"], before["allocation"], "status.allocation")
        }
    }

    private func deviceStates(_ status: JSON, _ check: inout Validation) {
        func id(_ device: JSON) -> JSON {
            var id = "\(device["driver"].string ?? "")/\(device["pool"].string ?? "")/\(device["device"].string ?? "")"
            if let share = device["shareID"].string { id += "/" + share }
            return .string(id)
        }
        let given = Set(status["allocation"]["devices"]["results"].elements.map { id($0).text })
        let states = status["devices"].elements
        for (i, device) in states.enumerated() {
            let place = "status.devices[\(i)]"
            result(device, place, &check)
            if !given.contains(id(device).text) {
                check.add(.invalid(place, id(device), "must be an allocated device in the claim"))
            }
            _ = DeviceRules.members(device["conditions"], 8, "\(place).conditions", &check)
            let data = device["data"]
            if !data.isNull, data.text.utf8.count > DeviceRules.text {
                check.add(.tooLong("\(place).data", limit: DeviceRules.text))
            }
        }
        DeviceRules.unique(states, "status.devices", &check, key: id)
    }

    private func result(_ device: JSON, _ path: String, _ check: inout Validation) {
        DeviceRules.driver(device["driver"], "\(path).driver", &check)
        DeviceRules.pool(device["pool"], "\(path).pool", &check)
        DeviceRules.name(device["device"], "\(path).device", .label, &check)
    }

    private func allocation(_ allocation: JSON, _ names: Set<String>, _ check: inout Validation) {
        let path = "status.allocation.devices"
        let results = DeviceRules.members(
            allocation["devices"]["results"], DeviceRules.results, "\(path).results", &check)
        for (i, item) in results.enumerated() {
            let place = "\(path).results[\(i)]"
            Self.reference(item["request"], names, "\(place).request", &check)
            result(item, place, &check)
            DeviceRules.bindingConditions(item, place, &check)
            DeviceRules.tolerations(item["tolerations"], "\(place).tolerations", &check)
        }
        let configs = DeviceRules.members(allocation["devices"]["config"], 64, "\(path).config", &check)
        for (i, config) in configs.enumerated() {
            let place = "\(path).config[\(i)]"
            check.oneOf(config["source"], ["FromClaim", "FromClass"], "\(place).source", required: true)
            Self.references(config["requests"], names, "\(place).requests", &check)
            DeviceRules.configuration(config, place, &check)
        }
        if !allocation["nodeSelector"].isNull {
            NodeSelectorValidation.check(allocation["nodeSelector"], "status.allocation.nodeSelector", &check)
        }
    }
}

/// What claims are made from for each pod.
struct ResourceClaimTemplateStrategy: ResourceStrategy {
    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        Registry.validateLabels(object.spec["metadata"]["labels"], "spec.metadata.labels", &check)
        ResourceClaimStrategy.devices(object.spec["spec"]["devices"], "spec.spec.devices", &check)
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        check.immutable(object.spec, old.spec, "spec")
    }
}

/// Devices of a kind, with the settings that all of them need.
struct DeviceClassStrategy: ResourceStrategy {
    var tracksGeneration: Bool { true }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) { spec(object, .null, &check) }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        spec(object, old.spec, &check)
    }

    private func spec(_ object: KubeObject, _ old: JSON, _ check: inout Validation) {
        DeviceRules.selectors(object.spec["selectors"], "spec.selectors", known: old["selectors"], &check)
        for (i, config) in DeviceRules.members(object.spec["config"], 32, "spec.config", &check).enumerated() {
            DeviceRules.configuration(config, "spec.config[\(i)]", &check)
        }
        let name = object.spec["extendedResourceName"]
        guard let text = name.string else { return }
        let domain = String(text.prefix { $0 != "/" })
        let own = domain == "kubernetes.io" || domain.hasSuffix(".kubernetes.io")
        if LabelSyntax.keyProblem(text) != nil || domain == text || own || text.hasPrefix("requests.") {
            check.add(.invalid("spec.extendedResourceName", name, "must be a valid extended resource name"))
        }
    }
}
