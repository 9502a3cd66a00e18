import Containers
import Linux
import Testing

@Suite(.enabled(if: canRunContainers, liveReason), .timeLimit(.minutes(3)), .serialized)
struct AdoptionLiveTests {
    /// A node agent in a process of its own is killed; what it ran goes on, and the next one knows it.
    @Test func containersOutliveAKilledAgent() async throws {
        let node = try TestNode()
        let (read, write) = try FileDescriptor.pipe().takeBoth()
        let output = FileDescriptor(owning: read)
        var client = try Spawned.start(
            [TestNode.probe, "client", node.directory + "/root", node.directory + "/state", node.prefix, node.logs]
                + node.layers, stdio: (nil, write, nil))
        close(write)
        let line = String(decoding: try await AsyncFD(output).read() ?? [], as: UTF8.self)
        let ids = line.split(whereSeparator: \.isWhitespace).map(String.init)
        try #require(ids.count == 2, "\(line)")
        try await Task.sleep(for: .milliseconds(100))
        try client.signal(SIGKILL)
        #expect(try await client.wait() == .signalled(SIGKILL))
        let log = node.logs + "/counter.log"
        let before = try LogLine.read(log).count
        try await Task.sleep(for: .milliseconds(300))
        #expect(try LogLine.read(log).count > before)

        try await node.runtime.start()
        var events = node.runtime.events().makeAsyncIterator()
        let status = try await node.runtime.container(ids[1])
        #expect((status.state, status.sandbox, status.name) == (.running, ids[0], "counter"))
        #expect(status.pid > 0 && status.startedAt > 0)
        #expect(await node.runtime.sandboxes().map(\.state) == [.ready])
        let inside = try await node.runtime.execSync(ids[1], command: ["hostname"], timeout: .seconds(5))
        #expect(inside.stdout == Array("killed\n".utf8))
        try await node.runtime.stopContainer(ids[1], signal: nil, grace: .zero)
        #expect(await events.next()?.kind == .exited)
        // No gap: the numbers follow each other over the agent's death.
        let numbers = try LogLine.read(log).compactMap { Int($0.text.dropLast()) }
        #expect(numbers == Array(1...max(1, numbers.count)))
        await node.close()
    }

    @Test func exitsWhileNobodyListensAreReported() async throws {
        let node = try TestNode()
        try await node.runtime.start()
        let sandbox = try await node.sandbox()
        // Long enough that it does not end before nobody listens, on a busy machine too.
        let short = try await node.start("sleep 3; exit 6", in: sandbox)
        let long = try await node.start("sleep 1000", in: sandbox) { $0.logPath = "long.log" }
        let created = try await node.runtime.createContainer(node.container("true"), sandbox: sandbox.id)
        node.runtime.shutdown()
        try await Task.sleep(for: .milliseconds(3500))
        let second = try Runtime(configuration: node.configuration(), images: node.images)
        try await second.start()
        var events = second.events().makeAsyncIterator()
        #expect(await events.next() == ContainerEvent(.exited, container: short, sandbox: sandbox.id))
        #expect(try await second.container(short).exitCode == 6)
        #expect(try await second.container(long).state == .running)
        #expect(try await second.container(created).state == .created)
        try await second.startContainer(created)
        // And once more, after the shim has been told to forget: the record on disk is enough.
        _ = try await node.exited(created, in: second)
        second.shutdown()
        let third = try Runtime(configuration: node.configuration(), images: node.images)
        try await third.start()
        #expect(try await third.container(short).exitCode == 6)
        #expect(try await third.container(created).state == .exited)
        #expect(try await third.container(long).state == .running)
        try await third.removeSandbox(sandbox.id)
        try await third.stopShim()
        third.shutdown()
        await node.close()
    }

