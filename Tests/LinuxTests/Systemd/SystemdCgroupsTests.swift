import Linux
import Synchronization
import Testing

/// A systemd that keeps units in memory and their cgroups in a directory. Signals of jobs come before the answer, after
/// it, or not at all.
private final class FakeSystemd: Sendable {
    enum Jobs: Sendable { case before, after, never, failed }
    struct State {
        var units: [String: [String: DBusMessage.Value]] = [:]
        var calls: [String] = []
        var jobs = Jobs.before
        var isAlive: [Bool] = []
        var number: UInt32 = 0
    }
    let state = Mutex(State())
    let root: String
    let address: SystemdBus.Address
    private let listener: FileDescriptor
    /// Its own: the shared one may be full of those who wait for us.
    let pool = BlockingPool(limit: 8)

    init(_ directory: String, isBus: Bool = false) throws {
        root = directory + "/cgroup"
        address = SystemdBus.Address(path: directory + "/private", isBus: isBus)
        listener = try UnixSocket.listen(address.path, .stream)
        try Self.fill(root)
    }

    static func fill(_ directory: String) throws {
        try Directories.make(directory)
        let all = "cpuset cpu io memory hugetlb pids\n"
        for name in ["cgroup.controllers", "cgroup.subtree_control"] {
            try Files.write(directory + "/" + name, Array(all.utf8))
        }
        for name in ["memory.max", "memory.swap.max", "cpu.weight", "pids.max", "cgroup.procs", "cgroup.kill"] {
            try Files.write(directory + "/" + name, [])
        }
        try Files.write(directory + "/cpu.max", Array("max 100000\n".utf8))
    }

    /// Serves every connection on a thread of its own until the listener is shut down.
    func start() {
        let raw = listener.raw
        Task { [self] in
            while let socket = try? await pool.run({ () throws(SysError) -> Int32 in
                try syscall("accept") { accept(raw, nil, nil) }
            }) {
                Task { await self.pool.run { self.serve(socket) } }
            }
        }
    }

    func stop() { _ = shutdown(listener.raw, Int32(SHUT_RDWR)) }

    private func serve(_ raw: Int32) {
        let socket = FileDescriptor(owning: raw)
        var bytes: [UInt8] = []
        var isBegun = false
        var chunk = [UInt8](repeating: 0, count: 4096)
        while let count = try? chunk.withUnsafeMutableBytes({ try socket.read(into: $0) }), count > 0 {
            bytes += chunk.prefix(count)
            while !isBegun, let end = bytes.firstIndex(of: UInt8(ascii: "\n")) {
                let line = String(decoding: bytes[..<end], as: UTF8.self)
                bytes.removeSubrange(...end)
                if line.contains("AUTH EXTERNAL 3") {
                    try? socket.writeAll(Array("OK 1234\r\n".utf8))
                    // Time for what is sent after the OK to arrive together.
                    usleep(2000)
                }
                guard line.hasPrefix("BEGIN") else { continue }
                isBegun = true
                // As the real one: what came together with BEGIN waits for more to arrive.
                if !bytes.isEmpty, let count = try? chunk.withUnsafeMutableBytes({ try socket.read(into: $0) }) {
                    bytes += chunk.prefix(count)
                }
            }
            while isBegun, let length = try? DBusMessage.length(bytes[...]), bytes.count >= length {
                guard let call = try? DBusMessage(decoding: bytes[..<length]) else { return }
                bytes.removeSubrange(..<length)
                for message in answer(call) { try? socket.writeAll(message.encoded()) }
            }
        }
    }

