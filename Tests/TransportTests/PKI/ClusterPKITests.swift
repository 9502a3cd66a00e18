import Codecs
import Linux
import Testing

@testable import Transport

@Suite struct ClusterPKITests {
    private func parameters() -> ClusterPKIParameters {
        var parameters = ClusterPKIParameters(nodeName: "node1.example.org")
        parameters.nodeAddresses = ["192.0.2.10", "2001:db8::10"]
        parameters.extraNames = ["k3s.example.org"]
        return parameters
    }

    private func files(below path: String, _ prefix: String = "") throws -> [String] {
        try Directories.list(path).flatMap { entry in
            entry.kind == .directory
                ? try files(below: path + "/" + entry.name, prefix + entry.name + "/") : [prefix + entry.name]
        }
    }

    @Test func firstStartMakesTheFileSetOfK3s() throws {
        let directory = try PKITestDirectory()
        let tls = directory.path + "/server/tls"
        let pki = try ClusterPKI.prepare(directory: tls, parameters: parameters())
        let pairs = [
            "client-ca", "server-ca", "request-header-ca", "etcd/server-ca", "etcd/peer-ca", "client-admin",
            "client-supervisor", "client-controller", "client-scheduler", "client-kube-apiserver",
            "client-k3s-cloud-controller", "client-auth-proxy", "serving-kube-apiserver",
            "kube-scheduler/kube-scheduler", "kube-controller-manager/kube-controller-manager", "etcd/client",
            "etcd/server-client", "etcd/peer-server-client",
        ]
        let single = [
            "client-ca.nochain.crt", "server-ca.nochain.crt", "service.key", "service.current.key",
            "client-kubelet.key", "serving-kubelet.key", "client-kube-proxy.key", "client-k3s-controller.key",
        ]
        let expected = pairs.flatMap { [$0 + ".crt", $0 + ".key"] } + single
        #expect(try files(below: tls).sorted() == expected.sorted())
        #expect(Set(pki.written) == Set(expected))
        for name in expected where name.hasSuffix(".key") {
            #expect(try Files.status(tls + "/" + name).st_mode & 0o777 == 0o600, "\(name)")
        }
        #expect(try Files.status(tls).st_mode & 0o777 == 0o700)
        #expect(try Files.status(tls + "/temporary-certs").st_mode & 0o777 == 0o700)
        let admin = try #require(try Certificate.load(tls + "/client-admin.crt").first)
        #expect(admin.subject == DistinguishedName(commonName: "system:admin", organizations: ["system:masters"]))
        #expect(pki.server.certificate.subject.commonName == "k3s-server-ca@\(pki.parameters.now)")
        let serving = try #require(try Certificate.load(tls + "/serving-kube-apiserver.crt").first).alternativeNames
        #expect(
            serving.dnsNames == [
                "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
                "localhost", "node1.example.org", "node1", "k3s.example.org",
            ])
        #expect(serving.ipAddresses == ["127.0.0.1", "::1", "192.0.2.10", "2001:db8::10", "10.43.0.1"])
    }

    @Test func whatIsNoAuthorityLivesAsLongAsWasAskedFor() throws {
        let directory = try PKITestDirectory()
        var short = parameters()
        short.lifetime = 600
        let pki = try ClusterPKI.prepare(directory: directory.path, parameters: short)
        let now = short.now
        let node = try pki.issue(.kubeletClient(nodeName: "a"), for: PrivateKey.generate().publicKey, now: now)
        let listener = try ListenerCertificate.prepare(pki: pki, names: ["a"], now: now)
        let admin = try Certificate.load(pki.path("client-admin.crt"))[0]
        for leaf in [try Certificate.chain(pem: node, what: "node")[0], listener.certificate, admin] {
            #expect(leaf.notAfter == now + 600)
        }
        #expect(pki.client.certificate.notAfter == now + 10 * CertificateProfile.year)
    }

    @Test func opensslVerifiesEveryLeaf() throws {
        let directory = try PKITestDirectory()
        _ = try ClusterPKI.prepare(directory: directory.path, parameters: parameters())
        for leaf in ClusterLeaf.all(parameters()) {
            let ca = "\(directory.path)/\(leaf.authority.rawValue).crt"
            let purpose = leaf.profile.usages.contains(.serverAuth) ? "sslserver" : "sslclient"
            let verdict = try runTool([
                "openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", ca,
                "\(directory.path)/\(leaf.name).crt",
            ])
            #expect(verdict.status == 0, "\(verdict.output)")
        }
    }

    @Test func secondStartChangesNothing() throws {
        let directory = try PKITestDirectory()
        let first = try ClusterPKI.prepare(directory: directory.path, parameters: parameters())
        var later = parameters()
        later.now = first.parameters.now + 244 * 86_400
        let second = try ClusterPKI.prepare(directory: directory.path, parameters: later)
        #expect(second.written.isEmpty)
        #expect(second.serviceKeys.map(\.der) == first.serviceKeys.map(\.der))
    }

    @Test func leavesAreRenewedBelow120Days() throws {
        let directory = try PKITestDirectory()
        let first = try ClusterPKI.prepare(directory: directory.path, parameters: parameters())
        var later = parameters()
        later.now = first.parameters.now + 246 * 86_400
        let second = try ClusterPKI.prepare(directory: directory.path, parameters: later)
        #expect(second.written.count == 2 * ClusterLeaf.all(later).count)
        #expect(second.server.certificate == first.server.certificate)
        let admin = try #require(try Certificate.load(directory.path + "/client-admin.crt").first)
        #expect(admin.notAfter == later.now + 365 * 86_400)
    }

    @Test func newNameRenewsTheCertificatesThatHaveIt() throws {
        let directory = try PKITestDirectory()
        _ = try ClusterPKI.prepare(directory: directory.path, parameters: parameters())
        var changed = parameters()
        changed.extraNames.append("other.example.org")
        let second = try ClusterPKI.prepare(directory: directory.path, parameters: changed)
        #expect(Set(second.written) == ["serving-kube-apiserver.crt", "serving-kube-apiserver.key"])
    }

    @Test func damagedLeafIsReplacedAndDamagedAuthorityIsAnError() throws {
        let directory = try PKITestDirectory()
        _ = try ClusterPKI.prepare(directory: directory.path, parameters: parameters())
        _ = try directory.write("client-admin.crt", Array("rubbish".utf8))
        let second = try ClusterPKI.prepare(directory: directory.path, parameters: parameters())
        #expect(Set(second.written) == ["client-admin.crt", "client-admin.key"])
        _ = try directory.write("server-ca.crt", Array("rubbish".utf8))
        let failure = #expect(throws: PKIError.self) {
            try ClusterPKI.prepare(directory: directory.path, parameters: parameters())
        }
        #expect(failure?.description.hasPrefix(directory.path + "/server-ca.crt: ") == true)
        try Files.remove(directory.path + "/server-ca.crt")
        #expect(throws: PKIError.self) {
            try ClusterPKI.prepare(directory: directory.path, parameters: parameters())
        }
    }

    @Test func newAuthorityRenewsItsLeaves() throws {
        let directory = try PKITestDirectory()
        _ = try ClusterPKI.prepare(directory: directory.path, parameters: parameters())
        try Files.remove(directory.path + "/client-ca.crt")
        try Files.remove(directory.path + "/client-ca.key")
        let second = try ClusterPKI.prepare(directory: directory.path, parameters: parameters())
        #expect(second.written.contains("client-admin.crt") && second.written.contains("client-ca.nochain.crt"))
        #expect(!second.written.contains("serving-kube-apiserver.crt"))
    }

    @Test func ownAuthorityWithARootAboveIsUsed() throws {
        let directory = try PKITestDirectory()
        let root = try CertificateAuthority.create(commonName: "own root", now: testNow)
        let pki = try ClusterPKI.prepare(directory: directory.path + "/other", parameters: parameters())
        _ = try directory.write("server-ca.key", pki.server.key.pem)
        _ = try directory.write("server-ca.crt", pki.server.certificate.pem + root.pem)
        let own = try ClusterPKI.prepare(directory: directory.path, parameters: parameters())
        #expect(own.server.chain == [pki.server.certificate, root.certificate])
        #expect(try Certificate.load(directory.path + "/serving-kube-apiserver.crt").count == 3)
        #expect(try Certificate.load(directory.path + "/server-ca.nochain.crt") == [pki.server.certificate])
    }

    @Test func oldServiceKeysStillVerify() throws {
        let directory = try PKITestDirectory()
        let old = try PrivateKey.generate()
        let new = try PrivateKey.generate()
        _ = try directory.write("service.key", new.pem + old.pem)
        let pki = try ClusterPKI.prepare(directory: directory.path, parameters: parameters())
        let token = try JWT.sign(claims: Array("{}".utf8), key: old)
        #expect(try JWTVerifier(keys: pki.serviceKeys).verify(token) == Array("{}".utf8))
        #expect(pki.serviceSigningKey.publicKey.der == new.publicKey.der)
        #expect(try Files.read(directory.path + "/service.current.key") == new.pem)
    }

    @Test func nodesGetTheirCertificates() throws {
        let directory = try PKITestDirectory()
        let pki = try ClusterPKI.prepare(directory: directory.path, parameters: parameters())
        let key = try PrivateKey.generate()
        let request = try CertificateRequest.create(subject: DistinguishedName(commonName: "any"), key: key)
        let kubelet = try Certificate.chain(
            pem: try pki.issue(.kubeletClient(nodeName: "n2"), for: try request.publicKey), what: "kubelet")
        #expect(
            kubelet[0].subject == DistinguishedName(commonName: "system:node:n2", organizations: ["system:nodes"]))
        #expect(kubelet.count == 2 && kubelet[0].isIssued(by: pki.client.certificate))
        let serving = try Certificate.chain(
            pem: try pki.issue(.kubeletServing(nodeName: "n2", addresses: ["192.0.2.3"]), for: try request.publicKey),
            what: "serving")
        #expect(serving[0].alternativeNames == AlternativeNames(["n2", "localhost", "127.0.0.1", "::1", "192.0.2.3"]))
        #expect(serving[0].isIssued(by: pki.server.certificate) && key.matches(serving[0]))
    }

    @Test func firstStartIsQuick() throws {
        let directory = try PKITestDirectory()
        let time = try ContinuousClock().measure {
            _ = try ClusterPKI.prepare(directory: directory.path, parameters: parameters())
        }
        // 60 ms is the promise for a release build and an idle machine.
        #expect(time < .milliseconds(600), "\(time)")
    }

    /// A TLS handshake with the standard library of Python, which checks strictly: `openssl s_server` serves.
    @Test func pythonAcceptsTheServingCertificate() throws {
        let directory = try PKITestDirectory()
        _ = try ClusterPKI.prepare(directory: directory.path, parameters: parameters())
        let script = """
            import ssl, socket, sys, threading
            tls = sys.argv[1]
            server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.load_cert_chain(tls + "/serving-kube-apiserver.crt", tls + "/serving-kube-apiserver.key")
            server.load_verify_locations(tls + "/client-ca.crt")
            server.verify_mode = ssl.CERT_REQUIRED
            client = ssl.create_default_context(cafile=tls + "/server-ca.crt")
            client.verify_flags |= ssl.VERIFY_X509_STRICT
            client.load_cert_chain(tls + "/client-admin.crt", tls + "/client-admin.key")
            for name in ["127.0.0.1", "kubernetes.default.svc", "10.43.0.1", "k3s.example.org"]:
                a, b = socket.socketpair()
                def serve():
                    with server.wrap_socket(b, server_side=True) as s:
                        s.sendall(dict(x[0] for x in s.getpeercert()["subject"])["commonName"].encode())
                thread = threading.Thread(target=serve); thread.start()
                with client.wrap_socket(a, server_hostname=name) as s:
                    assert s.recv(100) == b"system:admin"
                thread.join()
            """
        let verdict = try runTool(["python3", "-c", script, directory.path])
        #expect(verdict.status == 0, "\(verdict.output)")
    }

    @Test func kubeconfigsAreComplete() throws {
        let directory = try PKITestDirectory()
        let pki = try ClusterPKI.prepare(directory: directory.path + "/tls", parameters: parameters())
        let text = try pki.adminKubeconfig(server: "https://127.0.0.1:6443")
        let ca = Base64.encode(try Files.read(directory.path + "/tls/server-ca.crt"))
        #expect(text.contains("    certificate-authority-data: \(ca)\n    server: https://127.0.0.1:6443\n"))
        #expect(text.contains("current-context: default\nkind: Config\n"))
        try pki.writeKubeconfigs(credentials: directory.path + "/cred", server: "https://127.0.0.1:6443")
        let names = try files(below: directory.path + "/cred").sorted()
        #expect(
            names == [
                "admin.kubeconfig", "api-server.kubeconfig", "cloud-controller.kubeconfig", "controller.kubeconfig",
                "scheduler.kubeconfig", "supervisor.kubeconfig",
            ])
        let scheduler = try Files.readString(directory.path + "/cred/scheduler.kubeconfig")
        #expect(scheduler.contains("client-key: \(directory.path)/tls/client-scheduler.key\n"))
    }
}

