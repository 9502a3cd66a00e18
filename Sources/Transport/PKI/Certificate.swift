import COpenSSL
import Codecs
import Linux

/// The two parts of a name that Kubernetes uses: the user and its groups.
package struct DistinguishedName: Sendable, Hashable {
    package var commonName: String
    package var organizations: [String]

    package init(commonName: String, organizations: [String] = []) {
        self.commonName = commonName
        self.organizations = organizations
    }
}

/// The names a serving certificate is good for. IP addresses are in the form that `inet_ntop` gives.
package struct AlternativeNames: Sendable, Hashable {
    package var dnsNames: [String] = []
    package var ipAddresses: [String] = []
    /// How many names of other kinds (mail, URI) there were when it was read; they are not kept.
    package var others = 0

    package var isEmpty: Bool { dnsNames.isEmpty && ipAddresses.isEmpty }

    package init() {}

    /// Sorts names and addresses apart; empty and repeated ones are left out.
    package init(_ names: [String]) {
        for name in names where !name.isEmpty {
            if let bytes = Self.addressBytes(name) {
                let address = Self.addressText(bytes)
                if !ipAddresses.contains(address) { ipAddresses.append(address) }
            } else if !dnsNames.contains(name) {
                dnsNames.append(name)
            }
        }
    }

    package func contains(_ other: AlternativeNames) -> Bool {
        Set(dnsNames).isSuperset(of: other.dnsNames) && Set(ipAddresses).isSuperset(of: other.ipAddresses)
    }

    /// Four or sixteen bytes; nil if the text is not an IP address.
    static func addressBytes(_ text: String) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, text, &bytes) == 1 { return Array(bytes.prefix(4)) }
        return inet_pton(AF_INET6, text, &bytes) == 1 ? bytes : nil
    }

    static func addressText(_ bytes: [UInt8]) -> String {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let family = bytes.count == 4 ? AF_INET : AF_INET6
        guard bytes.count == 4 || bytes.count == 16,
            inet_ntop(family, bytes, &text, socklen_t(text.count)) != nil
        else { return "" }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

package enum ExtendedKeyUsage: Sendable, Hashable {
    case serverAuth, clientAuth
}

/// An X.509 certificate. Shared by reference; it does not change.
package final class Certificate: @unchecked Sendable {
    let pointer: OpaquePointer

    /// Takes ownership.
    init(owning pointer: OpaquePointer) { self.pointer = pointer }

    deinit { X509_free(pointer) }

    package convenience init(der: [UInt8], what: String) throws(PKIError) {
        let x509 = readDER(der) { cursor, length in d2i_X509(nil, cursor, length) }
        guard let x509 else { throw .malformed(what: what, reason: "not an X.509 certificate") }
        self.init(owning: x509)
        guard X509_get0_pubkey(pointer) != nil else {
            ERR_clear_error()
            throw .malformed(what: what, reason: "the certificate's public key cannot be read")
        }
    }

    /// All the certificates of a PEM text, at least one. Blocks of other kinds are skipped.
    package static func chain(pem: [UInt8], what: String) throws(PKIError) -> [Certificate] {
        var chain: [Certificate] = []
        for block in try PEM.blocks(pem, what: what) where block.label == "CERTIFICATE" {
            chain.append(try Certificate(der: block.der, what: what))
        }
        guard !chain.isEmpty else { throw .malformed(what: what, reason: "no certificate in the PEM text") }
        return chain
    }

    package static func load(_ path: String) throws(PKIError) -> [Certificate] {
        try chain(pem: try readFile(path), what: path)
    }

    package var der: [UInt8] { writeDER { i2d_X509(pointer, $0) } }

    package var pem: [UInt8] { PEM.encode(PEM.Block(label: "CERTIFICATE", der: der)) }

    /// SHA-256 of the DER.
    package var fingerprint: [UInt8] { SHA256.digest(der) }

    package var subject: DistinguishedName { DistinguishedName(X509_get_subject_name(pointer)) }
    package var issuer: DistinguishedName { DistinguishedName(X509_get_issuer_name(pointer)) }

    /// Seconds since 1970.
    package var notBefore: Int64 { seconds(X509_get0_notBefore(pointer)) ?? .max }
    package var notAfter: Int64 { seconds(X509_get0_notAfter(pointer)) ?? .min }

    /// The serial number, in hexadecimal.
    package var serialNumber: String {
        let number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(pointer), nil)
        defer { BN_free(number) }
        return (BN_is_negative(number) == 1 ? "-" : "") + hex(bytes(of: number))
    }

    package var isCA: Bool { X509_check_ca(pointer) >= 1 }

    /// Empty when the certificate has no such extension, which allows any use.
    package var extendedKeyUsages: Set<ExtendedKeyUsage> {
        guard X509_get_extension_flags(pointer) & UInt32(EXFLAG_XKUSAGE) != 0 else { return [] }
        let bits = X509_get_extended_key_usage(pointer)
        var usages: Set<ExtendedKeyUsage> = []
        if bits & UInt32(XKU_SSL_SERVER) != 0 { usages.insert(.serverAuth) }
        if bits & UInt32(XKU_SSL_CLIENT) != 0 { usages.insert(.clientAuth) }
        return usages
    }

    package var alternativeNames: AlternativeNames {
        AlternativeNames(generalNames: X509_get_ext_d2i(pointer, NID_subject_alt_name, nil, nil))
    }

    package var publicKey: PublicKey {
        get throws(PKIError) {
            guard let key = X509_get0_pubkey(pointer) else { throw .openSSL("read a certificate's key") }
            return PublicKey(sharing: key)
        }
    }

    /// Whether the authority's key has signed this certificate and the names fit.
    package func isIssued(by authority: Certificate) -> Bool {
        defer { ERR_clear_error() }
        return X509_NAME_cmp(X509_get_issuer_name(pointer), X509_get_subject_name(authority.pointer)) == 0
            && X509_verify(pointer, X509_get0_pubkey(authority.pointer)) == 1
    }

    /// The chain from this certificate to one of `anchors` (which may be intermediates, as in Go), ending there.
    /// - Parameters:
    ///   - usage: the purpose that the whole chain must allow.
    ///   - now: seconds since 1970; nil leaves the validity periods out.
    package func verified(
        anchors: [Certificate], intermediates: [Certificate] = [], usage: ExtendedKeyUsage? = nil, now: Int64?
    ) throws(PKIError) -> [Certificate] {
        let store = X509_STORE_new()
        defer { X509_STORE_free(store) }
        for anchor in anchors { X509_STORE_add_cert(store, anchor.pointer) }
        let others = OPENSSL_sk_new_null()
        defer { OPENSSL_sk_free(others) }
        for certificate in intermediates { OPENSSL_sk_push(others, UnsafeRawPointer(certificate.pointer)) }
        let context = X509_STORE_CTX_new()
        defer { X509_STORE_CTX_free(context) }
        guard X509_STORE_CTX_init(context, store, pointer, others) == 1 else { throw .openSSL("verify a certificate") }
        X509_STORE_CTX_set_flags(context, UInt(X509_V_FLAG_PARTIAL_CHAIN))
        // Times are compared here: OpenSSL takes a `time_t`, which ends in 2038 where it has 32 bits.
        X509_STORE_CTX_set_flags(context, UInt(X509_V_FLAG_NO_CHECK_TIME))
        switch usage {
        case .serverAuth?: X509_STORE_CTX_set_purpose(context, X509_PURPOSE_SSL_SERVER)
        case .clientAuth?: X509_STORE_CTX_set_purpose(context, X509_PURPOSE_SSL_CLIENT)
        case nil: break
        }
        guard X509_verify_cert(context) == 1 else {
            ERR_clear_error()
            let verdict = Int(X509_STORE_CTX_get_error(context))
            throw .malformed(
                what: "certificate \(subject.commonName)",
                reason: String(cString: X509_verify_cert_error_string(verdict)))
        }
        let stack = X509_STORE_CTX_get0_chain(context)
        var chain: [Certificate] = []
        for index in 0..<max(0, OPENSSL_sk_num(stack)) {
            guard let link = OPENSSL_sk_value(stack, index) else { continue }
            X509_up_ref(OpaquePointer(link))
            chain.append(Certificate(owning: OpaquePointer(link)))
        }
        if let now, let bad = chain.first(where: { now < $0.notBefore || now > $0.notAfter }) {
            let reason = now < bad.notBefore ? "is not yet valid" : "has expired"
            throw .malformed(what: "certificate \(bad.subject.commonName)", reason: reason)
        }
        return chain
    }
}

