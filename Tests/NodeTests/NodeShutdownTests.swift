import Codecs
import KubeAPI
import Linux
import Synchronization
import Testing

@testable import Node

@Suite("Shutdown groups") struct ShutdownGroupTests {
    @Test func criticalPodsHaveTheLastPartOfThePeriod() {
        var groups = ShutdownGroups()
        #expect(groups.groups.isEmpty)
        (groups.period, groups.critical) = (.seconds(30), .seconds(10))
        #expect(groups.groups.map(\.seconds) == [20, 10])
        #expect(groups.index(priority: -5) == 0 && groups.index(priority: 100) == 0)
        #expect(groups.index(priority: 2_000_000_000) == 1)
        groups.byPriority = [.init(priority: 1000, seconds: 4), .init(priority: 10, seconds: 7)]
        #expect(groups.total == 11)
        #expect([0, 10, 999, 1000, 5000].map { groups.index(priority: $0) } == [0, 0, 0, 1, 1])
    }
}

/// A message bus with logind behind it: answers what the node asks, keeps the inhibitor's other end, sends signals.
private final class FakeBus: Sendable {
    struct State {
        var members: [String] = []
        var limit: UInt64 = 5_000_000
        /// The pipe's other end: it ends when the node lets go.
        var inhibitor: Int32 = -1
        var socket: AsyncFD?
    }
    let state = Mutex(State())
    private let listener: AsyncFD
    private let task = Mutex<Task<Void, Never>?>(nil)

    init(path: String, limit: UInt64) throws {
        listener = try AsyncFD(try UnixSocket.listen(path, .stream))
        state.withLock { $0.limit = limit }
    }

    func start() { task.withLock { $0 = Task { await self.serve() } } }

    func stop() {
        task.withLock { $0 }?.cancel()
        listener.close()
        state.withLock { state in
            state.socket?.close()
            if state.inhibitor >= 0 { close(state.inhibitor) }
            state.inhibitor = -1
        }
    }

    var members: [String] { state.withLock { $0.members } }
    var isInhibited: Bool {
        let fd = state.withLock { $0.inhibitor }
        guard fd >= 0 else { return false }
        var entry = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, 0) == 0
    }

    func send(shutdown: Bool) async throws {
        var message = DBusMessage(.signal)
        message.serial = 1000
        message.fields = [
            1: .objectPath("/org/freedesktop/login1"), 2: .string("org.freedesktop.login1.Manager"),
            3: .string("PrepareForShutdown"),
        ]
        message.body = [.bool(shutdown)]
        let socket = state.withLock { $0.socket }
        try await socket?.write(message.encoded())
    }

    private func serve() async {
        guard
            let raw = try? await listener.whenReadable(
                "accept",
                { fd -> Int32 in
                    let result = accept(fd, nil, nil)
                    return result < 0 ? -errno : result
                }), let socket = try? AsyncFD(FileDescriptor(owning: raw))
        else { return }
        state.withLock { $0.socket = socket }
        var bytes: [UInt8] = []
        var isBegun = false
        while !Task.isCancelled, let chunk = try? await socket.read(limit: 4096) {
            bytes += chunk
            while !isBegun, let end = bytes.firstIndex(of: UInt8(ascii: "\n")) {
                let line = String(decoding: bytes[..<end], as: UTF8.self)
                bytes.removeSubrange(...end)
                if line.contains("AUTH EXTERNAL") { try? await socket.write(Array("OK 1234\r\n".utf8)) }
                if line.hasPrefix("NEGOTIATE") { try? await socket.write(Array("AGREE_UNIX_FD\r\n".utf8)) }
                if line.hasPrefix("BEGIN") { isBegun = true }
            }
            while isBegun, let length = try? DBusMessage.length(bytes[...]), bytes.count >= length {
                guard let call = try? DBusMessage(decoding: bytes[..<length]) else { return }
                bytes.removeSubrange(..<length)
                answer(call, socket)
            }
        }
    }

    private func answer(_ call: DBusMessage, _ socket: AsyncFD) {
        var answer = DBusMessage(.answer)
        answer.serial = 500
        answer.fields[5] = .uint32(call.serial)
        var passed: [Int32] = []
        switch call.member {
        case "Get": answer.body = [.variant(.uint64(state.withLock { $0.limit }))]
        case "KillUnit": state.withLock { $0.limit = 60_000_000 }
        case "Inhibit":
            var ends: [Int32] = [-1, -1]
            pipe(&ends)
            state.withLock { $0.inhibitor = ends[0] }
            passed = [ends[1]]
            answer.fields[9] = .uint32(1)
            answer.body = [.descriptor(0)]
        default: break
        }
        state.withLock { $0.members.append(call.member) }
        let bytes = answer.encoded()
        _ = try? socket.withDescriptor { fd in
            bytes.withUnsafeBytes { k3s_send_fds(fd, $0.baseAddress, $0.count, passed, Int32(passed.count), 0) }
        }
        for fd in passed { close(fd) }
    }
}

