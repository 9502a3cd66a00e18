internal import Codecs
internal import Containers
internal import KubeAPI
internal import Linux
internal import Logging

extension PodWorker {
    /// Admission, once.
    func setUp(_ pod: Pod) async {
        if !isStatic { await context.services.waitUntilSynced() }
        startTime = pod.status["startTime"].string.flatMap { Timestamp($0) } ?? context.now()
        let admission = Admission(
            node: context.configuration.name, labels: context.resources.labels,
            allowedSysctls: context.configuration.allowedUnsafeSysctls)
        var refusal = context.pressure.refusal(pod) ?? admission.refusal(pod)
        if refusal == nil { refusal = await context.devices.admit(pod) }
        if refusal == nil { refusal = await takeRoom(pod) }
        if let refusal {
            context.devices.release(uid)
            verdict = PodStatusBuilder.Verdict(refusal.reason, "Pod was rejected: " + refusal.message)
            verdict?.isRejection = true
            record(pod, .warning, refusal.reason, refusal.message)
            stage = .terminating
        } else {
            stage = .running
        }
        again()
    }

    /// One look at a pod that shall run, and the steps that follow from it.
    func synchronize(_ pod: Pod) async {
        if startTime == nil { startTime = pod.status["startTime"].string.flatMap { Timestamp($0) } ?? context.now() }
        if isPastDeadline(pod) {
            verdict = PodStatusBuilder.Verdict(
                "DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
            record(pod, .normal, "DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
            stage = .terminating
            return again()
        }
        guard await refreshSandbox(pod) else { return }
        let pod = await resize(pod)
        let plan = plan(pod)
        if plan.isFinished {
            stage = .terminating
            return again()
        }
        noteBackOffs(plan, pod)
        publish(pod)
        for stop in plan.stop { await self.stop(stop, pod) }
        if Task.isCancelled { return }
        let starts = plan.createSandbox != nil || !plan.start.isEmpty
        if starts || volumesChanged {
            guard await setUpVolumes(pod, required: starts) else { return }
        }
        if starts, plan.createSandbox != nil || !context.claims.serves(uid) {
            guard await prepareClaims(pod) else { return }
        }
        if let attempt = plan.createSandbox {
            guard await createSandbox(pod, attempt: attempt) else { return }
            publish(pod)
            return again()
        }
        for name in plan.start {
            guard !Task.isCancelled, let container = pod.container(name) else { break }
            if await start(container, pod) { again() }
            if !Task.isCancelled { publish(pod) }
        }
        if !plan.stop.isEmpty { again() }
        for record in state.running { watchProbes(of: record, pod) }
    }

    private func plan(_ pod: Pod) -> PodPlan {
        let now = context.now()
        let backOffs = backOffs
        return PodPlanner.plan(pod, state, health: health()) { record in
            backOffs[record.name]?.remaining(since: Timestamp(nanoseconds: record.finishedAt), now: now)
        }
    }

    private func noteBackOffs(_ plan: PodPlan, _ pod: Pod) {
        for wait in plan.waiting {
            guard let container = pod.container(wait.name), let record = state.latest(wait.name) else { continue }
            let delay = (backOffs[wait.name]?.delay ?? .zero).goText
            waiting[wait.name] = PodStatusBuilder.Waiting(
                "CrashLoopBackOff", "back-off \(delay) restarting failed container=\(wait.name) pod=\(pod.label)")
            wake(after: wait.remaining, for: "back-off " + wait.name)
            if backOffEvents[wait.name] != record.attempt {
                backOffEvents[wait.name] = record.attempt
                self.record(
                    pod, container, .warning, "BackOff",
                    "Back-off restarting failed container \(wait.name) in pod \(pod.label)")
            }
        }
    }

    private func isPastDeadline(_ pod: Pod) -> Bool {
        guard let seconds = pod.spec["activeDeadlineSeconds"].int, let startTime else { return false }
        let left = startTime.advanced(by: .seconds(seconds)).duration(since: context.now())
        if left <= .zero { return true }
        wake(after: left, for: "deadline")
        return false
    }

    // MARK: Volumes

    /// False: not yet; an event was recorded and another attempt is due.
    private func setUpVolumes(_ pod: Pod, required: Bool) async -> Bool {
        if pod.volumes.isEmpty {
            volumesChanged = false
            if StorageLimits(pod).isSet { context.storage.watch(uid) }
            return true
        }
        context.objects?.follow(pod.volumeReferences, for: uid)
        volumesChanged = false
        do throws(VolumeError) {
            let (mounted, renewal) = try await context.volumes.setUp(facts(pod))
            volumes = mounted
            volumeFailures = 0
            if StorageLimits(pod).isSet { context.storage.watch(uid) }
            if let renewal { wake(after: max(renewal.duration(since: context.now()), .seconds(1)), for: "tokens") }
            return !Task.isCancelled
        } catch {
            if Task.isCancelled { return false }
            record(pod, .warning, "FailedMount", error.eventMessage)
            // 500 ms doubling to about two minutes, as upstream's reconciler.
            let delay = min(Duration.milliseconds(500) * (1 << min(volumeFailures, 8)), .seconds(122))
            volumeFailures += 1
            wake(after: delay, for: "volumes")
            // What is mounted is good enough for another start: a node whose server is away keeps its pods running.
            return !required
                || state.sandbox != nil && pod.volumes.allSatisfy { volumes[$0["name"].string ?? ""] != nil }
        }
    }

    // MARK: Sandbox

    /// A sandbox that was adopted has its addresses in the network's books. False: that cannot be known yet.
    private func refreshSandbox(_ pod: Pod) async -> Bool {
        guard let sandbox = state.sandbox, sandbox.isReady, sandbox.addresses.isEmpty else { return true }
        if pod.hostNetwork {
            state.sandbox?.addresses = context.configuration.internalIPs
        } else {
            let addresses = await context.network.addresses(sandbox: sandbox.id)
            let known = addresses.isEmpty ? pod.status["podIPs"].elements.compactMap { $0["ip"].string } : addresses
            state.sandbox?.addresses = known
            guard known.isEmpty, isAdopted else { return true }
            guard await context.network.notReadyReason() == nil else {
                wake(after: .seconds(1), for: "address")
                return false
            }
            // The network's books have no such sandbox: another takes its place.
            state.sandbox?.isReady = false
        }
        return true
    }

    private func createSandbox(_ pod: Pod, attempt: UInt32) async -> Bool {
        if let old = state.sandbox {
            record(pod, .normal, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
            await removeSandbox(old, keepingContainers: true)
        }
        if !pod.hostNetwork, let reason = await context.network.notReadyReason() {
            record(pod, .warning, "NetworkNotReady", "network is not ready: \(reason)")
            wake(after: .seconds(1), for: "sandbox")
            return false
        }
        do throws(RuntimeError) {
            let config = try sandboxConfig(pod, attempt: attempt)
            let status = try await context.runtime.runSandbox(config)
            context.pods?.register(sandbox: status.id, uid: uid)
            var record = SandboxRecord(id: status.id, attempt: attempt, isReady: true, createdAt: status.createdAt)
            if pod.hostNetwork {
                record.addresses = context.configuration.internalIPs
            } else {
                do throws(RuntimeError) {
                    record.addresses = try await attach(pod, status.id)
                } catch {
                    await discard(sandbox: status.id)
                    throw error
                }
            }
            state.sandbox = record
            isAdopted = false
            try writeHostFiles(pod)
            return !Task.isCancelled
        } catch {
            if Task.isCancelled { return false }
            record(pod, .warning, "FailedCreatePodSandBox", "Failed to create pod sandbox: \(error.message)")
            wake(after: .seconds(10), for: "sandbox")
            return false
        }
    }

    private func discard(sandbox: String) async {
        try? await context.runtime.stopSandbox(sandbox)
        try? await context.runtime.removeSandbox(sandbox)
        context.pods?.unregister(sandbox: sandbox)
    }

    private func attach(_ pod: Pod, _ sandbox: String) async throws(RuntimeError) -> [String] {
        let path = try await context.runtime.networkNamespacePath(sandbox: sandbox)
        var attachment = PodAttachment(
            sandbox: sandbox, namespacePath: path, podNamespace: pod.namespace, podName: pod.name, podUID: pod.uid)
        attachment.hostPorts = Self.hostPorts(pod)
        let annotations = pod.object.annotations
        attachment.ingressBandwidth = annotations["kubernetes.io/ingress-bandwidth"].flatMap { Quantity($0)?.value }
        attachment.egressBandwidth = annotations["kubernetes.io/egress-bandwidth"].flatMap { Quantity($0)?.value }
        do throws(PodNetworkingError) {
            return try await context.network.attach(attachment)
        } catch {
            throw RuntimeError(.createFailed, "failed to set up the network of sandbox \(sandbox): \(error.message)")
        }
    }

    private static func hostPorts(_ pod: Pod) -> [SandboxConfig.HostPort] {
        var ports: [SandboxConfig.HostPort] = []
        for port in (pod.containers + pod.initContainers.filter(\.isSidecar)).flatMap({ $0.json["ports"].elements }) {
            guard let host = port["hostPort"].int.flatMap({ UInt16(exactly: $0) }), host > 0,
                let inside = port["containerPort"].int.flatMap({ UInt16(exactly: $0) })
            else { continue }
            ports.append(
                SandboxConfig.HostPort(
                    hostIP: port["hostIP"].string ?? "", hostPort: host, containerPort: inside,
                    transport: port["protocol"].string ?? "TCP"))
        }
        return ports
    }

    private func sandboxConfig(_ pod: Pod, attempt: UInt32) throws(RuntimeError) -> SandboxConfig {
        let configuration = context.configuration
        var config = SandboxConfig()
        config.podUID = pod.uid
        config.name = pod.name
        config.namespace = pod.namespace
        config.attempt = attempt
        try checkDomainName(pod)
        config.hostname =
            pod.hostNetwork && pod.spec["hostnameOverride"].string == nil
            ? configuration.hostname : HostFiles.systemHostname(pod, clusterDomain: configuration.clusterDomain)
        config.logDirectory = context.podLogDirectory(pod)
        config.labels = pod.object.labels
        config.labels[RuntimeLabels.podUID] = pod.uid
        config.labels[RuntimeLabels.podName] = pod.name
        config.labels[RuntimeLabels.podNamespace] = pod.namespace
        config.annotations = pod.object.annotations
        config.annotations[RuntimeLabels.gracePeriod] = String(pod.gracePeriod)
        config.network = pod.hostNetwork ? .node : .pod
        if !pod.hostNetwork { config.hostPorts = Self.hostPorts(pod) }
        config.pid = pod.hostPID ? .node : pod.sharesProcessNamespace ? .pod : .container
        config.ipc = pod.hostIPC ? .node : .pod
        config.privateUsers = pod.spec["hostUsers"].bool == false
        for entry in pod.security["sysctls"].elements {
            if let name = entry["name"].string, let value = entry["value"].string {
                config.sysctls[name.split(separator: "/").joined(separator: ".")] = value
            }
        }
        config.cgroupParent = PodResources.cgroupParent(pod.qosClass)
        config.resources = PodResources.pod(pod, on: context.resources.machine)
        do throws(SysError) {
            try Directories.make(config.logDirectory, mode: 0o755)
            try Directories.make(context.volumes.podDirectory(pod.uid), mode: 0o750)
        } catch {
            throw RuntimeError(.io, error.description)
        }
        return config
    }

    /// The kernel's names of a node have 64 bytes; a shorter one than was asked for would be another name.
    private func checkDomainName(_ pod: Pod) throws(RuntimeError) {
        guard pod.spec["setHostnameAsFQDN"].bool == true, !pod.hostNetwork else { return }
        let name = HostFiles.systemHostname(pod, clusterDomain: context.configuration.clusterDomain)
        guard name.utf8.count > 64 else { return }
        throw RuntimeError(
            .invalid,
            "failed to construct FQDN from Pod hostname and cluster domain, FQDN \(name) is too long "
                + "(64 characters is the max, \(name.utf8.count) characters requested)")
    }

    /// Stops a sandbox, takes it off the network and forgets it.
    func removeSandbox(_ sandbox: SandboxRecord, keepingContainers: Bool) async {
        await context.network.detach(sandbox: sandbox.id)
        do throws(RuntimeError) {
            try await context.runtime.stopSandbox(sandbox.id)
            if !keepingContainers { try await context.runtime.removeSandbox(sandbox.id) }
        } catch {
            context.logger.warning("pod \(key): sandbox \(sandbox.id): \(error.message)")
        }
        for record in state.containers where record.sandbox == sandbox.id && record.isRunning {
            changedContainers.insert(record.id)
        }
        await refresh()
    }
}

extension Duration {
    /// As Go prints a whole number of seconds: "10s", "1m20s", "5m0s".
    var goText: String { GoDuration.text(seconds: components.seconds) }
}
