import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

/// Controllers against a real API server in memory, in virtual time and in a fixed order: no tasks, no waiting.
///
/// `settle` compares what the controllers watch with what they have seen, hands them the keys and reconciles until nothing
/// changes any more. `advance` moves the clock from one due key to the next.
final class ControllerBench: @unchecked Sendable {
    let cluster: Cluster
    let client: LocalClient
    var clock: VirtualClock { cluster.clock }
    private let controllers: [any Controller]
    private let resources: [GroupVersionResource]
    private var seen: [GroupVersionResource: [String: KubeObject]] = [:]
    private var pending: [[ObjectKey]]
    private var due: [(at: Timestamp, controller: Int, key: ObjectKey)] = []
    /// Runs after each round, as a kubelet would.
    var afterRound: ((ControllerBench) async throws -> Void)?
    /// What reconciliations threw, beside conflicts.
    private(set) var errors: [String] = []
    private(set) var reconciliations = 0

    /// - Parameter make: the controllers that run; each test names those it is about.
    init(
        networks: [String] = ["10.43.0.0/16"], _ make: (LocalClient, VirtualClock) throws -> [any Controller]
    ) async throws {
        cluster = try await Cluster { try $0.setServiceNetworks(networks) }
        client = cluster.client
        controllers = try make(cluster.client, cluster.clock)
        pending = controllers.map { _ in [] }
        var resources: [GroupVersionResource] = []
        for source in controllers.flatMap(\.sources) where !resources.contains(source.resource) {
            resources.append(source.resource)
        }
        self.resources = resources
        for source in controllers.flatMap(\.sources) { source.relisting() }
    }

    private func add(_ key: ObjectKey, to controller: Int) {
        if !pending[controller].contains(key) { pending[controller].append(key) }
    }

    private func observe() async throws {
        for resource in resources {
            var now: [String: KubeObject] = [:]
            var events: [(WatchEvent.Kind, KubeObject)] = []
            let before = seen[resource] ?? [:]
            for object in try await client.list(resource).decoded() {
                now[object.uid] = object
                if let old = before[object.uid] {
                    if old.resourceVersion != object.resourceVersion { events.append((.modified, object)) }
                } else {
                    events.append((.added, object))
                }
            }
            for (uid, object) in before.sorted(by: { $0.key < $1.key }) where now[uid] == nil {
                events.append((.deleted, object))
            }
            seen[resource] = now
            for (i, controller) in controllers.enumerated() {
                for source in controller.sources where source.resource == resource {
                    for (kind, object) in events {
                        for key in source.keys(object, kind) { add(key, to: i) }
                    }
                }
            }
        }
    }

    private func work() async {
        for (i, controller) in controllers.enumerated() {
            let keys = pending[i]
            pending[i] = []
            for key in keys {
                reconciliations += 1
                do throws(APIError) {
                    if let more = try await controller.expand(key) {
                        for key in more { add(key, to: i) }
                    } else if let again = try await controller.reconcile(key) {
                        due.append((clock.now().advanced(by: again), i, key))
                    }
                } catch {
                    if !error.isConflict { errors.append("\(controller.name) \(key): \(error.message)") }
                    due.append((clock.now().advanced(by: error.isConflict ? .zero : .seconds(1)), i, key))
                }
            }
        }
    }

    private func takeDue() {
        let now = clock.now()
        for item in due where item.at <= now { add(item.key, to: item.controller) }
        due.removeAll { $0.at <= now }
    }

    /// Until nobody has anything to do at this moment.
    func settle(rounds: Int = 200, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        for _ in 0..<rounds {
            takeDue()
            try await observe()
            if pending.allSatisfy(\.isEmpty) {
                guard let afterRound else { return }
                let before = try await fingerprint()
                try await afterRound(self)
                if try await fingerprint() == before { return }
                continue
            }
            await work()
        }
        Issue.record(
            "controllers did not come to rest; last errors: \(errors.suffix(3))", sourceLocation: sourceLocation)
    }

