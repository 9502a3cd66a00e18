internal import Codecs
internal import Containers
internal import KubeAPI
internal import Linux
internal import Logging

/// Makes room before the kernel does: looks at the signals of the thresholds that are set, says what the node is short
/// of, collects images, and ends the pods that use most beyond what they asked for, one at a time.
/// Source: k8s.io/kubernetes/pkg/kubelet/eviction/eviction_manager.go, KEP-2625 for critical pods.
final class EvictionManager: Sendable {
    /// What hard evictions leave the containers, in seconds.
    static let immediate: Int64 = 1
    private let context: NodeContext
    private let sources: EvictionSources

    init(_ context: NodeContext) {
        self.context = context
        let configuration = context.configuration
        sources = EvictionSources(
            proc: configuration.proc, pods: configuration.rootDirectory, images: configuration.imageDirectory)
    }

    /// Until the task is cancelled. Looks every ten seconds.
    func run() async {
        var state: EvictionState
        do throws(SettingsError) { state = try EvictionState(context.configuration.eviction) } catch {
            return context.logger.error("eviction is off: \(error.message)")
        }
        let signals = state.signals
        // Measuring takes at most a hundredth of the time.
        var measured = context.now()
        var pause = context.configuration.eviction.period
        while !Task.isCancelled {
            if !signals.isEmpty {
                let due = state.observe(sources.observe(signals), now: context.now())
                context.pressure.set(state.conditions)
                if let met = due.first { await act(on: met, &state) }
            }
            if !context.storage.watched.isEmpty, context.now().duration(since: measured) >= pause {
                let began = ContinuousClock.now
                await evictOverLimits()
                measured = context.now()
                pause = max(context.configuration.eviction.period, (ContinuousClock.now - began) * 100)
            }
            await context.clock.sleep(for: context.configuration.eviction.period)
        }
    }

    // MARK: Signals

    private func act(on met: EvictionState.Met, _ state: inout EvictionState) async {
        let signal = met.threshold.signal
        context.events.record(
            .node(context.configuration.name), .warning, "EvictionThresholdMet",
            "Attempting to reclaim \(signal.resource)")
        context.logger.warning(
            "eviction: \(signal.rawValue) is \(met.observation.available) of \(met.observation.capacity)")
        if signal.condition == "DiskPressure", await freesDisk(signal) {
            let again = state.observe(sources.observe(state.signals), now: context.now())
            if !again.contains(where: { $0.threshold.signal == signal }) { return }
        }
        let candidates = await candidates(disk: signal.condition == "DiskPressure")
        for pod in EvictionRanking.ranked(candidates, for: signal) {
            guard let worker = context.pods?.worker(uid: pod.uid) else { continue }
            let grace =
                met.threshold.grace == nil
                ? Self.immediate : max(context.configuration.eviction.maximumPodGrace, Self.immediate)
            let message = EvictionRanking.message(pod, met)
            guard await worker.evict(message, grace: grace) else { continue }
            context.logger.warning("eviction: pod \(worker.key): \(message)")
            await waitForEnd(of: worker, grace: grace)
            return
        }
        context.logger.error("eviction: \(signal.resource) is low and there is no pod that could go")
    }

    /// Images that nobody uses go before pods do. True: something was removed.
    private func freesDisk(_ signal: EvictionSignal) async -> Bool {
        let ofImages = signal == .imageFSAvailable || signal == .imageFSInodesFree
        guard ofImages || !sources.areImagesApart else { return false }
        var freed: Int64 = 0
        for image in await context.runtime.images.images() where !image.pinned {
            // What containers use is refused.
            guard (try? await context.runtime.images.remove(image.id)) != nil else { continue }
            freed += image.sizeBytes
        }
        if freed > 0 { context.logger.warning("eviction: images of \(freed) bytes are removed") }
        return freed > 0
    }

    /// Bounded: a pod that does not end must not keep others from being evicted.
    private func waitForEnd(of worker: PodWorker, grace: Int64) async {
        let limit = context.now().advanced(by: .seconds(30 + grace))
        while !Task.isCancelled, context.now() < limit, await worker.isEnding {
            await context.clock.sleep(for: .milliseconds(250))
        }
    }

