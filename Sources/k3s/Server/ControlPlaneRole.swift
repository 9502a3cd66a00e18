import Codecs
import ControlPlane
import KubeAPI
import Linux
import Logging
import NIOCore
import NIOPosix
import Store
import Transport

/// The API server with its store, certificates and controllers, in this process.
struct ControlPlaneRole: Sendable {
    let configuration: ServerConfiguration
    let logger: Logger
    let pki: ClusterPKI
    let store: LogStore
    let api: APIServer
    let nodes: LocalNodes
    private let hooks = StartHooks()
    private let clock = SystemClock()
    private let tokens: ServiceAccountTokens
    private let rbac: RBACAuthorizer
    private let supervisor: Supervisor
    private let passwords: NodePasswords
    private let listener: HTTPServer
    private let serverDirectory: String
    private let encryption: SecretsEncryption
    private let nodeAddress: String
    private let schedulerProfiles: [SchedulerProfile]

    /// Makes or loads everything below `<data-dir>/server`. Throws before anything is served.
    init(_ configuration: ServerConfiguration, nodeAddress: String, group: any EventLoopGroup, logger: Logger) throws {
        (self.configuration, self.logger, self.nodeAddress) = (configuration, logger, nodeAddress)
        serverDirectory = configuration.dataDirectory + "/server"
        do throws(SysError) {
            try Directories.make(configuration.dataDirectory, mode: 0o755)
            try Directories.make(serverDirectory, mode: 0o700)
        } catch {
            throw StartupError("--data-dir: cannot make \(serverDirectory): \(error)")
        }
        let apiAddresses = configuration.network.serviceCIDRs.map { ServerConfiguration.hostAddress(1, of: $0) }
        var parameters = ClusterPKIParameters(nodeName: configuration.nodeName)
        parameters.nodeAddresses = nodeAddress.isEmpty ? [] : configuration.network.nodeAddresses(primary: nodeAddress)
        parameters.extraNames = configuration.tlsSANs
        parameters.serviceAddresses = apiAddresses
        parameters.advertiseAddress = configuration.advertiseAddress
        parameters.clusterDomain = configuration.clusterDomain
        parameters.lifetime = Self.certificateLifetime(logger)
        let rotated = try AuthorityRotation.complete(server: serverDirectory)
        if !rotated.isEmpty { logger.info("Using new CA certificates and keys: \(rotated.joined(separator: ", "))") }
        pki = try ClusterPKI.prepare(directory: serverDirectory + "/tls", parameters: parameters)
        let credentials = try ClusterCredentials.prepare(
            serverDirectory: serverDirectory, token: configuration.token, agentToken: configuration.agentToken,
            ca: pki.server.pem)

        var options = StoreOptions()
        do {
            encryption = try SecretsEncryption(server: serverDirectory, provider: configuration.secretsEncryption)
        } catch {
            throw StartupError("--secrets-encryption: \(error)")
        }
        options.cipher = encryption
        options.tag = ControllerTag.of
        options.onDiskTrouble = { [logger] in logger.error("datastore: \($0)") }
        do throws(StoreError) {
            store = try LogStore.sqlite(path: serverDirectory + "/db/state.db", options: options)
        } catch {
            throw StartupError("datastore \(serverDirectory)/db/state.db: \(error)")
        }

        let issuer = "https://kubernetes.default.svc.\(configuration.clusterDomain)"
        tokens = ServiceAccountTokens(
            key: pki.serviceSigningKey, keys: pki.serviceKeys, issuer: issuer, audiences: [issuer, "k3s"], clock: clock)
        rbac = RBACAuthorizer()
        nodes = LocalNodes()
        let (tokens, rbac, joining) = (tokens, rbac, BootstrapTokens(clock: clock))
        let arguments = APIServerArguments(configuration.apiServerArguments)
        let known = try arguments.staticTokens()
        let checkToken: @Sendable (String, [String]) async -> (user: UserInfo, audiences: [String])? = {
            if let user = known?.authenticate($0) { return (user, []) }
            if let user = joining.authenticate($0) { return (user, []) }
            return await tokens.authenticate($0, audiences: $1)
        }
        let kubelets = NodeAuthorizer()
        let authorizer = AuthorizerChain([kubelets, rbac])
        var server = APIServerConfiguration()
        server.clock = clock
        server.authorizer = authorizer
        let allowsAnonymous = try arguments.allowsAnonymous()
        server.authenticator = RequestAuthenticator(authorizer: authorizer, authenticateToken: checkToken) { _ in
            allowsAnonymous
        }
        if let pods = try AdmissionArguments.podSecurity(configuration.apiServerArguments) {
            server.admission.setPodSecurity(pods)
        }
        server.admission.setNodeRestriction(authorizer)
        server.admission.plugins.append(.certificates(authorizer: authorizer))
        server.admission.plugins.append(
            .privilegeEscalation(authorizer: rbac) { rbac.rules(of: $0, namespace: $1) })
        server.tokens = tokens
        for name in arguments.idle {
            logger.warning("--kube-apiserver-arg=\(name) is accepted, but has no effect yet")
        }
        for warning in known?.warnings ?? [] { logger.warning("--kube-apiserver-arg=token-auth-file: \(warning)") }
        let scheduler = try SchedulerArguments.profiles(configuration.schedulerArguments)
        schedulerProfiles = scheduler.profiles
        for name in scheduler.idle {
            logger.warning("--kube-scheduler-arg=\(name) is accepted, but has no effect yet")
        }
        server.audit = try arguments.auditLog()
        server.requestLimits = try arguments.requestLimits()
        server.compactionInterval = try arguments.compactionInterval()
        server.trustedByExtensions = (pki.client.pem, pki.requestHeader.pem)
        server.reviews = AccessReviews(
            authorizer: authorizer, rules: { rbac.rules(of: $0, namespace: $1) }, authenticateToken: checkToken)
        server.nodes = nodes
        server.nodePorts = configuration.nodePorts
        try server.setServiceNetworks(configuration.network.serviceCIDRs)
        let advertised = configuration.advertiseAddress ?? nodeAddress
        if !advertised.isEmpty { try server.advertise(advertised, port: UInt16(configuration.port)) }
        server.healthChecks = hooks.checks
        api = APIServer(store: store, configuration: server)
        tokens.attach(api.registry)
        joining.attach(api.registry)
        kubelets.attach(api.registry)
        let tunnels = NodeTunnels(logger: logger)
        passwords = NodePasswords(api: api, logger: logger)
        let nodes = nodes
        try nodes.attach(
            client: api.client(as: .system), tunnels: tunnels, pki: pki, mode: configuration.cluster.egressMode,
            group: group)
        let settings = SupervisorSettings(
            directory: serverDirectory, ownNode: configuration.disableAgent ? nil : configuration.nodeName,
            config: configuration.cluster.json(configuration, advertised: advertised),
            advertised: "\(advertised.isEmpty ? "127.0.0.1" : advertised):\(configuration.port)",
            hasAgentToken: configuration.agentToken != nil, nodeName: configuration.nodeName)
        supervisor = Supervisor(
            settings: settings, pki: pki, credentials: credentials, api: api, passwords: passwords, tunnels: tunnels,
            logger: logger, encryption: encryption, dial: { try await nodes.connection($0, $1) })

        let certificate = try ListenerCertificate.prepare(
            pki: pki, names: try Certificate.load(pki.path("serving-kube-apiserver.crt"))[0].alternativeNames.all,
            now: clock.now().seconds)
        var tls = TLSServerConfiguration(
            certificate: TLSCertificate(chainPEM: certificate.chainPEM, keyPEM: certificate.key.pem),
            clientCAPEM: pki.client.pem)
        tls.requireClientCertificate = false
        tls.frontProxyCAPEM = pki.requestHeader.pem
        let (handler, supervisor) = (api.handler, supervisor)
        let http = HTTPServerConfiguration(hooks: APIServer.hooks, gzip: true)
        listener = HTTPServer(group: group, tls: try TLSServerContext(tls), configuration: http) { request in
            if let answer = await supervisor.handle(request) { return answer }
            return await handler(request)
        }
    }

