import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

/// Numbers that are the same each time.
struct SeededRandom: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
    mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }
    mutating func pick<T>(_ list: [T]) -> T { list[Int.random(in: list.indices, using: &self)] }
    mutating func number(_ range: ClosedRange<Int64>) -> Int64 { Int64.random(in: range, using: &self) }
}

/// Clusters that nobody would build.
struct ClusterGenerator {
    var random: SeededRandom
    var made = 0
    static let namespaces = [
        "default": ["team": "a"], "prod": ["team": "a", "stage": "prod"], "test": ["team": "b"],
    ]

    mutating func node(_ i: Int) -> JSON {
        var labels: JSON = ["kubernetes.io/hostname": .string("n\(i)"), "size": .string(String(i % 4))]
        if !random.chance(10) { labels["zone"] = .string(random.pick(["a", "b", "c"])) }
        if random.chance(50) { labels["disk"] = .string(random.pick(["ssd", "hdd"])) }
        var spec: JSON = [:]
        if random.chance(10) { spec["unschedulable"] = true }
        var taints: [JSON] = []
        while random.chance(20) {
            taints.append([
                "key": .string(random.pick(["k", "l"])), "value": .string(random.pick(["v", "w"])),
                "effect": .string(random.pick(["NoSchedule", "NoExecute", "PreferNoSchedule"])),
            ])
        }
        if !taints.isEmpty { spec["taints"] = .array(taints) }
        var allocatable: JSON = [
            "cpu": .string(random.pick(["1", "2", "4"])), "memory": .string(random.pick(["1Gi", "4Gi"])),
            "ephemeral-storage": "20Gi", "pods": .string(random.pick(["3", "10"])),
        ]
        if random.chance(30) { allocatable["example.com/gpu"] = "2" }
        return [
            "metadata": ["name": .string("n\(i)"), "labels": labels], "spec": spec,
            "status": ["allocatable": allocatable],
        ]
    }

    mutating func selector() -> JSON {
        if random.chance(5) { return .null }
        if random.chance(30) {
            let op = random.pick(["In", "NotIn", "Exists", "DoesNotExist"])
            var expression: JSON = ["key": .string(random.pick(["app", "tier"])), "operator": .string(op)]
            if op == "In" || op == "NotIn" { expression["values"] = .strings([random.pick(["x", "y", "z"])]) }
            return ["matchExpressions": [expression]]
        }
        return ["matchLabels": ["app": .string(random.pick(["x", "y", "z"]))]]
    }

    mutating func podTerm() -> JSON {
        var term: JSON = [
            "topologyKey": .string(random.pick(["zone", "kubernetes.io/hostname", "disk"])),
            "labelSelector": selector(),
        ]
        if random.chance(20) { term["namespaces"] = .strings([random.pick(["default", "prod"])]) }
        if random.chance(25) {
            term["namespaceSelector"] =
                random.chance(30) ? [:] : ["matchLabels": ["team": .string(random.pick(["a", "b"]))]]
        }
        if random.chance(10) { term["matchLabelKeys"] = ["tier"] }
        if random.chance(10) { term["mismatchLabelKeys"] = ["tier"] }
        return term
    }

    mutating func container() -> JSON {
        var requests: JSON = [:]
        if random.chance(70) { requests["cpu"] = .string(random.pick(["50m", "100m", "0.3", "1500m"])) }
        if random.chance(60) { requests["memory"] = .string(random.pick(["64Mi", "200M", "1Gi", "3Gi"])) }
        if random.chance(5) { requests["ephemeral-storage"] = "9Gi" }
        if random.chance(7) { requests["example.com/gpu"] = .string(random.pick(["1", "2"])) }
        var container: JSON = ["name": "c", "image": "i", "resources": ["requests": requests]]
        if random.chance(10) {
            var port: JSON = ["hostPort": .int(random.number(80...81)), "containerPort": 80]
            if random.chance(30) { port["protocol"] = "UDP" }
            if random.chance(30) { port["hostIP"] = .string(random.pick(["192.0.2.1", "192.0.2.2"])) }
            container["ports"] = [port]
        }
        return container
    }

