import Linux

/// TCP and UDP.
extension SocatOpener {
    func internet(_ address: SocatAddress) throws(Failure) -> SocatEndpoint {
        let isStream = address.type.hasPrefix("TCP")
        let digit = address.type.dropFirst(3).first
        var family = digit == "4" ? AF_INET : digit == "6" ? AF_INET6 : AF_UNSPEC
        if let wanted = address.value("pf") {
            switch wanted.lowercased() {
            case "ip4", "ipv4", "inet", "2": family = AF_INET
            case "ip6", "ipv6", "inet6", "10": family = AF_INET6
            default: throw Failure("option \"pf\": unknown protocol family \"\(wanted)\"")
            }
        }
        let kind = isStream ? Int32(SOCK_STREAM.rawValue) : Int32(SOCK_DGRAM.rawValue)
        let role = address.type.split(separator: "-").last ?? ""
        switch role {
        case "LISTEN", "RECVFROM", "RECV":
            let local = try resolve(
                address.value("bind"), address.parameters[0], family == AF_UNSPEC ? self.family : family, kind,
                isPassive: true)[0]
            if role == "LISTEN", isStream { return try listen(address, local, kind) }
            if role == "LISTEN" { return try datagramServer(address, local, kind) }
            return try receiver(address, local, kind, once: role == "RECVFROM")
        default:
            let targets = try resolve(
                address.parameters[0], address.parameters[1], family, kind, isPassive: false)
            return try retried(address) { () throws(Failure) in
                var last = Failure("no address")
                for target in targets {
                    do throws(Failure) {
                        return try connect(address, target, kind, isStream, sends: role == "SENDTO")
                    } catch {
                        last = error
                    }
                }
                throw last
            }
        }
    }

    private func resolve(
        _ host: String?, _ service: String, _ family: Int32, _ kind: Int32, isPassive: Bool
    ) throws(Failure) -> [InternetAddress] {
        if let number = Int64(service), !(0...65535).contains(number) {
            throw Failure("port \(service) is out of range")
        }
        // "bind" may name a port after the address; that is rare and the port comes first here.
        let found: [InternetAddress]
        do throws(InternetAddress.Failure) {
            found = try InternetAddress.resolve(host, service, family: family, kind: kind, isPassive: isPassive)
        } catch { throw Failure(error.text) }
        guard !found.isEmpty else { throw Failure("getaddrinfo(\"\(host ?? "NULL")\", \"\(service)\"): no address") }
        return found
    }

    private func socket(_ family: Int32, _ kind: Int32, _ address: SocatAddress) throws(Failure) -> Int32 {
        let fd = Glibc.socket(family, kind | Int32(SOCK_CLOEXEC.rawValue), 0)
        if fd < 0 { throw Failure("socket(\(family), \(kind), 0): \(errorText(errno))") }
        func set(_ option: String, _ level: Int32, _ name: Int32) throws(Failure) {
            guard address.options.contains(where: { $0.name == option }) else { return }
            var value = Int32(truncatingIfNeeded: try address.value(option) == nil ? 1 : address.number(option) ?? 1)
            if setsockopt(fd, level, name, &value, socklen_t(MemoryLayout<Int32>.size)) != 0 {
                log.warn("setsockopt(\(fd), \(option)): \(errorText(errno))")
            }
        }
        try set("reuseaddr", SOL_SOCKET, SO_REUSEADDR)
        try set("reuseport", SOL_SOCKET, SO_REUSEPORT)
        try set("keepalive", SOL_SOCKET, SO_KEEPALIVE)
        try set("broadcast", SOL_SOCKET, SO_BROADCAST)
        try set("rcvbuf", SOL_SOCKET, SO_RCVBUF)
        try set("sndbuf", SOL_SOCKET, SO_SNDBUF)
        try set("nodelay", Int32(IPPROTO_TCP), TCP_NODELAY)
        if family == AF_INET6 { try set("ipv6only", Int32(IPPROTO_IPV6), IPV6_V6ONLY) }
        return fd
    }

    private func bind(_ fd: Int32, _ local: InternetAddress) throws(Failure) {
        let code = local.withPointer { Glibc.bind(fd, $0, $1) }
        if code != 0 {
            throw Failure("bind(\(fd), {\(local.description)}, \(local.length)): \(errorText(errno))")
        }
    }

