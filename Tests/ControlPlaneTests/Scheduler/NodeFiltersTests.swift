import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct NodeFiltersTests {
    /// A cluster of one node, and what runs there.
    struct Scene: Sendable {
        var labels: JSON = ["disk": "ssd", "zone": "a", "cores": "8"]
        var spec: JSON = [:]
        var allocatable: JSON = [
            "cpu": "2", "memory": "4Gi", "ephemeral-storage": "10Gi", "example.com/gpu": "1", "pods": "110",
        ]
        var images: JSON = .null
        var pods: [JSON] = []

        func enter(_ cluster: inout ClusterState, name: String = "n1") {
            let node: JSON = [
                "metadata": ["name": .string(name), "labels": labels], "spec": spec,
                "status": ["allocatable": allocatable, "images": images],
            ]
            _ = cluster.update(node: KubeObject(node), deleted: false)
            for (i, var spec) in pods.enumerated() {
                spec["nodeName"] = .string(name)
                let pod: JSON = [
                    "metadata": ["name": .string("p\(i)"), "namespace": "default", "uid": .string("\(name)-\(i)")],
                    "spec": spec,
                ]
                _ = cluster.update(pod: KubeObject(pod), deleted: false)
            }
        }
    }
    static func scene(_ change: (inout Scene) -> Void = { _ in }) -> Scene {
        var scene = Scene()
        change(&scene)
        return scene
    }
    static func waiting(_ spec: JSON) -> WaitingPod {
        WaitingPod(KubeObject(["metadata": ["name": "new", "namespace": "default", "uid": "new"], "spec": spec]))
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
        var node = NodeFiltersTests.scene()
        var reasons: [String]
        var note: String
    }
    static func taint(_ effect: String) -> Scene {
        scene { $0.spec = ["taints": [["key": "k", "value": "v", "effect": .string(effect)]]] }
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
            spec: [:], node: scene { $0.spec = ["unschedulable": true] }, reasons: ["node(s) were unschedulable"],
            note: "cordoned"
        ),
        Case(
            spec: ["tolerations": [["key": "node.kubernetes.io/unschedulable", "operator": "Exists"]]],
            node: scene { $0.spec = ["unschedulable": true] }, reasons: [], note: "tolerates cordoned"),
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
            spec: asks("memory", "4Gi"), node: scene { $0.pods = [asks("memory", "1")] },
            reasons: ["Insufficient memory"],
            note: "used counts"),
        Case(spec: asks("ephemeral-storage", "11Gi"), reasons: ["Insufficient ephemeral-storage"], note: "disk"),
        Case(spec: asks("example.com/gpu", "2"), reasons: ["Insufficient example.com/gpu"], note: "extended"),
        Case(spec: asks("example.com/fpga", "1"), reasons: ["Insufficient example.com/fpga"], note: "nobody has it"),
        Case(
            spec: [:], node: scene { $0.pods = [asks("cpu", "5")] }, reasons: [],
            note: "who asks for nothing fits on a full node"),
        Case(
            spec: [:],
            node: scene {
                $0.allocatable["pods"] = "1"; $0.pods = [[:]]
            }, reasons: ["Too many pods"], note: "pod limit"),
        Case(
            spec: asks("cpu", "9"),
            node: scene {
                $0.allocatable["pods"] = "1"
                $0.pods = [asks("memory", "1")]
            }, reasons: ["Too many pods", "Insufficient cpu"], note: "both"),
        Case(
            spec: ["containers": [["ports": [["hostPort": 80]]]]],
            node: scene { $0.pods = [["containers": [["ports": [["hostPort": 80]]]]]] },
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
            node: scene {
                $0.pods = [
                    [
                        "containers": [
                            [
                                "ports": [
                                    ["hostPort": 80, "hostIP": "192.0.2.2"], ["hostPort": 81, "hostIP": "192.0.2.1"],
                                ]
                            ]
                        ]
                    ]
                ]
            }, reasons: [], note: "other address or protocol"),
        Case(
            spec: ["containers": [["ports": [["hostPort": 80, "hostIP": "192.0.2.1"]]]]],
            node: scene { $0.pods = [["containers": [["ports": [["hostPort": 80]]]]]] },
            reasons: ["node(s) didn't have free ports for the requested pod ports"], note: "every address taken"),
    ]) func filters(_ test: Case) {
        var cluster = ClusterState()
        test.node.enter(&cluster)
        let filters = NodeFilters(Self.waiting(test.spec), cluster)
        #expect(filters.refusal(of: 0, cluster)?.reasons ?? [] == test.reasons, "\(test.note)")
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
        var cluster = ClusterState()
        Self.scene().enter(&cluster)
        Self.scene().enter(&cluster, name: "n2")
        let filters = NodeFilters(Self.waiting(spec), cluster)
        #expect(filters.refusal(of: 0, cluster) == nil)
        #expect(filters.refusal(of: 1, cluster)?.reasons == [Self.noAffinity])
        #expect(Self.waiting(spec).selection.names == ["n1"], "nobody else need be asked")
    }

    @Test func askingForMoreThanANodeHasIsHopeless() {
        var cluster = ClusterState()
        Self.scene { $0.pods = [Self.asks("cpu", "1")] }.enter(&cluster)
        func refusal(_ cpu: String) -> Refusal? {
            NodeFilters(Self.waiting(Self.asks("cpu", cpu)), cluster).refusal(of: 0, cluster)
        }
        #expect(refusal("1") == nil)
        #expect(refusal("2")?.isHopeless == false)
        #expect(refusal("3")?.isHopeless == true)
    }
}
