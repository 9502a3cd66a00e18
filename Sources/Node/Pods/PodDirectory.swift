internal import Codecs
internal import Containers
internal import KubeAPI
internal import Linux
internal import Logging
import Synchronization

/// All pods of the node: gives each its worker, hands it what concerns it, and forgets it when it has finished.
final class PodDirectory: Sendable {
    private struct State {
        var workers: [String: PodWorker] = [:]
        /// The newest pod of a name: an older one may still be ending.
        var names: [ObjectKey: String] = [:]
        var sandboxes: [String: String] = [:]
        /// What a previous process left in the runtime, until the pods are listed.
        var inherited: [String: Inherited]?
        /// By container id: who waits for its end (log followers).
        var observers: [UInt64: Observer] = [:]
        var nextObserver: UInt64 = 0
        /// Static pods whose predecessor of the same name has not ended yet.
        var queued: [ObjectKey: KubeObject] = [:]
    }
    private struct Observer {
        var container: String
        var notify: @Sendable () -> Void
    }
    struct Inherited: Sendable {
        var sandboxes: [SandboxStatus] = []
        var containers: [ContainerStatus] = []
    }

    private let context: NodeContext
    private let state = Mutex(State())
    /// nil: the node has no folder of pods.
    let staticPods: StaticPods?

    init(context: NodeContext) {
        self.context = context
        staticPods = context.configuration.staticPodPath.map { StaticPods(context: context, path: $0) }
    }

    // MARK: Looking up

    func worker(uid: String) -> PodWorker? { state.withLock { $0.workers[uid] } }
    func worker(namespace: String, name: String) -> PodWorker? {
        state.withLock { state in
            state.names[ObjectKey(namespace: namespace, name: name)].flatMap { state.workers[$0] }
        }
    }
    var workers: [PodWorker] { state.withLock { Array($0.workers.values) } }

    func register(sandbox: String, uid: String) { state.withLock { $0.sandboxes[sandbox] = uid } }
    func unregister(sandbox: String) { state.withLock { $0.sandboxes[sandbox] = nil } }
    func finished(_ uid: String) {
        let successor = state.withLock { state -> KubeObject? in
            guard let worker = state.workers.removeValue(forKey: uid) else { return nil }
            if state.names[worker.key] == uid { state.names[worker.key] = nil }
            return worker.isStatic ? state.queued.removeValue(forKey: worker.key) : nil
        }
        context.resources.release(uid)
        context.objects?.follow([], for: uid)
        if let successor { Task { await self.startStatic(successor) } }
        staticPods?.finished()
        // What this pod had may be what a waiting resize needs.
        for worker in workers { Task { await worker.resourcesReleased() } }
    }

    /// Calls `notify` whenever the runtime says something about the container, until cancelled.
    func onChange(of container: String, _ notify: @escaping @Sendable () -> Void) -> UInt64 {
        state.withLock { state in
            state.nextObserver += 1
            state.observers[state.nextObserver] = Observer(container: container, notify: notify)
            return state.nextObserver
        }
    }
    func cancel(_ observer: UInt64) { state.withLock { $0.observers[observer] = nil } }

    // MARK: Following

    /// Follows the API's pods of this node. Returns when cancelled; pods go on running.
    func run() async {
        await inherit()
        // What the node runs by itself does not wait for the API.
        await staticPods?.scan()
        await withTaskGroup(of: Void.self) { group in
            if let staticPods { group.addTask { await staticPods.run() } }
            await followAPI()
            group.cancelAll()
        }
    }

    private func followAPI() async {
        let own = FieldSelector.equal("spec.nodeName", context.configuration.name)
        await context.follow(.pods, as: context.client, fields: own) { change in
            switch change {
            case .reset(let items): await self.reset(items)
            case .changed(let object): await self.changed(object)
            case .removed(let object): await self.removed(object)
            }
        }
    }

