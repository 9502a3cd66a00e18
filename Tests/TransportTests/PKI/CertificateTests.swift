import COpenSSL
import Linux
import Testing

@testable import Transport

@Suite struct CertificateTests {
    @Test func issuedCertificateSaysWhatWasAsked() throws {
        let authority = try CertificateAuthority.create(commonName: "test-ca", now: testNow)
        let key = try PrivateKey.generate()
        let names = AlternativeNames(["a.example.org", "10.0.0.1", "fd00::1", "a.example.org", ""])
        let subject = DistinguishedName(commonName: "system:admin", organizations: ["system:masters", "more"])
        let profile = CertificateProfile(subject: subject, names: names, usages: [.clientAuth, .serverAuth])
        let issued = try authority.issue(profile, for: key.publicKey, now: testNow)
        let read = try #require(try Certificate.chain(pem: issued.pem, what: "test").first)
        #expect(read == issued)
        #expect(read.subject == subject)
        #expect(read.issuer.commonName == "test-ca")
        #expect(read.alternativeNames.dnsNames == ["a.example.org"])
        #expect(read.alternativeNames.ipAddresses == ["10.0.0.1", "fd00::1"])
        #expect(read.extendedKeyUsages == [.clientAuth, .serverAuth])
        #expect(!read.isCA && authority.certificate.isCA)
        #expect(read.notAfter == testNow + 365 * 86_400)
        #expect(read.notBefore == testNow - 3_600)
        #expect(!read.serialNumber.hasPrefix("-") && read.serialNumber.count == 32)
        #expect(read.isIssued(by: authority.certificate))
        #expect(!read.isIssued(by: try CertificateAuthority.create(commonName: "test-ca", now: testNow).certificate))
        #expect(key.matches(read))
        #expect(!(try PrivateKey.generate()).matches(read))
        #expect(read.fingerprint == SHA256.digest(read.der))
    }

    @Test func validityPassesTheYear2038And2050() throws {
        let late: Int64 = 2_300_000_000
        let authority = try CertificateAuthority.create(
            commonName: "late", lifetime: 30 * CertificateProfile.year, now: late)
        #expect(authority.certificate.notBefore == late - 3_600)
        #expect(authority.certificate.notAfter == late + 30 * CertificateProfile.year)
    }

    @Test func clockThatStartsIn1970DoesNoHarm() throws {
        let authority = try CertificateAuthority.create(commonName: "early", now: 100)
        #expect(authority.certificate.notBefore <= 100)
        #expect(authority.certificate.notAfter == testNow + 10 * CertificateProfile.year)
    }

    @Test func leafDoesNotOutliveItsAuthority() throws {
        let authority = try CertificateAuthority.create(commonName: "short", lifetime: 86_400, now: testNow)
        let profile = CertificateProfile(subject: DistinguishedName(commonName: "x"), usages: [.clientAuth])
        let leaf = try authority.issue(profile, for: try PrivateKey.generate().publicKey, now: testNow)
        #expect(leaf.notAfter == authority.certificate.notAfter)
    }

    @Test func longNodeNamesFit() throws {
        let authority = try CertificateAuthority.create(commonName: "test-ca", now: testNow)
        let name = "system:node:" + String(repeating: "n", count: 253)
        let profile = CertificateProfile(
            subject: DistinguishedName(commonName: name, organizations: ["system:nodes"]), usages: [.clientAuth])
        let leaf = try authority.issue(profile, for: try PrivateKey.generate().publicKey, now: testNow)
        #expect(leaf.subject.commonName == name)
    }