    @Test func aKilledShimIsReplacedAndItsContainersAreReported() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox()
            let id = try await node.start("sleep 1000", in: sandbox)
            let shim = try await node.runtime.shimPID()
            #expect(kill(shim, SIGKILL) == 0)
            let status = try await node.exited(id)
            #expect(status.exitCode == 255)
            // The node works again.
            for _ in 0..<200 where (try? await node.runtime.shimPID()) == shim {
                try await Task.sleep(for: .milliseconds(20))
            }
            let next = try await node.start("exit 2", in: sandbox) { $0.logPath = "next.log" }
            #expect(try await node.exited(next).exitCode == 2)
        }
    }

    @Test func theShimBecomesANewBinaryUnderRunningContainers() async throws {
        let copy = "/tmp/k3s-old-shim-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        try Files.write(copy, try Files.read(TestNode.probe, limit: 1 << 30), mode: 0o755)
        chmod(copy, 0o755)
        defer { unlink(copy) }
        let node = try TestNode { $0.shimCommand = [copy, ShimMain.role] }
        try await node.runtime.start()
        let pid = try await node.runtime.shimPID()
        let sandbox = try await node.sandbox()
        let counter = try await node.start(
            "i=0; while [ $i -lt 1500 ]; do i=$((i+1)); echo $i; printf half >&2; usleep 2000; done; read line; exit 7",
            in: sandbox
        ) { $0.stdin = true }
        let reader = try await node.start("read line; echo got $line; exit 3", in: sandbox) {
            ($0.name, $0.logPath, $0.stdin) = ("reader", "reader.log", true)
        }
        let terminal = try await node.start("read line; echo got $line", in: sandbox) {
            ($0.name, $0.logPath, $0.stdin, $0.tty) = ("terminal", "terminal.log", true, true)
        }
        node.runtime.shutdown()
        let before = try Files.status("/proc/\(pid)/exe").st_ino
        #expect(try before == Files.status(copy).st_ino)

        let second = try Runtime(configuration: node.configuration(), images: node.images)
        try await second.start()
        // The same process, parent of the same containers, with the other program.
        #expect(try await second.shimPID() == pid)
        #expect(try Files.status("/proc/\(pid)/exe").st_ino == Files.status(TestNode.probe).st_ino)
        #expect(try await second.container(counter).state == .running)
        for id in [reader, terminal] {
            let attached = try await second.attach(id, AttachRequest(stdin: true))
            try await attached.writeStdin(Array("line\n".utf8))
            #expect(try await attached.wait() == (id == reader ? 3 : 0))
            await attached.close()
        }
        let fresh = try await second.createContainer(
            node.container("exit 9") { $0.logPath = "fresh.log" }, sandbox: sandbox.id)
        try await second.startContainer(fresh)
        #expect(try await node.exited(fresh, in: second).exitCode == 9)
        let attached = try await second.attach(counter, AttachRequest(stdin: true))
        try await attached.writeStdin(Array("enough\n".utf8))
        let status = try await node.exited(counter, seconds: 120, in: second)
        await attached.close()
        #expect(status.exitCode == 7)
        let lines = try LogLine.read(status.logPath)
        #expect(lines.filter { $0.stream == "stdout" }.compactMap { Int($0.text.dropLast()) } == Array(1...1500))
        #expect(lines.filter { $0.stream == "stderr" }.map(\.text).joined().count == 1500 * 4)
        #expect(try LogLine.read(node.logs + "/\(sandbox.config.podUID)/reader.log").map(\.text) == ["got line\n"])
        #expect(try Directories.list("/proc/\(pid)/fd").count < 12)
        try await second.removeSandbox(sandbox.id)
        try await second.stopShim()
        second.shutdown()
        await node.close()
    }

    @Test func leftoversAreRemoved() async throws {
        let node = try TestNode()
        let orphan = String(repeating: "a", count: 64)
        try Directories.make(node.directory + "/root/containers/\(orphan)/upper")
        try Directories.make(node.directory + "/root/sandboxes/\(orphan)")
        try Directories.make(node.directory + "/state/sandboxes/\(orphan)/shm")
        try Mounts.mountFilesystem("tmpfs", at: node.directory + "/state/sandboxes/\(orphan)/shm")
        let cgroups = try CgroupDetection.detect()
        try cgroups.create(node.prefix + "/kubepods/burstable/pod1/" + orphan)
        try await node.runtime.start()
        #expect(try Directories.list(node.directory + "/root/containers").isEmpty)
        #expect(try Directories.list(node.directory + "/root/sandboxes").isEmpty)
        #expect(try Directories.list(node.directory + "/state/sandboxes").isEmpty)
        #expect(try MountInfo.current().filter { $0.mountPoint.hasPrefix(node.directory) }.isEmpty)
        #expect(!cgroups.exists(node.prefix + "/kubepods/burstable/pod1"))
        await node.close()
    }

    @Test(.enabled(if: getenv("K3S_SANITIZED") == nil, "measures the heap, which a sanitizer replaces"))
    func theShimStaysSmall() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox()
            let shim = try await node.runtime.shimPID()
            let empty = try Proc.memory(pid: shim)
            for index in 0..<50 {
                _ = try await node.start("echo started; sleep 1000", in: sandbox) { $0.logPath = "\(index).log" }
            }
            let full = try Proc.memory(pid: shim)
            print("shim: empty \(empty) with 50 containers \(full)")
            // Anonymous memory is what 50 containers can add to; the rest is the program's text.
            #expect(full.anonymous - empty.anonymous < 256 << 10)
            try await node.runtime.removeSandbox(sandbox.id)
        }
    }

    @Test func timeOfALife() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox()
            var create: [Duration] = [], start: [Duration] = [], end: [Duration] = [], remove: [Duration] = []
            let clock = ContinuousClock()
            for index in 0..<20 {
                let t0 = clock.now
                let id = try await node.runtime.createContainer(
                    node.container("") {
                        $0.command = ["true"]; $0.logPath = "\(index).log"
                    }, sandbox: sandbox.id)
                let t1 = clock.now
                try await node.runtime.startContainer(id)
                let t2 = clock.now
                while try await node.runtime.container(id).state != .exited { await Task.yield() }
                let t3 = clock.now
                try await node.runtime.removeContainer(id)
                let t4 = clock.now
                create.append(t1 - t0)
                start.append(t2 - t1)
                end.append(t3 - t2)
                remove.append(t4 - t3)
            }
            func median(_ list: [Duration]) -> Duration { list.sorted()[list.count / 2] }
            print("median create \(median(create)) start \(median(start)) exit \(median(end)) remove \(median(remove))")
            #expect(median(start) < .seconds(1))
        }
    }
}
