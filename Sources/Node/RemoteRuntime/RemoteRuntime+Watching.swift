internal import Codecs
package import Containers
internal import GRPC
internal import KubeAPI
internal import Linux
internal import Logging
import Synchronization

/// What was there at the last look.
struct KnownPods: Sendable {
    struct Sandbox: Sendable, Equatable {
        var uid: String
        var isReady: Bool
    }
    struct Container: Sendable, Equatable {
        var sandbox: String
        var state: ContainerStatus.State
        var logPath: String?
    }
    var sandboxes: [String: Sandbox] = [:]
    var containers: [String: Container] = [:]

    /// Takes a new look for the present and tells what has changed in between.
    mutating func take(sandboxes list: [JSON], containers: [JSON]) -> [ContainerEvent] {
        var events: [ContainerEvent] = []
        var now = KnownPods()
        for item in containers {
            guard let id = item["id"].string else { continue }
            let old = self.containers[id]
            let new = Container(
                sandbox: item["pod_sandbox_id"].string ?? "", state: CRIValues.state(item["state"]),
                logPath: old?.logPath)
            now.containers[id] = new
            guard old?.state != new.state else { continue }
            switch new.state {
            case .running: events.append(ContainerEvent(.started, container: id, sandbox: new.sandbox))
            case .exited: events.append(ContainerEvent(.exited, container: id, sandbox: new.sandbox))
            case .created, .unknown: break
            }
        }
        for (id, old) in self.containers where now.containers[id] == nil {
            events.append(ContainerEvent(.removed, container: id, sandbox: old.sandbox))
        }
        for item in list {
            guard let id = item["id"].string else { continue }
            now.sandboxes[id] = Sandbox(
                uid: item["metadata"]["uid"].string ?? "", isReady: (item["state"].int ?? 0) == 0)
        }
        for (id, old) in self.sandboxes where old.isReady && now.sandboxes[id]?.isReady != true {
            // Nobody here has stopped it: under its own name, as that of its first container.
            events.append(ContainerEvent(.exited, container: id, sandbox: id))
        }
        self = now
        return events
    }
}

/// How the runtime is, in the kubelet's words. Source: k8s.io/kubernetes/pkg/kubelet/runtime.go.
struct RemoteHealth: Sendable {
    /// Since when nothing that long is no news.
    static let statusLimit: Int64 = 30
    static let lookLimit: Int64 = 180

    /// Seconds of the boot clock: the last answer to Status, and the last look at all containers.
    var statusAt: Int64?
    var lookedAt: Int64?
    /// Of the runtime itself, and of its network.
    var runtimeProblem: String?
    var networkProblem: String?
    /// The runtime tells of changes by itself.
    var hasEvents = false

    func problem(now: Int64) -> String? {
        guard let statusAt else { return "container runtime status check may not have completed yet" }
        var problems: [String] = []
        if now - statusAt > Self.statusLimit { problems.append("container runtime is down") }
        if let lookedAt, now - lookedAt > Self.lookLimit {
            problems.append(
                "PLEG is not healthy: pleg was last seen active \(Duration.seconds(now - lookedAt).goText) ago; "
                    + "threshold is 3m0s")
        }
        if let runtimeProblem { problems.append("container runtime not ready: \(runtimeProblem)") }
        return problems.isEmpty ? nil : problems.count == 1 ? problems[0] : "[\(problems.joined(separator: ", "))]"
    }

    mutating func take(_ status: JSON, now: Int64) {
        func problem(_ type: String) -> String? {
            guard let condition = status["conditions"].elements.first(where: { $0["type"].string == type }) else {
                return "\(type)=false reason: message:the runtime does not tell"
            }
            if condition["status"].bool == true { return nil }
            return
                "\(type)=false reason:\(condition["reason"].string ?? "") message:\(condition["message"].string ?? "")"
        }
        statusAt = now
        (runtimeProblem, networkProblem) = (problem("RuntimeReady"), problem("NetworkReady"))
    }
}

extension RemoteRuntime {
    private static func now() -> Int64 { MonotonicClock.boot() / 1_000_000_000 }

    package func notReadyReason() async -> String? {
        let now = Self.now()
        return state.withLock { $0.health.problem(now: now) }
    }

    /// nil: the runtime's network can be used.
    var networkProblem: String? { state.withLock { $0.health.networkProblem } }

    package func events() -> AsyncStream<ContainerEvent> {
        let (stream, continuation) = AsyncStream.makeStream(of: ContainerEvent.self)
        let number = state.withLock { state in
            state.nextEvents += 1
            state.events[state.nextEvents] = continuation
            return state.nextEvents
        }
        continuation.onTermination = { [weak self] _ in
            _ = self?.state.withLock { $0.events.removeValue(forKey: number) }
        }
        return stream
    }

    // MARK: - Looking

