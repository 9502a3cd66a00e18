import Codecs
import KubeAPI
import Linux
import Logging
import Testing

@testable import Node

@Suite("Dynamic resource allocation") struct DRAManagerTests {
    /// A manager in a directory of its own; `restart` makes the next one.
    private final class Bench: @unchecked Sendable {
        let root = "/tmp/k3s-dra-test-\(getpid())-\(UInt32.random(in: .min ... .max))"
        let clock = VirtualClock()
        let client: FakeKubeClient
        let driver: TestDRADriver
        let timers: TimerQueue
        var manager: DRAManager

        init(version: String = "v1.DRAPlugin") throws {
            client = FakeKubeClient(clock: clock)
            timers = TimerQueue(clock: clock)
            try Directories.make(root + "/plugins_registry")
            driver = try TestDRADriver(root, version: version)
            try driver.start()
            manager = Self.make(root, client, clock, timers)
        }
        deinit {
            driver.stop()
            timers.stop()
            try? Directories.removeTree(root)
        }
        private static func make(
            _ root: String, _ client: FakeKubeClient, _ clock: VirtualClock, _ timers: TimerQueue
        ) -> DRAManager {
            var logger = Logger(label: "test")
            logger.logLevel = .critical
            return DRAManager(root: root, node: "node-1", client: client, clock: clock, timers: timers, logger: logger)
        }
        func restart() { manager = Self.make(root, client, clock, timers) }

        var info: PluginInfo {
            PluginInfo(type: "DRAPlugin", name: "gpu.test", endpoint: driver.socket, versions: [driver.version])
        }
        func register() async throws { try await manager.register(info) }

        func claim(_ name: String, for pods: [String]) {
            client.put(
                .resourceClaims,
                KubeObject([
                    "metadata": ["name": .string(name), "namespace": "default", "uid": .string("uid-" + name)],
                    "status": [
                        "allocation": ["devices": ["results": [["request": "gpu", "driver": "gpu.test"]]]],
                        "reservedFor": .array(pods.map { ["resource": "pods", "uid": .string($0)] }),
                    ],
                ]))
        }
        func pod(_ uid: String, _ claim: String, request: JSON = .null) -> Pod {
            var wanted: JSON = ["name": "mine"]
            wanted["request"] = request
            return Pod(
                KubeObject([
                    "metadata": ["name": .string(uid), "namespace": "default", "uid": .string(uid)],
                    "spec": [
                        "resourceClaims": [["name": "mine", "resourceClaimName": .string(claim)]],
                        "containers": [["name": "c", "resources": ["claims": [wanted]]], ["name": "other"]],
                    ],
                ]))
        }
        func prepare(_ pod: Pod) async -> String {
            do throws(DeviceError) { try await manager.prepare(pod) } catch { return error.message }
            return ""
        }
        func refusal(of info: PluginInfo) async -> String {
            do throws(PluginError) { try await manager.register(info) } catch { return error.message }
            return ""
        }
        func unprepare(_ uid: String) async -> String {
            do throws(DeviceError) { try await manager.unprepare(uid) } catch { return error.message }
            return ""
        }
    }

    @Test(arguments: ["v1.DRAPlugin", "v1beta1.DRAPlugin"])
    func aClaimIsPreparedOnceForAllItsPods(_ version: String) async throws {
        let bench = try Bench(version: version)
        try await bench.register()
        bench.claim("c1", for: ["p1", "p2"])
        let (one, two) = (bench.pod("p1", "c1"), bench.pod("p2", "c1", request: "gpu"))
        async let first = bench.prepare(one)
        async let second = bench.prepare(two)
        #expect(await [first, second] == ["", ""])
        #expect(bench.driver.calls == ["NodePrepareResources c1"])
        #expect(try bench.manager.devices(one, one.containers[0]) == ["gpu.test/claim=c1"])
        #expect(try bench.manager.devices(two, two.containers[0]) == ["gpu.test/claim=c1"])
        #expect(try bench.manager.devices(one, one.containers[1]) == [])
        let other = bench.pod("p1", "c1", request: "nic")
        #expect(try bench.manager.devices(other, other.containers[0]) == [])
        #expect(await bench.unprepare("p1") == "")
        #expect(bench.driver.calls.count == 1)
        #expect(await bench.unprepare("p2") == "")
        #expect(bench.driver.calls == ["NodePrepareResources c1", "NodeUnprepareResources c1"])
        #expect(!bench.manager.serves("p2"))
    }