    /// Seconds, of certificates that are no authority's: the variable is that of the original, whose numbers are whole.
    static func certificateLifetime(_ logger: Logger) -> Int64 {
        let name = "CATTLE_NEW_SIGNED_CERT_EXPIRATION_DAYS"
        guard let text = getenv(name).map({ String(cString: $0) }), !text.isEmpty else {
            return CertificateProfile.year
        }
        guard let days = Double(text), days > 0, days <= 36_500 else {
            logger.warning("\(name): \"\(text)\": expected a number of days, using 365")
            return CertificateProfile.year
        }
        return Int64(days * 86_400)
    }

    var client: LocalClient { api.client(as: .system) }

    /// Opens the port, so that a port in use is known before anything else happens.
    func listen() async throws {
        let (host, port) = (configuration.bindAddress, configuration.port)
        do {
            try await listener.start(host: host, port: port)
            if let rootless = configuration.rootless {
                do { try await listener.start(socket: rootless.listen(host, port: port)) } catch let error as SysError {
                    throw StartupError("listen tcp \(host):\(port): bind: \(SysError.text(error.code).lowercased())")
                }
            }
        } catch let error as IOError {
            throw StartupError("listen tcp \(host):\(port): bind: \(SysError.text(error.errnoCode).lowercased())")
        }
    }

