import Linux
import NIOCore
import NIOPosix
import Synchronization

/// What the command says, and waiting for what is asynchronous: commands are straight-line code on the main thread.
enum Terminal {
    static func write(_ bytes: [UInt8], to descriptor: Int32) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let n = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if n < 0 {
                // Whoever reads has gone: there is nobody left to work for.
                if errno == EPIPE, descriptor == STDOUT_FILENO { _exit(1) }
                guard errno == EINTR || errno == EAGAIN else { return }
                continue
            }
            rest = rest.dropFirst(n)
        }
    }

    static func out(_ text: String) { write(Array(text.utf8), to: STDOUT_FILENO) }
    static func line(_ text: String) { out(text + "\n") }
    static func error(_ text: String) { write(Array((text + "\n").utf8), to: STDERR_FILENO) }

    static func environment(_ name: String) -> String? {
        getenv(name).flatMap { $0.pointee == 0 ? nil : String(cString: $0) }
    }

    /// All of standard input.
    static func input(limit: Int = 64 << 20) throws -> [UInt8] {
        var all: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let n = Glibc.read(STDIN_FILENO, &chunk, chunk.count)
            if n < 0 {
                if errno == EINTR { continue }
                throw SysError(errno, "read", path: "stdin")
            }
            if n == 0 { return all }
            all += chunk[..<n]
            guard all.count <= limit else { throw CommandError("standard input is larger than \(limit) bytes") }
        }
    }

    /// Runs the asynchronous part of a step and waits for it.
    static func wait<T: Sendable>(_ body: @escaping @Sendable () async throws -> T) throws -> T {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw SysError(errno, "pipe") }
        let (reading, writing) = (ends[0], ends[1])
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        let box = Box<T>()
        Task {
            do {
                let value = try await body()
                box.result.withLock { $0 = .success(value) }
            } catch {
                box.result.withLock { $0 = .failure(error) }
            }
            close(writing)
        }
        var byte: UInt8 = 0
        while read(reading, &byte, 1) < 0, errno == EINTR {}
        close(reading)
        guard let result = box.result.withLock({ $0 }) else { throw CommandError("cancelled") }
        return try result.get()
    }

    private final class Box<T: Sendable>: Sendable {
        let result = Mutex<Result<T, any Error>?>(nil)
    }

    static func sleep(_ seconds: Double) { usleep(UInt32(min(seconds, 1000) * 1e6)) }
    static var now: Double { Double(WallClock.now()) / 1e9 }
}
