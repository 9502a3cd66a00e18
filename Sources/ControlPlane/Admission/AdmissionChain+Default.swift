internal import Codecs
package import KubeAPI
internal import Store

extension AdmissionChain {
    /// In upstream's order (`--enable-admission-plugins` of kube-apiserver): what is not here has no plug-in yet.
    package static let standard = AdmissionChain([
        .namespaceLifecycle, .limitRanger, .serviceAccount, .nodeRestriction(authorizer: nil), .taintNodesByCondition,
        .podSecurity(PodSecurityConfiguration()),
        .priority, .defaultTolerationSeconds, .defaultStorageClass, .storageObjectInUseProtection,
        .persistentVolumeClaimResize, .runtimeClass, .defaultIngressClass, .podTopologyLabels,
        .deviceAdminAccess,
    ])

    /// Nodes may ask for tokens of audiences that their pods do not name where the authorizer lets them.
    package mutating func setNodeRestriction(_ authorizer: any Authorizer) {
        replace(with: .nodeRestriction(authorizer: authorizer))
    }

    /// Pod security by a configuration file rather than by labels alone.
    package mutating func setPodSecurity(_ configuration: PodSecurityConfiguration) {
        replace(with: .podSecurity(configuration))
    }

    /// Takes the place of the plug-in of the same name.
    private mutating func replace(with plugin: AdmissionPlugin) {
        for i in plugins.indices where plugins[i].name == plugin.name { plugins[i] = plugin }
    }
}

extension AdmissionPlugin {
    /// Nothing is created in a namespace that is not there or is going, and some namespaces stay.
    package static let namespaceLifecycle = AdmissionPlugin(
        "NamespaceLifecycle", operations: [.create, .delete],
        mutate: { request, registry throws(APIError) in try NamespaceLifecycle.check(request, registry) },
        validate: { request, registry throws(APIError) in
            // A deletion is only judged; a creation was judged before anything else was done.
            if request.operation == .delete { try NamespaceLifecycle.check(request, registry) }
        })

    /// Pods tolerate a node that is not ready or not reachable for five minutes, unless they say otherwise.
    package static let defaultTolerationSeconds = AdmissionPlugin(
        "DefaultTolerationSeconds", operations: [.create, .update], resources: [.pods],
        mutate: { request, _ throws(APIError) in
            guard request.subresource.isEmpty else { return }
            var tolerations = request.object.spec["tolerations"].elements
            let known = tolerations.count
            for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
                let covered = tolerations.contains { toleration in
                    let name = toleration["key"].string ?? ""
                    let effect = toleration["effect"].string ?? ""
                    return (name == key || name.isEmpty) && (effect == "NoExecute" || effect.isEmpty)
                }
                if covered { continue }
                tolerations.append([
                    "key": .string(key), "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300,
                ])
            }
            if tolerations.count != known { request.object.json["spec"]["tolerations"] = .array(tolerations) }
        })

    /// A pod's priority is its class's; only one class is the default.
    package static let priority = AdmissionPlugin(
        "Priority", operations: [.create, .update], resources: [.pods, PodPriority.classes],
        mutate: { request, registry throws(APIError) in
            guard request.subresource.isEmpty, request.resource == .pods else { return }
            guard let old = request.old else { return try PodPriority.assign(&request, registry) }
            // Who sends what he once created does not mean to take away what was added to it.
            for key in ["priority", "preemptionPolicy"]
            where request.object.spec[key].isNull && !old.spec[key].isNull {
                request.object.json["spec"][key] = old.spec[key]
            }
        },
        validate: { request, registry throws(APIError) in
            guard request.resource == PodPriority.classes, request.object["globalDefault"].bool == true else { return }
            try PodPriority.checkDefault(request, registry)
        })

    /// Pods run as a service account and get its token.
    package static let serviceAccount = AdmissionPlugin(
        "ServiceAccount", operations: [.create], resources: [.pods],
        mutate: { request, registry throws(APIError) in
            guard request.subresource.isEmpty else { return }
            try await ServiceAccountAdmission.apply(&request, registry)
        })
}

