package import KubeAPI
package import Store

/// What an API server is put together from. Everything has a default that suits a test.
package struct APIServerConfiguration: Sendable {
    package var clock: any KubeClock = SystemClock()
    package var schema: Schema = .shared
    package var authenticator: any Authenticator = FixedUser(.system)
    package var authorizer: any Authorizer = AllowAll()
    package var tokens: (any TokenIssuer)?
    package var reviews: (any ReviewHandler)?
    package var nodes: (any NodeConnections)?
    package var version = ServerVersion()
    package var healthChecks: [HealthCheck] = []
    package init() {}
}

/// The Kubernetes API over a store. One engine over the resource table: routing, negotiation, admission, the registry.
package final class APIServer: Sendable {
    package let configuration: APIServerConfiguration
    package let registry: Registry
    let subresources: SubresourceEngine
    let requests = RequestCounts()

    package init(store: any Store, configuration: APIServerConfiguration = APIServerConfiguration()) {
        self.configuration = configuration
        registry = Registry(
            store: store, clock: configuration.clock, schema: configuration.schema,
            resources: ResourceSet(Catalog.resources(configuration.schema)))
        subresources = SubresourceEngine(
            registry: registry, tokens: configuration.tokens, reviews: configuration.reviews)
    }

    /// The API for a component of this process, under a name of its own.
    package func client(as user: UserInfo) -> LocalClient {
        LocalClient(registry: registry, user: user, subresources: subresources)
    }
}
