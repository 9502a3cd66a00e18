import Linux

/// One side of socat: where it reads, where it writes, and how its writing half is ended.
struct SocatEndpoint {
    enum Ending { case shutdown, close, nothing }

    var input: Int32
    var output: Int32
    var isInputSocket = false
    var isOutputSocket = false
    /// Datagrams: nothing of length zero means the end, and one that was peeked at is read as it is.
    var isDatagram = false
    /// Each datagram goes there (sockets that are not connected).
    var peer: InternetAddress?
    /// Data that came with the connection: the datagram of UDP-RECVFROM.
    var initial: [UInt8] = []
    /// Nothing more comes after `initial`.
    var isOneShot = false
    var ending = Ending.close
    var ignoresEnd = false
    var child: Int32 = -1
    /// A socket's file, removed at the end.
    var file: String?

    static func both(_ descriptor: Int32, ending: Ending = .close, isSocket: Bool = false) -> SocatEndpoint {
        SocatEndpoint(
            input: descriptor, output: descriptor, isInputSocket: isSocket, isOutputSocket: isSocket, ending: ending)
    }
}

/// What is said on standard error: 1 errors, 2 warnings, 3 notices.
final class SocatLog {
    var level = 1
    var name = "socat"
    private var descriptor: Int32 = 2

    func write(to path: String) -> Bool {
        let fd = k3s_openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o664)
        if fd >= 0 { descriptor = fd }
        return fd >= 0
    }

    func error(_ text: String) { say(1, "E", text) }
    func warn(_ text: String) { say(2, "W", text) }
    func notice(_ text: String) { say(3, "N", text) }

    private func say(_ importance: Int, _ letter: String, _ text: String) {
        guard importance <= level else { return }
        raw("\(SocatLog.time()) \(name)[\(getpid())] \(letter) \(text)\n")
    }

    func raw(_ text: String) {
        let bytes = Array(text.utf8)
        _ = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
    }

    static func time() -> String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { buffer in
            guard let base = buffer.baseAddress,
                k3s_tool_time(base, buffer.count, "%Y/%m/%d %H:%M:%S", k3s_wall_nanoseconds() / 1_000_000_000) > 0
            else { return "" }
            return String(cString: base)
        }
    }
}

/// Opens addresses. `reads` and `writes`: what the side is for (-u, -U, dual addresses).
struct SocatOpener {
    typealias Failure = SocatAddress.Failure

    let log: SocatLog
    var family = AF_INET

    /// `onConnection` runs in the process that goes on with a connection; a listening address with `fork` comes back here
    /// once for each, in a child of its own.
    func open(_ given: SocatAddress, reads: Bool, writes: Bool) throws(Failure) -> SocatEndpoint {
        let address = try given.checked()
        let parameter = address.parameters.first ?? ""
        var endpoint: SocatEndpoint
        switch address.type {
        case "STDIO":
            log.notice("reading from and writing to stdio")
            endpoint = SocatEndpoint(input: 0, output: 1)
        case "STDIN": endpoint = .both(0)
        case "STDOUT": endpoint = .both(1)
        case "STDERR": endpoint = .both(2)
        case "FD":
            guard let number = Int32(parameter), number >= 0, fcntl_getfd(number) else {
                throw Failure("FD:\(parameter): Bad file descriptor")
            }
            endpoint = .both(number, isSocket: isSocket(number))
            if endpoint.isInputSocket { endpoint.ending = .shutdown }
        case "OPEN", "GOPEN", "CREATE": endpoint = try file(address, parameter, reads: reads, writes: writes)
        case "PIPE": endpoint = try pipe(address)
        case "EXEC", "SYSTEM": endpoint = try program(address, parameter)
        case "UNIX-CLIENT", "UNIX-CONNECT", "ABSTRACT-CLIENT", "ABSTRACT-CONNECT":
            endpoint = try retried(address) { () throws(Failure) in try unixClient(address, parameter) }
        case "UNIX-LISTEN", "ABSTRACT-LISTEN": endpoint = try unixServer(address, parameter)
        default: endpoint = try internet(address)
        }
        if address.has("ignoreeof") { endpoint.ignoresEnd = true }
        if address.has("shut-none") { endpoint.ending = .nothing }
        if address.has("shut-down") { endpoint.ending = .shutdown }
        if address.has("shut-close") { endpoint.ending = .close }
        return endpoint
    }

