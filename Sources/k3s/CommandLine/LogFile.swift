import Codecs
import Linux
import Synchronization
import Transport

/// The file of `--log`, which stands in for standard error: begun anew at 50 MiB, the three files before it are kept,
/// compressed, for 28 days. Names and numbers are the original's (lumberjack's).
final class LogFile: Sendable {
    static let limit: Int64 = 50 << 20
    static let backups = 3
    static let days: Int64 = 28

    private struct State {
        var size: Int64
    }

    private let path: String
    private let limit: Int64
    /// Where standard error was; -1: not wanted.
    private let terminal: Int32
    /// What the file takes the place of.
    private let target: Int32
    private let state: Mutex<State>
    private let tidying = Mutex(())

    private static let shared = Mutex<LogFile?>(nil)
    static var current: LogFile? { shared.withLock { $0 } }

    static func open(_ path: String, keepsStandardError: Bool) throws(SysError) {
        let made = try LogFile(path, keepsStandardError: keepsStandardError)
        shared.withLock { $0 = made }
    }

    init(
        _ path: String, keepsStandardError: Bool, limit: Int64 = LogFile.limit, target: Int32 = STDERR_FILENO
    ) throws(SysError) {
        (self.path, self.limit, self.target) = (path, limit, target)
        try Directories.make(Path.parent(path), mode: 0o755)
        terminal = keepsStandardError ? fcntl(target, F_DUPFD_CLOEXEC, 3) : -1
        state = Mutex(State(size: 0))
        let size = try attach()
        state.withLock { $0.size = size }
    }

    deinit { if terminal >= 0 { close(terminal) } }

    private func attach() throws(SysError) -> Int64 {
        let made = Glibc.open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard made >= 0 else { throw SysError(errno, "open", path: path) }
        defer { close(made) }
        guard dup2(made, target) >= 0 else { throw SysError(errno, "dup2", path: path) }
        var status = stat()
        return fstat(made, &status) == 0 ? Int64(status.st_size) : 0
    }

    func write(_ line: String) {
        if terminal >= 0 { Terminal.write(line, to: terminal) }
        let count = Int64(line.utf8.count)
        let old = state.withLock { state -> String? in
            var old: String?
            if state.size > 0, state.size + count > limit { old = rotate(&state) }
            state.size += count
            Terminal.write(line, to: target)
            return old
        }
        guard let old else { return }
        Task.detached { [self] in await BlockingPool.shared.run { [self] in tidy(old) } }
    }

    /// Moves the file away and begins anew; what cannot be moved is gone on with.
    private func rotate(_ state: inout State) -> String? {
        let parts = Self.split(path)
        let old = parts.stem + "-" + Self.stamp(WallClock.now()) + parts.ending
        guard rename(path, old) == 0 else { return nil }
        state.size = (try? attach()) ?? 0
        return old
    }

    /// "/var/log/k3s.log" is "/var/log/k3s" and ".log".
    private static func split(_ path: String) -> (stem: String, ending: String) {
        let name = Path.last(path)
        guard let dot = name.lastIndex(of: "."), dot != name.startIndex else { return (path, "") }
        return (String(path.dropLast(name[dot...].count)), String(name[dot...]))
    }

    /// "2026-01-02T15-04-05.000"
    private static func stamp(_ now: Int64) -> String {
        String(Timestamp(nanoseconds: now).rfc3339Micro.prefix(23).map { $0 == ":" ? "-" : $0 })
    }

    /// Compresses what was moved away, and deletes what is too old or too much.
    func tidy(_ old: String, now: Int64 = WallClock.now()) {
        // One at a time: a file and its half-made compressed form would count as two.
        tidying.withLock { _ in compress(old, now) }
    }

    private func compress(_ old: String, _ now: Int64) {
        do {
            try Gzip.compress(file: old, to: old + ".gz")
            try Files.remove(old)
        } catch {
            // Kept as it is; a half-made one must not be taken for it.
            try? Files.remove(old + ".gz")
        }
        let parts = Self.split(path)
        let prefix = Path.last(parts.stem) + "-"
        let folder = Path.parent(path)
        let names = ((try? Directories.list(folder)) ?? []).map(\.name).filter {
            $0.hasPrefix(prefix) && ($0.hasSuffix(parts.ending) || $0.hasSuffix(parts.ending + ".gz"))
        }
        // The newest first: the names are times.
        for (index, name) in names.sorted(by: >).enumerated() {
            let file = folder + "/" + name
            guard let status = try? Files.status(file) else { continue }
            let age = now / 1_000_000_000 - Int64(status.st_mtim.tv_sec)
            if index >= Self.backups || age > Self.days * 86_400 { try? Files.remove(file) }
        }
    }
}
