import Containers
import Linux

/// What hack/bench_runtime.py prints beside crun's and runc's figures.
struct Bench {
    let directory: String
    let count: Int
    let runtime: Runtime
    let prefix: String
    let clock = ContinuousClock()

    init(_ arguments: [String], count: Int) throws(RuntimeError) {
        directory = arguments[0]
        self.count = count
        prefix = "k3s-bench-\(getpid())"
        var configuration = RuntimeConfiguration(root: directory + "/root", state: directory + "/state")
        configuration.cgroupPrefix = prefix
        let images = FakeImages()
        var image = ImageInfo()
        (image.id, image.tags) = ("sha256:busybox", ["busybox"])
        images.add(image, layers: Array(arguments[2...]))
        runtime = try Runtime(configuration: configuration, images: images)
    }

    private func sandbox() async throws -> SandboxStatus {
        var config = SandboxConfig()
        (config.podUID, config.logDirectory) = (
            String(UInt64.random(in: 0...UInt64.max), radix: 16), directory + "/logs"
        )
        return try await runtime.runSandbox(config)
    }

    private func container(_ command: [String], _ log: String) -> ContainerConfig {
        var container = ContainerConfig()
        (container.name, container.image, container.command) = ("c", "busybox", command)
        container.logPath = log
        container.security.seccomp = .runtimeDefault
        return container
    }

    private func start(_ command: [String], _ log: String, in sandbox: String) async throws -> String {
        let id = try await runtime.createContainer(container(command, log), sandbox: sandbox)
        try await runtime.startContainer(id)
        return id
    }

    private func ended(_ id: String) async throws {
        while try await runtime.container(id).state != .exited { try await Task.sleep(for: .milliseconds(1)) }
    }

    private func say(_ name: String, _ value: Double, _ unit: String) {
        print("\(name) \((value * 1000).rounded() / 1000) \(unit)")
        fflush(nil)
    }

    private func milliseconds(_ duration: Duration) -> Double { Double(duration.nanoseconds / 1000) / 1000 }

    private func median(_ list: [Double]) -> Double { list.sorted()[list.count / 2] }

    func run() async throws {
        try await runtime.start()
        try await lives()
        try await parallel()
        try await memory()
        try await execs()
        try await log()
        try await runtime.stopShim()
        runtime.shutdown()
        let cgroups = try CgroupDetection.detect()
        try cgroups.kill(prefix)
        try cgroups.remove(prefix)
    }

    private func lives() async throws {
        var sandboxes: [Double] = [], whole: [Double] = [], steps: [[Double]] = [[], [], [], []]
        var events = runtime.events().makeAsyncIterator()
        for index in 0..<count {
            let begin = clock.now
            let sandbox = try await sandbox()
            sandboxes.append(milliseconds(clock.now - begin))
            let t0 = clock.now
            let id = try await runtime.createContainer(container(["true"], "\(index).log"), sandbox: sandbox.id)
            let t1 = clock.now
            try await runtime.startContainer(id)
            let t2 = clock.now
            while let event = await events.next(), event.kind != .exited {}
            let t3 = clock.now
            try await runtime.removeContainer(id)
            let t4 = clock.now
            for (step, time) in [t1 - t0, t2 - t1, t3 - t2, t4 - t3].enumerated() {
                steps[step].append(milliseconds(time))
            }
            whole.append(milliseconds(t4 - t0))
            try await runtime.removeSandbox(sandbox.id)
        }
        say("life", median(whole), "ms")
        for (name, list) in zip(["create", "start", "exit", "remove"], steps) { say(name, median(list), "ms") }
        say("sandbox", median(sandboxes), "ms")
    }

    /// 100 containers of one pod, started at the same time.
    private func parallel() async throws {
        let sandbox = try await sandbox()
        let begin = clock.now
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<100 {
                group.addTask { _ = try await start(["sleep", "1000"], "p\(index).log", in: sandbox.id) }
            }
            try await group.waitForAll()
        }
        say("parallel100", milliseconds(clock.now - begin), "ms")
        try await runtime.removeSandbox(sandbox.id)
    }

    /// Proportional memory of the shim, and resident memory of both processes per container.
    private func memory() async throws {
        let shim = try await runtime.shimPID()
        let sandbox = try await sandbox()
        for index in 0..<10 { _ = try await start(["sleep", "1000"], "w\(index).log", in: sandbox.id) }
        let before = try rollup(getpid(), "Rss") + rollup(shim, "Rss")
        for index in 0..<50 { _ = try await start(["sleep", "1000"], "m\(index).log", in: sandbox.id) }
        let after = try rollup(getpid(), "Rss") + rollup(shim, "Rss")
        say("memory-per-container", Double(after - before) / 50, "KB")
        say("shim-pss-60-containers", Double(try rollup(shim, "Pss")), "KB")
        try await runtime.removeSandbox(sandbox.id)
    }

    private func rollup(_ pid: Int32, _ field: String) throws -> Int {
        for line in try Files.readString("/proc/\(pid)/smaps_rollup").split(separator: "\n") {
            let words = line.split(whereSeparator: \.isWhitespace)
            if words.count > 1, words[0] == field + ":" { return Int(words[1]) ?? 0 }
        }
        return 0
    }

    private func execs() async throws {
        let sandbox = try await sandbox()
        let id = try await start(["sleep", "1000"], "e.log", in: sandbox.id)
        var times: [Double] = []
        for _ in 0..<count {
            let begin = clock.now
            _ = try await runtime.execSync(id, command: ["true"], timeout: .seconds(10))
            times.append(milliseconds(clock.now - begin))
        }
        say("exec", median(times), "ms")
        try await runtime.removeSandbox(sandbox.id)
    }

    /// What a container writes per second into its log, and the shim's CPU time for it: 1 GB of lines of 100 bytes, from a
    /// file of 20 MB, in writes of 4 KB as C programs' buffers make them.
    private func log() async throws {
        let sandbox = try await sandbox()
        let shim = try await runtime.shimPID()
        let ticks = try ticks(shim)
        let begin = clock.now
        let id = try await start(
            ["sh", "-c", "i=0; while [ $i -lt 50 ]; do dd if=/lines bs=4k 2>/dev/null; i=$((i+1)); done"], "log.log",
            in: sandbox.id)
        try await ended(id)
        let seconds = milliseconds(clock.now - begin) / 1000
        say("log", 1000 / seconds, "MB/s")
        say("log-cores", (try self.ticks(shim) - ticks) / Double(sysconf(Int32(_SC_CLK_TCK))) / seconds, "cores")
        try await runtime.removeSandbox(sandbox.id)
    }

    /// User and system time of a process.
    private func ticks(_ pid: Int32) throws -> Double {
        let text = try Files.readString("/proc/\(pid)/stat")
        guard let end = text.lastIndex(of: ")") else { return 0 }
        let fields = text[end...].split(separator: " ")
        return fields.count > 13 ? Double(fields[12]).map { $0 + (Double(fields[13]) ?? 0) } ?? 0 : 0
    }
}
