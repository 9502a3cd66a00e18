internal import Codecs
internal import KubeAPI

/// An object encoded once, with a gap where its resource version goes: the version is only known when the store gives
/// the write its revision. Managed fields go behind the text (`StoredManagedFields`).
struct ObjectTemplate: Sendable {
    private let bytes: [UInt8]
    private let gap: Int
    /// Before the brace that ends the metadata.
    private let place: Int
    /// The managed fields; empty for none.
    private let managed: [UInt8]

    /// Encodes; `metadata.resourceVersion` stands behind the uid, whatever the tree says.
    /// - Parameter managed: as `StoredManagedFields` encodes them.
    init(_ object: KubeObject, managed: [UInt8] = []) {
        self.managed = managed
        var out: [UInt8] = []
        out.reserveCapacity(1024)
        var (gap, place) = (0, 0)
        out.append(UInt8(ascii: "{"))
        var first = true
        for (key, value) in object.json.object ?? JSONObject() {
            if !first { out.append(UInt8(ascii: ",")) }
            first = false
            out.append(jsonString: key)
            out.append(UInt8(ascii: ":"))
            if key == "metadata" {
                gap = Self.encode(metadata: value, into: &out)
                place = out.count - 1
            } else {
                value.encode(into: &out)
            }
        }
        out.append(UInt8(ascii: "}"))
        (bytes, self.gap, self.place) = (out, gap, place)
    }

    private static func encode(metadata: JSON, into out: inout [UInt8]) -> Int {
        var gap = 0
        func appendVersion(_ out: inout [UInt8]) {
            out.append(ascii: "\"resourceVersion\":\"")
            gap = out.count
            out.append(UInt8(ascii: "\""))
        }
        out.append(UInt8(ascii: "{"))
        var empty = true
        func separate(_ out: inout [UInt8]) {
            if !empty { out.append(UInt8(ascii: ",")) }
            empty = false
        }
        for (key, value) in metadata.object ?? JSONObject() where key != "resourceVersion" && key != "managedFields" {
            separate(&out)
            out.append(jsonString: key)
            out.append(UInt8(ascii: ":"))
            value.encode(into: &out)
            if key == "uid" {
                separate(&out)
                appendVersion(&out)
            }
        }
        if gap == 0 {
            separate(&out)
            appendVersion(&out)
        }
        out.append(UInt8(ascii: "}"))
        return gap
    }

    func encoded(revision: Int64) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count + 20 + (managed.isEmpty ? 0 : managed.count + StoredManagedFields.footer))
        out.append(contentsOf: bytes[..<gap])
        out.append(decimal: revision)
        let digits = out.count - gap
        out.append(contentsOf: bytes[gap...])
        if !managed.isEmpty {
            StoredManagedFields.append(payload: managed[...], text: out.count, place: place + digits, to: &out)
        }
        return out
    }

    var size: Int { bytes.count + 20 + managed.count }

    /// Whether the object is the one that `stored` holds, its resource version and the times of its managed fields aside.
    func matches(_ stored: [UInt8]) -> Bool {
        let trailer = StoredManagedFields.trailer(of: stored)
        let text = trailer?.text ?? stored.count
        let digits = text - bytes.count
        guard digits >= 0, gap + digits <= text, stored[..<gap] == bytes[..<gap],
            stored[(gap + digits)..<text] == bytes[gap...],
            stored[gap..<gap + digits].allSatisfy({ $0 &- 48 < 10 })
        else { return false }
        guard let trailer else { return managed.isEmpty }
        if stored[trailer.payload] == managed[...] { return true }
        guard let before = StoredManagedFields.decode(stored, trailer.payload),
            let after = StoredManagedFields.decode(managed, managed.indices)
        else { return false }
        return before.sameIgnoringTimes(after)
    }

    /// The managed fields of stored bytes, as they are.
    static func managedFields(in stored: [UInt8]) -> [UInt8] {
        StoredManagedFields.trailer(of: stored).map { Array(stored[$0.payload]) } ?? []
    }

    /// Encoded bytes with another resource version.
    static func replacingVersion(in bytes: [UInt8], with revision: Int64) -> [UInt8] {
        guard let range = RawJSON.range(of: ["metadata", "resourceVersion"], in: bytes) else { return bytes }
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count + 8)
        out.append(contentsOf: bytes[...range.lowerBound])
        out.append(decimal: revision)
        guard let trailer = StoredManagedFields.trailer(of: bytes) else {
            out.append(contentsOf: bytes[(range.upperBound - 1)...])
            return out
        }
        let moved = out.count - (range.upperBound - 1)
        out.append(contentsOf: bytes[(range.upperBound - 1)..<trailer.text])
        StoredManagedFields.append(
            payload: bytes[trailer.payload], text: out.count, place: trailer.place + moved, to: &out)
        return out
    }
}