    /// Writes the administrator's kubeconfig.
    func writeKubeconfig() throws {
        let bound = configuration.bindAddress
        let host = ["0.0.0.0", "::"].contains(bound) ? "127.0.0.1" : bound.contains(":") ? "[\(bound)]" : bound
        let text = try pki.adminKubeconfig(server: "https://\(host):\(configuration.port)")
        let path = configuration.kubeconfigPath
        do throws(SysError) {
            if let slash = path.lastIndex(of: "/"), slash != path.startIndex {
                try Directories.make(String(path[..<slash]), mode: 0o755)
            }
            try Files.writeAtomically(path, Array(text.utf8), mode: configuration.kubeconfigMode)
            if let group = configuration.kubeconfigGroup, chown(path, uid_t.max, group) != 0 {
                throw SysError(errno, "chown", path: path)
            }
        } catch {
            throw StartupError("--write-kubeconfig: cannot write \(path): \(error)")
        }
        logger.info("Wrote kubeconfig \(path)")
        sayHowToJoin()
    }

    /// Where the tokens are and how they are used; not the tokens.
    private func sayHowToJoin() {
        let address = configuration.advertiseAddress ?? nodeAddress
        let host = address.isEmpty ? "127.0.0.1" : address.contains(":") ? "[\(address)]" : address
        for (kind, file) in [("server", "token"), ("agent", "agent-token")] {
            let name = kind == "server" ? "Server" : "Agent"
            logger.info("\(name) node token is available at \(serverDirectory)/\(file)")
            logger.info(
                "To join \(kind) node to cluster: k3s \(kind) -s https://\(host):\(configuration.port) -t ${\(kind.uppercased())_NODE_TOKEN}"
            )
        }
    }

