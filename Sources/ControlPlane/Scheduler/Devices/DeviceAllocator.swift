internal import Codecs
internal import KubeAPI

/// Finds devices for claims: a search with ways back, over what is known of devices before a node is asked. A value; which
/// devices are taken comes with each question. Source: k8s.io/dynamic-resource-allocation/structured, KEP-4381, KEP-4816.
struct DeviceAllocator: Sendable {
    let inventory: DeviceInventory
    /// Those that have no devices yet.
    let claims: [KubeObject]
    let requests: [DeviceRequest]
    let constraints: [DeviceConstraint]

    /// Most devices of all claims of a pod, and most devices tried for one node.
    static let depth = 128
    static let steps = 50_000

    /// One allocation for each claim, in their order; nil: not on this node.
    func allocate(_ node: ClusterState.Node, taken: Set<DeviceID>) throws(DeviceError) -> [JSON]? {
        var search = try DeviceSearch(self, node, taken)
        guard try search.meet(0) else { return nil }
        return claims.indices.map { allocation(of: $0, search.chosen) }
    }

    private func allocation(of claim: Int, _ chosen: [DeviceSearch.Chosen]) -> JSON {
        var (results, config) = ([JSON](), [JSON]())
        var placements: [DeviceInventory.Placement] = []
        for (choice, request) in zip(chosen, requests) where request.claim == claim {
            let option = request.options[choice.option]
            for i in choice.devices {
                let device = inventory.devices[i]
                placements.append(device.placement)
                var result: JSON = [
                    "request": .string(option.name), "driver": .string(device.id.driver),
                    "pool": .string(device.id.pool), "device": .string(device.id.device),
                ]
                if option.isAdministrative { result["adminAccess"] = true }
                result["tolerations"] = option.tolerations
                results.append(result)
            }
            for entry in option.deviceClass.spec["config"].elements {
                config.append([
                    "source": "FromClass", "requests": [.string(option.name)], "opaque": entry["opaque"],
                ])
            }
        }
        let names = Set(
            zip(chosen, requests).filter { $1.claim == claim }.flatMap { choice, request in
                [request.name, request.options[choice.option].name]
            })
        for entry in claims[claim].spec["devices"]["config"].elements {
            let wanted = entry["requests"].elements.compactMap(\.string)
            guard wanted.isEmpty || wanted.contains(where: names.contains) else { continue }
            var own: JSON = ["source": "FromClaim", "opaque": entry["opaque"]]
            own["requests"] = entry["requests"]
            config.append(own)
        }
        var allocation: JSON = ["devices": ["results": .array(results)]]
        if !config.isEmpty { allocation["devices"]["config"] = .array(config) }
        allocation["nodeSelector"] = Self.selector(placements)
        return allocation
    }

    /// The nodes that reach all of the devices; null: every node does.
    static func selector(_ placements: [DeviceInventory.Placement]) -> JSON {
        var (fields, expressions) = ([JSON](), [JSON]())
        for placement in placements {
            switch placement {
            case .node(let name):
                let field: JSON = ["key": "metadata.name", "operator": "In", "values": [.string(name)]]
                if !fields.contains(field) { fields.append(field) }
            case .selector(_, let json):
                let term = json["nodeSelectorTerms"][0]
                for field in term["matchFields"].elements where !fields.contains(field) { fields.append(field) }
                for entry in term["matchExpressions"].elements where !expressions.contains(entry) {
                    expressions.append(entry)
                }
            case .everywhere, .nowhere: break
            }
        }
        if fields.isEmpty, expressions.isEmpty { return .null }
        var term: JSON = [:]
        if !expressions.isEmpty { term["matchExpressions"] = .array(expressions) }
        if !fields.isEmpty { term["matchFields"] = .array(fields) }
        return ["nodeSelectorTerms": [term]]
    }
}

/// One search for one node.
struct DeviceSearch {
    struct Chosen {
        var option: Int
        var devices: [Int]
    }

    private let allocator: DeviceAllocator
    /// The node reaches it, and its pool is as it should be.
    private let isThere: [Bool]
    private var isTaken: [Bool]
    private var left: [Quantity]
    private(set) var chosen: [Chosen] = []
    /// Values of the constraints' attributes, one for each device so far.
    private var values: [[CELValue]]
    private var steps = 0
    private var total = 0

    init(_ allocator: DeviceAllocator, _ node: ClusterState.Node, _ taken: Set<DeviceID>) throws(DeviceError) {
        self.allocator = allocator
        let inventory = allocator.inventory
        isTaken = inventory.devices.map { taken.contains($0.id) }
        left = inventory.counters
        values = allocator.constraints.map { _ in [] }
        var isThere: [Bool] = []
        for device in inventory.devices {
            let pool = inventory.pools[device.pool]
            let isReached = device.placement.reaches(node)
            if isReached, let problem = pool.problem { throw DeviceError("pool \(pool.text) is invalid: \(problem)") }
            isThere.append(isReached && !pool.isIncomplete)
        }
        self.isThere = isThere
        for (i, isTaken) in isTaken.enumerated() where isTaken { count(i, -1) }
        try refuseHalfPools(node)
    }

