internal import Codecs
package import KubeAPI
internal import Store

extension AdmissionPlugin {
    /// Kubelets change their own node and their own pods only.
    /// - Parameter authorizer: who says which tokens of other audiences a node may have; nil: nobody.
    package static func nodeRestriction(authorizer: (any Authorizer)?) -> AdmissionPlugin {
        AdmissionPlugin(
            "NodeRestriction", operations: [.create, .update, .delete],
            resources: [
                .nodes, .pods, .leases, .serviceAccounts, .persistentVolumeClaims,
                NodeRestriction.slices, .csiNodes,
            ],
            validate: { request, registry throws(APIError) in
                guard let node = Supervisor.node(of: request.scope.user) else { return }
                try NodeRestriction.check(request, node, registry)
                if request.resource == .serviceAccounts {
                    try await NodeRestriction.audience(request, registry, authorizer)
                }
            })
    }
}

/// Source: k8s.io/kubernetes/plugin/pkg/admission/noderestriction.
enum NodeRestriction {
    static let slices = GroupVersionResource("resource.k8s.io", "v1", "resourceslices")

    static func check(_ request: AdmissionRequest, _ node: String, _ registry: Registry) throws(APIError) {
        switch request.resource {
        case .pods: try pods(request, node, registry)
        case .nodes: try nodes(request, node)
        case .leases: try leases(request, node)
        case .serviceAccounts: try tokens(request, node, registry)
        case .persistentVolumeClaims:
            guard request.subresource == "status" else {
                throw request.forbidden("may only update PVC status")
            }
            try claim(request, node)
        case slices:
            guard (request.old ?? request.object).spec["nodeName"].string == node else {
                throw request.forbidden(
                    "can only \(request.operation.rawValue.lowercased()) ResourceSlice with the same NodeName as the "
                        + "requesting node")
            }
        default:
            guard name(of: request) == node else {
                throw request.forbidden("can only access CSINode with the same name as the requesting node")
            }
        }
    }

    private static func name(of request: AdmissionRequest) -> String {
        request.name.isEmpty ? request.object.name : request.name
    }

    // MARK: - Pods

    private static func pods(_ request: AdmissionRequest, _ node: String, _ registry: Registry) throws(APIError) {
        switch (request.subresource, request.operation) {
        case ("", .create): try createPod(request, node, registry)
        case ("", .delete):
            let pod = try existing(request, registry)
            guard pod.spec["nodeName"].string == node else {
                throw request.forbidden("node \"\(node)\" can only delete pods with spec.nodeName set to itself")
            }
        case ("status", .update):
            guard let old = request.old, old.spec["nodeName"].string == node else {
                throw request.forbidden(
                    "node \"\(node)\" can only update pod status for pods with spec.nodeName set to itself")
            }
            guard old.metadata["labels"] == request.object.metadata["labels"] else {
                throw request.forbidden("node \"\(node)\" cannot update labels through pod status")
            }
            // Sic: upstream's word.
            guard old.status["resourceClaimStatuses"] == request.object.status["resourceClaimStatuses"] else {
                throw request.forbidden("node \"\(node)\" cannot update resource claim statues")
            }
        case ("eviction", .create):
            let pod = try existing(request, registry)
            guard pod.spec["nodeName"].string == node else {
                throw request.forbidden("node \(node) can only evict pods with spec.nodeName set to itself")
            }
        case ("", _), ("status", _), ("eviction", _):
            throw request.forbidden(
                "unexpected operation \"\(request.operation.rawValue)\""
                    + (request.subresource.isEmpty ? ", node \"\(node)\" can only create and delete mirror pods" : ""))
        default:
            throw request.forbidden(
                "unexpected pod subresource \"\(request.subresource)\", only 'status' and 'eviction' are allowed")
        }
    }

    private static func existing(_ request: AdmissionRequest, _ registry: Registry) throws(APIError) -> KubeObject {
        if let old = request.old { return old }
        return try registry.get(
            try registry.resource(.pods), namespace: request.namespace, name: name(of: request)
        ).decode()
    }

