internal import Codecs
internal import Containers
internal import KubeAPI
internal import Logging
import Synchronization

/// What the parts of a node agent share.
final class NodeContext: Sendable {
    let client: any KubeClient
    let runtime: any ContainerRuntime
    let network: any PodNetworking
    let configuration: NodeConfiguration
    let clock: any KubeClock
    let logger: Logger
    let timers: TimerQueue
    let events: NodeEvents
    let volumes: VolumeManager
    let mounter: any VolumeMounter
    let services: ServiceDirectory
    let actions: any ActionRunner
    let resources: NodeResources
    /// nil: somebody else answers for the cluster's names.
    let names: ClusterNames?
    /// Set by the agent, which owns them both.
    private struct Late {
        var probes: ProbeManager?
        var objects: ObjectWatcher?
        var pods: PodDirectory?
    }
    private let late = Mutex(Late())

    init(
        client: any KubeClient, runtime: any ContainerRuntime, network: any PodNetworking,
        configuration: NodeConfiguration, clock: any KubeClock, logger: Logger, mounter: any VolumeMounter,
        actions: any ActionRunner, resources: NodeResources, names: ClusterNames? = nil
    ) {
        self.names = names
        self.client = client
        self.runtime = runtime
        self.network = network
        self.configuration = configuration
        self.clock = clock
        self.logger = logger
        self.mounter = mounter
        self.actions = actions
        self.resources = resources
        timers = TimerQueue(clock: clock)
        events = NodeEvents(client: client, clock: clock, node: configuration.name, logger: logger)
        var volumes = VolumeManager(root: configuration.rootDirectory, client: client, mounter: mounter, clock: clock)
        volumes.mountImage = ImageVolumes(client: client, runtime: runtime).mount
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
