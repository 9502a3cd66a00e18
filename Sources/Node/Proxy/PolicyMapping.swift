internal import Codecs
package import Iptables
package import KubeAPI
package import Netlink

/// Network policies, pods and namespaces as the compiler takes them. What does not make sense selects nothing.
package enum PolicyMapping {
    /// nil: has no address of its own (yet, or any more), so that no policy is about it.
    package static func pod(_ object: KubeObject, node: String) -> PolicyPod? {
        guard object.spec["hostNetwork"].bool != true else { return nil }
        let phase = object.status["phase"].string
        guard phase != "Succeeded", phase != "Failed" else { return nil }
        var texts = object.status["podIPs"].elements.compactMap { $0["ip"].string }
        if texts.isEmpty, let one = object.status["podIP"].string { texts = [one] }
        let addresses = texts.compactMap { IPAddress($0) }
        guard !addresses.isEmpty else { return nil }
        var ports: [PolicyPod.Port] = []
        for list in ["containers", "initContainers"] {
            // Of init containers only those that stay beside the others serve.
            for container in object.spec[list].elements
            where list == "containers" || container["restartPolicy"].string == "Always" {
                for port in container["ports"].elements {
                    guard let name = port["name"].string, !name.isEmpty,
                        let number = port["containerPort"].int.flatMap({ UInt16(exactly: $0) }),
                        let transport = TransportProtocol(name: port["protocol"].string ?? "TCP")
                    else { continue }
                    ports.append(PolicyPod.Port(name, transport, number))
                }
            }
        }
        return PolicyPod(
            object.key.description, namespace: object.namespace, labels: object.labels, addresses: addresses,
            isLocal: object.spec["nodeName"].string == node, ports: ports)
    }

    /// The cluster's name server answers in the node's own process; for policies it is the pod that they know.
    package static func nameServer(_ addresses: [IPAddress]) -> PolicyPod {
        PolicyPod(
            "kube-system/kube-dns (name server)", namespace: "kube-system", labels: ["k8s-app": "kube-dns"],
            addresses: addresses, isLocal: false,
            ports: [.init("dns", .udp, 53), .init("dns-tcp", .tcp, 53), .init("metrics", .tcp, 9153)])
    }

    package static func policy(_ object: KubeObject) -> NetworkPolicy {
        let spec = object.spec
        let types = spec["policyTypes"].elements.compactMap(\.string)
        let egress = spec["egress"].elements
        // Without a word about it, a policy is about what comes in, and about what goes out if it says what may.
        let isIngress = types.isEmpty || types.contains("Ingress")
        let isEgress = types.isEmpty ? !egress.isEmpty : types.contains("Egress")
        return NetworkPolicy(
            object.name, namespace: object.namespace, pods: match(spec["podSelector"]) ?? .everything,
            ingress: isIngress ? spec["ingress"].elements.map { rule($0, "from") } : nil,
            egress: isEgress ? egress.map { rule($0, "to") } : nil)
    }

    private static func rule(_ json: JSON, _ peers: String) -> PolicyRule {
        let (who, what) = (json[peers].elements, json["ports"].elements)
        return PolicyRule(
            peers: who.isEmpty ? nil : who.compactMap(peer), ports: what.isEmpty ? nil : what.compactMap(port))
    }

    private static func peer(_ json: JSON) -> PolicyPeer? {
        let block = json["ipBlock"]
        if !block.isNull {
            guard let prefix = block["cidr"].string.flatMap({ IPPrefix($0) }) else { return nil }
            let except = block["except"].elements.map { $0.string.flatMap { IPPrefix($0) } }
            // An exception that cannot be read must not open what it was to close.
            guard !except.contains(nil) else { return nil }
            return .block(prefix, except: except.compactMap { $0 })
        }
        let (namespaces, pods) = (json["namespaceSelector"], json["podSelector"])
        if namespaces.isNull { return match(pods).map { .pods($0) } }
        guard let scope = match(namespaces) else { return nil }
        if pods.isNull { return .namespaces(scope, pods: .everything) }
        return match(pods).map { .namespaces(scope, pods: $0) }
    }

    private static func port(_ json: JSON) -> PolicyPort? {
        guard let transport = TransportProtocol(name: json["protocol"].string ?? "TCP") else { return nil }
        let port = json["port"]
        if port.isNull { return PolicyPort(transport) }
        if let name = port.string { return PolicyPort(transport, .named(name)) }
        guard let first = port.int.flatMap({ UInt16(exactly: $0) }) else { return nil }
        guard !json["endPort"].isNull else { return PolicyPort(transport, first) }
        guard let last = json["endPort"].int.flatMap({ UInt16(exactly: $0) }), last >= first else { return nil }
        return PolicyPort(transport, .range(first, last))
    }

    /// nil: there is no selector, or none that means anything.
    private static func match(_ json: JSON) -> LabelMatch? {
        guard !json.isNull, let selector = try? LabelSelector(json: json) else { return nil }
        var out: [LabelMatch.Requirement] = []
        for requirement in selector.requirements {
            switch requirement.op {
            case .exists: out.append(.init(requirement.key, .exists))
            case .doesNotExist: out.append(.init(requirement.key, .absent))
            case .in(let values): out.append(.init(requirement.key, .oneOf(values)))
            case .notIn(let values): out.append(.init(requirement.key, .noneOf(values)))
            case .greaterThan, .lessThan: return nil
            }
        }
        return LabelMatch(out)
    }
}
