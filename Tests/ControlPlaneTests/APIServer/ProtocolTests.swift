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
