import Codecs
import Containers
import GRPC
import KubeAPI
import Linux
import Logging
import NIOPosix
import Testing
import Transport

@testable import Node

@Suite struct RemoteRuntimeTests {
    private func runtime(_ fake: FakeCRI) throws -> RemoteRuntime {
        var settings = RemoteRuntime.Settings(endpoint: "unix://" + fake.path)
        settings.cgroupPrefix = "k3s-test-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        settings.podLogs = "/logs"
        settings.logger.logLevel = .critical
        return try RemoteRuntime(settings, http: HTTPClient(group: MultiThreadedEventLoopGroup.singleton))
    }

    private func remove(_ runtime: RemoteRuntime) {
        try? runtime.cgroups.cgroups.remove(runtime.settings.cgroupPrefix)
    }

    private func eventually(_ what: String, _ condition: () async -> Bool) async throws {
        for _ in 0..<6000 {
            if await condition() { return }
            try await Task.sleep(for: .milliseconds(10))
        }
        Issue.record("never: \(what)")
    }

    private func failure(_ body: () async throws -> Void) async -> RuntimeError? {
        do {
            try await body()
            return nil
        } catch { return error as? RuntimeError }
    }

    private func pod() -> SandboxConfig {
        var config = SandboxConfig()
        (config.podUID, config.name, config.namespace, config.hostname) = ("u-1", "web", "shop", "web")
        config.logDirectory = "/logs/shop_web_u-1"
        config.cgroupParent = "kubepods/burstable"
        config.labels = [RuntimeLabels.podUID: "u-1"]
        config.sysctls = ["net.ipv4.ip_forward": "1"]
        config.hostPorts = [.init(hostIP: "", hostPort: 8080, containerPort: 80, transport: "UDP")]
        config.resources.cpuShares = 512
        return config
    }

    // MARK: - Sandboxes

    @Test(.enabled(if: geteuid() == 0, "makes cgroups"))
    func aSandboxIsAskedForInItsCgroup() async throws {
        let fake = try FakeCRI()
        try fake.start()
        fake.answer("RunPodSandbox", ["pod_sandbox_id": "box"])
        let runtime = try runtime(fake)
        defer { remove(runtime) }
        let status = try await runtime.runSandbox(pod())
        #expect(status.id == "box" && status.state == .ready)
        let config = try #require(fake.asked("RunPodSandbox").first)["config"]
        #expect(config["metadata"]["name"].string == "web" && config["metadata"]["uid"].string == "u-1")
        let path = "/\(runtime.settings.cgroupPrefix)/kubepods/burstable/podu-1"
        #expect(config["linux"]["cgroup_parent"].string == path)
        #expect(config["linux"]["sysctls"].stringMap == ["net.ipv4.ip_forward": "1"])
        let port = config["port_mappings"][0]
        #expect(port["host_port"].int == 8080 && port["container_port"].int == 80 && port["protocol"].int == 1)
        #expect(runtime.cgroups.cgroups.exists(String(path.dropFirst())))
        #expect(try await runtime.sandboxStats("box").processes == 0)
        try await runtime.removeSandbox("box")
        #expect(fake.asked("RemovePodSandbox").count == 1)
        #expect(!runtime.cgroups.cgroups.exists(String(path.dropFirst())))
    }

    @Test(.enabled(if: geteuid() == 0, "makes cgroups"))
    func nothingIsLeftOfASandboxThatCouldNotBeMade() async throws {
        let fake = try FakeCRI()
        try fake.start()
        fake.fail("RunPodSandbox", GRPCStatus(.unknown, "failed to get sandbox image"))
        let runtime = try runtime(fake)
        defer { remove(runtime) }
        let error = await failure { _ = try await runtime.runSandbox(self.pod()) }
        #expect(error?.code == .createFailed)
        #expect(error?.message == "rpc error: code = Unknown desc = failed to get sandbox image")
        #expect(runtime.cgroups.path(podUID: "u-1") == nil)
        var users = pod()
        users.privateUsers = true
        let asked = users
        #expect(await failure { _ = try await runtime.runSandbox(asked) }?.message.contains("hostUsers") == true)
    }

