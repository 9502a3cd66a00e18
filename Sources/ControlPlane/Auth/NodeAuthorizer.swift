internal import Codecs
package import KubeAPI
internal import Store
import Synchronization

/// Asks several authorizers in turn; the first that allows, decides.
package struct AuthorizerChain: Authorizer {
    private let members: [any Authorizer]

    package init(_ members: [any Authorizer]) { self.members = members }

    package func authorize(_ attributes: AuthorizationAttributes) async -> AuthorizationDecision {
        var reasons: [String] = []
        for member in members {
            let decision = await member.authorize(attributes)
            if decision.isAllowed { return decision }
            if !decision.reason.isEmpty { reasons.append(decision.reason) }
        }
        return .deny(reason: reasons.joined(separator: ", "))
    }
}

/// What a kubelet may do: what concerns its own node, its pods and what these refer to.
///
/// Which objects a node's pods refer to is read from the pods when it is asked; what was found in a pod is kept by the
/// pod's revision. Source: k8s.io/kubernetes/plugin/pkg/auth/authorizer/node, KEP-279, KEP-4601.
package final class NodeAuthorizer: Authorizer {
    /// Kept answers of pods; a node has some hundred pods at most.
    private static let limit = 4096

    private struct Known: Sendable {
        var revision: Int64
        var references: PodReferences
    }

    /// What was allowed before, and the pod because of which: a kubelet asks for the same again and again.
    private struct Grant: Sendable, Hashable {
        var node: String
        var kind: PodReferences.Kind
        var namespace: String
        var name: String
    }

    private let registry = Mutex<Registry?>(nil)
    private let known = Mutex<[String: Known]>([:])
    private let grants = Mutex<[Grant: String]>([:])

    package init() {}

    /// Where pods are looked up; given once the API server exists.
    package func attach(_ registry: Registry) { self.registry.withLock { $0 = registry } }

    package func authorize(_ attributes: AuthorizationAttributes) async -> AuthorizationDecision {
        guard let node = Supervisor.node(of: attributes.user) else { return .deny(reason: "") }
        guard attributes.isResource else { return .deny(reason: "") }
        guard let registry = registry.withLock({ $0 }) else { return .deny(reason: "not ready") }
        let problem = Self.problem(attributes, node) { kind in
            self.refers(node, to: kind, attributes, registry)
        }
        guard let problem else { return .allow(reason: "") }
        return .deny(reason: problem)
    }

    /// nil: allowed.
    private static func problem(
        _ a: AuthorizationAttributes, _ node: String, refers: (PodReferences.Kind) -> Bool
    ) -> String? {
        switch (a.group, a.resource) {
        case ("", "secrets"): return readable(a, node) { refers(.secret) }
        case ("", "configmaps"): return readable(a, node) { refers(.configMap) }
        case ("", "persistentvolumeclaims"):
            if a.subresource == "status" {
                guard ["update", "patch"].contains(a.verb) else { return "can only update PVC status" }
                return refers(.claim) ? nil : noRelation(a, node)
            }
            return gettable(a, node) { refers(.claim) }
        case ("", "persistentvolumes"): return gettable(a, node) { refers(.volume) }
        case ("", "serviceaccounts"):
            if a.subresource == "token" {
                guard a.verb == "create" else { return "can only create tokens for individual service accounts" }
                return refers(.serviceAccount) ? nil : noRelation(a, node)
            }
            return gettable(a, node) { refers(.serviceAccount) }
        case ("coordination.k8s.io", "leases"):
            guard ["get", "create", "update", "patch", "delete"].contains(a.verb) else {
                return "can only get, create, update, patch, or delete a node lease"
            }
            guard a.namespace == "kube-node-lease" else {
                return "can only access leases in the \"kube-node-lease\" system namespace"
            }
            // The name of a creation is not known yet: NodeRestriction looks at it.
            guard a.verb == "create" || a.name == node else { return "can only access node lease with the same name" }
            return nil
        case ("storage.k8s.io", "csinodes"):
            guard ["get", "create", "update", "patch", "delete"].contains(a.verb), a.subresource.isEmpty else {
                return "can only get, create, update, patch, or delete a CSINode"
            }
            return a.verb == "create" || a.name == node
                ? nil : "can only access CSINode with the same name as the requesting node"
        case ("resource.k8s.io", "resourceclaims"): return gettable(a, node) { refers(.resourceClaim) }
        case ("resource.k8s.io", "resourceslices"): return ofSlices(a, node)
        case ("", "nodes"): return ofNodes(a, node)
        case ("", "pods"): return ofPods(a, node) { refers(.pod) }
        default: return others(a)
        }
    }

    private static func noRelation(_ a: AuthorizationAttributes, _ node: String) -> String {
        "no relationship found between node '\(node)' and this object"
    }

    private static func gettable(_ a: AuthorizationAttributes, _ node: String, _ refers: () -> Bool) -> String? {
        guard a.verb == "get" else { return "can only get individual resources of this type" }
        guard a.subresource.isEmpty else { return "cannot read subresource" }
        guard !a.name.isEmpty, refers() else { return noRelation(a, node) }
        return nil
    }

    /// Kubelets watch the single secret or config map that a pod of theirs has.
    private static func readable(_ a: AuthorizationAttributes, _ node: String, _ refers: () -> Bool) -> String? {
        guard ["get", "list", "watch"].contains(a.verb) else { return "can only read resources of this type" }
        guard a.subresource.isEmpty else { return "cannot read subresource" }
        guard !a.namespace.isEmpty else { return "can only read namespaced object of this type" }
        guard !a.name.isEmpty, refers() else { return noRelation(a, node) }
        return nil
    }

    /// Whose a slice is, is NodeRestriction's to judge where one is named. Source: authorizeResourceSlice.
    private static func ofSlices(_ a: AuthorizationAttributes, _ node: String) -> String? {
        guard a.subresource.isEmpty else { return "cannot access subresource" }
        switch a.verb {
        case "create", "get", "update", "patch", "delete": return nil
        case "list", "watch", "deletecollection":
            let terms = a.fieldSelector?.terms ?? []
            let isOwn = terms.contains { $0.field == "spec.nodeName" && $0.value == node && !$0.negated }
            return isOwn ? nil : "can only list/watch/deletecollection resourceslices with nodeName field selector"
        default:
            return "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, "
                + "delete, deletecollection"
        }
    }

    private static func ofNodes(_ a: AuthorizationAttributes, _ node: String) -> String? {
        switch (a.verb, a.subresource) {
        case ("create", ""): return nil
        case ("get", ""), ("list", ""), ("watch", ""), ("update", ""), ("patch", ""), ("update", "status"),
            ("patch", "status"), ("get", "status"):
            return a.name == node ? nil : "node '\(node)' cannot read or change other nodes"
        // As the kubelet does when it asks for its own statistics.
        case ("get", _): return a.name == node ? nil : "node '\(node)' cannot use the API of other nodes"
        default: return "node '\(node)' cannot \(a.verb) nodes"
        }
    }

    private static func ofPods(_ a: AuthorizationAttributes, _ node: String, _ refers: () -> Bool) -> String? {
        switch (a.verb, a.subresource) {
        case ("get", ""): return refers() ? nil : noRelation(a, node)
        case ("list", ""), ("watch", ""):
            if !a.name.isEmpty, refers() { return nil }
            let terms = a.fieldSelector?.terms ?? []
            let isOwn = terms.contains { $0.field == "spec.nodeName" && $0.value == node && !$0.negated }
            return isOwn ? nil : "can only list/watch pods with spec.nodeName field selector"
        // Whose pods they are, is NodeRestriction's to judge: creation and deletion of mirror pods, eviction, status.
        case ("create", ""), ("delete", ""), ("create", "eviction"), ("update", "status"), ("patch", "status"),
            ("get", "status"):
            return nil
        default: return "node '\(node)' cannot \(a.verb) pods\(a.subresource.isEmpty ? "" : "/" + a.subresource)"
        }
    }

    /// What every node may do beside.
    private static func others(_ a: AuthorizationAttributes) -> String? {
        rules.contains { $0.allows(a) } ? nil : ""
    }

    private static let rules: [PolicyRule] = [
        PolicyRule(
            verbs: ["create"], groups: ["authentication.k8s.io"], resources: ["tokenreviews"]),
        PolicyRule(
            verbs: ["create"], groups: ["authorization.k8s.io"],
            resources: ["subjectaccessreviews", "localsubjectaccessreviews", "selfsubjectaccessreviews"]),
        PolicyRule(verbs: ["get", "list", "watch"], groups: [""], resources: ["services"]),
        PolicyRule(verbs: ["create", "patch", "update"], groups: ["", "events.k8s.io"], resources: ["events"]),
        PolicyRule(verbs: ["get"], groups: [""], resources: ["endpoints"]),
        PolicyRule(
            verbs: ["create", "get", "list", "watch"], groups: ["certificates.k8s.io"],
            resources: ["certificatesigningrequests"]),
        PolicyRule(verbs: ["get", "list", "watch"], groups: ["node.k8s.io"], resources: ["runtimeclasses"]),
        PolicyRule(verbs: ["get", "list", "watch"], groups: ["storage.k8s.io"], resources: ["csidrivers"]),
        PolicyRule(verbs: ["get"], groups: ["storage.k8s.io"], resources: ["volumeattachments"]),
    ]

    // MARK: - The graph

    /// Whether a pod that is bound to the node refers to the object.
    private func refers(
        _ node: String, to kind: PodReferences.Kind, _ a: AuthorizationAttributes, _ registry: Registry
    ) -> Bool {
        guard !a.name.isEmpty, let pods = registry.resources[.pods] else { return false }
        switch kind {
        case .pod:
            guard let entry = registry.store.get(pods.key(a.namespace, a.name)) else { return false }
            return RawJSON.text(of: ["spec", "nodeName"], in: entry.value) == node
        case .volume:
            // The volume's claim must be that of a pod.
            guard let volumes = registry.resources[.persistentVolumes],
                let volume = try? registry.get(volumes, namespace: "", name: a.name).decode(),
                let namespace = volume.spec["claimRef"]["namespace"].string,
                let claim = volume.spec["claimRef"]["name"].string
            else { return false }
            return anyPod(Grant(node: node, kind: .claim, namespace: namespace, name: claim), registry)
        default:
            return anyPod(Grant(node: node, kind: kind, namespace: a.namespace, name: a.name), registry)
                || kind == .secret && isOfVolume(node, a, registry)
        }
    }

    /// Whether a CSI volume of a pod of the node needs the secret there. Source: plugin/pkg/auth/authorizer/node/graph.go.
    private func isOfVolume(_ node: String, _ a: AuthorizationAttributes, _ registry: Registry) -> Bool {
        guard let volumes = registry.resources[.persistentVolumes],
            let range = try? registry.store.range(prefix: volumes.prefix(namespace: nil))
        else { return false }
        return range.entries.contains { entry in
            guard RawJSON.text(of: ["spec", "csi", "driver"], in: entry.value) != nil,
                let volume = try? KubeObject(decoding: entry)
            else { return false }
            let claim = volume.spec["claimRef"]
            return ["nodeStageSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"].contains { field in
                let reference = volume.spec["csi"][field]
                return reference["name"].string == a.name && reference["namespace"].string == a.namespace
            }
                && anyPod(
                    Grant(
                        node: node, kind: .claim, namespace: claim["namespace"].string ?? "",
                        name: claim["name"].string ?? ""), registry)
        }
    }

    private func anyPod(_ asked: Grant, _ registry: Registry) -> Bool {
        guard !asked.namespace.isEmpty, let pods = registry.resources[.pods] else { return false }
        if let key = grants.withLock({ $0[asked] }), let entry = registry.store.get(key), permits(entry, asked) {
            return true
        }
        guard let range = try? registry.store.range(prefix: pods.prefix(namespace: asked.namespace)) else {
            return false
        }
        for entry in range.entries where permits(entry, asked) {
            grants.withLock { grants in
                if grants.count >= Self.limit { grants = [:] }
                grants[asked] = entry.key
            }
            return true
        }
        return false
    }

    private func permits(_ entry: StoreEntry, _ asked: Grant) -> Bool {
        RawJSON.text(of: ["spec", "nodeName"], in: entry.value) == asked.node
            && references(of: entry)?.contains(asked.kind, asked.name) == true
    }

    private func references(of entry: StoreEntry) -> PodReferences? {
        if let known = known.withLock({ $0[entry.key] }), known.revision == entry.modRevision {
            return known.references
        }
        guard let pod = try? KubeObject(decoding: entry) else { return nil }
        let references = PodReferences(pod)
        known.withLock { known in
            if known.count >= Self.limit { known = [:] }
            known[entry.key] = Known(revision: entry.modRevision, references: references)
        }
        return references
    }
}