extension Certificate: Equatable {
    package static func == (left: Certificate, right: Certificate) -> Bool {
        X509_cmp(left.pointer, right.pointer) == 0
    }
}

extension DistinguishedName {
    init(_ name: OpaquePointer?) {
        self.init(commonName: "")
        for index in 0..<max(0, X509_NAME_entry_count(name)) {
            let entry = X509_NAME_get_entry(name, index)
            var text: UnsafeMutablePointer<UInt8>?
            let length = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(entry))
            guard length >= 0, let text else { continue }
            defer { CRYPTO_free(text, nil, 0) }
            let value = String(decoding: UnsafeBufferPointer(start: text, count: Int(length)), as: UTF8.self)
            switch OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry)) {
            // The last common name counts, as in Go's crypto/x509/pkix.
            case NID_commonName: commonName = value
            case NID_organizationName: organizations.append(value)
            default: break
            }
        }
    }

    /// The DER of the name, organizations first as Go writes it. By hand, because OpenSSL refuses names of more than 64
    /// characters, which `system:node:<name>` may have.
    var der: [UInt8] {
        let organization: [UInt8] = [0x55, 0x04, 0x0A]
        let common: [UInt8] = [0x55, 0x04, 0x03]
        func attribute(_ type: [UInt8], _ value: String) -> [UInt8] {
            DER.set([DER.sequence([DER.objectIdentifier(type), DER.utf8String(value)])])
        }
        let names = organizations.map { attribute(organization, $0) }
        return DER.sequence(names + (commonName.isEmpty ? [] : [attribute(common, commonName)]))
    }
}

