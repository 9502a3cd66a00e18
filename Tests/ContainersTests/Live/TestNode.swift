import Containers
import Linux
import Testing

/// Root with cgroups and the probe program: what live tests need.
let liveReason: Comment = "needs root, cgroups, /bin/busybox (static) and the RuntimeProbe program"
let canRunContainers: Bool =
    geteuid() == 0 && Files.exists("/bin/busybox") && Files.exists(TestNode.probe)
    && (try? CgroupDetection.detect().problems.isEmpty) == true

/// A node of its own: directories, cgroup prefix, shim; everything goes with it.
final class TestNode: Sendable {
    /// Next to the test bundle.
    static let probe: String = {
        let own = (try? Proc.executable()) ?? ""
        // swift test runs the bundle itself, or a helper of the toolchain with the bundle as argument.
        let candidates = [Path.parent(own)] + CommandLine.arguments.map { Path.parent($0) }
        return candidates.map { $0 + "/RuntimeProbe" }.first { Files.exists($0) } ?? own + "-missing"
    }()

    let directory: String
    let prefix: String
    let images = FakeImages()
    let runtime: Runtime
    /// Of the machine, unless others were asked for.
    private let cgroups: (any Cgroups)?

    var logs: String { directory + "/logs" }
    var layers: [String] { [directory + "/layers/users", directory + "/layers/busybox"] }

    func configuration(_ change: (inout RuntimeConfiguration) -> Void = { _ in }) -> RuntimeConfiguration {
        TestNode.configuration(directory, prefix, change)
    }

    private static func configuration(
        _ directory: String, _ prefix: String, _ change: (inout RuntimeConfiguration) -> Void
    ) -> RuntimeConfiguration {
        var configuration = RuntimeConfiguration(root: directory + "/root", state: directory + "/state")
        configuration.cgroupPrefix = prefix
        configuration.shimCommand = [probe, ShimMain.role]
        change(&configuration)
        return configuration
    }

    init(cgroups: (any Cgroups)? = nil, _ change: (inout RuntimeConfiguration) -> Void = { _ in }) throws {
        let name = String(UInt32.random(in: 0...UInt32.max), radix: 36)
        self.cgroups = cgroups
        directory = "/tmp/k3s-rt-\(getpid())-\(name)"
        prefix = "k3s-test-\(getpid())-\(name)"
        try Directories.make(directory, mode: 0o755)
        try TestNode.makeLayers(directory + "/layers")
        var image = ImageInfo()
        image.id = "sha256:busybox"
        image.tags = ["busybox"]
        image.config.environment = ["IMAGE=yes"]
        image.config.volumes = ["/volume"]
        images.add(image, layers: [directory + "/layers/users", directory + "/layers/busybox"])
        runtime = try Runtime(
            configuration: TestNode.configuration(directory, prefix, change), images: images, cgroups: cgroups)
    }

    private static func makeLayers(_ directory: String) throws {
        let bin = directory + "/busybox/bin"
        try Directories.make(bin)
        // Each test node has its own copy: hard links would do, but /tmp may be another file system.
        try Files.write(bin + "/busybox", try Files.read("/bin/busybox"), mode: 0o755)
        for applet in [
            "sh", "ls", "cat", "echo", "sleep", "true", "false", "id", "env", "pwd", "seq", "dd", "head", "tail", "yes",
            "kill", "test", "mount", "grep", "stat", "hostname", "tr", "wc", "touch", "mkdir", "nc", "usleep", "od",
            "printf", "ps", "mknod", "ip", "chroot", "readlink", "stty", "ulimit", "sed", "trap",
        ] { symlink("busybox", bin + "/" + applet) }
        try Files.write(bin + "/script", Array("#!/bin/nosuchinterpreter\n".utf8), mode: 0o755)
        try Files.write(bin + "/plain", Array("text\n".utf8), mode: 0o644)
        chmod(bin + "/script", 0o755)
        chmod(bin + "/busybox", 0o755)
        try Directories.make(directory + "/busybox/tmp", mode: 0o1777)
        try Directories.make(directory + "/users/etc")
        try Files.write(
            directory + "/users/etc/passwd",
            Array("root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\n".utf8))
        try Files.write(
            directory + "/users/etc/group", Array("root:x:0:\nwheel:x:10:root\napp:x:1001:\nvideo:x:27:app\n".utf8))
    }

