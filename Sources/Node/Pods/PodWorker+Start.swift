internal import Codecs
internal import Containers
internal import KubeAPI
internal import Linux
internal import Logging

extension PodWorker {
    /// Makes and starts one container. True: something has changed; false: it waits, and `waiting` says why.
    func start(_ container: ContainerSpec, _ pod: Pod) async -> Bool {
        let name = container.name
        let previous = state.latest(name)
        guard let image = await ensureImage(container, pod) else { return false }
        if let previous, previous.hasExited {
            let now = context.now()
            backOffs[name, default: BackOff()].next(since: Timestamp(nanoseconds: previous.finishedAt), now: now)
        }
        let attempt = previous.map { $0.attempt + 1 } ?? restoredAttempt(name, pod)
        let config: ContainerConfig
        do throws(ContainerConfigError) {
            config = try await containerConfig(container, pod, attempt: attempt, image: image)
        } catch {
            if Task.isCancelled { return false }
            return refused(container, pod, "CreateContainerConfigError", error.message)
        }
        guard let sandbox = state.sandbox, !Task.isCancelled else { return false }
        // A container that was made and never started is of no more use.
        if let previous, previous.state == .created || previous.state == .unknown {
            try? await context.runtime.removeContainer(previous.id)
            state.containers.removeAll { $0.id == previous.id }
        }
        let id: String
        do throws(RuntimeError) {
            try makeLogDirectory(container, pod)
            id = try await context.runtime.createContainer(config, sandbox: sandbox.id)
        } catch {
            return refused(container, pod, "CreateContainerError", error.message)
        }
        var status = ContainerStatus()
        (status.id, status.sandbox, status.name, status.attempt) = (id, sandbox.id, name, attempt)
        (status.labels, status.annotations) = (config.labels, config.annotations)
        status.createdAt = context.now().nanoseconds
        var record = ContainerRecord(status)
        record.image = image.tags.first ?? container.image
        record.imageID = image.digests.first ?? image.id
        state.containers.append(record)
        self.record(pod, container, .normal, "Created", "Container created")
        do throws(RuntimeError) {
            try await context.runtime.startContainer(id)
        } catch {
            changedContainers.insert(id)
            await refresh()
            self.record(pod, container, .warning, "Failed", "Error: \(error.message)")
            waiting[name] = PodStatusBuilder.Waiting("RunContainerError", error.message)
            if state.latest(name)?.hasExited != true { wake(after: .seconds(10), for: "start " + name) }
            return true
        }
        changedContainers.insert(id)
        await refresh()
        self.record(pod, container, .normal, "Started", "Container started")
        waiting[name] = nil
        linkLog(container, pod, id: id, attempt: attempt)
        await prune(name)
        await runPostStart(container, pod, id: id)
        if let record = state.containers.first(where: { $0.id == id }), record.isRunning {
            watchProbes(of: record, pod)
        }
        return true
    }

    /// After the loss of the runtime's state the API's count goes on.
    private func restoredAttempt(_ name: String, _ pod: Pod) -> UInt32 {
        let statuses = pod.status["containerStatuses"].elements + pod.status["initContainerStatuses"].elements
        guard let known = statuses.first(where: { $0["name"].string == name }),
            known["containerID"].string?.isEmpty == false
        else { return 0 }
        return known["restartCount"].int.flatMap { UInt32(exactly: $0) }.map { $0 + 1 } ?? 0
    }

    private func refused(_ container: ContainerSpec, _ pod: Pod, _ reason: String, _ message: String) -> Bool {
        if Task.isCancelled { return false }
        record(pod, container, .warning, "Failed", "Error: \(message)")
        waiting[container.name] = PodStatusBuilder.Waiting(reason, message)
        wake(after: .seconds(10), for: "start " + container.name)
        return false
    }

    func watchProbes(of record: ContainerRecord, _ pod: Pod) {
        guard let container = pod.container(record.name), container.kind != .ephemeral else { return }
        context.probes?.add(
            container, id: record.id, pod: pod, podIP: state.sandbox?.addresses.first ?? "",
            startedAt: Timestamp(nanoseconds: record.startedAt))
    }

    // MARK: Images

    /// nil: not there yet; `waiting` and events say why, and a timer is set.
    private func ensureImage(_ container: ContainerSpec, _ pod: Pod) async -> ImageInfo? {
        let reference = container.image
        let images = context.runtime.images
        let name = container.name
        let present = await images.image(reference)
        switch container.pullPolicy {
        case "Never":
            if let present {
                notePresent(container, pod)
                return present
            }
            let message = "Container image \"\(reference)\" is not present with pull policy of Never"
            record(pod, container, .warning, "ErrImageNeverPull", message)
            waiting[name] = PodStatusBuilder.Waiting("ErrImageNeverPull", message)
            wake(after: .seconds(10), for: "image " + name)
            return nil
        case "IfNotPresent":
            if let present {
                notePresent(container, pod)
                return present
            }
        default: break
        }
        if let remaining = imageBackOffs[reference]?.remainingSinceUpdate(now: context.now()) {
            let cause = waiting[name].map { ": \($0.reason): \($0.message)" } ?? ""
            if waiting[name]?.reason != "ImagePullBackOff" {
                waiting[name] = PodStatusBuilder.Waiting(
                    "ImagePullBackOff", "Back-off pulling image \"\(reference)\"" + cause)
                record(pod, container, .normal, "BackOff", "Back-off pulling image \"\(reference)\"")
                record(pod, container, .warning, "Failed", "Error: ImagePullBackOff")
            }
            wake(after: remaining, for: "image " + name)
            return nil
        }
        return await pull(container, pod)
    }

