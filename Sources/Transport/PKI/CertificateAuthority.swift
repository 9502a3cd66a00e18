import COpenSSL
import Codecs

/// What a new certificate says.
package struct CertificateProfile: Sendable {
    package var subject: DistinguishedName
    package var names: AlternativeNames
    package var usages: [ExtendedKeyUsage]
    /// Seconds from now; never past the authority's own end.
    package var lifetime: Int64
    /// Whether the key is for encrypting others as well as for signing.
    package var enciphersKeys = true

    package static let year: Int64 = 365 * 86_400

    package init(
        subject: DistinguishedName, names: AlternativeNames = AlternativeNames(), usages: [ExtendedKeyUsage],
        lifetime: Int64 = year
    ) {
        self.subject = subject
        self.names = names
        self.usages = usages
        self.lifetime = lifetime
    }
}

/// A certificate authority: a key and its certificate, with the certificates above it if it is not a root.
package struct CertificateAuthority: Sendable {
    package let key: PrivateKey
    /// The signing certificate, then its issuers.
    package let chain: [Certificate]

    package var certificate: Certificate { chain[0] }
    package var pem: [UInt8] { chain.flatMap(\.pem) }

    /// - Throws: when the chain is empty, does not begin with an authority, or the key is not its key.
    package init(key: PrivateKey, chain: [Certificate], what: String) throws(PKIError) {
        guard let first = chain.first else { throw .malformed(what: what, reason: "no certificate") }
        guard first.isCA else {
            throw .malformed(what: what, reason: "\(first.subject.commonName) is not the certificate of an authority")
        }
        guard key.matches(first) else {
            throw .malformed(what: what, reason: "the private key is not that of the certificate")
        }
        self.key = key
        self.chain = chain
    }

    package static func load(certificate: String, key: String) throws(PKIError) -> CertificateAuthority {
        try CertificateAuthority(
            key: try PrivateKey.load(key), chain: try Certificate.load(certificate), what: certificate)
    }

    /// A new root.
    /// - Parameter now: seconds since 1970. The certificate is good from an hour before, for hosts whose clock is behind.
    package static func create(
        commonName: String, lifetime: Int64 = 10 * CertificateProfile.year, now: Int64
    ) throws(PKIError) -> CertificateAuthority {
        let key = try PrivateKey.generate()
        let draft = try CertificateDraft(subject: DistinguishedName(commonName: commonName), key: key.publicKey)
        try draft.setIssuer(DistinguishedName(commonName: commonName).der)
        try draft.setValidity(from: now - 3_600, through: plausible(now) + lifetime)
        let identifier = keyIdentifier(key.publicKey)
        try draft.add(NID_basic_constraints, DER.sequence([DER.yes]), critical: true)
        // digitalSignature, keyEncipherment, keyCertSign
        try draft.add(NID_key_usage, DER.namedBits([0, 2, 5]), critical: true)
        try draft.add(NID_subject_key_identifier, DER.octetString(identifier))
        return try CertificateAuthority(key: key, chain: [try draft.sign(key)], what: commonName)
    }

    /// A certificate for somebody's key.
    package func issue(
        _ profile: CertificateProfile, for publicKey: PublicKey, now: Int64
    ) throws(PKIError) -> Certificate {
        let draft = try CertificateDraft(subject: profile.subject, key: publicKey)
        try draft.setIssuer(writeDER { i2d_X509_NAME(X509_get_subject_name(certificate.pointer), $0) })
        try draft.setValidity(
            from: min(certificate.notBefore, now),
            through: min(certificate.notAfter, Self.plausible(now) + profile.lifetime))
        // digitalSignature, keyEncipherment
        try draft.add(NID_key_usage, DER.namedBits(profile.enciphersKeys ? [0, 2] : [0]), critical: true)
        if !profile.usages.isEmpty {
            try draft.add(NID_ext_key_usage, DER.sequence(profile.usages.map(\.objectIdentifier)))
        }
        try draft.add(NID_basic_constraints, DER.sequence([]), critical: true)
        try draft.add(NID_subject_key_identifier, DER.octetString(Self.keyIdentifier(publicKey)))
        let identifier = try subjectKeyIdentifier()
        try draft.add(NID_authority_key_identifier, DER.sequence([DER.value(0x80, identifier)]))
        if !profile.names.isEmpty {
            try draft.add(NID_subject_alt_name, profile.names.der, critical: profile.subject.commonName.isEmpty)
        }
        return try draft.sign(key)
    }

    /// A board without a clock starts in 1970 and is set right later; what is issued until then must not have expired
    /// by then. 2026-01-01.
    private static func plausible(_ now: Int64) -> Int64 { max(now, 1_767_225_600) }

    private func subjectKeyIdentifier() throws(PKIError) -> [UInt8] {
        guard let identifier = X509_get0_subject_key_id(certificate.pointer) else {
            return Self.keyIdentifier(try certificate.publicKey)
        }
        return Array(
            UnsafeBufferPointer(
                start: ASN1_STRING_get0_data(identifier), count: max(0, Int(ASN1_STRING_length(identifier)))))
    }

    /// RFC 7093, method 1: the first 160 bits of the SHA-256 of the key.
    private static func keyIdentifier(_ key: PublicKey) -> [UInt8] { Array(SHA256.digest(key.der).prefix(20)) }
}

