/// A content digest, "sha256:<64 lower-case hex digits>". Other algorithms of the OCI image specification (sha512) are
/// refused by name: no registry in use serves them.
package struct Digest: Sendable, Hashable, CustomStringConvertible {
    /// 64 lower-case hex digits.
    package let hex: String

    package var description: String { "sha256:" + hex }

    /// Reads "sha256:<hex>"; `what` names the field in the error.
    package init(_ text: some StringProtocol, in what: String = "digest") throws(ImageError) {
        guard let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")) else {
            throw ImageError(
                .invalidManifest, "\(what): invalid digest \"\(clipped(text))\": want sha256:<64 hex digits>")
        }
        let algorithm = text[..<colon]
        guard algorithm == "sha256" else {
            throw ImageError(
                .unsupported, "\(what): unsupported digest algorithm \"\(clipped(algorithm))\": want sha256")
        }
        let hex = text[text.index(after: colon)...]
        guard hex.utf8.count == 64, hex.utf8.allSatisfy(isLowerHex) else {
            throw ImageError(
                .invalidManifest, "\(what): invalid digest \"\(clipped(text))\": want sha256:<64 hex digits>")
        }
        self.hex = String(hex)
    }

    /// From the 32 bytes of a finished hash.
    package init(hash: [UInt8]) {
        precondition(hash.count == 32, "SHA-256 has 32 bytes")
        var text: [UInt8] = []
        text.reserveCapacity(64)
        for byte in hash {
            text.append(hexDigit(byte >> 4))
            text.append(hexDigit(byte & 15))
        }
        hex = String(decoding: text, as: UTF8.self)
    }
}

/// One running SHA-256. The module has no cryptography of its own: the executable brings OpenSSL's.
/// Used by one task or thread at a time.
package protocol SHA256Hashing: AnyObject, Sendable {
    func update(_ bytes: UnsafeRawBufferPointer)
    /// The 32 bytes of the hash; the object is not used afterwards.
    func finish() -> [UInt8]
}

package typealias SHA256Factory = @Sendable () -> any SHA256Hashing

extension SHA256Hashing {
    func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { update($0) } }
}

extension Digest {
    static func of(_ bytes: [UInt8], _ sha256: SHA256Factory) -> Digest {
        let hash = sha256()
        hash.update(bytes)
        return Digest(hash: hash.finish())
    }
}

@inline(__always) private func hexDigit(_ nibble: UInt8) -> UInt8 {
    nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "a") + nibble - 10
}

@Sendable private func isLowerHex(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
}

/// What came from outside, made fit for one line of an error or log: control characters escaped, 128 characters at most.
func clipped(_ text: some StringProtocol) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
        if result.unicodeScalars.count >= 128 { return result + "..." }
        if scalar.value < 32 || scalar.value == 127 {
            result += "\\u{" + String(scalar.value, radix: 16) + "}"
        } else {
            result.unicodeScalars.append(scalar)
        }
    }
    return result
}
