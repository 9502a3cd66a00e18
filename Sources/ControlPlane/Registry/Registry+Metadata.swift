internal import Codecs
internal import KubeAPI

/// What every object's metadata has to be like. Source: k8s.io/apimachinery/pkg/api/validation.
extension Registry {
    private static let annotationBytes = 256 << 10

    func validateMetadata(_ object: KubeObject, _ resource: ServedResource, _ check: inout Validation) {
        let metadata = object.metadata
        if let base = metadata["generateName"].string, !base.isEmpty,
            let problem = resource.strategy.nameRule.prefixProblem(base)
        {
            check.add(.invalid("metadata.generateName", .string(base), problem))
        }
        if object.name.isEmpty {
            check.add(.required("metadata.name", "name or generateName is required"))
        } else if let problem = resource.strategy.nameRule.problem(object.name) {
            check.add(.invalid("metadata.name", .string(object.name), problem))
        }
        if resource.namespaced {
            if object.namespace.isEmpty {
                check.add(.required("metadata.namespace"))
            } else if let problem = LabelSyntax.labelProblem(object.namespace) {
                check.add(.invalid("metadata.namespace", .string(object.namespace), problem))
            }
        } else if !object.namespace.isEmpty {
            check.add(.forbidden("metadata.namespace", "not allowed on this type"))
        }
        Self.validateLabels(metadata["labels"], "metadata.labels", &check)
        Self.validateAnnotations(metadata["annotations"], "metadata.annotations", &check)
        validateOwners(metadata["ownerReferences"].elements, &check)
        for (i, finalizer) in object.finalizers.enumerated() {
            if let problem = LabelSyntax.keyProblem(finalizer) {
                check.add(.invalid("metadata.finalizers", .string(finalizer), problem))
            } else if !finalizer.contains("/"), !["orphan", "foregroundDeletion", "kubernetes"].contains(finalizer) {
                check.add(
                    .invalid(
                        "metadata.finalizers[\(i)]", .string(finalizer),
                        "name is neither a standard finalizer name nor is it fully qualified"))
            }
        }
        if object.finalizers.contains("orphan"), object.finalizers.contains("foregroundDeletion") {
            check.add(
                .invalid(
                    "metadata.finalizers", metadata["finalizers"],
                    "finalizer orphan and foregroundDeletion cannot be both set"))
        }
    }

    static func validateLabels(_ labels: JSON, _ path: String, _ check: inout Validation) {
        for (key, value) in labels.object ?? JSONObject() {
            if let problem = LabelSyntax.keyProblem(key) { check.add(.invalid(path, .string(key), problem)) }
            if let text = value.string, let problem = LabelSyntax.valueProblem(text) {
                check.add(.invalid(path, value, problem))
            }
        }
    }

    static func validateAnnotations(_ annotations: JSON, _ path: String, _ check: inout Validation) {
        var size = 0
        for (key, value) in annotations.object ?? JSONObject() {
            if let problem = LabelSyntax.keyProblem(key.lowercased()) {
                check.add(.invalid(path, .string(key), problem))
            }
            size += key.utf8.count + (value.string?.utf8.count ?? 0)
        }
        if size > annotationBytes { check.add(.tooLong(path, limit: annotationBytes)) }
    }

    private func validateOwners(_ owners: [JSON], _ check: inout Validation) {
        var controller: String?
        for (i, owner) in owners.enumerated() {
            let path = "metadata.ownerReferences[\(i)]"
            for key in ["apiVersion", "kind", "name", "uid"] where (owner[key].string ?? "").isEmpty {
                let text = key == "apiVersion" ? "version must not be empty" : "must not be empty"
                check.add(.invalid("\(path).\(key)", owner[key].isNull ? "" : owner[key], text))
            }
            if owner["apiVersion"] == "v1", owner["kind"] == "Event" {
                check.add(.invalid(path, owner, "/v1, Kind=Event is disallowed from being an owner"))
            }
            guard owner["controller"].bool == true else { continue }
            let name = owner["name"].string ?? ""
            if let first = controller {
                check.add(
                    .invalid(
                        "metadata.ownerReferences", .array(owners),
                        "Only one reference can have Controller set to true. Found \"true\" in references for "
                            + "\(first) and \(name)"))
            } else {
                controller = name
            }
        }
    }

    func validateMetadataUpdate(_ object: KubeObject, _ old: KubeObject, _ check: inout Validation) {
        for key in ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
            check.immutable(object.metadata[key], old.metadata[key], "metadata.\(key)")
        }
        if old.isBeingDeleted {
            let before = Set(old.finalizers)
            let added = object.finalizers.filter { !before.contains($0) }
            if !added.isEmpty {
                check.add(
                    .forbidden(
                        "metadata.finalizers",
                        "no new finalizers can be added if the object is being deleted, found new finalizers "
                            + "[]string{\(added.map { "\"\($0)\"" }.joined(separator: ", "))}"))
            }
        }
    }
}
