import Node
import Transport

/// What the node needs of its cluster: on a server from the same process, on an agent from its server.
struct NodeCluster: Sendable {
    var clients: NodeClients
    /// Of the node's own API.
    var certificate: TLSCertificate
    /// Issues the certificates of those who may use it.
    var clientCA: [UInt8]
    /// Told how the node's own API is called within the process.
    var connect: @Sendable (@escaping HTTPHandler) -> Void = { _ in }
    /// Told how to ask whether an address and a TCP port are those of a pod of the node.
    var connectPods: @Sendable (@escaping NodePods.Lookup) -> Void = { _ in }
}

extension ControlPlaneRole {
    /// For the node in the server's process: no HTTP, and a serving certificate made on the spot.
    func nodeCluster(address: String) throws -> NodeCluster {
        let key = try PrivateKey.load(pki.path("serving-kubelet.key"))
        let chain = try pki.issue(
            .kubeletServing(nodeName: configuration.nodeName, addresses: [address, "127.0.0.1"]), for: key.publicKey)
        let (nodes, name) = (nodes, configuration.nodeName)
        return NodeCluster(
            clients: NodeClients(client), certificate: TLSCertificate(chainPEM: chain, keyPEM: key.pem),
            clientCA: pki.client.pem, connect: { nodes.connect(name, $0) })
    }
}
