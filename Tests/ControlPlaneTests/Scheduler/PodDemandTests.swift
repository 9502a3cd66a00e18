import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct PodDemandTests {
    static func container(_ cpu: String?, _ memory: String? = nil, sidecar: Bool = false, ports: [JSON] = []) -> JSON {
        var requests: JSON = .null
        if let cpu { requests["cpu"] = .string(cpu) }
        if let memory { requests["memory"] = .string(memory) }
        var container: JSON = ["name": "c", "image": "i"]
        if !requests.isNull { container["resources"] = ["requests": requests] }
        if sidecar { container["restartPolicy"] = "Always" }
        if !ports.isEmpty { container["ports"] = .array(ports) }
        return container
    }

    struct Case: Sendable {
        var spec: JSON
        var cpu: Int64
        var memory: Int64 = 0
        var note: String
    }

    @Test(arguments: [
        Case(
            spec: ["containers": [container("100m", "1Mi"), container("0.5", "1M")]], cpu: 600, memory: 2_048_576,
            note: "containers add up"),
        Case(
            spec: ["containers": [container("100m")], "initContainers": [container("300m"), container("200m")]],
            cpu: 300, note: "the largest init container"),
        Case(
            spec: ["containers": [container("500m")], "initContainers": [container("300m")]], cpu: 500,
            note: "smaller init containers cost nothing"),
        Case(
            spec: ["containers": [container("100m")], "initContainers": [container("50m", sidecar: true)]], cpu: 150,
            note: "sidecars stay"),
        Case(
            spec: [
                "containers": [container("100m")],
                "initContainers": [container("50m", sidecar: true), container("200m")],
            ], cpu: 250, note: "an init container beside a sidecar"),
        Case(
            spec: [
                "containers": [container("100m")],
                "initContainers": [container("200m"), container("50m", sidecar: true)],
            ], cpu: 200, note: "a sidecar that comes after"),
        Case(
            spec: ["containers": [container("100m")], "overhead": ["cpu": "250m", "memory": "10Mi"]], cpu: 350,
            memory: 10 << 20, note: "overhead"),
        Case(
            spec: ["containers": [container("100m", "1Mi"), container(nil)], "resources": ["requests": ["cpu": "2"]]],
            cpu: 2000, memory: 1 << 20, note: "the pod's own request"),
        Case(spec: ["containers": [container(nil)]], cpu: 0, note: "nothing asked"),
    ]) func requests(_ test: Case) {
        let demand = PodDemand(KubeObject(["spec": test.spec]))
        #expect(demand.requests.milliCPU == test.cpu, "\(test.note)")
        #expect(demand.requests.memory == test.memory, "\(test.note)")
    }

    @Test func whoAsksForNothingCountsSomethingInScores() {
        let demand = PodDemand(KubeObject(["spec": ["containers": [Self.container(nil), Self.container("1")]]]))
        #expect(demand.scored.milliCPU == 1100)
        #expect(demand.scored.memory == 400 << 20)
    }

    @Test func aPodThatIsResizedTakesTheLargerOfBoth() {
        func demand(_ spec: String, _ allocated: String, _ pending: String? = nil) -> Int64 {
            var status: JSON = [
                "containerStatuses": [["name": "c", "allocatedResources": ["cpu": .string(allocated)]]]
            ]
            if let pending {
                status["conditions"] = [["type": "PodResizePending", "status": "True", "reason": .string(pending)]]
            }
            let pod: JSON = ["spec": ["containers": [Self.container(spec)]], "status": status]
            return PodDemand(KubeObject(pod)).requests.milliCPU
        }
        #expect(demand("200m", "100m") == 200)
        #expect(demand("100m", "200m") == 200)
        #expect(demand("9", "100m", "Deferred") == 9000)
        #expect(demand("9", "100m", "Infeasible") == 100)
    }

    @Test func absurdAmountsAreOnlyTooMuch() {
        let absurd = KubeObject([
            "spec": ["containers": .array(Array(repeating: Self.container("7E", "7Ei"), count: 40))]
        ])
        #expect(PodDemand(absurd).requests.milliCPU > 1 << 56)
        var cluster = ClusterState()
        var scene = NodeFiltersTests.Scene()
        scene.pods = Array(repeating: absurd.spec, count: 100)
        scene.enter(&cluster)
        let waiting = NodeFiltersTests.waiting(absurd.spec)
        #expect(NodeFilters(waiting, cluster).refusal(of: 0, cluster)?.isHopeless == true)
        let scores = NodeScores(waiting: waiting, profile: SchedulerProfile(), namespaces: [:])
        #expect(scores.sums(cluster, feasible: [0]).count == 1)
    }

    @Test func extendedResourcesAreCountedByName() {
        let container: JSON = ["resources": ["requests": ["example.com/gpu": "2", "hugepages-2Mi": "4Mi"]]]
        let demand = PodDemand(KubeObject(["spec": ["containers": [container, container]]]))
        #expect(demand.requests.scalars == ["example.com/gpu": 4, "hugepages-2Mi": 8 << 20])
    }

    struct Ports: Sendable {
        var a: JSON
        var b: JSON
        var conflict: Bool
    }

    @Test(arguments: [
        Ports(a: ["hostPort": 80], b: ["hostPort": 80], conflict: true),
        Ports(a: ["hostPort": 80], b: ["hostPort": 81], conflict: false),
        Ports(a: ["hostPort": 80], b: ["hostPort": 80, "protocol": "UDP"], conflict: false),
        Ports(a: ["hostPort": 80, "hostIP": "10.0.0.1"], b: ["hostPort": 80, "hostIP": "10.0.0.2"], conflict: false),
        Ports(a: ["hostPort": 80, "hostIP": "10.0.0.1"], b: ["hostPort": 80], conflict: true),
        Ports(a: ["containerPort": 80], b: ["containerPort": 80], conflict: false),
    ]) func hostPortsCollide(_ ports: Ports) {
        func demand(_ port: JSON) -> [PodDemand.Port] {
            PodDemand(KubeObject(["spec": ["containers": [Self.container(nil, ports: [port])]]])).ports
        }
        let collide = demand(ports.a).contains { a in demand(ports.b).contains { PodDemand.conflict(a, $0) } }
        #expect(collide == ports.conflict)
    }
}
