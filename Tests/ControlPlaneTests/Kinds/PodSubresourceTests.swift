import Codecs
import ControlPlane
import KubeAPI
import Testing

/// `pods/ephemeralcontainers` and `pods/resize`.
@Suite struct PodSubresourceTests {
    private static let pods = "/api/v1/namespaces/default/pods"
    private static let strategic = "application/strategic-merge-patch+json"

    private func cluster(_ resources: JSON = [:]) async throws -> Cluster {
        let cluster = try await Cluster()
        var pod = cluster.pod("p")
        pod.json["spec"]["containers"][0]["resources"] = resources
        let made = try await cluster.call("POST", Self.pods, pod.json)
        #expect(made.code == 201, "\(made.text)")
        return cluster
    }

    private func debug(_ cluster: Cluster, _ container: JSON) async throws -> Cluster.Answer {
        try await cluster.call(
            "PATCH", Self.pods + "/p/ephemeralcontainers", ["spec": ["ephemeralContainers": [container]]],
            type: Self.strategic)
    }

    /// As `kubectl debug` does it.
    @Test func debugContainersAreAddedAndStay() async throws {
        let cluster = try await cluster()
        let added = try await debug(
            cluster, ["name": "d", "image": "busybox", "stdin": true, "tty": true, "targetContainerName": "main"])
        #expect(added.code == 200, "\(added.text)")
        let container = added.json["spec"]["ephemeralContainers"][0]
        #expect(container["imagePullPolicy"] == "Always" && container["terminationMessagePolicy"] == "File")
        #expect(added.json["metadata"]["generation"] == 2)
        let second = try await debug(cluster, ["name": "e", "image": "busybox"])
        #expect(second.json["spec"]["ephemeralContainers"].elements.count == 2, "\(second.text)")
        let changed = try await debug(cluster, ["name": "d", "image": "alpine"])
        #expect(
            changed.code == 422
                && changed.message.contains(
                    "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"d\" may not be changed")
        )
        var without = second.json
        without["spec"]["ephemeralContainers"] = .null
        let removed = try await cluster.call("PUT", Self.pods + "/p/ephemeralcontainers", without)
        #expect(removed.code == 422 && removed.message.contains("may not be removed"), "\(removed.text)")
        let aside = try await cluster.call("PUT", Self.pods + "/p", without)
        #expect(aside.code == 422 && aside.message.contains("pod updates may not change fields other than"))
    }

    static let refusals: [(JSON, String)] = [
        (["name": "main", "image": "i"], "spec.ephemeralContainers[0].name: Duplicate value: \"main\""),
        (
            ["name": "d", "image": "i", "targetContainerName": "x"],
            "spec.ephemeralContainers[0].targetContainerName: Not found: \"x\""
        ),
        (
            ["name": "d", "image": "i", "ports": [["containerPort": 80]]],
            "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container"
        ),
        (
            ["name": "d", "image": "i", "resources": ["limits": ["cpu": "1"]]],
            "spec.ephemeralContainers[0].resources: Forbidden: cannot be set for an Ephemeral Container"
        ),
        (["name": "d"], "spec.ephemeralContainers[0].image: Required value"),
    ]

    @Test(arguments: refusals) func badDebugContainersAreRefused(_ container: JSON, _ text: String) async throws {
        let answer = try await debug(try await cluster(), container)
        #expect(answer.code == 422 && answer.message.contains(text), "\(answer.text)")
    }

    @Test func onlyTheContainersOfAPodAreChangedThere() async throws {
        let cluster = try await cluster()
        let answer = try await cluster.call(
            "PATCH", Self.pods + "/p/ephemeralcontainers",
            [
                "metadata": ["labels": ["a": "b"]],
                "spec": ["nodeName": "n", "ephemeralContainers": [["name": "d", "image": "i"]]],
            ], type: Self.strategic)
        #expect(
            answer.code == 200 && answer.json["metadata"]["labels"].isNull && answer.json["spec"]["nodeName"].isNull)
        #expect(answer.json["spec"]["ephemeralContainers"].elements.count == 1)
    }

    // MARK: - Resizing

    private func resize(_ cluster: Cluster, _ container: JSON) async throws -> Cluster.Answer {
        var container = container
        container["name"] = "main"
        return try await cluster.call(
            "PATCH", Self.pods + "/p/resize", ["spec": ["containers": [container]]], type: Self.strategic)
    }

    @Test func resourcesOfAPodChange() async throws {
        let cluster = try await cluster(["requests": ["cpu": "100m", "memory": "64Mi"]])
        let answer = try await resize(
            cluster, ["image": "other", "resources": ["requests": ["cpu": "200m"], "limits": ["cpu": "1"]]])
        #expect(answer.code == 200, "\(answer.text)")
        let container = answer.json["spec"]["containers"][0]
        #expect(container["resources"]["requests"] == ["cpu": "200m", "memory": "64Mi"])
        #expect(container["resources"]["limits"] == ["cpu": "1"] && container["image"] == "busybox")
        #expect(answer.json["metadata"]["generation"] == 2)
        let plain = try await cluster.call(
            "PATCH", Self.pods + "/p",
            ["spec": ["containers": [["name": "main", "resources": ["requests": ["cpu": "3"]]]]]],
            type: Self.strategic)
        #expect(plain.code == 422, "the pod's own endpoint does not resize")
    }

    @Test func theClassOfServiceStays() async throws {
        let cluster = try await cluster(["requests": ["cpu": "100m"]])
        let answer = try await resize(cluster, ["resources": ["requests": ["cpu": .null]]])
        #expect(answer.code == 422)
        #expect(answer.message.contains("Pod QOS Class may not change as a result of resizing"), "\(answer.text)")
        #expect(
            answer.message.contains(
                "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"))
    }

    @Test func otherResourcesDoNotChange() async throws {
        let cluster = try await cluster(["requests": ["cpu": "100m"]])
        let answer = try await resize(cluster, ["resources": ["requests": ["ephemeral-storage": "1Gi"]]])
        #expect(
            answer.code == 422 && answer.message.contains("spec: Forbidden: only cpu and memory resources are mutable"))
    }

    @Test func aNodeThatCannotResizeIsNotAsked() async throws {
        let cluster = try await cluster(["requests": ["cpu": "100m"]])
        var pod = try await cluster.client.get(.pods, namespace: "default", name: "p")
        pod.json["status"]["containerStatuses"] = [
            [
                "name": "main", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
                "state": ["running": ["startedAt": "2026-01-01T00:00:00Z"]],
            ]
        ]
        _ = try await cluster.client.updateStatus(.pods, pod)
        let answer = try await resize(cluster, ["resources": ["requests": ["cpu": "200m"]]])
        #expect(answer.code == 422 && answer.message.contains("Pod running on node without support for resize"))
    }
}