    private func fcntl_getfd(_ number: Int32) -> Bool { k3s_fcntl(number, F_GETFD, 0) >= 0 }

    private func isSocket(_ descriptor: Int32) -> Bool {
        var status = stat()
        return fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFSOCK
    }

    // MARK: Files

    private func file(
        _ address: SocatAddress, _ path: String, reads: Bool, writes: Bool
    ) throws(Failure) -> SocatEndpoint {
        var status = stat()
        let isThere = stat(path, &status) == 0
        if address.type == "GOPEN", isThere, status.st_mode & S_IFMT == S_IFSOCK {
            return try unixClient(address, path)
        }
        var flags: Int32
        if address.type == "CREATE" {
            flags = O_WRONLY | O_CREAT | O_TRUNC
        } else if address.has("rdonly") || (reads && !writes) {
            flags = O_RDONLY
        } else if address.has("wronly") || (writes && !reads) {
            flags = O_WRONLY
        } else {
            flags = O_RDWR
        }
        if address.type == "GOPEN" {
            // A file that is there is added to; one that is not is made.
            if isThere, status.st_mode & S_IFMT == S_IFREG, writes, !address.has("trunc") { flags |= O_APPEND }
            if !isThere, writes { flags |= O_CREAT }
        }
        if address.has("creat") { flags |= O_CREAT }
        if address.has("append") { flags |= O_APPEND }
        if address.has("trunc") { flags |= O_TRUNC }
        if address.has("excl") { flags |= O_EXCL }
        if address.has("nonblock") { flags |= O_NONBLOCK }
        if address.has("unlink") || address.has("unlink-early") { unlink(path) }
        let mode = try address.mode("mode") ?? 0o666
        let fd = k3s_openat(AT_FDCWD, path, flags | O_CLOEXEC, mode)
        if fd < 0 {
            throw Failure(
                "open(\"\(path)\", 0\(String(flags, radix: 8)), 0\(String(mode, radix: 8))): \(errorText(-fd))")
        }
        return .both(fd)
    }

    private func pipe(_ address: SocatAddress) throws(Failure) -> SocatEndpoint {
        guard let path = address.parameters.first, !path.isEmpty else {
            var ends: (Int32, Int32) = (-1, -1)
            let code = withUnsafeMutableBytes(of: &ends) {
                k3s_pipe($0.bindMemory(to: Int32.self).baseAddress, O_CLOEXEC)
            }
            if code < 0 { throw Failure("pipe(): \(errorText(-code))") }
            return SocatEndpoint(input: ends.0, output: ends.1)
        }
        if address.has("unlink-early") { unlink(path) }
        let mode = try address.mode("mode") ?? 0o666
        if mkfifo(path, mode) != 0, errno != EEXIST { throw Failure("mkfifo(\(path)): \(errorText(errno))") }
        let fd = k3s_openat(AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0)
        if fd < 0 { throw Failure("open(\"\(path)\"): \(errorText(-fd))") }
        return .both(fd)
    }

    // MARK: Programs