    @Test func aRestartKeepsWhatWasPrepared() async throws {
        let bench = try Bench()
        try await bench.register()
        bench.claim("c1", for: ["p1"])
        bench.claim("c2", for: ["p2"])
        #expect(await bench.prepare(bench.pod("p1", "c1")) == "")
        #expect(await bench.prepare(bench.pod("p2", "c2")) == "")
        bench.restart()
        try await bench.register()
        let pod = bench.pod("p1", "c1")
        #expect(bench.manager.serves("p1"))
        #expect(await bench.prepare(pod) == "")
        #expect(try bench.manager.devices(pod, pod.containers[0]) == ["gpu.test/claim=c1"])
        #expect(bench.driver.calls.count == 2)
        // The other pod went while nobody looked.
        bench.manager.keep(["p1"])
        for _ in 0..<2000 where bench.driver.calls.count < 3 { try await Task.sleep(for: .milliseconds(1)) }
        #expect(bench.driver.calls.last == "NodeUnprepareResources c2")
        #expect(bench.manager.serves("p1"))
    }

    @Test func theFileIsUpstreams() throws {
        var claim = PreparedClaim(uid: "u", key: ObjectKey(namespace: "default", name: "c"), drivers: ["gpu.test"])
        claim.pods = ["p"]
        claim.drivers["gpu.test"] = [.init(pool: "a", name: "d", requests: ["r"], cdi: ["x/y=z"])]
        claim.isPrepared = true
        let bytes = DRACheckpoint.encode([claim])
        let file = try JSON.parse(bytes)
        let data =
            #"{"kind":"DRACheckpoint","apiVersion":"checkpoint.dra.kubelet.k8s.io/v1","Entries":[{"ClaimUID":"u","ClaimName":"c","Namespace":"default","PodUIDs":{"p":{}},"DriverState":{"gpu.test":{"Devices":[{"PoolName":"a","DeviceName":"d","RequestNames":["r"],"CDIDeviceIDs":["x/y=z"]}]}}}]}"#
        #expect(file["Data"].string == data)
        #expect(try DRACheckpoint.decode(bytes) == [claim])
        #expect(DRACheckpoint.crc32(Array("123456789".utf8)) == 0xCBF4_3926)
        for bad in ["", "{}", #"{"Data":"{}","Checksum":1}"#, #"{"Data":"[","Checksum":0}"#] {
            #expect(throws: DeviceError.self) { try DRACheckpoint.decode(Array(bad.utf8)) }
        }
    }

    @Test func refusalsAreUpstreamsTexts() async throws {
        let bench = try Bench()
        bench.claim("c1", for: ["p1"])
        let pod = bench.pod("p1", "c1")
        #expect(await bench.prepare(pod) == "prepare dynamic resources: DRA driver gpu.test is not registered")
        #expect(!bench.manager.serves("p1"), "nothing has to be undone")
        try await bench.register()
        #expect(
            await bench.prepare(bench.pod("p9", "c1"))
                == "prepare dynamic resources: pod p9 (p9) is not allowed to use ResourceClaim c1 (uid-c1)")
        #expect(
            await bench.prepare(bench.pod("p1", "none")).hasPrefix(
                "prepare dynamic resources: fetch ResourceClaim none: "))
        bench.driver.fail("no power")
        #expect(
            await bench.prepare(pod)
                == "prepare dynamic resources: NodePrepareResources failed for ResourceClaim c1: no power")
        #expect(bench.manager.serves("p1"), "the driver may have done half of it")
        bench.driver.fail(nil)
        #expect(await bench.prepare(pod) == "")
        await bench.manager.deregister(bench.info)
        #expect(await bench.unprepare("p1") == "unprepare dynamic resources: DRA driver gpu.test is not registered")
        try await bench.register()
        #expect(await bench.unprepare("p1") == "")
        var info = bench.info
        info.versions = ["v2.DRAPlugin"]
        #expect(await bench.refusal(of: info).hasPrefix("version check of plugin gpu.test failed"))
    }

    @Test func slicesGoAfterTheirDriver() async throws {
        let bench = try Bench()
        func slice(_ name: String, _ driver: String, _ node: String) {
            bench.client.put(
                .resourceSlices,
                KubeObject([
                    "metadata": ["name": .string(name)],
                    "spec": ["driver": .string(driver), "nodeName": .string(node)],
                ]))
        }
        var names: [String] { bench.client.all(.resourceSlices).map(\.name).sorted() }
        slice("old", "other.test", "node-1")
        slice("elsewhere", "gpu.test", "node-2")
        try await bench.register()
        slice("mine", "gpu.test", "node-1")
        await bench.manager.run()
        #expect(names == ["elsewhere", "mine"])
        await bench.manager.deregister(bench.info)
        bench.clock.advance(by: .seconds(20))
        try await bench.register()
        bench.clock.advance(by: .seconds(20))
        try await Task.sleep(for: .milliseconds(50))
        #expect(names == ["elsewhere", "mine"], "it came again in time")
        await bench.manager.deregister(bench.info)
        bench.clock.advance(by: .seconds(31))
        for _ in 0..<2000 where names.count > 1 { try await Task.sleep(for: .milliseconds(1)) }
        #expect(names == ["elsewhere"])
    }
}