    private func candidates(disk: Bool) async -> [EvictionCandidate] {
        var found: [EvictionCandidate] = []
        for worker in context.pods?.workers ?? [] {
            guard let target = await worker.evictionTarget() else { continue }
            var pod = target.candidate
            if let sandbox = target.sandbox, let total = try? await context.runtime.sandboxStats(sandbox) {
                pod.memory = Int64(clamping: total.memoryWorkingSetBytes)
                pod.processes = Int64(clamping: total.processes)
            }
            for index in pod.containers.indices {
                guard let id = target.ids[pod.containers[index].name] else { continue }
                if disk, let usage = try? await context.runtime.diskUsage(id) {
                    pod.containers[index].disk = usage.layerBytes + usage.logBytes
                    pod.inodes += usage.layerFiles + usage.logFiles
                } else if !disk, let stats = try? await context.runtime.stats(id) {
                    pod.containers[index].memory = Int64(clamping: stats.memoryWorkingSetBytes)
                }
            }
            if disk {
                pod.disk = pod.containers.reduce(0) { $0 + $1.disk }
                for usage in await measure(target.volumes).values {
                    pod.disk += usage.bytes
                    pod.inodes += usage.files
                }
            }
            found.append(pod)
        }
        return found
    }

    private func measure(_ volumes: [String: String]) async -> [String: DiskUsage] {
        guard !volumes.isEmpty else { return [:] }
        let walks = context.walks
        let result = try? await BlockingPool.shared.run { () throws(SysError) -> [String: DiskUsage] in
            volumes.mapValues { (try? walks.measure($0)) ?? DiskUsage() }
        }
        return result ?? [:]
    }

    // MARK: Pods' own limits

    private func evictOverLimits() async {
        for uid in context.storage.watched {
            guard let worker = context.pods?.worker(uid: uid) else {
                context.storage.forget(uid)
                continue
            }
            guard let target = await worker.evictionTarget() else { continue }
            var disk: [String: Int64] = [:]
            if !target.limits.containers.isEmpty {
                for (name, id) in target.ids {
                    if let usage = try? await context.runtime.diskUsage(id) {
                        disk[name] = usage.layerBytes + usage.logBytes
                    }
                }
            }
            let volumes = await measure(target.volumes).mapValues(\.bytes)
            guard let message = target.limits.violation(volumes: volumes, containers: disk) else { continue }
            if await worker.evict(message, grace: Self.immediate) {
                context.logger.warning("eviction: pod \(worker.key): \(message)")
            }
        }
    }
}

extension PodWorker {
    struct EvictionTarget: Sendable {
        var candidate: EvictionCandidate
        var sandbox: String?
        /// Running containers, by name.
        var ids: [String: String] = [:]
        /// Directories of emptyDir volumes on the disk, by name.
        var volumes: [String: String] = [:]
        var limits: StorageLimits
    }

    /// nil: it does not run, or is not to be evicted.
    func evictionTarget() -> EvictionTarget? {
        guard stage == .running, !isGone, let pod = decode(), !pod.isCritical, !pod.object.isBeingDeleted else {
            return nil
        }
        var candidate = EvictionCandidate(uid: uid)
        candidate.name = key.description
        candidate.priority = pod.spec["priority"].int ?? 0
        candidate.memoryRequest = pod.request("memory").value
        candidate.diskRequest = pod.request("ephemeral-storage").value
        candidate.containers = (pod.containers + pod.initContainers).map { container in
            var one = EvictionCandidate.Container(name: container.name)
            one.memoryRequest = container.request("memory")?.value ?? 0
            one.diskRequest = container.request("ephemeral-storage")?.value ?? 0
            return one
        }
        var target = EvictionTarget(candidate: candidate, sandbox: sandboxID, limits: StorageLimits(pod))
        for record in state.running { target.ids[record.name] = record.id }
        for volume in pod.volumes where !volume["emptyDir"].isNull {
            guard (volume["emptyDir"]["medium"].string ?? "").isEmpty, let name = volume["name"].string,
                let path = volumes[name]?.path
            else { continue }
            target.volumes[name] = path
        }
        return target
    }

    /// Ends the pod for the node's sake. False: it is ending anyway, or must not.
    func evict(_ message: String, grace: Int64) -> Bool {
        guard stage == .running, !isGone, let pod = decode(), !pod.isCritical, !pod.object.isBeingDeleted else {
            return false
        }
        record(pod, .warning, "Evicted", message)
        end(PodStatusBuilder.Verdict("Evicted", message), grace: grace)
        return true
    }

    /// The node has decided that the pod has failed.
    func end(_ verdict: PodStatusBuilder.Verdict, grace: Int64?) {
        var verdict = verdict
        verdict.isDisruption = true
        verdict.grace = grace
        self.verdict = verdict
        stage = .terminating
        interrupt()
        wake()
    }

    var isEnding: Bool { stage == .terminating }
}