@Suite struct ListenerCertificateTests {
    @Test func namesAreLearntAndKept() throws {
        let directory = try PKITestDirectory()
        let pki = try ClusterPKI.prepare(directory: directory.path, parameters: ClusterPKIParameters(nodeName: "n"))
        let now = pki.parameters.now
        var listener = try ListenerCertificate.prepare(pki: pki, names: ["n", "127.0.0.1"], now: now)
        #expect(listener.certificate.subject == DistinguishedName(commonName: "k3s", organizations: ["k3s"]))
        #expect(try !listener.add("n", now: now))
        #expect(try listener.add("lb.example.org", now: now))
        #expect(try !listener.add("bad\nname", now: now))
        #expect(try !listener.add("", now: now))
        #expect(listener.certificate.alternativeNames == AlternativeNames(["n", "127.0.0.1", "lb.example.org"]))
        #expect(try Files.status(directory.path + "/dynamic-cert.json").st_mode & 0o777 == 0o600)
        let again = try ListenerCertificate.prepare(pki: pki, names: ["n"], now: now + 86_400)
        #expect(again.certificate == listener.certificate)
        let more = try ListenerCertificate.prepare(pki: pki, names: ["n", "new"], now: now)
        #expect(more.names.contains(AlternativeNames(["n", "new", "lb.example.org", "127.0.0.1"])))
        let renewed = try ListenerCertificate.prepare(pki: pki, names: ["n"], now: now + 300 * 86_400)
        #expect(renewed.certificate != more.certificate && renewed.certificate.notAfter > more.certificate.notAfter)
        #expect(renewed.names == more.names || Set(renewed.names.all) == Set(more.names.all))
        _ = try directory.write("dynamic-cert-regenerate", [])
        let rotated = try ListenerCertificate.prepare(pki: pki, names: ["n"], now: now)
        #expect(rotated.names == AlternativeNames(["n"]))
        #expect(!Files.exists(directory.path + "/dynamic-cert-regenerate"))
    }

    @Test func strangersCannotAddNamesForEver() throws {
        let directory = try PKITestDirectory()
        let pki = try ClusterPKI.prepare(directory: directory.path, parameters: ClusterPKIParameters(nodeName: "n"))
        var listener = try ListenerCertificate.prepare(pki: pki, names: ["n"], now: testNow)
        for number in 0..<200 { _ = try listener.add("host-\(number)", now: pki.parameters.now) }
        #expect(listener.names.dnsNames.count == ListenerCertificate.nameLimit)
    }
}
