internal import Codecs
internal import KubeAPI

/// Namespaces: they go when the namespace controller has emptied them and taken "kubernetes" off `spec.finalizers`
/// through the `finalize` subresource. Source: pkg/registry/core/namespace.
struct NamespaceStrategy: ResourceStrategy {
    var nameRule: NameRule { .label }
    var selectableFields: [SelectableField] { [SelectableField("status.phase")] }

    func prepareForCreate(_ object: inout KubeObject, _ scope: RequestScope) {
        object.json["status"] = ["phase": "Active"]
        var finalizers = object.spec["finalizers"].elements
        if !finalizers.contains("kubernetes") { finalizers.append("kubernetes") }
        object.json["spec"]["finalizers"] = .array(finalizers)
        label(&object)
    }

    func prepareForUpdate(_ object: inout KubeObject, old: KubeObject, subresource: String, _ scope: RequestScope) {
        if subresource == "finalize" {
            let finalizers = object.spec["finalizers"]
            object.json["spec"] = old.json["spec"]
            object.json["spec"]["finalizers"] = finalizers
            object.json["status"] = old.json["status"]
        } else if subresource.isEmpty {
            object.json["spec"]["finalizers"] = old.spec["finalizers"]
        }
        label(&object)
    }

    private func label(_ object: inout KubeObject) {
        guard !object.name.isEmpty else { return }
        object.metadata["labels"]["kubernetes.io/metadata.name"] = .string(object.name)
    }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        // Sic: upstream names the list here, and its member in an update.
        for finalizer in object.spec["finalizers"].elements { self.finalizer(finalizer, "spec.finalizers", &check) }
    }

    private func finalizer(_ finalizer: JSON, _ path: String, _ check: inout Validation) {
        let text = finalizer.string ?? ""
        if let problem = LabelSyntax.keyProblem(text) {
            check.add(.invalid(path, finalizer, problem))
        } else if text != "kubernetes", !text.contains("/") {
            check.add(
                .invalid(path, finalizer, "name is neither a standard finalizer name nor is it fully qualified"))
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        if subresource == "status" {
            let wanted = object.isBeingDeleted ? "Terminating" : "Active"
            let phase = object.status["phase"]
            if !phase.isNull, phase.string != wanted {
                let why =
                    object.isBeingDeleted
                    ? "may only be 'Terminating' if `deletionTimestamp` is not empty"
                    : "may only be 'Active' if `deletionTimestamp` is empty"
                check.add(.invalid("status.Phase", phase, why))
            }
        }
        for (i, finalizer) in object.spec["finalizers"].elements.enumerated() {
            self.finalizer(finalizer, "spec.finalizers[\(i)]", &check)
        }
    }

    func markDeleted(_ object: inout KubeObject) { object.json["status"]["phase"] = "Terminating" }

    func isReadyToGo(_ object: KubeObject) -> Bool {
        object.finalizers.isEmpty && object.spec["finalizers"].elements.isEmpty
    }
}
