import Codecs
import KubeAPI
import Linux

/// `cp`: a tar stream to or from the `tar` of the container.
enum CopyCommands {
    static let all: [Command] = [
        Command(
            "cp", "<file-spec-src> <file-spec-dest> [options]", "Copy files and directories to and from containers",
            """
            c|container|s||Container name.
            |no-preserve|b||The copied file/directory's ownership and permissions will not be preserved in the container
            |retries|s|0|Accepted
            """, run)
    ]

    /// `[[namespace/]pod:]path`
    private struct Place {
        var namespace = ""
        var pod = ""
        var path: String

        init(_ text: String) throws {
            guard let colon = text.firstIndex(of: ":") else {
                path = text
                return
            }
            let owner = text[..<colon]
            path = String(text[text.index(after: colon)...])
            let parts = owner.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
            // A colon in a path of this machine: "./a:b".
            guard parts.count < 3, !owner.isEmpty else {
                path = text
                return
            }
            (namespace, pod) = parts.count == 2 ? (parts[0], parts[1]) : ("", parts[0])
            if parts.first == "." || parts.first == "" { (namespace, pod, path) = ("", "", text) }
        }
    }

    private static func run(_ session: Session) throws {
        guard session.arguments.count == 2 else { throw CommandError("source and destination are required") }
        let (source, target) = (try Place(session.arguments[0]), try Place(session.arguments[1]))
        guard source.pod.isEmpty != target.pod.isEmpty else {
            throw CommandError(
                source.pod.isEmpty
                    ? "one of src or dest must be a remote file specification"
                    : "one of src or dest must be a local file specification")
        }
        guard !source.path.isEmpty, !target.path.isEmpty else { throw CommandError("filepath can not be empty") }
        let place = source.pod.isEmpty ? target : source
        let namespace = try place.namespace.isEmpty ? session.namespace : place.namespace
        let pod = try session.api.get("/api/v1/namespaces/\(namespace)/pods/\(place.pod)")
        let container = try session.container(of: pod)
        func stream(_ words: [String]) throws -> RemoteStream {
            RemoteStream(
                api: try session.api, path: RemoteStream.path(pod, "exec"), tty: false,
                query: words.map { ("command", $0) } + [("container", container)])
        }
        func failed(_ code: Int32) -> CommandError {
            CommandError("command terminated with exit code \(code)", code: code, plain: true)
        }
        if source.pod.isEmpty {
            guard Files.exists(source.path) else {
                throw CommandError("\(source.path) doesn't exist in local filesystem")
            }
            var path = target.path
            while path.count > 1, path.hasSuffix("/") { path.removeLast() }
            if try stream(["test", "-d", path]).run(input: nil, output: { _, _ in }) == 0 {
                path = Path.join(path, Path.last(Path.normalized(source.path)))
            }
            let writer = TarWriter(root: source.path, name: Path.last(path))
            let words =
                session.options.bool("no-preserve")
                ? ["tar", "--no-same-permissions", "--no-same-owner", "-xmf", "-"] : ["tar", "-xmf", "-"]
            let folder = Path.parent(path)
            let code = try stream(words + (folder.isEmpty ? [] : ["-C", folder])).run(input: { writer.next() }) {
                bytes, _ in
                Terminal.write(bytes, to: STDERR_FILENO)
            }
            if let failure = writer.failure { throw CommandError("\(failure)") }
            guard code == 0 else { throw failed(code) }
        } else {
            var reader = TarReader(source: source.path, target: target.path)
            let code = try stream(["tar", "cf", "-", source.path]).run(input: nil) { bytes, isError in
                if isError { Terminal.write(bytes, to: STDERR_FILENO) } else { try reader.take(bytes) }
            }
            try reader.finish()
            guard code == 0 else { throw failed(code) }
        }
    }
}

/// A file or a directory as a tar stream (POSIX ustar, GNU long names), a piece at a time.
private final class TarWriter: @unchecked Sendable {
    private var waiting: [(path: String, name: String)]
    private var file: FileDescriptorBox?
    private var left: Int64 = 0
    private var padding = 0
    private var isOver = false
    private(set) var failure: (any Error)?

