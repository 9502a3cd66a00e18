import Codecs
import ControlPlane
import KubeAPI
import Synchronization
import Testing
import Transport

/// A kubelet that tells what it was asked.
private final class FakeNodes: NodeConnections {
    let asked = Mutex<[String]>([])
    let answer: HTTPResponse

    init(_ answer: HTTPResponse = .text("logs")) { self.answer = answer }

    func handler(forNode name: String) -> HTTPHandler? {
        guard name == "n" else { return nil }
        return { request in
            self.asked.withLock { $0.append("\(request.method) \(request.path)?\(request.rawQuery)") }
            #expect(!request.headers.contains("Authorization"))
            return self.answer
        }
    }

    func handler(forAddress host: String, port: UInt16, tls: Bool, node: String?) -> HTTPHandler? {
        { request in
            self.asked.withLock {
                $0.append("\(host):\(port) \(tls) \(request.method) \(request.path)?\(request.rawQuery)")
            }
            return .text("proxied")
        }
    }
}

@Suite struct SubresourceTests {
    static let pods = "/api/v1/namespaces/default/pods"

    private func cluster(_ nodes: FakeNodes, containers: [String] = ["c"]) async throws -> Cluster {
        let cluster = try await Cluster { $0.nodes = nodes }
        var pod = cluster.pod("p")
        pod.json["spec"]["containers"] = .array(
            containers.map { ["name": .string($0), "image": "i", "ports": [["name": "web", "containerPort": 8080]]] })
        _ = try await cluster.client.create(.pods, pod)
        let binding: JSON = ["metadata": ["name": "p"], "target": ["name": "n"]]
        _ = try await cluster.call("POST", Self.pods + "/p/binding", binding)
        return cluster
    }

