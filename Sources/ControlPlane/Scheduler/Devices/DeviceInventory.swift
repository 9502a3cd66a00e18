internal import Codecs
internal import KubeAPI

/// The devices that drivers tell of, by pool: what is left when outdated ResourceSlices are passed over.
/// Source: k8s.io/dynamic-resource-allocation/structured, pools.go.
struct DeviceInventory: Sendable {
    /// Which nodes reach a device.
    enum Placement: Sendable {
        case node(String)
        /// Terms to compare with, and the selector as it was written.
        case selector([NodeSelection.Term], JSON)
        case everywhere
        case nowhere

        init(_ json: JSON) {
            if let name = json["nodeName"].string, !name.isEmpty {
                self = .node(name)
            } else if !json["nodeSelector"].isNull {
                let selector = json["nodeSelector"]
                self = .selector(selector["nodeSelectorTerms"].elements.map(NodeSelection.Term.init), selector)
            } else {
                self = json["allNodes"].bool ?? false ? .everywhere : .nowhere
            }
        }

        func reaches(_ node: ClusterState.Node) -> Bool {
            switch self {
            case .node(let name): name == node.name
            case .selector(let terms, _): terms.contains { $0.matches(node) }
            case .everywhere: true
            case .nowhere: false
            }
        }
    }

    struct Pool: Sendable {
        var driver: String
        var name: String
        var generation: Int64
        var slices: Int64 = 0
        var expected: Int64
        /// Why nothing may be taken of it.
        var problem: String?
        /// The driver has not told of all yet.
        var isIncomplete: Bool { slices != expected }
        /// As messages name it.
        var text: String { "\(driver)/\(name)" }
    }

    struct Device: Sendable {
        var id: DeviceID
        var pool: Int
        var json: JSON
        var placement: Placement
        var taints: [Taint]
        /// What it takes of counters that devices of the pool share.
        var consumes: [(counter: Int, amount: Quantity)] = []
    }

    private(set) var pools: [Pool] = []
    private(set) var devices: [Device] = []
    /// How much there is of each shared counter.
    private(set) var counters: [Quantity] = []
    private(set) var index: [DeviceID: Int] = [:]
    private var counterIndex: [String: Int] = [:]

    init(_ slices: [KubeObject]) {
        var known: [String: Int] = [:]
        let sorted = slices.sorted { $0.name < $1.name }
        for slice in sorted {
            let (driver, pool) = (slice.spec["driver"].string ?? "", slice.spec["pool"])
            let (name, generation) = (pool["name"].string ?? "", pool["generation"].int ?? 0)
            let key = driver + "/" + name
            let fresh = Pool(
                driver: driver, name: name, generation: generation, expected: pool["resourceSliceCount"].int ?? 0)
            guard let at = known[key] else {
                known[key] = pools.count
                pools.append(fresh)
                continue
            }
            if pools[at].generation < generation { pools[at] = fresh }
        }
        for slice in sorted {
            let pool = slice.spec["pool"]
            guard let at = known[(slice.spec["driver"].string ?? "") + "/" + (pool["name"].string ?? "")],
                pools[at].generation == pool["generation"].int ?? 0
            else { continue }
            pools[at].slices += 1
            for set in slice.spec["sharedCounters"].elements {
                for (name, counter) in set["counters"].object ?? JSONObject() {
                    counterIndex["\(at)/\(set["name"].string ?? "")/\(name)"] = counters.count
                    counters.append(counter["value"].quantity ?? .zero)
                }
            }
            add(slice.spec, pool: at)
        }
        for i in devices.indices { connect(i) }
    }

    private mutating func add(_ spec: JSON, pool: Int) {
        let isPerDevice = spec["perDeviceNodeSelection"].bool ?? false
        let common = Placement(spec)
        for json in spec["devices"].elements {
            let id = DeviceID(driver: pools[pool].driver, pool: pools[pool].name, device: json["name"].string ?? "")
            if index[id] != nil { pools[pool].problem = "duplicate device name \(id.device)" }
            index[id] = devices.count
            devices.append(
                Device(
                    id: id, pool: pool, json: json, placement: isPerDevice ? Placement(json) : common,
                    taints: json["taints"].elements.map(Taint.init)))
        }
    }

    private mutating func connect(_ i: Int) {
        for use in devices[i].json["consumesCounters"].elements {
            for (name, counter) in use["counters"].object ?? JSONObject() {
                let key = "\(devices[i].pool)/\(use["counterSet"].string ?? "")/\(name)"
                guard let at = counterIndex[key] else {
                    pools[devices[i].pool].problem = "device \(devices[i].id.device) uses unknown counter \(name)"
                    continue
                }
                devices[i].consumes.append((at, counter["value"].quantity ?? .zero))
            }
        }
    }
}
