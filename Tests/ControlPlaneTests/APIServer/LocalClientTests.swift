import Codecs
import ControlPlane
import KubeAPI
import Testing

@Suite struct LocalClientTests {
    @Test func creationFillsInMetadataAndDefaults() async throws {
        let cluster = try await Cluster()
        let pod = try await cluster.client.create(.pods, cluster.pod("a"))
        #expect(pod.uid.utf8.count == 36)
        #expect(pod.resourceVersion > 0)
        #expect(pod.generation == 1)
        #expect(pod.metadata["creationTimestamp"] == "2026-01-01T00:00:00Z")
        #expect(pod.spec["restartPolicy"] == "Always")
        #expect(pod.status["phase"] == "Pending")
        #expect(pod.status["qosClass"] == "BestEffort")
        #expect(try await cluster.client.get(.pods, namespace: "default", name: "a") == pod)
    }

    @Test func generatedNamesGetASuffix() async throws {
        let cluster = try await Cluster()
        var map = cluster.configMap("x")
        map.metadata["name"] = .null
        map.metadata["generateName"] = "cm-"
        let made = try await cluster.client.create(.configMaps, map)
        #expect(made.name.hasPrefix("cm-") && made.name.utf8.count == 8)
    }

    @Test func anUpdateThatChangesNothingWritesNothing() async throws {
        let cluster = try await Cluster()
        let made = try await cluster.client.create(.configMaps, cluster.configMap("a", ["k": "v"]))
        let same = try await cluster.client.update(.configMaps, made)
        #expect(same.resourceVersion == made.resourceVersion)
        var changed = made
        changed.json["data"]["k"] = "w"
        #expect(try await cluster.client.update(.configMaps, changed).resourceVersion > made.resourceVersion)
    }

