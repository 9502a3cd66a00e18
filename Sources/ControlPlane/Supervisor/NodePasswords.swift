internal import Codecs
package import KubeAPI
internal import Linux
package import Logging
import Synchronization
internal import Transport

/// The first node that comes with a name keeps it: its password is stored as a hash in the Secret
/// `kube-system/<node>.node-password.k3s`, and who comes with that name and another password is refused. The Secret goes
/// with the Node object.
package final class NodePasswords: Sendable {
    static let secretType = "k3s.cattle.io/node-password"
    static let namespace = "kube-system"
    private static let suffix = ".node-password.k3s"
    private static let remembered = 4096

    private let api: APIServer
    private let client: LocalClient
    private let events: EventRecorder
    private let logger: Logger
    /// A hash takes 32 MiB while it is computed: one at a time.
    private let pool = BlockingPool(limit: 1)
    /// Digests of hash and password that belong together, by node: the second request of a node costs no hash.
    private let verified = Mutex<[String: [UInt8]]>([:])

    package init(api: APIServer, logger: Logger) {
        (self.api, self.logger) = (api, logger)
        client = api.client(as: UserInfo("system:k3s-supervisor", groups: ["system:masters", "system:authenticated"]))
        events = EventRecorder(client: client, clock: api.configuration.clock, component: "k3s-supervisor")
    }

    static func secretName(_ node: String) -> String { node + suffix }

    /// - Throws: 403 if the name belongs to a node with another password; what the store said, if the password of a
    ///   new node cannot be kept.
    package func check(node: String, password: String) async throws(APIError) {
        // Twice: another request of the same node may be first to store it.
        for _ in 0..<2 {
            if let hash = stored(node) { return try await verify(node, password, hash) }
            if try await keep(node, password) { return }
        }
        throw .unavailable("the password of node \(node) is being changed, try again")
    }

    private func stored(_ node: String) -> String? {
        guard
            let secret = try? api.registry.get(
                api.registry.resource(.secrets), namespace: Self.namespace, name: Self.secretName(node)
            ).decode()
        else { return nil }
        return secret["data"]["hash"].string.flatMap { Base64.decode($0) }.map { String(decoding: $0, as: UTF8.self) }
            ?? ""
    }

    private static func digest(_ hash: String, _ password: String) -> [UInt8] {
        SHA256.digest(Array(hash.utf8) + [0] + Array(password.utf8))
    }

    private func verify(_ node: String, _ password: String, _ hash: String) async throws(APIError) {
        let digest = Self.digest(hash, password)
        if verified.withLock({ $0[node].map { constantTimeEqual($0, digest) } ?? false }) { return }
        let matches: Bool
        do throws(PKIError) {
            matches = try await pool.run { () throws(PKIError) in try NodePassword.verify(password, hash: hash) }
        } catch {
            throw .internalError("Secret \(Self.namespace)/\(Self.secretName(node)): \(error)")
        }
        if matches { return remember(node, digest) }
        logger.error("node \(node): password refused, it is not the one that the node has joined with")
        await report(node)
        throw APIError(
            code: 403, reason: "Forbidden",
            message:
                "forbidden: unable to verify password for node \(node): hash does not match; another node has this "
                + "name, or this one has lost its /etc/rancher/node/password: choose another name, or delete the Node "
                + "object and its Secret \(Self.namespace)/\(Self.secretName(node))")
    }

    private func report(_ node: String) async {
        guard let object = try? await client.getIfPresent(.nodes, namespace: "", name: node) else { return }
        await events.event(
            object, type: .warning, reason: "NodePasswordValidationFailed",
            "Deferred node password secret validation failed: unable to verify password for node \(node): "
                + "hash does not match")
    }

    /// False: somebody else was first.
    private func keep(_ node: String, _ password: String) async throws(APIError) -> Bool {
        let hash: String
        do throws(PKIError) {
            hash = try await pool.run { () throws(PKIError) in try NodePassword.hash(password) }
        } catch {
            throw .internalError("node password: \(error)")
        }
        var secret = KubeObject(
            GroupVersionKind(.core, "Secret"), name: Self.secretName(node), namespace: Self.namespace)
        secret["type"] = .string(Self.secretType)
        secret["immutable"] = true
        secret["data"] = ["hash": .string(Base64.encode(Array(hash.utf8)))]
        do throws(APIError) {
            _ = try await client.create(.secrets, secret)
        } catch {
            if error.isAlreadyExists { return false }
            throw .unavailable("the password of node \(node) cannot be stored: \(error.message)")
        }
        remember(node, Self.digest(hash, password))
        return true
    }

    private func remember(_ node: String, _ digest: [UInt8]) {
        verified.withLock { verified in
            if verified.count >= Self.remembered { verified = [:] }
            verified[node] = digest
        }
    }

    fileprivate func forget(_ node: String) {
        verified.withLock { _ = $0.removeValue(forKey: node) }
    }
}

/// Takes leave of nodes whose object was deleted: their password and their tunnel go, so that the name is free.
package struct NodeDepartureController: Controller {
    package let name = "k3s-node"
    private let client: any KubeClient
    private let passwords: NodePasswords
    private let tunnels: NodeTunnels

    package init(client: any KubeClient, passwords: NodePasswords, tunnels: NodeTunnels) {
        (self.client, self.passwords, self.tunnels) = (client, passwords, tunnels)
    }

    package var sources: [WatchSource] {
        [WatchSource(.nodes) { node, kind in kind == .deleted ? [ObjectKey(name: node.name)] : [] }]
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        // A node that has come back with its old password meanwhile keeps it.
        guard try await client.getIfPresent(.nodes, namespace: "", name: key.name) == nil else { return nil }
        passwords.forget(key.name)
        do throws(APIError) {
            try await client.delete(
                .secrets, namespace: NodePasswords.namespace, name: NodePasswords.secretName(key.name),
                options: DeleteOptions())
        } catch {
            if !error.isNotFound { throw error }
        }
        tunnels.close(key.name)
        return nil
    }
}
