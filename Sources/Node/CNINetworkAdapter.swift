internal import Codecs
package import Containers
internal import Linux
package import Logging
internal import Netlink
package import PodNetwork
import Synchronization

/// Somebody else's pod network behind `PodNetworking`: CNI plugins, when the flannel backend is none. Pods that the built-in
/// network made before keep it until they end.
package final class CNINetworkAdapter: PodNetworking {
    private struct State {
        var isPrepared = false
        var reported: [String] = []
        /// The built-in network, while pods of it are left.
        var former: PodNetwork?
    }
    private let cni: CNINetwork
    private let builtIn: PodNetworkConfiguration
    private let backend: BackendConfiguration
    private let runtime: any ContainerRuntime
    private let logger: Logger
    private let state = Mutex(State())

    /// - Parameters:
    ///   - builtIn: how the built-in network was configured, should there be pods of it.
    ///   - backend: kind none; knows the tunnels of another backend, which are removed.
    package init(
        _ settings: CNISettings, builtIn: PodNetworkConfiguration, backend: BackendConfiguration,
        runtime: any ContainerRuntime, logger: Logger
    ) {
        cni = CNINetwork(settings)
        (self.builtIn, self.backend, self.runtime, self.logger) = (builtIn, backend, runtime, logger)
    }

    /// Upstream's words; the reason is in the log.
    package func notReadyReason() async -> String? {
        let (configuration, problems) = cni.configuration()
        let news = state.withLock { state in
            defer { state.reported = problems }
            return problems.filter { !state.reported.contains($0) }
        }
        for problem in news { logger.warning("CNI configuration: \(problem)") }
        return configuration == nil ? "cni plugin not initialized" : nil
    }

    package func configure(
        podCIDRs: [String], annotations: [String: String]
    ) async throws(PodNetworkingError) {
        guard state.withLock({ !$0.isPrepared }) else { return }
        do throws(PodNetworkError) {
            let ranges = podCIDRs.compactMap { IPPrefix($0) }
            let none = try await NetworkBackend.open(backend, podCIDRs: ranges)
            let live = Set(await runtime.sandboxes().map(\.id))
            try await keepFormer(ranges, mtu: none.mtu, live: live)
            // What was not undone when its sandbox went.
            for container in cni.containers where !live.contains(container) {
                do throws(PodNetworkError) { try await cni.delete(container: container) } catch {
                    logger.warning("CNI: sandbox \(container): \(error.message)")
                }
            }
        } catch { throw PodNetworkingError(error.message) }
        state.withLock { $0.isPrepared = true }
    }

    package var hasGateways: Bool { false }

    private func keepFormer(_ ranges: [IPPrefix], mtu: UInt32, live: Set<String>) async throws(PodNetworkError) {
        guard Files.isDirectory(builtIn.stateDirectory) else { return }
        var configuration = builtIn
        configuration.podCIDRs = ranges
        configuration.mtu = configuration.mtu ?? mtu
        let former = try await PodNetwork.open(configuration)
        try await former.gc(live: live)
        if former.sandboxIDs.isEmpty {
            try await former.tearDown()
            try? Directories.removeTree(builtIn.stateDirectory)
        } else {
            state.withLock { $0.former = former }
        }
    }

    package func peersChanged(_ peers: [NetworkPeer]) async {}

    package func attach(_ attachment: PodAttachment) async throws(PodNetworkingError) -> [String] {
        var wanted = CNIAttachment(container: attachment.sandbox, namespacePath: attachment.namespacePath)
        // As containerd passes them.
        wanted.arguments = [
            ("IgnoreUnknown", "1"), ("K8S_POD_NAMESPACE", attachment.podNamespace),
            ("K8S_POD_NAME", attachment.podName), ("K8S_POD_INFRA_CONTAINER_ID", attachment.sandbox),
            ("K8S_POD_UID", attachment.podUID),
        ]
        if !attachment.hostPorts.isEmpty {
            wanted.capabilities["portMappings"] = .array(
                attachment.hostPorts.map { port in
                    var mapping: JSON = [
                        "hostPort": .int(Int64(port.hostPort)), "containerPort": .int(Int64(port.containerPort)),
                        "protocol": .string(port.transport.lowercased()),
                    ]
                    if !port.hostIP.isEmpty { mapping["hostIP"] = .string(port.hostIP) }
                    return mapping
                })
        }
        var bandwidth = JSONObject()
        // Bursts of about 2 GiB: no limit, as upstream.
        if let rate = attachment.ingressBandwidth {
            bandwidth.append("ingressRate", .int(rate))
            bandwidth.append("ingressBurst", .int(Int64(Int32.max)))
        }
        if let rate = attachment.egressBandwidth {
            bandwidth.append("egressRate", .int(rate))
            bandwidth.append("egressBurst", .int(Int64(Int32.max)))
        }
        if !bandwidth.isEmpty { wanted.capabilities["bandwidth"] = .object(bandwidth) }
        do throws(PodNetworkError) {
            try PodLoopback.bringUp(namespacePath: attachment.namespacePath)
            return try await cni.add(wanted)
        } catch {
            throw PodNetworkingError(error.message)
        }
    }

    package func detach(sandbox: String) async {
        if let former = state.withLock({ $0.former }), former.addresses(sandboxID: sandbox) != nil {
            try? await former.detach(sandboxID: sandbox)
            return
        }
        do throws(PodNetworkError) { try await cni.delete(container: sandbox) } catch {
            logger.warning("CNI: sandbox \(sandbox): \(error.message)")
        }
    }

    package func addresses(sandbox: String) async -> [String] {
        state.withLock({ $0.former })?.addresses(sandboxID: sandbox)?.ips.map(\.description)
            ?? cni.addresses(container: sandbox)
    }

    package func verify() async throws -> Bool {
        try await state.withLock({ $0.former })?.verifyRules() ?? false
    }
}