    @Test func aStaleVersionIsAConflict() async throws {
        let cluster = try await Cluster()
        let made = try await cluster.client.create(.configMaps, cluster.configMap("a", ["k": "v"]))
        var first = made
        first.json["data"]["k"] = "w"
        _ = try await cluster.client.update(.configMaps, first)
        let error = await #expect(throws: APIError.self) { try await cluster.client.update(.configMaps, first) }
        #expect(error?.code == 409)
        #expect(
            error?.message
                == "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your "
                + "changes to the latest version and try again")
    }

    @Test func statusAndSpecHaveTheirOwnEndpoints() async throws {
        let cluster = try await Cluster()
        var pod = try await cluster.client.create(.pods, cluster.pod("a"))
        pod.json["status"]["phase"] = "Running"
        pod.labels = ["x": "y"]
        let spec = try await cluster.client.update(.pods, pod)
        #expect(spec.status["phase"] == "Pending" && spec.labels == ["x": "y"])
        pod.resourceVersion = 0
        pod.json["spec"]["containers"][0]["image"] = "other"
        let status = try await cluster.client.updateStatus(.pods, pod)
        #expect(status.status["phase"] == "Running")
        #expect(status.spec["containers"][0]["image"] == "busybox")
        #expect(status.generation == 1)
    }

    @Test func watchesSeeWhatTheirSelectorSees() async throws {
        let cluster = try await Cluster()
        let client = cluster.client
        _ = try await client.create(.configMaps, cluster.configMap("before", labels: ["app": "a"]))
        let watch = try await client.watch(
            .configMaps, namespace: "default", options: ListOptions(labels: .equal(["app": "a"])))
        #expect(try await watch.next()?.kind == .added)
        var map = try await client.create(.configMaps, cluster.configMap("x"))
        map.labels = ["app": "a"]
        map = try await client.update(.configMaps, map)
        map.json["data"] = ["k": "v"]
        map = try await client.update(.configMaps, map)
        map.labels = [:]
        map = try await client.update(.configMaps, map)
        _ = try await client.delete(.configMaps, namespace: "default", name: "before", options: DeleteOptions())
        var seen: [String] = []
        for _ in 0..<4 {
            let event = try #require(try await watch.next())
            let object = try event.object.decode()
            #expect(object.resourceVersion == event.object.resourceVersion)
            seen.append("\(event.kind.rawValue) \(object.name)")
        }
        #expect(seen == ["ADDED x", "MODIFIED x", "DELETED x", "DELETED before"])
        watch.close()
        #expect(try await watch.next() == nil)
    }

    @Test func aBoundPodStaysUntilItsKubeletLetsGo() async throws {
        let cluster = try await Cluster()
        let client = cluster.client
        _ = try await client.create(.pods, cluster.pod("a"))
        let binding = KubeObject([
            "apiVersion": "v1", "kind": "Binding", "metadata": ["name": "a", "namespace": "default"],
            "target": ["kind": "Node", "name": "n1"],
        ])
        _ = try await client.create(.pods, binding, subresource: "binding", name: "a")
        let again = await #expect(throws: APIError.self) {
            try await client.create(.pods, binding, subresource: "binding", name: "a")
        }
        #expect(
            again?.message
                == "Operation cannot be fulfilled on pods/binding \"a\": pod a is already assigned to node \"n1\"")
        let going = try await client.delete(.pods, namespace: "default", name: "a", options: DeleteOptions())
        #expect(going.metadata["deletionGracePeriodSeconds"] == 30)
        #expect(going.metadata["deletionTimestamp"] == "2026-01-01T00:00:30Z")
        let sooner = try await client.delete(
            .pods, namespace: "default", name: "a", options: DeleteOptions(gracePeriodSeconds: 5))
        #expect(sooner.metadata["deletionTimestamp"] == "2026-01-01T00:00:05Z")
        _ = try await client.delete(
            .pods, namespace: "default", name: "a", options: DeleteOptions(gracePeriodSeconds: 0))
        #expect(try await client.getIfPresent(.pods, namespace: "default", name: "a") == nil)
    }

    @Test func finalizersHoldAnObject() async throws {
        let cluster = try await Cluster()
        let client = cluster.client
        var map = cluster.configMap("a")
        map.finalizers = ["example.com/x"]
        _ = try await client.create(.configMaps, map)
        var going = try await client.delete(.configMaps, namespace: "default", name: "a", options: DeleteOptions())
        #expect(going.isBeingDeleted)
        going.finalizers = []
        _ = try await client.update(.configMaps, going)
        #expect(try await client.getIfPresent(.configMaps, namespace: "default", name: "a") == nil)
    }

    @Test func foregroundDeletionLeavesItsMark() async throws {
        let cluster = try await Cluster()
        let client = cluster.client
        _ = try await client.create(.configMaps, cluster.configMap("a"))
        let going = try await client.delete(
            .configMaps, namespace: "default", name: "a", options: DeleteOptions(propagation: .foreground))
        #expect(going.finalizers == ["foregroundDeletion"])
    }

    @Test func aNamespaceGoesWhenItIsFinalized() async throws {
        let cluster = try await Cluster()
        let client = cluster.client
        var space = try await client.delete(.namespaces, namespace: "", name: "other", options: DeleteOptions())
        #expect(space.status["phase"] == "Terminating")
        let again = await #expect(throws: APIError.self) {
            try await client.delete(.namespaces, namespace: "", name: "other", options: DeleteOptions())
        }
        #expect(again?.code == 409)
        space.json["spec"]["finalizers"] = []
        _ = try await client.update(.namespaces, space, subresource: "finalize")
        #expect(try await client.getIfPresent(.namespaces, namespace: "", name: "other") == nil)
    }

    @Test func concurrentUpdatesLoseNothing() async throws {
        let cluster = try await Cluster()
        let client = cluster.client
        _ = try await client.create(.configMaps, cluster.configMap("n", ["n": "0"]))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<100 {
                group.addTask {
                    while true {
                        var map = try await client.get(.configMaps, namespace: "default", name: "n")
                        let n = Int(map["data"]["n"].string ?? "") ?? 0
                        map.json["data"]["n"] = .string(String(n + 1))
                        do {
                            _ = try await client.update(.configMaps, map)
                            return
                        } catch let error as APIError where error.isConflict {
                            continue
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        let map = try await client.get(.configMaps, namespace: "default", name: "n")
        #expect(map["data"]["n"] == "100")
    }

    @Test func scaleIsAViewOfReplicas() async throws {
        let cluster = try await Cluster()
        let client = cluster.client
        var deployment = KubeObject(GroupVersionKind(.apps, "Deployment"), name: "d", namespace: "default")
        deployment.json["spec"] = [
            "selector": ["matchLabels": ["app": "d"]],
            "template": [
                "metadata": ["labels": ["app": "d"]], "spec": ["containers": [["name": "c", "image": "i"]]],
            ],
        ]
        _ = try await client.create(.deployments, deployment)
        let scale = try await client.patch(
            .deployments, namespace: "default", name: "d", ["spec": ["replicas": 3]], type: .merge, subresource: "scale"
        )
        #expect(scale.kind == "Scale" && scale.spec["replicas"] == 3 && scale.status["selector"] == "app=d")
        let stored = try await client.get(.deployments, namespace: "default", name: "d")
        #expect(stored.spec["replicas"] == 3 && stored.generation == 2)
    }
}