    private func connect(
        _ address: SocatAddress, _ target: InternetAddress, _ kind: Int32, _ isStream: Bool, sends: Bool
    ) throws(Failure) -> SocatEndpoint {
        let fd = try socket(target.family, kind, address)
        if address.value("bind") != nil || address.value("sourceport") != nil {
            let local = try resolve(
                address.value("bind"), address.value("sourceport") ?? "0", target.family, kind, isPassive: true)[0]
            try bind(fd, local)
        }
        log.notice("opening connection to \(target.description)")
        if let text = address.value("connect-timeout"), let seconds = Double(text) {
            // Linux takes the time for sending as that of connecting, too.
            let whole = max(0, min(seconds, 1e6)).rounded(.down)
            k3s_tool_send_timeout(fd, Int(whole), Int(max(0, min(seconds - whole, 0.999_999)) * 1e6))
        }
        let code = target.withPointer { Glibc.connect(fd, $0, $1) }
        if code != 0 {
            let error = errno
            Glibc.close(fd)
            throw Failure("connect(\(fd), \(target.description), \(target.length)): \(errorText(error))")
        }
        var endpoint = SocatEndpoint.both(fd, ending: .shutdown, isSocket: true)
        endpoint.isDatagram = !isStream
        return endpoint
    }

    private func listen(
        _ address: SocatAddress, _ local: InternetAddress, _ kind: Int32
    ) throws(Failure) -> SocatEndpoint {
        let fd = try socket(local.family, kind, address)
        try bind(fd, local)
        if Glibc.listen(fd, Int32(truncatingIfNeeded: try address.number("backlog") ?? 5)) != 0 {
            throw Failure("listen(\(fd)): \(errorText(errno))")
        }
        log.notice("listening on \(local.description)")
        let allows = try filter(address)
        return .both(try accept(fd, address, allows), ending: .shutdown, isSocket: true)
    }

    private func filter(_ address: SocatAddress) throws(Failure) -> (InternetAddress) -> Bool {
        guard let range = address.value("range") else { return { _ in true } }
        guard let loopback = try? resolve("127.0.0.1", "0", AF_INET, Int32(SOCK_STREAM.rawValue), isPassive: false)[0],
            loopback.isInside(range) != nil
        else { throw Failure("syntax error in range \"\(range)\"") }
        return { $0.isInside(range) ?? false }
    }

    /// UDP-LISTEN: the first datagram says who the partner is; from then on it is like a connection.
    private func datagramServer(
        _ address: SocatAddress, _ local: InternetAddress, _ kind: Int32
    ) throws(Failure) -> SocatEndpoint {
        let allows = try filter(address)
        let forks = address.has("fork")
        if forks { k3s_ignore_signal(SIGCHLD) }
        while true {
            let fd = try socket(local.family, kind, address)
            // A new socket for each partner has the same port.
            var on: Int32 = 1
            if forks { setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size)) }
            try bind(fd, local)
            log.notice("listening on UDP \(local.description)")
            while true {
                var byte: UInt8 = 0
                let (peer, count) = InternetAddress.filled { recvfrom(fd, &byte, 1, Int32(MSG_PEEK), $0, $1) }
                if count < 0 {
                    if errno == EINTR { continue }
                    throw Failure("recvfrom(\(fd)): \(errorText(errno))")
                }
                guard allows(peer) else {
                    _ = recv(fd, &byte, 1, 0)
                    continue
                }
                log.notice("accepting UDP connection from \(peer.description)")
                if peer.withPointer({ Glibc.connect(fd, $0, $1) }) != 0 {
                    throw Failure("connect(\(fd), \(peer.description), \(peer.length)): \(errorText(errno))")
                }
                break
            }
            if forks {
                let pid = k3s_tool_fork()
                if pid != 0 {
                    Glibc.close(fd)
                    continue
                }
                k3s_default_signal(SIGCHLD)
            }
            let (peer, _) = InternetAddress.filled { Int(getpeername(fd, $0, $1)) }
            announce(fd, peer)
            var endpoint = SocatEndpoint.both(fd, ending: .shutdown, isSocket: true)
            endpoint.isDatagram = true
            return endpoint
        }
    }

    /// UDP-RECVFROM takes one datagram (with `fork` one in each child) and answers its sender; UDP-RECV takes all, and
    /// answers nobody.
    private func receiver(
        _ address: SocatAddress, _ local: InternetAddress, _ kind: Int32, once: Bool
    ) throws(Failure) -> SocatEndpoint {
        let allows = try filter(address)
        let fd = try socket(local.family, kind, address)
        try bind(fd, local)
        log.notice("listening on UDP \(local.description)")
        var endpoint = SocatEndpoint.both(fd, ending: .nothing, isSocket: true)
        endpoint.isDatagram = true
        if !once { return endpoint }
        let forks = address.has("fork")
        if forks { k3s_ignore_signal(SIGCHLD) }
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let (peer, count) = buffer.withUnsafeMutableBytes { bytes in
                InternetAddress.filled { recvfrom(fd, bytes.baseAddress, bytes.count, 0, $0, $1) }
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw Failure("recvfrom(\(fd)): \(errorText(errno))")
            }
            guard allows(peer) else { continue }
            log.notice("receiving packet from \(peer.description)")
            if forks {
                let pid = k3s_tool_fork()
                if pid != 0 { continue }
                k3s_default_signal(SIGCHLD)
            }
            announce(fd, peer)
            endpoint.initial = Array(buffer[..<count])
            endpoint.isOneShot = true
            endpoint.peer = peer
            return endpoint
        }
    }
}
