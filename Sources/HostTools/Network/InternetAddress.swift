import Linux

/// A socket's address as the kernel has it, whatever its family.
struct InternetAddress {
    var storage: sockaddr_storage
    var length: socklen_t

    var family: Int32 { Int32(storage.ss_family) }

    func withPointer<R>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
        withUnsafePointer(to: storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
        }
    }

    /// What `body` (accept, getpeername, recvfrom) fills in.
    static func filled(_ body: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int) -> (
        InternetAddress, Int
    ) {
        var address = InternetAddress(
            storage: sockaddr_storage(), length: socklen_t(MemoryLayout<sockaddr_storage>.size))
        var length = address.length
        let result = withUnsafeMutablePointer(to: &address.storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, &length) }
        }
        address.length = length
        return (address, result)
    }

    struct Failure: Error { var text: String }

    /// getaddrinfo(3): all addresses of a name; an empty one stands for "any".
    static func resolve(
        _ host: String?, _ service: String, family: Int32, kind: Int32, isPassive: Bool
    ) throws(Failure) -> [InternetAddress] {
        var hints = addrinfo()
        hints.ai_family = family
        hints.ai_socktype = kind
        hints.ai_flags = isPassive ? AI_PASSIVE : 0
        var list: UnsafeMutablePointer<addrinfo>?
        var host = host
        if let name = host, name.hasPrefix("["), name.hasSuffix("]") { host = String(name.dropFirst().dropLast()) }
        let code = getaddrinfo(host?.isEmpty ?? true ? nil : host, service, &hints, &list)
        guard code == 0 else {
            let reason = gai_strerror(code).map { String(cString: $0) } ?? "error \(code)"
            throw Failure(text: "getaddrinfo(\"\(host ?? "NULL")\", \"\(service)\"): \(reason)")
        }
        defer { freeaddrinfo(list) }
        var result: [InternetAddress] = []
        var next = list
        while let entry = next?.pointee {
            if let address = entry.ai_addr, Int(entry.ai_addrlen) <= MemoryLayout<sockaddr_storage>.size {
                var storage = sockaddr_storage()
                withUnsafeMutableBytes(of: &storage) {
                    $0.copyMemory(from: UnsafeRawBufferPointer(start: address, count: Int(entry.ai_addrlen)))
                }
                result.append(InternetAddress(storage: storage, length: entry.ai_addrlen))
            }
            next = entry.ai_next
        }
        return result
    }

    /// "AF=2 127.0.0.1:80", as socat writes it.
    var description: String {
        guard family == AF_INET || family == AF_INET6 else { return "AF=\(family)" }
        return "AF=\(family) \(hostForPrograms):\(port)"
    }

    /// Host byte order.
    var port: UInt16 {
        withUnsafeBytes(of: storage) { raw in
            family == AF_INET || family == AF_INET6 ? UInt16(raw[2]) << 8 | UInt16(raw[3]) : 0
        }
    }

    /// As socat tells programs: 127.0.0.1, [0000:...:0001].
    var hostForPrograms: String {
        let bytes = bytes
        if family == AF_INET { return bytes.map { "\($0)" }.joined(separator: ".") }
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for (index, byte) in bytes.enumerated() {
            if index > 0, index % 2 == 0 { text.append(UInt8(ascii: ":")) }
            text += [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
        return "[" + String(decoding: text, as: UTF8.self) + "]"
    }

    /// The address alone: 4 or 16 bytes.
    var bytes: [UInt8] {
        withUnsafeBytes(of: storage) { raw in
            family == AF_INET ? Array(raw[4..<8]) : family == AF_INET6 ? Array(raw[8..<24]) : []
        }
    }

    /// Whether it lies in "10.0.0.0/8", "10.0.0.0:255.0.0.0" or "[fe80::]/10"; nil when the range is none.
    func isInside(_ range: String) -> Bool? {
        let separator = range.utf8.lastIndex(of: UInt8(ascii: "/")) ?? range.utf8.lastIndex(of: UInt8(ascii: ":"))
        guard let separator else { return nil }
        let rest = String(range[range.utf8.index(after: separator)...])
        guard
            let base = try? InternetAddress.resolve(
                String(range[..<separator]), "0", family: AF_UNSPEC, kind: Int32(SOCK_STREAM.rawValue), isPassive: true
            ).first
        else { return nil }
        var mask: [UInt8]
        if let bits = Int(rest), bits >= 0, bits <= base.bytes.count * 8 {
            mask = base.bytes.indices.map { index in
                let left = min(8, max(0, bits - index * 8))
                return left == 0 ? 0 : UInt8(truncatingIfNeeded: 0xff << (8 - left))
            }
        } else {
            guard
                let other = try? InternetAddress.resolve(
                    rest, "0", family: base.family, kind: Int32(SOCK_STREAM.rawValue), isPassive: true
                ).first
            else { return nil }
            mask = other.bytes
        }
        guard base.family == family, mask.count == bytes.count else { return false }
        return zip(zip(bytes, base.bytes), mask).allSatisfy { $0.0 & $1 == $0.1 & $1 }
    }
}
