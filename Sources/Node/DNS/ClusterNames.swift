package import ClusterDNS
internal import Codecs
package import KubeAPI
internal import Linux
internal import Logging
package import Netlink
import Synchronization

/// Feeds the node's name server from the API: services, their endpoints, namespaces, nodes (NodeHosts) and the
/// ConfigMaps `coredns` and `coredns-custom`; and writes the objects by which clients find it: the Service
/// kube-system/kube-dns and this node's EndpointSlice of it.
package final class ClusterNames: Sendable {
    package let server: DNSServer
    /// The cluster DNS address, and the port on which it is served where 53 was taken by another program.
    package let address: IPAddress
    package let port: UInt16

    private struct State {
        var nodes: [String: [String]] = [:]
        var gateways: [IPAddress] = []
        var namespaces: Set<String> = []
    }
    private let state = Mutex(State())

    static let namespace = "kube-system"
    static let service = "kube-dns"

    package init(server: DNSServer, address: IPAddress, port: UInt16) {
        (self.server, self.address, self.port) = (server, address, port)
    }

    // MARK: services

    /// All services there are.
    func reset(_ services: [KubeObject]) {
        let present = Set(services.map(\.key))
        let known = server.update { $0.zone.serviceKeys }
        for key in known.map({ ObjectKey(namespace: $0.namespace, name: $0.name) }) where !present.contains(key) {
            remove(key)
        }
        for service in services { set(service) }
    }

    func set(_ service: KubeObject) {
        let record = Self.record(service)
        server.update { $0.zone.set(record) }
    }

    func remove(_ key: ObjectKey) {
        server.update { $0.zone.removeService(namespace: key.namespace, name: key.name) }
    }

    func set(_ endpoints: [DNSEndpoint], of key: ObjectKey) {
        server.update { $0.zone.set(endpoints, namespace: key.namespace, name: key.name) }
    }

    package static func record(_ service: KubeObject) -> DNSService {
        let spec = service.spec
        var record = DNSService(namespace: service.namespace, name: service.name)
        if spec["type"].string == "ExternalName" {
            record.externalName = spec["externalName"].string ?? ""
            return record
        }
        var addresses = spec["clusterIPs"].elements.compactMap(\.string)
        if addresses.isEmpty, let one = spec["clusterIP"].string { addresses = [one] }
        // "None" is no address: the service is headless.
        record.addresses = addresses.compactMap { IPAddress($0) }
        record.ports = spec["ports"].elements.map { entry in
            DNSService.Port(
                name: (entry["name"].string ?? "").lowercased(),
                transport: (entry["protocol"].string ?? "TCP").lowercased(),
                port: UInt16(clamping: entry["port"].int ?? 0))
        }
        return record
    }

    // MARK: everything else

    /// Until the task is cancelled.
    func run(_ context: NodeContext) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.followNamespaces(context) }
            group.addTask { await self.followConfiguration(context) }
            if context.configuration.isServer { group.addTask { await self.publishService(context) } }
            await group.waitForAll()
        }
    }

    private func followNamespaces(_ context: NodeContext) async {
        await context.follow(.namespaces, as: context.clusterClient) { change in
            switch change {
            case .reset(let items):
                let names = Set(items.compactMap { try? $0.decode().name })
                let gone = self.state.withLock { state in
                    defer { state.namespaces = names }
                    return state.namespaces.subtracting(names)
                }
                for name in gone { self.server.update { $0.zone.setNamespace(name, exists: false) } }
                for name in names { self.server.update { $0.zone.setNamespace(name, exists: true) } }
            case .changed(let encoded):
                guard let name = try? encoded.decode().name else { return }
                self.state.withLock { _ = $0.namespaces.insert(name) }
                self.server.update { $0.zone.setNamespace(name, exists: true) }
            case .removed(let encoded):
                guard let name = try? encoded.decode().name else { return }
                self.state.withLock { _ = $0.namespaces.remove(name) }
                self.server.update { $0.zone.setNamespace(name, exists: false) }
            }
        }
    }

    private func followConfiguration(_ context: NodeContext) async {
        await context.follow(
            .configMaps, as: context.clusterClient, namespace: Self.namespace,
            fields: .equal("metadata.name", "coredns-custom")
        ) { change in
            switch change {
            case .reset(let items):
                let map = items.compactMap { try? $0.decode() }.first { $0.name == "coredns-custom" }
                await self.configure(map, context)
            case .changed(let encoded):
                if let map = try? encoded.decode() { await self.configure(map, context) }
            case .removed: await self.configure(nil, context)
            }
        }
    }

    private func configure(_ map: KubeObject?, _ context: NodeContext) async {
        let custom = map.map { CustomConfiguration($0["data"].stringMap) } ?? CustomConfiguration()
        server.update { $0.setCustom(custom) }
        guard let map else { return }
        let subject = EventSubject(
            kind: "ConfigMap", namespace: map.namespace, name: map.name, uid: map.uid,
            resourceVersion: String(map.resourceVersion))
        for problem in custom.problems {
            context.logger.warning("configmap kube-system/coredns-custom: \(problem)")
            context.events.record(subject, .warning, "InvalidCorefile", problem)
        }
    }

    // MARK: nodes

    /// Another node, or this one, as the API has it; nil: it is gone.
    func node(_ name: String, _ node: KubeObject?) {
        let lines = node.map { node -> [String] in
            let addresses = node.status["addresses"].elements
            let hostname = addresses.first { $0["type"].string == "Hostname" }?["address"].string ?? node.name
            return addresses.filter { $0["type"].string == "InternalIP" }.compactMap { $0["address"].string }
                .map { hostname == node.name ? "\($0) \(node.name)" : "\($0) \(node.name) \(hostname)" }
        }
        let text = state.withLock { state -> String? in
            guard state.nodes[name] != lines else { return nil }
            state.nodes[name] = lines
            return state.nodes.sorted { $0.key < $1.key }.flatMap(\.value).joined(separator: "\n")
        }
        guard let text else { return }
        server.update { $0.nodeHosts = HostsTable(text) }
    }

    /// The node has its pod ranges: their gateways answer too, and are this node's endpoint of the service.
    func networkIsUp(podCIDRs: [String], _ context: NodeContext) async {
        let gateways = podCIDRs.compactMap { IPPrefix($0)?.network.advanced(by: 1) }
        let fresh = state.withLock { state in
            defer { state.gateways = gateways }
            return gateways.filter { !state.gateways.contains($0) }
        }
        for gateway in fresh {
            do throws(SysError) {
                try server.listen(on: gateway, port: port)
            } catch {
                context.logger.warning("cluster DNS on \(gateway): \(error)")
            }
        }
        // The servers' are enough for who looks for them: a node's own pods are answered by the node.
        if context.configuration.isServer { await publishEndpoints(gateways, context) }
    }
}
