import Codecs
import ControlPlane
import KubeAPI
import Linux
import NIOCore
import Netlink
import Synchronization
import Transport

/// `--egress-selector-mode`: what the server reaches through its agents' tunnels. Without a tunnel everything is dialed
/// directly.
enum EgressMode: String, Sendable, CaseIterable {
    /// Kubelets.
    case agent
    /// Kubelets, and pods on nodes that offer it (label `egress.k3s.io/cluster`); what an agent lets through differs.
    case cluster, pod
    /// Nothing.
    case disabled
}

/// The API server's way to nodes and pods: the node in this process by a call, the kubelets of agents through their
/// tunnels or else at their address, pods by the pod network or the tunnel of their node.
final class LocalNodes: NodeConnections {
    private static let egressLabel = "egress.k3s.io/cluster"
    private static let defaultKubeletPort: Int64 = 10250

    private struct Remote: Sendable {
        var client: any KubeClient
        var tunnels: NodeTunnels
        var mode: EgressMode
        var group: any EventLoopGroup
        /// With the API server's certificate.
        var kubelets: HTTPClient
        /// Whose certificates nobody vouches for.
        var pods: HTTPClient
    }

    private let local = Mutex<(name: String, handler: HTTPHandler)?>(nil)
    private let remote = Mutex<Remote?>(nil)

    func connect(_ name: String, _ handler: @escaping HTTPHandler) {
        local.withLock { $0 = (name, handler) }
    }

    /// Opens the ways to other machines, once there is an API to look nodes up in.
    func attach(
        client: any KubeClient, tunnels: NodeTunnels, pki: ClusterPKI, mode: EgressMode, group: any EventLoopGroup
    ) throws {
        var own = TLSClientConfiguration(trust: .authorities(pem: pki.server.pem))
        own.certificate = try TLSCertificate(
            chainFile: pki.path("client-kube-apiserver.crt"), keyFile: pki.path("client-kube-apiserver.key"))
        let resolve: @Sendable (String) async throws -> [String] = { [weak self] in
            await self?.addresses(of: $0) ?? [$0]
        }
        let dial: HTTPClient.Dialer = { [weak self] host, port in try await self?.tunneled(host, port) }
        let kubelets = HTTPClient(group: group, tls: try TLSClientContext(own), resolve: resolve, dial: dial)
        let pods = HTTPClient(
            group: group, tls: try TLSClientContext(TLSClientConfiguration(trust: .insecure)), resolve: resolve,
            dial: dial)
        remote.withLock {
            $0 = Remote(
                client: client, tunnels: tunnels, mode: mode, group: group, kubelets: kubelets, pods: pods)
        }
    }

    // MARK: - NodeConnections

    func handler(forNode name: String) -> HTTPHandler? {
        if let local = local.withLock({ $0 }), local.name == name { return local.handler }
        guard let remote = remote.withLock({ $0 }) else { return nil }
        return { request in
            guard let node = try? await remote.client.getIfPresent(.nodes, namespace: "", name: name) else {
                return .text("node \"\(name)\" is not in the cluster", status: 404)
            }
            let url = HTTPURL(isTLS: true, host: name, port: Self.kubeletPort(node), target: Self.target(request))
            return await HTTPProxy.forward(request, to: url, client: remote.kubelets, failure: Self.failure)
        }
    }

    func handler(forAddress host: String, port: UInt16, tls: Bool, node: String?) -> HTTPHandler? {
        guard let remote = remote.withLock({ $0 }), Self.isProxyable(host) else { return nil }
        return { request in
            let url = HTTPURL(isTLS: tls, host: host, port: Int(port), target: Self.target(request))
            return await HTTPProxy.forward(request, to: url, client: remote.pods)
        }
    }

