import Linux

/// Kernel settings below /proc/sys. Those of `net` belong to the network namespace of the thread that opens the file.
package enum Sysctl {
    /// Writes `value` unless it is already there: some settings have side effects when written, and an unprivileged
    /// environment may only allow reading.
    /// - Parameter name: path below /proc/sys, with slashes: `net/ipv4/ip_forward`.
    package static func set(_ name: String, _ value: String) throws(NetlinkError) {
        if let current = get(name), current == value { return }
        let path = "/proc/sys/" + name
        let descriptor = open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw NetlinkError(errno, "open \(path) to write \(value)") }
        defer { close(descriptor) }
        var text = value
        let written = text.withUTF8 { write(descriptor, $0.baseAddress, $0.count) }
        guard written == value.utf8.count else {
            throw NetlinkError(written < 0 ? errno : EIO, "write \(value) to \(path)")
        }
    }

    /// The trimmed value, nil if the kernel has no such setting.
    package static func get(_ name: String) -> String? {
        let descriptor = open("/proc/sys/" + name, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 512) { buffer in
            let count = read(descriptor, buffer.baseAddress, buffer.count)
            guard count >= 0 else { return nil }
            var text = buffer[..<count]
            while let last = text.last, last == 10 || last == 32 { text = text.dropLast() }
            return String(decoding: text, as: UTF8.self)
        }
    }
}
