package import Containers

/// What the node agent asks of the pod network; `PodNetwork` is the real one.
package protocol PodNetworking: Sendable {
    /// nil: pods can be attached; else why not yet (the message of the node's Ready condition).
    func notReadyReason() async -> String?
    /// The node's pod ranges, as the API server has assigned them; called again when they change.
    /// `annotations`: of the node's object, which say what an earlier process announced.
    func configure(podCIDRs: [String], annotations: [String: String]) async throws(PodNetworkingError)
    /// What other nodes need to know of this one: annotations of its object, once the network is configured.
    func announcements() async -> [String: String]
    /// Every other node of the cluster, whenever one changes.
    func peersChanged(_ peers: [NetworkPeer]) async
    /// The first address of each of the node's ranges is the node's, on the pods' bridge.
    var hasGateways: Bool { get }
    /// Gives the namespace at `namespacePath` an interface with addresses; returns them, the primary one first.
    /// Idempotent for a sandbox that is attached.
    func attach(_ attachment: PodAttachment) async throws(PodNetworkingError) -> [String]
    /// Idempotent.
    func detach(sandbox: String) async
    /// Addresses of a sandbox attached earlier (also by a previous process).
    func addresses(sandbox: String) async -> [String]
    /// Compares the network's rules with what was loaded and repairs them; true: they were changed by others.
    func verify() async throws -> Bool
}

extension PodNetworking {
    package var hasGateways: Bool { true }
    package func announcements() async -> [String: String] { [:] }
    package func verify() async throws -> Bool { false }
}

package struct PodNetworkingError: Error, Sendable, CustomStringConvertible {
    package var message: String
    package var description: String { message }
    package init(_ message: String) { self.message = message }
}

package struct PodAttachment: Sendable, Equatable {
    package typealias HostPort = SandboxConfig.HostPort
    package var sandbox: String
    package var namespacePath: String
    package var podNamespace: String
    package var podName: String
    package var podUID: String
    package var hostPorts: [HostPort] = []
    package var ingressBandwidth: Int64?
    package var egressBandwidth: Int64?
}

/// Another node, as the network backend needs it (flannel's annotations included).
package struct NetworkPeer: Sendable, Equatable {
    package var name: String
    package var internalIPs: [String]
    package var podCIDRs: [String]
    package var annotations: [String: String]
}
