import Synchronization

/// The other end of a port-forward, as of a container runtime's streaming server: SPDY with a pair of streams a connection.
package final class PortForwardClient: Sendable {
    private let session: SPDYSession
    private let connection: any ByteStream
    private let reading: Task<Void, Never>
    private let requests = Mutex(0)

    private init(_ connection: any ByteStream) throws {
        let session = try SPDYSession(connection, role: .client)
        (self.session, self.connection) = (session, connection)
        reading = Task {
            try? await session.run { $0.reset(SPDYStatus.refusedStream) }
            connection.close()
        }
    }

    deinit { close() }

    /// - Throws: what the server answers in place of the upgrade, or why it cannot be reached.
    package static func connect(_ client: HTTPClient, _ url: HTTPURL) async throws -> PortForwardClient {
        try PortForwardClient(
            await RemoteCommandClient.upgrade(client, url, version: PortForward.version))
    }

    /// A connection to a port of the pod. `failure` gives what the server says went wrong with it, nil at its end.
    package func open(
        port: UInt16
    ) throws -> (stream: any ByteStream, failure: @Sendable () async -> String?) {
        let request = requests.withLock { number -> Int in
            defer { number += 1 }
            return number
        }
        func open(_ type: String) throws -> SPDYStream {
            try session.open(["streamtype": type, "port": String(port), "requestid": String(request)])
        }
        let error = try open("error")
        error.closeWrite()
        let data = try open("data")
        return (
            data,
            {
                var text: [UInt8] = []
                while let bytes = try? await error.read(), text.count < 64 << 10 { text += bytes }
                return text.isEmpty ? nil : String(decoding: text, as: UTF8.self)
            }
        )
    }

    /// Until the server has gone.
    package func wait() async { await reading.value }

    package func close() {
        session.goAway()
        connection.close()
        reading.cancel()
    }
}
