import Codecs
import ControlPlane
import KubeAPI
import Store

/// An API server over a store in memory, with a clock that the test moves.
struct Cluster {
    let clock = VirtualClock()
    let store = MemoryStore()
    let server: APIServer
    let client: LocalClient

    init(_ configure: (inout APIServerConfiguration) -> Void = { _ in }) async throws {
        var configuration = APIServerConfiguration()
        configuration.clock = clock
        configure(&configuration)
        server = APIServer(store: store, configuration: configuration)
        client = server.client(as: UserInfo("tester", groups: ["system:masters"]))
        for name in ["default", "other"] {
            _ = try await client.create(.namespaces, KubeObject(GroupVersionKind(.core, "Namespace"), name: name))
        }
    }

    func configMap(_ name: String, _ data: [String: String] = [:], labels: [String: String] = [:]) -> KubeObject {
        var object = KubeObject(GroupVersionKind(.core, "ConfigMap"), name: name, namespace: "default")
        if !labels.isEmpty { object.labels = labels }
        if !data.isEmpty { object.json["data"] = .map(data) }
        return object
    }

    func pod(_ name: String, namespace: String = "default") -> KubeObject {
        var object = KubeObject(GroupVersionKind(.core, "Pod"), name: name, namespace: namespace)
        object.json["spec"] = ["containers": [["name": "main", "image": "busybox"]]]
        return object
    }
}
