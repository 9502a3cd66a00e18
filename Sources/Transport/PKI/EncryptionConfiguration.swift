import COpenSSL
import Codecs

/// Encryption at rest as `EncryptionConfiguration` (apiserver.config.k8s.io/v1) describes it: which kinds of objects, and
/// with what; the first provider of a kind writes, all of them read. aescbc (AES-CBC with PKCS #7 padding), secretbox and
/// identity. What is written is what kube-apiserver writes.
/// Source: k8s.io/apiserver/pkg/server/options/encryptionconfig and pkg/storage/value/encrypt.
package struct EncryptionConfiguration: Sendable {
    enum Algorithm: String, Sendable {
        case aescbc, secretbox
    }
    struct Key: Sendable {
        let algorithm: Algorithm
        let name: String
        let secret: [UInt8]
        var prefix: [UInt8] { Array("k8s:enc:\(algorithm.rawValue):v1:\(name):".utf8) }
    }
    struct Rule: Sendable {
        /// "secrets", "deployments.apps", "*.apps", "*."
        let resources: [String]
        /// nil: as it is. The first one writes.
        let providers: [Key?]
    }
    private let rules: [Rule]

    /// - Parameters:
    ///   - path: names the file in errors.
    package init(_ bytes: [UInt8], path: String) throws(PKIError) {
        let json: JSON
        do throws(YAMLError) {
            json = try YAML.parse(bytes)
        } catch {
            throw .malformed(what: path, reason: error.message)
        }
        guard json["kind"].string == "EncryptionConfiguration" else {
            throw .malformed(what: path, reason: "kind: expected EncryptionConfiguration")
        }
        var rules: [Rule] = []
        for (i, rule) in json["resources"].elements.enumerated() {
            let place = "resources[\(i)]"
            let names = rule["resources"].elements.compactMap(\.string)
            guard !names.isEmpty else { throw .malformed(what: path, reason: "\(place).resources: expected names") }
            var providers: [Key?] = []
            for (j, provider) in rule["providers"].elements.enumerated() {
                providers += try Self.keys(provider, "\(place).providers[\(j)]", path)
            }
            guard !providers.isEmpty else {
                throw .malformed(what: path, reason: "\(place).providers: expected at least one")
            }
            rules.append(Rule(resources: names, providers: providers))
        }
        guard !rules.isEmpty else { throw .malformed(what: path, reason: "resources: expected at least one") }
        self.rules = rules
    }

    private static func keys(_ provider: JSON, _ place: String, _ path: String) throws(PKIError) -> [Key?] {
        guard let members = provider.object, members.count == 1, let (name, settings) = members.members.first else {
            throw .malformed(what: path, reason: "\(place): expected exactly one provider")
        }
        if name == "identity" { return [nil] }
        guard let algorithm = Algorithm(rawValue: name) else {
            throw .malformed(what: path, reason: "\(place).\(name): expected aescbc, secretbox or identity")
        }
        var keys: [Key?] = []
        for (i, key) in settings["keys"].elements.enumerated() {
            let place = "\(place).\(name).keys[\(i)]"
            // k3s's names have times in them, with colons.
            guard let name = key["name"].string, !name.isEmpty else {
                throw .malformed(what: path, reason: "\(place).name: expected a name")
            }
            let sizes = algorithm == .aescbc ? [16, 24, 32] : [32]
            guard let secret = key["secret"].string.flatMap({ Base64.decode($0) }), sizes.contains(secret.count) else {
                let wanted = sizes.map(String.init).joined(separator: ", ")
                throw .malformed(what: path, reason: "\(place).secret: expected base64 of \(wanted) bytes")
            }
            keys.append(Key(algorithm: algorithm, name: name, secret: secret))
        }
        if keys.isEmpty { throw .malformed(what: path, reason: "\(place).\(name).keys: expected at least one") }
        return keys
    }

    // MARK: - Values

    /// The rule of a stored key: "/registry/secrets/default/x", "/registry/deployments.apps/default/x".
    private func rule(for key: String) -> Rule? {
        let parts = key.split(separator: "/")
        guard parts.count > 1 else { return nil }
        let resource = String(parts[1])
        let group = resource.firstIndex(of: ".").map { resource[resource.index(after: $0)...] } ?? ""
        return rules.first { rule in
            rule.resources.contains { $0 == resource || $0 == "*.*" || $0 == "*.\(group)" }
        }
    }

    package func seal(_ value: [UInt8], key: String) throws(PKIError) -> [UInt8] {
        guard let rule = rule(for: key), let first = rule.providers.first, let provider = first else { return value }
        switch provider.algorithm {
        case .aescbc:
            let vector = try SecureRandom.bytes(16)
            return provider.prefix + vector + (try AESCBC.run(value[...], provider.secret, vector, encrypts: true))
        case .secretbox:
            let nonce = try SecureRandom.bytes(SecretBox.nonceBytes)
            return provider.prefix + nonce + (try SecretBox.seal(value[...], key: provider.secret, nonce: nonce[...]))
        }
    }

    package func open(_ sealed: [UInt8], key: String) throws(PKIError) -> [UInt8] {
        // A kind that is no longer listed is still read with the keys that there are.
        let providers = (rule(for: key)?.providers ?? []) + rules.flatMap(\.providers)
        var failure: PKIError = .malformed(what: "stored value", reason: "no key of the configuration fits")
        for case .some(let provider) in providers where sealed.starts(with: provider.prefix) {
            let rest = sealed[provider.prefix.count...]
            do throws(PKIError) {
                switch provider.algorithm {
                case .aescbc where rest.count >= 32:
                    return try AESCBC.run(rest.dropFirst(16), provider.secret, Array(rest.prefix(16)), encrypts: false)
                case .secretbox where rest.count >= SecretBox.nonceBytes:
                    let (nonce, box) = (rest.prefix(SecretBox.nonceBytes), rest.dropFirst(SecretBox.nonceBytes))
                    if let value = try SecretBox.open(box, key: provider.secret, nonce: nonce) { return value }
                default: break
                }
            } catch {
                failure = error
            }
        }
        throw failure
    }
}

enum AESCBC {
    /// With PKCS #7 padding.
    static func run(
        _ input: ArraySlice<UInt8>, _ key: [UInt8], _ vector: [UInt8], encrypts: Bool
    ) throws(PKIError) -> [UInt8] {
        let cipher = key.count == 16 ? EVP_aes_128_cbc() : key.count == 24 ? EVP_aes_192_cbc() : EVP_aes_256_cbc()
        guard let context = EVP_CIPHER_CTX_new() else { throw .openSSL("AES-CBC") }
        defer { EVP_CIPHER_CTX_free(context) }
        let input = Array(input)
        var out = [UInt8](repeating: 0, count: input.count + 16)
        var (length, last): (Int32, Int32) = (0, 0)
        guard EVP_CipherInit_ex(context, cipher, nil, key, vector, encrypts ? 1 : 0) == 1,
            EVP_CipherUpdate(context, &out, &length, input, Int32(clamping: input.count)) == 1
        else { throw .openSSL("AES-CBC") }
        let done = out.withUnsafeMutableBufferPointer { buffer in
            EVP_CipherFinal_ex(context, buffer.baseAddress.map { $0 + Int(length) }, &last)
        }
        guard done == 1 else { throw .openSSL("AES-CBC") }
        out.removeLast(out.count - Int(length) - Int(last))
        return out
    }
}