/// The objects that a pod's kubelet needs for it, all of the pod's namespace.
/// Source: k8s.io/kubernetes/pkg/api/v1/pod (VisitPodSecretNames, VisitPodConfigmapNames).
struct PodReferences: Sendable, Equatable {
    enum Kind: Sendable {
        case secret, configMap, claim, serviceAccount, resourceClaim
        /// Of the node itself, and of the cluster: not names in a pod.
        case pod, volume
    }

    private(set) var secrets: Set<String> = []
    private(set) var configMaps: Set<String> = []
    private(set) var claims: Set<String> = []
    private(set) var resourceClaims: Set<String> = []
    private(set) var serviceAccount = ""

    func contains(_ kind: Kind, _ name: String) -> Bool {
        switch kind {
        case .secret: secrets.contains(name)
        case .configMap: configMaps.contains(name)
        case .claim: claims.contains(name)
        case .resourceClaim: resourceClaims.contains(name)
        case .serviceAccount: serviceAccount == name
        case .pod, .volume: false
        }
    }

    init(_ pod: KubeObject) {
        let spec = pod.spec
        // A mirror pod comes from the node: it may name what it likes, and gets nothing.
        if pod.annotations["kubernetes.io/config.mirror"] != nil { return }
        serviceAccount = spec["serviceAccountName"].string ?? ""
        for entry in spec["resourceClaims"].elements {
            if case .named(let name, _) = pod.resourceClaim(of: entry) { resourceClaims.insert(name) }
        }
        for secret in spec["imagePullSecrets"].elements { add(secret["name"], \.secrets) }
        for key in ["containers", "initContainers", "ephemeralContainers"] {
            for container in spec[key].elements {
                for source in container["envFrom"].elements {
                    add(source["secretRef"]["name"], \.secrets)
                    add(source["configMapRef"]["name"], \.configMaps)
                }
                for variable in container["env"].elements {
                    add(variable["valueFrom"]["secretKeyRef"]["name"], \.secrets)
                    add(variable["valueFrom"]["configMapKeyRef"]["name"], \.configMaps)
                }
            }
        }
        for volume in spec["volumes"].elements {
            add(volume["secret"]["secretName"], \.secrets)
            add(volume["configMap"]["name"], \.configMaps)
            if let name = pod.claimName(of: volume), !name.isEmpty { claims.insert(name) }
            for source in volume["projected"]["sources"].elements {
                add(source["secret"]["name"], \.secrets)
                add(source["configMap"]["name"], \.configMaps)
            }
            for driver in [
                "csi", "azureFile", "cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos",
            ] {
                for reference in ["secretRef", "nodePublishSecretRef"] {
                    add(volume[driver][reference]["name"], \.secrets)
                }
                add(volume[driver]["secretName"], \.secrets)
            }
        }
    }

    private mutating func add(_ name: JSON, _ path: WritableKeyPath<PodReferences, Set<String>>) {
        if let name = name.string, !name.isEmpty { self[keyPath: path].insert(name) }
    }
}