    private func fingerprint() async throws -> Int64 {
        var sum: Int64 = 0
        for resource in resources {
            for item in try await client.list(resource).items { sum &+= item.resourceVersion &* 31 &+ 1 }
        }
        return sum
    }

    func advance(_ duration: Duration) async throws {
        try await settle()
        let end = clock.now().advanced(by: duration)
        while let next = due.map(\.at).min(), next <= end {
            if next > clock.now() { clock.advance(by: next.duration(since: clock.now())) }
            try await settle()
        }
        clock.advance(by: end.duration(since: clock.now()))
        try await settle()
    }

    // MARK: - Objects

    @discardableResult
    func create(_ resource: GroupVersionResource, _ json: JSON) async throws -> KubeObject {
        var object = KubeObject(json)
        let row = try cluster.server.registry.resource(resource)
        object.json["apiVersion"] = .string(row.gvk.groupVersion.description)
        object.json["kind"] = .string(row.gvk.kind)
        if row.namespaced, object.namespace.isEmpty { object.namespace = "default" }
        let made = try await client.create(resource, object)
        return resource == .nodes ? try await client.untainted(made) : made
    }

    func get(_ resource: GroupVersionResource, _ name: String, _ namespace: String = "default") async throws
        -> KubeObject
    {
        let row = try cluster.server.registry.resource(resource)
        return try await client.get(resource, namespace: row.namespaced ? namespace : "", name: name)
    }

    func find(
        _ resource: GroupVersionResource, _ name: String, _ namespace: String = "default"
    ) async throws -> KubeObject? {
        let row = try cluster.server.registry.resource(resource)
        return try await client.getIfPresent(resource, namespace: row.namespaced ? namespace : "", name: name)
    }

    func list(_ resource: GroupVersionResource, _ labels: [String: String] = [:]) async throws -> [KubeObject] {
        try await client.list(resource, namespace: nil, options: ListOptions(labels: .equal(labels))).decoded()
            .sorted { $0.key < $1.key }
    }

    @discardableResult
    func patch(
        _ resource: GroupVersionResource, _ name: String, _ patch: JSON, subresource: String? = nil
    ) async throws -> KubeObject {
        let row = try cluster.server.registry.resource(resource)
        return try await client.patch(
            resource, namespace: row.namespaced ? "default" : "", name: name, patch, type: .merge,
            subresource: subresource)
    }

    func delete(
        _ resource: GroupVersionResource, _ name: String, _ propagation: DeleteOptions.Propagation? = nil,
        grace: Int64? = nil
    ) async throws {
        let row = try cluster.server.registry.resource(resource)
        try await client.delete(
            resource, namespace: row.namespaced ? "default" : "", name: name,
            options: DeleteOptions(gracePeriodSeconds: grace, propagation: propagation))
    }

    // MARK: - The kubelet's part

    /// Sets a pod's phase and readiness, as the kubelet would.
    func setPod(
        _ name: String, phase: String = "Running", ready: Bool = true, node: String = "n1",
        containers: [JSON] = [], reason: String? = nil
    ) async throws {
        var pod = try await get(.pods, name)
        if (pod.spec["nodeName"].string ?? "").isEmpty, !node.isEmpty, !pod.isBeingDeleted {
            try await bind(name, to: node)
            pod = try await get(.pods, name)
        }
        let now = clock.now()
        var conditions = pod.status["conditions"]
        for type in ["Ready", "ContainersReady"] {
            setCondition(&conditions, type: type, status: ready ? "True" : "False", reason: "", message: "", now: now)
        }
        pod.status["phase"] = .string(phase)
        pod.status["conditions"] = conditions
        if pod.status["startTime"].isNull { pod.status["startTime"] = .string(now.rfc3339) }
        if !containers.isEmpty { pod.status["containerStatuses"] = .array(containers) }
        if let reason { pod.status["reason"] = .string(reason) }
        if pod.status["podIP"].isNull {
            let ip = "10.42.0.\(abs(name.utf8.reduce(7) { ($0 &* 31 &+ Int($1)) % 250 }) + 2)"
            pod.status["podIP"] = .string(ip)
            pod.status["podIPs"] = [["ip": .string(ip)]]
        }
        pod.resourceVersion = 0
        _ = try await client.updateStatus(.pods, pod)
    }

