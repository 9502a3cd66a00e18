import COpenSSL

extension PeerIdentity {
    /// Common name and organizations of a leaf certificate's subject.
    init(x509: OpaquePointer) {
        let subject = DistinguishedName(X509_get_subject_name(x509))
        self.init(
            commonName: subject.commonName, organizations: subject.organizations, der: writeDER { i2d_X509(x509, $0) })
    }
}

/// Whether a certificate name (`a.example.org`, `*.example.org`) covers a host name.
func certificateName(_ pattern: String, covers host: String) -> Bool {
    if asciiCaseInsensitiveEqual(pattern, host) { return true }
    guard pattern.hasPrefix("*."), let dot = host.utf8.firstIndex(of: UInt8(ascii: ".")), dot != host.startIndex
    else { return false }
    return asciiCaseInsensitiveEqual(pattern.utf8.dropFirst(1), host.utf8[dot...])
}