/// Source: plugin/pkg/admission/namespace/lifecycle.
enum NamespaceLifecycle {
    private static let immortal: Set<String> = ["default", "kube-system", "kube-public"]

    static func check(_ request: AdmissionRequest, _ registry: Registry) throws(APIError) {
        if request.operation == .delete {
            if request.resource == .namespaces, immortal.contains(request.name) {
                throw .forbidden(request.resource, request.name, "this namespace may not be deleted")
            }
            return
        }
        // Whether a namespace is there would tell those who may not know it.
        if request.resource.resource == "localsubjectaccessreviews" { return }
        guard !request.namespace.isEmpty, request.resource != .namespaces,
            let resource = registry.resources[request.resource], resource.namespaced
        else { return }
        guard let entry = registry.store.get("/registry/namespaces/" + request.namespace) else {
            throw .notFound(.namespaces, request.namespace)
        }
        guard RawJSON.range(of: ["metadata", "deletionTimestamp"], in: entry.value) != nil else { return }
        var error = request.forbidden(
            "unable to create new content in namespace \(request.namespace) because it is being terminated")
        error.causes = [
            .init(
                reason: "NamespaceTerminating", message: "namespace \(request.namespace) is being terminated",
                field: "metadata.namespace")
        ]
        throw error
    }
}

/// Source: plugin/pkg/admission/priority.
enum PodPriority {
    static let classes = GroupVersionResource("scheduling.k8s.io", "v1", "priorityclasses")

    static func checkDefault(_ request: AdmissionRequest, _ registry: Registry) throws(APIError) {
        guard let row = registry.resources[classes], let known = try defaultClass(row, registry),
            known.name != request.object.name
        else { return }
        throw request.forbidden(
            "PriorityClass \(known.name) is already marked as default. Only one default can exist")
    }

    static func assign(_ request: inout AdmissionRequest, _ registry: Registry) throws(APIError) {
        let classes = registry.resources.first(kind: GroupVersionKind("scheduling.k8s.io", "v1", "PriorityClass"))
        let name = request.object.spec["priorityClassName"].string ?? ""
        var value: Int64 = 0
        var policy: JSON = "PreemptLowerPriority"
        if name.isEmpty {
            if let classes, let global = try defaultClass(classes, registry) {
                value = global["value"].int ?? 0
                policy = global["preemptionPolicy"].isNull ? policy : global["preemptionPolicy"]
                request.object.json["spec"]["priorityClassName"] = .string(global.name)
            }
        } else if let classes, let entry = registry.store.get(classes.key("", name)) {
            let object = try KubeObject(decoding: entry)
            value = object["value"].int ?? 0
            policy = object["preemptionPolicy"].isNull ? policy : object["preemptionPolicy"]
        } else if let known = PriorityClassStrategy.system[name] {
            value = known
        } else {
            throw request.forbidden("no PriorityClass with name \(name) was found")
        }
        if let asked = request.object.spec["priority"].int, asked != value {
            throw request.forbidden(
                "the integer value of priority (\(asked)) must not be provided in pod spec; priority admission controller "
                    + "computed \(value) from the given PriorityClass name")
        }
        if let asked = request.object.spec["preemptionPolicy"].string, asked != policy.string {
            throw request.forbidden(
                "the string value of PreemptionPolicy (\(asked)) must not be provided in pod spec; priority admission "
                    + "controller computed \(policy.string ?? "") from the given PriorityClass name")
        }
        request.object.json["spec"]["priority"] = .int(value)
        request.object.json["spec"]["preemptionPolicy"] = policy
    }

    private static func defaultClass(_ classes: ServedResource, _ registry: Registry) throws(APIError) -> KubeObject? {
        var chosen: KubeObject?
        for item in try registry.list(classes, namespace: nil, ListParameters()).items
        where RawJSON.text(of: ["globalDefault"], in: item.stored) == "true" {
            let object = try item.decode()
            // Where there are several, the lowest counts.
            if chosen.map({ object["value"].int ?? 0 < $0["value"].int ?? 0 }) ?? true { chosen = object }
        }
        return chosen
    }
}

