package import Codecs
internal import Containers
internal import KubeAPI
import Synchronization

/// Carries out one action of a probe or a hook.
package protocol ActionRunner: Sendable {
    /// - Parameter address: of the pod, for actions that name no host.
    func run(_ action: ResolvedAction, container: String, timeout: Duration) async -> ActionResult
}

/// A probe's or hook's action with addresses and ports filled in.
package enum ResolvedAction: Sendable, Equatable {
    case exec([String])
    case http(host: String, port: UInt16, path: String, https: Bool, headers: [ProbeAction.Header])
    case tcp(host: String, port: UInt16)
    case grpc(host: String, port: UInt16, service: String)
    case sleep(seconds: Int64)
    /// It names a port that the container does not have, ...
    case impossible(String)
}

package enum ActionResult: Sendable, Equatable {
    case success(String)
    case failure(String)
    /// It could not be carried out: says nothing about the container.
    case error(String)
}

/// Thresholds of one probe, as a value. Source: k8s.io/kubernetes/pkg/kubelet/prober/worker.go.
package struct ProbeCounter: Sendable, Equatable {
    private var last: Bool?
    private var run: Int64 = 0
    package private(set) var result: Bool?

    package init(initial: Bool?) { result = initial }

    /// True: the result has changed.
    package mutating func record(_ success: Bool, _ spec: ProbeSpec) -> Bool {
        run = last == success ? run + 1 : 1
        last = success
        guard run >= (success ? spec.successThreshold : spec.failureThreshold) else { return false }
        defer { result = success }
        return result != success
    }
}

