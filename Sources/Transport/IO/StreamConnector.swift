import Linux
import NIOCore
import NIOPosix

/// Makes plain connections as byte streams: what a tunnel's far end dials, what a load balancer copies to.
package enum StreamConnector {
    /// Dials TCP. `host` is an address or a name.
    /// - Throws: `HTTPClientError.connectFailed` or `.connectTimedOut` with the kernel's reason.
    package static func connect(
        host: String, port: Int, group: any EventLoopGroup, timeout seconds: Double = 30
    ) async throws -> any ByteStream {
        let bootstrap = bootstrap(group)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .connectTimeout(.nanoseconds(Int64(seconds * 1e9)))
        do {
            if let address = try? SocketAddress(ipAddress: host, port: port) {
                return try await stream(of: try await bootstrap.connect(to: address).get())
            }
            return try await stream(of: try await bootstrap.connect(host: host, port: port).get())
        } catch {
            throw HTTPClient.dialError(error, host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)")
        }
    }

    /// A stream over a socket that is connected already; the descriptor is taken over.
    package static func stream(over descriptor: Int32, group: any EventLoopGroup) async throws -> any ByteStream {
        try await stream(of: try await bootstrap(group).withConnectedSocket(descriptor).get())
    }

    /// One end of a pair of sockets whose other end is the stream: for what works on sockets only. Both directions are
    /// copied until either ends.
    static func descriptor(for stream: any ByteStream, group: any EventLoopGroup) async throws -> Int32 {
        var ends: [Int32] = [-1, -1]
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else {
            throw SysError(errno, "socketpair")
        }
        let far: any ByteStream
        do {
            far = try await self.stream(over: ends[1], group: group)
        } catch {
            close(ends[0])
            throw error
        }
        Task { await HTTPProxy.relay(far, stream) }
        return ends[0]
    }

    private static func bootstrap(_ group: any EventLoopGroup) -> ClientBootstrap {
        ClientBootstrap(group: group)
            .readingOnDemand()
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(StreamHandler(channel))
                }
            }
    }

    private static func stream(of channel: any Channel) async throws -> any ByteStream {
        try await channel.pipeline.handler(type: StreamHandler.self).get().stream
    }
}

/// Passes a channel's events to a `ChannelByteStream`.
final class StreamHandler: ChannelInboundHandler, @unchecked Sendable {
    typealias InboundIn = ByteBuffer

    let channel: any Channel
    let stream: ChannelByteStream

    init(_ channel: any Channel) {
        self.channel = channel
        stream = ChannelByteStream(
            channel: channel, output: TransportOutput(channel: channel, tls: nil, loop: .of(channel.eventLoop)))
    }

    func channelActive(context: ChannelHandlerContext) {
        channel.read()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        stream.received(unwrapInboundIn(data))
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        stream.readCompleted()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        stream.writabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .some(.inputClosed) = event as? ChannelEvent { stream.inputClosed() }
    }

    func channelInactive(context: ChannelHandlerContext) {
        stream.becameInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        channel.close(promise: nil)
    }
}
