import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct DeviceAllocatorTests {
    // MARK: - Objects

    static func node(_ name: String, _ labels: JSON = [:]) -> ClusterState.Node {
        var node = ClusterState.Node()
        node.name = name
        node.labels = LabelSet(labels)
        return node
    }

    static func slice(
        _ name: String, pool: String = "p", node: String? = "n1", generation: Int64 = 1, count: Int64 = 1,
        _ devices: [JSON], _ extra: JSON = [:]
    ) -> KubeObject {
        var spec: JSON = [
            "driver": "gpu.test",
            "pool": [
                "name": .string(pool), "generation": .int(generation), "resourceSliceCount": .int(count),
            ], "devices": .array(devices),
        ]
        if let node { spec["nodeName"] = .string(node) }
        for (key, value) in extra.object?.members ?? [] { spec[key] = value }
        return KubeObject(["metadata": ["name": .string(name)], "spec": spec])
    }

    static func device(_ name: String, model: String = "a", rack: Int64 = 1, _ extra: JSON = [:]) -> JSON {
        var device: JSON = [
            "name": .string(name),
            "attributes": ["model": ["string": .string(model)], "gpu.test/rack": ["int": .int(rack)]],
            "capacity": ["memory": ["value": "1Gi"]],
        ]
        for (key, value) in extra.object?.members ?? [] { device[key] = value }
        return device
    }

    static func selectors(_ expressions: [String]) -> JSON {
        .array(expressions.map { ["cel": ["expression": .string($0)]] })
    }

    static func exactly(_ name: String, count: Int64 = 1, _ expressions: [String] = [], _ extra: JSON = [:]) -> JSON {
        var request: JSON = [
            "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": .int(count),
            "selectors": selectors(expressions),
        ]
        for (key, value) in extra.object?.members ?? [] { request[key] = value }
        return ["name": .string(name), "exactly": request]
    }

    static func claim(_ requests: [JSON], _ extra: JSON = [:], name: String = "c") -> KubeObject {
        var devices: JSON = ["requests": .array(requests)]
        for (key, value) in extra.object?.members ?? [] { devices[key] = value }
        return KubeObject([
            "metadata": ["name": .string(name), "namespace": "default", "uid": .string("uid-" + name)],
            "spec": ["devices": devices],
        ])
    }

    static let gpu = KubeObject([
        "metadata": ["name": "gpu"],
        "spec": [
            "selectors": selectors(["device.driver == 'gpu.test'"]),
            "config": [["opaque": ["driver": "gpu.test", "parameters": ["of": "class"]]]],
        ],
    ])

    static func allocate(
        _ claims: [KubeObject], _ slices: [KubeObject], taken: Set<String> = [], on node: ClusterState.Node = node("n1")
    ) -> Result<[JSON]?, DeviceError> {
        Result { () throws(DeviceError) in
            try DeviceNeeds.make(claims, ["gpu": gpu], slices).allocate(
                node, taken: Set(taken.map { DeviceID(driver: "gpu.test", pool: "p", device: $0) }))
        }
    }

    static func names(_ result: Result<[JSON]?, DeviceError>) -> [[String]]? {
        (try? result.get()).flatMap { $0 }?.map { allocation in
            allocation["devices"]["results"].elements.map { $0["device"].string ?? "" }
        }
    }

    static func message(_ result: Result<[JSON]?, DeviceError>) -> String {
        if case .failure(let error) = result { return error.message }
        return ""
    }

    // MARK: - Facts

    @Test func aResultNamesDeviceSettingsAndNodes() throws {
        let claim = Self.claim(
            [Self.exactly("r", ["device.attributes['gpu.test'].model == 'b'"])],
            ["config": [["requests": ["r"], "opaque": ["driver": "gpu.test", "parameters": ["of": "claim"]]]]])
        let slice = Self.slice("s", [Self.device("d1"), Self.device("d2", model: "b")])
        let allocation = try #require(try Self.allocate([claim], [slice]).get()?.first)
        #expect(
            allocation == [
                "devices": [
                    "results": [["request": "r", "driver": "gpu.test", "pool": "p", "device": "d2"]],
                    "config": [
                        [
                            "source": "FromClass", "requests": ["r"],
                            "opaque": ["driver": "gpu.test", "parameters": ["of": "class"]],
                        ],
                        [
                            "source": "FromClaim", "requests": ["r"],
                            "opaque": ["driver": "gpu.test", "parameters": ["of": "claim"]],
                        ],
                    ],
                ],
                "nodeSelector": [
                    "nodeSelectorTerms": [
                        ["matchFields": [["key": "metadata.name", "operator": "In", "values": ["n1"]]]]
                    ]
                ],
            ])
    }

    @Test func takenDevicesAreNotGivenUnlessToAdministrators() {
        let slice = Self.slice("s", [Self.device("d1"), Self.device("d2")])
        #expect(Self.names(Self.allocate([Self.claim([Self.exactly("r")])], [slice], taken: ["d1"])) == [["d2"]])
        #expect(Self.names(Self.allocate([Self.claim([Self.exactly("r", count: 2)])], [slice], taken: ["d1"])) == nil)
        let admin = Self.claim([Self.exactly("r", count: 2, [], ["adminAccess": true])])
        #expect(Self.names(Self.allocate([admin], [slice], taken: ["d1"])) == [["d1", "d2"]])
    }

    @Test func allMeansAllOfThem() {
        let slice = Self.slice("s", [Self.device("d1"), Self.device("d2"), Self.device("d3", model: "b")])
        let all = Self.claim([
            Self.exactly(
                "r", ["device.attributes['gpu.test'].model == 'a'"], ["allocationMode": "All", "count": .null])
        ])
        #expect(Self.names(Self.allocate([all], [slice])) == [["d1", "d2"]])
        #expect(Self.names(Self.allocate([all], [slice], taken: ["d2"])) == nil)
        #expect(Self.names(Self.allocate([all], [slice], taken: ["d3"])) == [["d1", "d2"]])
        #expect(Self.names(Self.allocate([all], [Self.slice("s", [])])) == nil, "at least one")
        let half = Self.slice("s", count: 2, [Self.device("d1")])
        #expect(
            Self.message(Self.allocate([all], [half]))
                == "claim default/c, request r: asks for all devices, but resource pool gpu.test/p is currently being updated"
        )
    }

    @Test func theFirstAlternativeThatIsThereIsTaken() throws {
        func way(_ name: String, _ model: String) -> JSON {
            [
                "name": .string(name), "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1,
                "selectors": Self.selectors(["device.attributes['gpu.test'].model == '\(model)'"]),
            ]
        }
        let claim = Self.claim([["name": "r", "firstAvailable": [way("large", "b"), way("small", "a")]]])
        let slice = Self.slice("s", [Self.device("d1"), Self.device("d2", model: "b")])
        for (taken, expected) in [([], "r/large d2"), (["d2"], "r/small d1")] as [(Set<String>, String)] {
            let result = try #require(try Self.allocate([claim], [slice], taken: taken).get()?.first)
            let device = result["devices"]["results"][0]
            #expect("\(device["request"].string ?? "") \(device["device"].string ?? "")" == expected)
        }
    }

    @Test func constraintsMakeTheSearchGoBack() {
        let slice = Self.slice(
            "s", [Self.device("d1", rack: 1), Self.device("d2", rack: 2), Self.device("d3", model: "b", rack: 2)])
        let claim = Self.claim(
            [Self.exactly("x"), Self.exactly("y", ["device.attributes['gpu.test'].model == 'b'"])],
            ["constraints": [["matchAttribute": "gpu.test/rack"]]])
        #expect(Self.names(Self.allocate([claim], [slice])) == [["d2", "d3"]])
        let unknown = Self.claim([Self.exactly("x")], ["constraints": [["matchAttribute": "gpu.test/none"]]])
        #expect(Self.names(Self.allocate([unknown], [slice])) == nil)
    }

    @Test func onlyTheNewestSlicesOfCompletePoolsCount() {
        let claim = Self.claim([Self.exactly("r")])
        let old = Self.slice("a", generation: 1, [Self.device("old")])
        let new = Self.slice("b", generation: 2, [Self.device("new")])
        #expect(Self.names(Self.allocate([claim], [old, new])) == [["new"]])
        let half = Self.slice("b", generation: 2, count: 2, [Self.device("new")])
        #expect(Self.names(Self.allocate([claim], [old, half])) == nil)
        let twice = Self.slice("b", [Self.device("d"), Self.device("d")])
        #expect(Self.message(Self.allocate([claim], [twice])) == "pool gpu.test/p is invalid: duplicate device name d")
    }

    @Test func nodesReachWhatTheSliceSays() {
        let claim = Self.claim([Self.exactly("r")])
        let selector: JSON = [
            "nodeSelector": [
                "nodeSelectorTerms": [["matchExpressions": [["key": "rack", "operator": "In", "values": ["1"]]]]]
            ]
        ]
        let byLabel = Self.slice("s", node: nil, [Self.device("d")], selector)
        #expect(Self.names(Self.allocate([claim], [byLabel], on: Self.node("n1", ["rack": "1"]))) == [["d"]])
        #expect(Self.names(Self.allocate([claim], [byLabel], on: Self.node("n1", ["rack": "2"]))) == nil)
        let everywhere = Self.slice("s", node: nil, [Self.device("d")], ["allNodes": true])
        let result = try? Self.allocate([claim], [everywhere], on: Self.node("n9")).get()
        #expect(result?.first?["nodeSelector"].isNull == true)
        let each = Self.slice(
            "s", node: nil,
            [Self.device("d1", ["nodeName": "n1"]), Self.device("d2", ["nodeName": "n2"])],
            ["perDeviceNodeSelection": true])
        #expect(Self.names(Self.allocate([claim], [each], on: Self.node("n2"))) == [["d2"]])
    }

    @Test func taintedDevicesAreForWhoToleratesThem() {
        let slice = Self.slice(
            "s", [Self.device("d", ["taints": [["key": "k", "value": "v", "effect": "NoSchedule"]]])])
        #expect(Self.names(Self.allocate([Self.claim([Self.exactly("r")])], [slice])) == nil)
        let tolerant = Self.exactly("r", [], ["tolerations": [["key": "k", "operator": "Exists"]]])
        let result = try? Self.allocate([Self.claim([tolerant])], [slice]).get()
        #expect(
            result?.first?["devices"]["results"][0]["tolerations"] == [["key": "k", "operator": "Exists"]])
    }

    @Test func partsOfADeviceShareItsCounters() {
        func part(_ name: String, _ memory: String) -> JSON {
            Self.device(
                name,
                ["consumesCounters": [["counterSet": "gpu-0", "counters": ["memory": ["value": .string(memory)]]]]])
        }
        let counters = Self.slice(
            "a", count: 2, [],
            ["devices": .null, "sharedCounters": [["name": "gpu-0", "counters": ["memory": ["value": "40Gi"]]]]])
        let slices = [
            counters, Self.slice("b", count: 2, [part("d1", "30Gi"), part("d2", "20Gi"), part("d3", "10Gi")]),
        ]
        #expect(Self.names(Self.allocate([Self.claim([Self.exactly("r", count: 2)])], slices)) == [["d1", "d3"]])
        #expect(Self.names(Self.allocate([Self.claim([Self.exactly("r", count: 3)])], slices)) == nil)
        #expect(Self.names(Self.allocate([Self.claim([Self.exactly("r")])], slices, taken: ["d1"])) == [["d3"]])
    }

    @Test func anExpressionThatFailsIsAnErrorWhereTheDeviceIs() {
        let claim = Self.claim([Self.exactly("r", ["device.attributes['gpu.test'].speed > 3"])])
        let slice = Self.slice("s", [Self.device("d")])
        #expect(
            Self.message(Self.allocate([claim], [slice]))
                == "claim default/c: selector #0: CEL runtime error: no such key: speed")
        #expect(Self.names(Self.allocate([claim], [slice], on: Self.node("n2"))) == nil)
        let careful = Self.claim([
            Self.exactly("r", ["!has(device.attributes['gpu.test'].speed) && !has(device.attributes['other'].x)"])
        ])
        #expect(Self.names(Self.allocate([careful], [slice])) == [["d"]])
        let broken = Self.claim([Self.exactly("r", ["devices"])])
        #expect(
            Self.message(Self.allocate([broken], [slice])).hasPrefix("claim default/c: selector #0: CEL compile error:")
        )
    }

    @Test func theSearchGivesUp() {
        let devices = (0..<128).map { Self.device("d\($0)", rack: Int64($0 / 9)) }
        let claim = Self.claim(
            [Self.exactly("r", count: 10)], ["constraints": [["matchAttribute": "gpu.test/rack"]]])
        let result = Self.allocate([claim], [Self.slice("s", devices)])
        #expect(Self.names(result) == nil)
        #expect(["", "the search for devices takes more than 50000 steps"].contains(Self.message(result)))
    }

    // MARK: - Generated

    /// Every choice there is, tried by somebody who knows nothing of the search.
    private func oracle(
        _ claims: [KubeObject], _ devices: [(name: String, model: String, rack: Int64)], _ taken: Set<String>
    ) -> Bool {
        var slots: [(claim: Int, name: String, model: String, count: Int?)] = []
        for (i, claim) in claims.enumerated() {
            for request in claim.spec["devices"]["requests"].elements {
                let exactly = request["exactly"]
                let all = exactly["allocationMode"] == "All"
                slots.append(
                    (
                        i, request["name"].string ?? "", exactly["model"].string ?? "",
                        all ? nil : Int(exactly["count"].int ?? 1)
                    ))
            }
        }
        func fits(_ at: Int, _ chosen: [Int]) -> Bool {
            guard at < slots.count else { return constraintsHold(chosen) }
            let slot = slots[at]
            let used = chosen.reduce(0, |)
            for mask in 0..<(1 << devices.count) where mask & used == 0 && mask != 0 {
                let set = devices.indices.filter { mask >> $0 & 1 == 1 }
                guard set.allSatisfy({ slot.model.isEmpty || devices[$0].model == slot.model }),
                    set.allSatisfy({ !taken.contains(devices[$0].name) })
                else { continue }
                let matching = devices.indices.filter { slot.model.isEmpty || devices[$0].model == slot.model }
                guard set.count == slot.count ?? matching.count else { continue }
                if fits(at + 1, chosen + [mask]) { return true }
            }
            return false
        }
        func constraintsHold(_ chosen: [Int]) -> Bool {
            for (i, claim) in claims.enumerated() {
                for constraint in claim.spec["devices"]["constraints"].elements {
                    let wanted = constraint["requests"].elements.compactMap(\.string)
                    var racks: Set<Int64> = []
                    for (slot, mask) in zip(slots, chosen)
                    where slot.claim == i && (wanted.isEmpty || wanted.contains(slot.name)) {
                        for d in devices.indices where mask >> d & 1 == 1 { racks.insert(devices[d].rack) }
                    }
                    if racks.count > 1 { return false }
                }
            }
            return true
        }
        return fits(0, [])
    }

    @Test(arguments: 0..<8) func asAnExhaustiveSearchFinds(_ seed: Int) throws {
        var random = SeededRandom(state: UInt64(seed))
        var found = 0
        for round in 0..<40 {
            let count = Int(random.number(1...6))
            let devices = (0..<count).map { i in
                (name: "d\(i)", model: random.pick(["a", "b"]), rack: random.number(1...2))
            }
            let taken = Set(devices.map(\.name).filter { _ in random.chance(20) })
            var claims: [KubeObject] = []
            for c in 0..<Int(random.number(1...2)) {
                var requests: [JSON] = []
                for r in 0..<Int(random.number(1...2)) {
                    let model = random.pick(["", "a", "b"])
                    var extra: JSON = ["model": .string(model)]
                    if random.chance(15) {
                        extra["allocationMode"] = "All"
                        extra["count"] = .null
                    }
                    requests.append(
                        Self.exactly(
                            "r\(r)", count: random.number(1...3),
                            model.isEmpty ? [] : ["device.attributes['gpu.test'].model == '\(model)'"], extra))
                }
                var constraints: [JSON] = []
                if random.chance(40) { constraints.append(["matchAttribute": "gpu.test/rack"]) }
                if random.chance(30) { constraints.append(["requests": ["r0"], "matchAttribute": "gpu.test/rack"]) }
                claims.append(Self.claim(requests, ["constraints": .array(constraints)], name: "c\(c)"))
            }
            let slice = Self.slice("s", devices.map { Self.device($0.name, model: $0.model, rack: $0.rack) })
            let result = Self.names(Self.allocate(claims, [slice], taken: taken))
            let possible = oracle(claims, devices, taken)
            #expect((result != nil) == possible, "seed \(seed), round \(round)")
            guard let result else { continue }
            found += 1
            let given = result.flatMap { $0 }
            #expect(Set(given).count == given.count && taken.isDisjoint(with: given))
        }
        #expect(found > 0)
    }
}
