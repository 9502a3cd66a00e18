package import Codecs
package import KubeAPI
internal import Transport
import Synchronization

/// What pods use at the moment.
package protocol MetricsSource: Sendable {
    /// By the pod's uid; a pod of which nothing is known yet is left out. nil: there are no metrics at all.
    func usage(of pods: [KubeObject]) async -> [String: PodUsage]?
}

package struct PodUsage: Sendable, Equatable {
    /// By container: thousandths of a CPU, averaged over the window, and bytes.
    package var milliCPU: [String: Int64]
    package var memory: [String: Int64]
    package var time: Timestamp
    package var window: Duration

    package init(milliCPU: [String: Int64], memory: [String: Int64], time: Timestamp, window: Duration) {
        (self.milliCPU, self.memory, self.time, self.window) = (milliCPU, memory, time, window)
    }
}

/// Usage as the kubelets' summaries have it: the same figures that a metrics server collects, asked for only while somebody
/// scales by them.
package final class NodeMetrics: MetricsSource {
    private struct Sample {
        var nanoseconds: Int64
        var time: Timestamp
        var milliCPU: Int64?
        var window: Duration
    }
    private struct State {
        /// By pod's uid and container.
        var samples: [String: [String: Sample]] = [:]
        var usage: [String: PodUsage] = [:]
        /// When a node was asked last.
        var asked: [String: Timestamp] = [:]
    }

    private let nodes: any NodeConnections
    private let clock: any KubeClock
    private let state = Mutex(State())
    /// Answers are good for this long, and CPU time is averaged over at least as much.
    private static let freshness = Duration.seconds(10)

    package init(nodes: any NodeConnections, clock: any KubeClock) { (self.nodes, self.clock) = (nodes, clock) }

    package func usage(of pods: [KubeObject]) async -> [String: PodUsage]? {
        let now = clock.now()
        for name in Set(pods.compactMap { $0.spec["nodeName"].string }) where !name.isEmpty {
            let isDue = state.withLock { state in
                if let asked = state.asked[name], now.duration(since: asked) < Self.freshness { return false }
                state.asked[name] = now
                return true
            }
            guard isDue, let handler = nodes.handler(forNode: name),
                let request = try? HTTPRequest(method: "GET", target: "/stats/summary", headers: [:], body: [])
            else { continue }
            let response = await handler(request)
            guard case .bytes(let bytes) = response.body, response.status == 200, let summary = try? JSON.parse(bytes)
            else { continue }
            note(summary, now)
        }
        return state.withLock { state in
            var found: [String: PodUsage] = [:]
            for pod in pods { found[pod.uid] = state.usage[pod.uid] }
            return found
        }
    }

    func note(_ summary: JSON, _ now: Timestamp) {
        state.withLock { state in
            for pod in summary["pods"].elements {
                let uid = pod["podRef"]["uid"].string ?? ""
                var samples: [String: Sample] = [:]
                var usage = PodUsage(milliCPU: [:], memory: [:], time: now, window: .zero)
                var isComplete = true
                for container in pod["containers"].elements {
                    guard let name = container["name"].string,
                        let nanoseconds = container["cpu"]["usageCoreNanoSeconds"].int
                    else { continue }
                    var sample = Sample(nanoseconds: nanoseconds, time: now, milliCPU: nil, window: .zero)
                    // A counter that went back is that of a restarted container.
                    if let last = state.samples[uid]?[name], last.nanoseconds <= nanoseconds, last.time < now {
                        let elapsed = now.nanoseconds - last.time.nanoseconds
                        sample.milliCPU = (nanoseconds - last.nanoseconds) * 1000 / elapsed
                        sample.window = .nanoseconds(elapsed)
                    }
                    samples[name] = sample
                    usage.memory[name] = container["memory"]["workingSetBytes"].int(or: 0)
                    guard let milliCPU = sample.milliCPU else {
                        isComplete = false
                        continue
                    }
                    usage.milliCPU[name] = milliCPU
                    usage.window = max(usage.window, sample.window)
                }
                state.samples[uid] = samples
                state.usage[uid] = isComplete && !samples.isEmpty ? usage : nil
            }
            // Pods that were not heard of for long are gone.
            let limit = now.advanced(by: .seconds(-120))
            state.usage = state.usage.filter { $0.value.time > limit }
            state.samples = state.samples.filter { $0.value.values.contains { $0.time > limit } }
        }
    }
}
