import CShims
import Containers
import Linux

/// A directory of the test's own, removed with it.
final class TestDirectory: Sendable {
    let path: String

    init(_ name: String = #function) {
        var template = Array("/tmp/k3s-images-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { fatalError("mkdtemp: errno \(errno)") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { _ = try? run(["rm", "-rf", path]) }

    static func / (directory: TestDirectory, name: String) -> String { directory.path + "/" + name }
}

struct CommandFailure: Error { var text: String }

/// Runs a program to its end; its standard output.
@discardableResult
func run(_ arguments: [String], directory: String? = nil) throws -> String {
    var output: [Int32] = [0, 0]
    guard pipe(&output) == 0 else { throw CommandFailure(text: "pipe") }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, output[1], 1)
    posix_spawn_file_actions_adddup2(&actions, output[1], 2)
    posix_spawn_file_actions_addclose(&actions, output[0])
    // The shell changes the directory: posix_spawn's own way is not in Swift's view of glibc.
    let arguments = directory.map { ["sh", "-c", "cd \"$0\" && exec \"$@\"", $0] + arguments } ?? arguments
    var argv = arguments.map { strdup($0) } + [nil]
    defer { for case let pointer? in argv { free(pointer) } }
    var pid: pid_t = 0
    let code = posix_spawnp(&pid, arguments[0], &actions, nil, &argv, environ)
    close(output[1])
    defer { close(output[0]) }
    guard code == 0 else { throw CommandFailure(text: "\(arguments[0]): errno \(code)") }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
        let n = read(output[0], &buffer, buffer.count)
        if n <= 0 { break }
        bytes += buffer[..<n]
    }
    var status: Int32 = 0
    waitpid(pid, &status, 0)
    let text = String(decoding: bytes, as: UTF8.self)
    guard status == 0 else {
        throw CommandFailure(text: "\(arguments.joined(separator: " ")): status \(status): \(text)")
    }
    return text
}

func write(_ bytes: [UInt8], to path: String) {
    let fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
    guard fd >= 0 else { fatalError("\(path): errno \(errno)") }
    defer { close(fd) }
    var rest = bytes[...]
    while !rest.isEmpty {
        let n = rest.withUnsafeBytes { Linux.write(fd, $0.baseAddress, $0.count) }
        guard n > 0 else { fatalError("\(path): errno \(errno)") }
        rest = rest.dropFirst(n)
    }
}

func contents(_ path: String) -> [UInt8]? {
    let fd = open(path, O_RDONLY | O_NOFOLLOW)
    guard fd >= 0 else { return nil }
    defer { close(fd) }
    var result: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    while true {
        let n = read(fd, &buffer, buffer.count)
        if n <= 0 { return result }
        result += buffer[..<n]
    }
}

func text(_ path: String) -> String? { contents(path).map { String(decoding: $0, as: UTF8.self) } }

func info(_ path: String) -> k3s_file_info? {
    var info = k3s_file_info()
    return k3s_file_stat(AT_FDCWD, path, &info) == 0 ? info : nil
}

func xattr(_ path: String, _ name: String) -> [UInt8]? {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let n = k3s_file_lgetxattr(path, name, &buffer, buffer.count)
    return n < 0 ? nil : Array(buffer[..<Int(n)])
}

func names(_ path: String) -> [String] {
    ((try? run(["find", path, "-mindepth", "1", "-printf", "%P\n"])) ?? "").split(separator: "\n").map(String.init)
        .sorted()
}