    /// For `CONNECT`: a connection to a kubelet by its node's name, or to any address.
    func connection(_ host: String, _ port: UInt16) async throws -> any ByteStream {
        if let stream = try await tunneled(host, Int(port)) { return stream }
        guard let remote = remote.withLock({ $0 }) else {
            throw HTTPClientError.connectFailed("\(host):\(port)", reason: "the server is starting")
        }
        var failure: any Error = HTTPClientError.connectFailed("\(host):\(port)", reason: "no address")
        for address in await addresses(of: host) {
            do {
                return try await StreamConnector.connect(host: address, port: Int(port), group: remote.group)
            } catch {
                failure = error
            }
        }
        throw failure
    }

    private static func target(_ request: HTTPRequest) -> String {
        request.rawQuery.isEmpty ? request.rawPath : request.rawPath + "?" + request.rawQuery
    }

    @Sendable private static func failure(_ error: any Error) -> HTTPResponse {
        .text("error dialing backend: \(error)", status: 500)
    }

    /// A pod's address is what its node says it is: it must not lead to this machine's own services or to the cloud's.
    /// Source: k8s.io/kubernetes/pkg/proxy/util IsProxyableIP.
    private static func isProxyable(_ host: String) -> Bool {
        guard let address = IPAddress(host) else { return false }
        return !reserved.contains { $0.contains(address) }
    }

    private static let reserved = [
        "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32", "::/127", "fe80::/10",
        "ff00::/8", "::ffff:0:0/96",
    ].compactMap { IPPrefix($0) }

    // MARK: - Ways

    /// A connection through a node's tunnel; nil: to be dialed directly.
    private func tunneled(_ host: String, _ port: Int) async throws -> (any ByteStream)? {
        guard let remote = remote.withLock({ $0 }), remote.mode != .disabled, let number = UInt16(exactly: port) else {
            return nil
        }
        let sessions = remote.tunnels
        let address = IPAddress(host)
        // The kubelet is dialed by name, or at its node's address; the agent knows where it listens.
        let kubelet = TunnelAddress(host: "127.0.0.1", port: number)
        if address == nil {
            return try sessions.session(host)?.dial(kubelet)
        }
        guard let address, !sessions.nodes.isEmpty, let nodes = try? await remote.client.list(.nodes).decoded() else {
            return nil
        }
        for node in nodes where node.name != local.withLock({ $0?.name }) {
            guard let session = sessions.session(node.name) else { continue }
            if Self.addresses(node).contains(host), Self.kubeletPort(node) == port { return try session.dial(kubelet) }
            guard remote.mode == .cluster || remote.mode == .pod, node.labels[Self.egressLabel] == "true" else {
                continue
            }
            // Pods on the host's network have the node's addresses.
            let networks = node.spec["podCIDRs"].elements.compactMap { $0.string.flatMap { IPPrefix($0) } }
            if networks.contains(where: { $0.contains(address) }) || Self.addresses(node).contains(host) {
                return try session.dial(TunnelAddress(host: host, port: number))
            }
        }
        return nil
    }

    /// Where a node can be reached; the host itself, if it is no node.
    private func addresses(of host: String) async -> [String] {
        guard IPAddress(host) == nil, let remote = remote.withLock({ $0 }),
            let node = try? await remote.client.getIfPresent(.nodes, namespace: "", name: host)
        else { return [host] }
        let known = Self.addresses(node)
        return known.isEmpty ? [host] : known
    }

    /// Internal addresses before external ones, as kube-apiserver prefers them.
    private static func addresses(_ node: KubeObject) -> [String] {
        let all = node.status["addresses"].elements
        return ["InternalIP", "ExternalIP"].flatMap { type in
            all.filter { $0["type"].string == type }.compactMap { $0["address"].string }
        }
    }

    private static func kubeletPort(_ node: KubeObject) -> Int {
        let port = node.status["daemonEndpoints"]["kubeletEndpoint"]["Port"].int ?? defaultKubeletPort
        return (1...65535).contains(port) ? Int(port) : Int(defaultKubeletPort)
    }
}
