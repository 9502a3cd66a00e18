package import KubeAPI
package import Store
import Synchronization

/// What an API server is put together from. Everything has a default that suits a test.
package struct APIServerConfiguration: Sendable {
    package var clock: any KubeClock = SystemClock()
    package var schema: Schema = .shared
    package var authenticator: any Authenticator = FixedUser(.system)
    package var authorizer: any Authorizer = AllowAll()
    package var admission = AdmissionChain.standard
    package var tokens: (any TokenIssuer)?
    package var reviews: (any ReviewHandler)?
    package var nodes: (any NodeConnections)?
    package var version = ServerVersion()
    package var healthChecks: [HealthCheck] = []
    package var audit: AuditLog?
    package var requestLimits = RequestLimiter.Limits()
    /// What components need to know to trust those who come through the API server: ConfigMap
    /// `extension-apiserver-authentication`. PEM texts; nil: there is no such ConfigMap.
    package var trustedByExtensions: (clientCA: [UInt8], frontProxyCA: [UInt8])?
    /// kube-apiserver's --etcd-compaction-interval: for how long the past can be listed and watched at least.
    package var compactionInterval: Duration? = .seconds(300)
    /// `--service-node-port-range`
    package var nodePorts: ClosedRange<UInt16> = 30000...32767
    /// Where the `kubernetes` service leads; without an address there is no such service.
    package var advertisePort: UInt16 = 6443
    var advertiseAddress: IPAddress?
    var serviceNetworks: [IPNetwork] = [IPNetwork("10.43.0.0/16")].compactMap { $0 }

    package init() {}

    /// `--advertise-address`
    package mutating func advertise(_ address: String, port: UInt16) throws(APIError) {
        guard let parsed = IPAddress(address) else {
            throw .badRequest("advertise address \"\(address)\": expected an IP address")
        }
        (advertiseAddress, advertisePort) = (parsed, port)
    }

    /// `--service-cidr`: one network, or one of each family.
    package mutating func setServiceNetworks(_ networks: [String]) throws(APIError) {
        var parsed: [IPNetwork] = []
        for text in networks {
            guard let network = IPNetwork(text), network.size > 3 else {
                throw .badRequest("service CIDR \"\(text)\": expected a network such as 10.43.0.0/16")
            }
            parsed.append(network)
        }
        guard !parsed.isEmpty else { throw .badRequest("service CIDR: expected at least one network") }
        serviceNetworks = parsed
    }
}

/// The Kubernetes API over a store. One engine over the resource table: routing, negotiation, admission, the registry.
package final class APIServer: Sendable {
    package let configuration: APIServerConfiguration
    package let registry: Registry
    let subresources: SubresourceEngine
    package let allocator: ServiceAllocator
    let requests = RequestMetrics()
    let limiter: RequestLimiter
    let flows = FlowSchemaMatcher()
    /// Of other parts of the process, in the Prometheus text format.
    let moreMetrics = Mutex<[@Sendable () -> String]>([])
    let attempts = Mutex<(good: Int64, bad: Int64)>((0, 0))
    /// Keeps namespaces within their quotas; the last of the admission plug-ins.
    package let quotas = QuotaLedger()
    private let running = Mutex(false)
    /// Whether the scheduler and the controllers are at work; set by whoever runs them.
    package var runsControllers: Bool {
        get { running.withLock { $0 } }
        set { running.withLock { $0 = newValue } }
    }

    package init(store: any Store, configuration: APIServerConfiguration = APIServerConfiguration()) {
        self.configuration = configuration
        limiter = RequestLimiter(configuration.requestLimits)
        var admission = configuration.admission
        admission.plugins.append(quotas.plugin)
        allocator = ServiceAllocator(networks: configuration.serviceNetworks, portRange: configuration.nodePorts)
        registry = Registry(
            store: store, clock: configuration.clock, schema: configuration.schema,
            resources: ResourceSet(
                Catalog.resources(
                    configuration.schema, reviews: configuration.reviews != nil, tokens: configuration.tokens != nil)),
            admission: admission,
            hooks: [
                "/registry/services/": allocator,
                ServiceAddresses.prefix: AddressKeeper(allocator: allocator),
                FlowSchemaMatcher.prefixes[0]: flows, FlowSchemaMatcher.prefixes[1]: flows,
            ])
        subresources = SubresourceEngine(
            registry: registry, tokens: configuration.tokens, reviews: configuration.reviews)
        adoptAddresses()
    }

    /// Adds a part to /metrics.
    package func addMetrics(_ text: @escaping @Sendable () -> String) { moreMetrics.withLock { $0.append(text) } }

    private func adoptAddresses() {
        func objects(_ prefix: String) -> [KubeObject] {
            let entries = (try? registry.store.range(prefix: prefix).entries) ?? []
            return entries.compactMap { try? KubeObject(decoding: $0) }
        }
        for service in objects("/registry/services/") { allocator.adopt(service) }
        for address in objects(ServiceAddresses.prefix) where !ServiceAddresses.isManaged(address) {
            if let address = IPAddress(address.name) { allocator.keep(address) }
        }
        allocator.setNetworks(ServiceAddresses.networks(objects(ServiceAddresses.networkPrefix)))
    }

    /// The API for a component of this process, under a name of its own.
    package func client(as user: UserInfo) -> LocalClient {
        LocalClient(registry: registry, user: user, subresources: subresources)
    }
}
