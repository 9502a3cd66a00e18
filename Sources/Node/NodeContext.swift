internal import Codecs
internal import Containers
package import KubeAPI
internal import Linux
internal import Logging
import Synchronization

/// The API under the names that a node has: on a server one client for all, on an agent one per certificate.
package struct NodeClients: Sendable {
    /// `system:node:<name>`
    package var kubelet: any KubeClient
    /// `system:kube-proxy`
    package var proxy: any KubeClient
    /// `system:k3s-controller`
    package var cluster: any KubeClient

    package init(kubelet: any KubeClient, proxy: any KubeClient, cluster: any KubeClient) {
        (self.kubelet, self.proxy, self.cluster) = (kubelet, proxy, cluster)
    }
    package init(_ client: any KubeClient) { self.init(kubelet: client, proxy: client, cluster: client) }
}

/// What the parts of a node agent share.
final class NodeContext: Sendable {
    private let clients: NodeClients
    /// As the kubelet: this node, its pods, and what they refer to.
    var client: any KubeClient { clients.kubelet }
    /// As the service proxy: services and their endpoints.
    var proxyClient: any KubeClient { clients.proxy }
    /// As k3s: what a node follows of the whole cluster (nodes, namespaces, policies).
    var clusterClient: any KubeClient { clients.cluster }

    /// Follows a resource as one of these clients until the task is cancelled.
    func follow(
        _ resource: GroupVersionResource, as client: any KubeClient, namespace: String? = nil,
        fields: FieldSelector = .everything, _ handle: @Sendable (Follower.Change) async -> Void
    ) async {
        let follower = Follower(
            client: client, resource: resource, namespace: namespace, fields: fields, clock: clock, logger: logger)
        await follower.run(handle)
    }
    let runtime: any ContainerRuntime
    let network: any PodNetworking
    let configuration: NodeConfiguration
    let clock: any KubeClock
    let logger: Logger
    let timers: TimerQueue
    let events: NodeEvents
    let volumes: VolumeManager
    let csi: CSIVolumes
    let mounter: any VolumeMounter
    let services: ServiceDirectory
    let actions: any ActionRunner
    let resources: NodeResources
    let pressure = NodePressure()
    /// What plugins offer to containers.
    let devices: DeviceManager
    /// What drivers prepare for pods that have ResourceClaims.
    let claims: DRAManager
    /// Pods that say how much of the disk they may take.
    let storage = StorageWatch()
    /// Of volumes on the node's disk.
    let walks = PacedDiskUsage()
    /// nil: somebody else answers for the cluster's names.
    let names: ClusterNames?
    /// nil: not this node's, or somebody else gives load balancers their addresses.
    let balancer: ServiceLoadBalancer?
    /// Set by the agent, which owns them both.
    private struct Late {
        var probes: ProbeManager?
        var objects: ObjectWatcher?
        var pods: PodDirectory?
    }
    private let late = Mutex(Late())

    init(
        clients: NodeClients, runtime: any ContainerRuntime, network: any PodNetworking,
        configuration: NodeConfiguration, clock: any KubeClock, logger: Logger, mounter: any VolumeMounter,
        actions: any ActionRunner, resources: NodeResources, names: ClusterNames? = nil
    ) {
        self.names = names
        balancer =
            configuration.isServer && configuration.balancesServices
            ? ServiceLoadBalancer(address: configuration.balancerAddress) : nil
        self.clients = clients
        let client = clients.kubelet
        self.runtime = runtime
        self.network = network
        self.configuration = configuration
        self.clock = clock
        self.logger = logger
        self.mounter = mounter
        self.actions = actions
        self.resources = resources
        timers = TimerQueue(clock: clock)
        devices = DeviceManager(root: configuration.rootDirectory, clock: clock, timers: timers, logger: logger)
        claims = DRAManager(
            root: configuration.rootDirectory, node: configuration.name, client: client, clock: clock, timers: timers,
            logger: logger)
        events = NodeEvents(client: client, clock: clock, node: configuration.name, logger: logger)
        var volumes = VolumeManager(root: configuration.rootDirectory, client: client, mounter: mounter, clock: clock)
        volumes.mountImage = ImageVolumes(client: client, runtime: runtime).mount
        csi = CSIVolumes(
            root: configuration.rootDirectory, node: configuration.name, client: client, mounter: mounter, clock: clock,
            events: events, logger: logger)
        volumes.csi = csi
        self.volumes = volumes
        services = ServiceDirectory()
    }

    func connect(probes: ProbeManager, objects: ObjectWatcher, pods: PodDirectory) {
        late.withLock { $0 = Late(probes: probes, objects: objects, pods: pods) }
    }
    var probes: ProbeManager? { late.withLock { $0.probes } }
    var objects: ObjectWatcher? { late.withLock { $0.objects } }
    var pods: PodDirectory? { late.withLock { $0.pods } }

    func now() -> Timestamp { clock.now() }

    func podLogDirectory(_ pod: Pod) -> String { configuration.podLogs + "/" + pod.logDirectoryName }
}