    /// Runs a pod of the node's own, once what had its name has ended.
    func startStatic(_ object: KubeObject) async {
        let isQueued = state.withLock { state in
            guard let uid = state.names[object.key], state.workers[uid]?.isStatic == true else { return false }
            state.queued[object.key] = object
            return true
        }
        guard !isQueued else { return }
        await take(object, EncodedObject(bytes: object.json.encode(), resourceVersion: 0), isStatic: true)
        await staticPods?.started(object.key)
    }

    func removeStatic(uid: String) async {
        state.withLock { state in state.queued = state.queued.filter { $0.value.uid != uid } }
        await worker(uid: uid)?.removed()
    }

    /// Hands the runtime's events to the pods they are about.
    func followRuntime() async {
        for await event in context.runtime.events() {
            for observer in state.withLock({ $0.observers.values.filter { $0.container == event.container } }) {
                observer.notify()
            }
            guard let uid = state.withLock({ $0.sandboxes[event.sandbox] }), let worker = worker(uid: uid) else {
                continue
            }
            await worker.containerChanged(event.container)
        }
    }

    /// A CSI driver has registered: volumes may have waited for it.
    func driverRegistered() async {
        for worker in workers { await worker.volumeSourceChanged() }
        for uid in context.csi.leftovers where worker(uid: uid) == nil { try? await context.volumes.tearDown(uid) }
        await context.csi.sweep()
    }

    func shutdown() async {
        for worker in workers { await worker.shutdown() }
    }

    private func inherit() async {
        var inherited: [String: Inherited] = [:]
        var owner: [String: String] = [:]
        for sandbox in await context.runtime.sandboxes() {
            // Without the label it is not the kubelet's: a client of the CRI socket has made it.
            guard let uid = sandbox.config.labels[RuntimeLabels.podUID], !uid.isEmpty else { continue }
            inherited[uid, default: Inherited()].sandboxes.append(sandbox)
            owner[sandbox.id] = uid
            register(sandbox: sandbox.id, uid: uid)
        }
        for container in await context.runtime.containers() {
            guard let uid = container.labels[RuntimeLabels.podUID] ?? owner[container.sandbox] else { continue }
            inherited[uid, default: Inherited()].containers.append(container)
        }
        let found = inherited
        state.withLock { $0.inherited = found }
    }

    private func reset(_ items: [EncodedObject]) async {
        var present: Set<String> = []
        var objects: [(KubeObject, EncodedObject)] = []
        var mirrors: [KubeObject] = []
        for item in items {
            guard let object = try? item.decode() else { continue }
            if isMirror(object) {
                mirrors.append(object)
                continue
            }
            present.insert(object.uid)
            objects.append((object, item))
        }
        // Older pods first: they keep their place on a node that is full.
        objects.sort { ($0.0.creationTimestamp?.nanoseconds ?? 0) < ($1.0.creationTimestamp?.nanoseconds ?? 0) }
        for (object, item) in objects { await take(object, item) }
        for worker in workers where !worker.isStatic && !present.contains(worker.uid) { await worker.removed() }
        await removeOrphans(known: present)
        await staticPods?.reset(mirrors: mirrors)
    }

    private func isMirror(_ object: KubeObject) -> Bool { staticPods != nil && StaticPods.isMirror(object) }

    private func changed(_ encoded: EncodedObject) async {
        guard let object = try? encoded.decode() else { return }
        if isMirror(object) {
            await staticPods?.changed(mirror: object)
        } else {
            await take(object, encoded)
        }
    }

    private func removed(_ encoded: EncodedObject) async {
        guard let object = try? encoded.decode() else { return }
        if isMirror(object) { await staticPods?.removed(mirror: object) }
        guard let worker = worker(uid: object.uid) else { return }
        await worker.update(encoded)
        await worker.removed()
    }

