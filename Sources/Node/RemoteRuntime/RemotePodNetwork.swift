internal import Codecs
internal import Containers

/// The pod network of a runtime that makes it by itself, with CNI plugins: it gives and takes the addresses, here they are
/// only asked for. With a built-in network behind it the plugin is k3s (`CNIServer`), so that pods have the same bridge,
/// host ports and policies as ever; without one the plugins are the user's (--flannel-backend=none).
package final class RemotePodNetwork: PodNetworking {
    private let runtime: RemoteRuntime
    private let builtIn: PodNetworkAdapter?

    package init(_ runtime: RemoteRuntime, builtIn: PodNetworkAdapter?) {
        (self.runtime, self.builtIn) = (runtime, builtIn)
    }

    /// Without the runtime's own words before it, which the node's condition adds.
    package func notReadyReason() async -> String? {
        if let builtIn, let reason = await builtIn.notReadyReason() { return reason }
        guard let problem = runtime.networkProblem else { return nil }
        let mark = "Network plugin returns error: "
        guard let range = problem.firstRange(of: mark) else { return problem }
        return String(problem[range.upperBound...])
    }

    package func configure(podCIDRs: [String], annotations: [String: String]) async throws(PodNetworkingError) {
        try await builtIn?.configure(podCIDRs: podCIDRs, annotations: annotations)
    }

    package func announcements() async -> [String: String] { await builtIn?.announcements() ?? [:] }
    package func peersChanged(_ peers: [NetworkPeer]) async { await builtIn?.peersChanged(peers) }
    package var hasGateways: Bool { builtIn != nil }
    package func verify() async throws -> Bool { try await builtIn?.verify() ?? false }

    package func attach(_ attachment: PodAttachment) async throws(PodNetworkingError) -> [String] {
        let addresses: [String]
        do throws(RuntimeError) { addresses = try await runtime.addresses(sandbox: attachment.sandbox) } catch {
            throw PodNetworkingError(error.message)
        }
        guard !addresses.isEmpty else {
            throw PodNetworkingError("the runtime has given sandbox \(attachment.sandbox) no address")
        }
        return addresses
    }

    /// The runtime's, when it stops the sandbox.
    package func detach(sandbox: String) async {}

    package func addresses(sandbox: String) async -> [String] {
        (try? await runtime.addresses(sandbox: sandbox)) ?? []
    }
}
