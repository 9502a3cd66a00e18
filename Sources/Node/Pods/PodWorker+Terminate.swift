internal import Codecs
internal import Containers
internal import KubeAPI
internal import Linux
internal import Logging

extension PodWorker {
    /// Stops what runs, takes the sandbox down and the volumes away. Comes again when the grace was shortened.
    func terminate(_ pod: Pod) async {
        for name in Array(timers.keys) {
            if let timer = timers.removeValue(forKey: name) { context.timers.cancel(timer) }
        }
        if terminationStarted == nil { terminationStarted = context.now() }
        let grace = effectiveGrace(pod)
        graceInUse = grace
        publish(pod)
        await stopContainers(pod, grace: grace)
        if Task.isCancelled { return again() }
        if !state.running.isEmpty {
            // The runtime could not stop one: not at once again.
            context.logger.warning("pod \(key): \(state.running.count) containers are still running")
            return wake(after: .seconds(5), for: "stop")
        }
        // Before the end is told: whoever hears of it may send a pod that takes the same host port.
        context.resources.release(uid)
        context.devices.release(uid)
        context.objects?.follow([], for: uid)
        if let sandbox = state.sandbox, sandbox.isReady {
            await removeSandbox(sandbox, keepingContainers: true)
            state.sandbox?.isReady = false
        }
        do throws(DeviceError) {
            try await context.claims.unprepare(uid)
        } catch {
            // The pod has not ended before its devices are given back.
            context.logger.warning("pod \(key): \(error.message)")
            return wake(after: .seconds(2), for: "unprepare")
        }
        publish(pod)
        if !isGone { await flushStatus() }
        do throws(VolumeError) {
            try await context.volumes.tearDown(uid)
        } catch {
            context.logger.warning("pod \(key): \(error.eventMessage)")
            record(pod, .warning, "FailedUnMount", error.eventMessage)
            // Who waits for a driver is woken by its registration.
            let delay = min(Duration.seconds(2) * (1 << min(volumeFailures, 6)), .seconds(122))
            volumeFailures += 1
            return wake(after: delay, for: "unmount")
        }
        volumes = [:]
        stage = .terminated
        again()
    }

    /// Of a pod that is gone from the API without having been asked to end: at least one second, for the signal.
    private func effectiveGrace(_ pod: Pod) -> Int64 {
        if verdict?.reason == "DeadlineExceeded", !pod.object.isBeingDeleted {
            return pod.spec["terminationGracePeriodSeconds"].int ?? 30
        }
        let grace = min(pod.gracePeriod, verdict?.grace ?? .max)
        guard let terminationStarted else { return grace }
        let passed = context.now().duration(since: terminationStarted).components.seconds
        let left = max(grace - passed, grace == 0 ? 0 : 1)
        return isGone ? max(left, 1) : left
    }

    /// Regular containers at once, then the sidecars from last to first.
    private func stopContainers(_ pod: Pod, grace: Int64) async {
        let began = context.now()
        let sidecars = Set(pod.initContainers.filter(\.isSidecar).map(\.name))
        let running = state.running
        await withTaskGroup(of: Void.self) { group in
            for record in running where !sidecars.contains(record.name) {
                group.addTask { await self.stopForEnd(record, pod, grace: grace) }
            }
        }
        for container in pod.initContainers.reversed() where container.isSidecar {
            guard let record = running.first(where: { $0.name == container.name }), !Task.isCancelled else { continue }
            let left = max(grace - context.now().duration(since: began).components.seconds, grace == 0 ? 0 : 2)
            await stopForEnd(record, pod, grace: left)
        }
    }

    private func stopForEnd(_ record: ContainerRecord, _ pod: Pod, grace: Int64) async {
        let container = pod.container(record.name)
        self.record(pod, container, .normal, "Killing", "Stopping container \(record.name)")
        await stop(record.id, container, pod, grace: grace)
    }

    /// Nothing runs any more. A pod that is being deleted is let go; one that has ended keeps its containers for its logs.
    func conclude(_ pod: Pod) async {
        if !isGone {
            publish(pod)
            await flushStatus()
            guard pod.object.isBeingDeleted else { return }
            if Task.isCancelled || statusLoop != nil { return wake(after: .seconds(1), for: "delete") }
            do throws(APIError) {
                try await context.client.delete(
                    .pods, namespace: pod.namespace, name: pod.name,
                    options: DeleteOptions(gracePeriodSeconds: 0, uid: pod.uid))
            } catch {
                guard error.isNotFound || error.isConflict else {
                    context.logger.info("pod \(key): not deleted from the API yet: \(error.message)")
                    return wake(after: .seconds(1), for: "delete")
                }
            }
            // A finalizer may hold the object; the node is done with it all the same.
            isGone = true
        }
        await cleanUp(pod)
    }

    private func cleanUp(_ pod: Pod) async {
        let sandboxes = Set(state.containers.map(\.sandbox) + (state.sandbox.map { [$0.id] } ?? []))
        for record in state.containers {
            try? await context.runtime.removeContainer(record.id)
            removeLogs(of: record)
        }
        for sandbox in sandboxes {
            do throws(RuntimeError) {
                try await context.runtime.stopSandbox(sandbox)
                try await context.runtime.removeSandbox(sandbox)
            } catch {
                context.logger.warning("pod \(key): sandbox \(sandbox): \(error.message)")
            }
            context.pods?.unregister(sandbox: sandbox)
        }
        let logs = context.podLogDirectory(pod)
        try? await BlockingPool.shared.run { () throws(SysError) in try Directories.removeTree(logs) }
        try? await context.volumes.tearDown(uid)
        state = PodRuntimeState()
        stage = .finished
        context.pods?.finished(uid)
    }
}
