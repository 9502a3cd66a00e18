internal import Codecs
package import Containers
package import KubeAPI
package import Logging

/// The node agent: what the kubelet is to a node. It registers the node, runs its pods through the container runtime
/// and reports both.
///
///     let agent = NodeAgent(client: client, runtime: runtime, network: network, configuration: configuration)
///     try await agent.run()   // until cancelled; the pods go on
package final class NodeAgent: Sendable {
    let context: NodeContext
    let pods: PodDirectory
    let probes: ProbeManager
    let objects: ObjectWatcher
    let registration: NodeRegistration
    private let proxy: ServiceFollower

    package init(
        client: any KubeClient, runtime: any ContainerRuntime, network: any PodNetworking,
        proxy: (any ServiceProxying)? = nil, names: ClusterNames? = nil, configuration: NodeConfiguration,
        clock: any KubeClock = SystemClock(),
        logger: Logger = Logger(label: "node"), mounter: any VolumeMounter = KernelMounter(),
        actions: (any ActionRunner)? = nil, secureProbes: SecureProbes? = nil
    ) {
        let resources = NodeResources()
        context = NodeContext(
            client: client, runtime: runtime, network: network, configuration: configuration, clock: clock,
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
        objects = ObjectWatcher(client: client, clock: clock, logger: logger) { [weak pods] uids in
            for uid in uids {
                guard let worker = pods?.worker(uid: uid) else { continue }
                Task { await worker.volumeSourceChanged() }
            }
        }
        registration = NodeRegistration(context: context)
        self.proxy = ServiceFollower(context: context, proxy: proxy)
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
            group.addTask {
                if let names = self.context.names {
                    await names.run(self.context)
                } else if self.context.configuration.isServer {
                    await ClusterNames.withdraw(self.context)
                }
            }
            group.addTask { await self.pods.followRuntime() }
            group.addTask { await self.pods.run() }
            await group.waitForAll()
        }
        await pods.shutdown()
        probes.stop()
        objects.stop()
        context.timers.stop()
        try Task.checkCancellation()
    }
}
