import Codecs
import ControlPlane
import KubeAPI
import Linux
import Store
import Synchronization

/// Measures the scheduler: generated nodes and pods, its own decisions alone (over a client that only remembers), and
/// through the API server of the same process with a store in memory.

let arguments = CommandLine.arguments
let nodeCount = arguments.count > 1 ? Int(arguments[1]) ?? 1000 : 1000
let podCount = arguments.count > 2 ? Int(arguments[2]) ?? 10_000 : 10_000

func node(_ i: Int) -> KubeObject {
    let amounts: JSON = ["cpu": "32", "memory": "128Gi", "ephemeral-storage": "100Gi", "pods": "110"]
    return KubeObject([
        "apiVersion": "v1", "kind": "Node",
        "metadata": [
            "name": .string("node-\(i)"), "uid": .string("node-\(i)"),
            "labels": [
                "kubernetes.io/hostname": .string("node-\(i)"), "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "arm64", "topology.kubernetes.io/zone": .string("zone-\(i % 3)"),
            ],
        ], "spec": [:],
        "status": ["capacity": amounts, "allocatable": amounts, "conditions": [["type": "Ready", "status": "True"]]],
    ])
}

func hex(_ i: Int) -> String {
    let text = String(i, radix: 16)
    return String(repeating: "0", count: 12 - text.count) + text
}

func pod(_ i: Int, _ kind: String) -> KubeObject {
    let app = "app-\(i % 50)"
    var spec: JSON = [
        "containers": [
            [
                "name": "main", "image": "docker.io/library/app:1",
                "resources": ["requests": ["cpu": "100m", "memory": "128Mi"]],
            ]
        ], "schedulerName": "default-scheduler", "priority": 0, "restartPolicy": "Always",
        "tolerations": [
            [
                "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": 300,
            ],
            [
                "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": 300,
            ],
        ],
    ]
    if kind == "spread" {
        spec["topologySpreadConstraints"] = [
            [
                "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": ["matchLabels": ["app": .string(app)]],
            ]
        ]
    }
    if kind == "anti-affinity" {
        spec["affinity"] = [
            "podAntiAffinity": [
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    [
                        "topologyKey": "kubernetes.io/hostname",
                        "labelSelector": ["matchLabels": ["app": .string(app)]],
                    ]
                ]
            ]
        ]
    }
    return KubeObject([
        "apiVersion": "v1", "kind": "Pod",
        "metadata": [
            "name": .string("\(kind)-\(i)"), "namespace": "default", "labels": ["app": .string(app)],
            "uid": .string("00000000-0000-4000-8000-" + hex(i)), "generation": 1,
        ], "spec": spec, "status": ["phase": "Pending"],
    ])
}

/// A client that remembers pods and which were bound.
final class MemoryClient: KubeClient {
    let pods: [String: EncodedObject]
    let bound = Mutex(0)

    init(_ pods: [KubeObject]) {
        self.pods = Dictionary(
            uniqueKeysWithValues: pods.map { ($0.name, EncodedObject(bytes: $0.json.encode(), resourceVersion: 1)) })
    }
    func get(_ resource: GroupVersionResource, namespace: String, name: String) async throws(APIError) -> KubeObject {
        guard resource == .pods, let pod = pods[name] else { throw .notFound(resource, name) }
        return try pod.decode()
    }
    func list(
        _ resource: GroupVersionResource, namespace: String?, options: ListOptions
    ) async throws(APIError) -> ObjectList { ObjectList(items: [], resourceVersion: 1) }
    func watch(
        _ resource: GroupVersionResource, namespace: String?, options: ListOptions
    ) async throws(APIError) -> any WatchStream { throw .badRequest("nothing to watch") }
    func create(
        _ resource: GroupVersionResource, _ object: KubeObject, subresource: String?, name: String?
    ) async throws(APIError) -> KubeObject {
        if subresource == "binding" { bound.withLock { $0 += 1 } }
        return object
    }
    func update(
        _ resource: GroupVersionResource, _ object: KubeObject, subresource: String?
    ) async throws(APIError) -> KubeObject { object }
    func patch(
        _ resource: GroupVersionResource, namespace: String, name: String, _ patch: JSON, type: PatchType,
        subresource: String?
    ) async throws(APIError) -> KubeObject { throw .badRequest("nothing to patch") }
    func delete(
        _ resource: GroupVersionResource, namespace: String, name: String, options: DeleteOptions
    ) async throws(APIError) -> KubeObject { throw .badRequest("nothing to delete") }
}

func residentKiB() -> Int {
    guard let bytes = try? Files.read("/proc/self/statm", limit: 4096) else { return 0 }
    let fields = String(decoding: bytes, as: UTF8.self).split(separator: " ")
    return fields.count > 1 ? (Int(fields[1]) ?? 0) * 4 : 0
}

func seconds(_ duration: Duration) -> Double {
    Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
}

func say(_ what: String, _ count: Int, _ time: Duration, _ more: String = "") {
    print("scheduler: \(what): \(Int(Double(count) / seconds(time))) pods/s at \(nodeCount) nodes\(more)")
}

func enter(_ nodes: [KubeObject], into scheduler: Scheduler) {
    for source in scheduler.sources where source.resource == .nodes {
        for node in nodes { _ = source.keys(node, .added) }
    }
}

let nodes = (0..<nodeCount).map(node)
for kind in ["plain", "spread", "anti-affinity"] {
    let pods = (0..<(kind == "plain" ? podCount : podCount / 2)).map { pod($0, kind) }
    let client = MemoryClient(pods)
    let scheduler = Scheduler(client: client, clock: SystemClock())
    let before = residentKiB()
    enter(nodes, into: scheduler)
    let middle = residentKiB()
    let start = ContinuousClock.now
    for pod in pods { _ = try await scheduler.reconcile(pod.key) }
    let time = ContinuousClock.now - start
    let bound = client.bound.withLock { $0 }
    guard bound == pods.count else {
        print("scheduler: \(kind): only \(bound) of \(pods.count) pods found a node")
        exit(1)
    }
    say(
        "decisions, \(kind) pods", pods.count, time,
        "; memory +\(middle - before) KiB for nodes, +\(residentKiB() - middle) KiB with \(pods.count) pods")
}

// Through the API: reading, binding, the event, and the watch's feedback.
let api = APIServer(store: MemoryStore(), configuration: APIServerConfiguration())
let client = api.client(as: .system)
_ = try await client.create(.namespaces, KubeObject(GroupVersionKind("", "v1", "Namespace"), name: "default"))
_ = try await client.create(
    .serviceAccounts, KubeObject(GroupVersionKind("", "v1", "ServiceAccount"), name: "default", namespace: "default"))
let scheduler = Scheduler(client: client, clock: SystemClock())
enter(nodes, into: scheduler)
var keys: [ObjectKey] = []
for i in 0..<podCount {
    var pod = pod(i, "plain")
    pod.metadata["uid"] = .null
    pod.status = .null
    pod.spec["priority"] = .null
    keys.append(try await client.create(.pods, pod).key)
}
let start = ContinuousClock.now
let next = Mutex(0)
let all = keys
await withTaskGroup { group in
    for _ in 0..<8 {
        group.addTask {
            while true {
                let i = next.withLock { n in
                    defer { n += 1 }
                    return n
                }
                guard i < all.count else { return }
                do throws(APIError) {
                    _ = try await scheduler.reconcile(all[i])
                } catch {
                    print("scheduler: \(all[i]): \(error.message)")
                }
            }
        }
    }
}
say("bound through the API server of the same process (memory store)", podCount, ContinuousClock.now - start)
