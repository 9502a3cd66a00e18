internal import Codecs
internal import KubeAPI
internal import Linux
internal import Logging

/// What takes the cluster's services to the kernel.
package protocol ServiceProxying: Sendable {
}

/// Follows services (for pods' environment, and the proxy).
final class ServiceFollower: Sendable {
    private let context: NodeContext
    private let proxy: (any ServiceProxying)?

    init(context: NodeContext, proxy: (any ServiceProxying)?) { (self.context, self.proxy) = (context, proxy) }

    func run() async {
        let follower = Follower(
            client: context.client, resource: .services, namespace: nil, clock: context.clock, logger: context.logger)
        await follower.run { change in
            switch change {
            case .reset(let items): self.context.services.reset(items.compactMap { try? $0.decode() })
            case .changed(let object): if let service = try? object.decode() { self.context.services.set(service) }
            case .removed(let object): if let service = try? object.decode() { self.context.services.remove(service.key) }
            }
        }
    }
}
