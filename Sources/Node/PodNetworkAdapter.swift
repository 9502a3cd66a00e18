internal import Codecs
package import Containers
internal import Iptables
internal import Netlink
package import PodNetwork
import Synchronization

/// The real pod network behind `PodNetworking`. It is opened once the node has its pod ranges.
package final class PodNetworkAdapter: PodNetworking {
    private let template: PodNetworkConfiguration
    private let runtime: any ContainerRuntime
    /// Told of every change of the other nodes: the backend's routes and tunnels.
    private let peers: (@Sendable ([NetworkPeer]) async -> Void)?
    private let network = Mutex<PodNetwork?>(nil)

    /// - Parameter template: its podCIDRs are replaced by those of the node.
    package init(
        template: PodNetworkConfiguration, runtime: any ContainerRuntime,
        peers: (@Sendable ([NetworkPeer]) async -> Void)? = nil
    ) {
        (self.template, self.runtime, self.peers) = (template, runtime, peers)
    }

    package var opened: PodNetwork? { network.withLock { $0 } }

    package func notReadyReason() async -> String? { opened == nil ? "cni plugin not initialized" : nil }

    package func configure(podCIDRs: [String]) async throws(PodNetworkingError) {
        guard opened == nil else { return }
        var configuration = template
        configuration.podCIDRs = []
        for text in podCIDRs {
            guard let prefix = IPPrefix(text) else {
                throw PodNetworkingError("spec.podCIDRs of the node: \"\(text)\" is not a CIDR")
            }
            configuration.podCIDRs.append(prefix)
        }
        do throws(PodNetworkError) {
            let opened = try await PodNetwork.open(configuration)
            let live = await runtime.sandboxes().map(\.id)
            try await opened.gc(live: Set(live))
            network.withLock { $0 = opened }
        } catch {
            throw PodNetworkingError(error.message)
        }
    }

    package func peersChanged(_ list: [NetworkPeer]) async { await peers?(list) }

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

    package func verify() async throws -> Bool { try await opened?.verifyRules() ?? false }

    package func detach(sandbox: String) async { try? await opened?.detach(sandboxID: sandbox) }

    package func addresses(sandbox: String) async -> [String] {
        opened?.addresses(sandboxID: sandbox)?.ips.map(\.description) ?? []
    }
}