    private func program(_ address: SocatAddress, _ command: String) throws(Failure) -> SocatEndpoint {
        let arguments = address.type == "SYSTEM" ? ["/bin/sh", "-c", command] : SocatOpener.words(command)
        guard !arguments.isEmpty else { throw Failure("EXEC: empty command") }
        var ends: (Int32, Int32) = (-1, -1)
        let code = withUnsafeMutableBytes(of: &ends) {
            socketpair(
                AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0,
                $0.bindMemory(to: Int32.self).baseAddress)
        }
        if code != 0 { throw Failure("socketpair(): \(errorText(errno))") }
        let report: (read: Int32, write: Int32)
        do throws(SysError) { report = try FileDescriptor.pipe().takeBoth() } catch {
            throw Failure("pipe(): \(errorText(error.code))")
        }
        let pid = k3s_tool_fork()
        if pid < 0 { throw Failure("fork(): \(errorText(-pid))") }
        if pid == 0 {
            // Written out: dup2 of a descriptor to itself would leave it close-on-exec.
            dup2(ends.1, 0)
            dup2(ends.1, 1)
            if address.has("stderr") { dup2(ends.1, 2) }
            k3s_default_signal(SIGPIPE)
            k3s_default_signal(SIGCHLD)
            if address.has("setsid") { setsid() }
            if let folder = address.value("chdir") { _ = chdir(folder) }
            let error = Execution.become(arguments)
            log.error("execvp(\"\(arguments[0])\", \"\(arguments[0])\"): \(errorText(error))")
            _ = withUnsafeBytes(of: error) { Glibc.write(report.write, $0.baseAddress, $0.count) }
            _exit(1)
        }
        Glibc.close(ends.1)
        Glibc.close(report.write)
        var failure: Int32 = 0
        let count = withUnsafeMutableBytes(of: &failure) { Glibc.read(report.read, $0.baseAddress, $0.count) }
        Glibc.close(report.read)
        if count > 0 {
            var status: Int32 = 0
            _ = k3s_tool_wait(pid, &status, 0)
            throw Failure("")
        }
        log.notice("forked off child process \(pid)")
        var endpoint = SocatEndpoint.both(ends.0, ending: .shutdown, isSocket: true)
        endpoint.child = pid
        return endpoint
    }