    /// Ends everything that belongs to the node, and says what was left.
    func close() async {
        for sandbox in await runtime.sandboxes() { try? await runtime.removeSandbox(sandbox.id) }
        try? await runtime.stopShim()
        runtime.shutdown()
        if let cgroups = try? self.cgroups ?? CgroupDetection.detect() {
            // The shim leaves its cgroup when it has ended.
            try? cgroups.kill(prefix)
            try? cgroups.remove(prefix)
        }
        _ = try? Mounts.unmountTree(directory)
        try? Directories.removeTree(directory)
    }

    func sandbox(_ change: (inout SandboxConfig) -> Void = { _ in }) async throws -> SandboxStatus {
        var config = SandboxConfig()
        config.podUID = String(UInt64.random(in: 0...UInt64.max), radix: 16)
        (config.name, config.namespace, config.hostname) = ("pod", "default", "pod-host")
        config.logDirectory = logs + "/" + config.podUID
        change(&config)
        return try await runtime.runSandbox(config)
    }

    func container(_ script: String, _ change: (inout ContainerConfig) -> Void = { _ in }) -> ContainerConfig {
        var config = ContainerConfig()
        config.name = "main"
        config.image = "busybox"
        config.command = ["sh", "-c", script]
        config.logPath = "main.log"
        change(&config)
        return config
    }

    func start(
        _ script: String, in sandbox: SandboxStatus, _ change: (inout ContainerConfig) -> Void = { _ in }
    ) async throws -> String {
        let id = try await runtime.createContainer(container(script, change), sandbox: sandbox.id)
        try await runtime.startContainer(id)
        return id
    }

    func exited(_ id: String, seconds: Int = 20, in runtime: Runtime? = nil) async throws -> ContainerStatus {
        let runtime = runtime ?? self.runtime
        for _ in 0..<(seconds * 200) {
            let status = try await runtime.container(id)
            if status.state == .exited { return status }
            try await Task.sleep(for: .milliseconds(5))
        }
        Issue.record("container \(id) did not exit")
        return try await runtime.container(id)
    }

    struct Outcome {
        var status: ContainerStatus
        /// Content of the log lines, by stream.
        var stdout: String
        var stderr: String
    }

    /// Runs a script to its end in a sandbox of its own.
    func run(
        _ script: String, sandbox change: (inout SandboxConfig) -> Void = { _ in },
        _ container: (inout ContainerConfig) -> Void = { _ in }
    ) async throws -> Outcome {
        let sandbox = try await sandbox(change)
        let id = try await start(script, in: sandbox, container)
        let status = try await exited(id)
        let lines = status.logPath.isEmpty ? [] : try LogLine.read(status.logPath)
        try await runtime.removeSandbox(sandbox.id)
        return Outcome(
            status: status, stdout: lines.filter { $0.stream == "stdout" }.map(\.text).joined(),
            stderr: lines.filter { $0.stream == "stderr" }.map(\.text).joined())
    }
}

/// A line of a CRI log.
struct LogLine {
    var time: String
    var stream: String
    var tag: String
    /// With its newline when the tag is F.
    var text: String

    static func read(_ path: String) throws -> [LogLine] {
        let text = try Files.readString(path)
        #expect(text.isEmpty || text.utf8.last == UInt8(ascii: "\n"), "the log ends within a line")
        // By bytes: a carriage return and a newline are one Character.
        return text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast().compactMap {
            bytes in
            let line = String(decoding: bytes, as: UTF8.self)
            let fields = line.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)
            guard fields.count == 4 else {
                Issue.record("not a CRI log line: \(line.prefix(100))")
                return nil
            }
            return LogLine(
                time: String(fields[0]), stream: String(fields[1]), tag: String(fields[2]),
                text: fields[3] + (fields[2] == "F" ? "\n" : ""))
        }
    }
}

/// Runs `body` with a started node.
func withNode(
    _ change: (inout RuntimeConfiguration) -> Void = { _ in }, _ body: (TestNode) async throws -> Void
) async throws {
    let node = try TestNode(change)
    do {
        try await node.runtime.start()
        try await body(node)
    } catch {
        await node.close()
        throw error
    }
    await node.close()
}