    private static func createPod(_ request: AdmissionRequest, _ node: String, _ registry: Registry) throws(APIError) {
        let pod = request.object
        guard pod.annotations["kubernetes.io/config.mirror"] != nil else {
            throw request.forbidden(
                "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"\(node)\" can only create mirror pods"
            )
        }
        guard pod.spec["nodeName"].string == node else {
            throw request.forbidden("node \"\(node)\" can only create pods with spec.nodeName set to itself")
        }
        try owner(of: pod, request, node, registry)
        guard (pod.spec["serviceAccountName"].string ?? "").isEmpty else {
            throw request.forbidden("node \"\(node)\" can not create pods that reference a service account")
        }
        let references = PodReferences(withoutMirror(pod))
        if !references.secrets.isEmpty {
            throw request.forbidden("node \"\(node)\" can not create pods that reference secrets")
        }
        if !references.configMaps.isEmpty {
            throw request.forbidden("node \"\(node)\" can not create pods that reference configmaps")
        }
        let sources = pod.spec["volumes"].elements.flatMap { $0["projected"]["sources"].elements }
        if sources.contains(where: { !$0["clusterTrustBundle"].isNull }) {
            throw request.forbidden("node \"\(node)\" can not create pods that reference clustertrustbundles")
        }
        if !references.claims.isEmpty {
            throw request.forbidden("node \"\(node)\" can not create pods that reference persistentvolumeclaims")
        }
        if !pod.spec["resourceClaims"].elements.isEmpty {
            throw request.forbidden("node \"\(node)\" can not create pods that reference resourceclaims")
        }
    }

    private static func owner(
        of pod: KubeObject, _ request: AdmissionRequest, _ node: String, _ registry: Registry
    ) throws(APIError) {
        let (owners, begin) = (pod.ownerReferences, "node \"\(node)\" can only create pods with ")
        if owners.count > 1 { throw request.forbidden(begin + "a single owner reference set to itself") }
        guard let owner = owners.first, owner.apiVersion == "v1", owner.kind == "Node", owner.name == node else {
            throw request.forbidden(begin + "an owner reference set to itself")
        }
        guard owner.controller else {
            throw request.forbidden(begin + "a controller owner reference set to itself")
        }
        if owner.blockOwnerDeletion {
            throw request.forbidden("node \"\(node)\" must not set blockOwnerDeletion on an owner reference")
        }
        guard let uid = registry.identity(of: .nodes, namespace: "", name: node)?.uid else {
            throw .notFound(.nodes, node)
        }
        if uid != owner.uid {
            throw request.forbidden("node \(node) UID mismatch: expected \(owner.uid) got \(uid)")
        }
    }

    /// How large a volume is and how its growing goes on is for the node to say, and nothing else of a claim.
    private static func claim(_ request: AdmissionRequest, _ node: String) throws(APIError) {
        guard request.operation == .update, let old = request.old else {
            throw request.forbidden("unexpected operation \"\(request.operation.rawValue)\"")
        }
        func rest(_ claim: KubeObject) -> JSON {
            var json = claim.json
            for key in ["resourceVersion", "managedFields"] { json["metadata"][key] = .null }
            for key in ["capacity", "conditions", "allocatedResourceStatuses", "allocatedResources"] {
                json["status"][key] = .null
            }
            if json["status"] == .object(JSONObject()) { json["status"] = .null }
            return json
        }
        let (now, before) = (rest(request.object), rest(old))
        guard now != before else { return }
        let changes = PodStrategy.differences(now, before).joined(separator: "\n")
        throw request.forbidden(
            "node \"\(node)\" is not allowed to update fields other than status.quantity and status.conditions: \(changes)"
        )
    }

    private static func withoutMirror(_ pod: KubeObject) -> KubeObject {
        var pod = pod
        pod.metadata["annotations"]["kubernetes.io/config.mirror"] = .null
        return pod
    }

    // MARK: - Nodes

