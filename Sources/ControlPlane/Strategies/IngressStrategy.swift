internal import Codecs
internal import KubeAPI

/// Ingresses. Source: pkg/apis/networking/validation (ValidateIngress).
struct IngressStrategy: ResourceStrategy {
    var tracksGeneration: Bool { true }
    private static let classAnnotation = "kubernetes.io/ingress.class"

    func warnings(for object: KubeObject) -> [String] {
        guard object.annotations[Self.classAnnotation] != nil else { return [] }
        return ["annotation \"\(Self.classAnnotation)\" is deprecated, please use 'spec.ingressClassName' instead"]
    }

    func prepareForCreate(_ object: inout KubeObject, _ scope: RequestScope) {
        object.json["status"] = ["loadBalancer": [:]]
    }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        if let own = object.annotations[Self.classAnnotation], !object.spec["ingressClassName"].isNull {
            check.add(
                .invalid(
                    "annotations.\(Self.classAnnotation)", .string(own),
                    "can not be set when the class field is also set"))
        }
        checkSpec(object.spec, &check)
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        if subresource.isEmpty {
            checkSpec(object.spec, &check)
        } else {
            LoadBalancerStatus.check(object.status, modes: false, &check)
        }
    }

    private func checkSpec(_ spec: JSON, _ check: inout Validation) {
        let (backend, rules) = (spec["defaultBackend"], spec["rules"].elements)
        if backend.isNull, rules.isEmpty {
            check.add(.invalid("spec", spec, "either `defaultBackend` or `rules` must be specified"))
        }
        if !backend.isNull { checkBackend(backend, "spec.defaultBackend", &check) }
        for (i, rule) in rules.enumerated() {
            let path = "spec.rules[\(i)]"
            checkHost(rule["host"].string ?? "", "\(path).host", &check)
            guard !rule["http"].isNull else { continue }
            let paths = rule["http"]["paths"].elements
            if paths.isEmpty { check.add(.required("\(path).http.paths")) }
            for (j, entry) in paths.enumerated() { checkPath(entry, "\(path).http.paths[\(j)]", &check) }
        }
        for (i, tls) in spec["tls"].elements.enumerated() {
            for (j, host) in tls["hosts"].elements.enumerated() {
                checkHost(host.string ?? "", "spec.tls[\(i)].hosts[\(j)]", &check)
            }
            if let name = tls["secretName"].string, !name.isEmpty, let problem = LabelSyntax.subdomainProblem(name) {
                check.add(.invalid("spec.tls[\(i)].secretName", .string(name), problem))
            }
        }
        if let name = spec["ingressClassName"].string, let problem = LabelSyntax.subdomainProblem(name) {
            check.add(.invalid("spec.ingressClassName", .string(name), problem))
        }
    }

    private func checkHost(_ host: String, _ path: String, _ check: inout Validation) {
        guard !host.isEmpty else { return }
        if IPAddress(host) != nil {
            check.add(.invalid(path, .string(host), "must be a DNS name, not an IP address"))
        } else if host.hasPrefix("*") {
            if !host.hasPrefix("*.") || LabelSyntax.subdomainProblem(String(host.dropFirst(2))) != nil {
                check.add(
                    .invalid(
                        path, .string(host),
                        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must "
                            + "consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric "
                            + "character (e.g. '*.example.com', regex used for validation is "
                            + "'\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"))
            }
        } else if let problem = LabelSyntax.subdomainProblem(host) {
            check.add(.invalid(path, .string(host), problem))
        }
    }

    private static let badParts = ["//", "/./", "/../", "%2f", "%2F"]
    private static let badEnds = ["/..", "/."]

    private func checkPath(_ entry: JSON, _ path: String, _ check: inout Validation) {
        let text = entry["path"].string ?? ""
        let type = entry["pathType"].string
        switch type {
        case nil: check.add(.required("\(path).pathType", "pathType must be specified"))
        case "Exact", "Prefix":
            if !text.hasPrefix("/") { check.add(.invalid("\(path).path", .string(text), "must be an absolute path")) }
            for bad in Self.badParts where text.contains(bad) {
                check.add(.invalid("\(path).path", .string(text), "must not contain '\(bad)'"))
            }
            for bad in Self.badEnds where text.hasSuffix(bad) {
                check.add(.invalid("\(path).path", .string(text), "cannot end with '\(bad)'"))
            }
        case "ImplementationSpecific":
            if !text.isEmpty, !text.hasPrefix("/") {
                check.add(.invalid("\(path).path", .string(text), "must be an absolute path"))
            }
        case let other?:
            check.add(
                .notSupported("\(path).pathType", .string(other), ["Exact", "ImplementationSpecific", "Prefix"]))
        }
        checkBackend(entry["backend"], "\(path).backend", &check)
    }

    private func checkBackend(_ backend: JSON, _ path: String, _ check: inout Validation) {
        let (service, resource) = (backend["service"], backend["resource"])
        if !service.isNull, !resource.isNull {
            check.add(.invalid(path, "", "cannot set both resource and service backends"))
            return
        }
        if !resource.isNull {
            for key in ["kind", "name"] where (resource[key].string ?? "").isEmpty {
                check.add(.required("\(path).resource.\(key)"))
            }
            return
        }
        guard !service.isNull else {
            check.add(.required(path, "port name or number is required for a service backend"))
            return
        }
        let name = service["name"].string ?? ""
        if name.isEmpty {
            check.add(.required("\(path).service.name"))
        } else if let problem = LabelSyntax.rfc1035LabelProblem(name) {
            check.add(.invalid("\(path).service.name", .string(name), problem))
        }
        let port = service["port"]
        let (portName, number) = (port["name"].string ?? "", port["number"].int ?? 0)
        if !portName.isEmpty, number != 0 {
            check.add(.invalid(path, "", "cannot set both port name & port number"))
        } else if portName.isEmpty, number == 0 {
            check.add(.required(path, "port name or number is required"))
        } else if portName.isEmpty, !(1...65535).contains(number) {
            check.add(.invalid("\(path).service.port.number", .int(number), "must be between 1 and 65535, inclusive"))
        }
    }
}