    /// A command's words: blanks separate, quotes hold together.
    static func words(_ text: String) -> [String] {
        var result: [String] = []
        var word: [UInt8]?
        var quote: UInt8?
        for byte in text.utf8 {
            if let open = quote {
                if byte == open { quote = nil } else { word?.append(byte) }
            } else if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") {
                quote = byte
                word = word ?? []
            } else if byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") {
                if let done = word { result.append(String(decoding: done, as: UTF8.self)) }
                word = nil
            } else {
                word = (word ?? []) + [byte]
            }
        }
        if let done = word { result.append(String(decoding: done, as: UTF8.self)) }
        return result
    }

    // MARK: UNIX sockets

    private func path(_ address: SocatAddress, _ name: String) -> String {
        address.type.hasPrefix("ABSTRACT") ? "@" + name : name
    }

    private func unixClient(_ address: SocatAddress, _ name: String) throws(Failure) -> SocatEndpoint {
        let path = path(address, name)
        do throws(SysError) {
            log.notice("opening connection to AF=1 \"\(name)\"")
            return .both(try UnixSocket.connect(path, .stream).take(), ending: .shutdown, isSocket: true)
        } catch {
            // The socket may be one for packets.
            if error.code == EPROTOTYPE {
                for kind in [UnixSocket.Kind.packets, .datagrams] {
                    if let fd = try? UnixSocket.connect(path, kind).take() {
                        return .both(fd, ending: .shutdown, isSocket: true)
                    }
                }
            }
            let shown = address.type.hasPrefix("ABSTRACT") ? "\\0" + name : name
            let length = name.utf8.count + (address.type.hasPrefix("ABSTRACT") ? 3 : 2)
            throw Failure("connect(, AF=1 \"\(shown)\", \(length)): \(errorText(error.code))")
        }
    }

    private func unixServer(_ address: SocatAddress, _ name: String) throws(Failure) -> SocatEndpoint {
        let path = path(address, name)
        let isFile = !address.type.hasPrefix("ABSTRACT")
        if isFile {
            if address.has("unlink-early") {
                unlink(name)
            } else if (try? Files.status(name, followLinks: false)) != nil {
                throw Failure("\"\(name)\" exists")
            }
        }
        let mode = try address.mode("mode")
        // The file has its mode from the first moment.
        let before = umask(mode.map { ~$0 & 0o777 } ?? 0)
        if mode == nil { umask(before) }
        defer { umask(before) }
        let listener: Int32
        do throws(SysError) { listener = try UnixSocket.bound(path, .stream).take() } catch {
            throw Failure("bind(5, {AF=1 \"\(name)\"}, \(name.utf8.count + 2)): \(errorText(error.code))")
        }
        if isFile { try own(address, name) }
        if listen(listener, Int32(truncatingIfNeeded: try address.number("backlog") ?? 5)) != 0 {
            throw Failure("listen(): \(errorText(errno))")
        }
        log.notice("listening on AF=1 \"\(name)\"")
        let keeps = !isFile || address.value("unlink-close") == "0"
        // Who ends this program by a signal finds no file either.
        if !keeps { k3s_tool_unlink_when_killed(name) }
        let connection = try accept(listener, address) { _ in true }
        var endpoint = SocatEndpoint.both(connection, ending: .shutdown, isSocket: true)
        // With `fork` the listening process goes on and keeps the file.
        if !keeps, !address.has("fork") { endpoint.file = name }
        return endpoint
    }

    private func own(_ address: SocatAddress, _ path: String) throws(Failure) {
        let user = try address.number("user").map { uid_t(truncatingIfNeeded: $0) }
        let group = try address.number("group").map { gid_t(truncatingIfNeeded: $0) }
        if user != nil || group != nil, chown(path, user ?? uid_t.max, group ?? gid_t.max) != 0 {
            throw Failure("chown(\"\(path)\"): \(errorText(errno))")
        }
    }

    // MARK: Shared

    /// `retry`, `forever` and `interval`: again, when it did not work.
    func retried(
        _ address: SocatAddress, _ body: () throws(Failure) -> SocatEndpoint
    ) throws(Failure) -> SocatEndpoint {
        var left = address.has("forever") ? Int64.max : try address.number("retry") ?? 0
        let pause = Double(address.value("interval") ?? "1") ?? 1
        while true {
            do throws(Failure) { return try body() } catch {
                if left == 0 { throw error }
                left -= 1
                usleep(UInt32(max(0, min(pause, 3600)) * 1_000_000))
            }
        }
    }

    /// Programs learn from the environment who is at both ends.
    func announce(_ descriptor: Int32, _ peer: InternetAddress) {
        guard peer.family == AF_INET || peer.family == AF_INET6 else { return }
        let (local, code) = InternetAddress.filled { Int(getsockname(descriptor, $0, $1)) }
        for (name, address) in [("PEER", peer), ("SOCK", local)] where name == "PEER" || code == 0 {
            setenv("SOCAT_\(name)ADDR", address.hostForPrograms, 1)
            setenv("SOCAT_\(name)PORT", "\(address.port)", 1)
        }
    }

    /// The next connection; with `fork` each goes on in a child, and this process never comes back.
    func accept(
        _ listener: Int32, _ address: SocatAddress, _ allows: (InternetAddress) -> Bool
    ) throws(Failure) -> Int32 {
        let forks = address.has("fork")
        let limit = try address.number("max-children") ?? .max
        let patience = address.value("accept-timeout").flatMap(Double.init).map { max(0, min($0, 1e6)) }
        var children: Int64 = 0
        while true {
            var status: Int32 = 0
            while children > 0, k3s_tool_wait(-1, &status, children >= limit ? 0 : WNOHANG) > 0 { children -= 1 }
            if forks, children > 0 {
                // Children that end are seen within a second, whether somebody comes or not.
                var wait = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
                if poll(&wait, 1, 1000) <= 0 { continue }
            }
            if let patience {
                var wait = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
                if poll(&wait, 1, Int32(patience * 1000)) == 0 {
                    log.warn("accept(): \(errorText(ETIMEDOUT))")
                    throw Failure("", code: 0)
                }
            }
            let (peer, connection) = InternetAddress.filled {
                Int(Glibc.accept(listener, $0, $1))
            }
            if connection < 0 {
                let code = errno
                if code == EINTR || code == ECONNABORTED { continue }
                throw Failure("accept(): \(errorText(code))")
            }
            let descriptor = Int32(connection)
            k3s_fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            guard allows(peer) else {
                log.warn("refusing connection from \(peer.description)")
                shutdown(descriptor, Int32(SHUT_RDWR))
                Glibc.close(descriptor)
                continue
            }
            log.notice("accepting connection from \(peer.description)")
            if !forks {
                Glibc.close(listener)
                announce(descriptor, peer)
                return descriptor
            }
            let pid = k3s_tool_fork()
            if pid == 0 {
                Glibc.close(listener)
                k3s_tool_unlink_when_killed(nil)
                announce(descriptor, peer)
                return descriptor
            }
            if pid > 0 {
                children += 1
                log.notice("forked off child process \(pid)")
            } else {
                log.error("fork(): \(errorText(-pid))")
            }
            Glibc.close(descriptor)
        }
    }
}
