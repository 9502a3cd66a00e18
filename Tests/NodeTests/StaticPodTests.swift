import Codecs
import Containers
import KubeAPI
import Linux
import Testing

@testable import Node

@Suite("Static pod manifests") struct StaticPodManifestTests {
    private let now = Timestamp(nanoseconds: 1_700_000_000_000_000_000)

    private func decode(_ text: String, file: String = "/m/a.yaml") throws(StaticPodError) -> KubeObject {
        try StaticPodManifest.decode(Array(text.utf8), file: file, node: "Node-1", now: now)
    }
    private let good = "{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: c, image: i}]}}"

    @Test func nameNamespaceAndAnnotationsAreTheNodes() throws {
        let pod = try decode(good)
        #expect(pod.name == "web-node-1")
        #expect(pod.namespace == "default")
        #expect(pod.spec["nodeName"].string == "Node-1")
        #expect(pod.spec["restartPolicy"].string == "Always")
        #expect(pod.spec["tolerations"].elements.contains(["operator": "Exists", "effect": "NoExecute"]))
        #expect(pod.annotations["kubernetes.io/config.source"] == "file")
        #expect(pod.annotations["kubernetes.io/config.hash"] == pod.uid)
        #expect(pod.annotations["kubernetes.io/config.seen"]?.hasPrefix("2023-11-14T22:13:20") == true)
        #expect(pod.uid.utf8.count == 32)
        #expect(Pod(pod).isCritical)
    }

    @Test func theUIDFollowsContentsAndFile() throws {
        let pod = try decode(good)
        #expect(try decode(good).uid == pod.uid)
        #expect(try decode(good, file: "/m/b.yaml").uid != pod.uid)
        #expect(
            try decode("{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: c, image: j}]}}")
                .uid != pod.uid)
        #expect(
            try decode(
                "{apiVersion: v1, kind: Pod, metadata: {name: w, uid: mine}, spec: {containers: [{name: c, image: j}]}}"
            )
            .uid == "mine")
    }

    @Test(arguments: [
        ("{", "yaml"),
        ("{apiVersion: apps/v1, kind: Deployment}", "expected apiVersion \"v1\", kind \"Pod\""),
        ("{apiVersion: v1, kind: Pod, metadata: {}, spec: {containers: [{name: c, image: i}]}}", "metadata.name"),
        (
            "{apiVersion: v1, kind: Pod, metadata: {name: W}, spec: {containers: [{name: c, image: i}]}}",
            "metadata.name"
        ),
        ("{apiVersion: v1, kind: Pod, metadata: {name: w}, spec: {}}", "spec.containers: Required value"),
        ("{apiVersion: v1, kind: Pod, metadata: {name: w}, spec: {containers: [{name: c}]}}", "image: Required value"),
        (
            "{apiVersion: v1, kind: Pod, metadata: {name: w}, spec: {containers: [{name: c, image: i}], x: 1}}",
            "unknown field \"spec.x\""
        ),
        (
            "{apiVersion: v1, kind: Pod, metadata: {name: w}, spec: {containers: [{name: c, image: i, envFrom: "
                + "[{secretRef: {name: s}}]}]}}", "static pods may not reference secrets"
        ),
        (
            "{apiVersion: v1, kind: Pod, metadata: {name: w}, spec: {containers: [{name: c, image: i}], volumes: "
                + "[{name: v, configMap: {name: s}}]}}", "static pods may not reference configmaps"
        ),
    ])
    func aBadFileIsRefusedWithItsReason(_ text: String, _ reason: String) {
        do throws(StaticPodError) {
            let pod = try decode(text)
            Issue.record("taken: \(pod.name)")
        } catch {
            #expect(error.message.contains(reason), "\(error.message)")
        }
    }
}

@Suite("Static pods") struct StaticPodTests {
    private static func manifest(_ image: String, name: String = "web") -> String {
        """
        apiVersion: v1
        kind: Pod
        metadata: {name: \(name)}
        spec:
          terminationGracePeriodSeconds: 1
          containers: [{name: app, image: \(image)}]
        """
    }

    private func node() throws -> NodeHarness {
        let node = try NodeHarness(staticPods: true)
        var object = KubeObject(GroupVersionKind("", "v1", "Node"), name: "node-1")
        object.metadata["uid"] = "node-uid"
        node.client.put(.nodes, object)
        return node
    }
    private func write(_ node: NodeHarness, _ file: String, _ text: String) throws {
        try Files.writeAtomically(node.manifests + "/" + file, Array(text.utf8), mode: 0o644)
    }
    private let name = "web-node-1"

