package import Codecs
package import KubeAPI
internal import Transport

/// Why a file gives no pod.
package struct StaticPodError: Error, Sendable, Equatable {
    package var message: String
    package init(_ message: String) { self.message = message }
}

/// A pod from a file on the node. Its UID is made from its contents, the node and the file, so that an edit is another
/// pod and a restart is not. Source: k8s.io/kubernetes/pkg/kubelet/config (file.go, common.go), types/pod_update.go.
package enum StaticPodManifest {
    package static let source = "kubernetes.io/config.source"
    package static let mirror = "kubernetes.io/config.mirror"
    package static let hash = "kubernetes.io/config.hash"
    package static let seen = "kubernetes.io/config.seen"
    /// Of one file, in bytes.
    package static let limit = 10 << 20

    /// The pod as the node runs it: defaults, name, namespace and annotations filled in.
    package static func decode(
        _ bytes: [UInt8], file: String, node: String, now: Timestamp
    ) throws(StaticPodError) -> KubeObject {
        var object = try parse(bytes)
        let kind = GroupVersionKind("", "v1", "Pod")
        do throws(APIError) {
            object = KubeObject(
                try Schema.shared.decode(object.json, as: kind, validation: .strict, defaults: true).json)
        } catch {
            throw StaticPodError(error.message)
        }
        try check(object)
        if object.uid.isEmpty {
            let text = object.json.encode() + Array("host:\(node)file:\(file)".utf8)
            object.metadata["uid"] = .string(String(SHA256.hexDigest(text).prefix(32)))
        }
        object.name = object.name + "-" + node.lowercased()
        if object.namespace.isEmpty { object.namespace = "default" }
        for key in ["creationTimestamp", "resourceVersion", "deletionTimestamp"] { object.metadata[key] = .null }
        object.annotations = object.annotations.merging([
            source: "file", hash: object.uid, seen: now.rfc3339Micro,
        ]) { _, mine in mine }
        object.spec["nodeName"] = .string(node)
        // Nothing evicts it: it comes from the node and has nowhere else to go.
        let everything: JSON = ["operator": "Exists", "effect": "NoExecute"]
        if !object.spec["tolerations"].elements.contains(everything) { object.spec["tolerations"].append(everything) }
        object.status = ["phase": "Pending"]
        return object
    }

    private static func parse(_ bytes: [UInt8]) throws(StaticPodError) -> KubeObject {
        let document: JSON
        do throws(YAMLError) { document = try YAML.parse(bytes) } catch {
            throw StaticPodError(error.description)
        }
        let object = KubeObject(document)
        guard document.object != nil, object.kind == "Pod", object.apiVersion == "v1" else {
            let found = "apiVersion \"\(object.apiVersion)\", kind \"\(object.kind)\""
            throw StaticPodError("expected apiVersion \"v1\", kind \"Pod\", found \(found)")
        }
        return object
    }

    /// What the node itself needs of a pod; the API server checks all of it when it gets the mirror.
    private static func check(_ object: KubeObject) throws(StaticPodError) {
        guard !object.name.isEmpty else { throw StaticPodError("metadata.name: Required value") }
        if let problem = LabelSyntax.subdomainProblem(object.name) {
            throw StaticPodError("metadata.name: Invalid value: \"\(object.name)\": \(problem)")
        }
        if !object.namespace.isEmpty, let problem = LabelSyntax.labelProblem(object.namespace) {
            throw StaticPodError("metadata.namespace: Invalid value: \"\(object.namespace)\": \(problem)")
        }
        let spec = object.spec
        guard !spec["containers"].elements.isEmpty else { throw StaticPodError("spec.containers: Required value") }
        if !spec["ephemeralContainers"].elements.isEmpty {
            throw StaticPodError("spec.ephemeralContainers: Forbidden: cannot be set on create")
        }
        var names: Set<String> = []
        for list in ["initContainers", "containers"] {
            for (index, container) in spec[list].elements.enumerated() {
                let name = container["name"].string ?? ""
                if let problem = LabelSyntax.labelProblem(name) {
                    throw StaticPodError("spec.\(list)[\(index)].name: Invalid value: \"\(name)\": \(problem)")
                }
                guard names.insert(name).inserted else {
                    throw StaticPodError("spec.\(list)[\(index)].name: Duplicate value: \"\(name)\"")
                }
                guard !(container["image"].string ?? "").isEmpty else {
                    throw StaticPodError("spec.\(list)[\(index)].image: Required value")
                }
            }
        }
        if let resource = reference(spec) { throw StaticPodError("static pods may not reference \(resource)") }
    }

    /// What of the API the pod refers to; nil: nothing, as it must be, for it runs without an API.
    private static func reference(_ spec: JSON) -> String? {
        if !(spec["serviceAccountName"].string ?? "").isEmpty { return "serviceaccounts" }
        let containers = spec["containers"].elements + spec["initContainers"].elements
        let volumes = spec["volumes"].elements
        let sources = volumes.flatMap { $0["projected"]["sources"].elements }
        func isSet(_ list: [JSON], _ path: String...) -> Bool {
            list.contains { item in !path.reduce(item) { $0[$1] }.isNull }
        }
        let (env, envFrom) = (containers.flatMap { $0["env"].elements }, containers.flatMap { $0["envFrom"].elements })
        let pullSecrets = spec["imagePullSecrets"].elements
        if !pullSecrets.isEmpty || isSet(volumes, "secret") || isSet(sources, "secret") || isSet(envFrom, "secretRef")
            || isSet(env, "valueFrom", "secretKeyRef")
        {
            return "secrets"
        }
        if isSet(volumes, "configMap") || isSet(sources, "configMap") || isSet(envFrom, "configMapRef")
            || isSet(env, "valueFrom", "configMapKeyRef")
        {
            return "configmaps"
        }
        if !spec["resourceClaims"].elements.isEmpty { return "resourceclaims" }
        if isSet(sources, "serviceAccountToken") { return "serviceaccounts" }
        if isSet(sources, "clusterTrustBundle") { return "clustertrustbundles" }
        if isSet(volumes, "persistentVolumeClaim") || isSet(volumes, "ephemeral") { return "persistentvolumeclaims" }
        if isSet(volumes, "csi") { return "csidrivers" }
        return nil
    }
}
