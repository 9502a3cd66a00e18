import Codecs
@testable import Containers
import Testing

/// The registry protocol as seen by a pull: authorization, errors, retries, resumption.
@Suite struct RegistryPullTests {
    let image = TestImage(files: ["one", "two"])
    typealias Answer = FakeRegistry.Answer

    private func registry() -> FakeRegistry {
        let registry = FakeRegistry()
        registry.add(image, "reg.test", "app", tag: "1")
        return registry
    }

    private func header(_ request: RegistryRequest, _ name: String) -> String? {
        request.headers.first { $0.name == name }?.value
    }

    // MARK: authorization

    @Test func anonymousTokenIsFetchedOnceAndUsed() async throws {
        let registry = registry()
        registry.on("//reg.test/") { request, _ in
            request.headers.contains { $0 == ("Authorization", "Bearer tok") }
                ? nil
                : Answer(
                    401,
                    [
                        (
                            "WWW-Authenticate",
                            "Bearer realm=\"https://auth.test/token\",service=\"s v\",scope=\"repository:app:pull\""
                        )
                    ])
        }
        registry.put("auth.test", "/token", Answer(200, [], Array(#"{"token":"tok","expires_in":300}"#.utf8)))
        let store = try TestStore(registry: registry)
        _ = try await store.pull("reg.test/app:1")
        #expect(registry.count("auth.test") == 1)
        let token = try #require(registry.requests.first { $0.url.host == "auth.test" })
        #expect(token.url.query == "service=s%20v&scope=repository%3Aapp%3Apull")
        #expect(header(token, "Authorization") == nil)
    }

    @Test func passwordGoesToTheRealmOnly() async throws {
        let registry = registry()
        registry.on("//reg.test/") { request, _ in
            request.headers.contains { $0 == ("Authorization", "Bearer tok") }
                ? nil
                : Answer(
                    401, [("Www-Authenticate", "Bearer realm=\"https://auth.test/token\",service=s")])
        }
        registry.on("auth.test") { request, _ in
            // base64("user:pass")
            request.headers.contains { $0 == ("Authorization", "Basic dXNlcjpwYXNz") }
                ? Answer(200, [], Array(#"{"access_token":"tok"}"#.utf8)) : Answer(401)
        }
        let store = try TestStore(registry: registry)
        _ = try await store.pull("reg.test/app:1", RegistryCredentials(username: "user", password: "pass"))
        #expect(
            !registry.requests.contains {
                $0.url.host == "reg.test" && header($0, "Authorization")?.hasPrefix("Basic") == true
            })
        let denied = await failure { () throws(ImageError) in
            try await store.pull("reg.test/app:2", RegistryCredentials(username: "user", password: "wrong"))
        }
        #expect(denied?.code == .unauthorized)
        #expect(
            denied?.message.contains(
                "failed to fetch oauth token: unexpected status from GET request to https://auth.test/token: 401 Unauthorized"
            ) == true)
        #expect(denied?.message.contains("wrong") == false)
    }

    @Test func identityTokenIsExchanged() async throws {
        let registry = registry()
        registry.on("//reg.test/") { request, _ in
            request.headers.contains { $0 == ("Authorization", "Bearer fresh") }
                ? nil
                : Answer(
                    401, [("WWW-Authenticate", "Bearer realm=\"https://auth.test/token\",service=s")])
        }
        registry.on("auth.test") { request, _ in
            String(decoding: request.body, as: UTF8.self)
                == "grant_type=refresh_token&refresh_token=id%2Ftok&service=s&scope=repository%3Aapp%3Apull&client_id=k3s"
                && request.method == "POST" ? Answer(200, [], Array(#"{"access_token":"fresh"}"#.utf8)) : Answer(400)
        }
        _ = try await TestStore(registry: registry).pull("reg.test/app:1", RegistryCredentials(identityToken: "id/tok"))
    }

    @Test func basicIsSentWhenAskedFor() async throws {
        let registry = registry()
        registry.on("//reg.test/") { request, _ in
            request.headers.contains { $0 == ("Authorization", "Basic dXNlcjpwYXNz") }
                ? nil : Answer(401, [("WWW-Authenticate", "Basic realm=\"r\"")])
        }
        let store = try TestStore(registry: registry)
        _ = try await store.pull("reg.test/app:1", RegistryCredentials(username: "user", password: "pass"))
        let anonymous = await failure { () throws(ImageError) in try await store.pull("reg.test/app:2") }
        #expect(anonymous?.code == .unauthorized)
        #expect(anonymous?.message.hasSuffix("authorization failed: no basic auth credentials") == true)
        let wrong = await failure { () throws(ImageError) in
            try await store.pull("reg.test/app:1", RegistryCredentials(username: "user", password: "no"))
        }
        // The image is here already, but these credentials do not get it.
        #expect(wrong?.code == .unauthorized)
    }

    @Test func expiredTokenIsRenewed() async throws {
        let registry = registry()
        registry.on("//reg.test/") { request, attempt in
            let wanted = attempt > 4 ? "Bearer t2" : "Bearer t1"
            return request.headers.contains { $0 == ("Authorization", wanted) }
                ? nil
                : Answer(
                    401, [("WWW-Authenticate", "Bearer realm=\"https://auth.test/token\"")])
        }
        registry.on("auth.test") { _, attempt in Answer(200, [], Array("{\"token\":\"t\(attempt)\"}".utf8)) }
        _ = try await TestStore(registry: registry) { $0.parallelDownloads = 1 }.pull("reg.test/app:1")
        #expect(registry.count("auth.test") == 2)
    }

    @Test func credentialsNeverGoToPlainHTTP() async throws {
        let registry = registry()
        registry.on("//reg.test/") { _, _ in
            Answer(401, [("WWW-Authenticate", "Bearer realm=\"http://auth.test/token\"")])
        }
        let error = await failure { () throws(ImageError) in
            try await TestStore(registry: registry).pull(
                "reg.test/app:1", RegistryCredentials(username: "u", password: "p"))
        }
        #expect(error?.code == .unauthorized)
        #expect(error?.message.contains("without TLS") == true)
        #expect(registry.count("auth.test") == 0)
    }

    @Test func badTokenAnswersAreErrors() async throws {
        for body in ["", "{}", #"{"token":"a b"}"#, #"{"token":"x\r\nHost: y"}"#, "<html>"] {
            let registry = registry()
            registry.on("//reg.test/") { _, _ in
                Answer(401, [("WWW-Authenticate", "Bearer realm=\"https://auth.test/token\"")])
            }
            registry.put("auth.test", "/token", Answer(200, [], Array(body.utf8)))
            let error = await failure { () throws(ImageError) in
                try await TestStore(registry: registry).pull("reg.test/app:1")
            }
            #expect(error?.message.contains("no token in the answer") == true, "\(body)")
        }
    }

    // MARK: errors

    @Test func missingImageIsNotFound() async throws {
        let error = await failure { () throws(ImageError) in try await TestStore().pull("foo:bar") }
        #expect(error?.code == .notFound)
        #expect(
            error?.message
                == "failed to pull and unpack image \"docker.io/library/foo:bar\": failed to resolve reference "
                + "\"docker.io/library/foo:bar\": docker.io/library/foo:bar: not found")
    }

    @Test func forbiddenIsUnauthorized() async throws {
        let registry = registry()
        registry.on("//reg.test/") { _, _ in
            Answer(403, [], Array(#"{"errors":[{"code":"DENIED","message":"requested access is denied"}]}"#.utf8))
        }
        let error = await failure { () throws(ImageError) in
            try await TestStore(registry: registry).pull("reg.test/app:1")
        }
        #expect(error?.code == .unauthorized)
        #expect(
            error?.message.hasSuffix(
                "unexpected status from GET request to https://reg.test/v2/app/manifests/1: 403 Forbidden: denied: requested access is denied"
            )
                == true)
        #expect(registry.requests.count == 1)
    }

    @Test func rateLimitIsRetriedThenReported() async throws {
        let registry = registry()
        registry.on("manifests") { _, _ in
            Answer(
                429, [("Retry-After", "0")],
                Array(#"{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit"}]}"#.utf8))
        }
        let error = await failure { () throws(ImageError) in
            try await TestStore(registry: registry).pull("reg.test/app:1")
        }
        #expect(error?.code == .registryUnavailable)
        #expect(error?.message.contains("429 Too Many Requests: toomanyrequests: pull rate limit") == true)
        #expect(registry.count("manifests") == 5)
    }

    @Test func serverErrorsAreRetried() async throws {
        let registry = registry()
        registry.on("manifests") { _, attempt in attempt < 3 ? Answer(503) : nil }
        registry.on("blobs") { _, attempt in attempt % 2 == 1 ? Answer(500) : nil }
        _ = try await TestStore(registry: registry).pull("reg.test/app:1")
        #expect(registry.count("manifests") == 3)
    }

    @Test func connectionErrorsAreRetriedThenReported() async throws {
        let registry = registry()
        registry.on("//reg.test/") { _, _ in
            Answer(failure: RegistryTransportError(.connect, "dial tcp: lookup reg.test: no such host"))
        }
        let error = await failure { () throws(ImageError) in
            try await TestStore(registry: registry).pull("reg.test/app:1")
        }
        #expect(error?.code == .registryUnavailable)
        #expect(
            error?.message.hasSuffix(
                "failed to do request: Get \"https://reg.test/v2/app/manifests/1\": dial tcp: lookup reg.test: no such host"
            ) == true)
        #expect(registry.requests.count == 5)
    }

    @Test func badCertificatesAreNotRetried() async throws {
        let registry = registry()
        registry.on("//reg.test/") { _, _ in
            Answer(failure: RegistryTransportError(.tls, "x509: certificate signed by unknown authority"))
        }
        let error = await failure { () throws(ImageError) in
            try await TestStore(registry: registry).pull("reg.test/app:1")
        }
        #expect(error?.message.contains("unknown authority") == true)
        #expect(registry.requests.count == 1)
    }

    @Test func silentServersTimeOut() async throws {
        let registry = registry()
        registry.on("//reg.test/") { _, _ in
            var answer = Answer()
            answer.delay = .seconds(600)
            return answer
        }
        let error = await failure { () throws(ImageError) in
            try await TestStore(registry: registry) {
                $0.timing.responseTimeout = .milliseconds(20)
                $0.timing.attempts = 2
            }.pull("reg.test/app:1")
        }
        #expect(error?.code == .registryUnavailable)
        #expect(error?.message.contains("no response within") == true)
    }

    // MARK: redirects

    @Test func authorizationIsDroppedAcrossHosts() async throws {
        let registry = registry()
        let layer = TestSHA256.digest(image.blobs[0])
        registry.on("//reg.test/v2/app/blobs/\(layer)") { request, _ in
            request.headers.contains { $0.name == "Authorization" }
                ? Answer(307, [("Location", "https://cdn.test/x?sig=secret")]) : nil
        }
        registry.on("//reg.test/") { request, _ in
            request.headers.contains { $0.name == "Authorization" }
                ? nil : Answer(401, [("WWW-Authenticate", "Basic realm=r")])
        }
        registry.put("cdn.test", "/x", Answer(200, [], image.blobs[0]))
        _ = try await TestStore(registry: registry).pull(
            "reg.test/app:1", RegistryCredentials(username: "u", password: "p"))
        let request = try #require(registry.requests.first { $0.url.host == "cdn.test" })
        #expect(header(request, "Authorization") == nil)
    }

    @Test func redirectLoopsEnd() async throws {
        let registry = registry()
        registry.on("manifests") { request, _ in Answer(302, [("Location", request.url.path)]) }
        let error = await failure { () throws(ImageError) in
            try await TestStore(registry: registry).pull("reg.test/app:1")
        }
        #expect(error?.message.contains("stopped after 10 redirects") == true)
        #expect(registry.requests.count == 11)
    }

    @Test func redirectsToPlainHTTPAreRefused() async throws {
        let registry = registry()
        registry.on("manifests") { _, _ in Answer(302, [("Location", "http://evil.test/")]) }
        let error = await failure { () throws(ImageError) in
            try await TestStore(registry: registry).pull("reg.test/app:1")
        }
        #expect(error?.message.contains("refusing redirect from https to http://evil.test/") == true)
    }

    // MARK: content

    private func bigImage() -> TestImage {
        var tar = TarBuilder()
        tar.file("big", (0..<60_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) })
        return TestImage([tar.finished()])
    }

    @Test func brokenDownloadsResume() async throws {
        let big = bigImage()
        let registry = FakeRegistry()
        registry.add(big, "reg.test", "app", tag: "1")
        registry.on(TestSHA256.digest(big.blobs[0])) { _, attempt in
            guard attempt < 4 else { return nil }
            var answer = Answer(200, [], big.blobs[0])
            answer.breakAfter = 10_000
            return answer
        }
        _ = try await TestStore(registry: registry).pull("reg.test/app:1")
        let ranges = registry.requests.filter { $0.url.path.hasSuffix(TestSHA256.digest(big.blobs[0])) }
            .map { request in request.headers.first { $0.name == "Range" }?.value }
        #expect(ranges == [nil, "bytes=10000-", "bytes=20000-", "bytes=30000-"])
    }

    @Test func serversThatDoNotResumeStartAgain() async throws {
        let big = bigImage()
        let registry = FakeRegistry()
        registry.add(big, "reg.test", "app", tag: "1")
        registry.on(TestSHA256.digest(big.blobs[0])) { request, attempt in
            if attempt == 1 {
                var answer = Answer(200, [], big.blobs[0])
                answer.breakAfter = 10_000
                return answer
            }
            // A status the fake does not turn into 206: the whole blob, although a part was asked for.
            return attempt == 2 ? Answer(416) : nil
        }
        _ = try await TestStore(registry: registry).pull("reg.test/app:1")
    }

    @Test func truncatedBodiesAreNotTaken() async throws {
        let big = bigImage()
        let registry = FakeRegistry()
        registry.add(big, "reg.test", "app", tag: "1")
        registry.on(TestSHA256.digest(big.blobs[0])) { _, _ in Answer(200, [], Array(big.blobs[0].prefix(5000))) }
        let store = try TestStore(registry: registry)
        let error = await failure { () throws(ImageError) in try await store.pull("reg.test/app:1") }
        #expect(error?.message.contains("failed to copy: ") == true, "\(error?.message ?? "")")
        #expect(try await store.leftovers() == [])
        #expect(await store.store.images() == [])
    }

    @Test func stalledBodiesAreGivenUp() async throws {
        let big = bigImage()
        let registry = FakeRegistry()
        registry.add(big, "reg.test", "app", tag: "1")
        registry.on(TestSHA256.digest(big.blobs[0])) { _, attempt in
            guard attempt == 1 else { return nil }
            var answer = Answer(200, [], big.blobs[0])
            answer.stallAfter = 20_000
            return answer
        }
        _ = try await TestStore(registry: registry) { $0.timing.stallTimeout = .milliseconds(400) }.pull(
            "reg.test/app:1")
    }

    @Test func wrongBytesAreADigestMismatch() async throws {
        let registry = registry()
        let layer = image.blobs[1]
        registry.on("blobs/\(TestSHA256.digest(layer))") { _, _ in
            Answer(200, [], layer.map { $0 ^ 1 })
        }
        let store = try TestStore(registry: registry)
        let error = await failure { () throws(ImageError) in try await store.pull("reg.test/app:1") }
        #expect(error?.code == .digestMismatch)
        #expect(
            error?.message
                == "failed to pull and unpack image \"reg.test/app:1\": failed commit on ref \"layer-\(TestSHA256.digest(layer))\": "
                + "unexpected commit digest \(TestSHA256.digest(layer.map { $0 ^ 1 })), expected \(TestSHA256.digest(layer)): failed precondition"
        )
        #expect(try await store.leftovers() == [])
    }

    @Test func longerBodiesAreRefused() async throws {
        let registry = registry()
        let layer = image.blobs[1]
        registry.on("blobs/\(TestSHA256.digest(layer))") { _, _ in Answer(200, [], layer + [0]) }
        let error = await failure { () throws(ImageError) in
            try await TestStore(registry: registry).pull("reg.test/app:1")
        }
        #expect(error?.code == .digestMismatch)
        #expect(error?.message.contains("failed size validation") == true)
    }

    @Test func wrongManifestIsADigestMismatch() async throws {
        let registry = registry()
        let other = TestImage(files: ["x"])
        let path = "/v2/app/manifests/\(image.digest)"
        registry.put("reg.test", path, Answer(200, [("Content-Type", MediaType.ociManifest)], other.manifest))
        let error = await failure { () throws(ImageError) in
            try await TestStore(registry: registry).pull("reg.test/app@\(image.digest)")
        }
        #expect(error?.code == .digestMismatch)
        #expect(error?.message.contains("unexpected commit digest \(other.digest), expected \(image.digest)") == true)
    }

    @Test func contentDigestHeaderIsChecked() async throws {
        let registry = registry()
        let manifest = image.manifest
        registry.on("manifests/1") { _, _ in
            Answer(200, [("Docker-Content-Digest", "sha256:" + String(repeating: "0", count: 64))], manifest)
        }
        let error = await failure { () throws(ImageError) in
            try await TestStore(registry: registry).pull("reg.test/app:1")
        }
        #expect(error?.code == .digestMismatch)
    }

    @Test func endlessManifestsAreRefused() async throws {
        let registry = registry()
        registry.on("manifests/1") { _, _ in Answer(200, [], [UInt8](repeating: 0x20, count: (4 << 20) + 1)) }
        let error = await failure { () throws(ImageError) in
            try await TestStore(registry: registry).pull("reg.test/app:1")
        }
        #expect(error?.message.contains("larger than 4194304 bytes") == true)
    }

    @Test func diffIDIsVerified() async throws {
        var lying = TestImage(files: ["one"])
        lying.blobs = [TestImage(files: ["evil"]).blobs[0]]
        let registry = FakeRegistry()
        registry.add(lying, "reg.test", "app", tag: "1")
        let store = try TestStore(registry: registry)
        let error = await failure { () throws(ImageError) in try await store.pull("reg.test/app:1") }
        #expect(error?.code == .digestMismatch)
        #expect(error?.message.contains("wrong diff id calculated on extraction") == true)
        #expect(names(store.directory / "store/snapshots") == [])
        #expect(try await store.leftovers() == [])
    }

    // MARK: endpoints

    private func mirrored(_ json: String) throws -> RegistriesConfig {
        var warnings: [String] = []
        return try RegistriesConfig(try JSON.parse(json), file: "f", warnings: &warnings)
    }

    @Test func mirrorIsTriedFirstThenTheRegistry() async throws {
        let registry = registry()
        let config = try mirrored(
            #"{"mirrors":{"reg.test":{"endpoint":["https://mirror.test"],"rewrite":{"^app$":"cache/app"}}}}"#)
        _ = try await TestStore(registry: registry, registries: config).pull("reg.test/app:1")
        #expect(registry.requests[0].url.description == "https://mirror.test/v2/cache/app/manifests/1?ns=reg.test")
        #expect(registry.requests[1].url.description == "https://reg.test/v2/app/manifests/1")
        // What the manifest came from is asked for the blobs first.
        #expect(registry.requests.dropFirst(2).allSatisfy { $0.url.host == "reg.test" })
    }

    @Test func mirrorAloneCanServe() async throws {
        let registry = FakeRegistry()
        registry.add(image, "mirror.test", "cache/app", tag: "1")
        var config = try mirrored(
            #"{"mirrors":{"*":{"endpoint":["https://mirror.test"],"rewrite":{"(.*)":"cache/$1"}}}}"#)
        config.disableDefaultEndpoint = true
        let store = try TestStore(registry: registry, registries: config)
        let info = try await store.pull("reg.test/app:1")
        #expect(info.tags == ["reg.test/app:1"])
        #expect(registry.requests.allSatisfy { $0.url.host == "mirror.test" && $0.url.query == "ns=reg.test" })
    }

    @Test func brokenMirrorFallsBackForBlobsToo() async throws {
        let registry = registry()
        registry.put("mirror.test", "/v2/app/manifests/1", registry.manifest(image.manifest))
        let config = try mirrored(#"{"mirrors":{"reg.test":{"endpoint":["https://mirror.test"]}}}"#)
        _ = try await TestStore(registry: registry, registries: config).pull("reg.test/app:1")
        #expect(registry.count("//reg.test/v2/app/blobs") == 3)
    }

    @Test func theRepairableErrorIsReported() async throws {
        let registry = FakeRegistry()
        registry.on("//mirror.test/") { _, _ in Answer(403) }
        let config = try mirrored(#"{"mirrors":{"reg.test":{"endpoint":["https://mirror.test"]}}}"#)
        let error = await failure { () throws(ImageError) in
            try await TestStore(registry: registry, registries: config).pull("reg.test/app:1")
        }
        #expect(error?.code == .unauthorized)
        #expect(error?.message.contains("mirror.test") == true)
    }
}