    /// "All" means nothing while a pool's driver is still telling of it.
    private func refuseHalfPools(_ node: ClusterState.Node) throws(DeviceError) {
        let inventory = allocator.inventory
        for request in allocator.requests {
            for option in request.options where option.count == nil {
                for device in inventory.devices where device.placement.reaches(node) {
                    let (pool, claim) = (inventory.pools[device.pool], allocator.claims[request.claim])
                    guard pool.isIncomplete else { continue }
                    throw DeviceError(
                        "claim \(claim.namespace)/\(claim.name), request \(option.name): asks for all devices, but "
                            + "resource pool \(pool.text) is currently being updated")
                }
            }
        }
    }

    private mutating func count(_ device: Int, _ sign: Int) {
        for (counter, amount) in allocator.inventory.devices[device].consumes {
            left[counter] = sign > 0 ? left[counter] + amount : left[counter] - amount
        }
    }

    /// Meets this request and all after it.
    mutating func meet(_ at: Int) throws(DeviceError) -> Bool {
        guard at < allocator.requests.count else { return true }
        for (i, option) in allocator.requests[at].options.enumerated() {
            // What cannot be judged must not be passed over in silence.
            for device in option.failures.keys.sorted() where isThere[device] {
                throw DeviceError(option.failures[device] ?? "")
            }
            chosen.append(Chosen(option: i, devices: []))
            var wanted = option.count
            if wanted == nil {
                wanted = option.matching.count { isThere[$0] }
                if wanted == 0 { wanted = nil }
            }
            if let wanted, wanted <= DeviceRules.results, try take(wanted, of: option, from: 0, for: at) {
                return true
            }
            chosen.removeLast()
        }
        return false
    }

    /// Takes so many more devices, the first from a place in the option's list on: an order, so that no set comes twice.
    private mutating func take(
        _ count: Int, of option: DeviceOption, from start: Int, for at: Int
    ) throws(DeviceError) -> Bool {
        if count == 0 { return try meet(at + 1) }
        total += 1
        defer { total -= 1 }
        guard total <= DeviceAllocator.depth else {
            throw DeviceError("a pod's claims may ask for \(DeviceAllocator.depth) devices at most")
        }
        var place = start
        while place < option.matching.count {
            let device = option.matching[place]
            place += 1
            guard isThere[device] else { continue }
            steps += 1
            guard steps <= DeviceAllocator.steps else {
                throw DeviceError("the search for devices takes more than \(DeviceAllocator.steps) steps")
            }
            guard enter(device, option, at) else {
                // Of all, none can be left out.
                if option.count == nil { return false }
                continue
            }
            if try take(count - 1, of: option, from: place, for: at) { return true }
            leave(device, option, at)
            if option.count == nil { return false }
        }
        return false
    }

    private mutating func enter(_ device: Int, _ option: DeviceOption, _ at: Int) -> Bool {
        if !option.isAdministrative {
            guard !isTaken[device] else { return false }
            for (counter, amount) in allocator.inventory.devices[device].consumes where left[counter] < amount {
                return false
            }
        }
        let request = allocator.requests[at]
        var found: [(Int, CELValue)] = []
        for (i, constraint) in allocator.constraints.enumerated() where constraint.concerns(request, option) {
            guard let value = attribute(constraint.attribute, of: device) else { return false }
            let isEqual = values[i].contains { $0.equals(value) }
            if constraint.isDistinct ? isEqual : !isEqual && !values[i].isEmpty { return false }
            found.append((i, value))
        }
        for (i, value) in found { values[i].append(value) }
        if !option.isAdministrative {
            isTaken[device] = true
            count(device, -1)
        }
        chosen[chosen.count - 1].devices.append(device)
        return true
    }

    private mutating func leave(_ device: Int, _ option: DeviceOption, _ at: Int) {
        chosen[chosen.count - 1].devices.removeLast()
        if !option.isAdministrative {
            isTaken[device] = false
            count(device, 1)
        }
        let request = allocator.requests[at]
        for (i, constraint) in allocator.constraints.enumerated() where constraint.concerns(request, option) {
            values[i].removeLast()
        }
    }

    /// By its full name; a device may leave out its driver's domain.
    private func attribute(_ name: String, of device: Int) -> CELValue? {
        let (json, driver) = (allocator.inventory.devices[device].json, allocator.inventory.devices[device].id.driver)
        let attributes = json["attributes"]
        if !attributes[name].isNull { return DeviceExpression.attributeValue(attributes[name]) }
        let (domain, id) = DeviceExpression.split(name, driver)
        return domain == driver ? DeviceExpression.attributeValue(attributes[id]) : nil
    }
}