    func bind(_ pod: String, to node: String) async throws {
        let binding = KubeObject([
            "apiVersion": "v1", "kind": "Binding", "metadata": ["name": .string(pod), "namespace": "default"],
            "target": ["kind": "Node", "name": .string(node)],
        ])
        _ = try await client.create(.pods, binding, subresource: "binding", name: pod)
    }

    /// From now on every pod starts at once and ends when it is asked to.
    func runPods(ready: @escaping (KubeObject) -> Bool = { _ in true }) {
        afterRound = { bench in
            for pod in try await bench.list(.pods) {
                if pod.isBeingDeleted {
                    _ = try? await bench.client.delete(
                        .pods, namespace: pod.namespace, name: pod.name, options: DeleteOptions(gracePeriodSeconds: 0))
                } else if pod.podPhase == "Pending", ready(pod) {
                    let node = DaemonPlan.targetNode(of: pod)
                    try await bench.setPod(pod.name, node: node.isEmpty ? "n1" : node)
                }
            }
        }
    }

    /// "reason message" of the events about an object, in order.
    func events(_ name: String) async throws -> [String] {
        try await list(.events).filter { $0["involvedObject"]["name"].string == name }
            .map { "\($0["reason"].string ?? "") \($0["message"].string ?? "")" }.sorted()
    }
}

extension KubeClient {
    /// A new node without the taint that it has until it is ready, for benches where nobody takes that away.
    func untainted(_ node: KubeObject) async throws(APIError) -> KubeObject {
        let taints = node.spec["taints"].elements.filter { $0["key"] != "node.kubernetes.io/not-ready" }
        guard taints.count < node.spec["taints"].elements.count else { return node }
        var node = node
        node.json["spec"]["taints"] = taints.isEmpty ? .null : .array(taints)
        return try await update(.nodes, node)
    }
}

/// The objects that tests of workloads start from.
enum Sample {
    static func template(_ app: String, image: String = "busybox", extra: JSON = [:]) -> JSON {
        var spec: JSON = ["containers": [["name": "main", "image": .string(image)]]]
        for (key, value) in extra.object?.members ?? [] { spec[key] = value }
        return ["metadata": ["labels": ["app": .string(app)]], "spec": spec]
    }

    static func workload(_ name: String, replicas: Int64, _ extra: JSON = [:]) -> JSON {
        var spec: JSON = [
            "replicas": .int(replicas), "selector": ["matchLabels": ["app": .string(name)]], "template": template(name),
        ]
        for (key, value) in extra.object?.members ?? [] { spec[key] = value }
        return ["metadata": ["name": .string(name)], "spec": spec]
    }

    static func pod(_ name: String, labels: [String: String] = [:], _ spec: JSON = [:]) -> JSON {
        var all: JSON = ["containers": [["name": "main", "image": "busybox"]]]
        for (key, value) in spec.object?.members ?? [] { all[key] = value }
        return ["metadata": ["name": .string(name), "labels": .map(labels)], "spec": all]
    }

    static func node(_ name: String, cpu: String = "4", memory: String = "8Gi", pods: Int64 = 110, _ spec: JSON = [:])
        -> JSON
    {
        [
            "metadata": ["name": .string(name), "labels": ["kubernetes.io/hostname": .string(name)]], "spec": spec,
            "status": [
                "allocatable": ["cpu": .string(cpu), "memory": .string(memory), "pods": .string(String(pods))],
                "capacity": ["cpu": .string(cpu), "memory": .string(memory), "pods": .string(String(pods))],
                "conditions": [["type": "Ready", "status": "True", "reason": "KubeletReady"]],
            ],
        ]
    }
}