@Suite("Graceful node shutdown") struct NodeShutdownTests {
    @Test func podsEndByPriorityBeforeTheMachineDoes() async throws {
        let node = try NodeHarness { configuration in
            configuration.systemBus = configuration.etc + "/bus"
            configuration.shutdown.period = .seconds(30)
            configuration.shutdown.critical = .seconds(10)
        }
        let bus = try FakeBus(path: node.configuration.systemBus, limit: 5_000_000)
        bus.start()
        node.start()
        node.create("web", containers: [["name": "w", "image": "busybox:1"]])
        node.create("dns", ["priority": 2_000_000_000], containers: [["name": "d", "image": "busybox:1"]])
        for name in ["web", "dns"] { try await node.until("\(name) runs") { node.isReady(name) } }
        // Five seconds were not enough: logind is told.
        try await node.until("the node inhibits", ticking: .milliseconds(100)) { bus.isInhibited }
        #expect(bus.members == ["Hello", "AddMatch", "Get", "KillUnit", "Get", "Inhibit"])
        let file = node.configuration.etc + "/systemd/logind.conf.d/99-kubelet.conf"
        #expect(Files.text(file)?.contains("InhibitDelayMaxSec=30\n") == true)

        node.runtime.stopTakes("w", .seconds(3))
        try await bus.send(shutdown: true)
        try await node.until("the node lets go", ticking: .milliseconds(100)) { !bus.isInhibited }
        for name in ["web", "dns"] {
            let status = node.pod(name)?.status ?? .null
            #expect(status["phase"].string == "Failed")
            #expect(status["reason"].string == "Terminated")
            #expect(status["message"].string == "Pod was terminated in response to imminent node shutdown.")
            #expect(node.condition(name, "DisruptionTarget")["reason"].string == "TerminationByKubelet")
        }
        let calls = node.runtime.calls
        let (web, dns) = (calls.firstIndex(of: "stop w 20 15"), calls.firstIndex(of: "stop d 10 15"))
        #expect(try #require(web) < #require(dns))
        try await node.until("the node says so") {
            let conditions = node.client.object(.nodes, "", "node-1")?.status["conditions"].elements ?? []
            return conditions.contains {
                $0["type"].string == "Ready" && $0["status"].string == "False"
                    && $0["message"].string == "node is shutting down"
            }
        }
        node.create("late")
        try await node.until("late is refused") { node.phase("late") == "Failed" }
        #expect(node.pod("late")?.status["reason"].string == "NodeShutdown")

        // The machine stays after all.
        try await bus.send(shutdown: false)
        try await node.until("the node inhibits again", ticking: .milliseconds(100)) { bus.isInhibited }
        node.create("next")
        try await node.until("pods may come") { node.isReady("next") }
        await node.stop()
        bus.stop()
    }
}
