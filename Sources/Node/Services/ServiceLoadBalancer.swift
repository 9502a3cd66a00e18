internal import Codecs
internal import KubeAPI
internal import Logging
internal import Netlink
import Synchronization

/// k3s's servicelb without pods: services of type LoadBalancer get the addresses of the nodes, on which the service proxy
/// answers as it does on any load balancer address. Runs on the server.
///
/// A port of the nodes belongs to the service that was there first; another one of the same port stays pending.
final class ServiceLoadBalancer: Sendable {
    private struct NodeAddresses: Equatable {
        var external: [String]
        var internal_: [String]
        var isReady: Bool
        /// svccontroller.k3s.cattle.io/enablelb and lbpool.
        var enabled: String?
        var pool: String?
    }
    private struct State {
        var services: [ObjectKey: KubeObject] = [:]
        var nodes: [String: NodeAddresses] = [:]
        var nodesKnown = false
    }
    private let state = Mutex(State())
    private let news: AsyncStream<Void>
    private let poke: AsyncStream<Void>.Continuation
    private static let prefix = "svccontroller.k3s.cattle.io/"

    /// In place of the nodes' addresses.
    private let address: String?

    init(address: String? = nil) {
        self.address = address
        (news, poke) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    // MARK: what is there

    func reset(_ services: [KubeObject]) {
        state.withLock { state in
            state.services = [:]
            for service in services where Self.concerns(service) { state.services[service.key] = service }
        }
        poke.yield()
    }

    func set(_ service: KubeObject) {
        let changed = state.withLock { state -> Bool in
            let old = state.services.removeValue(forKey: service.key)
            if Self.concerns(service) { state.services[service.key] = service }
            return old != nil || state.services[service.key] != nil
        }
        if changed { poke.yield() }
    }

    func remove(_ key: ObjectKey) {
        if state.withLock({ $0.services.removeValue(forKey: key) }) != nil { poke.yield() }
    }

    func node(_ name: String, _ node: KubeObject?) {
        let addresses = node.map { node -> NodeAddresses in
            let list = node.status["addresses"].elements
            func of(_ type: String) -> [String] {
                list.filter { $0["type"].string == type }.compactMap { $0["address"].string }
            }
            let ready = node.status["conditions"].elements.first { $0["type"].string == "Ready" }
            return NodeAddresses(
                external: of("ExternalIP"), internal_: of("InternalIP"), isReady: ready?["status"].string == "True",
                enabled: node.labels[Self.prefix + "enablelb"], pool: node.labels[Self.prefix + "lbpool"])
        }
        let changed = state.withLock { state -> Bool in
            state.nodesKnown = true
            guard state.nodes[name] != addresses else { return false }
            state.nodes[name] = addresses
            return true
        }
        if changed { poke.yield() }
    }

    /// Load balancers, and what has addresses of a time when it was one.
    private static func concerns(_ service: KubeObject) -> Bool {
        service.spec["loadBalancerClass"].isNull
            && (service.spec["type"].string == "LoadBalancer"
                || !service.status["loadBalancer"]["ingress"].elements.isEmpty)
    }

    // MARK: what should be

    /// Addresses by service; pure but for the lock.
    func wanted() -> [(service: KubeObject, addresses: [String])] {
        let (services, nodes) = state.withLock { (Array($0.services.values), Array($0.nodes.values)) }
        var owners: [String: ObjectKey] = [:]
        let restricted = nodes.contains { $0.enabled != nil }
        let sorted = services.sorted {
            ($0.creationTimestamp?.nanoseconds ?? 0, $0.key) < ($1.creationTimestamp?.nanoseconds ?? 0, $1.key)
        }
        return sorted.map { service in
            guard service.spec["type"].string == "LoadBalancer", !service.isBeingDeleted else { return (service, []) }
            let ports = service.spec["ports"].elements.map {
                "\($0["port"].int ?? 0)/\($0["protocol"].string ?? "TCP")"
            }
            guard ports.allSatisfy({ owners[$0] == nil }) else { return (service, []) }
            for port in ports { owners[port] = service.key }
            let pool = service.labels[Self.prefix + "lbpool"]
            let chosen = nodes.filter {
                $0.isReady && (!restricted || $0.enabled == "true") && (pool == nil || $0.pool == pool)
            }
            var addresses = chosen.flatMap(\.external)
            if addresses.isEmpty { addresses = chosen.flatMap(\.internal_) }
            if let address, !addresses.isEmpty { addresses = [address] }
            let families = Set(service.spec["ipFamilies"].elements.compactMap(\.string))
            let parsed = Set(addresses.compactMap { IPAddress($0) })
                .filter { families.isEmpty || families.contains($0.family.description) }
            return (service, parsed.sorted().map(\.description))
        }
    }

    func run(_ context: NodeContext) async {
        for await _ in news {
            if Task.isCancelled { return }
            guard state.withLock({ $0.nodesKnown }) else { continue }
            for (service, addresses) in wanted() {
                let present = service.status["loadBalancer"]["ingress"].elements.compactMap { $0["ip"].string }
                if present != addresses { await write(service, present, addresses, context) }
            }
            await context.clock.sleep(for: .milliseconds(100))
        }
    }

    private func write(_ service: KubeObject, _ old: [String], _ new: [String], _ context: NodeContext) async {
        let ingress: JSON = new.isEmpty ? .null : .array(new.map { ["ip": .string($0), "ipMode": "VIP"] })
        do throws(APIError) {
            _ = try await context.client.patch(
                .services, namespace: service.namespace, name: service.name,
                ["status": ["loadBalancer": ["ingress": ingress]]], type: .merge, subresource: "status")
            context.events.record(
                EventSubject(
                    kind: "Service", namespace: service.namespace, name: service.name, uid: service.uid,
                    resourceVersion: String(service.resourceVersion)),
                .normal, "UpdatedLoadBalancer",
                "Updated LoadBalancer with new IPs: [\(old.joined(separator: " "))] -> [\(new.joined(separator: " "))]")
        } catch {
            if error.isNotFound { return }
            context.logger.warning("service \(service.key): load balancer addresses: \(error.message)")
            // Tried again a little later, whatever else happens.
            Task { [poke] in
                await context.clock.sleep(for: .seconds(5))
                poke.yield()
            }
        }
    }
}
