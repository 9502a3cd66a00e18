import Codecs
import Containers
import GRPC
import KubeAPI
import Linux
import Testing

@testable import Node

@Suite("Device plugins") struct DevicePluginTests {
    private static let disk = "example.test/disk"

    private func container(_ name: String, _ count: Int64, _ more: JSON = [:]) -> JSON {
        var json: JSON = more
        json["name"] = .string(name)
        json["image"] = "busybox:1"
        json["resources"] = ["limits": ["example.test/disk": .string(String(count))]]
        return json
    }

    private func begin(_ devices: [String], options: JSON = [:]) async throws -> (NodeHarness, TestDevicePlugin) {
        let node = try NodeHarness()
        node.start()
        let folder = node.configuration.rootDirectory + "/device-plugins"
        try await node.until("the socket") { Files.exists(folder + "/kubelet.sock") }
        let plugin = try TestDevicePlugin(folder: folder, socket: "disk.sock", devices: devices)
        try plugin.start()
        try await plugin.register(Self.disk, options: options)
        try await node.until("capacity") { self.amounts(node) == "\(devices.count)/\(devices.count)" }
        return (node, plugin)
    }

    private func amounts(_ node: NodeHarness) -> String {
        let status = node.client.object(.nodes, "", "node-1")?.status ?? .null
        return "\(status["capacity"][Self.disk].string ?? "-")/\(status["allocatable"][Self.disk].string ?? "-")"
    }

    private func checkpoint(_ node: NodeHarness) -> JSON {
        let path = node.configuration.rootDirectory + "/device-plugins/kubelet_internal_checkpoint"
        return (try? JSON.parse(Files.read(path)))?["Data"] ?? .null
    }

    @Test func devicesReachTheContainer() async throws {
        let (node, plugin) = try await begin(["a", "b"], options: ["pre_start_required": true])
        plugin.answer([
            "envs": ["DISKS": "one", "MINE": "plugin"], "annotations": ["example.test/x": "y"],
            "mounts": [["host_path": "/tmp", "container_path": "/disk", "read_only": true]],
            "devices": [["host_path": "/dev/null", "container_path": "/dev/disk0", "permissions": "rw"]],
        ])
        node.create("p", containers: [container("app", 1, ["env": [["name": "MINE", "value": "pod"]]])])
        try await node.until("p runs") { node.isReady("p") }
        let config = try #require(node.runtime.config("app"))
        #expect(config.devices == ["/dev/null:/dev/disk0:rw"])
        #expect(config.environment.contains { $0.name == "DISKS" && $0.value == "one" })
        #expect(config.environment.filter { $0.name == "MINE" }.map(\.value) == ["pod"])
        #expect(config.annotations["example.test/x"] == "y")
        let mount = config.mounts.first { $0.containerPath == "/disk" }
        #expect(mount?.hostPath == "/tmp" && mount?.readOnly == true)
        #expect(plugin.calls == ["Allocate a", "PreStartContainer a"])
        let entry = checkpoint(node)["PodDeviceEntries"][0]
        #expect(entry["ContainerName"].string == "app" && entry["ResourceName"].string == Self.disk)
        #expect(entry["DeviceIDs"]["-1"] == ["a"])
        #expect(checkpoint(node)["RegisteredDevices"][Self.disk] == ["a", "b"])
        await node.stop()
    }