/// Network policies. Source: pkg/apis/networking/validation (ValidateNetworkPolicy).
struct NetworkPolicyStrategy: ResourceStrategy {
    var tracksGeneration: Bool { true }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        let spec = object.spec
        Selectors.validate(spec["podSelector"], "spec.podSelector", &check)
        for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
            for (i, rule) in spec[direction].elements.enumerated() {
                let path = "spec.\(direction)[\(i)]"
                for (j, port) in rule["ports"].elements.enumerated() { checkPort(port, "\(path).ports[\(j)]", &check) }
                for (j, peer) in rule[peers].elements.enumerated() { checkPeer(peer, "\(path).\(peers)[\(j)]", &check) }
            }
        }
        let types = spec["policyTypes"].elements
        if types.count > 2 {
            check.add(.invalid("spec.policyTypes", spec["policyTypes"], "may not specify more than two policyTypes"))
            return
        }
        for (i, type) in types.enumerated() where type != "Ingress" && type != "Egress" {
            check.add(.notSupported("spec.policyTypes[\(i)]", type, ["Egress", "Ingress"]))
        }
    }

    private func checkPort(_ port: JSON, _ path: String, _ check: inout Validation) {
        check.oneOf(port["protocol"], ["SCTP", "TCP", "UDP"], "\(path).protocol")
        let (first, last) = (port["port"], port["endPort"])
        if !first.isNull { Ports.checkNameOrNumber(first, "\(path).port", &check) }
        guard let end = last.int else { return }
        if let number = first.int {
            if end < number {
                check.add(.invalid("\(path).endPort", last, "must be greater than or equal to `port`"))
            }
            if !(1...65535).contains(end) {
                check.add(.invalid("\(path).endPort", last, "must be between 1 and 65535, inclusive"))
            }
        } else if first.isNull {
            check.add(.required("\(path).port", "must be specified when `endPort` is set"))
        } else {
            check.add(.invalid("\(path).endPort", last, "may not be specified when `port` is non-numeric"))
        }
    }

    private func checkPeer(_ peer: JSON, _ path: String, _ check: inout Validation) {
        let selectors = ["podSelector", "namespaceSelector"].filter { !peer[$0].isNull }
        for key in selectors { Selectors.validate(peer[key], "\(path).\(key)", &check) }
        let block = peer["ipBlock"]
        if selectors.isEmpty, block.isNull { check.add(.required(path, "must specify a peer")) }
        guard !block.isNull else { return }
        if !selectors.isEmpty {
            check.add(.forbidden(path, "may not specify both ipBlock and another peer"))
        }
        let invalid = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
        let cidr = block["cidr"].string ?? ""
        guard let network = IPNetwork(cidr) else {
            check.add(
                cidr.isEmpty
                    ? .required("\(path).ipBlock.cidr") : .invalid("\(path).ipBlock.cidr", .string(cidr), invalid))
            return
        }
        for (i, except) in block["except"].elements.enumerated() {
            let place = "\(path).ipBlock.except[\(i)]"
            guard let inner = IPNetwork(except.string ?? "") else {
                check.add(.invalid(place, except, invalid))
                continue
            }
            if !network.contains(inner.base) || inner.prefix <= network.prefix {
                check.add(.invalid(place, except, "must be a strict subset of `cidr`"))
            }
        }
    }
}