extension AlternativeNames {
    /// Takes ownership of a GENERAL_NAMES stack.
    init(generalNames: UnsafeMutableRawPointer?) {
        self.init()
        guard let generalNames else { return }
        let stack = OpaquePointer(generalNames)
        defer { GENERAL_NAMES_free(stack) }
        for index in 0..<max(0, OPENSSL_sk_num(stack)) {
            guard let item = OPENSSL_sk_value(stack, index) else { continue }
            let name = item.assumingMemoryBound(to: GENERAL_NAME.self).pointee
            guard name.type == GEN_DNS || name.type == GEN_IPADD, let string = name.d.ia5 else {
                others += 1
                continue
            }
            let data = UnsafeBufferPointer(
                start: ASN1_STRING_get0_data(string), count: max(0, Int(ASN1_STRING_length(string))))
            if name.type == GEN_DNS {
                dnsNames.append(String(decoding: data, as: UTF8.self))
            } else {
                ipAddresses.append(Self.addressText(Array(data)))
            }
        }
    }
}

/// Seconds since 1970 of an ASN.1 time, in 64 bits also where `time_t` has 32.
private func seconds(_ time: UnsafePointer<ASN1_TIME>?) -> Int64? {
    var parts = tm()
    guard ASN1_TIME_to_tm(time, &parts) == 1 else { return nil }
    let days = Timestamp.days(
        fromCivil: Int64(parts.tm_year) + 1_900, Int64(parts.tm_mon) + 1, Int64(parts.tm_mday))
    return days * 86_400 + Int64(parts.tm_hour) * 3_600 + Int64(parts.tm_min) * 60 + Int64(parts.tm_sec)
}