/// Runs the probes of all running containers from the node's timers.
package final class ProbeManager: Sendable {
    private struct Probe {
        let spec: ProbeSpec
        let action: ResolvedAction
        var counter: ProbeCounter
        var timer: TimerQueue.ID?
        /// It has said its last word: a startup probe that succeeded, a liveness probe that failed.
        var isDone = false
        /// An answer is awaited.
        var running: Task<Void, Never>?
    }
    private struct Watched {
        let pod: String
        let subject: EventSubject
        let startedAt: Timestamp
        var probes: [ProbeKind: Probe]
    }

    private let timers: TimerQueue
    private let actions: any ActionRunner
    private let events: NodeEvents
    private let watched = Mutex<[String: Watched]>([:])
    /// Called with a pod's uid when one of its results has changed.
    private let changed: @Sendable (String) -> Void

    package init(
        timers: TimerQueue, actions: any ActionRunner, events: NodeEvents, changed: @escaping @Sendable (String) -> Void
    ) {
        (self.timers, self.actions, self.events, self.changed) = (timers, actions, events, changed)
    }

    package static func resolve(_ action: ProbeAction, _ container: ContainerSpec, podIP: String) -> ResolvedAction {
        switch action {
        case .exec(let command): return .exec(command)
        case .http(let host, let port, let path, let https, let headers):
            guard let port = port.resolved(in: container) else { return .impossible("invalid port number: \(port)") }
            return .http(host: host ?? podIP, port: port, path: path, https: https, headers: headers)
        case .tcp(let host, let port):
            guard let port = port.resolved(in: container) else { return .impossible("invalid port number: \(port)") }
            return .tcp(host: host ?? podIP, port: port)
        case .grpc(let port, let service): return .grpc(host: podIP, port: port, service: service)
        case .sleep(let seconds): return .sleep(seconds: seconds)
        }
    }

    /// Begins the probes of a running container; nothing if it has none or is known.
    package func add(_ container: ContainerSpec, id: String, pod: Pod, podIP: String, startedAt: Timestamp) {
        var probes: [ProbeKind: Probe] = [:]
        for kind in ProbeKind.allCases {
            guard let spec = container.probe(kind) else { continue }
            let initial: Bool? =
                switch kind {
                case .startup: nil
                case .liveness: true
                case .readiness: false
                }
            probes[kind] = Probe(
                spec: spec, action: Self.resolve(spec.action, container, podIP: podIP),
                counter: ProbeCounter(initial: initial))
        }
        guard !probes.isEmpty else { return }
        let entry = Watched(pod: pod.uid, subject: .pod(pod, container), startedAt: startedAt, probes: probes)
        let added = watched.withLock { watched in
            guard watched[id] == nil else { return false }
            watched[id] = entry
            return true
        }
        guard added else { return }
        for kind in probes.keys where kind == .startup || probes[.startup] == nil { begin(id, kind) }
    }

    package func remove(_ id: String) {
        let entry = watched.withLock { $0.removeValue(forKey: id) }
        for probe in (entry?.probes ?? [:]).values {
            if let timer = probe.timer { timers.cancel(timer) }
            probe.running?.cancel()
        }
    }

    package func stop() {
        for id in watched.withLock({ Array($0.keys) }) { remove(id) }
    }

    package func health(_ id: String) -> ContainerHealth {
        watched.withLock { watched in
            var health = ContainerHealth()
            guard let entry = watched[id] else { return health }
            if let startup = entry.probes[.startup] {
                health.started = startup.counter.result == true
                health.startupFailed = startup.counter.result == false
            }
            if let liveness = entry.probes[.liveness] { health.livenessFailed = liveness.counter.result == false }
            if let readiness = entry.probes[.readiness] { health.ready = readiness.counter.result == true }
            return health
        }
    }

    /// The grace that the failed probe asks for, where it does.
    package func terminationGracePeriod(_ id: String) -> Int64? {
        watched.withLock { watched in
            for kind in [ProbeKind.startup, .liveness] {
                if let probe = watched[id]?.probes[kind], probe.counter.result == false {
                    return probe.spec.terminationGracePeriod
                }
            }
            return nil
        }
    }

    private func begin(_ id: String, _ kind: ProbeKind) {
        guard
            let (spec, started) = watched.withLock({
                $0[id].flatMap { entry in entry.probes[kind].map { ($0.spec, entry.startedAt) } }
            })
        else { return }
        let first = started.advanced(by: .seconds(spec.initialDelay))
        schedule(id, kind, at: max(first, timers.clock.now()))
    }

    private func schedule(_ id: String, _ kind: ProbeKind, at time: Timestamp) {
        let timer = timers.schedule(at: time) { [weak self] in self?.fire(id, kind) }
        let stale = watched.withLock { watched -> Bool in
            guard watched[id]?.probes[kind] != nil else { return true }
            watched[id]?.probes[kind]?.timer = timer
            return false
        }
        if stale { timers.cancel(timer) }
    }

    private func fire(_ id: String, _ kind: ProbeKind) {
        let now = timers.clock.now()
        let next = watched.withLock { watched -> Timestamp? in
            guard var probe = watched[id]?.probes[kind], !probe.isDone else { return nil }
            if probe.running == nil {
                let (action, timeout, actions) = (probe.action, probe.spec.timeout, actions)
                probe.running = Task { [weak self] in
                    let result = await actions.run(action, container: id, timeout: .seconds(timeout))
                    self?.finished(id, kind, result)
                }
                watched[id]?.probes[kind] = probe
            }
            return TimerQueue.aligned(now.advanced(by: .seconds(probe.spec.period)))
        }
        if let next { schedule(id, kind, at: next) }
    }

    private func finished(_ id: String, _ kind: ProbeKind, _ result: ActionResult) {
        enum Next { case nothing, notify, beginOthers }
        let (next, entry) = watched.withLock { watched -> (Next, Watched?) in
            guard var entry = watched[id], var probe = entry.probes[kind] else { return (.nothing, nil) }
            probe.running = nil
            var next = Next.nothing
            let success: Bool? =
                switch result {
                case .success: true
                case .failure: false
                case .error: nil
                }
            if let success, !probe.isDone, probe.counter.record(success, probe.spec) {
                next = .notify
                if kind == .startup {
                    probe.isDone = true
                    if success { next = .beginOthers }
                } else if kind == .liveness, !success {
                    probe.isDone = true
                }
            }
            entry.probes[kind] = probe
            watched[id] = entry
            return (next, entry)
        }
        guard let entry else { return }
        switch result {
        case .success: break
        case .failure(let output):
            events.record(entry.subject, .warning, "Unhealthy", "\(kind.rawValue) probe failed: \(output)")
        case .error(let output):
            events.record(
                entry.subject, .warning, "Unhealthy",
                "\(kind.rawValue) probe errored and resulted in unknown state: \(output)")
        }
        switch next {
        case .nothing: break
        case .notify: changed(entry.pod)
        case .beginOthers:
            for other in entry.probes.keys where other != .startup { begin(id, other) }
            changed(entry.pod)
        }
    }
}
