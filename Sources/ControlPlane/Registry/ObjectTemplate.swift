internal import Codecs
internal import KubeAPI

/// An object encoded once, with a gap where its resource version goes: the version is only known when the store gives
/// the write its revision.
struct ObjectTemplate: Sendable {
    private let bytes: [UInt8]
    private let gap: Int

    /// Encodes; `metadata.resourceVersion` stands behind the uid, whatever the tree says.
    init(_ object: KubeObject) {
        var out: [UInt8] = []
        out.reserveCapacity(1024)
        var gap = 0
        out.append(UInt8(ascii: "{"))
        var first = true
        for (key, value) in object.json.object ?? JSONObject() {
            if !first { out.append(UInt8(ascii: ",")) }
            first = false
            out.append(jsonString: key)
            out.append(UInt8(ascii: ":"))
            if key == "metadata" {
                gap = Self.encode(metadata: value, into: &out)
            } else {
                value.encode(into: &out)
            }
        }
        out.append(UInt8(ascii: "}"))
        (bytes, self.gap) = (out, gap)
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
        for (key, value) in metadata.object ?? JSONObject() where key != "resourceVersion" {
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
        out.reserveCapacity(bytes.count + 20)
        out.append(contentsOf: bytes[..<gap])
        out.append(decimal: revision)
        out.append(contentsOf: bytes[gap...])
        return out
    }

    var size: Int { bytes.count + 20 }

    /// Whether the object is the one that `stored` holds, its resource version aside.
    func matches(_ stored: [UInt8]) -> Bool {
        let digits = stored.count - bytes.count
        guard digits >= 0, gap + digits <= stored.count else { return false }
        return stored[..<gap] == bytes[..<gap] && stored[(gap + digits)...] == bytes[gap...]
            && stored[gap..<gap + digits].allSatisfy { $0 &- 48 < 10 }
    }

    /// Encoded bytes with another resource version.
    static func replacingVersion(in bytes: [UInt8], with revision: Int64) -> [UInt8] {
        guard let range = RawJSON.range(of: ["metadata", "resourceVersion"], in: bytes) else { return bytes }
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count + 8)
        out.append(contentsOf: bytes[...range.lowerBound])
        out.append(decimal: revision)
        out.append(contentsOf: bytes[(range.upperBound - 1)...])
        return out
    }
}