    @Test func whoFindsNoneFreeIsRefused() async throws {
        let (node, plugin) = try await begin(["a", "b"])
        node.create("first", containers: [container("one", 2)])
        try await node.until("first runs") { node.isReady("first") }
        node.create("second", containers: [container("two", 1)])
        try await node.until("second is refused") { node.phase("second") == "Failed" }
        #expect(node.pod("second")?.status["reason"].string == "UnexpectedAdmissionError")
        #expect(
            node.pod("second")?.status["message"].string
                == "Pod was rejected: Allocate failed due to requested number of devices unavailable for \(Self.disk). "
                + "Requested: 1, Available: 0, which is unexpected")
        try await node.client.delete(.pods, namespace: "default", name: "first", options: DeleteOptions())
        try await node.until("first is gone") { node.pod("first") == nil }
        plugin.fail("broken")
        node.create("third", containers: [container("three", 1)])
        try await node.until("third is refused") { node.phase("third") == "Failed" }
        #expect(node.pod("third")?.status["message"].string?.contains("code = Unknown desc = broken") == true)
        plugin.fail(nil)
        node.create("fourth", containers: [container("four", 2)])
        try await node.until("fourth runs") { node.isReady("fourth") }
        #expect(checkpoint(node)["PodDeviceEntries"].elements.count == 1)
        await node.stop()
    }

    @Test func initContainersLeaveTheirDevices() async throws {
        let (node, plugin) = try await begin(["a", "b"], options: ["get_preferred_allocation_available": true])
        plugin.prefer(["b"])
        node.runtime.exitsAtOnce("prepare", 0)
        node.create(
            "p", ["initContainers": [container("prepare", 1)]],
            containers: [container("app", 1), container("other", 1)])
        try await node.until("p runs") { node.isReady("p") }
        #expect(
            plugin.calls == [
                "GetPreferredAllocation a,b", "Allocate b", "Allocate b", "GetPreferredAllocation a", "Allocate a",
            ])
        await node.stop()
    }

    @Test func unhealthyDevicesCountAsCapacityUntilThePluginIsGone() async throws {
        let (node, plugin) = try await begin(["a", "b", "c"])
        try await plugin.set([("a", "Healthy"), ("b", "Unhealthy")])
        try await node.until("one is ill") { self.amounts(node) == "2/1" }
        plugin.stop()
        try await node.until("all are ill") { self.amounts(node) == "2/0" }
        node.create("late", containers: [container("app", 1)])
        try await node.until("refused") { node.phase("late") == "Failed" }
        #expect(
            node.pod("late")?.status["message"].string?.contains(
                "no healthy devices present; cannot allocate unhealthy devices \(Self.disk)") == true)
        node.clock.advance(by: .seconds(301))
        try await node.until("none are left", ticking: .seconds(1)) { self.amounts(node) == "0/0" }

        let next = try TestDevicePlugin(folder: plugin.folder, socket: "next.sock", devices: ["n"])
        try next.start()
        try await next.register(Self.disk)
        try await node.until("its successor") { self.amounts(node) == "1/1" }
        await node.stop()
    }

    @Test func devicesStayWithTheirContainersOverARestart() async throws {
        let (node, plugin) = try await begin(["a", "b"])
        plugin.answer(["envs": ["DISK": "kept"]])
        node.create("p", containers: [container("app", 1)])
        try await node.until("p runs") { node.isReady("p") }
        await node.stop()
        node.start()
        let socket = plugin.folder + "/kubelet.sock"
        try await node.until("the plugin's socket was removed") {
            Files.exists(socket) && !Files.exists(plugin.folder + "/disk.sock")
        }
        // The container is made anew before the plugin is back.
        node.runtime.exit("app", 1)
        try await node.until("again", ticking: .seconds(1)) { node.runtime.config("app")?.attempt == 1 }
        #expect(node.runtime.config("app")?.environment.contains { $0.name == "DISK" && $0.value == "kept" } == true)
        try plugin.start()
        try await plugin.register(Self.disk)
        try await node.until("the plugin is back") { self.amounts(node) == "2/2" }
        node.create("q", containers: [container("second", 2)])
        try await node.until("one is taken") { node.phase("q") == "Failed" }
        await node.stop()
    }

    @Test func registrationIsChecked() async throws {
        let (node, plugin) = try await begin(["a"])
        await #expect(throws: GRPCStatus(.unknown, "the ResourceName \"disk\" is invalid")) {
            try await plugin.register("disk")
        }
        await #expect(throws: GRPCStatus.self) { try await plugin.register("kubernetes.io/disk") }
        await #expect(throws: GRPCStatus.self) { try await plugin.register(Self.disk, version: "v1alpha1") }
        #expect(amounts(node) == "1/1")
        await node.stop()
    }

    @Test func pluginsAreFoundInTheRegistry() async throws {
        let node = try NodeHarness()
        node.start()
        let registry = node.configuration.rootDirectory + "/plugins_registry"
        try await node.until("the registry") { Files.isDirectory(registry) }
        let plugin = try TestDevicePlugin(folder: registry, socket: "disk-reg.sock", devices: ["a"])
        try plugin.start()
        try await node.until("registered", ticking: .milliseconds(100)) { self.amounts(node) == "1/1" }
        try await node.until("told") { plugin.calls.contains("status true") }
        try Files.remove(registry + "/disk-reg.sock")
        try await node.until("gone") { self.amounts(node) == "1/0" }
        await node.stop()
    }

    @Test func devicesOfOtherSpecificationsAreResolvedByName() throws {
        let folder = "/tmp/k3s-cdi-test-\(getpid())-\(UInt32.random(in: .min ... .max))"
        try Directories.make(folder)
        defer { try? Directories.removeTree(folder) }
        let text = """
            cdiVersion: 0.6.0
            kind: vendor.test/net
            containerEdits: {env: [GENERAL=1]}
            devices:
            - name: fast
              containerEdits:
                env: ["SPEED=9"]
                deviceNodes: [{path: /dev/net9, hostPath: /dev/null, permissions: rw}]
                mounts: [{hostPath: /tmp, containerPath: /net, options: [ro, bind]}]
            - name: odd
              containerEdits: {hooks: [{hookName: createContainer, path: /bin/true}]}
            """
        try Files.write(folder + "/net.yaml", Array(text.utf8))
        let specifications = DeviceSpecifications(directories: [folder])
        var config = ContainerConfig()
        try specifications.add(["vendor.test/net=fast"], &config)
        #expect(config.devices == ["/dev/null:/dev/net9:rw"])
        #expect(config.environment.map { "\($0.name)=\($0.value)" } == ["GENERAL=1", "SPEED=9"])
        #expect(config.mounts == [ContainerMount(hostPath: "/tmp", containerPath: "/net", readOnly: true)])
        #expect(throws: ContainerConfigError("unresolvable CDI devices vendor.test/net=slow")) {
            try specifications.add(["vendor.test/net=slow"], &config)
        }
        #expect(throws: ContainerConfigError.self) { try specifications.add(["vendor.test/net=odd"], &config) }
    }
}