    private final class FileDescriptorBox {
        let fd: Int32
        init(_ fd: Int32) { self.fd = fd }
        deinit { close(fd) }
    }

    init(root: String, name: String) { waiting = [(root, name)] }

    func next() -> [UInt8]? {
        do { return try step() } catch {
            failure = error
            return nil
        }
    }

    private func step() throws -> [UInt8]? {
        if let file {
            if left > 0 {
                var chunk = [UInt8](repeating: 0, count: Int(min(left, 32768)))
                let n = read(file.fd, &chunk, chunk.count)
                if n < 0, errno == EINTR { return [] }
                guard n > 0 else { throw CommandError("a file became shorter while it was read") }
                left -= Int64(n)
                return Array(chunk[..<n])
            }
            self.file = nil
            return [UInt8](repeating: 0, count: padding)
        }
        guard let (path, name) = waiting.popLast() else {
            guard !isOver else { return nil }
            isOver = true
            return [UInt8](repeating: 0, count: 1024)
        }
        let status = try Files.status(path, followLinks: false)
        let mode = status.st_mode & 0o7777
        let time = Int64(status.st_mtim.tv_sec)
        switch status.st_mode & S_IFMT {
        case S_IFDIR:
            for entry in try LocalFiles.names(in: path).sorted().reversed() {
                waiting.append((Path.join(path, entry), name + "/" + entry))
            }
            return TarHeader.bytes(name + "/", type: "5", mode: mode, size: 0, time: time, link: "")
        case S_IFLNK:
            return TarHeader.bytes(name, type: "2", mode: mode, size: 0, time: time, link: try Files.readLink(path))
        case S_IFREG:
            let fd = open(path, O_RDONLY | O_CLOEXEC)
            guard fd >= 0 else { throw SysError(errno, "open", path: path) }
            file = FileDescriptorBox(fd)
            left = Int64(status.st_size)
            padding = Int((512 - left % 512) % 512)
            return TarHeader.bytes(name, type: "0", mode: mode, size: left, time: time, link: "")
        default: return []
        }
    }
}

private enum TarHeader {
    static func bytes(_ name: String, type: Character, mode: UInt32, size: Int64, time: Int64, link: String) -> [UInt8]
    {
        var out: [UInt8] = []
        for (text, kind) in [(name, Character("L")), (link, Character("K"))] where text.utf8.count > 100 {
            out += block("././@LongLink", kind, 0o644, Int64(text.utf8.count + 1), 0, "")
            out += text.utf8
            out += [UInt8](repeating: 0, count: 512 - text.utf8.count % 512)
        }
        return out + block(name, type, mode, size, time, link)
    }

    private static func block(
        _ name: String, _ type: Character, _ mode: UInt32, _ size: Int64, _ time: Int64, _ link: String
    ) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, _ at: Int, _ room: Int) {
            for (i, byte) in text.utf8.prefix(room).enumerated() { bytes[at + i] = byte }
        }
        func octal(_ value: Int64, _ at: Int, _ digits: Int) {
            let text = String(value, radix: 8)
            put(String(repeating: "0", count: max(0, digits - text.utf8.count)) + text, at, digits)
        }
        put(name, 0, 100)
        octal(Int64(mode), 100, 7)
        octal(0, 108, 7)
        octal(0, 116, 7)
        octal(size, 124, 11)
        octal(max(0, time), 136, 11)
        put("        ", 148, 8)
        put(String(type), 156, 1)
        put(link, 157, 100)
        put("ustar", 257, 5)
        put("00", 263, 2)
        octal(bytes.reduce(0) { $0 + Int64($1) }, 148, 6)
        bytes[154] = 0
        return bytes
    }
}

/// Writes what a tar stream holds below a path of this machine. Names cannot lead out of it, and links are not made.
private struct TarReader {
    private let prefix: String
    private let target: String
    private var rest: [UInt8] = []
    private var fd: Int32 = -1
    private var left: Int64 = 0
    private var padding = 0
    private var longName: String?
    private var special: UInt8 = 0
    private var text: [UInt8] = []

