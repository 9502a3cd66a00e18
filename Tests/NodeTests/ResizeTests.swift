import Codecs
import Containers
import KubeAPI
import Testing

@testable import Node

@Suite("In-place resize") struct ResizeTests {
    private static func container(_ cpu: String, _ memory: String, _ policy: [JSON] = []) -> JSON {
        [
            "name": "app", "image": "busybox:1", "resizePolicy": .array(policy),
            "resources": [
                "requests": ["cpu": .string(cpu), "memory": .string(memory)],
                "limits": ["cpu": .string(cpu), "memory": .string(memory)],
            ],
        ]
    }
    private func change(_ node: NodeHarness, _ name: String, _ container: JSON) throws {
        var pod = try #require(node.pod(name))
        pod.metadata["generation"] = .int(pod.generation + 1)
        pod.spec["containers"] = [container]
        node.client.put(.pods, pod)
    }

    @Test func limitsChangeWithoutARestart() async throws {
        let node = try NodeHarness()
        node.start()
        node.create("web", containers: [Self.container("100m", "64Mi")])
        try await node.until("ready") { node.isReady("web") }
        try change(node, "web", Self.container("200m", "128Mi"))
        try await node.until("shown") { node.containerStatus("web")["resources"]["limits"]["cpu"].string == "200m" }
        #expect(node.containerStatus("web")["allocatedResources"]["memory"].string == "128Mi")
        #expect(node.containerStatus("web")["restartCount"].int == 0)
        #expect(node.runtime.config("app")?.resources.cpuQuotaMicroseconds == 20000)
        #expect(node.runtime.config("app")?.resources.memoryLimitBytes == 128 << 20)
        #expect(node.runtime.sandboxConfig("web")?.resources.memoryLimitBytes == 128 << 20)
        #expect(node.pod("web")?.status["observedGeneration"].int == 2)
        await node.stop()
    }

    @Test func aPolicyMayAskForARestart() async throws {
        let node = try NodeHarness()
        node.start()
        let policy: [JSON] = [["resourceName": "memory", "restartPolicy": "RestartContainer"]]
        node.create("web", containers: [Self.container("100m", "64Mi", policy)])
        try await node.until("ready") { node.isReady("web") }
        try change(node, "web", Self.container("200m", "64Mi", policy))
        try await node.until("cpu without") {
            node.containerStatus("web")["resources"]["limits"]["cpu"].string == "200m"
        }
        #expect(node.containerStatus("web")["restartCount"].int == 0)
        try change(node, "web", Self.container("200m", "128Mi", policy))
        try await node.until("memory with") {
            node.containerStatus("web")["restartCount"].int == 1 && node.isReady("web")
        }
        #expect(node.runtime.config("app")?.resources.memoryLimitBytes == 128 << 20)
        await node.stop()
    }

    @Test func whatTheNodeDoesNotHaveIsNotGiven() async throws {
        let node = try NodeHarness()
        node.start()
        node.create("web", containers: [Self.container("100m", "64Mi")])
        try await node.until("ready") { node.isReady("web") }
        try change(node, "web", Self.container("100000", "64Mi"))
        try await node.until("infeasible") {
            node.condition("web", "PodResizePending")["reason"].string == "Infeasible"
        }
        #expect(node.containerStatus("web")["resources"]["limits"]["cpu"].string == "100m")
        #expect(node.runtime.config("app")?.resources.cpuQuotaMicroseconds == 10000)
        try change(node, "web", Self.container("150m", "64Mi"))
        try await node.until("given") { node.containerStatus("web")["resources"]["limits"]["cpu"].string == "150m" }
        try await node.until("condition removed") { node.condition("web", "PodResizePending").isNull }
        await node.stop()
    }

    @Test func aDeferredResizeWaitsForRoom() async throws {
        let node = try NodeHarness()
        node.start()
        node.create("web", containers: [Self.container("100m", "64Mi")])
        try await node.until("ready") { node.isReady("web") }
        let cpus = (node.agent?.context.resources.allocatable["cpu"]?.milliValue ?? 0)
        node.create(
            "big",
            containers: [
                ["name": "big", "image": "busybox:1", "resources": ["requests": ["cpu": .string("\(cpus - 150)m")]]]
            ])
        try await node.until("big runs") { node.isReady("big") }
        try change(node, "web", Self.container("300m", "64Mi"))
        try await node.until("deferred") { node.condition("web", "PodResizePending")["reason"].string == "Deferred" }
        try await node.client.delete(.pods, namespace: "default", name: "big", options: DeleteOptions())
        try await node.until("given") { node.containerStatus("web")["resources"]["limits"]["cpu"].string == "300m" }
        await node.stop()
    }
}