    /// What a previous process had made is known by its labels and namespaces.
    @Test func aSandboxOfAnEarlierProcessIsKnownAgain() async throws {
        let fake = try FakeCRI()
        try fake.start()
        let listed: JSON = [
            "id": "old", "metadata": ["name": "web", "uid": "u-2", "namespace": "shop", "attempt": 3],
            "state": 1, "labels": ["a": "b"], "created_at": 5,
        ]
        fake.answer("ListPodSandbox", ["items": [listed]])
        var status = listed
        status["linux"] = ["namespaces": ["options": ["network": 2, "pid": 1]]]
        fake.answer("PodSandboxStatus", ["status": status])
        let runtime = try runtime(fake)
        let found = await runtime.sandboxes()
        #expect(found.map(\.id) == ["old"] && found[0].state == .notReady && found[0].config.attempt == 3)
        let config = try await runtime.config(of: "old")
        #expect(config.network == .node && config.pid == .container && config.logDirectory == "/logs/shop_web_u-2")
        #expect(await runtime.isReady(sandbox: "old") == false)
        fake.fail("PodSandboxStatus", GRPCStatus(.notFound, "gone"))
        #expect(await runtime.isReady(sandbox: "old") == false)
    }

    @Test func theNamespaceIsWhatTheRuntimeSays() async throws {
        let fake = try FakeCRI()
        try fake.start()
        let runtime = try runtime(fake)
        let spec =
            "{\"pid\":7,\"runtimeSpec\":{\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"network\",\"path\":\"/run/netns/x\"}]}}}"
        for (id, info, path) in [("a", spec, "/run/netns/x"), ("b", "{\"pid\":7}", "/proc/7/ns/net")] {
            fake.answer("PodSandboxStatus", ["status": ["id": .string(id)], "info": ["info": .string(info)]])
            #expect(try await runtime.networkNamespacePath(sandbox: id) == path)
        }
        fake.answer("PodSandboxStatus", ["status": ["id": "c"]])
        #expect(await failure { _ = try await runtime.networkNamespacePath(sandbox: "c") }?.code == .invalid)
        fake.answer(
            "PodSandboxStatus",
            ["status": ["id": "d", "network": ["ip": "10.1.2.3", "additional_ips": [["ip": "fd00::3"]]]]])
        #expect(try await runtime.addresses(sandbox: "d") == ["10.1.2.3", "fd00::3"])
    }

    // MARK: - Containers

