import Linux
import Testing

@testable import k3s

struct IdleMemoryTests {
    static let second: Int64 = 1_000_000_000

    /// At which of the looks memory is given back.
    private func due(_ cpu: [Int64]) -> [Int] {
        var memory = IdleMemory()
        return cpu.indices.filter { memory.isDue(cpu: cpu[$0]) }
    }

    @Test func afterWorkAndRestOnce() {
        // The start, and then heartbeats, which are no work.
        let start = 3 * Self.second
        #expect(due([start, start + Self.second / 100, start + Self.second / 50, start + Self.second / 33]) == [1])
    }

    @Test func afterTheShortestStart() {
        #expect(due([Self.second / 1000, Self.second / 500]) == [0])
    }

    @Test func notInTheMidstOfWork() {
        #expect(due((1...10).map { $0 * 2 * Self.second } + [20 * Self.second]) == [10])
    }

    @Test func littleWorkAddsUp() {
        #expect(due((1...20).map { $0 * IdleMemory.work / 5 }) == [0, 5, 10, 15])
    }

    @Test func theServiceManagerHearsOfTheStart() throws {
        for path in ["/tmp/k3s-notify-\(getpid())", "@k3s-notify-\(getpid())"] {
            let listener = try UnixSocket.bound(path, .datagrams)
            defer { if path.hasPrefix("/") { unlink(path) } }
            ServiceManager.ready { $0 == "NOTIFY_SOCKET" ? path : nil }
            var buffer = [UInt8](repeating: 0, count: 64)
            let count = recv(listener.raw, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            #expect(count > 0 && String(decoding: buffer.prefix(max(0, count)), as: UTF8.self) == "READY=1\n")
        }
    }

    @Test func withoutAServiceManagerNothingHappens() {
        ServiceManager.ready { _ in nil }
        ServiceManager.ready { _ in "/nowhere/notify" }
        ServiceManager.ready { _ in "vsock:2:1" }
    }
}
