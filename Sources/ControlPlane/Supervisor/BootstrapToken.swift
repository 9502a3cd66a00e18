package import Codecs
package import KubeAPI
import Synchronization
internal import Transport

/// A token with an end, with which nodes join: a Secret `bootstrap-token-<id>` in kube-system.
/// Source: k8s.io/cluster-bootstrap and kubeadm's apis/bootstraptoken.
package struct BootstrapToken: Sendable, Equatable {
    package static let secretType = "bootstrap.kubernetes.io/token"
    package static let namespace = "kube-system"
    package static let defaultGroup = "system:bootstrappers:k3s:default-node-token"
    package static let defaultUsages = ["signing", "authentication"]
    private static let prefix = "bootstrap-token-"

    package var id: String
    package var secret: String
    package var description = ""
    /// nil: never.
    package var expires: Timestamp?
    package var usages: [String] = []
    package var groups: [String] = []

    package init(id: String, secret: String) { (self.id, self.secret) = (id, secret) }

    /// `id.secret`
    package var text: String { id + "." + secret }

    package static func secretName(_ id: String) -> String { prefix + id }

    /// 6 of [a-z0-9]
    package static func isID(_ text: some StringProtocol) -> Bool { text.utf8.count == 6 && isPlain(text) }

    /// `id.secret`, as users write it.
    package static func parse(_ text: String) -> BootstrapToken? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, isID(parts[0]), parts[1].utf8.count == 16, isPlain(parts[1]) else { return nil }
        return BootstrapToken(id: String(parts[0]), secret: String(parts[1]))
    }

    private static func isPlain(_ text: some StringProtocol) -> Bool {
        text.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) }
    }

    /// `system:bootstrappers:...`, as the API server wants it.
    package static func isGroup(_ text: String) -> Bool {
        let name = text.utf8.dropFirst("system:bootstrappers:".utf8.count)
        guard text.hasPrefix("system:bootstrappers:"), (1...256).contains(name.count), let last = name.last,
            last != UInt8(ascii: "-"), last != UInt8(ascii: ":")
        else { return false }
        return name.allSatisfy {
            (0x61...0x7A).contains($0) || (0x30...0x3A).contains($0) || $0 == UInt8(ascii: "-")
        }
    }

    // MARK: - As a Secret

    /// nil: not the Secret of a token, or a broken one.
    package init?(secret object: KubeObject) {
        func value(_ key: String) -> String? {
            object["data"][key].string.flatMap { Base64.decode($0) }.map { String(decoding: $0, as: UTF8.self) }
        }
        guard object["type"].string == Self.secretType, let id = value("token-id"), Self.isID(id),
            object.name == Self.secretName(id), let secret = value("token-secret"), !secret.isEmpty
        else { return nil }
        self.init(id: id, secret: secret)
        description = value("description") ?? ""
        if let text = value("expiration") {
            // An end that cannot be read is one that has passed.
            expires = Timestamp(text) ?? Timestamp(seconds: 0)
        }
        for member in object["data"].object?.members ?? []
        where member.key.hasPrefix("usage-bootstrap-") && value(member.key) == "true" {
            usages.append(String(member.key.dropFirst("usage-bootstrap-".count)))
        }
        usages.sort()
        groups = (value("auth-extra-groups") ?? "").split(separator: ",").map(String.init)
    }

    package var object: KubeObject {
        var object = KubeObject(
            GroupVersionKind(.core, "Secret"), name: Self.secretName(id), namespace: Self.namespace)
        object["type"] = .string(Self.secretType)
        var data = ["token-id": id, "token-secret": secret]
        if !description.isEmpty { data["description"] = description }
        if let expires { data["expiration"] = expires.rfc3339 }
        for usage in usages { data["usage-bootstrap-" + usage] = "true" }
        if !groups.isEmpty { data["auth-extra-groups"] = groups.joined(separator: ",") }
        object["data"] = .map(data.mapValues { Base64.encode(Array($0.utf8)) })
        return object
    }

    // MARK: - As a credential

    /// Whom a bearer token stands for; nil: no bootstrap token, unknown, expired, or not for this use.
    package static func authenticate(_ text: String, _ registry: Registry, now: Timestamp) -> UserInfo? {
        guard let given = parse(text),
            let entry = try? registry.get(
                registry.resource(.secrets), namespace: namespace, name: secretName(given.id)),
            let object = try? entry.decode(), !object.isBeingDeleted, let known = BootstrapToken(secret: object),
            constantTimeEqual(known.secret, given.secret), known.expires.map({ now < $0 }) ?? true,
            known.usages.contains("authentication"), known.groups.allSatisfy(isGroup)
        else { return nil }
        return UserInfo("system:bootstrap:" + known.id, groups: ["system:bootstrappers"] + known.groups)
    }
}

/// Bootstrap tokens as bearer tokens of the API: for joining nodes of other makers.
package final class BootstrapTokens: Sendable {
    private let clock: any KubeClock
    private let registry = Mutex<Registry?>(nil)

    package init(clock: any KubeClock) { self.clock = clock }

    /// Where tokens are looked up; given once the API server exists.
    package func attach(_ registry: Registry) { self.registry.withLock { $0 = registry } }

    package func authenticate(_ text: String) -> UserInfo? {
        guard let registry = registry.withLock({ $0 }) else { return nil }
        return BootstrapToken.authenticate(text, registry, now: clock.now())
    }
}

/// Removes bootstrap tokens when their time has come.
/// Source: k8s.io/kubernetes/pkg/controller/bootstrap/tokencleaner.go.
package struct TokenCleaner: Controller {
    package let name = "token-cleaner"
    private let client: any KubeClient
    private let clock: any KubeClock

    package init(client: any KubeClient, clock: any KubeClock) { (self.client, self.clock) = (client, clock) }

    package var sources: [WatchSource] {
        [
            WatchSource(.secrets) { secret, kind in
                kind != .deleted && secret["type"].string == BootstrapToken.secretType
                    && secret.namespace == BootstrapToken.namespace ? [secret.key] : []
            }
        ]
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        guard let secret = try await client.getIfPresent(.secrets, namespace: key.namespace, name: key.name),
            let token = BootstrapToken(secret: secret), let expires = token.expires
        else { return nil }
        let left = expires.duration(since: clock.now())
        guard left <= .zero else { return left }
        do throws(APIError) {
            try await client.delete(
                .secrets, namespace: key.namespace, name: key.name,
                options: DeleteOptions(resourceVersion: secret.resourceVersion))
        } catch {
            if !error.isNotFound { throw error }
        }
        return nil
    }
}