    @Test(.enabled(if: geteuid() == 0, "makes cgroups"))
    func aContainerIsAskedForAsItsSpecHasIt() async throws {
        let fake = try FakeCRI()
        try fake.start()
        fake.answer("RunPodSandbox", ["pod_sandbox_id": "box"])
        fake.answer("CreateContainer", ["container_id": "c1"])
        fake.answer("ImageStatus", ["image": ["id": "sha256:1", "username": "web"]])
        let runtime = try runtime(fake)
        defer { remove(runtime) }
        _ = try await runtime.runSandbox(pod())
        try await runtime.mountImage("sha256:9", at: "/tmp/\(runtime.settings.cgroupPrefix)")
        defer { rmdir("/tmp/\(runtime.settings.cgroupPrefix)") }
        var config = ContainerConfig()
        (config.name, config.attempt, config.image) = ("main", 2, "sha256:1")
        (config.command, config.args) = (["sh"], ["-c", "true"])
        config.environment = [("A", "1"), ("B", "")]
        config.mounts = [
            ContainerMount(hostPath: "/host", containerPath: "/in", readOnly: true),
            ContainerMount(hostPath: "/tmp/\(runtime.settings.cgroupPrefix)/sub", containerPath: "/image"),
        ]
        config.devices = ["/dev/fuse:/dev/f:rw"]
        config.logPath = "main/2.log"
        config.stopSignal = "SIGUSR1"
        config.pid = .target("other")
        config.resources.memoryLimitBytes = 64 << 20
        config.resources.memoryLowBytes = 1 << 20
        config.security.runAsGroup = 5
        config.security.seccomp = .localhost(path: "/p.json")
        config.security.dropCapabilities = ["ALL"]
        #expect(try await runtime.createContainer(config, sandbox: "box") == "c1")
        let request = try #require(fake.asked("CreateContainer").first)
        let sent = request["config"]
        #expect(request["sandbox_config"]["log_directory"].string == "/logs/shop_web_u-1")
        #expect(request["sandbox_config"]["linux"]["cgroup_parent"].string?.hasSuffix("/burstable/podu-1") == true)
        #expect(sent["metadata"] == ["name": "main", "attempt": 2] && sent["command"] == ["sh"])
        #expect(sent["envs"][0] == ["key": "A", "value": "1"] && sent["log_path"].string == "main/2.log")
        #expect(sent["mounts"][0]["readonly"].bool == true && sent["mounts"][0]["host_path"].string == "/host")
        #expect(sent["mounts"][1]["image"]["image"].string == "sha256:9")
        #expect(sent["mounts"][1]["image_sub_path"].string == "sub" && sent["mounts"][1]["host_path"].isNull)
        #expect(sent["devices"][0] == ["container_path": "/dev/f", "host_path": "/dev/fuse", "permissions": "rw"])
        #expect(CRIValues.signalName(sent["stop_signal"].int ?? 0) == "SIGUSR1")
        let linux = sent["linux"]
        #expect(linux["resources"]["memory_limit_in_bytes"].int == 64 << 20)
        #expect(linux["resources"]["unified"].stringMap == ["memory.low": "1048576"])
        let security = linux["security_context"]
        #expect(security["run_as_username"].string == "web" && security["run_as_group"]["value"].int == 5)
        #expect(security["seccomp"] == ["profile_type": 2, "localhost_ref": "/p.json"])
        #expect(security["namespace_options"]["pid"].int == 3)
        #expect(security["namespace_options"]["target_id"].string == "other")
        #expect(security["masked_paths"].elements.count == ContainerLaunch.maskedPaths.count)
        #expect(security["capabilities"]["drop_capabilities"] == ["ALL"])
        // The server reads what is sent as what was asked for.
        let read = try CRIValues.container(sent)
        #expect(read.security.seccomp == config.security.seccomp && read.stopSignal == "SIGUSR1")
        #expect(read.resources.memoryLowBytes == 1 << 20 && read.pid == .target("other"))
    }

    @Test func howAContainerEndedIsTold() async throws {
        let fake = try FakeCRI()
        try fake.start()
        fake.answer(
            "ContainerStatus",
            [
                "status": [
                    "id": "c", "metadata": ["name": "main", "attempt": 1], "state": 2, "created_at": 1,
                    "started_at": 2, "finished_at": 3, "exit_code": 137, "reason": "OOMKilled",
                    "image": ["image": "x"], "image_ref": "sha256:7", "log_path": "/logs/c",
                ]
            ])
        let runtime = try runtime(fake)
        let status = try await runtime.container("c")
        #expect(status.state == .exited && status.exitCode == 137 && status.reason == "OOMKilled")
        #expect(status.imageID == "sha256:7" && status.finishedAt == 3 && status.attempt == 1)
        fake.fail("StopContainer", GRPCStatus(.notFound, "no"))
        try await runtime.stopContainer("c", signal: nil, grace: .seconds(7))
        #expect(fake.asked("StopContainer").first?["timeout"].int == 7)
        fake.answer("ExecSync", ["stdout": .string(Base64.encode([104, 105])), "exit_code": 3])
        let result = try await runtime.execSync("c", command: ["x"], timeout: .seconds(2))
        #expect(result == ExecResult(exitCode: 3, stdout: [104, 105], stderr: []))
        fake.fail("ExecSync", GRPCStatus(.deadlineExceeded, "context deadline exceeded"))
        let late = await failure { _ = try await runtime.execSync("c", command: ["x"], timeout: .seconds(2)) }
        #expect(late?.code == .timedOut)
    }

    // MARK: - Changes

    private func item(_ id: String, _ state: Int64) -> JSON {
        ["id": .string(id), "pod_sandbox_id": "box", "state": .int(state)]
    }