    private func take(_ object: KubeObject, _ encoded: EncodedObject, isStatic: Bool = false) async {
        let uid = object.uid
        guard !uid.isEmpty else { return }
        if let worker = worker(uid: uid) {
            await worker.update(encoded)
            return
        }
        let inherited = state.withLock { $0.inherited?.removeValue(forKey: uid) }
        let worker = PodWorker(
            context: context, uid: uid, key: object.key, desired: encoded, isStatic: isStatic,
            awaitsAdoption: inherited != nil)
        state.withLock { state in
            state.workers[uid] = worker
            state.names[worker.key] = uid
        }
        if let inherited { await adopt(inherited, worker, Pod(object)) }
        await worker.update(encoded)
    }

    private func adopt(_ inherited: Inherited, _ worker: PodWorker, _ pod: Pod) async {
        let sandbox = inherited.sandboxes.max { ($0.createdAt, $0.config.attempt) < ($1.createdAt, $1.config.attempt) }
        var record: SandboxRecord?
        if let sandbox {
            record = SandboxRecord(
                id: sandbox.id, attempt: sandbox.config.attempt, isReady: sandbox.state == .ready,
                createdAt: sandbox.createdAt)
            if pod.hostNetwork {
                record?.addresses = context.configuration.internalIPs
            } else {
                record?.addresses = await context.network.addresses(sandbox: sandbox.id)
            }
        }
        var containers: [ContainerRecord] = []
        for status in inherited.containers {
            var container = ContainerRecord(status)
            if let image = await context.runtime.images.image(status.imageID.isEmpty ? status.image : status.imageID) {
                container.image = image.tags.first ?? status.image
                container.imageID = image.digests.first ?? image.id
            }
            containers.append(container)
        }
        context.resources.take(pod)
        await worker.adopt(sandbox: record, containers: containers)
    }

    /// What the runtime has of pods that the API does not know is stopped and removed; so are their directories.
    private func removeOrphans(known: Set<String>) async {
        let orphans = state.withLock { state -> [String: Inherited]? in
            defer { state.inherited = [:] }
            return state.inherited
        }
        for (uid, inherited) in orphans ?? [:] {
            guard let config = inherited.sandboxes.first?.config ?? inherited.containers.first.map(Self.config) else {
                continue
            }
            context.logger.info(
                "pod \(config.namespace)/\(config.name) (\(uid)) is not in the API: removing what runs of it")
            var object = KubeObject(GroupVersionKind("", "v1", "Pod"), name: config.name, namespace: config.namespace)
            object.metadata["uid"] = .string(uid)
            if let grace = config.annotations[RuntimeLabels.gracePeriod].flatMap({ Int64($0) }) {
                object.spec["terminationGracePeriodSeconds"] = .int(grace)
            }
            let names = Set(inherited.containers.map { $0.labels[RuntimeLabels.containerName] ?? $0.name }).sorted()
            object.spec["containers"] = .array(names.map { ["name": .string($0)] })
            let encoded = EncodedObject(bytes: object.json.encode(), resourceVersion: 0)
            let worker = PodWorker(
                context: context, uid: uid, key: object.key, desired: encoded, awaitsAdoption: true)
            state.withLock { $0.workers[uid] = worker }
            await adopt(inherited, worker, Pod(object))
            await worker.removed()
        }
        guard orphans != nil else { return }
        let alive = known.union(workers.map(\.uid))
        context.devices.keep(alive)
        context.claims.keep(alive)
        for uid in Directories.names(context.configuration.rootDirectory + "/pods") where !alive.contains(uid) {
            do throws(VolumeError) { try await context.volumes.tearDown(uid) } catch {
                context.logger.warning("directory of pod \(uid): \(error.eventMessage)")
            }
        }
    }

    private static func config(_ container: ContainerStatus) -> SandboxConfig {
        var config = SandboxConfig()
        config.name = container.labels[RuntimeLabels.podName] ?? ""
        config.namespace = container.labels[RuntimeLabels.podNamespace] ?? ""
        return config
    }
}
