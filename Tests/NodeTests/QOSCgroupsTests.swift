import Codecs
import Containers
import KubeAPI
import Synchronization
import Testing

@testable import Node

@Suite("Cgroups of the classes of service") struct QOSCgroupsTests {
    @Test func theNodeAndItsClassesHaveLimits() throws {
        let limits = QOSCgroups.limits(
            node: ["cpu": Quantity(4), "memory": Quantity(8 << 30)], burstableMilliCPU: 1500)
        #expect(limits.map(\.path) == ["kubepods", "kubepods/burstable", "kubepods/besteffort"])
        #expect(limits[0].resources.cpuShares == 4096 && limits[0].resources.memoryLimitBytes == 8 << 30)
        #expect(limits[1].resources.cpuShares == 1536 && limits[1].resources.memoryLimitBytes == nil)
        #expect(limits[2].resources.cpuShares == 2)
        // Without burstable pods the class keeps the least there is.
        #expect(QOSCgroups.limits(node: [:], burstableMilliCPU: 0)[1].resources.cpuShares == 2)
    }

    @Test func sharesOfTheBurstableClassFollowItsPods() async throws {
        let node = try NodeHarness()
        node.start()
        @Sendable func shares() -> UInt64? { node.runtime.cgroups.withLock { $0["kubepods/burstable"]?.cpuShares } }
        node.create(
            "burst",
            containers: [["name": "app", "image": "busybox:1", "resources": ["requests": ["cpu": "500m"]]]])
        try await node.until("ready") { node.isReady("burst") }
        try await node.until("shares") { shares() == 512 }
        node.create("best", containers: [["name": "app", "image": "busybox:1"]])
        try await node.until("ready") { node.isReady("best") }
        #expect(shares() == 512)
        await node.stop()
    }

    @Test func hugePagesHaveTheKernelsNames() throws {
        let container = ContainerSpec(
            ["name": "app", "resources": ["limits": ["hugepages-2Mi": "4Mi", "hugepages-1Gi": "1Gi", "cpu": "1"]]],
            .regular)
        #expect(PodResources.hugePages(container) == ["2MB": 4 << 20, "1GB": 1 << 30])
        #expect(PodResources.hugePages(ContainerSpec(["name": "app"], .regular)) == nil)
    }
}
