internal import Codecs
internal import Containers
internal import KubeAPI
internal import Linux
internal import Logging

extension PodWorker {
    func runPostStart(_ container: ContainerSpec, _ pod: Pod, id: String) async {
        guard let action = ProbeAction(container.postStart) else { return }
        let result = await run(action, container, id: id, timeout: .seconds(3600))
        guard let result, !Task.isCancelled else { return }
        switch result {
        case .success: return
        case .failure(let output), .error(let output):
            context.logger.info("pod \(key): PostStart hook of \(container.name) failed: \(output)")
        }
        record(pod, container, .warning, "FailedPostStartHook", "PostStartHook failed")
        record(pod, container, .normal, "Killing", "FailedPostStartHook")
        await stop(id, container, pod, grace: pod.gracePeriod)
        waiting[container.name] = PodStatusBuilder.Waiting("PostStartHookError", "PostStartHook failed")
    }

    private func run(_ action: ProbeAction, _ container: ContainerSpec, id: String, timeout: Duration) async
        -> ActionResult?
    {
        let resolved = ProbeManager.resolve(action, container, podIP: state.sandbox?.addresses.first ?? "")
        let actions = context.actions
        return await untilCancelled { await actions.run(resolved, container: id, timeout: timeout) }
    }

    /// A container whose probe failed or whose definition has changed.
    func stop(_ stop: PodPlan.Stop, _ pod: Pod) async {
        guard let container = pod.container(stop.name) else { return }
        record(pod, container, .normal, "Killing", stop.message)
        let grace = context.probes?.terminationGracePeriod(stop.id) ?? pod.gracePeriod
        await self.stop(stop.id, container, pod, grace: grace)
    }

    /// preStop hook, stop signal, grace, kill. Returns early, with the container perhaps alive, when cancelled.
    func stop(_ id: String, _ container: ContainerSpec?, _ pod: Pod, grace: Int64) async {
        var left = grace
        let began = context.now()
        if let container, grace > 0, let action = ProbeAction(container.preStop) {
            let result = await run(action, container, id: id, timeout: .seconds(grace))
            switch result {
            case .failure(let output), .error(let output):
                context.logger.info("pod \(key): PreStop hook of \(container.name) failed: \(output)")
                record(pod, container, .warning, "FailedPreStopHook", "PreStopHook failed")
            case .success, nil: break
            }
            if Task.isCancelled { return }
            left = max(grace - context.now().duration(since: began).components.seconds, 2)
        }
        let signal = container?.stopSignal.flatMap { Signals.number($0) }
        let runtime = context.runtime
        let seconds = left
        _ = await untilCancelled {
            do throws(RuntimeError) {
                try await runtime.stopContainer(id, signal: signal, grace: .seconds(seconds))
            } catch {
                // What could not be stopped is looked at again.
            }
        }
        changedContainers.insert(id)
        context.probes?.remove(id)
        await refresh()
    }
}