/// Addresses of services as objects. Source: pkg/apis/networking/validation (ValidateIPAddress, ValidateServiceCIDR), KEP-1880.
struct IPAddressStrategy: ResourceStrategy {
    var nameRule: NameRule { .pathSegment }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        if let address = IPAddress(object.name) {
            if address.description != object.name {
                check.add(
                    .invalid(
                        "metadata.name", .string(object.name), "must be in canonical form (\"\(address)\")"))
            }
        } else {
            check.add(.invalid("metadata.name", .string(object.name), IPAddress.invalidText))
        }
        let parent = object.spec["parentRef"]
        if parent.isNull {
            check.add(.required("spec.parentRef"))
            return
        }
        for key in ["resource", "name", "namespace"] {
            let text = parent[key].string ?? ""
            if text.isEmpty {
                if key != "namespace" { check.add(.required("spec.parentRef.\(key)")) }
            } else if let problem = LabelSyntax.pathSegmentProblem(text) {
                check.add(.invalid("spec.parentRef.\(key)", .string(text), problem))
            }
        }
        if let group = parent["group"].string, !group.isEmpty, let problem = LabelSyntax.subdomainProblem(group) {
            check.add(.invalid("spec.parentRef.group", .string(group), problem))
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        check.immutable(object.spec["parentRef"], old.spec["parentRef"], "spec.parentRef")
    }
}

struct ServiceCIDRStrategy: ResourceStrategy {
    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        let networks = object.spec["cidrs"].elements
        if networks.isEmpty { check.add(.required("spec.cidrs", "at least one CIDR required")) }
        if networks.count > 2 {
            check.add(.invalid("spec.cidrs", object.spec["cidrs"], "may only hold up to 2 values"))
            return
        }
        var families: Set<Bool> = []
        for (i, text) in networks.enumerated() {
            guard let network = IPNetwork(text.string ?? "") else {
                check.add(
                    .invalid(
                        "spec.cidrs[\(i)]", text,
                        "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"))
                continue
            }
            if network.description != text.string {
                check.add(
                    .invalid(
                        "spec.cidrs[\(i)]", text,
                        "must be in canonical form (\"\(network)\")"))
            }
            if !families.insert(network.base.isIPv6).inserted {
                check.add(
                    .invalid(
                        "spec.cidrs", object.spec["cidrs"],
                        "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"))
            }
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        guard subresource.isEmpty else { return }
        let (new, before) = (object.spec["cidrs"].elements, old.spec["cidrs"].elements)
        let isGrowing = before.count == 1 && new.count == 2
        guard new.count == before.count || isGrowing else {
            check.immutable(object.spec["cidrs"], old.spec["cidrs"], "spec.cidrs")
            return
        }
        for (i, network) in before.enumerated() { check.immutable(new[i], network, "spec.cidrs[\(i)]") }
        // A second family may be added.
        if isGrowing { validateCreate(object, &check) }
    }
}