    /// The objects that every cluster has; then controllers and scheduler, until the task is cancelled.
    func run() async throws {
        let client = client
        try await api.bootstrap()
        hooks.finish(StartHooks.bootstrap)
        try await BootstrapPolicy.reconcile(client)
        hooks.finish([StartHooks.roles])
        for object in BootstrapPolicy.defaultClusterRoles() { rbac.observe(.clusterRoles, object, deleted: false) }
        for object in BootstrapPolicy.defaultClusterRoleBindings() {
            rbac.observe(.clusterRoleBindings, object, deleted: false)
        }
        supervisor.setReady(true)
        let resources = api.registry.resources
        // Views of what is stored under another name (events.k8s.io) would be looked at twice.
        let stored = resources.all.filter { $0.isStored && $0.info.verbs.isSuperset(of: [.list, .watch]) }
        let controllers: [any Controller] = [
            rbac, ClusterRoleAggregationController(client: client),
            QuotaStatusController(
                client: client, registry: api.registry, ledger: api.quotas,
                resources: stored.filter(\.namespaced).map(\.gvr)),
            Scheduler(client: client, clock: clock, profiles: schedulerProfiles),
            DeploymentController(client: client, clock: clock), ReplicaSetController(client: client, clock: clock),
            ReplicaSetController.replicationControllers(client: client, clock: clock),
            DaemonSetController(client: client, clock: clock), StatefulSetController(client: client, clock: clock),
            JobController(client: client, clock: clock), CronJobController(client: client, clock: clock),
            DisruptionController(client: client, clock: clock),
            FlowSchemaController(client: client, clock: clock),
            HorizontalAutoscaler(client: client, clock: clock, metrics: NodeMetrics(nodes: nodes, clock: clock)),
            EndpointSliceController(client: client, clock: clock), EndpointSliceMirroring(client: client),
            ServiceAccountController(client: client, rootCA: String(decoding: pki.server.pem, as: UTF8.self)),
            ServiceAccountTokenController(
                client: client, tokens: tokens, rootCA: String(decoding: pki.server.pem, as: UTF8.self)),
            NamespaceController(client: client, clock: clock, resources: { stored.filter(\.namespaced).map(\.gvr) }),
            try NodeController(
                client: client, clock: clock, clusterCIDRs: configuration.network.clusterCIDRs,
                nodeMasks: configuration.network.nodeMasks),
            NodeDepartureController(client: client, passwords: passwords, tunnels: supervisor.tunnels),
            TokenCleaner(client: client, clock: clock),
            EncryptionAnnotator(client: client, encryption: encryption, node: configuration.nodeName),
            VolumeBinder(client: client, clock: clock), EphemeralClaims(client: client, clock: clock),
            AttachDetach(client: client, clock: clock), ResourceClaimController(client: client, clock: clock),
            DeviceTaintEviction(client: client, clock: clock),
            VolumeProtection(client: client), ClaimProtection(client: client), AttributesProtection(client: client),
            ServiceAddressController(client: client, allocator: api.allocator),
            ServiceCIDRController(client: client, clock: clock, allocator: api.allocator),
            CertificateApprover(client: client, authorizer: api.configuration.authorizer),
            CertificateSigner(client: client, clock: clock, clientCA: pki.client, serverCA: pki.server),
            CertificateCleaner(client: client, clock: clock),
            GarbageCollector(
                client: client, resources: stored.filter { $0.gvr != .events }.map(\.gvr),
                resolve: { kind in resources.first(kind: kind).map { ($0.gvr, $0.namespaced) } }),
        ]
        let events = Task { [api] in await api.expireEvents() }
        let history = Task { [api] in await api.compactHistory() }
        let deployer = AddonDeployer(
            api, directory: serverDirectory + "/manifests", disabled: configuration.disabled,
            node: configuration.nodeName, logger: logger)
        let addons = Task { await deployer.run() }
        defer {
            events.cancel()
            history.cancel()
            addons.cancel()
        }
        api.runsControllers = true
        let manager = ControllerManager(client: client, clock: clock, logger: logger, controllers: controllers)
        api.addMetrics { manager.metrics }
        let certificates = ServiceCertificates(dataDirectory: configuration.dataDirectory)
        api.addMetrics { [clock] in
            let all = certificates.services + [ServiceCertificates.authorities]
            return CertificateReport.metrics(
                (try? CertificateReport.read(certificates, services: all, now: clock.now())) ?? [])
        }
        await manager.run()
        api.runsControllers = false
    }

    /// Ends connections and closes the store: what was acknowledged is on disk.
    func stop() async {
        hooks.stop()
        await listener.stop(within: 0.2)
        await store.close()
    }
}
