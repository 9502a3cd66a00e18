import Containers
import Linux
import Testing

/// A machine that systemd runs, with cgroup v2: `hack/vm.sh -s`.
private let systemdReason: Comment = "needs systemd as the first process, cgroup v2, and what containers need"
private let hasSystemd: Bool = {
    guard canRunContainers, let found = try? CgroupDetection.detect(driver: .systemd, environment: [:]) else {
        return false
    }
    return found.problem == nil && found.cgroups.isSystemd
}()

@Suite(.enabled(if: hasSystemd, systemdReason), .timeLimit(.minutes(3)), .serialized)
struct SystemdLiveTests {
    private func systemd() throws -> any Cgroups {
        let found = try CgroupDetection.detect(driver: .systemd, environment: [:])
        try #require(found.problem == nil)
        return found.cgroups
    }

    /// A unit's property as `systemctl show` has it; nil: there is no such unit.
    private func property(_ name: String, of interface: String, _ unit: String) throws -> DBusMessage.Value? {
        let bus = try SystemdBus()
        do throws(DBusError) {
            guard case .objectPath(let path)? = try bus.call("GetUnit", [.string(unit)]).body.first else { return nil }
            return try bus.property(name, of: "org.freedesktop.systemd1." + interface, at: path)
        } catch {
            if error.name == "org.freedesktop.systemd1.NoSuchUnit" { return nil }
            throw error
        }
    }

    private func eventuallyGone(_ unit: String) async throws -> Bool {
        for _ in 0..<100 {
            if try property("ActiveState", of: "Unit", unit) == nil { return true }
            try await Task.sleep(for: .milliseconds(50))
        }
        return false
    }

    @Test func aContainerIsAScopeWithItsLimits() async throws {
        let cgroups = try systemd()
        let node = try TestNode(cgroups: cgroups)
        try await node.runtime.start()
        let sandbox = try await node.sandbox { $0.resources.memoryLimitBytes = 128 << 20 }
        let id = try await node.start("sleep 1000", in: sandbox) { $0.resources.memoryLimitBytes = 64 << 20 }
        let scope = "cri-containerd-\(id).scope"
        let pod = SystemdUnit(path: "\(node.prefix)/kubepods/pod\(sandbox.config.podUID)")
        #expect(try property("ActiveState", of: "Unit", scope) == .string("active"))
        #expect(try property("MemoryMax", of: "Scope", scope) == .uint64(64 << 20))
        #expect(try property("Delegate", of: "Scope", scope) == .bool(true))
        #expect(try property("MemoryMax", of: "Slice", pod.name) == .uint64(128 << 20))
        let directory = "/sys/fs/cgroup/\(pod.directory)/\(scope)"
        #expect(try Files.readString(directory + "/memory.max") == "\(64 << 20)\n")
        // Its own processes only: what kept the scope alive until then has gone.
        let status = try await node.runtime.container(id)
        #expect(try Files.readString(directory + "/cgroup.procs") == "\(status.pid)\n")
        #expect(try await node.runtime.stats(id).memoryUsageBytes > 0)
        // The shim is out of reach of whoever stops k3s's own unit.
        let shim = try await node.runtime.shimPID()
        #expect(try Files.readString("/proc/\(shim)/cgroup").contains("/system.slice/\(node.prefix)-k3s-shim.scope"))

        var resources = ContainerResources()
        resources.memoryLimitBytes = 96 << 20
        try await node.runtime.updateResources(id, resources)
        #expect(try property("MemoryMax", of: "Scope", scope) == .uint64(96 << 20))
        _ = try SystemdBus().call("Reload", [])
        #expect(try Files.readString(directory + "/memory.max") == "\(96 << 20)\n")

        // k3s is started again.
        node.runtime.shutdown()
        let second = try Runtime(configuration: node.configuration(), images: node.images, cgroups: cgroups)
        try await second.start()
        #expect(try await second.container(id).state == .running)
        #expect(try property("ActiveState", of: "Unit", scope) == .string("active"))
        try await second.removeSandbox(sandbox.id)
        #expect(try await eventuallyGone(scope))
        #expect(try await eventuallyGone(pod.name))
        #expect(!Files.exists(directory))
        try await second.stopShim()
        second.shutdown()
        await node.close()
        #expect(try await eventuallyGone("\(node.prefix)-k3s-shim.scope"))
    }

    @Test func containersThatEndLeaveNoUnit() async throws {
        let cgroups = try systemd()
        let node = try TestNode(cgroups: cgroups)
        try await node.runtime.start()
        let sandbox = try await node.sandbox { $0.pid = .pod }
        for code: Int32 in [0, 3] {
            let id = try await node.start("exit \(code)", in: sandbox)
            #expect(try await node.exited(id).exitCode == code)
            #expect(try await eventuallyGone("cri-containerd-\(id).scope"))
            try await node.runtime.removeContainer(id)
        }
        for _ in 0..<5 {
            let id = try await node.start("exec tail /dev/zero", in: sandbox) {
                $0.resources.memoryLimitBytes = 8 << 20
            }
            let status = try await node.exited(id)
            #expect((status.exitCode, status.reason) == (137, "OOMKilled"))
            try await node.runtime.removeContainer(id)
        }
        let id = try await node.start("exec /nonexistent", in: sandbox) { $0.resources.cpuShares = 512 }
        #expect(try await node.exited(id).exitCode == 127)
        try await node.runtime.removeSandbox(sandbox.id)
        #expect(try await eventuallyGone("cri-containerd-\(sandbox.id).scope"))
        await node.close()
    }
}
