import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct NodeFiltersTests {
    static func node(_ change: (inout ClusterState.Node) -> Void = { _ in }) -> ClusterState.Node {
        var node = ClusterState.Node()
        node.name = "n1"
        node.labels = ["disk": "ssd", "zone": "a", "cores": "8"]
        node.allocatable = Amounts(["cpu": "2", "memory": "4Gi", "ephemeral-storage": "10Gi", "example.com/gpu": "1"])
        change(&node)
        return node
    }

    static func affinity(_ expressions: JSON) -> JSON {
        [
            "affinity": [
                "nodeAffinity": [
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        "nodeSelectorTerms": [["matchExpressions": expressions]]
                    ]
                ]
            ]
        ]
    }
    static func expression(_ key: String, _ op: String, _ values: [String] = []) -> JSON {
        [["key": .string(key), "operator": .string(op), "values": .strings(values)]]
    }
    static func asks(_ name: String, _ amount: String) -> JSON {
        [
            "containers": [
                ["name": "c", "resources": ["requests": .object(JSONObject(members: [(name, .string(amount))]))]]
            ]
        ]
    }
    static let noAffinity = "node(s) didn't match Pod's node affinity/selector"
    static let tainted = "node(s) had untolerated taint(s)"

    struct Case: Sendable {
        var spec: JSON
        var node = NodeFiltersTests.node()
        var reasons: [String]
        var note: String
    }
    static func taint(_ effect: String) -> ClusterState.Node {
        node { $0.taints = [.init(key: "k", value: "v", effect: effect)] }
    }

    @Test(arguments: [
        Case(spec: [:], reasons: [], note: "nothing asked"),
        Case(spec: ["nodeSelector": ["disk": "ssd"]], reasons: [], note: "selector"),
        Case(spec: ["nodeSelector": ["disk": "hdd"]], reasons: [noAffinity], note: "other selector"),
        Case(spec: affinity(expression("zone", "In", ["b", "a"])), reasons: [], note: "In"),
        Case(spec: affinity(expression("zone", "In", ["b"])), reasons: [noAffinity], note: "not In"),
        Case(spec: affinity(expression("zone", "NotIn", ["b"])), reasons: [], note: "NotIn"),
        Case(spec: affinity(expression("absent", "NotIn", ["b"])), reasons: [], note: "NotIn of an absent label"),
        Case(spec: affinity(expression("zone", "Exists")), reasons: [], note: "Exists"),
        Case(spec: affinity(expression("zone", "DoesNotExist")), reasons: [noAffinity], note: "DoesNotExist"),
        Case(spec: affinity(expression("cores", "Gt", ["7"])), reasons: [], note: "Gt"),
        Case(spec: affinity(expression("cores", "Gt", ["8"])), reasons: [noAffinity], note: "Gt is strict"),
        Case(spec: affinity(expression("cores", "Lt", ["9"])), reasons: [], note: "Lt"),
        Case(spec: affinity(expression("zone", "Lt", ["9"])), reasons: [noAffinity], note: "Lt of no number"),
        Case(spec: affinity([]), reasons: [noAffinity], note: "an empty term matches nothing"),
        Case(
            spec: [:], node: node { $0.unschedulable = true }, reasons: ["node(s) were unschedulable"], note: "cordoned"
        ),
        Case(
            spec: ["tolerations": [["key": "node.kubernetes.io/unschedulable", "operator": "Exists"]]],
            node: node { $0.unschedulable = true }, reasons: [], note: "tolerates cordoned"),
        Case(spec: [:], node: taint("NoSchedule"), reasons: [tainted], note: "NoSchedule"),
        Case(spec: [:], node: taint("NoExecute"), reasons: [tainted], note: "NoExecute"),
        Case(spec: [:], node: taint("PreferNoSchedule"), reasons: [], note: "PreferNoSchedule"),
        Case(
            spec: ["tolerations": [["key": "k", "value": "v"]]], node: taint("NoSchedule"), reasons: [],
            note: "Equal is the default"),
        Case(
            spec: ["tolerations": [["key": "k", "value": "w"]]], node: taint("NoSchedule"), reasons: [tainted],
            note: "another value"),
        Case(
            spec: ["tolerations": [["key": "k", "operator": "Exists", "effect": "NoExecute"]]],
            node: taint("NoSchedule"), reasons: [tainted], note: "another effect"),
        Case(
            spec: ["tolerations": [["operator": "Exists"]]], node: taint("NoExecute"), reasons: [],
            note: "tolerates all"),
        Case(spec: asks("cpu", "2"), reasons: [], note: "exactly"),
        Case(spec: asks("cpu", "2001m"), reasons: ["Insufficient cpu"], note: "one too many"),
        Case(
            spec: asks("memory", "4Gi"), node: node { $0.used.memory = 1 }, reasons: ["Insufficient memory"],
            note: "used counts"),
        Case(spec: asks("ephemeral-storage", "11Gi"), reasons: ["Insufficient ephemeral-storage"], note: "disk"),
        Case(spec: asks("example.com/gpu", "2"), reasons: ["Insufficient example.com/gpu"], note: "extended"),
        Case(spec: asks("example.com/fpga", "1"), reasons: ["Insufficient example.com/fpga"], note: "nobody has it"),
        Case(
            spec: [:], node: node { $0.used.milliCPU = 5000 }, reasons: [],
            note: "who asks for nothing fits on a full node"),
        Case(spec: [:], node: node { $0.pods = 110 }, reasons: ["Too many pods"], note: "pod limit"),
        Case(
            spec: asks("cpu", "9"),
            node: node {
                $0.pods = 110; $0.used.memory = 1
            }, reasons: ["Too many pods", "Insufficient cpu"], note: "both"),
        Case(
            spec: ["containers": [["ports": [["hostPort": 80]]]]],
            node: node { $0.ports = [.init(transport: "TCP", address: "0.0.0.0", number: 80)] },
            reasons: ["node(s) didn't have free ports for the requested pod ports"], note: "port taken"),
        Case(
            spec: [
                "containers": [
                    [
                        "ports": [
                            ["hostPort": 80, "protocol": "UDP"], ["hostPort": 80, "hostIP": "192.0.2.1"],
                            ["hostPort": 81, "hostIP": "2001:db8::1"],
                        ]
                    ]
                ]
            ],
            node: node {
                $0.ports = [
                    .init(transport: "TCP", address: "192.0.2.2", number: 80),
                    .init(transport: "TCP", address: "192.0.2.1", number: 81),
                ]
            }, reasons: [], note: "other address or protocol"),
        Case(
            spec: ["containers": [["ports": [["hostPort": 80, "hostIP": "192.0.2.1"]]]]],
            node: node { $0.ports = [.init(transport: "TCP", address: "0.0.0.0", number: 80)] },
            reasons: ["node(s) didn't have free ports for the requested pod ports"], note: "every address taken"),
    ]) func filters(_ test: Case) {
        let filters = NodeFilters(KubeObject(["spec": test.spec]))
        #expect(filters.reasons(against: test.node) == test.reasons, "\(test.note)")
    }

    @Test func fieldsMatchTheNodesName() {
        let spec: JSON = [
            "affinity": [
                "nodeAffinity": [
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        "nodeSelectorTerms": [
                            ["matchFields": [["key": "metadata.name", "operator": "In", "values": ["n1"]]]]
                        ]
                    ]
                ]
            ]
        ]
        let filters = NodeFilters(KubeObject(["spec": spec]))
        #expect(filters.reasons(against: Self.node()) == [])
        #expect(filters.reasons(against: Self.node { $0.name = "n2" }) == [Self.noAffinity])
    }

    @Test func theEmptierNodeScoresHigher() {
        let filters = NodeFilters(KubeObject(["spec": Self.asks("cpu", "100m")]))
        let used = Self.node { $0.scored = Amounts(["cpu": "1", "memory": "2Gi"]) }
        #expect(filters.score(Self.node()) > filters.score(used))
        let disliked = Self.node { $0.taints = [.init(key: "k", value: "", effect: "PreferNoSchedule")] }
        #expect(filters.score(Self.node()) > filters.score(disliked))
    }

    @Test func preferencesCountByTheirWeight() {
        func filters(_ weight: Int64) -> NodeFilters {
            let term: JSON = [
                "weight": .int(weight), "preference": ["matchExpressions": Self.expression("zone", "In", ["a"])],
            ]
            return NodeFilters(
                KubeObject([
                    "spec": ["affinity": ["nodeAffinity": ["preferredDuringSchedulingIgnoredDuringExecution": [term]]]]
                ]))
        }
        let elsewhere = Self.node { $0.labels["zone"] = "b" }
        #expect(filters(50).score(Self.node()) - filters(50).score(elsewhere) == 100)
        #expect(filters(100).score(Self.node()) > filters(1).score(Self.node()))
    }
}