    /// Every second, and whenever there is reason to; half a minute where the runtime tells of changes by itself.
    func followPods(_ pokes: AsyncStream<Void>) async {
        let ticking = Task {
            while !Task.isCancelled {
                let told = state.withLock { $0.health.hasEvents }
                do { try await Task.sleep(for: told ? .seconds(30) : .seconds(1)) } catch { return }
                poke()
            }
        }
        defer { ticking.cancel() }
        poke()
        for await _ in pokes {
            await look()
            if Task.isCancelled { return }
        }
    }

    /// One look at all there is; what it changes is told to who listens.
    func look() async {
        do throws(GRPCStatus) {
            let sandboxes = try await runtime.call("ListPodSandbox")["items"].elements
            let containers = try await runtime.call("ListContainers")["containers"].elements
            let now = Self.now()
            let (events, listeners) = state.withLock { state in
                let events = state.known.take(sandboxes: sandboxes, containers: containers)
                state.health.lookedAt = now
                return (events, Array(state.events.values))
            }
            for event in events { for listener in listeners { listener.yield(event) } }
        } catch {
            settings.logger.debug("container runtime: \(error.message)")
        }
    }

    /// Runtimes that tell of changes (containerd from 1.7 on) spare the looks.
    func followEvents() async {
        while !Task.isCancelled {
            do throws(GRPCStatus) {
                let stream = try await runtime.stream("GetContainerEvents")
                defer { stream.cancel() }
                let accepting = Task {
                    // A runtime without events refuses at once.
                    try await Task.sleep(for: .seconds(2))
                    state.withLock { $0.health.hasEvents = true }
                }
                defer { accepting.cancel() }
                while try await stream.next() != nil { poke() }
                throw GRPCStatus(.unavailable, "the stream of events has ended")
            } catch {
                state.withLock { $0.health.hasEvents = false }
                if error.code == .unimplemented { return }
            }
            do { try await Task.sleep(for: .seconds(5)) } catch { return }
        }
    }

    // MARK: - Health

    func followStatus() async {
        var said: String?
        while !Task.isCancelled {
            let problem = await lookAtStatus()
            if problem != said {
                if let problem {
                    settings.logger.warning("container runtime: \(problem)")
                } else {
                    settings.logger.info("container runtime: it is there again")
                }
            }
            said = problem
            do { try await Task.sleep(for: .seconds(5)) } catch { return }
        }
    }

    /// nil: it answers.
    func lookAtStatus() async -> String? {
        do throws(GRPCStatus) {
            let status = try await runtime.call("Status", timeout: .seconds(10))["status"]
            let now = Self.now()
            state.withLock { $0.health.take(status, now: now) }
            return nil
        } catch { return error.message }
    }

    // MARK: - Logs

    /// Every ten seconds, as the kubelet's containerLogMonitorInterval.
    func rotateLogs() async {
        while !Task.isCancelled {
            do { try await Task.sleep(for: .seconds(10)) } catch { return }
            let running = state.withLock { $0.known.containers.filter { $0.value.state == .running }.map(\.key) }
            for id in running {
                guard let path = await logPath(id) else { continue }
                do throws(RuntimeError) { try await rotateLog(id, path) } catch {
                    settings.logger.warning("log of container \(id): \(error.message)")
                }
            }
        }
    }

    func rotateLog(_ id: String, _ path: String) async throws(RuntimeError) {
        let (limit, files) = (settings.logMaxBytes, settings.logMaxFiles)
        let rotated = try await onDisk("rotate") { () throws(SysError) -> String? in
            guard Files.exists(path), try Int64(Files.status(path).st_size) > limit else { return nil }
            let name = Path.last(path) + "."
            let old = Directories.names(Path.parent(path)).filter { $0.hasPrefix(name) }.sorted()
            // The current one and the one that it is about to become stay.
            for file in old.dropLast(max(0, files - 2)) { try Files.remove(Path.join(Path.parent(path), file)) }
            let target = path + "." + Self.stamp(Timestamp(nanoseconds: WallClock.now()))
            guard !Files.exists(target) else { return nil }
            try syscall("rename", path) { rename(path, target) }
            return target
        }
        guard let rotated else { return }
        do throws(RuntimeError) {
            _ = try await call("ReopenContainerLog", ["container_id": .string(id)])
        } catch {
            // The runtime writes on into the old file: under its old name people find it.
            try await onDisk("rotate") { () throws(SysError) in
                _ = try syscall("rename", path) { rename(rotated, path) }
            }
            throw error
        }
    }

    /// "20060102-150405", as the kubelet names what it has put aside.
    static func stamp(_ time: Timestamp) -> String {
        let digits = time.rfc3339.filter { ("0"..."9").contains($0) }.prefix(14)
        return digits.prefix(8) + "-" + digits.dropFirst(8)
    }
}
