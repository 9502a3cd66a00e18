import Codecs
import Containers
import KubeAPI
import Linux
import Testing

@testable import Node

@Suite("Pod life cycle") struct PodLifecycleTests {
    @Test func aPodRunsAndIsDeleted() async throws {
        let node = try NodeHarness()
        node.start()
        node.create("web")
        try await node.until("web is ready") { node.isReady("web") }
        let status = node.pod("web")?.status ?? .null
        #expect(status["phase"].string == "Running")
        #expect(status["podIP"].string == "10.42.0.2")
        #expect(status["hostIP"].string == "192.0.2.1")
        #expect(status["qosClass"].string == "BestEffort")
        #expect(status["observedGeneration"].int == 1)
        let container = node.containerStatus("web")
        #expect(container["containerID"].string == "containerd://\(node.runtime.id("app") ?? "?")")
        #expect(container["image"].string == "docker.io/library/busybox:1")
        #expect(container["imageID"].string == "docker.io/library/busybox:1@sha256:digest")
        #expect(container["restartCount"].int == 0)
        #expect(container["started"].bool == true)
        try await node.until("events are written") { node.client.eventTexts().contains("Started: Container started") }
        #expect(node.client.eventTexts().contains("Pulling: Pulling image \"busybox:1\""))
        #expect(node.client.eventTexts().contains("Created: Container created"))

        try await node.client.delete(.pods, namespace: "default", name: "web", options: DeleteOptions())
        try await node.until("web is gone") { node.pod("web") == nil }
        #expect(node.runtime.calls.contains("stop app 30 15"))
        try await node.until("its sandbox is removed") { await node.runtime.sandboxes().isEmpty }
        #expect(node.network.calls.contains("detach sandbox1"))
        try await node.until("its directories are removed") { Directories.names(node.configuration.podLogs).isEmpty }
        await node.stop()
    }
}
