internal import Codecs
internal import KubeAPI

/// Services; their addresses and ports are set aside by `ServiceAllocator`.
/// Source: ValidateService of pkg/apis/core/validation and pkg/registry/core/service.
struct ServiceStrategy: ResourceStrategy {
    var nameRule: NameRule { .rfc1035Label }
    var returnsDeletedObject: Bool { true }
    var selectableFields: [SelectableField] { [SelectableField("spec.clusterIP"), SelectableField("spec.type")] }

    func warnings(for object: KubeObject) -> [String] { ObjectWarnings.service(object) }

    func prepareForCreate(_ object: inout KubeObject, _ scope: RequestScope) {
        object.json["status"] = ["loadBalancer": [:]]
    }

    func prepareForUpdate(_ object: inout KubeObject, old: KubeObject, subresource: String, _ scope: RequestScope) {
        if subresource.isEmpty, object.spec["type"].string != "LoadBalancer", old.spec["type"].string == "LoadBalancer"
        {
            object.json["status"] = ["loadBalancer": [:]]
        }
        if subresource.isEmpty { Self.dropWhatTheTypeHadNeeded(&object, old) }
    }

    /// Who changes the type alone need not take away what only the old one has a use for.
    private static func dropWhatTheTypeHadNeeded(_ object: inout KubeObject, _ old: KubeObject) {
        func isOpen(_ spec: JSON) -> Bool {
            spec["type"].string == "NodePort" || spec["type"].string == "LoadBalancer"
        }
        let (new, before) = (object.spec, old.spec)
        if before["type"].string != "ExternalName", new["type"].string == "ExternalName",
            new["clusterIP"] == before["clusterIP"], new["clusterIPs"] == before["clusterIPs"]
        {
            for key in ["clusterIP", "clusterIPs"] { object.json["spec"][key] = .null }
        }
        if isOpen(before), !isOpen(new) {
            let (ports, known) = (new["ports"].elements, before["ports"].elements)
            if ports.map({ $0["nodePort"] }) == known.map({ $0["nodePort"] }) {
                for i in ports.indices { object.json["spec"]["ports"][i]["nodePort"] = .null }
            }
            if new["externalIPs"].elements.isEmpty, new["externalTrafficPolicy"] == before["externalTrafficPolicy"] {
                object.json["spec"]["externalTrafficPolicy"] = .null
            }
        }
        let loadBalancer: JSON = "LoadBalancer"
        guard before["type"] == loadBalancer, new["type"] != loadBalancer else { return }
        for key in ["healthCheckNodePort", "allocateLoadBalancerNodePorts", "loadBalancerClass"]
        where new[key] == before[key] {
            object.json["spec"][key] = .null
        }
    }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        let spec = object.spec
        let type = spec["type"].string ?? ""
        check.oneOf(
            spec["type"], ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], "spec.type", required: true)
        let headless = spec["clusterIP"].string == "None"
        let ports = spec["ports"].elements
        if ports.isEmpty, !headless, type != "ExternalName" { check.add(.required("spec.ports")) }
        checkPorts(ports, type, &check)
        Registry.validateLabels(spec["selector"], "spec.selector", &check)
        check.oneOf(spec["sessionAffinity"], ["ClientIP", "None"], "spec.sessionAffinity", required: true)
        if spec["sessionAffinity"].string == "ClientIP",
            let seconds = spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].int,
            !(1...86400).contains(seconds)
        {
            check.add(
                .invalid(
                    "spec.sessionAffinityConfig.clientIP.timeoutSeconds", .int(seconds),
                    "must be greater than 0 and less than 86400"))
        }
        checkType(spec, type, headless, &check)
        for (i, address) in spec["externalIPs"].elements.enumerated() {
            IPAddress.checkReachable(address, "spec.externalIPs[\(i)]", &check)
        }
        checkLoadBalancer(spec, type, &check)
        check.oneOf(
            spec["trafficDistribution"], ["PreferClose", "PreferSameZone", "PreferSameNode"],
            "spec.trafficDistribution")
        check.oneOf(spec["externalTrafficPolicy"], ["Cluster", "Local"], "spec.externalTrafficPolicy")
        check.oneOf(spec["internalTrafficPolicy"], ["Cluster", "Local"], "spec.internalTrafficPolicy")
    }

    /// What only load balancers have.
    private func checkLoadBalancer(_ spec: JSON, _ type: String, _ check: inout Validation) {
        let isLoadBalancer = type == "LoadBalancer"
        let only = "may only be used when `type` is 'LoadBalancer'"
        // Sic: upstream's path.
        let ranges = "spec.LoadBalancerSourceRanges"
        for (i, range) in spec["loadBalancerSourceRanges"].elements.enumerated() {
            if i == 0, !isLoadBalancer { check.add(.forbidden(ranges, only)) }
            if IPNetwork(range.string ?? "") == nil {
                check.add(
                    .invalid(
                        "\(ranges)[\(i)]", range, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"))
            }
        }
        for key in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] where !isLoadBalancer && !spec[key].isNull {
            check.add(.forbidden("spec.\(key)", only))
        }
        if isLoadBalancer, let name = spec["loadBalancerClass"].string, let problem = LabelSyntax.keyProblem(name) {
            check.add(.invalid("spec.loadBalancerClass", .string(name), problem))
        }
        let port = spec["healthCheckNodePort"]
        if port.int ?? 0 != 0, !isLoadBalancer || spec["externalTrafficPolicy"] != "Local" {
            check.add(
                .invalid(
                    "spec.healthCheckNodePort", port,
                    "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"))
        }
    }

    private func checkType(_ spec: JSON, _ type: String, _ headless: Bool, _ check: inout Validation) {
        switch type {
        case "LoadBalancer", "NodePort":
            if headless {
                check.add(
                    .invalid("spec.clusterIPs[0]", "None", "may not be set to 'None' for \(type) services"))
            }
        case "ExternalName":
            if !spec["clusterIPs"].elements.isEmpty || !(spec["clusterIP"].string ?? "").isEmpty {
                check.add(.forbidden("spec.clusterIPs", "may not be set for ExternalName services"))
            }
            let name = spec["externalName"].string ?? ""
            let trimmed = name.hasSuffix(".") ? String(name.dropLast()) : name
            if name.isEmpty {
                check.add(.required("spec.externalName"))
            } else if let problem = LabelSyntax.subdomainProblem(trimmed) {
                check.add(.invalid("spec.externalName", .string(name), problem))
            }
        default: break
        }
        ServiceFamilies.validate(spec, &check)
        let takesTraffic = type == "NodePort" || type == "LoadBalancer" || !spec["externalIPs"].elements.isEmpty
        if !spec["externalTrafficPolicy"].isNull, !takesTraffic {
            check.add(
                .invalid(
                    "spec.externalTrafficPolicy", spec["externalTrafficPolicy"],
                    "may only be set for externally-accessible services"))
        }
    }

    private func checkPorts(_ ports: [JSON], _ type: String, _ check: inout Validation) {
        var names: Set<String> = []
        var seen: Set<String> = []
        var nodePorts: Set<String> = []
        for (i, port) in ports.enumerated() {
            let path = "spec.ports[\(i)]"
            let name = port["name"].string ?? ""
            let proto = port["protocol"].string ?? ""
            if name.isEmpty {
                if ports.count > 1 { check.add(.required("\(path).name")) }
            } else if let problem = LabelSyntax.labelProblem(name) {
                check.add(.invalid("\(path).name", .string(name), problem))
            } else if !names.insert(name).inserted {
                check.add(.duplicate("\(path).name", .string(name)))
            }
            let number = port["port"].int ?? 0
            if let problem = Ports.problem(number) { check.add(.invalid("\(path).port", .int(number), problem)) }
            check.oneOf(port["protocol"], ["SCTP", "TCP", "UDP"], "\(path).protocol", required: true)
            if !port["targetPort"].isNull { Ports.checkNameOrNumber(port["targetPort"], "\(path).targetPort", &check) }
            if let name = port["appProtocol"].string, let problem = LabelSyntax.keyProblem(name) {
                check.add(.invalid("\(path).appProtocol", .string(name), problem))
            }
            if !seen.insert("\(proto)/\(number)").inserted {
                check.add(.duplicate(path, ["protocol": .string(proto), "port": .int(number)]))
            }
            let node = port["nodePort"].int ?? 0
            guard node != 0 else { continue }
            if type == "ClusterIP" || type == "ExternalName" {
                check.add(.forbidden("\(path).nodePort", "may not be used when `type` is '\(type)'"))
            }
            if !nodePorts.insert("\(proto)/\(node)").inserted {
                check.add(.duplicate("\(path).nodePort", .int(node)))
            }
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        guard subresource.isEmpty else {
            if subresource == "status" { checkStatus(object, &check) }
            return
        }
        ServiceFamilies.validateUpdate(object.spec, old: old.spec, &check)
        let loadBalancer: JSON = "LoadBalancer"
        if object.spec["type"] == loadBalancer, old.spec["type"] == loadBalancer {
            check.immutable(
                object.spec["loadBalancerClass"], old.spec["loadBalancerClass"], "spec.loadBalancerClass",
                "may not change once set")
        }
        validateCreate(object, &check)
    }

    private func checkStatus(_ object: KubeObject, _ check: inout Validation) {
        if object.spec["type"].string != "LoadBalancer" {
            if object.status["loadBalancer"]["ingress"].elements.isEmpty { return }
            check.add(
                .forbidden(
                    "status.loadBalancer.ingress", "may only be used when `spec.type` is 'LoadBalancer'"))
        } else {
            LoadBalancerStatus.check(object.status, modes: true, &check)
        }
    }
}

/// Endpoints: the older form of endpoint slices.
struct EndpointsStrategy: ResourceStrategy {
    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        for (i, subset) in object["subsets"].elements.enumerated() {
            let path = "subsets[\(i)]"
            if subset["addresses"].elements.isEmpty, subset["notReadyAddresses"].elements.isEmpty {
                check.add(.required(path, "must specify `addresses` or `notReadyAddresses`"))
            }
            for key in ["addresses", "notReadyAddresses"] {
                for (j, address) in subset[key].elements.enumerated() {
                    let place = "\(path).\(key)[\(j)]"
                    IPAddress.checkReachable(address["ip"], "\(place).ip", &check)
                    EndpointNames.check(address, place, &check)
                }
            }
            for (j, port) in subset["ports"].elements.enumerated() {
                let number = port["port"].int ?? 0
                if let problem = Ports.problem(number) {
                    check.add(.invalid("\(path).ports[\(j)].port", .int(number), problem))
                }
                check.oneOf(port["protocol"], ["SCTP", "TCP", "UDP"], "\(path).ports[\(j)].protocol", required: true)
                if subset["ports"].elements.count > 1, (port["name"].string ?? "").isEmpty {
                    check.add(.required("\(path).ports[\(j)].name"))
                }
                EndpointNames.checkPort(port, "\(path).ports[\(j)]", &check)
            }
        }
    }
}