    @Test func aLookTellsWhatHasChanged() {
        var known = KnownPods()
        let box: JSON = ["id": "box", "metadata": ["uid": "u"], "state": 0]
        #expect(known.take(sandboxes: [box], containers: [item("a", 0)]).isEmpty)
        #expect(
            known.take(sandboxes: [box], containers: [item("a", 1), item("b", 2)]) == [
                ContainerEvent(.started, container: "a", sandbox: "box"),
                ContainerEvent(.exited, container: "b", sandbox: "box"),
            ])
        #expect(known.take(sandboxes: [box], containers: [item("a", 1), item("b", 2)]).isEmpty)
        #expect(
            known.take(sandboxes: [box], containers: [item("a", 2)]) == [
                ContainerEvent(.exited, container: "a", sandbox: "box"),
                ContainerEvent(.removed, container: "b", sandbox: "box"),
            ])
        var dead = box
        dead["state"] = 1
        #expect(
            known.take(sandboxes: [dead], containers: [item("a", 2)]) == [
                ContainerEvent(.exited, container: "box", sandbox: "box")
            ])
        #expect(known.take(sandboxes: [], containers: [item("a", 2)]).isEmpty)
    }

    @Test func changesAreFoundWithoutEvents() async throws {
        let fake = try FakeCRI()
        try fake.start()
        let runtime = try runtime(fake)
        var events = runtime.events().makeAsyncIterator()
        let running = Task { await runtime.run() }
        defer { running.cancel() }
        try await eventually("a look") { !fake.asked("ListContainers").isEmpty }
        fake.answer("ListContainers", ["containers": [item("a", 1)]])
        #expect(await events.next() == ContainerEvent(.started, container: "a", sandbox: "box"))
        fake.answer("ListContainers", ["containers": [item("a", 2)]])
        #expect(await events.next() == ContainerEvent(.exited, container: "a", sandbox: "box"))
    }

    // MARK: - Health

    @Test func aRuntimeThatIsAwayIsWaitedFor() async throws {
        let fake = try FakeCRI()
        let runtime = try runtime(fake)
        #expect(await runtime.notReadyReason() == "container runtime status check may not have completed yet")
        let connecting = Task { try await runtime.connect() }
        let listing = Task { await runtime.sandboxes() }
        try await Task.sleep(for: .milliseconds(50))
        fake.answer("ListPodSandbox", ["items": [["id": "x"]]])
        try fake.start()
        #expect(try await connecting.value == "fake://1.2")
        #expect(await listing.value.map(\.id) == ["x"])
        #expect(await runtime.notReadyReason() == nil)
        #expect(await failure { _ = try await runtime.container("x") }?.code == .io)
        await fake.stop()
        #expect(await failure { _ = try await runtime.container("x") }?.code == .unavailable)
        // It comes back on the same socket.
        try fake.start()
        fake.answer("ContainerStatus", ["status": ["id": "x"]])
        #expect(try await runtime.container("x").id == "x")
    }

    @Test func theConditionSaysWhatIsWrong() throws {
        var health = RemoteHealth()
        health.take(FakeCRI.status(runtime: true, network: false, message: "no conf")["status"], now: 100)
        #expect(health.problem(now: 130) == nil)
        #expect(health.networkProblem == "NetworkReady=false reason:Why message:no conf")
        #expect(health.problem(now: 131) == "container runtime is down")
        health.lookedAt = 100
        #expect(
            health.problem(now: 290)
                == "[container runtime is down, PLEG is not healthy: pleg was last seen active 3m10s ago; threshold is 3m0s]"
        )
        health.take(FakeCRI.status(runtime: false, network: true, message: "x")["status"], now: 291)
        health.lookedAt = 291
        #expect(
            health.problem(now: 291) == "container runtime not ready: RuntimeReady=false reason:Why message:x")
    }

    @Test func theSystemdDriverIsRefused() async throws {
        let fake = try FakeCRI()
        try fake.start()
        fake.answer("RuntimeConfig", ["linux": ["cgroup_driver": 0]])
        let runtime = try runtime(fake)
        #expect(await failure { _ = try await runtime.connect() }?.message.contains("SystemdCgroup") == true)
        #expect(throws: RuntimeError.self) {
            _ = try RemoteRuntime(
                .init(endpoint: "http://x"), http: HTTPClient(group: MultiThreadedEventLoopGroup.singleton))
        }
    }

    // MARK: - Logs

    @Test func aLogThatIsTooLongIsPutAside() async throws {
        let fake = try FakeCRI()
        try fake.start()
        fake.answer("ReopenContainerLog", [:])
        let runtime = try runtime(fake)
        let folder = "/tmp/\(runtime.settings.cgroupPrefix)"
        try Directories.make(folder)
        defer { try? Directories.removeTree(folder) }
        let log = folder + "/0.log"
        for name in ["20200101-000000", "20210101-000000", "20220101-000000", "20230101-000000"] {
            try Files.write(log + "." + name, [1])
        }
        try Files.write(log, Array(repeating: 65, count: 100))
        try await runtime.rotateLog("c", log)
        #expect(fake.asked("ReopenContainerLog").isEmpty && Files.exists(log))
        truncate(log, off_t(runtime.settings.logMaxBytes + 1))
        try await runtime.rotateLog("c", log)
        #expect(fake.asked("ReopenContainerLog").count == 1 && !Files.exists(log))
        let names = Directories.names(folder).sorted()
        #expect(names.count == 4 && names.first == "0.log.20210101-000000")
        // Where the runtime does not go along, everything stays as it is.
        let other = folder + "/1.log"
        try Files.write(other, [1])
        truncate(other, off_t(runtime.settings.logMaxBytes + 1))
        fake.fail("ReopenContainerLog", GRPCStatus(.unknown, "container is not running"))
        let error = await failure { try await runtime.rotateLog("c", other) }
        #expect(error != nil && Files.exists(other))
        #expect(RemoteRuntime.stamp(Timestamp(nanoseconds: 1_136_214_245_000_000_000)) == "20060102-150405")
    }

    // MARK: - Images

    @Test func imagesInUseStay() async throws {
        let fake = try FakeCRI()
        try fake.start()
        fake.answer(
            "ImageStatus", ["image": ["id": "sha256:1", "repo_tags": ["a:1"], "size": 7, "uid": ["value": 12]]])
        fake.answer("RemoveImage", [:])
        let images = try runtime(fake).images
        let image = try #require(await images.image("a:1"))
        #expect(image.id == "sha256:1" && image.config.user == "12" && image.sizeBytes == 7)
        var container = item("c", 2)
        container["image_ref"] = "sha256:1"
        fake.answer("ListContainers", ["containers": [container]])
        do {
            try await images.remove("a:1")
            Issue.record("removed")
        } catch { #expect((error as ImageError).code == .inUse) }
        fake.answer("ListContainers", [:])
        try await images.remove("a:1")
        #expect(fake.asked("RemoveImage").first?["image"]["image"].string == "sha256:1")
        fake.fail("PullImage", GRPCStatus(.unknown, "pull access denied, repository does not exist"))
        do {
            _ = try await images.pull("b", credentials: RegistryCredentials(username: "u", password: "p"))
            Issue.record("pulled")
        } catch { #expect((error as ImageError).code == .unauthorized) }
        #expect(fake.asked("PullImage").first?["auth"]["username"].string == "u")
    }

    // MARK: - Streams

    /// The streaming server is the kubelet's own, which real clients are tested against.
    @Test func aCommandsStreamsArePassedOn() async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let server = HTTPServer(group: group) { request in
            guard let options = RemoteCommandOptions(query: request.query) else { return .text("no", status: 400) }
            return RemoteCommand.accept(request, options: options) { session in
                do {
                    try await session.writeStderr(Array("warning\n".utf8))
                    var size = "none"
                    if options.tty { for await new in session.resizes { size = "\(new.width)x\(new.height)"; break } }
                    while let bytes = try await session.readStdin() { try await session.writeStdout(bytes) }
                    if options.tty { try await session.writeStdout(Array(size.utf8)) }
                } catch { return .failed("\(error)") }
                return .exited(code: options.tty ? 0 : 42)
            }
        }
        let port = try await server.start(host: "127.0.0.1", port: 0)
        let fake = try FakeCRI()
        try fake.start()
        let runtime = try runtime(fake)
        func exec(_ query: String, _ request: ExecRequest) async throws -> any ContainerProcess {
            fake.answer("Exec", ["url": .string("http://127.0.0.1:\(port)/exec/x?\(query)")])
            return try await runtime.exec("c", request)
        }
        var request = ExecRequest(["cat"])
        request.stdin = true
        let process = try await exec("stdin=true&stdout=true&stderr=true", request)
        let sent = [UInt8]((0..<300_000).map { UInt8(truncatingIfNeeded: $0) })
        let writing = Task {
            try await process.writeStdin(sent)
            await process.closeStdin()
        }
        var (out, err): ([UInt8], [UInt8]) = ([], [])
        while let bytes = await process.readStdout() { out += bytes }
        while let bytes = await process.readStderr() { err += bytes }
        try await writing.value
        #expect(out == sent && String(decoding: err, as: UTF8.self) == "warning\n")
        #expect(try await process.wait() == 42)
        await process.close()

        request.tty = true
        let terminal = try await exec("stdin=true&stdout=true&tty=true", request)
        await terminal.resize(columns: 80, rows: 24)
        await terminal.closeStdin()
        var text: [UInt8] = []
        while let bytes = await terminal.readStdout() { text += bytes }
        #expect(String(decoding: text, as: UTF8.self) == "80x24")
        #expect(try await terminal.wait() == 0)
        await terminal.close()
        let refused = await failure { _ = try await exec("", ExecRequest(["x"])) }
        #expect(refused?.code == .unavailable && refused?.message.contains("400") == true)
        await server.stop()
    }

    // MARK: - The CNI plugin's server

    @Test func thePluginGetsWhatTheNetworkGives() async throws {
        let folder = "/tmp/cni-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        try Directories.make(folder)
        defer { try? Directories.removeTree(folder) }
        let network = TestNetwork()
        let server = CNIServer(network: network, state: folder, logger: .init(label: "test"))
        try server.install(dataDirectory: folder)
        let list = try JSON.parse(Files.read(folder + "/agent/etc/cni/net.d/10-flannel.conflist"))
        #expect(list["plugins"][0]["socket"].string == folder + "/cni.sock")
        #expect(Files.exists(folder + "/data/cni/flannel"))
        let running = Task { try? await server.run() }
        defer { running.cancel() }
        try await eventually("a socket") { Files.exists(folder + "/cni.sock") }
        func ask(_ request: JSON) async throws -> JSON {
            let io = try AsyncFD(UnixSocket.connect(folder + "/cni.sock", .stream))
            defer { io.close() }
            try await io.write(request.encode() + [10])
            var line: [UInt8] = []
            while line.last != 10, let bytes = try await io.read() { line += bytes }
            return try JSON.parse(line)["ok"]
        }
        var request: JSON = [
            "command": "ADD", "container": "box", "netns": "/run/netns/x", "ifname": "eth0",
            "args": "IgnoreUnknown=1;K8S_POD_NAME=web", "config": ["cniVersion": "1.0.0"],
        ]
        let added = try await ask(request)
        #expect(added["ips"][0]["address"].string == "10.42.0.2/32" && added["cniVersion"].string == "1.0.0")
        #expect(network.calls.contains("attach web"))
        request["command"] = "CHECK"
        #expect(try await ask(request)["failed"].isNull)
        request["command"] = "DEL"
        _ = try await ask(request)
        #expect(network.calls.contains("detach box"))
        request["command"] = "CHECK"
        #expect(try await ask(request)["code"].int == 3)
        request["command"] = "ADD"
        request["ifname"] = "net1"
        #expect(try await ask(request)["code"].int == 4)
        request["ifname"] = "eth0"
        network.setNotReady("not yet")
        network.failAttach("not yet")
        #expect(try await ask(request)["code"].int == 11)
    }
}
