import Codecs
import ControlPlane
import KubeAPI
import Testing
import Transport

@Suite struct ServerSideApplyTests {
    static let maps = "/api/v1/namespaces/default/configmaps"
    static let deployments = "/apis/apps/v1/namespaces/default/deployments"
    static let type = "application/apply-patch+yaml"

    private func config(_ data: JSON) -> JSON {
        ["apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "m"], "data": data]
    }
    private func deployment(replicas: Int64?) -> JSON {
        var json: JSON = [
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": ["name": "web"],
            "spec": [
                "selector": ["matchLabels": ["app": "web"]],
                "template": [
                    "metadata": ["labels": ["app": "web"]],
                    "spec": ["containers": [["name": "c", "image": "busybox"]]],
                ],
            ],
        ]
        if let replicas { json["spec"]["replicas"] = .int(replicas) }
        return json
    }
    private func managers(_ json: JSON) -> [String] {
        json["metadata"]["managedFields"].elements.map {
            let subresource = $0["subresource"].string.map { "/" + $0 } ?? ""
            return "\($0["manager"].string ?? "")\(subresource) \($0["operation"].string ?? "")"
        }
    }

    @Test func createdByApplyThenUnchanged() async throws {
        let cluster = try await Cluster()
        let made = try await cluster.call(
            "PATCH", Self.maps + "/m?fieldManager=a", config(["k": "v"]), type: Self.type)
        #expect(made.code == 201)
        #expect(
            made.json["metadata"]["managedFields"].elements.map { $0["fieldsV1"].text } == [#"{"f:data":{"f:k":{}}}"#])
        cluster.clock.advance(by: .seconds(5))
        let again = try await cluster.call(
            "PATCH", Self.maps + "/m?fieldManager=a", config(["k": "v"]), type: Self.type)
        #expect(again.code == 200 && again.json == made.json)
        let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: m\ndata:\n  other: x\n"
        let changed = try await cluster.send(
            "PATCH", Self.maps + "/m?fieldManager=a", Array(yaml.utf8), type: Self.type)
        #expect(changed.code == 200 && changed.json["data"] == ["other": "x"])
    }

    @Test func optionsAreChecked() async throws {
        let cluster = try await Cluster()
        let anonymous = try await cluster.call("PATCH", Self.maps + "/m", config([:]), type: Self.type)
        #expect(anonymous.code == 422)
        #expect(
            anonymous.message
                == "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
        )
        let forced = try await cluster.call(
            "PATCH", Self.maps + "/m?force=true", ["data": [:]], type: "application/merge-patch+json")
        #expect(forced.code == 422 && forced.message.contains("force: Forbidden: may not be specified for non-apply"))
        let cbor = try await cluster.send(
            "PATCH", Self.maps + "/m?fieldManager=a", [0xA0], type: "application/apply-patch+cbor")
        #expect(cbor.code == 415)
        let other = try await cluster.call(
            "PATCH", Self.maps + "/n?fieldManager=a", config([:]), type: Self.type)
        #expect(other.message == "the name of the object (m) does not match the name on the URL (n)")
        let broken = try await cluster.send(
            "PATCH", Self.maps + "/m?fieldManager=a", Array("a: [".utf8), type: Self.type)
        #expect(broken.code == 400 && broken.message.hasPrefix("error decoding YAML: "))
    }

    @Test func dryRunStoresNothing() async throws {
        let cluster = try await Cluster()
        let made = try await cluster.call(
            "PATCH", Self.maps + "/m?fieldManager=a&dryRun=All", config(["k": "v"]), type: Self.type)
        #expect(made.code == 201 && managers(made.json) == ["a Apply"])
        #expect(try await cluster.call("GET", Self.maps + "/m").code == 404)
    }

    @Test func scaleTakesTheReplicas() async throws {
        let cluster = try await Cluster()
        _ = try await cluster.call(
            "PATCH", Self.deployments + "/web?fieldManager=a", deployment(replicas: 1), type: Self.type)
        let scaled = try await cluster.call(
            "PATCH", Self.deployments + "/web/scale?fieldManager=kubectl", ["spec": ["replicas": 4]],
            type: "application/merge-patch+json")
        #expect(scaled.code == 200)
        let got = try await cluster.call("GET", Self.deployments + "/web")
        #expect(managers(got.json) == ["a Apply", "kubectl/scale Update"])
        let refused = try await cluster.call(
            "PATCH", Self.deployments + "/web?fieldManager=a", deployment(replicas: 1), type: Self.type)
        #expect(refused.code == 409)
        #expect(
            refused.message
                == #"Apply failed with 1 conflict: conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas"#
        )
        #expect(refused.json["details"]["causes"][0]["reason"] == "FieldManagerConflict")
        let forced = try await cluster.call(
            "PATCH", Self.deployments + "/web?fieldManager=a&force=true", deployment(replicas: 1), type: Self.type)
        #expect(forced.json["spec"]["replicas"] == 1 && managers(forced.json) == ["a Apply"])
        let applied = try await cluster.call(
            "PATCH", Self.deployments + "/web/scale?fieldManager=hpa&force=true",
            ["apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": ["name": "web"], "spec": ["replicas": 6]],
            type: Self.type)
        #expect(applied.code == 200 && applied.json["spec"]["replicas"] == 6)
        #expect(
            managers(try await cluster.call("GET", Self.deployments + "/web").json) == ["a Apply", "hpa/scale Apply"])
    }

    @Test func statusHasItsOwnManagers() async throws {
        let cluster = try await Cluster()
        _ = try await cluster.call(
            "PATCH", Self.deployments + "/web?fieldManager=a", deployment(replicas: 1), type: Self.type)
        let status: JSON = [
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": ["name": "web"],
            "spec": ["replicas": 99], "status": ["replicas": 2],
        ]
        let applied = try await cluster.call(
            "PATCH", Self.deployments + "/web/status?fieldManager=b", status, type: Self.type)
        #expect(applied.code == 200)
        #expect(applied.json["status"]["replicas"] == 2 && applied.json["spec"]["replicas"] == 1)
        let entry = applied.json["metadata"]["managedFields"].elements.first { $0["manager"] == "b" }
        #expect(entry?["subresource"] == "status")
        #expect(entry?["fieldsV1"].text == #"{"f:status":{"f:replicas":{}}}"#)
        // Status sent to the object itself is nobody's.
        var main = deployment(replicas: 1)
        main["status"] = ["replicas": 50]
        let ignored = try await cluster.call(
            "PATCH", Self.deployments + "/web?fieldManager=a", main, type: Self.type)
        #expect(ignored.code == 200 && ignored.json["status"]["replicas"] == 2)
    }

    @Test func writesAreTrackedByAgentAndVersion() async throws {
        let cluster = try await Cluster()
        let agent: HTTPHeaderFields = ["User-Agent": "helm/v3.15 (linux)"]
        var made = try await cluster.call(
            "POST", Self.maps, ["metadata": ["name": "m"], "data": ["a": "1"]], headers: agent)
        #expect(managers(made.json) == ["helm Update"])
        made.json["data"]["b"] = "2"
        let put = try await cluster.call("PUT", Self.maps + "/m?fieldManager=me", made.json)
        #expect(managers(put.json).sorted() == ["helm Update", "me Update"])
        let mine = put.json["metadata"]["managedFields"].elements.first { $0["manager"] == "me" }
        #expect(mine?["fieldsV1"].text == #"{"f:data":{"f:b":{}}}"#)
    }

    @Test func managedFieldsCanBeTakenAwayAndEdited() async throws {
        let cluster = try await Cluster()
        _ = try await cluster.call("POST", Self.maps + "?fieldManager=x", config(["a": "1"]))
        // What kubectl does when it takes over from its client-side apply.
        let moved: JSON = [
            [
                "op": "replace", "path": "/metadata/managedFields",
                "value": [
                    [
                        "manager": "kubectl", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1",
                        "fieldsV1": ["f:data": ["f:a": [:]]],
                    ]
                ],
            ]
        ]
        let edited = try await cluster.call(
            "PATCH", Self.maps + "/m", moved, type: "application/json-patch+json")
        #expect(edited.code == 200 && managers(edited.json) == ["kubectl Apply"])
        var object = edited.json
        object["metadata"]["managedFields"] = [["manager": "x", "operation": "Bad"]]
        let kept = try await cluster.call("PUT", Self.maps + "/m", object)
        #expect(managers(kept.json) == ["kubectl Apply"])
        let stripped = try await cluster.call(
            "PATCH", Self.maps + "/m", ["metadata": ["managedFields": [[:]]]], type: "application/merge-patch+json")
        #expect(stripped.code == 200 && stripped.json["metadata"]["managedFields"].isNull)
        let later = try await cluster.call(
            "PATCH", Self.maps + "/m", ["data": ["b": "2"]], type: "application/merge-patch+json")
        #expect(later.json["metadata"]["managedFields"].isNull)
    }

    @Test func everyAnswerShowsThem() async throws {
        let cluster = try await Cluster()
        let watch = try await cluster.watch(Self.maps + "?watch=true")
        _ = try await cluster.call("POST", Self.maps + "?fieldManager=x", config(["a": "1"]))
        let event = await watch.events(1)
        #expect(managers(event.first?["object"] ?? .null) == ["x Update"])
        watch.cancel()
        let list = try await cluster.call("GET", Self.maps)
        #expect(managers(list.json["items"][0]) == ["x Update"])
        let partial = try await cluster.call(
            "GET", Self.maps + "/m", headers: ["Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"]
        )
        #expect(managers(partial.json) == ["x Update"])
        let yaml = try await cluster.call("GET", Self.maps + "/m", headers: ["Accept": "application/yaml"])
        #expect(yaml.text.contains("fieldsV1:"))
        let deleted = try await cluster.call("DELETE", Self.maps)
        #expect(managers(deleted.json["items"][0]) == ["x Update"])
    }

    @Test func finalizersAndDeletionKeepThem() async throws {
        let cluster = try await Cluster()
        var object = config(["a": "1"])
        object["metadata"]["finalizers"] = ["example.com/wait"]
        _ = try await cluster.call("POST", Self.maps + "?fieldManager=x", object)
        let pending = try await cluster.call("DELETE", Self.maps + "/m")
        #expect(managers(pending.json) == ["x Update"])
        let gone = try await cluster.call(
            "PATCH", Self.maps + "/m?fieldManager=y", ["metadata": ["finalizers": nil]],
            type: "application/merge-patch+json")
        #expect(gone.code == 200)
        #expect(try await cluster.call("GET", Self.maps + "/m").code == 404)
    }

    @Test func componentsSeeAndKeepNone() async throws {
        let cluster = try await Cluster()
        _ = try await cluster.call("POST", Self.maps + "?fieldManager=x", config(["a": "1"]))
        var seen = try await cluster.client.get(.configMaps, namespace: "default", name: "m")
        #expect(seen.metadata["managedFields"].isNull)
        seen.json["data"]["b"] = "2"
        seen = try await cluster.client.update(.configMaps, seen)
        #expect(seen.metadata["managedFields"].isNull)
        let got = try await cluster.call("GET", Self.maps + "/m")
        #expect(managers(got.json).sorted() == ["k3s Update", "x Update"])
    }
}