/// What endpoints and endpoint slices have in common.
enum EndpointNames {
    static func check(_ endpoint: JSON, _ path: String, _ check: inout Validation) {
        for (key, rule) in [("hostname", NameRule.label), ("nodeName", .subdomain)] {
            guard let name = endpoint[key].string, !name.isEmpty, let problem = rule.problem(name) else { continue }
            check.add(.invalid("\(path).\(key)", .string(name), problem))
        }
    }

    static func checkPort(_ port: JSON, _ path: String, _ check: inout Validation) {
        if let name = port["name"].string, !name.isEmpty, let problem = LabelSyntax.labelProblem(name) {
            check.add(.invalid("\(path).name", .string(name), problem))
        }
        if let name = port["appProtocol"].string, let problem = LabelSyntax.keyProblem(name) {
            check.add(.invalid("\(path).appProtocol", .string(name), problem))
        }
    }
}

/// Source: pkg/apis/discovery/validation.
struct EndpointSliceStrategy: ResourceStrategy {
    var tracksGeneration: Bool { true }
    var metadataCounted: [String] { ["labels"] }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        let type = object["addressType"]
        check.oneOf(type, ["FQDN", "IPv4", "IPv6"], "addressType", required: true)
        let endpoints = object["endpoints"].elements
        if endpoints.count > 1000 {
            check.add(.init(.tooMany, "endpoints", "Too many: \(endpoints.count): must have at most 1000 items"))
        }
        for (i, endpoint) in endpoints.enumerated() {
            let addresses = endpoint["addresses"].elements
            if addresses.isEmpty {
                check.add(.required("endpoints[\(i)].addresses", "must contain at least 1 address"))
            }
            for (j, address) in addresses.enumerated() {
                let parsed = IPAddress(address.string ?? "")
                let fits = type.string == "FQDN" || parsed.map { $0.isIPv6 == (type.string == "IPv6") } ?? false
                if !fits {
                    check.add(
                        .invalid(
                            "endpoints[\(i)].addresses[\(j)]", address, "must be a valid \(type.string ?? "IP") address"
                        ))
                } else if type.string != "FQDN" {
                    IPAddress.checkReachable(address, "endpoints[\(i)].addresses[\(j)]", &check)
                }
            }
            EndpointNames.check(endpoint, "endpoints[\(i)]", &check)
            Registry.validateLabels(endpoint["deprecatedTopology"], "endpoints[\(i)].deprecatedTopology", &check)
            hints(endpoint["hints"], "endpoints[\(i)].hints", &check)
        }
        var names: Set<String> = []
        for (i, port) in object["ports"].elements.enumerated() {
            let name = port["name"].string ?? ""
            if !names.insert(name).inserted { check.add(.duplicate("ports[\(i)].name", .string(name))) }
            check.oneOf(port["protocol"], ["SCTP", "TCP", "UDP"], "ports[\(i)].protocol", required: true)
            EndpointNames.checkPort(port, "ports[\(i)]", &check)
        }
    }

    /// For which zones and nodes an endpoint is meant: at most eight of each, named once.
    private func hints(_ hints: JSON, _ path: String, _ check: inout Validation) {
        for key in ["forZones", "forNodes"] {
            let place = "\(path).\(key)"
            var seen: Set<String> = []
            for (i, hint) in DeviceRules.members(hints[key], 8, place, &check).enumerated() {
                let name = hint["name"].string ?? ""
                if !seen.insert(name).inserted { check.add(.duplicate("\(place)[\(i)].name", .string(name))) }
                if key == "forZones", let problem = LabelSyntax.valueProblem(name) {
                    check.add(.invalid("\(place)[\(i)].name", .string(name), problem))
                }
            }
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        validateCreate(object, &check)
        check.immutable(object["addressType"], old["addressType"], "addressType")
    }
}
