package import Codecs
internal import Transport

/// The configuration of encryption at rest as k3s writes it: Secrets only, keys of two kinds, and "as it is".
/// Source: k3s pkg/secretsencrypt/config.go.
struct EncryptionDocument: Equatable {
    struct Key: Equatable {
        var name: String
        var secret: String
    }
    enum Provider: String, CaseIterable {
        case aescbc, secretbox
        /// As `secrets-encrypt status` names it.
        var title: String { self == .aescbc ? "AES-CBC" : "XSalsa20-POLY1305" }
        var other: Provider { self == .aescbc ? .secretbox : .aescbc }
    }

    var keys: [Provider: [Key]] = [:]
    /// In the order of the file, without those that have no keys.
    var order: [Provider] = []
    /// New values are encrypted, with the first provider's first key.
    var isEnabled: Bool

    /// A new configuration with one key.
    init(_ provider: Provider, isEnabled: Bool) throws(PKIError) {
        self.isEnabled = isEnabled
        keys[provider] = [Key(name: provider.rawValue + "key", secret: Base64.encode(try SecureRandom.bytes(32)))]
        order = [provider]
    }

    /// - Throws: for what k3s does not write itself: it is not to be rewritten.
    init(_ json: JSON, path: String) throws(PKIError) {
        func malformed(_ reason: String) -> PKIError { .malformed(what: path, reason: reason) }
        let rules = json["resources"].elements
        guard rules.count == 1, rules[0]["resources"] == ["secrets"] else {
            throw malformed("resources: expected one rule, for secrets; this file is kept by hand")
        }
        let providers = rules[0]["providers"].elements
        guard providers.count <= 3 else {
            throw malformed("more than 3 providers (\(providers.count)) found in secrets encryption")
        }
        isEnabled = providers.first?["identity"].isNull ?? false
        for provider in providers where provider["identity"].isNull {
            guard let name = provider.object?.members.first?.key, let kind = Provider(rawValue: name) else {
                throw malformed("non-standard encryption keys found")
            }
            order.append(kind)
            keys[kind, default: []] += provider[name]["keys"].elements.map {
                Key(name: $0["name"].string ?? "", secret: $0["secret"].string ?? "")
            }
        }
        guard !order.isEmpty else { throw malformed("resources[0].providers: expected keys") }
    }

    var json: JSON {
        let kinds = order.filter { keys[$0]?.isEmpty == false }
        var providers = kinds.map { kind -> JSON in
            let list = (keys[kind] ?? []).map { JSON.object(["name": .string($0.name), "secret": .string($0.secret)]) }
            return .object(JSONObject(members: [(kind.rawValue, ["keys": .array(list)])]))
        }
        providers.insert(["identity": [:]], at: isEnabled ? providers.count : 0)
        return [
            "kind": "EncryptionConfiguration", "apiVersion": "apiserver.config.k8s.io/v1",
            "resources": [["resources": ["secrets"], "providers": .array(providers)]],
        ]
    }

    /// The first of all keys, as long as it writes, then the others: "AES-CBC aescbckey".
    var shown: (active: String, inactive: [String]) {
        var all = order.flatMap { kind in (keys[kind] ?? []).map { "\(kind.title) \($0.name)" } }
        let active = isEnabled && !all.isEmpty ? all.removeFirst() : ""
        return (active, all)
    }

    // MARK: - Steps

    /// A new key that only reads.
    mutating func append(_ provider: Provider, now: Timestamp) throws(PKIError) {
        let key = Key(
            name: "\(provider.rawValue)key-\(now.rfc3339)",
            secret: Base64.encode(try SecureRandom.bytes(32)))
        keys[provider, default: []].append(key)
        prefer(provider)
    }

    /// The last key of the kind writes from now on.
    mutating func rotate(_ provider: Provider) {
        guard var list = keys[provider], let last = list.popLast() else { return }
        list.insert(last, at: 0)
        keys[provider] = list
        prefer(provider)
    }

    /// Drops the key before the one that writes, which may be of the other kind.
    mutating func removeOld(_ provider: Provider) {
        if keys[provider]?.count == 1, keys[provider.other]?.isEmpty == false {
            keys[provider.other]?.removeLast()
        } else if (keys[provider]?.count ?? 0) > 1 {
            keys[provider]?.removeLast()
        }
        order.removeAll { keys[$0]?.isEmpty != false }
    }

    mutating func prefer(_ provider: Provider) {
        isEnabled = true
        order.removeAll { $0 == provider }
        order.insert(provider, at: 0)
    }
}
