import COpenSSL
import Codecs

/// A join token as users write it.
///
///     K10<sha256 of the CA, hex>::<user>:<password>     full; pins the CA
///     <password>                                        short
///     [K10<hash>::]<6 of [a-z0-9]>.<16 of [a-z0-9]>     bootstrap token
package struct ClusterToken: Sendable, Equatable, CustomStringConvertible {
    package enum Credentials: Sendable, Equatable {
        /// The user name is empty in a short token.
        case password(user: String, password: String)
        case bootstrap(id: String, secret: String)
    }

    /// 64 hexadecimal digits, or empty if the token pins no CA.
    package var caHash: String
    package var credentials: Credentials

    package init(caHash: String, credentials: Credentials) {
        self.caHash = caHash
        self.credentials = credentials
    }

    package init(parsing text: String) throws(PKIError) {
        guard !text.isEmpty else { throw Self.invalid("it is empty") }
        guard text.hasPrefix("K10") else {
            caHash = ""
            credentials = Self.bootstrap(text) ?? .password(user: "", password: text)
            return
        }
        let body = Array(text.utf8.dropFirst(3))
        let colon = UInt8(ascii: ":")
        guard let separator = body.indices.dropLast().first(where: { body[$0] == colon && body[$0 + 1] == colon })
        else { throw Self.invalid("expected K10<CA hash>::<user>:<password>") }
        caHash = String(decoding: body[..<separator], as: UTF8.self)
        guard caHash.isEmpty || caHash.utf8.count == 64 else {
            throw Self.invalid("the CA hash has \(caHash.utf8.count) characters, expected 64")
        }
        let rest = String(decoding: body[(separator + 2)...], as: UTF8.self)
        if let bootstrap = Self.bootstrap(rest) {
            credentials = bootstrap
        } else if let colon = rest.utf8.firstIndex(of: UInt8(ascii: ":")) {
            let password = String(rest[rest.utf8.index(after: colon)...])
            guard !password.isEmpty else { throw Self.invalid("the password is empty") }
            credentials = .password(user: String(rest[..<colon]), password: password)
        } else {
            throw Self.invalid("expected <user>:<password> after the CA hash")
        }
    }

    /// The token in full, as it is stored and handed to agents. A secret.
    package var text: String {
        switch credentials {
        case .password(let user, let password): "K10\(caHash)::\(user):\(password)"
        case .bootstrap(let id, let secret): caHash.isEmpty ? "\(id).\(secret)" : "K10\(caHash)::\(id).\(secret)"
        }
    }

    package var description: String { "ClusterToken" }

    /// A new bootstrap token, `id.secret`.
    package static func newBootstrap() throws(PKIError) -> Credentials {
        let alphabet = Array("abcdefghijklmnopqrstuvwxyz0123456789".utf8)
        var letters: [UInt8] = []
        while letters.count < 22 {
            // 252 = 7 * 36: every letter is as likely as any other.
            for byte in try SecureRandom.bytes(32) where byte < 252 && letters.count < 22 {
                letters.append(alphabet[Int(byte) % 36])
            }
        }
        return .bootstrap(
            id: String(decoding: letters[..<6], as: UTF8.self), secret: String(decoding: letters[6...], as: UTF8.self))
    }

    /// A new password: 16 bytes in hexadecimal.
    package static func newPassword() throws(PKIError) -> String { hex(try SecureRandom.bytes(16)) }

    /// The hash that a token pins the CA with: of the PEM bytes as they are served if that is one certificate, else of
    /// the DER of the root that the first certificate leads to (the bytes, if there is none).
    package static func hash(ofCA pem: [UInt8]) throws(PKIError) -> String {
        let chain = try Certificate.chain(pem: pem, what: "CA bundle")
        guard chain.count > 1 else { return SHA256.hexDigest(pem) }
        let roots = chain.filter { $0.isIssued(by: $0) }
        let path = try? chain[0].verified(anchors: roots, intermediates: chain, now: nil)
        guard let root = path?.last else { return SHA256.hexDigest(pem) }
        return SHA256.hexDigest(root.der)
    }

    private static func bootstrap(_ text: String) -> Credentials? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        let isPlain: (Substring) -> Bool = {
            $0.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) }
        }
        guard parts.count == 2, parts[0].utf8.count == 6, parts[1].utf8.count == 16, parts.allSatisfy(isPlain) else {
            return nil
        }
        return .bootstrap(id: String(parts[0]), secret: String(parts[1]))
    }

    private static func invalid(_ reason: String) -> PKIError { .malformed(what: "token", reason: reason) }
}

/// The stored form of a node's password: `$1:<salt>:15:8:1:<hash>`, scrypt with N = 2^15, r = 8, p = 1. One hash takes
/// 32 MiB and some 50 ms; callers remember which passwords they have verified.
package enum NodePassword {
    package static func hash(_ password: String) throws(PKIError) -> String {
        let salt = try SecureRandom.bytes(8)
        let key = try scrypt(password, salt: salt, logN: 15, r: 8, p: 1, length: 64)
        return "$1:\(hex(salt)):15:8:1:\(raw(key))"
    }

    package static func verify(_ password: String, hash: String) throws(PKIError) -> Bool {
        let parts = hash.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 6, parts[0] == "$1", let salt = bytes(hex: parts[1]), let logN = Int(parts[2]),
            let r = UInt64(parts[3]), let p = UInt64(parts[4]), (1...15).contains(logN), (1...16).contains(r),
            (1...16).contains(p), let expected = Self.bytes(raw: parts[5]), (16...128).contains(expected.count)
        else { throw .malformed(what: "node password hash", reason: "expected $1:<salt>:<logN>:<r>:<p>:<hash>") }
        let key = try scrypt(password, salt: salt, logN: logN, r: r, p: p, length: expected.count)
        return constantTimeEqual(key, expected)
    }

    private static func scrypt(
        _ password: String, salt: [UInt8], logN: Int, r: UInt64, p: UInt64, length: Int
    ) throws(PKIError) -> [UInt8] {
        var key = [UInt8](repeating: 0, count: length)
        let passphrase = Array(password.utf8)
        let code = passphrase.withUnsafeBytes { passphrase in
            EVP_PBE_scrypt(
                passphrase.baseAddress?.assumingMemoryBound(to: CChar.self), passphrase.count, salt, salt.count,
                1 << UInt64(logN), r, p, 64 << 20, &key, key.count)
        }
        guard code == 1 else { throw .openSSL("scrypt") }
        return key
    }

    /// Base64 without padding.
    private static func raw(_ bytes: [UInt8]) -> String {
        let text = Base64.encode(bytes)
        return String(text.prefix { $0 != "=" })
    }

    private static func bytes(raw text: Substring) -> [UInt8]? {
        Base64.decode(text + String(repeating: "=", count: (4 - text.utf8.count % 4) % 4))
    }

    private static func bytes(hex text: Substring) -> [UInt8]? {
        guard text.utf8.count % 2 == 0 else { return nil }
        var bytes: [UInt8] = []
        var rest = text
        while !rest.isEmpty {
            guard let byte = UInt8(rest.prefix(2), radix: 16) else { return nil }
            bytes.append(byte)
            rest = rest.dropFirst(2)
        }
        return bytes
    }
}