    private func answer(_ call: DBusMessage) -> [DBusMessage] {
        var answer = DBusMessage(.answer)
        answer.fields[5] = .uint32(call.serial)
        var text = ""
        if case .string(let name)? = call.body.first { text = name }
        state.withLock { $0.calls.append(call.member + (text.isEmpty ? "" : " " + text)) }
        func refuse(_ name: String) -> [DBusMessage] {
            answer.kind = .error
            answer.fields[4] = .string("org.freedesktop.systemd1." + name)
            answer.body = [.string("refused")]
            return [answer]
        }
        switch call.member {
        case "StartTransientUnit":
            guard state.withLock({ $0.units[text] }) == nil else { return refuse("UnitExists") }
            let properties = Self.properties(call.body[2])
            var directory = root + "/" + Self.directory(text)
            if case .string(let slice)? = properties["Slice"] {
                directory = root + "/" + Self.directory(slice) + "/" + text
                if case .array(_, let pids)? = properties["PIDs"], case .uint32(let pid)? = pids.first {
                    state.withLock { $0.isAlive.append(kill(pid_t(pid), 0) == 0) }
                }
            }
            // With what is above it, as the kernel has it.
            var above = root
            for part in directory.dropFirst(root.utf8.count).split(separator: "/") {
                above += "/" + part
                if !Files.exists(above + "/cgroup.controllers") { try? Self.fill(above) }
            }
            state.withLock { $0.units[text] = properties }
        case "StopUnit":
            guard let unit = state.withLock({ $0.units.removeValue(forKey: text) }) else {
                return refuse("NoSuchUnit")
            }
            var directory = root + "/" + Self.directory(text)
            if case .string(let slice)? = unit["Slice"] { directory = root + "/" + Self.directory(slice) + "/" + text }
            try? Directories.removeTree(directory)
        case "SetUnitProperties":
            let new = Self.properties(call.body[2])
            state.withLock { $0.units[text]?.merge(new) { $1 } }
            return [answer]
        default:
            answer.body = [.variant(.string("252"))]
            return [answer]
        }
        let (number, jobs) = state.withLock { state in
            state.number += 1
            return (state.number, state.jobs)
        }
        let job = DBusMessage.Value.objectPath("/org/freedesktop/systemd1/job/\(number)")
        answer.body = [job]
        var signal = DBusMessage(.signal)
        signal.fields = [1: .objectPath(SystemdBus.path), 2: .string("a.b"), 3: .string("JobRemoved")]
        signal.body = [.uint32(number), job, .string(text), .string(jobs == .failed ? "failed" : "done")]
        var other = signal
        other.body[1] = .objectPath("/org/freedesktop/systemd1/job/999")
        switch jobs {
        case .before: return [other, signal, answer]
        case .after, .failed: return [answer, other, signal]
        case .never: return [answer, other]
        }
    }

    private static func properties(_ value: DBusMessage.Value) -> [String: DBusMessage.Value] {
        guard case .array(_, let list) = value else { return [:] }
        var result: [String: DBusMessage.Value] = [:]
        for case .structure(let pair) in list {
            if case .string(let name)? = pair.first, case .variant(let value)? = pair.last { result[name] = value }
        }
        return result
    }

    private static func directory(_ slice: String) -> String {
        let parts = slice.split(separator: ".")[0].split(separator: "-")
        return parts.indices.map { parts[...$0].joined(separator: "-") + ".slice" }.joined(separator: "/")
    }
}

@Suite("Cgroups that systemd makes") struct SystemdCgroupsTests {
    private func with(
        isBus: Bool = false, _ body: @escaping @Sendable (FakeSystemd, SystemdCgroups) throws -> Void
    ) async throws {
        try await withTemporaryDirectory { directory in
            let systemd = try FakeSystemd(directory, isBus: isBus)
            systemd.start()
            defer { systemd.stop() }
            let cgroups = SystemdCgroups(CgroupsV2(root: systemd.root), addresses: [systemd.address])
            // It blocks: not on the pool that serves the other end.
            let result = await systemd.pool.run { Result { try body(systemd, cgroups) } }
            try result.get()
        }
    }

    @Test(arguments: [false, true])
    func aContainerIsAScopeWithAProcessUntilItHasItsOwn(isBus: Bool) async throws {
        try await with(isBus: isBus) { systemd, cgroups in
            let path = "kubepods/burstable/pod1-2/abc"
            try cgroups.create("kubepods/burstable/pod1-2")
            try cgroups.create(path)
            let directory = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice"
            #expect(cgroups.place(path) == directory + "/cri-containerd-abc.scope")
            #expect(cgroups.cloneDirectory(path) == "\(systemd.root)/\(directory)/cri-containerd-abc.scope")
            #expect(cgroups.exists(path))
            let (units, alive) = systemd.state.withLock { ($0.units, $0.isAlive) }
            #expect(Set(units.keys) == ["kubepods-burstable-pod1_2.slice", "cri-containerd-abc.scope"])
            #expect(alive == [true])
            guard case .array(_, let pids)? = units["cri-containerd-abc.scope"]?["PIDs"],
                case .uint32(let pid)? = pids.first
            else { throw SysError(EINVAL, "PIDs") }
            #expect(kill(pid_t(pid), 0) == 0)
            cgroups.settled(path)
            #expect(kill(pid_t(pid), 0) != 0)
            // What is there is not made again.
            try cgroups.create(path)
            try cgroups.remove(path)
            try cgroups.remove(path)
            #expect(!cgroups.exists(path) && cgroups.exists("kubepods/burstable/pod1-2"))
            try cgroups.remove("kubepods/burstable/pod1-2")
            #expect(systemd.state.withLock { $0.units.isEmpty })
        }
    }