    @Test func logsComeFromTheKubelet() async throws {
        let nodes = FakeNodes()
        let cluster = try await cluster(nodes)
        let log = try await cluster.call(
            "GET", Self.pods + "/p/log?tailLines=5&timestamps=true&follow=false", headers: ["Authorization": "Bearer x"]
        )
        #expect(log.text == "logs")
        #expect(
            nodes.asked.withLock { $0 } == [
                "GET /containerLogs/default/p/c?tailLines=5&timestamps=true&follow=false"
            ])
        let bad = try await cluster.call("GET", Self.pods + "/p/log?tailLines=-1")
        #expect(
            bad.message
                == "PodLogOptions \"p\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0")
        let unknown = try await cluster.call("GET", Self.pods + "/p/log?container=x")
        #expect(unknown.code == 400 && unknown.message == "container x is not valid for pod p")
    }

    @Test func aContainerHasToBeNamedWhereThereAreSeveral() async throws {
        let cluster = try await cluster(FakeNodes(), containers: ["a", "b"])
        let log = try await cluster.call("GET", Self.pods + "/p/log")
        #expect(log.code == 400)
        #expect(log.message == "a container name must be specified for pod p, choose one of: [a b]")
    }

    @Test func theKubeletsRefusalsBecomeStatuses() async throws {
        let text = "container \"c\" in pod \"p\" is waiting to start: ContainerCreating"
        let cluster = try await cluster(FakeNodes(.text(text, status: 400)))
        let log = try await cluster.call("GET", Self.pods + "/p/log")
        #expect(log.code == 400 && log.json["kind"] == "Status" && log.message == text)
    }

    @Test func execKeepsItsArguments() async throws {
        let nodes = FakeNodes()
        let cluster = try await cluster(nodes)
        _ = try await cluster.call(
            "GET", Self.pods + "/p/exec?command=sh&command=-c&command=a%20b&stdin=true&stdout=true&tty=true")
        _ = try await cluster.call("POST", Self.pods + "/p/attach?container=c&stdout=true")
        _ = try await cluster.call("POST", Self.pods + "/p/portforward?ports=80,81")
        #expect(
            nodes.asked.withLock { $0 } == [
                "GET /exec/default/p/c?input=1&output=1&tty=1&command=sh&command=-c&command=a%20b",
                "POST /attach/default/p/c?output=1", "POST /portForward/default/p?port=80&port=81",
            ])
        let nothing = try await cluster.call("GET", Self.pods + "/p/exec?command=sh")
        #expect(
            nothing.code == 422 && nothing.message.contains("at least one of stdin, stdout, stderr must be specified"))
    }

    @Test func proxiesFindTheirWay() async throws {
        let nodes = FakeNodes()
        let cluster = try await cluster(nodes)
        var pod = try await cluster.client.get(.pods, namespace: "default", name: "p")
        pod.json["status"]["podIP"] = "10.42.0.5"
        _ = try await cluster.client.updateStatus(.pods, pod)
        _ = try await cluster.call("GET", Self.pods + "/p:web/proxy/a/b?x=1")
        _ = try await cluster.call("OPTIONS", Self.pods + "/https:p:443/proxy/")
        _ = try await cluster.call(
            "POST", "/api/v1/namespaces/default/services",
            ["metadata": ["name": "s"], "spec": ["ports": [["name": "web", "port": 80]]]])
        let none = try await cluster.call("GET", "/api/v1/namespaces/default/services/s:web/proxy/")
        #expect(none.code == 503 && none.message == "no endpoints available for service \"s:web\"")
        _ = try await cluster.call(
            "POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            [
                "metadata": ["name": "s-1", "labels": ["kubernetes.io/service-name": "s"]], "addressType": "IPv4",
                "endpoints": [["addresses": ["10.42.0.5"]]], "ports": [["name": "web", "port": 8080]],
            ])
        _ = try await cluster.call("GET", "/api/v1/namespaces/default/services/s/proxy/path")
        var node = KubeObject(GroupVersionKind(.core, "Node"), name: "n")
        node.labels = ["a": "b"]
        _ = try await cluster.client.create(.nodes, node)
        _ = try await cluster.call("GET", "/api/v1/nodes/n/proxy/healthz")
        #expect(
            nodes.asked.withLock { $0 } == [
                "10.42.0.5:8080 false GET /a/b?x=1", "10.42.0.5:443 true OPTIONS /?", "10.42.0.5:8080 false GET /path?",
                "GET /healthz?",
            ])
    }

    @Test func evictionDeletes() async throws {
        let cluster = try await cluster(FakeNodes())
        let answer = try await cluster.call(
            "POST", Self.pods + "/p/eviction",
            [
                "apiVersion": "policy/v1", "kind": "Eviction", "metadata": ["name": "p"],
                "deleteOptions": ["gracePeriodSeconds": 7],
            ])
        #expect(answer.code == 201 && answer.json["status"] == "Success", "\(answer.text)")
        let pod = try await cluster.client.get(.pods, namespace: "default", name: "p")
        #expect(pod.metadata["deletionGracePeriodSeconds"] == 7)
        #expect(pod.status["conditions"].elements.contains { $0["reason"] == "EvictionByEvictionAPI" })
    }

    @Test func scaleReadsAndWrites() async throws {
        let cluster = try await Cluster()
        let deployments = "/apis/apps/v1/namespaces/default/deployments"
        _ = try await cluster.call(
            "POST", deployments,
            [
                "metadata": ["name": "d"],
                "spec": [
                    "selector": ["matchLabels": ["a": "b"]],
                    "template": [
                        "metadata": ["labels": ["a": "b"]], "spec": ["containers": [["name": "c", "image": "i"]]],
                    ],
                ],
            ])
        let scale = try await cluster.call("GET", deployments + "/d/scale")
        #expect(scale.json["kind"] == "Scale" && scale.json["spec"]["replicas"] == 1)
        var wanted = scale.json
        wanted["spec"]["replicas"] = 4
        let put = try await cluster.call("PUT", deployments + "/d/scale", wanted)
        #expect(put.code == 200 && put.json["spec"]["replicas"] == 4)
        #expect(try await cluster.call("PUT", deployments + "/d/scale", wanted).code == 409)
        wanted["metadata"]["resourceVersion"] = put.json["metadata"]["resourceVersion"]
        wanted["spec"]["replicas"] = -1
        let negative = try await cluster.call("PUT", deployments + "/d/scale", wanted)
        #expect(negative.code == 422)
        #expect(
            negative.message
                == "Scale.autoscaling \"d\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
        )
    }

    @Test func discoveryNamesWhatIsServed() async throws {
        let cluster = try await Cluster()
        let core = try await cluster.call("GET", "/api/v1")
        let names = core.json["resources"].elements.compactMap { $0["name"].string }
        #expect(names.contains("pods/log") && names.contains("namespaces/finalize"))
        #expect(names.contains("persistentvolumes") && names.contains("pods/resize"))
        let groups = try await cluster.call("GET", "/apis")
        #expect(groups.json["kind"] == "APIGroupList")
        #expect(groups.json["groups"].elements.contains { $0["name"] == "apps" })
        #expect(try await cluster.call("GET", "/apis/apps").json["kind"] == "APIGroup")
        #expect(try await cluster.call("GET", "/apis/apiregistration.k8s.io/v2").code == 404)
        let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
        let aggregated = try await cluster.call("GET", "/apis", headers: ["Accept": accept])
        #expect(aggregated.json["kind"] == "APIGroupDiscoveryList")
        #expect(
            aggregated.headers["Content-Type"] == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        )
        let tag = aggregated.headers["ETag"] ?? ""
        let same = try await cluster.call("GET", "/apis", headers: ["Accept": accept, "If-None-Match": tag])
        #expect(same.code == 304)
        let index = try await cluster.call("GET", "/openapi/v3")
        let url = index.json["paths"]["apis/apps/v1"]["serverRelativeURL"].string ?? ""
        let document = try await cluster.call("GET", url)
        #expect(document.json["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"]["type"] == "object")
        #expect(document.headers["Cache-Control"] == "public, immutable")
        #expect(try await cluster.call("GET", "/openapi/v2").json["swagger"] == "2.0")
    }
}
