internal import Codecs
internal import KubeAPI

/// Which devices are somebody's: told by the claims' events, and before them by the scheduler's own decisions.
struct DeviceUse: Sendable {
    /// By the claim's UID. Administrators' devices are not taken.
    private(set) var allocated: [String: [DeviceID]] = [:]
    /// Decided, and not written yet or not heard of yet.
    private var pending: [String: (devices: [DeviceID], revision: Int64?)] = [:]

    static func devices(of allocation: JSON) -> [DeviceID] {
        allocation["devices"]["results"].elements.filter { $0["adminAccess"].bool != true }.map { DeviceID($0) }
    }

    mutating func update(_ claim: KubeObject, deleted: Bool) {
        let allocation = claim.status["allocation"]
        let isNull = deleted || allocation.isNull
        allocated[claim.uid] = isNull ? nil : Self.devices(of: allocation)
        // What was written may have been taken back before its event came.
        let isHeard = pending[claim.uid]?.revision.map { $0 <= claim.resourceVersion } ?? false
        if deleted || !isNull || isHeard { pending[claim.uid] = nil }
    }

    /// A list of all claims follows, younger than anything that was written.
    mutating func forget() {
        allocated = [:]
        pending = pending.filter { $0.value.revision == nil }
    }

    mutating func decide(_ claim: KubeObject, _ allocation: JSON) {
        pending[claim.uid] = (Self.devices(of: allocation), nil)
    }
    mutating func wrote(_ claim: KubeObject) { pending[claim.uid]?.revision = claim.resourceVersion }
    mutating func withdraw(_ claim: KubeObject) { pending[claim.uid] = nil }

    func isAllocated(_ claim: KubeObject) -> Bool { pending[claim.uid] != nil || allocated[claim.uid] != nil }

    var taken: Set<DeviceID> {
        var all: Set<DeviceID> = []
        for list in allocated.values { all.formUnion(list) }
        for entry in pending.values { all.formUnion(entry.devices) }
        return all
    }
}

/// What a pod's ResourceClaims mean for the choice of a node: read from the API for each attempt, as few pods have any.
/// Source: pkg/scheduler/framework/plugins/dynamicresources.
struct DeviceNeeds: Sendable {
    /// No node will do, whichever it is.
    var failure: String?
    /// A claim has not been made yet: no news for anybody.
    var isEarly = false
    var claims: [KubeObject] = []
    /// Nodes where claims that have their devices are: by claim.
    var selectors: [[NodeSelection.Term]?] = []
    /// For the others.
    var allocator: DeviceAllocator?
    private var taken: Set<DeviceID> = []

    var isEmpty: Bool { claims.isEmpty && failure == nil }

    /// Looks at what is taken at this moment; returns why the pod has to wait.
    mutating func settle(_ use: DeviceUse) -> String? {
        if let failure { return failure }
        for claim in allocator?.claims ?? [] where use.isAllocated(claim) {
            return "resource claim \(claim.namespace)/\(claim.name) is in the process of being allocated"
        }
        if allocator != nil { taken = use.taken }
        return nil
    }

    /// nil: the node has, or can get, what the claims ask for.
    func refusal(of node: ClusterState.Node) -> Refusal? {
        for case let terms? in selectors where !terms.contains(where: { $0.matches(node) }) {
            return Refusal(.devices, Self.unavailable)
        }
        guard let allocator else { return nil }
        do throws(DeviceError) {
            if try allocator.allocate(node, taken: taken) != nil { return nil }
            return Refusal(.devices, "cannot allocate all claims")
        } catch {
            return Refusal(.devices, error.message)
        }
    }
    static let unavailable = "resourceclaim not available on the node"

    /// What the claims get on a node: for each that has nothing yet.
    func plan(for node: ClusterState.Node) -> [(claim: KubeObject, allocation: JSON)] {
        guard let allocator, let found = try? allocator.allocate(node, taken: taken) else { return [] }
        return zip(allocator.claims, found).map { ($0, $1) }
    }
}

extension DeviceNeeds {
    /// Most pods that a claim is reserved for.
    private static let consumers = 256

