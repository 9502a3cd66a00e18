internal import Codecs
package import Containers
internal import Iptables
package import Logging
internal import Netlink
package import PodNetwork
import Synchronization

/// The built-in pod network behind `PodNetworking`: the bridge of this node's pods and the backend that leads to other
/// nodes. It is opened once the node has its pod ranges.
package final class PodNetworkAdapter: PodNetworking {
    private struct Open {
        var network: PodNetwork
        var backend: NetworkBackend
        var podCIDRs: [String]
    }
    private struct State {
        var open: Open?
        /// Why it could not be opened.
        var problem: String?
        var peers: [NetworkPeer] = []
        var reported: Set<String> = []
    }
    private let template: PodNetworkConfiguration
    private let backend: BackendConfiguration
    private let runtime: any ContainerRuntime
    private let logger: Logger
    private let state = Mutex(State())
    private let following = Mutex(())

    /// - Parameter template: its podCIDRs are replaced by those of the node, its MTU by the backend's unless it has one.
    package init(
        template: PodNetworkConfiguration, backend: BackendConfiguration, runtime: any ContainerRuntime,
        logger: Logger
    ) {
        (self.template, self.backend, self.runtime, self.logger) = (template, backend, runtime, logger)
    }

    package var opened: PodNetwork? { state.withLock { $0.open?.network } }

    package func notReadyReason() async -> String? {
        state.withLock { state in
            state.open != nil ? nil : "cni plugin not initialized" + (state.problem.map { ": " + $0 } ?? "")
        }
    }

    package func configure(
        podCIDRs: [String], annotations: [String: String]
    ) async throws(PodNetworkingError) {
        if state.withLock({ $0.open?.podCIDRs == podCIDRs }) { return }
        var configuration = template
        configuration.podCIDRs = []
        for text in podCIDRs {
            guard let prefix = IPPrefix(text) else {
                throw PodNetworkingError("spec.podCIDRs of the node: \"\(text)\" is not a CIDR")
            }
            configuration.podCIDRs.append(prefix)
        }
        do throws(PodNetworkError) {
            let backend = try await NetworkBackend.open(
                self.backend, podCIDRs: configuration.podCIDRs, annotations: annotations)
            configuration.mtu = configuration.mtu ?? backend.mtu
            let network = try await PodNetwork.open(configuration)
            let live = await runtime.sandboxes().map(\.id)
            try await network.gc(live: Set(live))
            state.withLock { state in
                state.open = Open(network: network, backend: backend, podCIDRs: podCIDRs)
                state.problem = nil
            }
        } catch {
            state.withLock { $0.problem = error.message }
            throw PodNetworkingError(error.message)
        }
        follow()
    }

    package func announcements() async -> [String: String] {
        state.withLock { $0.open?.backend }?.node(named: "").annotations ?? [:]
    }

    package func peersChanged(_ list: [NetworkPeer]) async {
        state.withLock { $0.peers = list }
        follow()
    }

    /// Microseconds per node that changed: netlink works while it is called.
    private func follow() {
        // One after the other: the last to come has the newest nodes.
        let problems = following.withLock { _ -> [String] in
            let (backend, peers) = state.withLock { ($0.open?.backend, $0.peers) }
            return backend?.update(
                peers.map { NetworkNode(name: $0.name, podCIDRs: $0.podCIDRs, annotations: $0.annotations) }) ?? []
        }
        let news = state.withLock { state in
            defer { state.reported = Set(problems) }
            return problems.filter { !state.reported.contains($0) }
        }
        for problem in news { logger.warning("network to other nodes: \(problem)") }
    }

    package func attach(_ attachment: PodAttachment) async throws(PodNetworkingError) -> [String] {
        guard let opened else { throw PodNetworkingError("cni plugin not initialized") }
        var ports: [HostPort] = []
        for port in attachment.hostPorts {
            guard let transport = TransportProtocol(name: port.transport) else {
                throw PodNetworkingError("host port \(port.hostPort): protocol \"\(port.transport)\" is unknown")
            }
            let address = IPAddress(port.hostIP).flatMap { $0.isUnspecified ? nil : $0 }
            ports.append(
                HostPort(
                    hostAddress: address, transport: transport, hostPort: port.hostPort, podPort: port.containerPort))
        }
        do throws(PodNetworkError) {
            let addresses = try await opened.attach(
                sandboxID: attachment.sandbox, netnsPath: attachment.namespacePath, hostPorts: ports)
            return addresses.ips.map(\.description)
        } catch {
            throw PodNetworkingError(error.message)
        }
    }

    package func verify() async throws -> Bool {
        guard let open = state.withLock({ $0.open }) else { return false }
        let rules = try await open.network.verifyRules()
        return try open.backend.verify() || rules
    }

    package func detach(sandbox: String) async { try? await opened?.detach(sandboxID: sandbox) }

    package func addresses(sandbox: String) async -> [String] {
        opened?.addresses(sandboxID: sandbox)?.ips.map(\.description) ?? []
    }
}
