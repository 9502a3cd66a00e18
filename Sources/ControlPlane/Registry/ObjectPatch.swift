package import Codecs
package import KubeAPI

/// A change that a client asks for, in one of the patch formats.
package struct ObjectPatch: Sendable {
    package let document: JSON
    package let type: PatchType
    /// Members given twice in the patch's text.
    package let duplicates: [String]

    package init(_ document: JSON, type: PatchType, duplicates: [String] = []) {
        (self.document, self.type, self.duplicates) = (document, type, duplicates)
    }

    package func apply(
        to object: KubeObject, _ schema: Schema, as gvk: GroupVersionKind
    ) throws(APIError) -> KubeObject {
        KubeObject(mergePatched(object.json, document))
    }

    private func mergePatched(_ target: JSON, _ patch: JSON) -> JSON {
        guard case .object(let changes) = patch else { return patch }
        var result = target.object ?? JSONObject()
        for (key, value) in changes {
            result[key] = value.isNull ? nil : mergePatched(result[key] ?? .null, value)
        }
        return .object(result)
    }
}
