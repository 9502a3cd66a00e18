import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

/// The arithmetic of a rollout, without a client.
@Suite struct RolloutTests {
    let clock = VirtualClock()

    static func deployment(_ replicas: Int64, surge: JSON, unavailable: JSON, _ extra: JSON = [:]) -> KubeObject {
        var json = Sample.workload("d", replicas: replicas, extra)
        json["kind"] = "Deployment"
        json["spec"]["strategy"] = [
            "type": "RollingUpdate", "rollingUpdate": ["maxSurge": surge, "maxUnavailable": unavailable],
        ]
        return KubeObject(json)
    }

    static func set(
        _ name: String, spec: Int64, available: Int64, image: String, age: Int64, desired: Int64? = nil,
        max: Int64? = nil
    ) -> KubeObject {
        var set = KubeObject(Sample.workload(name, replicas: spec))
        set.spec["template"] = Sample.template("d", image: image)
        set.metadata["uid"] = .string("uid-" + name)
        set.metadata["creationTimestamp"] = .string(Timestamp(seconds: 1_000_000 - age).rfc3339)
        set.status = ["replicas": .int(spec), "availableReplicas": .int(available), "readyReplicas": .int(available)]
        if let desired { set.setSizes(desired: desired, max: max ?? desired) }
        return set
    }

    struct Step: Sendable {
        var replicas: Int64
        var surge: JSON
        var unavailable: JSON
        var new: (spec: Int64, available: Int64)
        var old: (spec: Int64, available: Int64)
        var newSize: Int64
        var oldSize: Int64
        var note: String
    }

    /// Sizes that follow in one step from where a rollout is, as upstream's deployment_util tests have them.
    @Test(arguments: [
        Step(
            replicas: 10, surge: 0, unavailable: 2, new: (0, 0), old: (10, 10), newSize: 0, oldSize: 8,
            note: "down first"),
        Step(
            replicas: 10, surge: 2, unavailable: 0, new: (0, 0), old: (10, 10), newSize: 2, oldSize: 10,
            note: "up first"),
        Step(
            replicas: 10, surge: 2, unavailable: 0, new: (2, 0), old: (10, 10), newSize: 2, oldSize: 10,
            note: "new not yet available"),
        Step(
            replicas: 10, surge: 2, unavailable: 0, new: (2, 2), old: (10, 10), newSize: 2, oldSize: 8,
            note: "new available"),
        Step(
            replicas: 10, surge: "25%", unavailable: "25%", new: (0, 0), old: (10, 10), newSize: 3, oldSize: 8,
            note: "surge up, unavailable down"),
        Step(
            replicas: 3, surge: "25%", unavailable: "25%", new: (0, 0), old: (3, 3), newSize: 1, oldSize: 3,
            note: "0.75 is one more, none less"),
        Step(
            replicas: 2, surge: "0%", unavailable: "10%", new: (0, 0), old: (2, 2), newSize: 0, oldSize: 1,
            note: "both zero: one may go"),
        Step(
            replicas: 10, surge: 0, unavailable: 2, new: (0, 0), old: (10, 7), newSize: 0, oldSize: 8,
            note: "sick pods go first"),
        Step(
            replicas: 10, surge: 3, unavailable: 2, new: (5, 1), old: (8, 8), newSize: 5, oldSize: 7,
            note: "minAvailable holds"),
        Step(
            replicas: 5, surge: 5, unavailable: "100%", new: (0, 0), old: (5, 5), newSize: 5, oldSize: 0,
            note: "all at once"),
        Step(
            replicas: 0, surge: 1, unavailable: 0, new: (0, 0), old: (4, 4), newSize: 0, oldSize: 0, note: "to nothing"),
        Step(
            replicas: 4, surge: 1, unavailable: 0, new: (6, 6), old: (0, 0), newSize: 4, oldSize: 0,
            note: "new too large"),
    ]) func oneStep(_ step: Step) {
        var rollout = Rollout(
            deployment: Self.deployment(step.replicas, surge: step.surge, unavailable: step.unavailable),
            sets: [
                Self.set("new", spec: step.new.spec, available: step.new.available, image: "busybox", age: 1),
                Self.set("old", spec: step.old.spec, available: step.old.available, image: "old", age: 9),
            ], clock: clock)
        #expect(rollout.new?.name == "new")
        #expect(rollout.newReplicaSetSize() == step.newSize, "\(step.note)")
        // The old ones are looked at when the new one has its size.
        if rollout.newReplicaSetSize() > step.new.spec, step.oldSize == step.old.spec { return }
        rollout.new?.spec["replicas"] = .int(step.new.spec)
        let sizes = rollout.oldReplicaSetSizes()
        #expect((sizes.first?.1 ?? step.old.spec) == step.oldSize, "\(step.note)")
    }