/// Source: plugin/pkg/admission/serviceaccount.
enum ServiceAccountAdmission {
    private static let mountPath = "/var/run/secrets/kubernetes.io/serviceaccount"
    private static let volumePrefix = "kube-api-access-"
    /// How often the default account is looked for: its controller may be about to make it.
    private static let attempts = 20

    static func apply(_ request: inout AdmissionRequest, _ registry: Registry) async throws(APIError) {
        if request.object.annotations["kubernetes.io/config.mirror"] != nil {
            if !(request.object.spec["serviceAccountName"].string ?? "").isEmpty {
                throw request.forbidden("a mirror pod may not reference service accounts")
            }
            var pod = request.object
            pod.annotations = [:]
            if !PodReferences(pod).secrets.isEmpty {
                throw request.forbidden("a mirror pod may not reference secrets")
            }
            for volume in pod.spec["volumes"].elements
            where volume["projected"]["sources"].elements.contains(where: { !$0["serviceAccountToken"].isNull }) {
                throw request.forbidden("a mirror pod may not use service account token volume projections")
            }
            return
        }
        let asked =
            request.object.spec["serviceAccountName"].string ?? request.object.spec["serviceAccount"].string ?? ""
        let name = asked.isEmpty ? "default" : asked
        request.object.json["spec"]["serviceAccountName"] = .string(name)
        request.object.json["spec"]["serviceAccount"] = .string(name)
        let account = try await find(name, request, registry)
        if request.object.spec["imagePullSecrets"].elements.isEmpty {
            let secrets = account["imagePullSecrets"].elements
            if !secrets.isEmpty { request.object.json["spec"]["imagePullSecrets"] = .array(secrets) }
        }
        let mounts =
            request.object.spec["automountServiceAccountToken"].bool ?? account["automountServiceAccountToken"].bool
            ?? true
        if mounts { mountToken(&request.object) }
        if let problem = MountableSecrets.problem(request.object, account) { throw request.forbidden(problem) }
    }

    private static func find(
        _ name: String, _ request: AdmissionRequest, _ registry: Registry
    ) async throws(APIError) -> KubeObject {
        let accounts = try registry.resource(.serviceAccounts)
        for attempt in 1...attempts {
            if let entry = registry.store.get(accounts.key(request.namespace, name)) {
                return try KubeObject(decoding: entry)
            }
            guard name == "default", attempt < attempts, !Task.isCancelled else { break }
            try? await Task.sleep(for: .milliseconds(50))
        }
        throw request.forbidden(
            "error looking up service account \(request.namespace)/\(name): serviceaccount \"\(name)\" not found")
    }

    private static func mountToken(_ pod: inout KubeObject) {
        let volumes = pod.spec["volumes"].elements
        let existing = volumes.compactMap { $0["name"].string }.first { $0.hasPrefix(volumePrefix) }
        let name = existing ?? volumePrefix + Identifiers.suffix()
        var needed = false
        for key in ["initContainers", "containers"] {
            var containers = pod.spec[key].elements
            for i in containers.indices {
                let mounts = containers[i]["volumeMounts"].elements
                if mounts.contains(where: { $0["mountPath"].string == mountPath }) { continue }
                needed = true
                containers[i]["volumeMounts"].append([
                    "name": .string(name), "readOnly": true, "mountPath": .string(mountPath),
                ])
            }
            if !containers.isEmpty { pod.json["spec"][key] = .array(containers) }
        }
        guard needed, existing == nil else { return }
        pod.json["spec"]["volumes"].append([
            "name": .string(name),
            "projected": [
                "defaultMode": 420,
                "sources": [
                    // Seven seconds more than an hour: by that the token's issuer knows these volumes.
                    ["serviceAccountToken": ["expirationSeconds": 3607, "path": "token"]],
                    ["configMap": ["name": "kube-root-ca.crt", "items": [["key": "ca.crt", "path": "ca.crt"]]]],
                    [
                        "downwardAPI": [
                            "items": [
                                [
                                    "path": "namespace",
                                    "fieldRef": ["apiVersion": "v1", "fieldPath": "metadata.namespace"],
                                ]
                            ]
                        ]
                    ],
                ],
            ],
        ])
    }
}