    /// Labels of these prefixes are the cluster's word about a node: workloads are kept apart by them.
    private static let restricted = "node-restriction.kubernetes.io"
    private static let allowedLabels: Set<String> = [
        "kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch", "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region", "node.kubernetes.io/instance-type",
        "beta.kubernetes.io/instance-type", "beta.kubernetes.io/os", "beta.kubernetes.io/arch",
    ]

    private static func nodes(_ request: AdmissionRequest, _ node: String) throws(APIError) {
        guard name(of: request) == node else {
            throw request.forbidden("node \"\(node)\" is not allowed to modify node \"\(name(of: request))\"")
        }
        switch request.operation {
        case .create:
            guard request.object.spec["configSource"].isNull else {
                throw request.forbidden("node \"\(node)\" is not allowed to create pods with a non-nil configSource")
            }
            try labels(
                request, Set(request.object.labels.keys), "node \"\(node)\" is not allowed to set the following labels")
        case .update:
            guard let old = request.old else { return }
            let source = request.object.spec["configSource"]
            if !source.isNull, source != old.spec["configSource"] {
                throw request.forbidden(
                    "node \"\(node)\" is not allowed to update configSource to a new non-nil configSource")
            }
            if request.object.spec["taints"] != old.spec["taints"] {
                throw request.forbidden("node \"\(node)\" is not allowed to modify taints")
            }
            guard request.object.ownerReferences == old.ownerReferences else {
                throw request.forbidden("node \"\(node)\" is not allowed to modify ownerReferences")
            }
            let (new, before) = (request.object.labels, old.labels)
            try labels(
                request, Set(new.keys.filter { new[$0] != before[$0] } + before.keys.filter { new[$0] == nil }),
                "is not allowed to modify labels")
        default:
            throw request.forbidden("node \"\(node)\" is not allowed to delete nodes")
        }
    }

    private static func labels(
        _ request: AdmissionRequest, _ changed: Set<String>, _ begin: String
    ) throws(APIError) {
        let bad = changed.filter(isReserved).sorted()
        if bad.isEmpty { return }
        throw request.forbidden("\(begin): \(bad.joined(separator: ", "))")
    }

    private static func isReserved(_ label: String) -> Bool {
        guard let slash = label.firstIndex(of: "/") else { return false }
        let domain = label[..<slash]
        func isBelow(_ parent: String) -> Bool { domain == parent || domain.hasSuffix("." + parent) }
        if isBelow(restricted) { return true }
        guard isBelow("kubernetes.io") || isBelow("k8s.io") else { return false }
        return !(allowedLabels.contains(label) || isBelow("kubelet.kubernetes.io") || isBelow("node.kubernetes.io"))
    }

    // MARK: - Others

    private static func leases(_ request: AdmissionRequest, _ node: String) throws(APIError) {
        guard request.namespace == "kube-node-lease" else {
            throw request.forbidden("can only access leases in the \"kube-node-lease\" system namespace")
        }
        guard name(of: request) == node else {
            throw request.forbidden("can only access node lease with the same name as the requesting node")
        }
    }

    /// A token for a pod of the node, that dies with the pod.
    private static func tokens(_ request: AdmissionRequest, _ node: String, _ registry: Registry) throws(APIError) {
        guard request.subresource == "token", request.operation == .create else { return }
        let reference = request.object.spec["boundObjectRef"]
        guard reference["kind"].string == "Pod", reference["apiVersion"].string == "v1",
            let name = reference["name"].string, !name.isEmpty
        else { throw request.forbidden("node requested token not bound to a pod") }
        guard let uid = reference["uid"].string, !uid.isEmpty else {
            throw request.forbidden("node requested token with a pod binding without a uid")
        }
        let pod = try registry.get(
            try registry.resource(.pods), namespace: request.namespace, name: name
        ).decode()
        guard pod.uid == uid else {
            throw request.forbidden(
                "the UID in the bound object reference (\(uid)) does not match the UID in record. The object might "
                    + "have been deleted and then recreated")
        }
        guard pod.spec["nodeName"].string == node else {
            throw request.forbidden("node requested token bound to a pod scheduled on a different node")
        }
    }
}
