import Codecs
@testable import Containers
import Testing

@Suite struct RegistriesConfigTests {
    private func config(_ text: String, warnings: inout [String]) throws -> RegistriesConfig {
        try RegistriesConfig(try JSON.parse(text), file: "registries.yaml", warnings: &warnings)
    }

    private func config(_ text: String) throws -> RegistriesConfig {
        var warnings: [String] = []
        let config = try config(text, warnings: &warnings)
        #expect(warnings == [])
        return config
    }

    private func urls(_ config: RegistriesConfig, _ registry: String) -> [String] {
        config.endpoints(for: registry, credentials: nil).map { $0.url("r", "p").description }
    }

    @Test func withoutAFileTheRegistryItselfIsAsked() throws {
        let empty = RegistriesConfig()
        #expect(urls(empty, "docker.io") == ["https://registry-1.docker.io/v2/r/p"])
        #expect(urls(empty, "quay.io") == ["https://quay.io/v2/r/p"])
        #expect(urls(empty, "localhost:5000") == ["http://localhost:5000/v2/r/p"])
        #expect(urls(empty, "localhost:443") == ["https://localhost:443/v2/r/p"])
        #expect(urls(empty, "localhost") == ["https://localhost/v2/r/p"])
        #expect(urls(empty, "127.0.0.1:80") == ["http://127.0.0.1:80/v2/r/p"])
        #expect(urls(empty, "[::1]:5000") == ["http://[::1]:5000/v2/r/p"])
        #expect(urls(empty, "10.0.0.1:5000") == ["https://10.0.0.1:5000/v2/r/p"])
    }

