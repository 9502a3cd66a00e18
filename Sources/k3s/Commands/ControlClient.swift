import CShims
import Codecs
import Containers
import Linux

/// The commands' end of the runtime's control socket. Blocking: these processes do nothing else.
struct ControlClient {
    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    let path: String

    /// What a pull request says of `--creds USER:PASSWORD` and the like.
    static func credentials(_ text: String) -> [String: JSON] {
        let parts = text.split(separator: ":", maxSplits: 1).map(String.init)
        return ["username": .string(parts.first ?? ""), "password": .string(parts.count > 1 ? parts[1] : "")]
    }

    init(path: String) { self.path = path }

    /// Of the machine's node, or of the user's own (`--rootless`).
    static var standardState: String {
        guard geteuid() != 0, let session = getenv("XDG_RUNTIME_DIR").map({ String(cString: $0) }),
            Files.exists(session + "/k3s/containerd")
        else { return "/run/k3s" }
        return session + "/k3s"
    }

    init(state: String = Self.standardState) { path = state + "/containerd/" + ControlServer.socketName }

    private func connect() throws -> Int32 {
        do throws(SysError) { return try UnixSocket.connect(path, .stream).take() } catch {
            throw Failure(description: "cannot reach k3s at \(path) (is it running here, and are you root?): \(error)")
        }
    }

    private func send(_ request: JSON, on fd: Int32, descriptors: [Int32] = []) throws {
        var bytes = request.encode()[...]
        bytes.append(UInt8(ascii: "\n"))
        var fds = descriptors
        while !bytes.isEmpty {
            let sent = bytes.withUnsafeBytes { k3s_send_fds(fd, $0.baseAddress, $0.count, fds, Int32(fds.count), 0) }
            guard sent >= 0 else { throw Failure(description: SysError(Int32(-sent), "send").description) }
            fds = []
            bytes = bytes.dropFirst(Int(sent))
        }
    }

    /// One line, with a descriptor when one came along (-1: none).
    private func line(_ fd: Int32, _ rest: inout [UInt8]) throws -> (JSON, Int32) {
        var passed: Int32 = -1
        while !rest.contains(UInt8(ascii: "\n")) {
            var chunk = [UInt8](repeating: 0, count: 64 << 10)
            var count: Int32 = 1
            let size = chunk.withUnsafeMutableBytes { k3s_recv_fds(fd, $0.baseAddress, $0.count, &passed, &count, 0) }
            guard size > 0 else { throw Failure(description: "k3s has closed the connection") }
            rest += chunk.prefix(Int(size))
        }
        let end = rest.firstIndex(of: UInt8(ascii: "\n")) ?? rest.endIndex
        let json = try JSON.parse(Array(rest[..<end]))
        rest.removeFirst(min(end + 1, rest.count))
        if let message = json["error"].string { throw Failure(description: message) }
        return (json, passed)
    }

    func call(_ verb: String, _ members: [String: JSON] = [:]) throws -> JSON {
        let fd = try connect()
        defer { close(fd) }
        var request: JSON = ["verb": .string(verb)]
        for (key, value) in members { request[key] = value }
        try send(request, on: fd)
        var rest: [UInt8] = []
        return try line(fd, &rest).0["ok"]
    }

    /// Runs a command in a container on this process's own streams; its exit code.
    func exec(_ id: String, _ command: [String], terminal: Bool) throws -> Int32 {
        let fd = try connect()
        defer { close(fd) }
        let request: JSON = [
            "verb": "exec", "id": .string(id), "command": .strings(command), "tty": .bool(terminal),
        ]
        try send(request, on: fd, descriptors: terminal ? [] : [0, 1, 2])
        var rest: [UInt8] = []
        var (answer, master) = try line(fd, &rest)
        if master >= 0 {
            Self.proxy(master)
            close(master)
            answer = try line(fd, &rest).0
        }
        return Int32(clamping: answer["ok"]["exit"].int ?? 255)
    }

    /// The user's terminal, raw, in front of the container's until that ends.
    private static func proxy(_ master: Int32) {
        var saved = termios()
        let isTerminal = tcgetattr(0, &saved) == 0
        if isTerminal {
            var raw = saved
            cfmakeraw(&raw)
            tcsetattr(0, TCSANOW, &raw)
        }
        defer { if isTerminal { tcsetattr(0, TCSANOW, &saved) } }
        let resized = k3s_signalfd([SIGWINCH], 1)
        func resize() {
            var size = winsize()
            if k3s_ioctl_ptr(0, UInt(TIOCGWINSZ), &size) >= 0, size.ws_col > 0 {
                k3s_set_window_size(master, size.ws_col, size.ws_row)
            }
        }
        resize()
        var input: Int32 = 0
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        func copy(_ source: Int32, _ target: Int32) -> Bool {
            let count = buffer.withUnsafeMutableBytes { read(source, $0.baseAddress, $0.count) }
            if count <= 0 { return count < 0 && errno == EINTR }
            var done = 0
            while done < count {
                let written = buffer.withUnsafeBytes { write(target, $0.baseAddress?.advanced(by: done), count - done) }
                if written <= 0 { return false }
                done += written
            }
            return true
        }
        while true {
            var polled = [
                pollfd(fd: master, events: Int16(POLLIN), revents: 0),
                pollfd(fd: input, events: Int16(POLLIN), revents: 0),
                pollfd(fd: resized, events: Int16(POLLIN), revents: 0),
            ]
            if poll(&polled, 3, -1) < 0, errno != EINTR { return }
            if polled[2].revents != 0 {
                _ = k3s_signalfd_read(resized)
                resize()
            }
            if polled[0].revents != 0, !copy(master, 1) { return }
            if polled[1].revents != 0, !copy(input, master) { input = -1 }
        }
    }
}

/// Rows under headings, as wide as their content.
struct TextTable {
    private var rows: [[String]]
    private let minimum: Int
    private let padding: Int

    /// - Parameters:
    ///   - minimum: width of a column with its padding.
    ///   - padding: spaces behind the widest cell.
    init(_ headings: [String], minimum: Int = 0, padding: Int = 4) {
        (self.minimum, self.padding) = (minimum, padding)
        rows = headings.isEmpty ? [] : [headings]
    }

    mutating func add(_ row: [String]) { rows.append(row) }

    var text: String {
        var widths: [Int] = []
        for row in rows {
            for (column, cell) in row.enumerated() {
                if column == widths.count { widths.append(0) }
                widths[column] = max(widths[column], cell.count + padding, minimum)
            }
        }
        return rows.map { row in
            var line = ""
            for (column, cell) in row.enumerated() {
                line += cell
                if column < row.count - 1 {
                    line += String(repeating: " ", count: widths[column] - cell.count)
                }
            }
            return line + "\n"
        }.joined()
    }
}
