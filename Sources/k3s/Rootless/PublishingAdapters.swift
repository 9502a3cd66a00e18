import Containers
import Iptables
import Node

/// The service proxy and the pod network of a rootless node: what they serve inside is published on the host.
struct PublishingProxy: ServiceProxying {
    let inner: any ServiceProxying
    let ports: PublishedPorts

    func load(_ services: [ServicePort]) async throws {
        try await inner.load(services)
        ports.load(services)
    }
    func update(_ changed: [ServicePort], removing removed: Set<String>) async throws {
        try await inner.update(changed, removing: removed)
        ports.update(changed, removing: removed)
    }
    func verify() async throws -> String? { try await inner.verify() }
}

struct PublishingNetwork: PodNetworking {
    let inner: any PodNetworking
    let ports: PublishedPorts

    func notReadyReason() async -> String? { await inner.notReadyReason() }
    func configure(podCIDRs: [String], annotations: [String: String]) async throws(PodNetworkingError) {
        try await inner.configure(podCIDRs: podCIDRs, annotations: annotations)
    }
    func announcements() async -> [String: String] { await inner.announcements() }
    func peersChanged(_ peers: [NetworkPeer]) async { await inner.peersChanged(peers) }
    var hasGateways: Bool { inner.hasGateways }
    func attach(_ attachment: PodAttachment) async throws(PodNetworkingError) -> [String] {
        let addresses = try await inner.attach(attachment)
        let published = attachment.hostPorts.compactMap { port -> PublishedPorts.Port? in
            let transport = port.transport.lowercased()
            guard port.hostPort > 0, ["tcp", "udp"].contains(transport) else { return nil }
            return PublishedPorts.Port(number: port.hostPort, isUDP: transport == "udp")
        }
        if !published.isEmpty { ports.set(sandbox: attachment.sandbox, hostPorts: published) }
        return addresses
    }
    func detach(sandbox: String) async {
        ports.remove(sandbox: sandbox)
        await inner.detach(sandbox: sandbox)
    }
    func addresses(sandbox: String) async -> [String] { await inner.addresses(sandbox: sandbox) }
    func verify() async throws -> Bool { try await inner.verify() }
}
