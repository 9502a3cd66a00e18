import Codecs
import KubeAPI
import Store
import Testing
import Transport

@testable import ControlPlane

/// What clients negotiate and ask in queries, through the handler.
@Suite struct ProtocolTests {
    static let maps = "/api/v1/namespaces/default/configmaps"

    // MARK: - Field validation

    private static let doubled = "metadata:\n  name: doubled\ndata:\n  k: \"1\"\n  k: \"2\"\ndta: {}\n"

    @Test func keysGivenTwiceInYAMLAreValidatedAsAsked() async throws {
        let cluster = try await Cluster()
        func send(_ validation: String) async throws -> Cluster.Answer {
            try await cluster.send(
                "POST", Self.maps + "?dryRun=All&fieldValidation=" + validation, Array(Self.doubled.utf8),
                type: "application/yaml")
        }
        let ignored = try await send("Ignore")
        #expect(ignored.code == 201 && ignored.json["data"] == ["k": "2"] && ignored.headers["Warning"] == nil)
        let warned = try await send("Warn")
        #expect(warned.code == 201)
        #expect(
            warned.headers.values("Warning") == [
                #"299 - "line 5: key \"k\" already set in map""#, #"299 - "unknown field \"dta\"""#,
            ])
        let strict = try await send("Strict")
        #expect(strict.code == 400)
        #expect(
            strict.message
                == "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: "
                + "yaml: unmarshal errors:\n  line 5: key \"k\" already set in map, unknown field \"dta\"")
        let bad = try await send("Sometimes")
        #expect(bad.code == 422 && bad.message.contains("fieldValidation: Unsupported value: \"Sometimes\""))
    }

    @Test func appliedConfigurationsAreValidatedToo() async throws {
        let cluster = try await Cluster()
        func apply(_ validation: String) async throws -> Cluster.Answer {
            try await cluster.send(
                "PATCH", Self.maps + "/a?fieldManager=m&dryRun=All&fieldValidation=" + validation,
                Array("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  k: \"1\"\n  k: \"2\"\n".utf8),
                type: "application/apply-patch+yaml")
        }
        let ignored = try await apply("Ignore")
        #expect(ignored.code == 201 && ignored.json["data"] == ["k": "2"])
        let warned = try await apply("Warn")
        #expect(warned.headers["Warning"] == #"299 - "line 6: key \"k\" already set in map""#)
        let strict = try await apply("Strict")
        #expect(strict.code == 400)
        #expect(
            strict.message
                == "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n"
                + "  line 6: key \"k\" already set in map")
    }

    // MARK: - Versions of lists and watches

    static let versions: [(String, String)] = [
        ("resourceVersionMatch=Exact", "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless"),
        (
            "resourceVersionMatch=Exact&resourceVersion=0",
            "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""
        ),
        (
            "resourceVersionMatch=Newest&resourceVersion=1",
            "resourceVersionMatch: Unsupported value: \"Newest\": supported values: \"Exact\", \"NotOlderThan\", \"\""
        ),
        ("sendInitialEvents=true", "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"),
        (
            "resourceVersionMatch=NotOlderThan&resourceVersion=1&continue=x",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided"
        ),
        (
            "watch=1&sendInitialEvents=true",
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        ),
        (
            "watch=1&sendInitialEvents=true&resourceVersionMatch=Exact",
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        ),
        (
            "watch=1&resourceVersionMatch=NotOlderThan&resourceVersion=1",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        ),
    ]

    @Test(arguments: versions)
    func whatCannotBeAskedIsInvalid(_ query: String, _ message: String) async throws {
        let cluster = try await Cluster()
        let answer = try await cluster.call("GET", Self.maps + "?" + query)
        #expect(answer.code == 422 && answer.reason == "Invalid")
        #expect(answer.message.hasPrefix("ListOptions.meta.k8s.io \"\" is invalid: " + message), "\(answer.message)")
    }

    @Test func exactAndNotOlderThanDiffer() async throws {
        let cluster = try await Cluster()
        let first = try await cluster.client.create(.configMaps, cluster.configMap("a"))
        _ = try await cluster.client.create(.configMaps, cluster.configMap("b"))
        func names(_ query: String) async throws -> [String] {
            try await cluster.call("GET", Self.maps + "?" + query).json["items"].elements.compactMap {
                $0["metadata"]["name"].string
            }
        }
        let version = "resourceVersion=\(first.resourceVersion)"
        #expect(try await names(version + "&resourceVersionMatch=Exact") == ["a"])
        #expect(try await names(version + "&resourceVersionMatch=NotOlderThan") == ["a", "b"])
        #expect(try await names(version) == ["a", "b"])
        #expect(try await names("resourceVersion=0&resourceVersionMatch=NotOlderThan") == ["a", "b"])
        #expect(try await names(version + "&limit=9") == ["a"], "a page of a version is of that version")
        #expect(try await names(version + "&limit=9&resourceVersionMatch=NotOlderThan") == ["a", "b"])
        #expect(try await names("resourceVersion=0&limit=9") == ["a", "b"])
        // A page of an older state goes on in that state.
        let page = try await cluster.call(
            "GET", Self.maps + "?limit=1&resourceVersionMatch=Exact&resourceVersion=\(cluster.store.revision)")
        _ = try await cluster.client.create(.configMaps, cluster.configMap("c"))
        let rest = "limit=9&continue=" + (page.json["metadata"]["continue"].string ?? "")
        #expect(try await names(rest) == ["b"])
        let mixed = try await cluster.call("GET", Self.maps + "?" + rest + "&resourceVersion=1")
        #expect(mixed.code == 400)
        #expect(mixed.message.contains("specifying resource version is not allowed when using continue"))
        try await cluster.store.compact(to: cluster.store.revision)
        let gone = try await cluster.call("GET", Self.maps + "?\(version)&resourceVersionMatch=Exact")
        #expect(gone.code == 410 && gone.reason == "Expired")
    }

    // MARK: - Headers and paths

    @Test func everyAnswerHasItsIdentifier() async throws {
        let cluster = try await Cluster()
        for path in ["/version", "/readyz", "/api/v1/pods", "/api/v1/namespaces/default/pods/none", "/none"] {
            let answer = try await cluster.call("GET", path)
            #expect(answer.headers["Audit-Id"]?.utf8.count == 36, "\(path)")
            #expect(answer.headers.values("Cache-Control") == ["no-cache, private"], "\(path)")
            let own = try await cluster.call("GET", path, headers: ["Audit-Id": "mine"])
            #expect(own.headers.values("Audit-Id") == ["mine"], "\(path)")
        }
    }

    /// Within the API's groups what is not there is a Status, elsewhere a page.
    @Test func unknownPathsAreNotFound() async throws {
        let cluster = try await Cluster()
        for path in ["/none", "/apis/none.test", "/apis/none.test/v1", "/apis/none.test/v1/things", "/readyz/none"] {
            let answer = try await cluster.call("GET", path)
            #expect(answer.code == 404 && answer.text == "404 page not found\n", "\(path): \(answer.text)")
            #expect(answer.headers["Content-Type"] == "text/plain; charset=utf-8")
            #expect(answer.headers["X-Content-Type-Options"] == "nosniff")
        }
        for path in ["/api/v1/things", "/api/v9/pods", "/apis/apps/v9", "/apis/apps/v1/things", "/api/v1/pods/x"] {
            let answer = try await cluster.call("GET", path)
            #expect(answer.code == 404 && answer.reason == "NotFound", "\(path): \(answer.text)")
            #expect(answer.message == "the server could not find the requested resource", "\(path)")
        }
    }

    @Test func timeoutsAreDurations() async throws {
        let cluster = try await Cluster()
        for (text, why) in [("soon", "invalid duration \"soon\""), ("5", "missing unit in duration \"5\"")] {
            let answer = try await cluster.call("GET", Self.maps + "?timeout=" + text)
            #expect(answer.code == 400)
            #expect(answer.message == "invalid timeout specified in the request URL - time: " + why)
        }
        for text in ["34s", "1m30s", "0s", ""] {
            #expect(try await cluster.call("GET", Self.maps + "?timeout=" + text).code == 200, "\(text)")
        }
    }

    // MARK: - Warnings

    @Test func kindsWithSuccessorsWarn() async throws {
        let cluster = try await Cluster()
        let texts = [
            "/api/v1/componentstatuses": "v1 ComponentStatus is deprecated in v1.19+",
            "/api/v1/endpoints": "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
        ]
        for (path, text) in texts {
            let answer = try await cluster.call("GET", path)
            #expect(answer.headers.values("Warning") == ["299 - \"\(text)\""])
        }
        #expect(try await cluster.call("GET", "/api/v1/pods").headers["Warning"] == nil)
    }

    static let doubtful: [(String, JSON, String)] = [
        (
            "services", ["spec": ["clusterIP": "None", "externalIPs": ["1.2.3.4"]]],
            "spec.externalIPs is ignored for headless services"
        ),
        (
            "services", ["spec": ["ports": [["port": 80]], "externalName": "a.test"]],
            "spec.externalName is ignored when spec.type is not \\\"ExternalName\\\""
        ),
        (
            "services", ["spec": ["ports": [["port": 80]], "trafficDistribution": "PreferClose"]],
            "spec.trafficDistribution: \\\"PreferClose\\\" is deprecated; use \\\"PreferSameZone\\\""
        ),
        (
            "persistentvolumeclaims",
            [
                "spec": ["accessModes": ["ReadWriteOnce"], "resources": ["requests": ["storage": "1500m"]]]
            ], "spec.resources.requests[storage]: fractional byte value \\\"1500m\\\" is invalid, must be an integer"
        ),
        (
            "pods",
            [
                "spec": [
                    "containers": [["name": "c", "image": "i"]],
                    "volumes": [["name": "v", "rbd": ["image": "i", "monitors": ["m"]]]],
                ]
            ], "spec.volumes[0].rbd: deprecated in v1.28, non-functional in v1.31+"
        ),
        (
            "pods",
            [
                "spec": [
                    "containers": [["name": "c", "image": "i"]],
                    "topologySpreadConstraints": [
                        ["maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway"]
                    ],
                ]
            ],
            "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod"
        ),
    ]

    @Test(arguments: doubtful)
    func whatIsDoubtfulWarns(_ resource: String, _ body: JSON, _ text: String) async throws {
        let cluster = try await Cluster()
        var body = body
        body["metadata"] = ["name": "x"]
        let answer = try await cluster.call("POST", "/api/v1/namespaces/default/" + resource, body)
        #expect(answer.code == 201, "\(answer.text)")
        #expect(answer.headers.values("Warning") == ["299 - \"\(text)\""])
    }

    @Test func namesThatAreNoHostNamesWarn() async throws {
        let cluster = try await Cluster()
        let made = try await cluster.call(
            "POST", "/api/v1/namespaces/default/pods",
            ["metadata": ["name": "a.b"], "spec": ["containers": [["name": "c", "image": "i"]]]])
        #expect(
            made.headers["Warning"]?.contains(
                "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is "
                    + "recommended: [a lowercase RFC 1123 label must consist of") == true, "\(made.headers)")
    }

    // MARK: - Forms

    @Test func whatIsNotSpokenIsSaid() async throws {
        let cluster = try await Cluster()
        for accept in ["text/html", "application/json;as=Widget;g=meta.k8s.io;v=v1", "application/json;q=0"] {
            let answer = try await cluster.call("GET", Self.maps, headers: ["Accept": HTTPHeaderFields.Value(accept)])
            #expect(answer.code == 406 && answer.reason == "NotAcceptable", "\(accept)")
        }
        let body = try await cluster.send("POST", Self.maps, Array("a".utf8), type: "text/plain")
        #expect(body.code == 415 && body.reason == "UnsupportedMediaType")
        let patch = try await cluster.send("PATCH", Self.maps + "/a", Array("{}".utf8), type: "application/json")
        #expect(patch.code == 415)
        #expect(
            patch.message
                == "the body of the request was in an unknown format - accepted media types include: "
                + "application/json-patch+json, application/merge-patch+json, "
                + "application/strategic-merge-patch+json, application/apply-patch+yaml")
    }

    // MARK: - Health

    @Test func checksCanBeLeftOut() async throws {
        struct State { static let broken = HealthCheck("backend") { "it is broken" } }
        let cluster = try await Cluster { $0.healthChecks = [State.broken] }
        let failed = try await cluster.call("GET", "/readyz")
        #expect(failed.code == 500)
        #expect(
            failed.text
                == "[+]ping ok\n[+]log ok\n[+]etcd ok\n[-]backend failed: reason withheld\nreadyz check failed\n")
        let one = try await cluster.call("GET", "/readyz/backend")
        #expect(one.code == 500 && one.text == "internal server error: it is broken\n")
        #expect(try await cluster.call("GET", "/readyz/none").code == 404)
        let without = try await cluster.call("GET", "/readyz?verbose&exclude=backend&exclude=none")
        #expect(without.code == 200)
        #expect(
            without.text
                == "[+]ping ok\n[+]log ok\n[+]etcd ok\n[+]backend excluded: ok\n"
                + "warn: some health checks cannot be excluded: no matches for \"none\"\nreadyz check passed\n")
        #expect(try await cluster.call("GET", "/readyz?exclude=backend").text == "ok")
    }

    @Test func aServerIsHealthyWhenItsStartHooksAreDone() async throws {
        let hooks = StartHooks()
        let cluster = try await Cluster { $0.healthChecks = hooks.checks }
        let roles = "poststarthook/rbac/bootstrap-roles"
        hooks.finish(StartHooks.bootstrap)
        #expect(try await cluster.call("GET", "/livez/informer-sync").text == "ok")
        #expect(try await cluster.call("GET", "/livez/\(roles)").text == "internal server error: not finished\n")
        #expect(try await cluster.call("GET", "/livez").text.contains("[-]\(roles) failed: reason withheld\n"))
        let levels = try await cluster.call("GET", "/metrics/slis").text
        #expect(levels.contains("kubernetes_healthcheck{name=\"\(roles)\",type=\"livez\"} 0\n"))
        #expect(levels.contains("kubernetes_healthcheck{name=\"ping\",type=\"readyz\"} 1\n"))
        hooks.finish([StartHooks.roles])
        #expect(try await cluster.call("GET", "/readyz").text == "ok")
        hooks.stop()
        #expect(try await cluster.call("GET", "/livez").text == "ok")
        #expect(try await cluster.call("GET", "/readyz/shutdown").code == 500)
    }

    @Test func attemptsAndServiceLevelsAreCounted() async throws {
        let cluster = try await Cluster()
        cluster.server.addMetrics { "more 1\n" }
        _ = try await cluster.call("GET", Self.maps)
        let text = try await cluster.call("GET", "/metrics").text
        #expect(text.contains("\nauthentication_attempts{result=\"success\"} "))
        #expect(text.contains("\nauthentication_attempts{result=\"failure\"} 0\n"))
        #expect(text.contains("\napiserver_request_sli_duration_seconds_bucket{"))
        #expect(
            text.contains("\nmore 1\n") && text.contains("\nprocess_open_fds ") && text.contains("\nprocess_max_fds "))
    }
}
