import ControlPlane
import NIOCore
import Synchronization
import Transport

/// The API server's way to nodes: the one in this process by a call, addresses in the pod network by a client.
final class LocalNodes: NodeConnections {
    private let local = Mutex<(name: String, handler: HTTPHandler)?>(nil)

    func connect(_ name: String, _ handler: @escaping HTTPHandler) {
        local.withLock { $0 = (name, handler) }
    }

    func handler(forNode name: String) -> HTTPHandler? {
        local.withLock { local in
            guard let local, local.name == name else { return nil }
            return local.handler
        }
    }
}
