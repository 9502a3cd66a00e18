import Codecs

extension RemoteCommand {
    /// The subprotocols: version and whether messages are base64 text (browsers of old).
    struct ChannelProtocol: Sendable {
        var version: Int
        var base64: Bool

        static let all: [(name: String, form: ChannelProtocol)] = [
            ("v5.channel.k8s.io", ChannelProtocol(version: 5, base64: false)),
            ("v4.channel.k8s.io", ChannelProtocol(version: 4, base64: false)),
            ("v4.base64.channel.k8s.io", ChannelProtocol(version: 4, base64: true)),
            ("channel.k8s.io", ChannelProtocol(version: 1, base64: false)),
            ("base64.channel.k8s.io", ChannelProtocol(version: 1, base64: true)),
        ]

        static func named(_ name: String?) -> ChannelProtocol {
            all.first { $0.name == name }?.form ?? ChannelProtocol(version: 1, base64: false)
        }
    }

    static func acceptWebSocket(
        _ request: HTTPRequest, _ options: RemoteCommandOptions, _ run: @escaping Body
    ) -> HTTPResponse {
        WebSocketHandshake.accept(request, protocols: ChannelProtocol.all.map(\.name), limit: 1 << 20) { socket, name in
            let channels = WebSocketChannels(socket, ChannelProtocol.named(name))
            let session = RemoteCommandSession(options: options, stdin: channels, output: channels)
            // An empty message on the lowest channel tells the client that it is connected.
            let first: RemoteCommandChannel = options.stdout ? .stdout : options.stderr ? .stderr : .error
            channels.send(first, [])
            await race(session, reader: { await channels.receive(session) }, run) { result in
                await channels.finish(result)
            }
        }
    }
}

/// Channels in the first byte of each message.
final class WebSocketChannels: RemoteCommandInput, RemoteCommandOutput {
    private let socket: WebSocketConnection
    private let form: RemoteCommand.ChannelProtocol
    private let stdin = ByteQueue(limit: 128 << 10)

    init(_ socket: WebSocketConnection, _ form: RemoteCommand.ChannelProtocol) {
        self.socket = socket
        self.form = form
    }

    /// Until the client closes or breaks the protocol.
    func receive(_ session: RemoteCommandSession) async {
        do {
            while let message = try await socket.receive() {
                guard let (channel, payload) = ChannelMessage.decode(message, base64: form.base64) else {
                    socket.sendClose(1002, "bad channel message")
                    break
                }
                switch RemoteCommandChannel(rawValue: channel) {
                case .stdin where session.options.stdin: try await stdin.push(payload)
                case .resize: session.receivedResize(payload)
                case .close where form.version >= 5:
                    if payload.first == RemoteCommandChannel.stdin.rawValue { stdin.end() }
                default: break
                }
            }
            stdin.end()
        } catch {
            stdin.fail(error)
        }
    }

    func read() async throws -> [UInt8]? {
        try await stdin.pop()
    }

    func write(_ channel: RemoteCommandChannel, _ bytes: [UInt8]) async throws {
        try await ChannelMessage.write(socket, channel.rawValue, bytes, base64: form.base64)
    }

    func send(_ channel: RemoteCommandChannel, _ bytes: [UInt8]) {
        ChannelMessage.send(socket, channel.rawValue, bytes, base64: form.base64)
    }

    /// The reader goes on meanwhile: it takes the client's close frame.
    func finish(_ result: RemoteCommandResult) async {
        if form.version >= 4 {
            send(.error, result.status.encode())
        } else if let text = result.plainText {
            send(.error, Array(text.utf8))
        }
        socket.sendClose(1000, "")
        _ = await withTimeLimit(seconds: 10) { [socket] in
            try? await socket.drained()
            await socket.waitUntilClosed()
        }
    }
}
