import Linux
import Logging
import NIOCore
import NIOPosix

/// The parts of a server and their order: what is wrong with the input is found before anything is made, the port is
/// opened before anything runs, the node starts last and stops first.
///
///     checks ─▶ certificates, store ─▶ listen ─▶ controllers ┐
///                                                  node ─────┴▶ until SIGTERM ─▶ node, listener, store
struct Server: Sendable {
    let configuration: ServerConfiguration
    let logger: Logger

    func run() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        logger.info("Starting \(Root.version)")
        let address = configuration.nodeIP ?? NodeRole.defaultAddress() ?? ""
        if address.isEmpty, !configuration.disableAgent {
            throw StartupError("no default route found: give the node's address with --node-ip")
        }
        let node =
            configuration.disableAgent
            ? nil : try NodeRole(configuration, address: address, group: group, logger: logger)
        let plane = try ControlPlaneRole(configuration, nodeAddress: address, group: group, logger: logger)
        try await plane.listen()
        try plane.writeKubeconfig()
        logger.info("k3s is up and running")
        ServiceManager.ready()
        do {
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { try await plane.run() }
                if let node { tasks.addTask { try await node.run(plane.nodeCluster(address: address)) } }
                // The first part that ends, ends the server; cancelling ends them all.
                try await tasks.next()
                tasks.cancelAll()
            }
        } catch {
            await plane.stop()
            throw error
        }
        await plane.stop()
    }
}