    private func notePresent(_ container: ContainerSpec, _ pod: Pod) {
        record(
            pod, container, .normal, "Pulled",
            "Container image \"\(container.image)\" already present on machine and can be accessed by the pod")
    }

    private func pull(_ container: ContainerSpec, _ pod: Pod) async -> ImageInfo? {
        let reference = container.image
        let name = container.name
        record(pod, container, .normal, "Pulling", "Pulling image \"\(reference)\"")
        let began = context.now()
        let credentials = await PullSecrets(client: context.client).credentials(pod, image: reference)
        let images = context.runtime.images
        let outcome = await untilCancelled { () async -> Result<ImageInfo, ImageError> in
            var last: ImageError?
            for candidate in credentials {
                do throws(ImageError) {
                    return .success(try await images.pull(reference, credentials: candidate))
                } catch {
                    last = error
                    if error.code != .unauthorized { break }
                }
            }
            return .failure(last ?? ImageError(.io, "no attempt was made"))
        }
        switch outcome {
        case nil: return nil
        case .success(let image):
            imageBackOffs[reference] = nil
            let took = context.now().duration(since: began).goFraction
            record(
                pod, container, .normal, "Pulled",
                "Successfully pulled image \"\(reference)\" in \(took) (\(took) including waiting). Image size: \(image.sizeBytes) bytes."
            )
            return image
        case .failure(let error):
            if Task.isCancelled { return nil }
            let reason = error.code == .invalidReference ? "InvalidImageName" : "ErrImagePull"
            let message =
                error.code == .invalidReference
                ? "Failed to apply default image tag \"\(reference)\": couldn't parse image name \"\(reference)\": \(error.message)"
                : error.message
            if error.code == .invalidReference {
                record(pod, container, .warning, "InspectFailed", message)
            } else {
                record(pod, container, .warning, "Failed", "Failed to pull image \"\(reference)\": \(message)")
            }
            record(pod, container, .warning, "Failed", "Error: \(reason)")
            waiting[name] = PodStatusBuilder.Waiting(reason, message)
            let now = context.now()
            imageBackOffs[reference, default: BackOff()].next(since: now, now: now)
            // Soon, to say that it now waits.
            wake(after: .seconds(1), for: "image " + name)
            return nil
        }
    }

    // MARK: Logs and leftovers

    private func makeLogDirectory(_ container: ContainerSpec, _ pod: Pod) throws(RuntimeError) {
        do throws(SysError) {
            try Directories.make(context.podLogDirectory(pod) + "/" + container.name, mode: 0o755)
        } catch {
            throw RuntimeError(.io, error.description)
        }
    }

    /// /var/log/containers/<pod>_<namespace>_<container>-<id>.log, which log collectors read.
    private func linkLog(_ container: ContainerSpec, _ pod: Pod, id: String, attempt: UInt32) {
        let directory = context.configuration.containerLogs
        guard !directory.isEmpty else { return }
        let link = "\(directory)/\(pod.name)_\(pod.namespace)_\(container.name)-\(id).log"
        do throws(SysError) {
            try Directories.make(directory, mode: 0o755)
            try Files.replaceLink(link, to: "\(context.podLogDirectory(pod))/\(container.name)/\(attempt).log")
        } catch {
            context.logger.debug("log link: \(error.description)")
        }
    }

    /// Of the ended instances of a container the last one is kept, for its state and log.
    private func prune(_ name: String) async {
        let ended = state.containers.filter { $0.name == name && $0.hasExited }
        for record in ended.dropLast() {
            do throws(RuntimeError) { try await context.runtime.removeContainer(record.id) } catch {
                context.logger.debug("container \(record.id): \(error.message)")
                continue
            }
            state.containers.removeAll { $0.id == record.id }
            removeLogs(of: record)
        }
    }

    func removeLogs(of record: ContainerRecord) {
        guard let pod = decode() else { return }
        let directory = "\(context.podLogDirectory(pod))/\(record.name)"
        for file in Directories.names(directory) where file.hasPrefix("\(record.attempt).log") {
            try? Files.remove(directory + "/" + file)
        }
        let link = "\(context.configuration.containerLogs)/\(pod.name)_\(pod.namespace)_\(record.name)-\(record.id).log"
        try? Files.remove(link)
    }
}

extension Duration {
    /// As Go prints it, in milliseconds from one on: "0s", "12ms", "1.234s", "1m2.5s".
    var goFraction: String {
        let milliseconds = components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
        if milliseconds == 0 { return "0s" }
        if milliseconds < 1000 { return "\(milliseconds)ms" }
        let minutes = milliseconds / 60_000
        let rest = milliseconds % 60_000
        var seconds = "\(rest / 1000)"
        if rest % 1000 != 0 {
            var fraction = String(1000 + rest % 1000).dropFirst()
            while fraction.last == "0" { fraction.removeLast() }
            seconds += "." + fraction
        }
        return minutes > 0 ? "\(minutes)m\(seconds)s" : seconds + "s"
    }
}
