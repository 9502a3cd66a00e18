import Codecs
import KubeAPI
import Logging
import Node
import Synchronization
import Transport

/// The servers of the cluster as the endpoints of the Service `kubernetes` name them: for the load balancer, for the
/// tunnels, and for the next start.
final class AgentServers: Sendable {
    private let balancer: LoadBalancer?
    private let url: String
    private let files: AgentFiles
    private let client: any KubeClient
    private let logger: Logger
    private struct State {
        var slices: [String: [String]] = [:]
        var addresses: [String]
        var revision = 0
    }
    private let state: Mutex<State>
    /// Whoever wants to know of changes; the newest one counts.
    let changes: AsyncStream<[String]>
    private let output: AsyncStream<[String]>.Continuation
    /// Endpoints change in steps while servers start and stop.
    private static let quiet: Duration = .seconds(3)

    init(
        balancer: LoadBalancer?, defaultServer: String, url: String, files: AgentFiles, client: any KubeClient,
        logger: Logger
    ) {
        (self.balancer, self.url, self.files, self.client, self.logger) = (balancer, url, files, client, logger)
        let known = balancer?.addresses ?? []
        state = Mutex(State(addresses: known.isEmpty ? [defaultServer] : known))
        (changes, output) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        output.yield(state.withLock { $0.addresses })
    }

    /// Until the task is cancelled.
    func follow() async {
        let follower = Follower(
            client: client, resource: .endpointSlices, namespace: "default",
            labels: .equal(["kubernetes.io/service-name": "kubernetes"]), clock: SystemClock(), logger: logger)
        await follower.run { change in
            let revision = self.state.withLock { state in
                switch change {
                case .reset(let items):
                    state.slices = [:]
                    for item in items { Self.take(item, &state) }
                case .changed(let item): Self.take(item, &state)
                case .removed(let item):
                    if let slice = try? item.decode() { state.slices[slice.name] = nil }
                }
                state.revision += 1
                return state.revision
            }
            Task {
                try? await Task.sleep(for: Self.quiet)
                self.settle(revision)
            }
        }
    }

    private static func take(_ item: EncodedObject, _ state: inout State) {
        guard let slice = try? item.decode() else { return }
        let port = slice["ports"].elements.first { $0["name"].string == "https" } ?? slice["ports"][0]
        guard let number = port["port"].int else { return }
        state.slices[slice.name] = slice["endpoints"].elements
            .filter { $0["conditions"]["ready"].bool != false }
            .flatMap { $0["addresses"].elements.compactMap(\.string) }
            .map { $0.contains(":") ? "[\($0)]:\(number)" : "\($0):\(number)" }
    }

    private func settle(_ revision: Int) {
        let addresses = state.withLock { state -> [String]? in
            guard state.revision == revision else { return nil }
            let all = Array(Set(state.slices.values.joined())).sorted()
            guard !all.isEmpty, all != state.addresses else { return nil }
            state.addresses = all
            return all
        }
        guard let addresses else { return }
        balancer?.set(addresses)
        output.yield(addresses)
        logger.info("Servers of the cluster: \(addresses.joined(separator: ", "))")
        do { try files.keepServers(addresses, of: url) } catch { logger.warning("\(files.balancerState): \(error)") }
    }
}
