package import KubeAPI
package import Transport

/// The way from the API server to its nodes: logs, exec, attach, port forwarding, proxies. In the same process a call,
/// for a remote agent its tunnel.
package protocol NodeConnections: Sendable {
    /// The kubelet's HTTP server of a node (`/containerLogs/...`, `/exec/...`, `/attach/...`, `/portForward/...`); nil
    /// while the node is not connected.
    func handler(forNode name: String) -> HTTPHandler?

    /// An HTTP client to an address in the cluster (a pod, a service's endpoint), by way of a node if one is named;
    /// nil where there is none.
    func handler(forAddress host: String, port: UInt16, tls: Bool, node: String?) -> HTTPHandler?
}

extension NodeConnections {
    package func handler(forAddress host: String, port: UInt16, tls: Bool, node: String?) -> HTTPHandler? { nil }
}