    @Test func verificationFindsTheAnchor() throws {
        let authority = try CertificateAuthority.create(commonName: "root", now: testNow)
        let other = try CertificateAuthority.create(commonName: "other", now: testNow)
        let profile = CertificateProfile(subject: DistinguishedName(commonName: "x"), usages: [.clientAuth])
        let leaf = try authority.issue(profile, for: try PrivateKey.generate().publicKey, now: testNow)
        let anchors = [other.certificate, authority.certificate]
        let chain = try leaf.verified(anchors: anchors, usage: .clientAuth, now: testNow)
        #expect(chain == [leaf, authority.certificate])
        #expect(throws: PKIError.self) {
            try leaf.verified(anchors: [other.certificate], usage: .clientAuth, now: testNow)
        }
        #expect(throws: PKIError.self) { try leaf.verified(anchors: anchors, usage: .serverAuth, now: testNow) }
        #expect(throws: PKIError.self) {
            try leaf.verified(anchors: anchors, usage: .clientAuth, now: testNow + 366 * 86_400)
        }
    }

    @Test func opensslVerifiesStrictly() throws {
        let directory = try PKITestDirectory()
        let now = WallClock.now() / 1_000_000_000
        let authority = try CertificateAuthority.create(commonName: "ca@\(now)", now: now)
        let names = AlternativeNames(["node.example.org", "192.0.2.1"])
        let profile = CertificateProfile(
            subject: DistinguishedName(commonName: "node"), names: names, usages: [.serverAuth])
        let leaf = try authority.issue(profile, for: try PrivateKey.generate().publicKey, now: now)
        let ca = try directory.write("ca.crt", authority.pem)
        let file = try directory.write("leaf.crt", leaf.pem)
        let tool = ["openssl", "verify", "-x509_strict", "-CAfile", ca]
        let verdict = try runTool(tool + ["-purpose", "sslserver", "-verify_ip", "192.0.2.1", file])
        #expect(verdict.status == 0, "\(verdict.output)")
        #expect(try runTool(tool + ["-verify_hostname", "node.example.org", file]).status == 0)
        #expect(try runTool(tool + ["-purpose", "sslclient", file]).status != 0)
        #expect(try runTool(["openssl", "verify", "-x509_strict", "-CAfile", ca, ca]).status == 0)
    }

    // MARK: Keys

    @Test func keyIsWrittenPrivatelyAndReadAgain() throws {
        let directory = try PKITestDirectory()
        let key = try PrivateKey.generate()
        let path = directory.path + "/x.key"
        try key.save(path)
        #expect(try Files.status(path).st_mode & 0o777 == 0o600)
        let read = try PrivateKey.load(path)
        #expect(read.publicKey.der == key.publicKey.der)
        #expect(String(decoding: key.pem, as: UTF8.self).hasPrefix("-----BEGIN EC PRIVATE KEY-----\n"))
        #expect(try runTool(["openssl", "ec", "-in", path, "-noout", "-check"]).status == 0)
        #expect("\(key)" == "PrivateKey(p256)")
    }

    /// Our own encoding of P-256 keys is that of OpenSSL, also where the number has leading zeros (one key in 256).
    @Test func ownKeyFormIsThatOfOpenSSL() throws {
        for _ in 0..<1_000 {
            let key = try PrivateKey.generate()
            let general = writeDER { i2d_PrivateKey(key.pointer, $0) }
            #expect(P256KeyForm.write(key.pointer) == general)
            let read = try #require(P256KeyForm.read(general))
            defer { EVP_PKEY_free(read) }
            #expect(EVP_PKEY_eq(read, key.pointer) == 1)
        }
    }

    @Test func otherKeyFormsAreRead() throws {
        let directory = try PKITestDirectory()
        let file = directory.path + "/key"
        for (arguments, algorithm) in [
            (["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], KeyAlgorithm.rsa),
            (["ecparam", "-name", "secp384r1", "-genkey"], .p384),
            (["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], .p256),
        ] {
            #expect(try runTool(["openssl"] + arguments + ["-out", file]).status == 0)
            let key = try PrivateKey.load(file)
            #expect(key.algorithm == algorithm)
            let authority = try CertificateAuthority.create(commonName: "ca", now: testNow)
            let profile = CertificateProfile(subject: DistinguishedName(commonName: "x"), usages: [.clientAuth])
            #expect(key.matches(try authority.issue(profile, for: key.publicKey, now: testNow)))
            #expect(try PrivateKey(pem: key.pem, what: "again").publicKey.der == key.publicKey.der)
        }
    }

    @Test func encryptedKeyIsRefusedWithoutAsking() throws {
        let directory = try PKITestDirectory()
        let file = directory.path + "/key"
        let command = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", file]
        #expect(try runTool(command + ["-aes256", "-pass", "pass:x"]).status == 0)
        let failure = #expect(throws: PKIError.self) { try PrivateKey.load(file) }
        #expect(failure?.description.contains("encrypted") == true)
    }

    // MARK: Requests

    @Test func requestCarriesSubjectNamesAndKey() throws {
        let key = try PrivateKey.generate()
        let subject = DistinguishedName(commonName: "system:node:n1", organizations: ["system:nodes"])
        let names = AlternativeNames(["n1", "192.0.2.7"])
        let request = try CertificateRequest.create(subject: subject, names: names, key: key)
        let read = try CertificateRequest(pem: request.pem)
        #expect(read.subject == subject)
        #expect(read.names == names)
        #expect(try read.publicKey.der == key.publicKey.der)
        #expect(try CertificateRequest(der: read.der).subject == subject)
        #expect(try CertificateRequest.create(subject: subject, key: key).names.isEmpty)
    }

    @Test func opensslAndWeReadEachOthersRequests() throws {
        let directory = try PKITestDirectory()
        let (key, csr) = (directory.path + "/key", directory.path + "/csr")
        let made = try runTool([
            "openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
            "-out", csr, "-subj", "/O=system:nodes/CN=system:node:x", "-addext", "subjectAltName=DNS:x,IP:192.0.2.9",
        ])
        #expect(made.status == 0, "\(made.output)")
        let request = try CertificateRequest(pem: try Files.read(csr))
        #expect(request.subject == DistinguishedName(commonName: "system:node:x", organizations: ["system:nodes"]))
        #expect(request.names == AlternativeNames(["x", "192.0.2.9"]))
        let ours = try CertificateRequest.create(
            subject: request.subject, names: request.names, key: try PrivateKey.load(key))
        let file = try directory.write("ours.csr", ours.pem)
        let verdict = try runTool(["openssl", "req", "-in", file, "-verify", "-noout", "-text"])
        #expect(verdict.status == 0 && verdict.output.contains("DNS:x, IP Address:192.0.2.9"), "\(verdict.output)")
    }

    @Test func requestWithoutTheKeyIsRefused() throws {
        let request = try CertificateRequest.create(
            subject: DistinguishedName(commonName: "x"), key: try PrivateKey.generate())
        var der = request.der
        der[der.count - 5] ^= 0x01
        #expect(throws: PKIError.self) { try CertificateRequest(der: der) }
    }

    // MARK: Damage

    /// Damaged inputs give errors or values, never a crash, and never leave an error in OpenSSL's queue behind.
    @Test func damagedInputsAreSurvived() throws {
        var generator = PKITestGenerator(seed: 11)
        let key = try PrivateKey.generate()
        let authority = try CertificateAuthority.create(commonName: "ca", now: testNow)
        let profile = CertificateProfile(
            subject: DistinguishedName(commonName: "x", organizations: ["o"]),
            names: AlternativeNames(["a.b", "10.0.0.1"]), usages: [.clientAuth])
        let leaf = try authority.issue(profile, for: key.publicKey, now: testNow)
        let request = try CertificateRequest.create(subject: profile.subject, names: profile.names, key: key)
        var refused = 0
        for _ in 0..<3_000 {
            if let read = try? Certificate(der: damaged(leaf.der, using: &generator), what: "x") {
                _ = (read.subject, read.alternativeNames, read.notAfter, read.isCA, read.extendedKeyUsages)
                _ = (read.serialNumber, read.isIssued(by: authority.certificate), key.matches(read))
                _ = try? read.verified(anchors: [authority.certificate], now: testNow)
            } else {
                refused += 1
            }
            if (try? CertificateRequest(der: damaged(request.der, using: &generator))) == nil { refused += 1 }
            if (try? PrivateKey(pem: damaged(key.pem, using: &generator), what: "x")) == nil { refused += 1 }
            let text = damaged(leaf.pem + authority.pem, using: &generator)
            if let chain = try? Certificate.chain(pem: text, what: "x") {
                #expect((1...2).contains(chain.count))
            } else {
                refused += 1
            }
            _ = try? PublicKey.keys(pem: damaged(key.pem, using: &generator), what: "x")
        }
        #expect(refused > 6_000)
    }

    @Test func pemErrorsNameTheInput() {
        for (text, reason) in [
            ("", "no certificate in the PEM text"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", "PEM block CERTIFICATE has no end"),
            ("-----BEGIN CERTIFICATE-----\nA*AA\n-----END CERTIFICATE-----", "PEM block CERTIFICATE is not base64"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END KEY-----", "PEM block CERTIFICATE ends as KEY"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "not an X.509 certificate"),
        ] {
            #expect(throws: PKIError.malformed(what: "ca.crt", reason: reason)) {
                try Certificate.chain(pem: Array(text.utf8), what: "ca.crt")
            }
        }
    }
}