    mutating func spread() -> JSON {
        var constraint: JSON = [
            "topologyKey": .string(random.pick(["zone", "kubernetes.io/hostname"])),
            "maxSkew": .int(random.number(1...2)),
            "whenUnsatisfiable": .string(random.chance(80) ? "DoNotSchedule" : "ScheduleAnyway"),
            "labelSelector": ["matchLabels": ["app": .string(random.pick(["x", "y"]))]],
        ]
        if random.chance(20) { constraint["minDomains"] = .int(random.number(1...5)) }
        if random.chance(20) { constraint["nodeAffinityPolicy"] = "Ignore" }
        if random.chance(20) { constraint["nodeTaintsPolicy"] = "Honor" }
        if random.chance(20) { constraint["matchLabelKeys"] = ["tier"] }
        return constraint
    }

    mutating func pod(plain: Bool = false) -> JSON {
        made += 1
        var spec: JSON = ["containers": .array((0..<Int(random.number(1...2))).map { _ in container() })]
        if random.chance(15) {
            var inits = [container()]
            if random.chance(50) {
                var sidecar = container()
                sidecar["restartPolicy"] = "Always"
                inits.insert(sidecar, at: Int(random.number(0...1)))
            }
            for i in inits.indices { inits[i]["ports"] = .null }
            spec["initContainers"] = .array(inits)
        }
        if random.chance(5) { spec["overhead"] = ["cpu": "250m"] }
        if random.chance(5) { spec["resources"] = ["requests": ["cpu": "400m"]] }
        var tolerations: [JSON] = []
        while random.chance(25) {
            var toleration: JSON = [:]
            if random.chance(80) { toleration["key"] = .string(random.pick(["k", "l"])) }
            if random.chance(50) || toleration["key"].isNull {
                toleration["operator"] = "Exists"
            } else {
                toleration["value"] = .string(random.pick(["v", "w"]))
            }
            if random.chance(40) { toleration["effect"] = .string(random.pick(["NoSchedule", "NoExecute"])) }
            tolerations.append(toleration)
        }
        if !tolerations.isEmpty { spec["tolerations"] = .array(tolerations) }
        var affinity: JSON = [:]
        if !plain {
            if random.chance(10) { spec["nodeSelector"] = ["disk": .string(random.pick(["ssd", "hdd"]))] }
            if random.chance(15) {
                let op = random.pick(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"])
                let key = op == "Gt" || op == "Lt" ? "size" : random.pick(["zone", "disk"])
                var expression: JSON = ["key": .string(key), "operator": .string(op)]
                switch op {
                case "In", "NotIn": expression["values"] = .strings([random.pick(["a", "b", "ssd"])])
                case "Gt", "Lt": expression["values"] = .strings([random.pick(["1", "2"])])
                default: break
                }
                affinity["nodeAffinity"] = [
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        "nodeSelectorTerms": [["matchExpressions": [expression]]]
                    ]
                ]
            }
            if random.chance(30) {
                spec["topologySpreadConstraints"] = .array((0..<Int(random.number(1...2))).map { _ in spread() })
            }
        }
        if random.chance(20) {
            affinity["podAffinity"] = ["requiredDuringSchedulingIgnoredDuringExecution": [podTerm()]]
        }
        if random.chance(25) {
            affinity["podAntiAffinity"] = [
                "requiredDuringSchedulingIgnoredDuringExecution": .array(
                    (0..<Int(random.number(1...2))).map { _ in podTerm() })
            ]
        }
        if !affinity.isNull, !(affinity.object?.isEmpty ?? true) { spec["affinity"] = affinity }
        var labels: JSON = ["app": .string(random.pick(["x", "y", "z"]))]
        if random.chance(40) { labels["tier"] = .string(random.pick(["front", "back"])) }
        return [
            "metadata": [
                "name": .string("p\(made)"), "namespace": .string(random.pick(["default", "default", "prod", "test"])),
                "uid": .string("p\(made)"), "labels": labels,
            ], "spec": spec,
        ]
    }
}

@Suite(.serialized) struct FilterOracleTests {
    private func enter(_ oracle: FilterOracle) -> ClusterState {
        var cluster = ClusterState()
        for node in oracle.nodes { _ = cluster.update(node: KubeObject(node), deleted: false) }
        for pod in oracle.pods { _ = cluster.update(pod: KubeObject(pod), deleted: false) }
        return cluster
    }