    @Test func limitsArePropertiesAndFiles() async throws {
        try await with { systemd, cgroups in
            try cgroups.create("kubepods/pod1")
            var limits = CgroupLimits()
            (limits.memory, limits.pids) = (1 << 20, 10)
            try cgroups.apply(limits, to: "kubepods/pod1")
            let unit = systemd.state.withLock { $0.units["kubepods-pod1.slice"] }
            #expect(unit?["MemoryMax"] == .uint64(1 << 20) && unit?["TasksMax"] == .uint64(10))
            let directory = systemd.root + "/kubepods.slice/kubepods-pod1.slice"
            #expect(try Files.readString(directory + "/memory.max") == "1048576")
            #expect(try Files.readString(directory + "/pids.max") == "10")
        }
    }

    @Test func aScopeThatIsLeftIsMadeAgain() async throws {
        try await with { systemd, cgroups in
            systemd.state.withLock { state in
                state.units["cri-containerd-abc.scope"] = [:]
                state.jobs = .after
            }
            try cgroups.create("kubepods/pod1/abc")
            let calls = systemd.state.withLock { $0.calls }
            #expect(
                calls == [
                    "StartTransientUnit cri-containerd-abc.scope", "StopUnit cri-containerd-abc.scope",
                    "StartTransientUnit cri-containerd-abc.scope",
                ])
            try cgroups.kill("kubepods/pod1/abc")
        }
    }

    /// Pods of a k3s that made its cgroups itself.
    @Test func aPodThatIsThereWithoutSystemdStaysThere() async throws {
        try await with { systemd, cgroups in
            try FakeSystemd.fill(systemd.root + "/kubepods/pod1")
            #expect(cgroups.place("kubepods/pod1/abc") == "kubepods/pod1/abc")
            #expect(cgroups.place("kubepods/pod2") == "kubepods.slice/kubepods-pod2.slice")
            var limits = CgroupLimits()
            limits.memory = 7 << 20
            try cgroups.apply(limits, to: "kubepods/pod1")
            #expect(systemd.state.withLock { $0.calls.isEmpty })
            #expect(try Files.readString(systemd.root + "/kubepods/pod1/memory.max") == "7340032")
        }
    }

    @Test func aJobThatFailsSaysSo() async throws {
        try await with { systemd, cgroups in
            systemd.state.withLock { $0.jobs = .failed }
            let error = #expect(throws: SysError.self) { try cgroups.create("kubepods") }
            let text = "start kubepods.slice (StartTransientUnit: the job's result is failed)"
            #expect(error?.description.hasPrefix(text) == true)
        }
    }

    @Test func waitingHasAnEnd() async throws {
        try await with { systemd, _ in
            systemd.state.withLock { $0.jobs = .never }
            var failure: DBusError?
            do throws(DBusError) {
                let bus = try SystemdBus([systemd.address], limit: .milliseconds(300))
                try bus.job(
                    "StartTransientUnit",
                    [.string("a.slice"), .string("replace"), .array("(sv)", []), .array("(sa(sv))", [])])
            } catch { failure = error }
            #expect(failure == DBusError("systemd does not answer in time"))
        }
    }

    @Test func nobodyIsThere() {
        let nowhere = SystemdBus.Address(path: "/nonexistent/private", isBus: false)
        #expect(throws: DBusError.self) { _ = try SystemdBus([nowhere]) }
    }

    @Test func systemdIsUsualWhereItHasStartedTheProcess() throws {
        try withTemporaryDirectory { root in
            try FakeSystemd.fill(root)
            let cgroups = CgroupsV2(root: root)
            func usual(_ id: String?) -> CgroupDriver {
                CgroupDriver.usual(environment: id.map { ["INVOCATION_ID": $0] } ?? [:], cgroups: cgroups)
            }
            #expect(usual("5b1f") == .systemd && usual(nil) == .cgroupfs && usual("") == .cgroupfs)
            try Files.write(root + "/cgroup.controllers", Array("cpu memory pids\n".utf8))
            #expect(usual("5b1f") == .cgroupfs)
        }
    }
}
