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
        var entry = TarEntry()
        entry.path = Array(name.utf8)
        entry.mode = status.st_mode & 0o7777
        entry.modified = max(0, Int64(status.st_mtim.tv_sec))
        switch status.st_mode & S_IFMT {
        case S_IFDIR:
            for child in try LocalFiles.names(in: path).sorted().reversed() {
                waiting.append((Path.join(path, child), name + "/" + child))
            }
            entry.kind = .directory
            entry.path.append(UInt8(ascii: "/"))
        case S_IFLNK:
            entry.kind = .symlink
            entry.link = Array(try Files.readLink(path).utf8)
        case S_IFREG:
            let fd = open(path, O_RDONLY | O_CLOEXEC)
            guard fd >= 0 else { throw SysError(errno, "open", path: path) }
            file = FileDescriptorBox(fd)
            left = Int64(status.st_size)
            padding = TarHeader.padding(left)
            entry.size = left
        default: return []
        }
        return Self.header(entry)
    }

    /// With GNU's records of long names before it: busybox's tar does not read pax headers.
    private static func header(_ entry: TarEntry) -> [UInt8] {
        var out: [UInt8] = []
        for (name, type) in [(entry.path, UInt8(ascii: "L")), (entry.link, UInt8(ascii: "K"))] where name.count > 100 {
            var long = TarEntry()
            long.path = Array("././@LongLink".utf8)
            long.mode = 0o644
            long.size = Int64(name.count + 1)
            out += TarHeader.block(long, type: type)
            out += name + [UInt8](repeating: 0, count: 1 + TarHeader.padding(long.size))
        }
        return out + TarHeader.block(entry, type: TarHeader.type(of: entry.kind))
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
    private var longName: [UInt8]?
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
                if left == 0 { try close() }
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

    private mutating func close() throws {
        if fd >= 0 { Glibc.close(fd) }
        fd = -1
        if special == UInt8(ascii: "L") { longName = TarHeader.string(text[...]) }
        if special == UInt8(ascii: "x") {
            do throws(TarError) {
                for record in try TarHeader.records(text) where record.key == "path" { longName = Array(record.value) }
            } catch { throw CommandError("the container's tar: \(error.reason)") }
        }
        special = 0
        text = []
    }

    private mutating func header(_ block: [UInt8]) throws {
        let entry: TarEntry
        do throws(TarError) {
            guard let header = try TarHeader(block) else { return }
            left = header.size
            padding = TarHeader.padding(header.size)
            if [UInt8(ascii: "L"), UInt8(ascii: "x"), UInt8(ascii: "g"), UInt8(ascii: "K")].contains(header.type) {
                special = header.type
                return
            }
            entry = try header.entry()
        } catch { throw CommandError("the container's tar sent something that is no tar stream: \(error.reason)") }
        let name = String(decoding: longName ?? entry.path, as: UTF8.self)
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
        switch entry.kind {
        case .directory: mkdir(path, entry.mode & 0o777 | 0o700)
        case .file:
            fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, entry.mode & 0o777)
            guard fd >= 0 else { throw CommandError("open \(path): \(SysError.text(errno))") }
            if left == 0 { try close() }
        case .hardLink, .symlink:
            let link = String(decoding: entry.link, as: UTF8.self)
            Terminal.error("warning: skipping symlink: \(GoText.quoted(path)) -> \(GoText.quoted(link))")
        default: break
        }
    }

    mutating func finish() throws {
        if left > 0 { throw CommandError("unexpected EOF") }
        try close()
    }
}
