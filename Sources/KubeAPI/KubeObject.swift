package import Codecs

/// An object as it is stored and sent: its encoded JSON. Shared by everyone who lists or watches; decoded by those who look inside.
///
/// Who owns which fields stands in a form of its own behind the text (`StoredManagedFields`): it is put in its place when
/// the object is sent and costs nothing when the object is decoded.
package struct EncodedObject: Sendable {
    /// The text, and perhaps managed fields behind it.
    package let stored: [UInt8]
    /// The revision of this state; for a deletion's last state the revision of the deletion.
    package let resourceVersion: Int64

    package init(bytes: [UInt8], resourceVersion: Int64) {
        (stored, self.resourceVersion) = (bytes, resourceVersion)
    }

    /// The JSON, with the managed fields.
    package var bytes: [UInt8] {
        guard let trailer = StoredManagedFields.trailer(of: stored) else { return stored }
        return StoredManagedFields.expanded(stored, trailer)
    }

    /// The same as `bytes`, behind what is there.
    package func append(to out: inout [UInt8]) {
        if let trailer = StoredManagedFields.trailer(of: stored) {
            StoredManagedFields.append(expanding: stored, trailer, to: &out)
        } else {
            out.append(contentsOf: stored)
        }
    }

    package var managedFields: ManagedFields {
        guard let trailer = StoredManagedFields.trailer(of: stored) else { return ManagedFields() }
        return StoredManagedFields.decode(stored, trailer.payload) ?? ManagedFields()
    }

    /// Without the managed fields.
    /// Only throws where the bytes are not an object: what a store of ours hands out always decodes.
    package func decode() throws(APIError) -> KubeObject {
        do throws(JSONError) {
            guard let trailer = StoredManagedFields.trailer(of: stored) else {
                return KubeObject(try JSON.parse(stored))
            }
            return KubeObject(try JSON.parse(stored, count: trailer.text))
        } catch {
            throw .internalError("stored object does not decode: \(error.message)")
        }
    }

    /// Kind and metadata, without the managed fields; nil where there are none.
    package func decodeMetadata() -> KubeObject? {
        guard let place = RawJSON.range(of: ["metadata"], in: stored),
            let metadata = try? JSON.parse(Array(stored[place]))
        else { return nil }
        var json: JSON = ["metadata": metadata]
        for key in ["apiVersion", "kind"] {
            if let text = RawJSON.text(of: [key], in: stored) { json[key] = .string(text) }
        }
        return KubeObject(json)
    }

    /// With everything, as a client sees it.
    package func decodeWithManagedFields() throws(APIError) -> KubeObject {
        var object = try decode()
        let managed = managedFields
        if !managed.isEmpty { object.metadata["managedFields"] = managed.json }
        return object
    }
}

/// An object decoded, with the parts that every kind has under their names.
/// Everything is read from the tree and written to it: there is no second copy.
package struct KubeObject: Sendable, Equatable {
    package var json: JSON

    package init(_ json: JSON) { self.json = json }

    package init(_ gvk: GroupVersionKind, name: String, namespace: String? = nil) {
        var metadata: JSON = ["name": .string(name)]
        if let namespace { metadata["namespace"] = .string(namespace) }
        json = ["apiVersion": .string(gvk.groupVersion.description), "kind": .string(gvk.kind), "metadata": metadata]
    }

    package subscript(key: String) -> JSON {
        get { json[key] }
        _modify { yield &json[key] }
    }

    package var kind: String { json["kind"].string ?? "" }
    package var apiVersion: String { json["apiVersion"].string ?? "" }
    package var gvk: GroupVersionKind? { GroupVersion(apiVersion).map { GroupVersionKind($0, kind) } }

    package var metadata: JSON {
        get { json["metadata"] }
        _modify { yield &json["metadata"] }
    }
    package var spec: JSON {
        get { json["spec"] }
        _modify { yield &json["spec"] }
    }
    package var status: JSON {
        get { json["status"] }
        _modify { yield &json["status"] }
    }

    package var name: String {
        get { metadata["name"].string ?? "" }
        set { metadata["name"] = .string(newValue) }
    }
    /// "" for what has none.
    package var namespace: String {
        get { metadata["namespace"].string ?? "" }
        set { metadata["namespace"] = newValue.isEmpty ? .null : .string(newValue) }
    }
    package var uid: String { metadata["uid"].string ?? "" }
    /// 0: none.
    package var resourceVersion: Int64 {
        get { metadata["resourceVersion"].string.flatMap { Int64($0) } ?? 0 }
        set { metadata["resourceVersion"] = newValue == 0 ? .null : .string(String(newValue)) }
    }
    package var generation: Int64 { metadata["generation"].int ?? 0 }
    package var creationTimestamp: Timestamp? { metadata["creationTimestamp"].string.flatMap { Timestamp($0) } }
    package var deletionTimestamp: Timestamp? { metadata["deletionTimestamp"].string.flatMap { Timestamp($0) } }
    package var isBeingDeleted: Bool { !metadata["deletionTimestamp"].isNull }
    package var labels: [String: String] {
        get { metadata["labels"].stringMap }
        set { metadata["labels"] = newValue.isEmpty ? .null : .map(newValue) }
    }
    package var annotations: [String: String] {
        get { metadata["annotations"].stringMap }
        set { metadata["annotations"] = newValue.isEmpty ? .null : .map(newValue) }
    }
    package var finalizers: [String] {
        get { metadata["finalizers"].elements.compactMap(\.string) }
        set { metadata["finalizers"] = newValue.isEmpty ? .null : .strings(newValue) }
    }
    package var ownerReferences: [OwnerReference] {
        get { metadata["ownerReferences"].elements.map(OwnerReference.init) }
        set { metadata["ownerReferences"] = newValue.isEmpty ? .null : .array(newValue.map(\.json)) }
    }
    package var controller: OwnerReference? { ownerReferences.first(where: \.controller) }

    /// "namespace/name", or "name".
    package var key: ObjectKey { ObjectKey(namespace: namespace, name: name) }
}

package struct ObjectKey: Sendable, Hashable, Comparable, CustomStringConvertible {
    package var namespace: String
    package var name: String
    package init(namespace: String = "", name: String) { (self.namespace, self.name) = (namespace, name) }
    package var description: String { namespace.isEmpty ? name : namespace + "/" + name }
    package static func < (a: Self, b: Self) -> Bool { (a.namespace, a.name) < (b.namespace, b.name) }
}

package struct OwnerReference: Sendable, Equatable {
    package var apiVersion: String
    package var kind: String
    package var name: String
    package var uid: String
    package var controller: Bool
    package var blockOwnerDeletion: Bool

    package init(_ json: JSON) {
        apiVersion = json["apiVersion"].string ?? ""
        kind = json["kind"].string ?? ""
        name = json["name"].string ?? ""
        uid = json["uid"].string ?? ""
        controller = json["controller"].bool ?? false
        blockOwnerDeletion = json["blockOwnerDeletion"].bool ?? false
    }

    /// A reference that says "owned and controlled by".
    package init(controller owner: KubeObject) {
        self.init(JSON.null)
        (apiVersion, kind, name, uid) = (owner.apiVersion, owner.kind, owner.name, owner.uid)
        (controller, blockOwnerDeletion) = (true, true)
    }

    package var json: JSON {
        var json: JSON = [
            "apiVersion": .string(apiVersion), "kind": .string(kind), "name": .string(name), "uid": .string(uid),
        ]
        if controller { json["controller"] = true }
        if blockOwnerDeletion { json["blockOwnerDeletion"] = true }
        return json
    }
}