    @Test(arguments: [
        ("25%", 10, true, 3), ("25%", 10, false, 2), ("0%", 10, true, 0), ("100%", 10, false, 10),
        ("many", 10, true, 0),
    ])
    func percentOfATotal(_ text: String, _ total: Int64, _ up: Bool, _ expected: Int64) {
        #expect(JSON.string(text).scaled(of: total, roundUp: up) == expected)
    }

    @Test func percentBeyondAllNumbersIsMoreThanEverything() {
        let percent = JSON.string("\(Int64.max)%")
        #expect(percent.scaled(of: Int64(Int32.max), roundUp: true) > Int64(Int32.max))
    }

    @Test func oldSetsGiveUpWhatIsNotAvailableOldestFirst() {
        let rollout = Rollout(
            deployment: Self.deployment(10, surge: 0, unavailable: 3),
            sets: [
                Self.set("new", spec: 0, available: 0, image: "busybox", age: 1),
                Self.set("older", spec: 4, available: 3, image: "a", age: 9),
                Self.set("younger", spec: 6, available: 5, image: "b", age: 5),
            ], clock: clock)
        // Three may go: both sick ones, then one healthy one of the oldest set.
        let sizes = Dictionary(uniqueKeysWithValues: rollout.oldReplicaSetSizes().map { ($0.0.name, $0.1) })
        #expect(sizes == ["older": 2, "younger": 5])
    }

    struct Scaling: Sendable {
        var from: Int64
        var to: Int64
        var surge: Int64
        var sizes: [Int64]  // oldest first, the last is the new set
        var expected: [Int64]
        var note: String
    }

    /// Upstream's TestScale: a rollout under way keeps its shape.
    @Test(arguments: [
        Scaling(from: 10, to: 12, surge: 0, sizes: [5, 5], expected: [6, 6], note: "equal halves"),
        Scaling(from: 10, to: 5, surge: 0, sizes: [5, 5], expected: [2, 3], note: "odd rest: the older shrinks more"),
        Scaling(from: 10, to: 20, surge: 0, sizes: [3, 2, 5], expected: [6, 4, 10], note: "double"),
        Scaling(from: 10, to: 0, surge: 0, sizes: [5, 3, 2], expected: [0, 0, 0], note: "to nothing"),
        Scaling(from: 10, to: 5, surge: 0, sizes: [10], expected: [5], note: "one set takes it all"),
        Scaling(from: 10, to: 20, surge: 10, sizes: [10, 10], expected: [15, 15], note: "room for surge as before"),
        Scaling(
            from: 5, to: 50, surge: 2, sizes: [2, 3, 1], expected: [15, 30, 7],
            note: "what rounding leaves goes to the largest"),
    ]) func proportionalScaling(_ scaling: Scaling) {
        let count = scaling.sizes.count
        let before = scaling.from + scaling.surge
        let sets = scaling.sizes.enumerated().map { i, size in
            Self.set(
                "s\(i)", spec: size, available: size, image: i == count - 1 ? "busybox" : "old\(i)",
                age: Int64(100 - i), desired: scaling.from, max: before)
        }
        let rollout = Rollout(
            deployment: Self.deployment(scaling.to, surge: .int(scaling.surge), unavailable: 1), sets: sets,
            clock: clock)
        #expect(rollout.isScalingEvent)
        var sizes = Dictionary(uniqueKeysWithValues: sets.map { ($0.name, $0.specReplicas) })
        for (set, size) in rollout.proportionalSizes() { sizes[set.name] = size }
        #expect(sizes.sorted { $0.key < $1.key }.map(\.value) == scaling.expected, "\(scaling.note)")
    }

    @Test func templatesDifferByMoreThanTheirHash() {
        let deployment = Self.deployment(1, surge: 1, unavailable: 0)
        var set = Self.set("a", spec: 1, available: 1, image: "busybox", age: 1)
        set.spec["template"]["metadata"]["labels"][Rollout.hashLabel] = "x"
        #expect(Rollout.sameTemplate(set, deployment))
        set.spec["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = "now"
        #expect(!Rollout.sameTemplate(set, deployment))
        let template = deployment.spec["template"]
        let hash = Rollout.templateHash(template, collisions: 0)
        #expect(hash == Rollout.templateHash(template, collisions: 0))
        #expect(hash != Rollout.templateHash(template, collisions: 1))
        #expect(hash.allSatisfy { "bcdfghjklmnpqrstvwxz2456789".contains($0) })
    }

    @Test func pastNumbersOfASetAreKeptToALimit() {
        var set = Self.set("a", spec: 1, available: 1, image: "x", age: 1)
        set.renumber(1)
        #expect(set.revision == 1 && set.annotations[Rollout.historyKey] == nil)
        set.renumber(3)
        set.renumber(5)
        #expect(set.revision == 5 && set.annotations[Rollout.historyKey] == "1,3")
        for n in 1000..<2000 { set.renumber(Int64(n)) }
        let history = set.annotations[Rollout.historyKey] ?? ""
        #expect(history.utf8.count <= 2000 && history.hasSuffix(",1997,1998"))
    }
}
