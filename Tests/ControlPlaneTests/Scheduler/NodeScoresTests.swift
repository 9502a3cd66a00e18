import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct NodeScoresTests {
    typealias Scene = NodeFiltersTests.Scene

    /// The sum of each node, for one part alone or for all.
    func sums(
        _ scenes: [Scene], _ spec: JSON, only plugin: String? = nil,
        _ change: (inout SchedulerProfile) -> Void = { _ in }
    ) -> [Int64] {
        var cluster = ClusterState()
        for (i, scene) in scenes.enumerated() { scene.enter(&cluster, name: "n\(i)") }
        var profile = SchedulerProfile()
        if let plugin { profile.weights = [plugin: 1] }
        change(&profile)
        let scores = NodeScores(waiting: NodeFiltersTests.waiting(spec), profile: profile, namespaces: [:])
        return scores.sums(cluster, feasible: Array(scenes.indices))
    }
    func asks(_ cpu: String, _ memory: String) -> JSON {
        ["containers": [["name": "c", "resources": ["requests": ["cpu": .string(cpu), "memory": .string(memory)]]]]]
    }

    @Test func roomThatIsLeftCountsAndWithTheOtherStrategyWhatIsTaken() {
        var scenes = [Scene(), Scene()]
        scenes[1].pods = [asks("1", "2Gi")]
        // Half a CPU of two and 1 of 4 GiB are a quarter; with what runs, three quarters.
        #expect(sums(scenes, asks("500m", "1Gi"), only: "NodeResourcesFit") == [75, 25])
        #expect(
            sums(scenes, asks("500m", "1Gi"), only: "NodeResourcesFit") { $0.strategy = .mostAllocated } == [25, 75])
        let ratio = sums(scenes, asks("500m", "1Gi"), only: "NodeResourcesFit") {
            $0.strategy = .requestedToCapacity([(0, 0), (100, 10)])
        }
        #expect(ratio == [25, 75])
    }

    @Test func sharesThatAreAlikeCountMore() {
        var scenes = [Scene(), Scene()]
        scenes[1].pods = [asks("1", "0")]
        // 1/4 and 1/4; 3/4 and 1/4, which deviate by 1/4.
        #expect(sums(scenes, asks("500m", "1Gi"), only: "NodeResourcesBalancedAllocation") == [100, 75])
        #expect(sums(scenes, ["containers": [["name": "c"]]], only: "NodeResourcesBalancedAllocation") == [0, 0])
    }

    @Test func taintsOfTheKindRatherNotCountAgainstANode() {
        var scenes = [Scene(), Scene(), Scene()]
        let taint: JSON = ["key": "k", "effect": "PreferNoSchedule"]
        scenes[1].spec = ["taints": [taint]]
        scenes[2].spec = ["taints": [taint, ["key": "l", "effect": "PreferNoSchedule"]]]
        #expect(sums(scenes, [:], only: "TaintToleration") == [100, 50, 0])
        #expect(sums(scenes, ["tolerations": [["operator": "Exists"]]], only: "TaintToleration") == [0, 0, 0])
    }

    @Test func preferencesCountByTheirWeight() {
        var scenes = [Scene(), Scene(), Scene()]
        scenes[1].labels["zone"] = "b"
        scenes[2].labels = ["zone": "b"]
        func term(_ key: String, _ value: String, _ weight: Int64) -> JSON {
            [
                "weight": .int(weight),
                "preference": ["matchExpressions": NodeFiltersTests.expression(key, "In", [value])],
            ]
        }
        let spec: JSON = [
            "affinity": [
                "nodeAffinity": [
                    "preferredDuringSchedulingIgnoredDuringExecution": [term("zone", "b", 20), term("disk", "ssd", 60)]
                ]
            ]
        ]
        #expect(sums(scenes, spec, only: "NodeAffinity") == [75, 100, 25])
    }

    @Test func imagesThatAreThereCountBySizeAndSpread() {
        var scenes = [Scene(), Scene()]
        scenes[0].images = [["names": ["docker.io/library/app:latest"], "sizeBytes": .int(500 << 20)]]
        let spec: JSON = ["containers": [["name": "c", "image": "docker.io/library/app"]]]
        // Half the nodes have it: 250 MiB of between 23 and 1000.
        #expect(sums(scenes, spec, only: "ImageLocality") == [100 * (250 - 23) / (1000 - 23), 0])
    }

    @Test func preferredPodsAttractAndRepelInBothDirections() {
        func term(_ kind: String, _ app: String) -> JSON {
            [
                "affinity": .object(
                    JSONObject(members: [
                        (
                            kind,
                            [
                                "preferredDuringSchedulingIgnoredDuringExecution": [
                                    [
                                        "weight": 10,
                                        "podAffinityTerm": [
                                            "topologyKey": "zone",
                                            "labelSelector": ["matchLabels": ["app": .string(app)]],
                                        ],
                                    ]
                                ]
                            ]
                        )
                    ]))
            ]
        }
        func scores(_ placed: JSON, _ new: JSON) -> [Int64] {
            var cluster = ClusterState()
            var (a, b) = (Scene(), Scene())
            a.labels = ["zone": "a"]
            b.labels = ["zone": "b"]
            a.enter(&cluster, name: "n0")
            b.enter(&cluster, name: "n1")
            var spec = placed
            spec["nodeName"] = "n0"
            _ = cluster.update(
                pod: KubeObject([
                    "metadata": ["name": "p", "namespace": "default", "uid": "p", "labels": ["app": "old"]],
                    "spec": spec,
                ]), deleted: false)
            var profile = SchedulerProfile()
            profile.weights = ["InterPodAffinity": 1]
            let waiting = WaitingPod(
                KubeObject([
                    "metadata": ["name": "new", "namespace": "default", "uid": "new", "labels": ["app": "new"]],
                    "spec": new,
                ]))
            return NodeScores(waiting: waiting, profile: profile, namespaces: [:]).sums(cluster, feasible: [0, 1])
        }
        #expect(scores([:], term("podAffinity", "old")) == [100, 0])
        #expect(scores([:], term("podAntiAffinity", "old")) == [0, 100])
        #expect(scores(term("podAffinity", "new"), [:]) == [100, 0])
        #expect(scores(term("podAntiAffinity", "new"), [:]) == [0, 100])
        #expect(scores(term("podAffinity", "other"), [:]) == [0, 0])
    }

    @Test func podsOfOneServiceSpreadOverZonesFirst() {
        var cluster = ClusterState()
        for (i, zone) in ["a", "a", "b"].enumerated() {
            var scene = Scene()
            scene.labels = ["topology.kubernetes.io/zone": .string(zone), "kubernetes.io/hostname": .string("n\(i)")]
            scene.enter(&cluster, name: "n\(i)")
        }
        let metadata: JSON = ["name": "p", "namespace": "default", "uid": "p", "labels": ["app": "web"]]
        _ = cluster.update(pod: KubeObject(["metadata": metadata, "spec": ["nodeName": "n0"]]), deleted: false)
        var waiting = WaitingPod(
            KubeObject([
                "metadata": ["name": "q", "namespace": "default", "uid": "q", "labels": ["app": "web"]], "spec": [:],
            ]))
        waiting.spread = [
            SpreadConstraint(default: "kubernetes.io/hostname", maxSkew: 3, selector: .equal(["app": "web"])),
            SpreadConstraint(default: "topology.kubernetes.io/zone", maxSkew: 5, selector: .equal(["app": "web"])),
        ]
        let scores = SpreadScore(waiting, cluster, feasible: [0, 1, 2])?.scores(cluster, feasible: [0, 1, 2]) ?? []
        #expect(scores.count == 3)
        #expect(scores[2] == 100 && scores[2] > scores[1] && scores[1] > scores[0])
    }

    @Test(arguments: [2.0, 3, 10, 1002]) func logarithms(_ x: Double) {
        // e^ln(x) by its series.
        let y = NaturalLogarithm.of(x)
        var (sum, term) = (0.0, 1.0)
        for n in 1...80 {
            sum += term
            term *= y / Double(n)
        }
        #expect(abs(sum - x) < 1e-9 * x)
    }
}