    /// 50 clusters of up to 10 nodes: each of 2,000 pods against each node. Other tests get their turn in between.
    @Test(arguments: 0..<50) func theSchedulerAndTheOracleAgree(_ seed: Int) async {
        var generator = ClusterGenerator(random: SeededRandom(state: UInt64(seed) &* 7919 &+ 1))
        var oracle = FilterOracle(nodes: [], pods: [], namespaces: ClusterGenerator.namespaces)
        let namespaces = ClusterGenerator.namespaces.mapValues { LabelSet(.map($0)) }
        for i in 0..<Int(generator.random.number(1...10)) { oracle.nodes.append(generator.node(i)) }
        var cluster = enter(oracle)
        var refused = 0
        for _ in 0..<40 {
            await Task.yield()
            let pod = generator.pod()
            let expected = oracle.feasible(pod)
            let waiting = WaitingPod(KubeObject(pod))
            let filters = NodeFilters(waiting, cluster, namespaces: namespaces)
            var found: Set<String> = []
            for i in cluster.nodes.indices where filters.refusal(of: i, cluster) == nil {
                found.insert(cluster.nodes[i].name)
            }
            refused += cluster.nodes.count - found.count
            guard found == expected else {
                let wrong = found.symmetricDifference(expected).sorted()
                Issue.record("seed \(seed), \(wrong), oracle: \(expected.sorted()): \(pod.text)")
                return
            }
            // It runs on one of them; now and then one goes, or is asked to.
            if let node = expected.sorted().randomElement(using: &generator.random), oracle.pods.count < 30 {
                var placed = pod
                placed["spec"]["nodeName"] = .string(node)
                oracle.pods.append(placed)
                _ = cluster.update(pod: KubeObject(placed), deleted: false)
            }
            if generator.random.chance(15), !oracle.pods.isEmpty {
                let gone = oracle.pods.remove(at: Int.random(in: oracle.pods.indices, using: &generator.random))
                _ = cluster.update(pod: KubeObject(gone), deleted: true)
            }
            if generator.random.chance(10), !oracle.pods.isEmpty {
                let i = Int.random(in: oracle.pods.indices, using: &generator.random)
                oracle.pods[i]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
                _ = cluster.update(pod: KubeObject(oracle.pods[i]), deleted: false)
            }
        }
        #expect(refused > 0)
        // What was counted step by step is what is counted at once.
        let fresh = enter(oracle)
        for i in cluster.rooms.indices {
            guard let j = fresh.slot(of: cluster.nodes[i].name) else { continue }
            #expect(cluster.rooms[i].usedCPU == fresh.rooms[j].usedCPU && cluster.rooms[i].pods == fresh.rooms[j].pods)
            #expect(cluster.rooms[i].scoredMemory == fresh.rooms[j].scoredMemory)
        }
    }

    /// Trying out what would be without some pods gives what is without them.
    @Test(arguments: 0..<20) func adjustingIsCountingAnew(_ seed: Int) async {
        var generator = ClusterGenerator(random: SeededRandom(state: UInt64(seed) &* 104_729 &+ 5))
        var oracle = FilterOracle(nodes: [], pods: [], namespaces: ClusterGenerator.namespaces)
        let namespaces = ClusterGenerator.namespaces.mapValues { LabelSet(.map($0)) }
        for i in 0..<6 { oracle.nodes.append(generator.node(i)) }
        for _ in 0..<20 {
            var pod = generator.pod()
            pod["spec"]["nodeName"] = .string("n\(generator.random.number(0...5))")
            oracle.pods.append(pod)
        }
        var cluster = enter(oracle)
        for _ in 0..<10 {
            await Task.yield()
            let pod = generator.pod()
            var filters = NodeFilters(WaitingPod(KubeObject(pod)), cluster, namespaces: namespaces)
            let away = oracle.pods.filter { _ in generator.random.chance(30) }
            var less = oracle
            less.pods.removeAll { other in away.contains { $0["metadata"]["uid"] == other["metadata"]["uid"] } }
            var removed: [ClusterState.Placed] = []
            for other in away {
                guard let placed = cluster.pods[PodID(other["metadata"]["uid"].string ?? "")] else { continue }
                filters.adjust(placed, -1, cluster)
                cluster.count(placed, -1)
                removed.append(placed)
            }
            var found: Set<String> = []
            for i in cluster.nodes.indices where filters.refusal(of: i, cluster) == nil {
                found.insert(cluster.nodes[i].name)
            }
            #expect(found == less.feasible(pod), "seed \(seed): \(pod.text)")
            for placed in removed { cluster.count(placed, 1) }
        }
    }
}
