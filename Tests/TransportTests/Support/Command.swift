import Linux
import NIOPosix

/// Runs real counterparts (curl, openssl, python3, kubectl) without Foundation.
struct Command {
    struct Output: Sendable {
        var status: Int32
        var stdout: [UInt8]
        var stderr: [UInt8]
        var text: String { String(decoding: stdout, as: UTF8.self) }
        var errorText: String { String(decoding: stderr, as: UTF8.self) }
    }

    static func find(_ name: String) -> String? {
        if name.hasPrefix("/") { return access(name, X_OK) == 0 ? name : nil }
        let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin"
        for directory in path.split(separator: ":") {
            let candidate = "\(directory)/\(name)"
            if access(candidate, X_OK) == 0 { return candidate }
        }
        return nil
    }

    /// `timeout` in seconds ends the child with SIGKILL.
    static func run(
        _ arguments: [String], stdin: [UInt8] = [], environment: [String] = [], timeout: Int = 60
    ) async throws -> Output {
        try await blockingPool.runIfActive {
            try runBlocking(arguments, stdin: stdin, environment: environment, timeout: timeout)
        }
    }

    struct SpawnError: Error {
        var call: String
        var code: Int32
    }

    static func runBlocking(
        _ arguments: [String], stdin: [UInt8] = [], environment: [String] = [], timeout: Int = 60
    ) throws -> Output {
        guard let path = find(arguments[0]) else { throw SpawnError(call: "find \(arguments[0])", code: ENOENT) }
        let directory = try TemporaryDirectory()
        try directory.write("in", stdin)
        let input = open(directory.path + "/in", O_RDONLY | O_CLOEXEC)
        let output = open(directory.path + "/out", O_CREAT | O_WRONLY | O_CLOEXEC, 0o600)
        let errors = open(directory.path + "/err", O_CREAT | O_WRONLY | O_CLOEXEC, 0o600)
        defer { for fd in [input, output, errors] { close(fd) } }
        var inherited: [String] = []
        var cursor = environ
        while let entry = cursor.pointee {
            inherited.append(String(cString: entry))
            cursor += 1
        }
        // Not posix_spawn: NIO's sockets are inherited by its children, and a connection that a test has closed would
        // stay open for as long as the child of another one lives.
        var child = try Spawned.start(
            [find("timeout") ?? "/usr/bin/timeout", "-s", "KILL", "\(timeout)", path] + arguments.dropFirst(),
            environment: inherited + environment, stdio: (input, output, errors))
        return Output(
            status: try child.waitBlocking().code, stdout: try directory.read("out"), stderr: try directory.read("err"))
    }
}

extension Spawned {
    /// Blocks the thread, looking every millisecond.
    mutating func waitBlocking() throws -> Exit {
        while true {
            if let exit = try poll() { return exit }
            usleep(1000)
        }
    }
}

/// Removed with everything in it when the last reference goes.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/transport-tests-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Command.SpawnError(call: "mkdtemp", code: errno) }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        guard let directory = opendir(path) else { return }
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { unlink(path + "/" + name) }
        }
        closedir(directory)
        rmdir(path)
    }

    func write(_ name: String, _ bytes: [UInt8]) throws {
        let fd = open(path + "/" + name, O_CREAT | O_WRONLY | O_TRUNC, 0o600)
        guard fd >= 0 else { throw Command.SpawnError(call: "open", code: errno) }
        defer { close(fd) }
        var offset = 0
        while offset < bytes.count {
            let count = bytes.withUnsafeBytes { Linux.write(fd, $0.baseAddress! + offset, bytes.count - offset) }
            guard count > 0 else { throw Command.SpawnError(call: "write", code: errno) }
            offset += count
        }
    }

    func read(_ name: String) throws -> [UInt8] {
        let fd = open(path + "/" + name, O_RDONLY)
        guard fd >= 0 else { throw Command.SpawnError(call: "open", code: errno) }
        defer { close(fd) }
        var result: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = Linux.read(fd, &chunk, chunk.count)
            guard count > 0 else { return result }
            result.append(contentsOf: chunk[..<count])
        }
    }
}

/// Threads for calls that block: children and raw sockets. Enough for all tests at once.
let blockingPool: NIOThreadPool = {
    let pool = NIOThreadPool(numberOfThreads: 64)
    pool.start()
    return pool
}()