    @Test func aFileBecomesAPodWithAMirror() async throws {
        let node = try node()
        try write(node, "web.yaml", Self.manifest("busybox:1"))
        node.start()
        try await node.until("the mirror is ready") { node.isReady(name) }
        let mirror = try #require(node.pod(name))
        let uid = try #require(mirror.annotations["kubernetes.io/config.mirror"])
        #expect(mirror.annotations["kubernetes.io/config.hash"] == uid)
        #expect(mirror.annotations["kubernetes.io/config.source"] == "file")
        #expect(mirror.uid != uid)
        #expect(mirror.ownerReferences.first?.uid == "node-uid")
        #expect(mirror.status["phase"].string == "Running")
        #expect(node.runtime.sandboxConfig(name)?.podUID == uid)
        let listed = await node.agent?.pods.worker(namespace: "default", name: name)?.currentObject()
        #expect(listed?.uid == uid)
        #expect(listed?.status["phase"].string == "Running")
        // A second pod, later: the folder is watched. The bad file between them stops neither.
        try write(node, "bad.yaml", "kind: Nonsense")
        try write(node, "more.json", Self.manifest("busybox:2", name: "more"))
        try await node.until("the other is ready") { node.isReady("more-node-1") }
        try Files.remove(node.manifests + "/web.yaml")
        try await node.until("the mirror goes with the file", ticking: .milliseconds(100)) { node.pod(name) == nil }
        try await node.until("and the pod", ticking: .milliseconds(100)) { node.runtime.sandboxConfig(name) == nil }
        #expect(node.isReady("more-node-1"))
        await node.stop()
    }

    @Test func aDeletedMirrorComesBack() async throws {
        let node = try node()
        try write(node, "web.yaml", Self.manifest("busybox:1"))
        node.start()
        try await node.until("ready") { node.isReady(name) }
        let first = try #require(node.pod(name)?.uid)
        // With grace, as kubectl does it: the node lets the mirror go at once, and keeps the pod.
        try await node.client.delete(.pods, namespace: "default", name: name, options: DeleteOptions())
        try await node.until("another mirror is ready", ticking: .milliseconds(100)) {
            node.isReady(name) && node.pod(name)?.uid != first
        }
        #expect(node.pod(name)?.isBeingDeleted == false)
        #expect(!node.runtime.calls.contains { $0.hasPrefix("stop ") })
        #expect(node.runtime.config("app")?.attempt == 0)
        await node.stop()
    }

    @Test func anEditIsAnotherPodAfterTheFirstHasEnded() async throws {
        let node = try node()
        try write(node, "web.yaml", Self.manifest("busybox:1"))
        node.start()
        try await node.until("ready") { node.isReady(name) }
        let old = try #require(node.pod(name)?.annotations["kubernetes.io/config.hash"])
        try write(node, "web.yaml", Self.manifest("busybox:2"))
        try await node.until("the new one is shown", ticking: .milliseconds(100)) {
            node.isReady(name) && node.pod(name)?.annotations["kubernetes.io/config.hash"] != old
        }
        #expect(node.pod(name)?.spec["containers"][0]["image"].string == "busybox:2")
        let calls = node.runtime.calls
        let stopped = try #require(calls.firstIndex { $0.hasPrefix("stop app") })
        let started = try #require(calls.lastIndex { $0.hasPrefix("runSandbox web-node-1") })
        #expect(stopped < started)
        // A file that has become bad leaves what runs alone.
        let now = node.pod(name)?.annotations["kubernetes.io/config.hash"]
        try write(node, "web.yaml", "kind: [")
        await node.settle()
        #expect(node.pod(name)?.annotations["kubernetes.io/config.hash"] == now)
        #expect(node.isReady(name))
        await node.stop()
    }

    @Test func itRunsWithoutTheAPIAndSurvivesARestart() async throws {
        let node = try node()
        node.client.fail(.unavailable("connection refused"))
        try write(node, "web.yaml", Self.manifest("busybox:1"))
        node.start()
        try await node.until("it runs") { node.runtime.calls.contains("start app 0") }
        await node.stop()
        // Still no API: the next process takes it over.
        node.start()
        try await node.until("it is known again") {
            await node.agent?.pods.worker(namespace: "default", name: name)?.sandboxID != nil
        }
        node.client.fail(nil)
        try await node.until("shown at last", ticking: .seconds(1)) { node.isReady(name) }
        #expect(node.runtime.calls.filter { $0 == "start app 0" }.count == 1)
        await node.stop()
        // Its file goes while nobody looks.
        try Files.remove(node.manifests + "/web.yaml")
        node.start()
        try await node.until("the mirror goes", ticking: .seconds(1)) { node.pod(name) == nil }
        try await node.until("and what runs", ticking: .seconds(1)) { await node.runtime.sandboxes().isEmpty }
        await node.stop()
    }
}
