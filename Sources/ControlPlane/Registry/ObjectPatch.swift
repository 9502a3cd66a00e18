package import Codecs
package import KubeAPI

/// A change that a client asks for, in one of the patch formats: as it came over the wire, or as a tree from a component.
package struct ObjectPatch: Sendable {
    private enum Content: Sendable {
        case bytes([UInt8])
        case tree(JSON)
    }
    private let content: Content
    package let type: PatchType

    package init(_ document: JSON, type: PatchType) { (content, self.type) = (.tree(document), type) }
    package init(bytes: [UInt8], type: PatchType) { (content, self.type) = (.bytes(bytes), type) }

    /// Whether it may change who owns what; only then does it need to see it.
    var namesManagedFields: Bool {
        switch content {
        case .bytes(let bytes): bytes.firstRange(of: "managedFields".utf8) != nil
        case .tree(let patch): patch.text.contains("managedFields")
        }
    }

    /// The patched object, decoded and with its defaults.
    package func apply(
        to object: KubeObject, as gvk: GroupVersionKind, validation: FieldValidation, schema: Schema,
        clock: any KubeClock
    ) throws(APIError) -> DecodedObject {
        switch content {
        case .bytes(let bytes):
            return try Patch.apply(
                type, bytes: bytes, to: object.json, as: gvk, validation: validation, schema: schema, clock: clock)
        case .tree(let patch):
            let patched = try Patch.apply(type, patch, to: object.json, as: gvk, schema: schema)
            return try schema.decode(patched, as: gvk, validation: validation, defaults: true, clock: clock)
        }
    }
}
