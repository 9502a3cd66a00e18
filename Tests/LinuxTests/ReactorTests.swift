import Linux
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(1))) struct ReactorTests {
    @Test func bytesArriveInOrderThroughAPipe() async throws {
        let (read, write) = try FileDescriptor.pipe().takeBoth()
        let reader = try AsyncFD(FileDescriptor(owning: read))
        let writer = try AsyncFD(FileDescriptor(owning: write))
        // Four times a pipe's capacity: the writer has to wait for the reader.
        let sent = (0..<262_144).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
        async let done: Void = {
            try await writer.write(sent); writer.close()
        }()
        var received: [UInt8] = []
        while let chunk = try await reader.read(limit: 5000) { received += chunk }
        try await done
        #expect(received == sent)
    }

    @Test func closeWakesAWaitingReader() async throws {
        let (read, write) = try FileDescriptor.pipe().takeBoth()
        let writer = FileDescriptor(owning: write)
        let reader = try AsyncFD(FileDescriptor(owning: read))
        let task = Task { () -> Int32 in
            do throws(SysError) { _ = try await reader.read() } catch { return error.code }
            return 0
        }
        try await Task.sleep(for: .milliseconds(20))
        reader.close()
        #expect(await task.value == ECANCELED)
        try writer.close()
    }

    @Test func cancellationWakesAWaitingReader() async throws {
        let (read, write) = try FileDescriptor.pipe().takeBoth()
        let writer = FileDescriptor(owning: write)
        let reader = try AsyncFD(FileDescriptor(owning: read))
        let task = Task { () -> Int32 in
            do throws(SysError) { _ = try await reader.read() } catch { return error.code }
            return 0
        }
        try await Task.sleep(for: .milliseconds(20))
        task.cancel()
        #expect(await task.value == ECANCELED)
        // The descriptor still works for the next reader.
        try writer.writeAll([7])
        #expect(try await reader.read() == [7])
    }

    @Test func writingToAClosedPipeIsAnError() async throws {
        Signals.ignoreBrokenPipe()
        let (read, write) = try FileDescriptor.pipe().takeBoth()
        close(read)
        let writer = try AsyncFD(FileDescriptor(owning: write))
        let error = await #expect(throws: SysError.self) { try await writer.write([1]) }
        #expect(error?.code == EPIPE)
    }

    @Test func pidfdBecomesReadableWhenTheChildExits() async throws {
        var child = try Spawned.start(["/bin/sleep", "0.05"])
        let status = try await child.wait()
        #expect(status == .exited(0))
    }

    @Test func exitCodeAndSignalOfAChildAreTold() async throws {
        var exits = try Spawned.start(["/bin/sh", "-c", "exit 7"])
        #expect(try await exits.wait() == .exited(7))
        var killed = try Spawned.start(["/bin/sleep", "100"])
        try killed.signal(SIGKILL)
        #expect(try await killed.wait() == .signalled(SIGKILL))
    }

    @Test func missingProgramIsAnErrorOfStart() {
        let error = #expect(throws: SysError.self) { _ = try Spawned.start(["/nonexistent"]) }
        #expect(error?.code == ENOENT)
    }

    @Test func manyConnectionsAtOnce() async throws {
        try await withThrowingTaskGroup(of: Int.self) { group in
            for index in 0..<100 {
                group.addTask {
                    let (read, write) = try FileDescriptor.pipe().takeBoth()
                    let reader = try AsyncFD(FileDescriptor(owning: read))
                    let writer = try AsyncFD(FileDescriptor(owning: write))
                    try await writer.write([UInt8](repeating: UInt8(index), count: index + 1))
                    writer.close()
                    var total = 0
                    while let chunk = try await reader.read() { total += chunk.count }
                    return total
                }
            }
            var sum = 0
            for try await count in group { sum += count }
            #expect(sum == 5050)
        }
    }
}

@Suite(.timeLimit(.minutes(1))) struct BlockingPoolTests {
    @Test func threadsAreBounded() async {
        let pool = BlockingPool(limit: 3)
        let gauge = Gauge()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<30 {
                group.addTask {
                    await pool.run {
                        gauge.enter()
                        usleep(2000)
                        gauge.leave()
                    }
                }
            }
        }
        #expect((2...3).contains(gauge.peak))
    }

    @Test func errorsKeepTheirType() async {
        do throws(SysError) {
            _ = try await BlockingPool.shared.run { () throws(SysError) -> Int in throw SysError(EBUSY, "test") }
            Issue.record("no error")
        } catch { #expect(error.code == EBUSY) }
    }

    @Test func aFreshThreadIsNotTheCallers() async {
        let caller = k3s_gettid()
        let other = await BlockingPool.onFreshThread(name: "test") { k3s_gettid() }
        #expect(other != caller)
    }
}

@Suite struct SignalsTests {
    @Test(
        arguments: [
            ("SIGTERM", 15), ("KILL", 9), ("sigusr1", 10), ("3", 3), ("SIGRTMIN+3", 37), ("RTMAX-1", 63),
            ("SIGRTMIN", 34),
        ] as [(String, Int32)])
    func namesBecomeNumbers(_ name: String, _ number: Int32) {
        #expect(Signals.number(name) == number)
    }

    @Test(arguments: ["", "SIG", "NOSUCH", "0", "65", "SIGRTMIN-3", "RTMIN+99"])
    func nonsenseIsRefused(_ name: String) {
        #expect(Signals.number(name) == nil)
    }
}

/// How many are inside at once.
private final class Gauge: Sendable {
    private let state = Mutex((now: 0, peak: 0))
    func enter() {
        state.withLock { state in
            state.now += 1
            state.peak = max(state.peak, state.now)
        }
    }
    func leave() { state.withLock { $0.now -= 1 } }
    var peak: Int { state.withLock { $0.peak } }
}