    init(source: String, target: String) {
        prefix = Path.normalized(source.hasPrefix("/") ? String(source.drop { $0 == "/" }) : source)
        self.target = Files.isDirectory(target) ? Path.join(target, Path.last(Path.normalized(source))) : target
    }

    mutating func take(_ bytes: [UInt8]) throws {
        rest += bytes
        var at = 0
        while at < rest.count {
            if left > 0 {
                let count = Int(min(left, Int64(rest.count - at)))
                let piece = Array(rest[at..<at + count])
                if fd >= 0 { Terminal.write(piece, to: fd) }
                if special != 0 {
                    text += piece
                    guard text.count <= 1 << 20 else { throw CommandError("the tar stream has a name of over 1 MiB") }
                }
                at += count
                left -= Int64(count)
                if left == 0 { close() }
            } else if padding > 0 {
                let count = min(padding, rest.count - at)
                at += count
                padding -= count
            } else {
                guard rest.count - at >= 512 else { break }
                try header(Array(rest[at..<at + 512]))
                at += 512
            }
        }
        rest.removeFirst(at)
    }

    private mutating func close() {
        if fd >= 0 { Glibc.close(fd) }
        fd = -1
        if special == UInt8(ascii: "L") { longName = String(decoding: text.prefix { $0 != 0 }, as: UTF8.self) }
        if special == UInt8(ascii: "x") {
            for line in String(decoding: text, as: UTF8.self).split(separator: "\n") {
                if let range = line.firstRange(of: " path=") { longName = String(line[range.upperBound...]) }
            }
        }
        special = 0
        text = []
    }

    private mutating func header(_ block: [UInt8]) throws {
        guard block.contains(where: { $0 != 0 }) else { return }
        func string(_ at: Int, _ count: Int) -> String {
            String(decoding: block[at..<at + count].prefix { $0 != 0 }, as: UTF8.self)
        }
        guard let size = Int64(string(124, 12).trimmed, radix: 8), size >= 0 else {
            throw CommandError("the container's tar sent something that is no tar stream")
        }
        left = size
        padding = Int((512 - size % 512) % 512)
        let type = block[156]
        if type == UInt8(ascii: "L") || type == UInt8(ascii: "x") {
            special = type
            return
        }
        let split = string(345, 155)
        let isUstar = string(257, 5) == "ustar" && block[262] == 0
        let name = longName ?? (isUstar && !split.isEmpty ? split + "/" + string(0, 100) : string(0, 100))
        longName = nil
        let clean = Path.normalized(String(name.drop { $0 == "/" }))
        guard clean == prefix || clean.hasPrefix(prefix + "/") || prefix == "." else {
            return Terminal.error("warning: file \(GoText.quoted(name)) is outside target destination, skipping")
        }
        let below = String(clean.dropFirst(prefix == "." ? 0 : prefix.count).drop { $0 == "/" })
        guard !below.split(separator: "/").contains("..") else {
            return Terminal.error("warning: file \(GoText.quoted(name)) is outside target destination, skipping")
        }
        let path = below.isEmpty ? target : Path.join(target, below)
        let mode = UInt32(string(100, 8).trimmed, radix: 8) ?? 0o644
        switch type {
        case UInt8(ascii: "5"): mkdir(path, mode & 0o777 | 0o700)
        case UInt8(ascii: "0"), 0:
            fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode & 0o777)
            guard fd >= 0 else { throw CommandError("open \(path): \(SysError.text(errno))") }
            if size == 0 { close() }
        case UInt8(ascii: "1"), UInt8(ascii: "2"):
            Terminal.error("warning: skipping symlink: \(GoText.quoted(path)) -> \(GoText.quoted(string(157, 100)))")
        default: break
        }
    }

    mutating func finish() throws {
        if left > 0 { throw CommandError("unexpected EOF") }
        close()
    }
}
