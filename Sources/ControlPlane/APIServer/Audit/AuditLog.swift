internal import Codecs
package import KubeAPI
internal import Linux
import Synchronization

/// The file that audit events go to, a line of JSON each; turned over by size, old files go by number and age.
///
/// Writers never wait for the disk: what comes is gathered and written by a thread of the blocking pool. When the disk
/// does not keep up, events beyond 16 MiB are dropped and counted (`dropped`, in /metrics).
package final class AuditLog: Sendable {
    package struct Options: Sendable {
        package var path: String
        /// --audit-log-maxsize in bytes, --audit-log-maxbackup, --audit-log-maxage in days; 0: no bound of number or age.
        package var maximumBytes: Int64 = 100 << 20
        package var backups = 0
        package var days: Int64 = 0
        package init(path: String) { self.path = path }
    }

    package let policy: AuditPolicy
    private let options: Options
    private let clock: any KubeClock
    private static let waitingBytes = 16 << 20

    private struct State {
        var waiting: [UInt8] = []
        var isWriting = false
        var dropped: Int64 = 0
        var written: Int64 = 0
    }
    private let state = Mutex(State())

    package init(_ policy: AuditPolicy, _ options: Options, clock: any KubeClock = SystemClock()) {
        (self.policy, self.options, self.clock) = (policy, options, clock)
    }

    var counts: (written: Int64, dropped: Int64) { state.withLock { ($0.written, $0.dropped) } }

    func write(_ event: JSON) {
        let line = event.encode()
        let starts = state.withLock { state in
            guard state.waiting.count + line.count < Self.waitingBytes else {
                state.dropped += 1
                return false
            }
            state.written += 1
            state.waiting.append(contentsOf: line)
            state.waiting.append(UInt8(ascii: "\n"))
            defer { state.isWriting = true }
            return !state.isWriting
        }
        if starts { Task { await drain() } }
    }

    /// Waits until what has come is in the file.
    package func flush() async {
        while state.withLock({ $0.isWriting }) { try? await Task.sleep(for: .milliseconds(1)) }
    }

    private func drain() async {
        while true {
            let bytes = state.withLock { state in
                defer { state.waiting = [] }
                if state.waiting.isEmpty { state.isWriting = false }
                return state.waiting
            }
            if bytes.isEmpty { return }
            let (options, now) = (options, clock.now())
            let isLost = await BlockingPool.shared.run {
                do throws(SysError) {
                    try Self.append(bytes, options, now)
                    return false
                } catch {
                    return true
                }
            }
            if isLost {
                let lines = Int64(bytes.count { $0 == UInt8(ascii: "\n") })
                state.withLock { $0.dropped += lines }
            }
        }
    }

    private static func append(_ bytes: [UInt8], _ options: Options, _ now: Timestamp) throws(SysError) {
        if options.path == "-" {
            let out = try FileDescriptor.open("/dev/stdout", O_WRONLY | O_APPEND)
            return try out.writeAll(bytes)
        }
        let directory = Path.parent(options.path)
        if !Files.exists(directory) { try Directories.make(directory, mode: 0o700) }
        if Files.exists(options.path) {
            let size = Int64(try Files.status(options.path).st_size)
            if size > 0, size + Int64(bytes.count) > options.maximumBytes { try turn(options, now) }
        }
        let file = try FileDescriptor.open(options.path, O_WRONLY | O_CREAT | O_APPEND, mode: 0o600)
        try file.writeAll(bytes)
    }

    /// audit.log becomes audit-2026-01-02T03-04-05.678.log, and what is too much goes.
    private static func turn(_ options: Options, _ now: Timestamp) throws(SysError) {
        let (directory, name) = (Path.parent(options.path), Path.last(options.path))
        let dot = name.lastIndex(of: ".") ?? name.endIndex
        let (stem, suffix) = (name[..<dot] + "-", name[dot...])
        let stamp = String(now.rfc3339Micro.prefix(23)).split(separator: ":").joined(separator: "-")
        let target = Path.join(directory, stem + stamp + suffix)
        guard rename(options.path, target) == 0 else { throw SysError(errno, "rename", path: target) }
        var old = try Directories.list(directory).map(\.name).filter {
            $0.hasPrefix(stem) && $0.hasSuffix(suffix) && $0.utf8.count == target.utf8.count - directory.utf8.count - 1
        }.sorted()
        var gone: [String] = []
        if options.backups > 0, old.count > options.backups {
            gone += old.prefix(old.count - options.backups)
            old.removeFirst(old.count - options.backups)
        }
        if options.days > 0 {
            let oldest = String(now.advanced(by: .seconds(-options.days * 86_400)).rfc3339Micro.prefix(23))
                .split(separator: ":").joined(separator: "-")
            gone += old.filter { String($0.dropFirst(stem.count).dropLast(suffix.count)) < oldest }
        }
        for name in gone { try Files.remove(Path.join(directory, name)) }
    }
}
