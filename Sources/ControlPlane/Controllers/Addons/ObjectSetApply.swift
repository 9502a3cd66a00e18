internal import Codecs
internal import KubeAPI
internal import Transport

/// Objects that belong together because of an owner which is not among their owner references: they carry its name in
/// labels and annotations, in the original's form, so that either program finds what the other has made.
/// Source of the form: rancher/wrangler pkg/apply.
struct ObjectSetApply: Sendable {
    static let prefix = "objectset.rio.cattle.io/"
    static let hashLabel = prefix + "hash"
    static let pruneLabel = prefix + "prune"

    let client: any KubeClient
    let resources: ResourceSet

    /// "apps/v1, Kind=Deployment", "/v1, Kind=ConfigMap": as Go prints a kind.
    static func text(_ gvk: GroupVersionKind) -> String { "\(gvk.group)/\(gvk.version), Kind=\(gvk.kind)" }

    static func kind(_ text: some StringProtocol) -> GroupVersionKind? {
        let text = String(text)
        guard let middle = text.firstRange(of: ", Kind=") else { return nil }
        let group = text[..<middle.lowerBound].split(separator: "/", omittingEmptySubsequences: false)
        guard group.count == 2 else { return nil }
        return GroupVersionKind(String(group[0]), String(group[1]), String(text[middle.upperBound...]))
    }

    /// Kinds in the order of their first objects, each once.
    static func kinds(_ objects: [KubeObject]) -> [GroupVersionKind] {
        var seen: Set<GroupVersionKind> = []
        return objects.compactMap(\.gvk).filter { seen.insert($0).inserted }
    }

    /// The owner's label: SHA-1 over what the annotations say.
    static func hash(of owner: KubeObject) -> String {
        let gvk = owner.gvk.map(text) ?? ""
        return SHA1.hexDigest(Array((gvk + owner.name + owner.namespace).utf8))
    }

    /// The object as it is to be: with the owner's marks.
    static func marked(_ object: KubeObject, owner: KubeObject) -> KubeObject {
        var marked = object
        for key in ["creationTimestamp", "managedFields", "resourceVersion", "uid"] where !marked.metadata[key].isNull {
            marked.metadata[key] = .null
        }
        var labels = marked.labels
        labels[hashLabel] = hash(of: owner)
        marked.labels = labels
        var annotations = marked.annotations
        annotations[prefix + "applied"] = nil
        annotations[prefix + "id"] = ""
        annotations[prefix + "owner-gvk"] = owner.gvk.map(text) ?? ""
        annotations[prefix + "owner-name"] = owner.name
        annotations[prefix + "owner-namespace"] = owner.namespace
        marked.annotations = annotations
        // The original merges by what it has applied last; with gzip and base64 without padding.
        if let packed = try? Gzip.compress(marked.json.encode()) {
            var text = Base64.encode(packed)
            while text.hasSuffix("=") { text.removeLast() }
            annotations[prefix + "applied"] = text
            marked.annotations = annotations
        }
        return marked
    }

    /// What went wrong, by object.
    struct Failure {
        var messages: [String] = []
        /// A kind is not served (yet).
        var lacksKind = false
        var text: String { messages.joined(separator: ", ") }
    }

    /// Applies the objects, those first that others need; then deletes what was of the set and is no longer.
    /// - Parameter known: kinds that the set had before.
    /// - Returns: what could not be done; nothing is deleted then.
    func apply(_ objects: [KubeObject], owner: KubeObject, known: [GroupVersionKind]) async -> Failure {
        var failure = Failure()
        var wanted: [GroupVersionKind: Set<ObjectKey>] = [:]
        for rank in 0...2 {
            for object in objects where Self.rank(object) == rank {
                guard let gvk = object.gvk, let resource = resources.first(kind: gvk) else {
                    failure.lacksKind = true
                    failure.messages.append(
                        "no matches for kind \"\(object.kind)\" in version \"\(object.apiVersion)\"")
                    continue
                }
                var object = object
                object.namespace =
                    !resource.namespaced ? "" : object.namespace.isEmpty ? "default" : object.namespace
                wanted[gvk, default: []].insert(object.key)
                do throws(APIError) {
                    try await apply(Self.marked(object, owner: owner), resource)
                } catch {
                    failure.messages.append(
                        "failed to apply \(object.key) \(Self.text(gvk)) for \(owner.key): \(error.message)")
                }
            }
        }
        guard failure.messages.isEmpty else { return failure }
        for gvk in Set(Self.kinds(objects) + known) {
            guard let resource = resources.first(kind: gvk), resource.info.verbs.isSuperset(of: [.list, .delete]) else {
                continue
            }
            do throws(APIError) {
                try await prune(resource, keeping: wanted[gvk] ?? [], owner: owner)
            } catch {
                failure.messages.append("failed to prune \(Self.text(gvk)) of \(owner.key): \(error.message)")
            }
        }
        return failure
    }

    private static func rank(_ object: KubeObject) -> Int {
        switch object.kind {
        case "CustomResourceDefinition": 0
        case "Namespace": 1
        default: 2
        }
    }

    private func apply(_ object: KubeObject, _ resource: ServedResource) async throws(APIError) {
        func patch() async throws(APIError) {
            _ = try await client.patch(
                resource.gvr, namespace: object.namespace, name: object.name, object.json, type: .apply,
                subresource: nil)
        }
        do throws(APIError) { try await patch() } catch {
            // Kinds with fields that stay as they were made are made anew.
            guard Self.replaced.contains(object.kind), error.code == 422, error.message.contains("immutable") else {
                throw error
            }
            try await client.delete(
                resource.gvr, namespace: object.namespace, name: object.name,
                options: DeleteOptions(propagation: .background))
            try await patch()
        }
    }

    private static let replaced: Set<String> = ["Job", "Deployment", "DaemonSet", "Secret", "Service"]

    private func prune(
        _ resource: ServedResource, keeping wanted: Set<ObjectKey>, owner: KubeObject
    ) async throws(APIError) {
        let options = ListOptions(labels: .equal([Self.hashLabel: Self.hash(of: owner)]))
        for item in try await client.list(resource.gvr, namespace: nil, options: options).items {
            guard let object = item.decodeMetadata(), !wanted.contains(object.key), !object.isBeingDeleted,
                object.labels[Self.pruneLabel] != "false"
            else { continue }
            try await client.deleteIfPresent(resource.gvr, object, propagation: .background)
        }
    }
}