    @Test func mirrorsComeFirstAndCarryTheNamespace() throws {
        let config = try config(
            #"{"mirrors":{"docker.io":{"endpoint":["https://m1.example","m2.example:5000/v2/","http://m3.example/custom/path/"]}}}"#
        )
        #expect(
            urls(config, "docker.io") == [
                "https://m1.example/v2/r/p?ns=docker.io", "https://m2.example:5000/v2/r/p?ns=docker.io",
                "http://m3.example/custom/path/r/p?ns=docker.io", "https://registry-1.docker.io/v2/r/p",
            ])
        #expect(urls(config, "quay.io") == ["https://quay.io/v2/r/p"])
    }

    @Test func allNamesOfDockerHubAreOne() throws {
        for name in ["docker.io", "registry-1.docker.io", "index.docker.io"] {
            let config = try config(
                #"{"mirrors":{"\#(name)":{"endpoint":["https://m"]}},"configs":{"\#(name)":{"auth":{"username":"u","password":"p"}}}}"#
            )
            let endpoints = config.endpoints(for: "docker.io", credentials: nil)
            #expect(endpoints.map(\.base.host) == ["m", "registry-1.docker.io"])
            #expect(endpoints.last?.credentials?.username == "u")
        }
    }

    @Test func starStandsForRegistriesWithoutAnEntry() throws {
        let config = try config(
            #"{"mirrors":{"*":{"endpoint":["https://all"]},"quay.io":{"endpoint":["https://q"]}},"configs":{"*":{"tls":{"insecure_skip_verify":true}},"q":{"tls":{"ca_file":"/ca"}}}}"#
        )
        #expect(urls(config, "ghcr.io") == ["https://all/v2/r/p?ns=ghcr.io", "https://ghcr.io/v2/r/p"])
        #expect(urls(config, "quay.io") == ["https://q/v2/r/p?ns=quay.io", "https://quay.io/v2/r/p"])
        let endpoints = config.endpoints(for: "quay.io", credentials: nil)
        #expect(endpoints[0].tls == RegistryTLS(caFile: "/ca"))
        #expect(endpoints[1].tls == RegistryTLS(insecureSkipVerify: true))
    }

    @Test func defaultEndpointCanBeSwitchedOff() throws {
        var config = try config(#"{"mirrors":{"docker.io":{"endpoint":["https://m"]},"empty.io":{}}}"#)
        config.disableDefaultEndpoint = true
        #expect(urls(config, "docker.io") == ["https://m/v2/r/p?ns=docker.io"])
        #expect(urls(config, "quay.io") == ["https://quay.io/v2/r/p"])
        #expect(urls(config, "empty.io") == [])
    }

    @Test func defaultListedAmongTheMirrorsIsNotAskedTwice() throws {
        let config = try config(
            #"{"mirrors":{"quay.io":{"endpoint":["https://m","https://quay.io"],"rewrite":{"^a":"b"}}},"configs":{"quay.io":{"auth":{"username":"u","password":"p"}}}}"#
        )
        #expect(urls(config, "quay.io") == ["https://m/v2/r/p?ns=quay.io", "https://quay.io/v2/r/p"])
        let endpoints = config.endpoints(for: "quay.io", credentials: nil)
        #expect(endpoints[0].rewrite("a") == "b")
        #expect(endpoints[1].rewrite("a") == "a")
        #expect(endpoints[1].credentials?.username == "u")
    }

    @Test func pullSecretsGoToTheRegistryOnly() throws {
        let config = try config(
            #"{"mirrors":{"quay.io":{"endpoint":["https://m"]}},"configs":{"m":{"auth":{"username":"mirror","password":"p"}},"quay.io":{"auth":{"username":"file","password":"p"}}}}"#
        )
        let secret = RegistryCredentials(username: "secret", password: "s")
        #expect(
            config.endpoints(for: "quay.io", credentials: secret).map { $0.credentials?.username } == [
                "mirror", "secret",
            ])
        #expect(
            config.endpoints(for: "quay.io", credentials: nil).map { $0.credentials?.username } == ["mirror", "file"])
    }

    @Test func everyFormOfCredentialsIsRead() throws {
        let config = try config(
            #"{"configs":{"a":{"auth":{"auth":"dXNlcjpwYXNzOndvcmQ="}},"b":{"auth":{"identity_token":"t"}},"c":{"auth":{"username":"u","password":12345}},"d":{"auth":{}}}}"#
        )
        #expect(config.hosts["a"]?.credentials == RegistryCredentials(username: "user", password: "pass:word"))
        #expect(config.hosts["b"]?.credentials == RegistryCredentials(identityToken: "t"))
        #expect(config.hosts["c"]?.credentials?.password == "12345")
        #expect(config.hosts["d"]?.credentials == nil)
    }

    @Test(arguments: [
        (#"{"mirrors":[]}"#, "registries.yaml: mirrors: want a mapping"),
        (
            #"{"mirrors":{"docker.io":{"endpoint":"https://m"}}}"#,
            "registries.yaml: mirrors.\"docker.io\".endpoint: want a list of URLs"
        ),
        (#"{"mirrors":{"a":{"endpoint":[{}]}}}"#, "registries.yaml: mirrors.a.endpoint[0]: want a string"),
        (
            #"{"mirrors":{"a":{"rewrite":{"(":"x"}}}}"#,
            "registries.yaml: mirrors.a.rewrite: invalid regular expression \"(\""
        ),
        (#"{"mirrors":{"a":{"rewrite":{"a*?":"x"}}}}"#, "lazy or doubled quantifiers are not supported"),
        (
            #"{"configs":{"a":{"tls":{"insecure_skip_verify":"yes"}}}}"#,
            "registries.yaml: configs.a.tls.insecure_skip_verify: want true or false"
        ),
        (
            #"{"configs":{"a":{"tls":{"cert_file":"/c"}}}}"#,
            "registries.yaml: configs.a.tls: want cert_file and key_file together"
        ),
        (
            #"{"configs":{"a":{"auth":{"auth":"!!"}}}}"#,
            "registries.yaml: configs.a.auth.auth: want base64 of user:password"
        ),
        (#"[]"#, "registries.yaml: want a mapping"),
    ])
    func errorsNameFileAndKey(_ text: String, _ message: String) {
        var warnings: [String] = []
        let error = #expect(throws: ImageError.self) { _ = try config(text, warnings: &warnings) }
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
    }

    @Test func oddEndpointsAreLeftOutWithAWarning() throws {
        var warnings: [String] = []
        let config = try config(
            #"{"mirrors":{"a":{"endpoint":["ftp://x","https://ok","https://ok","https://u:p@h","http://bad host"],"extra":1}},"other":{}}"#,
            warnings: &warnings)
        #expect(urls(config, "a").count == 2)
        #expect(warnings.count == 6)
        #expect(warnings[0] == "registries.yaml: mirrors.a.endpoint[0]: ignoring invalid endpoint URL \"ftp://x\"")
        #expect(warnings[1] == "registries.yaml: mirrors.a.endpoint[2]: skipping duplicate endpoint URL \"https://ok\"")
        #expect(warnings[5] == "registries.yaml: other: unknown key is ignored")
    }

    @Test(arguments: [
        (
            "^rancher/(.*)", "mirrorproject/rancher-images/$1", "rancher/klipper-lb",
            "mirrorproject/rancher-images/klipper-lb"
        ),
        ("^rancher/(.*)", "x/$1", "other/rancher/a", "other/rancher/a"),
        ("(.*)", "proxy/${1}", "library/busybox", "proxy/library/busybox"),
        ("(?:library)/(\\w+)", "hub/$1", "library/busybox", "hub/busybox"),
        ("a", "b", "banana", "bbnbnb"),
        ("v\\d+", "v", "x/v123/y", "x/v/y"),
        ("^(.*)/(.*)$", "$2/$1", "a/b", "b/a"),
        ("^([^/]+)/([a-z\\d]+)$", "$1-$2-$$-$9", "a/b1", "a-b1-$-"),
        ("x*", "-", "ab", "-a-b-"),
        ("$1", "never", "a", "a"),
    ])
    func rewritesFollowGo(_ pattern: String, _ replacement: String, _ repository: String, _ expected: String) throws {
        let rule = try RepositoryRewrite(pattern: pattern, replacement: replacement)
        #expect((rule.apply(repository) ?? repository) == expected)
    }

    @Test func yamlFileIsRead() throws {
        let directory = TestDirectory()
        let path = directory / "registries.yaml"
        write(
            Array(
                """
                mirrors:
                  "*":
                    endpoint: [ "https://all.example:5000" ]
                  docker.io:
                    endpoint:
                      - "https://registry.example.com:5000"
                    rewrite:
                      "^rancher/(.*)": "mirrorproject/rancher-images/$1"
                configs:
                  "registry.example.com:5000":
                    auth: {username: xxxxxx, password: 123456}
                    tls:
                      cert_file: /etc/c
                      key_file: /etc/k
                      ca_file: /etc/ca
                      insecure_skip_verify: true
                """.utf8), to: path)
        var warnings: [String] = []
        let config = try RegistriesConfig(path: path, warnings: &warnings)
        #expect(warnings == [])
        let endpoint = config.endpoints(for: "docker.io", credentials: nil)[0]
        #expect(
            endpoint.url(endpoint.rewrite("rancher/x"), "p").description
                == "https://registry.example.com:5000/v2/mirrorproject/rancher-images/x/p?ns=docker.io")
        #expect(endpoint.credentials == RegistryCredentials(username: "xxxxxx", password: "123456"))
        #expect(
            endpoint.tls
                == RegistryTLS(caFile: "/etc/ca", certFile: "/etc/c", keyFile: "/etc/k", insecureSkipVerify: true))
        #expect(urls(config, "quay.io").first == "https://all.example:5000/v2/r/p?ns=quay.io")

        for (text, message) in [
            ("mirrors:\n  a: [", path), ("mirrors: 5\n", "\(path): mirrors: want a mapping"), ("\tx", path),
        ] {
            write(Array(text.utf8), to: path)
            let error = #expect(throws: ImageError.self) { _ = try RegistriesConfig(path: path, warnings: &warnings) }
            #expect(error?.message.hasPrefix(message) == true, "\(error?.message ?? "")")
        }
        #expect(try RegistriesConfig(path: directory / "none", warnings: &warnings).mirrors.isEmpty)
        write([], to: path)
        #expect(try RegistriesConfig(path: path, warnings: &warnings).mirrors.isEmpty)
    }

    @Test func firstRewriteThatChangesCounts() throws {
        let config = try config(#"{"mirrors":{"a":{"endpoint":["https://m"],"rewrite":{"^z":"1","^b":"2","^a":"a"}}}}"#)
        #expect(config.endpoints(for: "a", credentials: nil)[0].rewrite("bz") == "2z")
    }
}

@Suite struct RegistryURLTests {
    @Test func locationsAreResolved() throws {
        let base = try #require(RegistryURL("https://h:8443/v2/a/blobs/x?q=1"))
        #expect(base.resolving("/other")?.description == "https://h:8443/other")
        #expect(base.resolving("y?z=2")?.description == "https://h:8443/v2/a/blobs/y?z=2")
        #expect(base.resolving("//cdn/x")?.description == "https://cdn/x")
        #expect(base.resolving("http://cdn:81/x#f")?.description == "http://cdn:81/x")
        #expect(base.resolving("?only")?.description == "https://h:8443/v2/a/blobs/x?only")
        #expect(base.resolving("/to?u=http://x")?.description == "https://h:8443/to?u=http://x")
        #expect(base.resolving("https://user:pw@h/") == nil)
        #expect(base.resolving("gopher://h/") == nil)
        #expect(base.resolving("/a b\r\nX: y") == nil)
    }

    @Test func challengesAreParsed() {
        let list = RegistryChallenge.parse(
            #"Basic realm="a \"b\"", Bearer realm="https://auth/token",service=reg.example,scope="repository:a/b:pull,push""#
        )
        #expect(list.map(\.scheme) == ["basic", "bearer"])
        #expect(list[0].parameters["realm"] == "a \"b\"")
        #expect(
            list[1].parameters == [
                "realm": "https://auth/token", "service": "reg.example", "scope": "repository:a/b:pull,push",
            ])
        #expect(RegistryChallenge.parse("").isEmpty)
        #expect(RegistryChallenge.parse("Bearer realm=\"unterminated").count == 1)
        #expect(RegistryChallenge.parse("Negotiate").map(\.scheme) == ["negotiate"])
    }
}
