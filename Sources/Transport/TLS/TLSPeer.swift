import COpenSSL

extension PeerIdentity {
    /// Common name and organizations of a leaf certificate's subject.
    init(x509: OpaquePointer) {
        var commonName = ""
        var organizations: [String] = []
        let subject = X509_get_subject_name(x509)
        for index in 0..<max(0, X509_NAME_entry_count(subject)) {
            let entry = X509_NAME_get_entry(subject, index)
            let text = asn1Text(X509_NAME_ENTRY_get_data(entry))
            switch OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry)) {
            // The last common name counts, as in Go's crypto/x509/pkix.
            case NID_commonName: commonName = text
            case NID_organizationName: organizations.append(text)
            default: break
            }
        }
        var der: [UInt8] = []
        let length = i2d_X509(x509, nil)
        if length > 0 {
            der = [UInt8](unsafeUninitializedCapacity: Int(length)) { buffer, count in
                var cursor = buffer.baseAddress
                count = max(0, Int(i2d_X509(x509, &cursor)))
            }
        }
        self.init(commonName: commonName, organizations: organizations, der: der)
    }
}

private func asn1Text(_ string: UnsafeMutablePointer<ASN1_STRING>?) -> String {
    var out: UnsafeMutablePointer<UInt8>?
    let length = ASN1_STRING_to_UTF8(&out, string)
    guard length >= 0, let out else { return "" }
    defer { CRYPTO_free(out, nil, 0) }
    return String(decoding: UnsafeBufferPointer(start: out, count: Int(length)), as: UTF8.self)
}

/// Whether a certificate name (`a.example.org`, `*.example.org`) covers a host name.
func certificateName(_ pattern: String, covers host: String) -> Bool {
    if asciiCaseInsensitiveEqual(pattern, host) { return true }
    guard pattern.hasPrefix("*."), let dot = host.utf8.firstIndex(of: UInt8(ascii: ".")), dot != host.startIndex
    else { return false }
    return asciiCaseInsensitiveEqual(pattern.utf8.dropFirst(1), host.utf8[dot...])
}
