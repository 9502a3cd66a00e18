import Linux
import Testing

@testable import Transport

@Suite struct ClusterTokenTests {
    private let hash = String(repeating: "ab", count: 32)

    @Test func formsAreRead() throws {
        let full = try ClusterToken(parsing: "K10\(hash)::server:pass:word")
        #expect(full == ClusterToken(caHash: hash, credentials: .password(user: "server", password: "pass:word")))
        #expect(full.text == "K10\(hash)::server:pass:word")
        #expect("\(full)" == "ClusterToken")
        #expect(
            try ClusterToken(parsing: "secret")
                == ClusterToken(caHash: "", credentials: .password(user: "", password: "secret")))
        let bootstrap = ClusterToken.Credentials.bootstrap(id: "abcdef", secret: "0123456789abcdef")
        #expect(try ClusterToken(parsing: "abcdef.0123456789abcdef").credentials == bootstrap)
        #expect(try ClusterToken(parsing: "K10\(hash)::abcdef.0123456789abcdef").credentials == bootstrap)
        #expect(try ClusterToken(parsing: "K10:::secret").credentials == .password(user: "", password: "secret"))
    }

    @Test(arguments: ["", "K10", "K10abc::server:x", "K10::server:", "K10::server", "K10abc", "K10::"])
    func malformedTokensAreRefused(_ text: String) {
        #expect(throws: PKIError.self) { try ClusterToken(parsing: text) }
    }

    @Test func hashIsOfTheServedBytesOrOfTheRoot() throws {
        let root = try CertificateAuthority.create(commonName: "root", now: testNow)
        #expect(try ClusterToken.hash(ofCA: root.pem) == SHA256.hexDigest(root.pem))
        #expect(try ClusterToken.hash(ofCA: root.pem + [0x0A]) == SHA256.hexDigest(root.pem + [0x0A]))
        let other = try CertificateAuthority.create(commonName: "other", now: testNow)
        #expect(try ClusterToken.hash(ofCA: root.pem + other.pem) == SHA256.hexDigest(root.certificate.der))
    }

    @Test func newBootstrapTokensAreWellFormed() throws {
        let first = ClusterToken(caHash: "", credentials: try ClusterToken.newBootstrap())
        #expect(try ClusterToken(parsing: first.text) == first)
        #expect(ClusterToken(caHash: "", credentials: try ClusterToken.newBootstrap()) != first)
    }

    @Test func filesAreMadeAndKept() throws {
        let directory = try PKITestDirectory()
        let ca = try CertificateAuthority.create(commonName: "ca", now: testNow).pem
        let first = try ClusterCredentials.prepare(
            serverDirectory: directory.path, token: nil, agentToken: nil, ca: ca)
        let text = try Files.readString(directory.path + "/token")
        #expect(text == first.serverToken.text + "\n")
        #expect(text.hasPrefix("K10\(SHA256.hexDigest(ca))::server:") && text.utf8.count == 3 + 64 + 9 + 32 + 1)
        #expect(try Files.readLink(directory.path + "/node-token") == "token")
        #expect(try Files.readLink(directory.path + "/agent-token") == "token")
        for name in ["token", "cred/passwd", "cred/ipsec.psk"] {
            #expect(try Files.status(directory.path + "/" + name).st_mode & 0o777 == 0o600)
        }
        let second = try ClusterCredentials.prepare(
            serverDirectory: directory.path, token: text.split(separator: "\n").first.map(String.init),
            agentToken: nil, ca: ca)
        #expect(second.serverToken == first.serverToken && second.sharedKey == first.sharedKey)
        #expect(throws: PKIError.self) {
            try ClusterCredentials.prepare(
                serverDirectory: directory.path, token: "other", agentToken: nil, ca: ca)
        }
    }

    @Test func agentTokenIsForAgentsOnly() throws {
        let directory = try PKITestDirectory()
        let ca = try CertificateAuthority.create(commonName: "ca", now: testNow).pem
        let made = try ClusterCredentials.prepare(
            serverDirectory: directory.path, token: "s,e\"cret", agentToken: "agents", ca: ca)
        #expect(made.groups(user: "server", password: "s,e\"cret") == ["k3s:server"])
        #expect(made.groups(user: "server", password: "agents") == nil)
        #expect(made.groups(user: "node", password: "agents") == ["k3s:agent"])
        #expect(made.groups(user: "root", password: "agents") == nil)
        #expect(try Files.readString(directory.path + "/agent-token") == made.agentToken.text + "\n")
        #expect((try? Files.readLink(directory.path + "/agent-token")) == nil)
        #expect(
            try Files.readString(directory.path + "/cred/passwd")
                == "agents,node,node,k3s:agent\n\"s,e\"\"cret\",server,server,k3s:server\n")
        let again = try ClusterCredentials.prepare(
            serverDirectory: directory.path, token: nil, agentToken: nil, ca: ca)
        #expect(again.serverToken == made.serverToken)
        #expect(try Files.readLink(directory.path + "/agent-token") == "token")
        #expect(try Files.readString(directory.path + "/token") == made.serverToken.text + "\n")
    }

    @Test func nodePasswordsVerify() throws {
        let stored = try NodePassword.hash("secret")
        #expect(stored.hasPrefix("$1:") && stored.contains(":15:8:1:"))
        #expect(try NodePassword.verify("secret", hash: stored))
        #expect(try !NodePassword.verify("Secret", hash: stored))
        for text in ["", "$1:zz:15:8:1:AAAA", "$1:00:99:8:1:AAAA", "$2:00:15:8:1:AAAA", stored + ":x"] {
            #expect(throws: PKIError.self) { try NodePassword.verify("secret", hash: text) }
        }
    }
}
