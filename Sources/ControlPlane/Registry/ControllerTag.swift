internal import Codecs

/// A number for the controller of an object, kept beside each entry of the store: a workload finds its own among 10,000
/// objects without a look into those of others. Different controllers may share a number; who asks looks for itself.
package enum ControllerTag {
    private static let path = ["metadata", "ownerReferences"]

    /// Of an encoded object; 0: nobody controls it.
    package static func of(_ object: [UInt8]) -> UInt32 {
        guard let references = RawJSON.elements(of: path, in: object) else { return 0 }
        for reference in references
        where RawJSON.text(of: ["controller"], in: object, from: reference.lowerBound) == "true" {
            return RawJSON.text(of: ["uid"], in: object, from: reference.lowerBound).map(of(uid:)) ?? 0
        }
        return 0
    }

    /// FNV-1a, never 0.
    package static func of(uid: String) -> UInt32 {
        var hash: UInt32 = 2_166_136_261
        for byte in uid.utf8 { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
        return max(hash, 1)
    }
}
