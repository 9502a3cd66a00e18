internal import Codecs
package import Containers
package import KubeAPI
package import Logging

/// The node agent: what the kubelet is to a node. It registers the node, runs its pods through the container runtime
/// and reports both.
///
///     let agent = NodeAgent(clients: NodeClients(client), runtime: runtime, network: network, configuration: configuration)
///     try await agent.run()   // until cancelled; the pods go on
package final class NodeAgent: Sendable {
    let context: NodeContext
    let pods: PodDirectory
    let probes: ProbeManager
    let objects: ObjectWatcher
    let registration: NodeRegistration
    private let proxy: ServiceFollower
    private let policies: PolicyFollower?
    private let health: HealthPorts?
    private let plugins: PluginWatcher

    package init(
        clients: NodeClients, runtime: any ContainerRuntime, network: any PodNetworking,
        proxy: (any ServiceProxying)? = nil, policies: (any PolicyEnforcing)? = nil, names: ClusterNames? = nil,
        listen: PlainListener? = nil,
        configuration: NodeConfiguration,
        clock: any KubeClock = SystemClock(),
        logger: Logger = Logger(label: "node"), mounter: any VolumeMounter = KernelMounter(),
        actions: (any ActionRunner)? = nil, secureProbes: SecureProbes? = nil
    ) {
        let resources = NodeResources()
        context = NodeContext(
            clients: clients, runtime: runtime, network: network, configuration: configuration, clock: clock,
            logger: logger,
            mounter: mounter, actions: actions ?? SystemActions(runtime: runtime, clock: clock, secure: secureProbes),
            resources: resources, names: names)
        let pods = PodDirectory(context: context)
        self.pods = pods
        probes = ProbeManager(timers: context.timers, actions: context.actions, events: context.events) {
            [weak pods] uid in
            guard let worker = pods?.worker(uid: uid) else { return }
            Task { await worker.wake() }
        }
        objects = ObjectWatcher(client: clients.kubelet, clock: clock, logger: logger) { [weak pods] uids in
            for uid in uids {
                guard let worker = pods?.worker(uid: uid) else { continue }
                Task { await worker.volumeSourceChanged() }
            }
        }
        registration = NodeRegistration(context: context)
        let registration = registration
        context.pressure.onChange { [weak registration] in registration?.statusChanged() }
        context.devices.onChange { [weak registration] in registration?.devicesChanged() }
        plugins = PluginWatcher(
            path: configuration.rootDirectory + "/plugins_registry",
            handlers: [
                "DevicePlugin": context.devices, "CSIPlugin": context.csi.drivers, "DRAPlugin": context.claims,
            ], clock: clock, logger: logger)
        context.csi.onUse { [weak registration] in await registration?.reportNow() }
        context.csi.drivers.onRegister { [weak pods] in
            guard let pods else { return }
            Task { await pods.driverRegistered() }
        }
        health = listen.map { HealthPorts(listen: $0, logger: logger) }
        self.proxy = ServiceFollower(context: context, proxy: proxy, health: health)
        self.policies = policies.map { [context] in PolicyFollower(context: context, enforcer: $0) }
        let follower = self.proxy
        registration.observeLabels { [weak follower] in follower?.setZone($0["topology.kubernetes.io/zone"]) }
        context.connect(probes: probes, objects: objects, pods: pods)
    }

    /// Until the task is cancelled. Pods keep running; a later agent takes them over.
    package func run() async throws {
        await registration.prepare()
        let classes = QOSCgroups(context)
        classes.start()
        defer { withExtendedLifetime(classes) {} }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.context.events.run() }
            group.addTask { await self.registration.run() }
            group.addTask { await self.proxy.run() }
            if let policies = self.policies { group.addTask { await policies.run() } }
            if let balancer = self.context.balancer { group.addTask { await balancer.run(self.context) } }
            group.addTask {
                if let names = self.context.names {
                    await names.run(self.context)
                } else if self.context.configuration.isServer {
                    await ClusterNames.withdraw(self.context)
                }
            }
            group.addTask { await self.pods.followRuntime() }
            group.addTask { await EvictionManager(self.context).run() }
            group.addTask { await NodeShutdown(self.context).run() }
            group.addTask { await self.context.devices.run() }
            group.addTask { await self.context.claims.run() }
            group.addTask { await self.context.csi.drivers.run(self.context.clock) }
            group.addTask { await self.plugins.run() }
            group.addTask { await self.pods.run() }
            await group.waitForAll()
        }
        await health?.stop()
        await pods.shutdown()
        probes.stop()
        objects.stop()
        context.timers.stop()
        try Task.checkCancellation()
    }
}
