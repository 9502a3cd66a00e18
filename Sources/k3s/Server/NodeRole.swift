import Linux
import Logging
import NIOCore
import NIOPosix

/// The node on this machine: runtime, images, pod network, service proxy and agent.
struct NodeRole: Sendable {
    let configuration: ServerConfiguration
    let address: String
    let logger: Logger

    init(_ configuration: ServerConfiguration, address: String, group: any EventLoopGroup, logger: Logger) throws {
        (self.configuration, self.address, self.logger) = (configuration, address, logger)
    }

    static func defaultAddress() -> String? { nil }

    func run(_ plane: ControlPlaneRole) async throws {
        while !Task.isCancelled { try await Task.sleep(for: .seconds(3600)) }
    }
}