extension ExtendedKeyUsage {
    fileprivate var objectIdentifier: [UInt8] {
        // id-kp: 1.3.6.1.5.5.7.3
        DER.objectIdentifier([0x2B, 6, 1, 5, 5, 7, 3, self == .serverAuth ? 1 : 2])
    }
}

extension AlternativeNames {
    /// GeneralNames.
    var der: [UInt8] {
        DER.sequence(
            dnsNames.map { DER.value(0x82, Array($0.utf8)) }
                + ipAddresses.compactMap { Self.addressBytes($0).map { DER.value(0x87, $0) } })
    }
}

/// A certificate that is not signed yet.
private final class CertificateDraft {
    private let pointer: OpaquePointer

    init(subject: DistinguishedName, key: PublicKey) throws(PKIError) {
        guard let pointer = X509_new() else { throw .openSSL("make a certificate") }
        self.pointer = pointer
        var serial = try SecureRandom.bytes(16)
        // Positive, and never so short that it looks odd.
        serial[0] = serial[0] & 0x7F | 0x40
        let number = BN_bin2bn(serial, Int32(serial.count), nil)
        defer { BN_free(number) }
        let name = try Self.name(subject.der)
        defer { X509_NAME_free(name) }
        guard X509_set_version(pointer, 2) == 1, number != nil,
            BN_to_ASN1_INTEGER(number, X509_get_serialNumber(pointer)) != nil,
            X509_set_subject_name(pointer, name) == 1, X509_set_pubkey(pointer, key.pointer) == 1
        else { throw .openSSL("make a certificate") }
    }

    deinit { X509_free(pointer) }

    func setIssuer(_ der: [UInt8]) throws(PKIError) {
        let name = try Self.name(der)
        defer { X509_NAME_free(name) }
        guard X509_set_issuer_name(pointer, name) == 1 else { throw .openSSL("name the issuer of a certificate") }
    }

    func setValidity(from: Int64, through: Int64) throws(PKIError) {
        guard ASN1_TIME_set_string_X509(X509_getm_notBefore(pointer), Self.time(from)) == 1,
            ASN1_TIME_set_string_X509(X509_getm_notAfter(pointer), Self.time(through)) == 1
        else { throw .openSSL("set the validity of a certificate") }
    }

    func add(_ identifier: Int32, _ der: [UInt8], critical: Bool = false) throws(PKIError) {
        let made = makeExtension(identifier, der, critical: critical)
        defer { X509_EXTENSION_free(made) }
        guard made != nil, X509_add_ext(pointer, made, -1) == 1 else { throw .openSSL("extend a certificate") }
    }

    func sign(_ key: PrivateKey) throws(PKIError) -> Certificate {
        guard X509_sign(pointer, key.pointer, key.algorithm?.digest) > 0 else { throw .openSSL("sign a certificate") }
        X509_up_ref(pointer)
        return Certificate(owning: pointer)
    }

    static func name(_ der: [UInt8]) throws(PKIError) -> OpaquePointer {
        guard let name = readDER(der, { cursor, length in d2i_X509_NAME(nil, cursor, length) }) else {
            throw .malformed(what: "certificate name", reason: "cannot be encoded")
        }
        return name
    }

    /// GeneralizedTime, from 64 bits also where `time_t` has 32.
    private static func time(_ seconds: Int64) -> String {
        let days = seconds >= 0 ? seconds / 86_400 : (seconds - 86_399) / 86_400
        let (year, month, day) = Timestamp.civil(fromDays: days)
        let rest = seconds - days * 86_400
        func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(year)" + [month, day, rest / 3_600, rest / 60 % 60, rest % 60].map(two).joined() + "Z"
    }
}

/// An extension to be freed by the caller.
func makeExtension(_ identifier: Int32, _ der: [UInt8], critical: Bool) -> OpaquePointer? {
    let content = ASN1_OCTET_STRING_new()
    defer { ASN1_OCTET_STRING_free(content) }
    guard ASN1_OCTET_STRING_set(content, der, Int32(clamping: der.count)) == 1 else { return nil }
    return X509_EXTENSION_create_by_NID(nil, identifier, critical ? 1 : 0, content)
}
