import Codecs
import Linux

/// The certificate of the listener on port 6443, which learns names: a client that reaches the server under a name or
/// address that the certificate lacks makes it be issued anew with that name. Kept in `dynamic-cert.json` in the form
/// of the Secret `kube-system/k3s-serving`.
package struct ListenerCertificate: Sendable {
    /// So many names at most: clients choose them.
    package static let nameLimit = 100

    package private(set) var names: AlternativeNames
    package private(set) var certificate: Certificate
    package private(set) var key: PrivateKey
    private let authority: CertificateAuthority
    private let path: String
    private let lifetime: Int64

    /// The leaf and its issuers.
    package var chainPEM: [UInt8] { certificate.pem + authority.pem }

    /// Loads `dynamic-cert.json`, and issues a certificate if it is missing, damaged, runs out within
    /// `ClusterPKI.renewalDays`, lacks one of the names, or `dynamic-cert-regenerate` is there.
    package static func prepare(
        pki: ClusterPKI, names: [String], now: Int64
    ) throws(PKIError) -> ListenerCertificate {
        let path = pki.path("dynamic-cert.json")
        let wanted = AlternativeNames(names)
        let rotation = pki.path("dynamic-cert-regenerate")
        let rotates = Files.exists(rotation)
        if !rotates, let text = try? readFile(path), let kept = Stored(text), kept.key.matches(kept.certificate),
            kept.certificate.isIssued(by: pki.server.certificate)
        {
            var loaded = ListenerCertificate(
                names: kept.certificate.alternativeNames, certificate: kept.certificate, key: kept.key,
                authority: pki.server, path: path, lifetime: pki.parameters.lifetime)
            if kept.certificate.notBefore > now || !loaded.names.contains(wanted) || loaded.needsRenewal(now: now) {
                loaded.names = AlternativeNames(
                    wanted.all + loaded.names.all.prefix(max(0, nameLimit - wanted.all.count)))
                try loaded.reissue(now: now)
            }
            return loaded
        }
        let key = try PrivateKey.generate()
        let made = ListenerCertificate(
            names: wanted, certificate: try issue(wanted, key, pki.server, now, pki.parameters.lifetime), key: key,
            authority: pki.server, path: path, lifetime: pki.parameters.lifetime)
        try made.save()
        if rotates {
            do throws(SysError) { try Files.remove(rotation) } catch { throw .file("\(error)") }
        }
        return made
    }

    package func needsRenewal(now: Int64) -> Bool {
        certificate.notAfter - now < ClusterPKI.renewalDays * 86_400
    }

    /// Takes up a name or address that a client has used.
    /// - Returns: whether there is a new certificate, for the listener to use from now on.
    package mutating func add(_ name: String, now: Int64) throws(PKIError) -> Bool {
        let addition = AlternativeNames([name])
        guard !names.contains(addition), names.all.count < Self.nameLimit, Self.isSane(name) else { return false }
        names = AlternativeNames(names.all + [name])
        try reissue(now: now)
        return true
    }

    private mutating func reissue(now: Int64) throws(PKIError) {
        certificate = try Self.issue(names, key, authority, now, lifetime)
        try save()
    }

    private static func issue(
        _ names: AlternativeNames, _ key: PrivateKey, _ authority: CertificateAuthority, _ now: Int64,
        _ lifetime: Int64
    ) throws(PKIError) -> Certificate {
        let profile = CertificateProfile(
            subject: DistinguishedName(commonName: "k3s", organizations: ["k3s"]), names: names, usages: [.serverAuth],
            lifetime: lifetime)
        return try authority.issue(profile, for: key.publicKey, now: now)
    }

    /// An address, or a DNS name of letters, digits, "-", "." and "_".
    private static func isSane(_ name: String) -> Bool {
        AlternativeNames.addressBytes(name) != nil
            || (1...253).contains(name.utf8.count)
                && name.utf8.allSatisfy { byte in
                    switch byte {
                    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
                        UInt8(ascii: "_"):
                        true
                    default: false
                    }
                }
    }

    private func save() throws(PKIError) {
        var annotations = JSONObject()
        for name in names.all {
            let key = String(name.map { $0 == ":" ? "." : $0 })
            annotations.append("listener.cattle.io/cn-" + key, .string(name))
        }
        let secret = JSON.object([
            "kind": .string("Secret"), "apiVersion": .string("v1"),
            "metadata": .object([
                "name": .string("k3s-serving"), "namespace": .string("kube-system"),
                "annotations": .object(annotations),
            ]),
            "data": .object([
                "tls.crt": .string(Base64.encode(chainPEM)), "tls.key": .string(Base64.encode(key.pem)),
            ]),
            "type": .string("kubernetes.io/tls"),
        ])
        try writeFile(path, secret.encode(), mode: 0o600)
    }

    /// What the file holds, if it is readable.
    private struct Stored {
        var certificate: Certificate
        var key: PrivateKey

        init?(_ text: [UInt8]) {
            guard let data = try? JSON.parse(text).object?["data"]?.object,
                let chain = data["tls.crt"]?.string.flatMap({ Base64.decode($0) }),
                let keyPEM = data["tls.key"]?.string.flatMap({ Base64.decode($0) }),
                let certificate = try? Certificate.chain(pem: chain, what: "").first,
                let key = try? PrivateKey(pem: keyPEM, what: "")
            else { return nil }
            self.certificate = certificate
            self.key = key
        }
    }
}

extension AlternativeNames {
    package var all: [String] { dnsNames + ipAddresses }
}
