package import ClusterDNS
internal import Codecs
package import Iptables
package import KubeAPI
package import Netlink

/// Services and their endpoints as the proxy takes them. Pure; what is kept of an object is what the proxy needs.
package struct ServiceMapping: Sendable {
    package struct Endpoint: Sendable, Equatable {
        var address: IPAddress
        var isReady: Bool
        var isServing: Bool
        var isLocal: Bool
        var hostname: String?
        /// Nodes and zones that it is meant for; empty: any.
        var nodeHints: [String] = []
        var zoneHints: [String] = []
    }
    package struct Slice: Sendable, Equatable {
        struct Port: Sendable, Equatable {
            var name: String
            var port: UInt16
            var transport: TransportProtocol
        }
        var ports: [Port]
        var endpoints: [Endpoint]
    }
    /// A port of a service without its endpoints.
    struct Port: Sendable, Equatable {
        var name: String
        var port: ServicePort
        /// Where load balancers ask for endpoints of this node.
        var healthCheckPort: UInt16?
    }

    let node: String
    /// Addresses that this node answers itself, with the port of its name server: on 53 nothing is translated.
    package var ownNames: [IPAddress: UInt16] = [:]
    /// topology.kubernetes.io/zone of this node.
    package var zone: String?
    private var services: [ObjectKey: [Port]] = [:]
    /// By service, then by name.
    private var slices: [ObjectKey: [String: Slice]] = [:]
    private var owners: [ObjectKey: ObjectKey] = [:]

    package init(node: String) { self.node = node }

    package var keys: Set<ObjectKey> { Set(services.keys) }

    // MARK: Services

    /// Ids of all ports of the service, before and after: those that `ports(of:)` does not give any more are to be removed.
    package mutating func set(_ service: KubeObject) -> Set<String> {
        let old = ids(service.key)
        let ports = Self.ports(service)
        services[service.key] = ports.isEmpty ? nil : ports
        return old.union(ids(service.key))
    }

    package mutating func remove(service key: ObjectKey) -> Set<String> {
        defer { services[key] = nil }
        return ids(key)
    }

    package func ids(_ key: ObjectKey) -> Set<String> { Set((services[key] ?? []).map(\.port.id)) }

    private static func ports(_ service: KubeObject) -> [Port] {
        let spec = service.spec
        guard spec["type"].string != "ExternalName", service.labels["service.kubernetes.io/service-proxy-name"] == nil
        else {
            return []
        }
        var addresses = spec["clusterIPs"].elements.compactMap(\.string)
        if addresses.isEmpty, let one = spec["clusterIP"].string { addresses = [one] }
        let clusterIPs = addresses.compactMap { IPAddress($0) }
        guard !clusterIPs.isEmpty else { return [] }
        let affinity: UInt32? =
            spec["sessionAffinity"].string == "ClientIP"
            ? UInt32(clamping: spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].int ?? 10800) : nil
        let balancers = service.status["loadBalancer"]["ingress"].elements
            .filter { $0["ipMode"].string != "Proxy" }.compactMap { $0["ip"].string.flatMap { IPAddress($0) } }
        let checksHealth =
            spec["type"].string == "LoadBalancer" && spec["externalTrafficPolicy"].string == "Local"
        let healthCheckPort = checksHealth ? spec["healthCheckNodePort"].int.flatMap { UInt16(exactly: $0) } : nil
        return spec["ports"].elements.compactMap { entry in
            guard let number = entry["port"].int.flatMap({ UInt16(exactly: $0) }),
                let transport = TransportProtocol(name: entry["protocol"].string ?? "TCP")
            else { return nil }
            let name = entry["name"].string ?? ""
            var port = ServicePort(
                "\(service.key):\(name)", clusterIPs: clusterIPs, port: number, transport: transport,
                nodePort: entry["nodePort"].int.flatMap { UInt16(exactly: $0) }.flatMap { $0 > 0 ? $0 : nil })
            port.externalIPs = spec["externalIPs"].elements.compactMap { $0.string.flatMap { IPAddress($0) } }
            port.loadBalancerIPs = balancers
            port.loadBalancerSourceRanges = spec["loadBalancerSourceRanges"].elements
                .compactMap { $0.string.flatMap { IPPrefix($0.trimmingSpaces()) } }
            port.sessionAffinityTimeoutSeconds = affinity
            port.externalTrafficLocal = spec["externalTrafficPolicy"].string == "Local"
            port.internalTrafficLocal = spec["internalTrafficPolicy"].string == "Local"
            return Port(name: name, port: port, healthCheckPort: healthCheckPort.flatMap { $0 > 0 ? $0 : nil })
        }
    }

    // MARK: Endpoints

    /// The services whose endpoints may have changed.
    package mutating func set(slice object: KubeObject) -> Set<ObjectKey> {
        var touched: Set<ObjectKey> = []
        let owner = Self.owner(object)
        if let old = owners[object.key], old != owner {
            slices[old]?[object.name] = nil
            owners[object.key] = nil
            touched.insert(old)
        }
        guard let owner else { return touched }
        let slice = slice(object)
        if slices[owner]?[object.name] != slice {
            slices[owner, default: [:]][object.name] = slice
            touched.insert(owner)
        }
        owners[object.key] = owner
        return touched
    }

    package mutating func remove(slice key: ObjectKey) -> Set<ObjectKey> {
        guard let owner = owners.removeValue(forKey: key) else { return [] }
        slices[owner]?[key.name] = nil
        if slices[owner]?.isEmpty == true { slices[owner] = nil }
        return [owner]
    }

    package var sliceKeys: Set<ObjectKey> { Set(owners.keys) }

    private static func owner(_ slice: KubeObject) -> ObjectKey? {
        guard let name = slice.labels["kubernetes.io/service-name"], !name.isEmpty else { return nil }
        return ObjectKey(namespace: slice.namespace, name: name)
    }

    private func slice(_ object: KubeObject) -> Slice {
        let ports = object["ports"].elements.compactMap { entry -> Slice.Port? in
            guard let number = entry["port"].int.flatMap({ UInt16(exactly: $0) }),
                let transport = TransportProtocol(name: entry["protocol"].string ?? "TCP")
            else { return nil }
            return Slice.Port(name: entry["name"].string ?? "", port: number, transport: transport)
        }
        let endpoints = object["endpoints"].elements.flatMap { entry -> [Endpoint] in
            let conditions = entry["conditions"]
            // A condition that is not told counts as true, serving as ready (discovery/v1).
            let ready = conditions["ready"].bool ?? true
            return entry["addresses"].elements.prefix(1).compactMap { text in
                guard let address = text.string.flatMap({ IPAddress($0) }) else { return nil }
                return Endpoint(
                    address: address, isReady: ready, isServing: conditions["serving"].bool ?? ready,
                    isLocal: entry["nodeName"].string == node, hostname: entry["hostname"].string,
                    nodeHints: entry["hints"]["forNodes"].elements.compactMap { $0["name"].string },
                    zoneHints: entry["hints"]["forZones"].elements.compactMap { $0["name"].string })
            }
        }
        return Slice(ports: ports, endpoints: endpoints)
    }

    // MARK: Result

    /// The ports of a service with the endpoints that take traffic: the ready ones; where there is none, those that
    /// still serve while they end. The same for this node's own where a traffic policy is Local.
    package func ports(of key: ObjectKey) -> [ServicePort] {
        (services[key] ?? []).compactMap { entry -> ServicePort? in
            var port = entry.port
            if let own = port.clusterIPs.lazy.compactMap({ ownNames[$0] }).first {
                // Its other ports (metrics) are served under their own number.
                if port.port != 53 || own == 53 { return nil }
                port.endpoints = port.clusterIPs.map { ProxyEndpoint($0, own, isLocal: true) }
                return port
            }
            var seen: Set<ProxyEndpoint> = []
            var ready: [ProxyEndpoint] = []
            var ending: [ProxyEndpoint] = []
            var hints: [ProxyEndpoint: Endpoint] = [:]
            for (_, slice) in (slices[key] ?? [:]).sorted(by: { $0.key < $1.key }) {
                for target in slice.ports where target.name == entry.name && target.transport == port.transport {
                    for endpoint in slice.endpoints where endpoint.isReady || endpoint.isServing {
                        let value = ProxyEndpoint(endpoint.address, target.port, isLocal: endpoint.isLocal)
                        guard seen.insert(value).inserted else { continue }
                        if endpoint.isReady { ready.append(value) } else { ending.append(value) }
                        if !endpoint.nodeHints.isEmpty || !endpoint.zoneHints.isEmpty { hints[value] = endpoint }
                    }
                }
            }
            if ready.isEmpty { ready = ending }
            if !port.externalTrafficLocal, !port.internalTrafficLocal { ready = near(ready, hints) }
            if port.externalTrafficLocal || port.internalTrafficLocal, !ready.contains(where: \.isLocal) {
                ready += ending.filter { $0.isLocal && !ready.contains($0) }
            }
            port.endpoints = ready
            return port
        }
    }

    /// Those that are meant for this node or its zone, as long as every endpoint says for whom it is and one is for here
    /// (traffic distribution; k8s.io/kubernetes/pkg/proxy/topology.go).
    private func near(_ endpoints: [ProxyEndpoint], _ hints: [ProxyEndpoint: Endpoint]) -> [ProxyEndpoint] {
        guard !hints.isEmpty, hints.count >= endpoints.count else { return endpoints }
        if endpoints.allSatisfy({ hints[$0]?.nodeHints.isEmpty == false }) {
            let here = endpoints.filter { hints[$0]?.nodeHints.contains(node) == true }
            if !here.isEmpty { return here }
        }
        guard let zone, endpoints.allSatisfy({ hints[$0]?.zoneHints.isEmpty == false }) else { return endpoints }
        let here = endpoints.filter { hints[$0]?.zoneHints.contains(zone) == true }
        return here.isEmpty ? endpoints : here
    }

    /// The health check node port of a service and how many of its ready endpoints are on this node; nil: it has none.
    package func healthCheck(of key: ObjectKey) -> (port: UInt16, localEndpoints: Int)? {
        guard let port = services[key]?.lazy.compactMap(\.healthCheckPort).first else { return nil }
        let local = (slices[key] ?? [:]).values.flatMap(\.endpoints).filter { $0.isReady && $0.isLocal }
        return (port, Set(local.map(\.address)).count)
    }

    /// The ready endpoints of a service as the cluster's names have them.
    package func names(of key: ObjectKey) -> [DNSEndpoint] {
        var out: [DNSEndpoint] = []
        for (_, slice) in (slices[key] ?? [:]).sorted(by: { $0.key < $1.key }) {
            let ports = slice.ports.map {
                DNSService.Port(name: $0.name.lowercased(), transport: $0.transport.description, port: $0.port)
            }
            for endpoint in slice.endpoints where endpoint.isReady {
                out.append(DNSEndpoint(endpoint.address, hostname: endpoint.hostname, ports: ports))
            }
        }
        return out
    }
}
