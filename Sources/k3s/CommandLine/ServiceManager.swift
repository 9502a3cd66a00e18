import Linux

/// The service manager that started this process and waits for its word: systemd's units of `Type=notify`, as k3s's
/// installer writes them (sd_notify(3)).
enum ServiceManager {
    /// Says that the start is done. Without such a manager nothing happens; one that does not listen is none.
    static func ready(_ environment: (String) -> String? = { name in getenv(name).map { String(cString: $0) } }) {
        guard let path = environment("NOTIFY_SOCKET"), path.hasPrefix("/") || path.hasPrefix("@") else { return }
        guard let socket = try? UnixSocket.connect(path, .datagrams) else { return }
        let message = Array("READY=1\n".utf8)
        _ = message.withUnsafeBytes { send(socket.raw, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    }
}
