import Linux
import Synchronization
import Testing

@testable import k3s

@Suite struct SocketRelayTests {
    private struct Pair {
        var near: Int32
        var far: Int32
    }

    private func pair() throws -> Pair {
        var ends: [Int32] = [-1, -1]
        try syscall("socketpair") { socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) }
        return Pair(near: ends[0], far: ends[1])
    }

    /// Two far ends that are joined in the middle.
    private func joined(_ onEnd: @escaping @Sendable () -> Void = {}) throws -> (a: AsyncFD, b: AsyncFD) {
        let (x, y) = (try pair(), try pair())
        for fd in [x.near, y.near] { k3s_fcntl(fd, F_SETFL, O_NONBLOCK) }
        SocketRelay.start(FileDescriptor(owning: x.near), connecting: FileDescriptor(owning: y.near), onEnd: onEnd)
        return (try AsyncFD(FileDescriptor(owning: x.far)), try AsyncFD(FileDescriptor(owning: y.far)))
    }

    @Test(.timeLimit(.minutes(1))) func bytesArriveWholeHoweverSlowTheReaderIs() async throws {
        let (a, b) = try joined()
        let size = 3_000_000
        let sent = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) }
        let writing = Task {
            try await a.write(sent)
            try a.withDescriptor { _ = shutdown($0, Int32(SHUT_WR)) }
        }
        var received: [UInt8] = []
        while let chunk = try await b.read() {
            received += chunk
            if received.count % 7 == 0 { try await Task.sleep(for: .milliseconds(1)) }
        }
        try await writing.value
        #expect(received == sent)
        // The other direction is still open.
        try await b.write(Array("answer".utf8))
        #expect(try await a.read() == Array("answer".utf8))
    }

    @Test(.timeLimit(.minutes(1))) func bothEndsGoWhenBothHaveEnded() async throws {
        let flag = Flag()
        let (a, b) = try joined { flag.set() }
        a.close()
        #expect(try await b.read() == nil)
        b.close()
        while !flag.isSet { try await Task.sleep(for: .milliseconds(5)) }
    }

    private final class Flag: Sendable {
        private let value = Atomic(false)
        func set() { value.store(true, ordering: .relaxed) }
        var isSet: Bool { value.load(ordering: .relaxed) }
    }
}
