import Codecs
import ControlPlane
import KubeAPI
import Store
import Testing

/// Every verb can be tried out: the answer is the real one, and nothing is written.
@Suite struct DryRunTests {
    private static let core = "/api/v1/namespaces/default/"

    static let requests: [(method: String, target: String, body: JSON?, type: String)] = [
        ("POST", core + "configmaps", ["metadata": ["name": "new"]], "application/json"),
        (
            "POST", core + "services", ["metadata": ["name": "new"], "spec": ["ports": [["port": 1]]]],
            "application/json"
        ),
        ("PUT", core + "configmaps/m", ["metadata": ["name": "m"], "data": ["a": "2"]], "application/json"),
        ("PATCH", core + "configmaps/m", ["data": ["a": "2"]], "application/merge-patch+json"),
        ("PATCH", core + "configmaps/m", ["data": ["a": "2"]], "application/strategic-merge-patch+json"),
        (
            "PATCH", core + "configmaps/m", [["op": "replace", "path": "/data/a", "value": "2"]],
            "application/json-patch+json"
        ),
        (
            "PATCH", core + "configmaps/applied?fieldManager=t",
            ["apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "applied"]], "application/apply-patch+yaml"
        ),
        ("DELETE", core + "configmaps/m", nil, ""), ("DELETE", core + "configmaps", nil, ""),
        ("DELETE", core + "pods/p", nil, ""),
        (
            "POST", core + "pods/p/eviction",
            ["apiVersion": "policy/v1", "kind": "Eviction", "metadata": ["name": "p"]], "application/json"
        ),
        (
            "POST", core + "pods/p/binding", ["metadata": ["name": "p"], "target": ["kind": "Node", "name": "n"]],
            "application/json"
        ),
        ("PATCH", core + "pods/p/status", ["status": ["phase": "Failed"]], "application/merge-patch+json"),
        (
            "PATCH", core + "pods/p/ephemeralcontainers",
            ["spec": ["ephemeralContainers": [["name": "e", "image": "i"]]]], "application/strategic-merge-patch+json"
        ),
        ("PATCH", core + "replicationcontrollers/r/scale", ["spec": ["replicas": 3]], "application/merge-patch+json"),
        ("DELETE", "/api/v1/namespaces/other", nil, ""),
    ]

    @Test(arguments: requests.indices)
    func nothingIsWritten(_ index: Int) async throws {
        let row = Self.requests[index]
        let cluster = try await Cluster()
        _ = try await cluster.client.create(.configMaps, cluster.configMap("m", ["a": "1"]))
        _ = try await cluster.client.create(.pods, cluster.pod("p"))
        let template: JSON = [
            "metadata": ["labels": ["a": "b"]], "spec": ["containers": [["name": "c", "image": "i"]]],
        ]
        let controller = try await cluster.call(
            "POST", Self.core + "replicationcontrollers", ["metadata": ["name": "r"], "spec": ["template": template]])
        #expect(controller.code == 201, "\(controller.text)")
        let revision = cluster.store.revision
        let target = row.target + (row.target.utf8.contains(UInt8(ascii: "?")) ? "&" : "?") + "dryRun=All"
        let answer = try await cluster.call(row.method, target, row.body, type: row.type)
        #expect((200..<300).contains(answer.code), "\(answer.text)")
        #expect(cluster.store.revision == revision)
        // It would have been another story without: the request itself is a good one.
        let real = try await cluster.call(row.method, row.target, row.body, type: row.type)
        #expect(real.code == answer.code, "\(real.text)")
        #expect(cluster.store.revision > revision)
    }
}
