import Codecs
import ControlPlane
import KubeAPI
import Store
import Testing
import Transport

@Suite struct HandlerTests {
    static let maps = "/api/v1/namespaces/default/configmaps"

    @Test func verbsOfOneObject() async throws {
        let cluster = try await Cluster()
        let made = try await cluster.call("POST", Self.maps, ["metadata": ["name": "a"], "data": ["k": "v"]])
        #expect(made.code == 201)
        #expect(made.json["kind"] == "ConfigMap" && made.json["apiVersion"] == "v1")
        #expect(made.headers["Content-Type"] == "application/json")
        let got = try await cluster.call("GET", Self.maps + "/a")
        #expect(got.code == 200 && got.json == made.json)
        var changed = got.json
        changed["data"]["k"] = "w"
        let put = try await cluster.call("PUT", Self.maps + "/a", changed)
        #expect(put.code == 200 && put.json["data"]["k"] == "w")
        let merged = try await cluster.call(
            "PATCH", Self.maps + "/a", ["data": ["l": "m"]], type: "application/merge-patch+json")
        #expect(merged.json["data"] == ["k": "w", "l": "m"])
        let strategic = try await cluster.call(
            "PATCH", Self.maps + "/a", ["data": ["l": nil]], type: "application/strategic-merge-patch+json")
        #expect(strategic.json["data"] == ["k": "w"])
        let json = try await cluster.call(
            "PATCH", Self.maps + "/a", [["op": "replace", "path": "/data/k", "value": "x"]],
            type: "application/json-patch+json")
        #expect(json.json["data"] == ["k": "x"])
        let gone = try await cluster.call("DELETE", Self.maps + "/a")
        #expect(gone.code == 200)
        #expect(
            gone.json == [
                "kind": "Status", "apiVersion": "v1", "metadata": [:], "status": "Success",
                "details": ["name": "a", "kind": "configmaps", "uid": made.json["metadata"]["uid"]],
            ])
        let absent = try await cluster.call("GET", Self.maps + "/a")
        #expect(
            absent.json == [
                "kind": "Status", "apiVersion": "v1", "metadata": [:], "status": "Failure",
                "message": "configmaps \"a\" not found", "reason": "NotFound",
                "details": ["name": "a", "kind": "configmaps"], "code": 404,
            ])
    }

    static let refusals: [(String, String, String, Int, String, String)] = [
        (
            "POST", maps, #"{"metadata":{}}"#, 422, "Invalid",
            "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required"
        ),
        (
            "POST", maps, #"{"metadata":{"name":"x"},"data":{"a":1}}"#, 400, "BadRequest",
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.data of type string"
        ),
        (
            "POST", maps + "?fieldValidation=Strict", #"{"metadata":{"name":"x"},"dta":{}}"#, 400, "BadRequest",
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"dta\""
        ),
        (
            "POST", maps, "{broken", 400, "BadRequest",
            "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: invalid character 'b' looking for beginning of object key string ({broken)"
        ),
        (
            "POST", maps, #"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"}}"#, 400, "BadRequest",
            "Pod in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Pod) to (core.ConfigMap): unknown conversion"
        ),
        (
            "POST", maps, #"{"apiVersion":"v1","kind":"Widget"}"#, 400, "BadRequest",
            "Widget in version \"v1\" cannot be handled as a ConfigMap: no kind \"Widget\" is registered for version \"v1\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""
        ),
        (
            "POST", "/api/v1/namespaces/nowhere/configmaps", #"{"metadata":{"name":"x"}}"#, 404, "NotFound",
            "namespaces \"nowhere\" not found"
        ),
        (
            "POST", maps, #"{"metadata":{"name":"x","namespace":"other"}}"#, 400, "BadRequest",
            "the namespace of the provided object does not match the namespace sent on the request"
        ),
        (
            "POST", "/apis/apps/v1/namespaces/default/widgets", "{}", 404, "NotFound",
            "the server could not find the requested resource"
        ),
        (
            "PUT", maps + "/there", #"{"metadata":{"name":"other"}}"#, 400, "BadRequest",
            "the name of the object (other) does not match the name on the URL (there)"
        ),
        (
            "PUT", maps + "/there", #"{"metadata":{"name":"there","resourceVersion":"1"}}"#, 409, "Conflict",
            "Operation cannot be fulfilled on configmaps \"there\": the object has been modified; please apply your changes to the latest version and try again"
        ),
        (
            "PUT", maps + "/absent", #"{"metadata":{"name":"absent"}}"#, 404, "NotFound",
            "configmaps \"absent\" not found"
        ),
        (
            "POST", maps, #"{"metadata":{"name":"there"}}"#, 409, "AlreadyExists", "configmaps \"there\" already exists"
        ),
        (
            "DELETE", maps + "/there", #"{"preconditions":{"uid":"nobody"}}"#, 409, "Conflict",
            "Precondition failed: UID in precondition: nobody"
        ),
        ("PATCH", maps + "/there", "{}", 415, "UnsupportedMediaType", "accepted media types include"),
        ("POST", maps + "/there", "{}", 405, "MethodNotAllowed", "the server does not allow this method"),
        ("GET", maps + "?labelSelector=a%20b%20c", "", 400, "BadRequest", "unable to parse"),
        (
            "GET", maps + "?fieldSelector=data.k%3Dv", "", 400, "BadRequest",
            "field selector \"data.k=v\": \"data.k\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        ),
        (
            "GET", "/api/v1/pods?fieldSelector=spec.foo%3Dv", "", 400, "BadRequest",
            "field label not supported: spec.foo"
        ),
        ("GET", maps + "?resourceVersion=nonsense", "", 400, "BadRequest", "resourceVersion"),
        ("GET", maps + "?resourceVersion=99999", "", 504, "Timeout", "Too large resource version: 99999, current: "),
        ("GET", maps + "?continue=nonsense", "", 400, "BadRequest", "continue key is not valid"),
        (
            "DELETE", "/api/v1/namespaces/default", "", 403, "Forbidden",
            "namespaces \"default\" is forbidden: this namespace may not be deleted"
        ),
        ("DELETE", "/api/v1/namespaces", "", 405, "MethodNotAllowed", "the server does not allow this method"),
        ("GET", "/api/v1/nowhere", "", 404, "NotFound", "the server could not find the requested resource"),
        (
            "GET", "/api/v1/namespaces/default/nodes", "", 404, "NotFound",
            "the server could not find the requested resource"
        ),
    ]

    @Test(arguments: refusals)
    func whatIsWrongIsSaid(
        _ method: String, _ target: String, _ body: String, _ code: Int, _ reason: String, _ message: String
    ) async throws {
        let cluster = try await Cluster()
        _ = try await cluster.call("POST", Self.maps, ["metadata": ["name": "there"]])
        let answer = try await cluster.send(
            method, target, Array(body.utf8), type: method == "PATCH" ? "text/plain" : "application/json")
        #expect(answer.code == code)
        #expect(answer.reason == reason)
        #expect(answer.message.contains(message), "\(answer.message)")
        #expect(answer.json["kind"] == "Status" && answer.json["code"] == .int(Int64(code)))
    }

    @Test func aBodyOfFourMegabytesIsRefused() async throws {
        let cluster = try await Cluster()
        let big = JSON.string(String(repeating: "x", count: 4 << 20))
        let answer = try await cluster.call("POST", Self.maps, ["metadata": ["name": "big"], "data": ["k": big]])
        #expect(answer.code == 413 && answer.reason == "RequestEntityTooLarge")
        let long = JSON.string(String(repeating: "x", count: 2 << 20))
        let invalid = try await cluster.call("POST", Self.maps, ["metadata": ["name": "big"], "data": ["k": long]])
        #expect(invalid.code == 422)
        #expect(invalid.message == "ConfigMap \"big\" is invalid: []: Too long: may not be more than 1048576 bytes")
    }

    @Test func yamlGoesInAndOut() async throws {
        let cluster = try await Cluster()
        let made = try await cluster.send(
            "POST", Self.maps, Array("metadata:\n  name: yam\ndata:\n  k: \"1\"\n".utf8), type: "application/yaml",
            headers: ["Accept": "application/yaml"])
        #expect(made.code == 201)
        #expect(made.headers["Content-Type"] == "application/yaml")
        #expect(made.text.hasPrefix("apiVersion: v1\ndata:\n  k: \"1\"\nkind: ConfigMap\n"))
        let broken = try await cluster.send("POST", Self.maps, Array("a: b: c".utf8), type: "application/yaml")
        #expect(broken.code == 400)
        #expect(broken.message.contains("yaml: "), "\(broken.message)")
    }

    @Test func clientsThatPreferCBORGetJSON() async throws {
        let cluster = try await Cluster()
        let mixed = try await cluster.call(
            "GET", Self.maps, headers: ["Accept": "application/cbor,application/json"])
        #expect(mixed.code == 200 && mixed.headers["Content-Type"] == "application/json")
        let only = try await cluster.call("GET", Self.maps, headers: ["Accept": "application/cbor"])
        #expect(only.code == 406)
        #expect(
            only.message
                == "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"
        )
        let body = try await cluster.send("POST", Self.maps, [0xD9, 0xD9, 0xF7, 0xA0], type: "application/cbor")
        #expect(body.code == 415)
        #expect(
            body.message
                == "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf"
        )
    }

    @Test func protobufBodiesAreRead() async throws {
        let cluster = try await Cluster()
        func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] { [number << 3 | 2, UInt8(bytes.count)] + bytes }
        let object =
            field(1, field(1, Array("pb".utf8))) + field(2, field(1, Array("k".utf8)) + field(2, Array("v".utf8)))
        let type = field(1, Array("v1".utf8)) + field(2, Array("ConfigMap".utf8))
        let envelope: [UInt8] = [0x6B, 0x38, 0x73, 0] + field(1, type) + field(2, object)
        let made = try await cluster.send("POST", Self.maps, envelope, type: "application/vnd.kubernetes.protobuf")
        #expect(made.code == 201 && made.json["data"] == ["k": "v"], "\(made.text)")
        let broken = try await cluster.send(
            "POST", Self.maps, [0x6B, 0x38, 0x73, 0, 0xFF], type: "application/vnd.kubernetes.protobuf")
        #expect(broken.code == 400, "\(broken.text)")
    }

    @Test func unknownFieldsAreAWarningUnlessAskedOtherwise() async throws {
        let cluster = try await Cluster()
        let warned = try await cluster.call("POST", Self.maps, ["metadata": ["name": "w"], "dta": 1])
        #expect(warned.code == 201)
        #expect(warned.headers["Warning"] == "299 - \"unknown field \\\"dta\\\"\"")
        let ignored = try await cluster.call(
            "POST", Self.maps + "?fieldValidation=Ignore", ["metadata": ["name": "i"], "dta": 1])
        #expect(ignored.code == 201 && ignored.headers["Warning"] == nil)
    }

    @Test func dryRunsChangeNothing() async throws {
        let cluster = try await Cluster()
        let revision = cluster.store.revision
        let made = try await cluster.call("POST", Self.maps + "?dryRun=All", ["metadata": ["name": "d"]])
        #expect(made.code == 201 && made.json["metadata"]["uid"].string != nil)
        #expect(made.json["metadata"]["resourceVersion"].isNull)
        #expect(cluster.store.revision == revision)
        _ = try await cluster.call("POST", Self.maps, ["metadata": ["name": "d"]])
        let again = try await cluster.call("POST", Self.maps + "?dryRun=All", ["metadata": ["name": "d"]])
        #expect(again.code == 409)
        let deleted = try await cluster.call("DELETE", Self.maps + "/d?dryRun=All")
        #expect(deleted.code == 200)
        #expect(try await cluster.call("GET", Self.maps + "/d").code == 200)
        let bad = try await cluster.call("POST", Self.maps + "?dryRun=Some", ["metadata": ["name": "e"]])
        #expect(bad.code == 422)
    }

    @Test func listsComeInPagesOfOneRevision() async throws {
        let cluster = try await Cluster()
        for i in 0..<25 {
            let name = "m\(i < 10 ? "0" : "")\(i)"
            _ = try await cluster.client.create(.configMaps, cluster.configMap(name, labels: ["n": "\(i % 2)"]))
        }
        var names: [String] = []
        var token = ""
        var revision: JSON = .null
        repeat {
            let page = try await cluster.call("GET", Self.maps + "?limit=10&continue=" + token)
            #expect(page.json["kind"] == "ConfigMapList")
            if revision.isNull {
                revision = page.json["metadata"]["resourceVersion"]
                #expect(page.json["metadata"]["remainingItemCount"] == 15)
                _ = try await cluster.client.create(.configMaps, cluster.configMap("m99"))
            }
            #expect(page.json["metadata"]["resourceVersion"] == revision)
            names += page.json["items"].elements.compactMap { $0["metadata"]["name"].string }
            token = page.json["metadata"]["continue"].string ?? ""
        } while !token.isEmpty
        #expect(names.count == 25 && names == names.sorted() && !names.contains("m99"))
        let half = try await cluster.call("GET", Self.maps + "?limit=10&labelSelector=n%3D1")
        #expect(half.json["items"].elements.count == 10)
        #expect(half.json["metadata"]["remainingItemCount"].isNull)
        let rest = try await cluster.call(
            "GET",
            Self.maps + "?labelSelector=n%3D1&limit=10&continue=" + (half.json["metadata"]["continue"].string ?? ""))
        #expect(rest.json["items"].elements.count == 2)
        let one = try await cluster.call("GET", "/api/v1/configmaps?fieldSelector=metadata.name%3Dm03")
        #expect(one.json["items"].elements.count == 1)
        let old = try await cluster.call(
            "GET", Self.maps + "?resourceVersionMatch=Exact&resourceVersion=" + (revision.string ?? ""))
        #expect(old.json["items"].elements.count == 25)
        let deleted = try await cluster.call("DELETE", Self.maps + "?labelSelector=n%3D1")
        #expect(deleted.code == 200 && deleted.json["items"].elements.count == 12)
        #expect(try await cluster.call("GET", Self.maps).json["items"].elements.count == 14)
    }

    @Test func anExpiredTokenSaysWhereToGoOn() async throws {
        let cluster = try await Cluster()
        for i in 0..<4 { _ = try await cluster.client.create(.configMaps, cluster.configMap("m\(i)")) }
        let page = try await cluster.call("GET", Self.maps + "?limit=2")
        let token = page.json["metadata"]["continue"].string ?? ""
        _ = try await cluster.client.create(.configMaps, cluster.configMap("m9"))
        try await cluster.store.compact(to: cluster.store.revision)
        let expired = try await cluster.call("GET", Self.maps + "?limit=2&continue=" + token)
        #expect(expired.code == 410 && expired.reason == "Expired")
        let fresh = expired.json["metadata"]["continue"].string ?? ""
        let rest = try await cluster.call("GET", Self.maps + "?limit=9&continue=" + fresh)
        #expect(rest.json["items"].elements.compactMap { $0["metadata"]["name"].string } == ["m2", "m3", "m9"])
    }

    @Test func tokensExpireAfterFiveMinutes() async throws {
        let cluster = try await Cluster()
        for i in 0..<4 { _ = try await cluster.client.create(.configMaps, cluster.configMap("m\(i)")) }
        let page = try await cluster.call("GET", Self.maps + "?limit=2")
        #expect(page.json["metadata"]["remainingItemCount"] == 2)
        let token = page.json["metadata"]["continue"].string ?? ""
        let compaction = Task { await cluster.server.compactHistory() }
        defer { compaction.cancel() }
        _ = try await cluster.client.create(.configMaps, cluster.configMap("m9"))
        var code = 200
        for _ in 0..<2_000 where code == 200 {
            cluster.clock.advance(by: .seconds(300))
            _ = try await cluster.client.create(.configMaps, cluster.configMap("x\(cluster.store.revision)"))
            try await Task.sleep(for: .milliseconds(2))
            code = try await cluster.call("GET", Self.maps + "?limit=2&continue=" + token).code
        }
        #expect(code == 410)
    }

    @Test func metadataAloneIsEnoughForSome() async throws {
        let cluster = try await Cluster()
        _ = try await cluster.client.create(.configMaps, cluster.configMap("a", ["k": "v"]))
        let one = try await cluster.call(
            "GET", Self.maps + "/a", headers: ["Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"]
        )
        #expect(one.json["kind"] == "PartialObjectMetadata" && one.json["data"].isNull)
        #expect(one.json["metadata"]["name"] == "a")
        let list = try await cluster.call(
            "GET", Self.maps, headers: ["Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"])
        #expect(list.json["kind"] == "PartialObjectMetadataList" && list.json["items"].elements.count == 1)
    }

    @Test func authenticationAndAuthorizationComeFirst() async throws {
        struct Nobody: Authenticator {
            func authenticate(_ request: HTTPRequest) async -> AuthenticationResult {
                .refused(reason: "no credentials")
            }
        }
        struct Denial: Authorizer {
            func authorize(_ attributes: AuthorizationAttributes) async -> AuthorizationDecision {
                attributes.verb == "get" && attributes.isResource ? .allow(reason: "") : .deny(reason: "")
            }
        }
        let closed = try await Cluster { $0.authenticator = Nobody() }
        let refused = try await closed.call("GET", Self.maps)
        #expect(refused.code == 401 && refused.message == "Unauthorized" && refused.reason == "Unauthorized")

        let cluster = try await Cluster {
            $0.authenticator = FixedUser(UserInfo("jane"))
            $0.authorizer = Denial()
        }
        let list = try await cluster.call("GET", "/api/v1/namespaces/default/pods")
        #expect(list.code == 403)
        #expect(
            list.message
                == "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
        )
        let scale = try await cluster.call("PATCH", "/apis/apps/v1/namespaces/default/deployments/d/scale")
        #expect(
            scale.message
                == "deployments.apps \"d\" is forbidden: User \"jane\" cannot patch resource \"deployments/scale\" in API group \"apps\" in the namespace \"default\""
        )
        let nodes = try await cluster.call("DELETE", "/api/v1/nodes/n")
        #expect(
            nodes.message
                == "nodes \"n\" is forbidden: User \"jane\" cannot delete resource \"nodes\" in API group \"\" at the cluster scope"
        )
        let path = try await cluster.call("GET", "/metrics")
        #expect(path.code == 403 && path.message == "forbidden: User \"jane\" cannot get path \"/metrics\"")
    }

    @Test func versionAndHealthAnswer() async throws {
        let cluster = try await Cluster()
        let version = try await cluster.call("GET", "/version")
        #expect(version.json["gitVersion"] == "v1.36.4+k3s1" && version.json["minor"] == "36")
        for path in ["/healthz", "/livez", "/readyz", "/readyz/ping", "/healthz/etcd"] {
            let answer = try await cluster.call("GET", path)
            #expect(answer.code == 200 && answer.text == "ok")
        }
        let verbose = try await cluster.call("GET", "/readyz?verbose")
        #expect(verbose.text == "[+]ping ok\n[+]log ok\n[+]etcd ok\nreadyz check passed\n")
        await cluster.store.close()
        #expect(try await cluster.call("GET", "/livez").code == 500)
        #expect(
            try await cluster.call("GET", "/metrics").text.contains(
                "apiserver_storage_objects{resource=\"configmaps\"}"))
    }
}
