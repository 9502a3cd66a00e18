import Linux
import Logging
import Netlink
import Synchronization

/// How a rootless node and its pods reach the world: their connections are led here (`RootlessNetwork.rules`), and continued
/// from a socket of the host's network.
final class OutwardProxy: Sendable {
    /// At a time; more are refused.
    static let limit = 4096

    private let sockets: HostSockets
    private let settings: RootlessSettings
    private let count = Atomic(0)
    private let listener = Mutex<SocketListener?>(nil)

    init(_ sockets: HostSockets, _ settings: RootlessSettings) { (self.sockets, self.settings) = (sockets, settings) }

    /// Returns the port on which it listens.
    func start() throws(SysError) -> UInt16 {
        let socket = try InternetSocket.make(.ipv4, stream: true)
        try InternetSocket.bind(socket, settings.node, port: 0, backlog: 512)
        let port = try InternetSocket.port(socket.raw)
        let made = try SocketListener(socket) { [weak self] client in
            guard let self else { return _ = close(client) }
            accepted(FileDescriptor(owning: client))
        }
        listener.withLock { $0 = made }
        return port
    }

    func stop() {
        listener.withLock { listener in
            listener?.stop()
            listener = nil
        }
    }

    private func accepted(_ client: consuming FileDescriptor) {
        var (address, port): (UInt32, UInt16) = (0, 0)
        guard k3s_original_destination(client.raw, &address, &port) == 0,
            let target = destination(.v4(UInt32(bigEndian: address))), count.load(ordering: .relaxed) < Self.limit
        else { return }
        do throws(SysError) {
            let server = try sockets.make(AF_INET, stream: true)
            try InternetSocket.connect(server, target, port: UInt16(bigEndian: port))
            count.add(1, ordering: .relaxed)
            SocketRelay.start(client, connecting: server) { [self] in count.subtract(1, ordering: .relaxed) }
        } catch {}
    }

    /// Where to on the host's network; nil: nowhere (who connects to the proxy itself, too).
    private func destination(_ address: IPAddress) -> IPAddress? {
        if address == settings.gateway { return settings.hidesHostLoopback ? nil : .v4(0x7f00_0001) }
        return settings.network.contains(address) || address.isLoopback ? nil : address
    }
}
