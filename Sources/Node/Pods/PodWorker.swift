internal import Codecs
internal import Containers
internal import KubeAPI
internal import Linux
internal import Logging

/// Brings one pod from what the runtime has to what the API wants, and reports it. Level triggered: whatever wakes it
/// (a new spec, a container's exit, a probe, a timer), it looks at all of it again and takes the next steps. Nothing of
/// it runs while there is nothing to do; what it keeps of an idle pod is the encoded object, which it shares with the
/// store, and a few records.
///
///     setup -> running -> terminating -> terminated -> finished
actor PodWorker {
    enum Stage: Sendable, Equatable {
        /// Not admitted yet.
        case setup
        case running
        /// Containers are being stopped, whatever the reason.
        case terminating
        /// Nothing of it runs; what is left serves logs and the status until the API lets the pod go.
        case terminated
        case finished
    }

    nonisolated let context: NodeContext
    nonisolated let uid: String
    nonisolated let key: ObjectKey
    /// From a file of the node; the API has a mirror of it, or nothing.
    nonisolated let isStatic: Bool
    var mirror: KubeObject?

    var desired: EncodedObject
    var stage = Stage.setup
    /// The API no longer has the pod (or never had: an orphan of the runtime).
    var isGone = false
    var state = PodRuntimeState()
    /// An earlier process made the sandbox; it may have ended before it put it on the network.
    var isAdopted = false
    var waiting: [String: PodStatusBuilder.Waiting] = [:]
    var verdict: PodStatusBuilder.Verdict?
    var backOffs: [String: BackOff] = [:]
    var imageBackOffs: [String: BackOff] = [:]
    /// What each container has been given, by name; and what stands in the way of what the spec asks for.
    var allocated: [String: JSON] = [:]
    var resize: Resize?
    var showsResize = false
    var volumeFailures = 0
    var claimFailures = 0
    var volumes: [String: VolumeManager.Mounted] = [:]
    /// By the hash of a container's spec: what ConfigMaps and Secrets gave it last, for when they cannot be asked for.
    var environments: [String: [ContainerEnvironment.Variable]] = [:]
    var startTime: Timestamp?
    /// Attempts for which the back-off event was recorded.
    var backOffEvents: [String: UInt32] = [:]

    // What woke the worker.
    private var dirty = false
    private var hasLooked = false
    var changedContainers: Set<String> = []
    var volumesChanged = true
    private var loop: Task<Void, Never>?
    private var stopped = false
    private var finishWaiters: [CheckedContinuation<Void, Never>] = []
    var timers: [String: TimerQueue.ID] = [:]
    /// Seconds asked for by whoever shortened the grace (a second, forced deletion).
    var graceInUse: Int64?
    var terminationStarted: Timestamp?

    // Status writing (PodWorker+Status.swift).
    var pendingStatus: JSON?
    var statusLoop: Task<Void, Never>?
    var lastStatusHash: UInt64?
    var conditionsSeen: JSON = .null

    /// It has yet to learn what runs of the pod: until `adopt` it does nothing, or it would make everything once more.
    private var awaitsAdoption: Bool

    init(
        context: NodeContext, uid: String, key: ObjectKey, desired: EncodedObject, isStatic: Bool = false,
        awaitsAdoption: Bool = false
    ) {
        (self.context, self.uid, self.key, self.desired, self.isStatic) = (context, uid, key, desired, isStatic)
        self.awaitsAdoption = awaitsAdoption
    }

    // MARK: What wakes it

    /// Takes over what a previous process left in the runtime.
    func adopt(sandbox: SandboxRecord?, containers: [ContainerRecord]) {
        state.sandbox = sandbox
        state.containers = containers.sorted { ($0.createdAt, $0.attempt) < ($1.createdAt, $1.attempt) }
        if sandbox != nil { stage = .running }
        isAdopted = sandbox != nil
        awaitsAdoption = false
        if dirty { wake() }
    }

    func update(_ object: EncodedObject) {
        let old = hasLooked ? decode() : nil
        desired = object
        guard let pod = decode() else { return }
        if let old, isReport(pod, since: old) { return }
        if pod.object.isBeingDeleted {
            let grace = pod.gracePeriod
            if stage == .setup || stage == .running || (graceInUse.map { grace < $0 } ?? false) { loop?.cancel() }
        } else if !pod.volumes.isEmpty {
            // Labels and annotations may be shown in files.
            volumesChanged = true
        }
        wake()
    }

    /// Whether only what nodes report has changed, most likely by this one: then there is nothing to do.
    private func isReport(_ pod: Pod, since old: Pod) -> Bool {
        func wanted(_ pod: Pod) -> JSON {
            var metadata = pod.object.metadata
            for key in ["resourceVersion", "managedFields"] { metadata[key] = .null }
            return metadata
        }
        // Conditions of others may be readiness gates, and a controller may call the pod ended.
        func othersConditions(_ pod: Pod) -> [JSON] {
            let mine = conditionsSeen.elements
            return pod.status["conditions"].elements.filter { theirs in
                !mine.contains { $0["type"].string == theirs["type"].string }
            }
        }
        return pod.spec == old.spec && pod.isTerminal == old.isTerminal && wanted(pod) == wanted(old)
            && othersConditions(pod) == othersConditions(old)
    }

    /// The object has gone from the API.
    func removed() {
        isGone = true
        if stage == .setup || stage == .running { loop?.cancel() }
        wake()
    }

    func containerChanged(_ id: String) {
        changedContainers.insert(id)
        wake()
    }

    func volumeSourceChanged() {
        volumesChanged = true
        wake()
    }

    func wake() {
        dirty = true
        guard loop == nil, !stopped, !awaitsAdoption else { return }
        loop = Task { await self.drain() }
    }

    /// Ends the worker's work without touching the pod.
    func shutdown() async {
        stopped = true
        for timer in timers.values { context.timers.cancel(timer) }
        timers = [:]
        loop?.cancel()
        statusLoop?.cancel()
        if let loop { await loop.value }
    }

    /// Waits until there is nothing to do (tests).
    func settled() async {
        while let loop { await loop.value }
    }

    /// Ends the step that is under way: what the next one has to do counts more.
    func interrupt() { loop?.cancel() }

    private func drain() async {
        while dirty, !Task.isCancelled, !stopped, stage != .finished {
            dirty = false
            await step()
        }
        loop = nil
        if dirty, !stopped, stage != .finished { wake() }
    }

    /// Wakes the worker later; one timer per reason.
    func wake(after delay: Duration, for reason: String) {
        if let old = timers[reason] { context.timers.cancel(old) }
        timers[reason] = context.timers.schedule(after: delay) { [weak self] in
            guard let self else { return }
            Task { await self.timerFired(reason) }
        }
    }

    private func timerFired(_ reason: String) {
        timers[reason] = nil
        if reason == "volumes" || reason == "tokens" { volumesChanged = true }
        wake()
    }

    // MARK: Steps

    func decode() -> Pod? {
        do throws(APIError) {
            var object = try desired.decode()
            if let mirror {
                (object.status, object.metadata["generation"]) = (mirror.status, mirror.metadata["generation"])
            }
            return Pod(object)
        } catch {
            context.logger.error("pod \(key): \(error.message)")
            return nil
        }
    }

    private func step() async {
        guard let pod = decode() else { return }
        hasLooked = true
        await refresh()
        let wantsEnd = isGone || pod.object.isBeingDeleted
        // A pod that the API calls ended (by an earlier process, or by a controller) is not started again.
        if stage == .setup || stage == .running, wantsEnd || pod.isTerminal && !isStatic {
            stage = .terminating
        }
        switch stage {
        case .setup: await setUp(pod)
        case .running: await synchronize(pod)
        case .terminating: await terminate(given(pod))
        case .terminated: await conclude(given(pod))
        case .finished: break
        }
    }

    /// Looks at the containers that have changed.
    func refresh() async {
        let ids = changedContainers
        changedContainers = []
        for id in ids {
            if let sandbox = state.sandbox, sandbox.id == id, sandbox.isReady,
                await !context.runtime.isReady(sandbox: id), state.sandbox?.id == id
            {
                state.sandbox?.isReady = false
            }
            guard let index = state.containers.firstIndex(where: { $0.id == id }) else { continue }
            do throws(RuntimeError) {
                let status = try await context.runtime.container(id)
                guard let index = state.containers.firstIndex(where: { $0.id == id }) else { continue }
                state.containers[index].update(status)
            } catch {
                if error.code == .notFound { state.containers.remove(at: index) }
            }
        }
        for index in state.containers.indices where state.containers[index].hasExited {
            context.probes?.remove(state.containers[index].id)
            readTerminationMessage(index)
        }
    }

    /// Again, whatever the next step is.
    func again() { dirty = true }

    func health() -> [String: ContainerHealth] {
        var health: [String: ContainerHealth] = [:]
        for record in state.containers where record.isRunning {
            health[record.id] = context.probes?.health(record.id) ?? ContainerHealth()
        }
        return health
    }

    func facts(_ pod: Pod) -> PodFacts {
        PodFacts(
            pod: pod, podIPs: state.sandbox?.addresses ?? [], hostIPs: context.configuration.internalIPs,
            allocatable: context.resources.allocatable)
    }

    func record(_ pod: Pod, _ kind: EventType, _ reason: String, _ message: String) {
        record(pod, nil, kind, reason, message)
    }

    func record(
        _ pod: Pod, _ container: ContainerSpec?, _ kind: EventType, _ reason: String, _ message: String
    ) {
        guard !isGone || isStatic else { return }
        context.events.record(.pod(pod, container), kind, reason, message)
    }
}
