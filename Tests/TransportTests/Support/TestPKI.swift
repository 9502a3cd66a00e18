import Linux

@testable import Transport

/// A CA, a serving certificate for localhost/127.0.0.1/::1, a client certificate, and a client certificate of a CA that
/// the server does not know; made once by openssl(1).
final class TestPKI: Sendable {
    let directory: TemporaryDirectory

    static let shared: TestPKI = {
        do { return try TestPKI() } catch { fatalError("openssl is needed for these tests: \(error)") }
    }()

    private init() throws {
        directory = try TemporaryDirectory()
        for ca in ["ca", "strange-ca", "proxy-ca"] {
            try openssl([
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                "-subj", "/CN=\(ca)", "-keyout", file("\(ca).key"), "-out", file("\(ca).pem"),
            ])
        }
        try issue(
            "server", ca: "ca", subject: "/CN=server",
            extensions: "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\nextendedKeyUsage=serverAuth")
        try issue(
            "named", ca: "ca", subject: "/CN=named",
            extensions: "subjectAltName=DNS:*.apps.test\nextendedKeyUsage=serverAuth")
        try issue(
            "client", ca: "ca", subject: "/O=system:masters/O=team b/CN=kubernetes-admin",
            extensions: "extendedKeyUsage=clientAuth")
        try issue(
            "expired", ca: "ca", subject: "/O=system:masters/CN=expired", extensions: "extendedKeyUsage=clientAuth",
            days: -1)
        try issue(
            "proxy", ca: "proxy-ca", subject: "/CN=system:auth-proxy", extensions: "extendedKeyUsage=clientAuth")
        try issue("stranger", ca: "strange-ca", subject: "/CN=stranger", extensions: "extendedKeyUsage=clientAuth")
    }

    private func issue(_ name: String, ca: String, subject: String, extensions: String, days: Int = 30) throws {
        try directory.write("\(name).ext", Array(extensions.utf8))
        try openssl([
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject, "-keyout",
            file("\(name).key"), "-out", file("\(name).csr"),
        ])
        try openssl([
            "x509", "-req", "-in", file("\(name).csr"), "-CA", file("\(ca).pem"), "-CAkey", file("\(ca).key"),
            "-set_serial",
            "\(name.utf8.reduce(1) { $0 * 31 % 100_003 + Int($1) })", "-days", "\(days)", "-extfile",
            file("\(name).ext"),
            "-out", file("\(name).pem"),
        ])
    }

    private func openssl(_ arguments: [String]) throws {
        let output = try Command.runBlocking(["openssl"] + arguments)
        guard output.status == 0 else { throw Command.SpawnError(call: output.errorText, code: output.status) }
    }

    func file(_ name: String) -> String { directory.path + "/" + name }
    func pem(_ name: String) throws -> [UInt8] { try directory.read("\(name).pem") }

    func certificate(_ name: String) throws -> TLSCertificate {
        try TLSCertificate(chainFile: file("\(name).pem"), keyFile: file("\(name).key"))
    }

    func serverConfiguration() throws -> TLSServerConfiguration {
        TLSServerConfiguration(certificate: try certificate("server"), clientCAPEM: try pem("ca"))
    }
}
