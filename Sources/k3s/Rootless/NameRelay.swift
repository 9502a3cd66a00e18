import ClusterDNS
import Linux
import Netlink

/// Leads to one name server of the host: an address of the node, port 53, UDP and TCP.
final class NameRelay: Sendable {
    private let datagrams: DatagramRelay
    private let connections: SocketListener

    init(_ sockets: HostSockets, address: IPAddress, to server: Upstream) throws(SysError) {
        @Sendable func connect(stream: Bool) throws(SysError) -> FileDescriptor {
            let socket = try sockets.make(server.address.isIPv4 ? AF_INET : AF_INET6, stream: stream)
            try InternetSocket.connect(socket, server.address, port: server.port)
            return socket
        }
        let listening = try InternetSocket.make(.ipv4, stream: true)
        try InternetSocket.bind(listening, address, port: 53)
        connections = try SocketListener(listening) { descriptor in
            let client = FileDescriptor(owning: descriptor)
            do throws(SysError) { SocketRelay.start(client, connecting: try connect(stream: true)) } catch {}
        }
        let socket = try InternetSocket.make(.ipv4, stream: false)
        try InternetSocket.bind(socket, address, port: 53, backlog: nil, reuse: false)
        let limits = DatagramRelay.Limits(clients: 512, silence: 10_000_000_000, endsWhenAnswered: true)
        datagrams = try DatagramRelay(socket, limits: limits) { _ in (try? connect(stream: false).take()) ?? -1 }
    }
}
