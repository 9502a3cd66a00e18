package import Logging
import Synchronization
package import Transport

/// The tunnels that agents have opened to this server, by node name. One per node: a new one takes the place of the old.
package final class NodeTunnels: Sendable {
    private let sessions = Mutex<[String: TunnelSession]>([:])
    private let logger: Logger

    package init(logger: Logger) {
        self.logger = logger
    }

    /// Answers the WebSocket upgrade of a node that has been authenticated.
    package func accept(_ request: HTTPRequest, node: String) -> HTTPResponse {
        WebSocketHandshake.accept(request, protocols: [], limit: TunnelSession.messageLimit) { [self] socket, _ in
            let session = TunnelSession(socket, role: .server)
            let old = sessions.withLock { $0.updateValue(session, forKey: node) }
            old?.close()
            logger.info("Handling backend connection request [\(node)]")
            do {
                try await session.run()
            } catch {
                logger.debug("tunnel of node \(node): \(error)")
            }
            let last = sessions.withLock { sessions in
                guard sessions[node] === session else { return false }
                sessions[node] = nil
                return true
            }
            if last { logger.info("Tunnel of node \(node) is closed") }
        }
    }

    package func session(_ node: String) -> TunnelSession? {
        sessions.withLock { $0[node] }
    }

    package func close(_ node: String) {
        sessions.withLock { $0.removeValue(forKey: node) }?.close()
    }

    /// Names of the connected nodes.
    package var nodes: [String] {
        sessions.withLock { $0.keys.sorted() }
    }
}