    /// Reads the claims of a pod, and for those without devices their classes and all that drivers tell of.
    static func read(_ pod: KubeObject, _ client: any KubeClient) async throws(APIError) -> DeviceNeeds {
        var needs = DeviceNeeds()
        var open: [KubeObject] = []
        for entry in pod.spec["resourceClaims"].elements {
            let (name, isGenerated): (String, Bool)
            switch pod.resourceClaim(of: entry) {
            case .named(let claim, let made): (name, isGenerated) = (claim, made)
            case .none: continue
            case .missing:
                needs.failure = "pod \"\(pod.namespace)/\(pod.name)\": ResourceClaim not created yet"
                needs.isEarly = true
                return needs
            }
            guard let claim = try await client.getIfPresent(.resourceClaims, namespace: pod.namespace, name: name)
            else {
                needs.failure = "resourceclaim.resource.k8s.io \"\(name)\" not found"
                return needs
            }
            if claim.isBeingDeleted {
                needs.failure = "resourceclaim \"\(name)\" is being deleted"
                return needs
            }
            if isGenerated, let problem = pod.ownershipProblem(of: claim) {
                needs.failure = problem
                return needs
            }
            if needs.claims.contains(where: { $0.uid == claim.uid }) { continue }
            needs.claims.append(claim)
            let allocation = claim.status["allocation"]
            if allocation.isNull {
                open.append(claim)
                continue
            }
            if claim.status["reservedFor"].elements.count >= consumers, !claim.isReserved(for: pod) {
                needs.failure = "resourceclaim in use"
                return needs
            }
            let selector = allocation["nodeSelector"]
            needs.selectors.append(
                selector.isNull ? nil : selector["nodeSelectorTerms"].elements.map(NodeSelection.Term.init))
        }
        guard !open.isEmpty else { return needs }
        var classes: [String: KubeObject] = [:]
        for name in Set(open.flatMap(classNames)) {
            classes[name] = try await client.getIfPresent(.deviceClasses, namespace: "", name: name)
        }
        let slices = try await client.list(.resourceSlices).decoded()
        do throws(DeviceError) {
            needs.allocator = try make(open, classes, slices)
        } catch { needs.failure = error.message }
        return needs
    }

    private static func classNames(_ claim: KubeObject) -> [String] {
        claim.spec["devices"]["requests"].elements.flatMap { request in
            ([request["exactly"]] + request["firstAvailable"].elements).compactMap { $0["deviceClassName"].string }
        }
    }

    /// Everything that does not depend on a node.
    static func make(
        _ claims: [KubeObject], _ classes: [String: KubeObject], _ slices: [KubeObject]
    ) throws(DeviceError) -> DeviceAllocator {
        let inventory = DeviceInventory(slices)
        let values = inventory.devices.map { try? DeviceExpression.value(of: $0.json, driver: $0.id.driver) }
        var (requests, constraints) = ([DeviceRequest](), [DeviceConstraint]())
        for (i, claim) in claims.enumerated() {
            for json in claim.spec["devices"]["requests"].elements {
                let name = json["name"].string ?? ""
                var ways: [(name: String, json: JSON)] = []
                if !json["exactly"].isNull { ways.append((name, json["exactly"])) }
                for way in json["firstAvailable"].elements { ways.append(("\(name)/\(way["name"].string ?? "")", way)) }
                if ways.isEmpty {
                    throw DeviceError(
                        "claim \(claim.namespace)/\(claim.name), request \(name): unsupported request type")
                }
                var request = DeviceRequest(claim: i, name: name, options: [])
                for way in ways {
                    let className = way.json["deviceClassName"].string ?? ""
                    guard let deviceClass = classes[className] else {
                        throw DeviceError("request \(way.name): device class \(className) does not exist")
                    }
                    var option = try DeviceOption(way.json, name: way.name, deviceClass: deviceClass, claim: claim)
                    try option.match(way.json, inventory, values, claim)
                    request.options.append(option)
                }
                requests.append(request)
            }
            for json in claim.spec["devices"]["constraints"].elements {
                if let constraint = DeviceConstraint(json, claim: i) { constraints.append(constraint) }
            }
        }
        return DeviceAllocator(inventory: inventory, claims: claims, requests: requests, constraints: constraints)
    }
}
