internal import Codecs
package import KubeAPI
import Synchronization

/// Gives services their cluster addresses and node ports, each to one service only.
///
/// What is taken is derived from the stored services at start and then kept in memory: there is no second record on disk
/// that a crash could leave behind. A write sets its addresses aside before it reaches the store and gives them back if
/// it fails, so that concurrent creations never collide.
/// Source: pkg/registry/core/service/storage/alloc.go.
package final class ServiceAllocator: WriteHook {
    private struct State {
        /// Each with the service that has it.
        var addresses: [IPAddress: ObjectKey] = [:]
        var ports: Set<UInt16> = []
        /// Addresses that IPAddress objects of others keep.
        var kept: Set<IPAddress> = []
        /// Networks of ServiceCIDR objects.
        var more: [IPNetwork] = []

        func isFree(_ address: IPAddress) -> Bool { addresses[address] == nil && !kept.contains(address) }
        mutating func release(_ holdings: Set<IPAddress>, of owner: ObjectKey) {
            for address in holdings where addresses[address] == owner { addresses[address] = nil }
        }
    }
    private let networks: [IPNetwork]
    private let portRange: ClosedRange<UInt16>
    private let state = Mutex(State())

    /// - Parameter networks: the first is the primary family's.
    init(networks: [IPNetwork], portRange: ClosedRange<UInt16>) {
        (self.networks, self.portRange) = (networks, portRange)
    }

    /// Takes what a stored service has.
    func adopt(_ service: KubeObject) {
        let holdings = Holdings(service)
        state.withLock { state in
            for address in holdings.addresses { state.addresses[address] = service.key }
            state.ports.formUnion(holdings.ports)
        }
    }

    // MARK: - Objects of the API

    /// Networks beside the configured ones.
    func setNetworks(_ networks: [IPNetwork]) {
        state.withLock { $0.more = networks.filter { !self.networks.contains($0) } }
    }

    func keep(_ address: IPAddress) { _ = state.withLock { $0.kept.insert(address) } }
    func letGo(_ address: IPAddress) { _ = state.withLock { $0.kept.remove(address) } }
    func owner(of address: IPAddress) -> ObjectKey? { state.withLock { $0.addresses[address] } }

    package func release(_ object: KubeObject) {
        let holdings = Holdings(object)
        state.withLock { state in
            state.release(holdings.addresses, of: object.key)
            state.ports.subtract(holdings.ports)
        }
    }

    /// What a service occupies.
    private struct Holdings {
        var addresses: Set<IPAddress> = []
        var ports: Set<UInt16> = []

        init() {}
        init(_ service: KubeObject) {
            let spec = service.spec
            var list = spec["clusterIPs"].elements
            if list.isEmpty { list = [spec["clusterIP"]] }
            addresses = Set(list.compactMap { $0.string.flatMap { IPAddress($0) } })
            for port in spec["ports"].elements + [["nodePort": spec["healthCheckNodePort"]]] {
                if let number = port["nodePort"].int, number > 0, let port = UInt16(exactly: number) {
                    ports.insert(port)
                }
            }
        }
    }

    // MARK: - Reservation

    package func reserve(
        _ object: inout KubeObject, old: KubeObject?, scope: RequestScope
    ) throws(APIError) -> Reservation {
        let before = old.map { Holdings($0) } ?? Holdings()
        if let old { keepAllocated(&object, old) }
        var errors: [FieldError] = []
        ServiceFamilies.complete(
            &object, old: old, configured: networks.map { $0.base.isIPv6 ? "IPv6" : "IPv4" }, &errors)
        if !errors.isEmpty { throw .invalid(GroupVersionKind(.core, "Service"), object.name, errors) }
        // The lock is held while the object is filled in, which is short and waits for nothing.
        let fresh = state.withLock { state in
            var fresh = Holdings()
            assignAddresses(&object, before, &state, &fresh, &errors)
            if errors.isEmpty { assignPorts(&object, before, &state, &fresh, &errors) }
            if !errors.isEmpty {
                state.release(fresh.addresses, of: object.key)
                state.ports.subtract(fresh.ports)
            }
            return fresh
        }
        if !errors.isEmpty { throw .invalid(GroupVersionKind(.core, "Service"), object.name, errors) }
        let after = Holdings(object)
        let key = object.key
        return Reservation(
            commit: { [self] in
                let gone = before.addresses.subtracting(after.addresses)
                let free = before.ports.subtracting(after.ports)
                if gone.isEmpty, free.isEmpty { return }
                state.withLock { state in
                    state.release(gone, of: key)
                    state.ports.subtract(free)
                }
            },
            rollback: { [self] in
                state.withLock { state in
                    state.release(fresh.addresses, of: key)
                    state.ports.subtract(fresh.ports)
                }
            })
    }

    /// An update that leaves out what was allocated means to keep it.
    private func keepAllocated(_ object: inout KubeObject, _ old: KubeObject) {
        let type = object.spec["type"].string ?? ""
        if type == "ExternalName" {
            // Coming from another type, what was allocated goes, unless the client changed it itself.
            for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"]
            where object.spec[key] == old.spec[key] { object.json["spec"][key] = .null }
            return
        }
        if old.spec["type"].string != "ExternalName" {
            for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] where object.spec[key].isNull {
                object.json["spec"][key] = old.spec[key]
            }
        }
        let needsPorts = type == "NodePort" || type == "LoadBalancer"
        var ports = object.spec["ports"].elements
        let known = old.spec["ports"].elements
        for i in ports.indices {
            let match = known.first {
                $0["port"] == ports[i]["port"] && $0["protocol"] == ports[i]["protocol"]
                    || !$0["name"].isNull && $0["name"] == ports[i]["name"]
            }
            let node = match?["nodePort"] ?? .null
            if needsPorts, (ports[i]["nodePort"].int ?? 0) == 0, node.int ?? 0 > 0 {
                ports[i]["nodePort"] = node
            } else if !needsPorts, ports[i]["nodePort"] == node {
                // A type that has no node ports lets go of them.
                ports[i]["nodePort"] = .null
            }
        }
        if !ports.isEmpty { object.json["spec"]["ports"] = .array(ports) }
        if needsHealthPort(object.spec) {
            if object.spec["healthCheckNodePort"].isNull {
                object.json["spec"]["healthCheckNodePort"] = old.spec["healthCheckNodePort"]
            }
        } else if object.spec["healthCheckNodePort"] == old.spec["healthCheckNodePort"] {
            object.json["spec"]["healthCheckNodePort"] = .null
        }
        if !needsPorts, object.spec["externalIPs"].elements.isEmpty,
            object.spec["externalTrafficPolicy"] == old.spec["externalTrafficPolicy"]
        {
            object.json["spec"]["externalTrafficPolicy"] = .null
        }
        if type != "LoadBalancer",
            object.spec["allocateLoadBalancerNodePorts"] == old.spec["allocateLoadBalancerNodePorts"]
        {
            object.json["spec"]["allocateLoadBalancerNodePorts"] = .null
        }
    }

    // MARK: - Addresses

    private func assignAddresses(
        _ object: inout KubeObject, _ before: Holdings, _ state: inout State, _ fresh: inout Holdings,
        _ errors: inout [FieldError]
    ) {
        guard object.spec["type"].string != "ExternalName" else { return }
        let given = object.spec["clusterIPs"].elements.compactMap(\.string)
        guard given != ["None"] else { return }
        let chosen = object.spec["ipFamilies"].elements.compactMap { family in
            networks.first { $0.base.isIPv6 == (family.string == "IPv6") }
        }
        var addresses: [String] = []
        for (i, network) in chosen.enumerated() {
            if i < given.count {
                guard let address = IPAddress(given[i]) else { return }
                if !before.addresses.contains(address) {
                    if let problem = take(address, object.key, &state) {
                        errors.append(
                            .invalid(
                                "spec.clusterIPs", .strings(given), "failed to allocate IP \(given[i]): \(problem)"))
                        return
                    }
                    fresh.addresses.insert(address)
                }
                addresses.append(given[i])
            } else if let address = free(network, state) {
                state.addresses[address] = object.key
                fresh.addresses.insert(address)
                addresses.append(address.description)
            } else {
                errors.append(
                    .init(
                        .internalError, "spec.clusterIPs",
                        "Internal error: failed to allocate a serviceIP: range is full"))
                return
            }
        }
        object.json["spec"]["clusterIP"] = addresses.first.map(JSON.string) ?? .null
        object.json["spec"]["clusterIPs"] = .strings(addresses)
    }

    private func take(_ address: IPAddress, _ owner: ObjectKey, _ state: inout State) -> String? {
        guard (networks + state.more).contains(where: { $0.contains(address) }) else {
            let ranges = (networks + state.more).map(\.description).joined(separator: ",")
            return "the provided IP (\(address)) is not in the valid range. The range of valid IPs is \(ranges)"
        }
        guard state.isFree(address) else { return "provided IP is already allocated" }
        state.addresses[address] = owner
        return nil
    }

    /// From the configured network, and when that is full from those that were added.
    private func free(_ network: IPNetwork, _ state: State) -> IPAddress? {
        for candidate in [network] + state.more where candidate.base.isIPv6 == network.base.isIPv6 {
            if let address = free(within: candidate, state) { return address }
        }
        return nil
    }

    /// From the upper part of the range first: the lower one is left to those who ask for an address (KEP-3070).
    private func free(within network: IPNetwork, _ state: State) -> IPAddress? {
        // Neither the network's own address nor, in IPv4, the broadcast address.
        let last = network.size - (network.base.isIPv6 ? 1 : 2)
        guard network.size > 3 else { return nil }
        let band = min(max(16, network.size / 16), 256)
        let lower: ClosedRange<UInt128> = 1...min(band, last)
        if band < last, let address = free(network, in: (band + 1)...last, state) { return address }
        return free(network, in: lower, state)
    }

    private func free(_ network: IPNetwork, in offsets: ClosedRange<UInt128>, _ state: State) -> IPAddress? {
        let count = offsets.upperBound - offsets.lowerBound + 1
        let start = UInt128(UInt64.random(in: 0...UInt64.max)) % count
        // No range can be fuller than the set of what is taken.
        let tries = min(count, UInt128(state.addresses.count + state.kept.count) + 1)
        for i in 0..<tries {
            let address = network.address(at: offsets.lowerBound + (start + i) % count)
            if state.isFree(address) { return address }
        }
        return nil
    }

    // MARK: - Ports

    private func needsHealthPort(_ spec: JSON) -> Bool {
        spec["type"].string == "LoadBalancer" && spec["externalTrafficPolicy"].string == "Local"
    }

    private func assignPorts(
        _ object: inout KubeObject, _ before: Holdings, _ state: inout State, _ fresh: inout Holdings,
        _ errors: inout [FieldError]
    ) {
        let type = object.spec["type"].string ?? ""
        let wants =
            type == "NodePort"
            || type == "LoadBalancer" && object.spec["allocateLoadBalancerNodePorts"].bool != false
        var ports = object.spec["ports"].elements
        guard type == "NodePort" || type == "LoadBalancer" else { return }
        // One number may serve several protocols of a service.
        var own: [UInt16: Set<String>] = [:]
        for i in ports.indices {
            guard let number = ports[i]["nodePort"].int, number != 0 else { continue }
            if let problem = take(number, before, &state, &fresh, own) {
                errors.append(.invalid("spec.ports[\(i)].nodePort", .int(number), problem))
                continue
            }
            own[UInt16(truncatingIfNeeded: number), default: []].insert(ports[i]["protocol"].string ?? "")
        }
        for i in ports.indices where wants && (ports[i]["nodePort"].int ?? 0) == 0 {
            let proto = ports[i]["protocol"].string ?? ""
            let shared = ports.first { $0["port"] == ports[i]["port"] && ($0["nodePort"].int ?? 0) != 0 }
                .flatMap { $0["nodePort"].int }.flatMap { UInt16(exactly: $0) }
            if let shared, own[shared]?.contains(proto) == false {
                ports[i]["nodePort"] = .int(Int64(shared))
                own[shared]?.insert(proto)
            } else if let port = freePort(&state, &fresh) {
                ports[i]["nodePort"] = .int(Int64(port))
                own[port] = [proto]
            } else {
                errors.append(
                    .init(
                        .internalError, "spec.ports[\(i)].nodePort",
                        "Internal error: failed to allocate a nodePort: range is full"))
                return
            }
        }
        if !ports.isEmpty { object.json["spec"]["ports"] = .array(ports) }
        guard needsHealthPort(object.spec) else { return }
        let asked = object.spec["healthCheckNodePort"].int ?? 0
        if asked != 0 {
            if let problem = take(asked, before, &state, &fresh, [:]) {
                errors.append(.invalid("spec.healthCheckNodePort", .int(asked), problem))
            }
        } else if let port = freePort(&state, &fresh) {
            object.json["spec"]["healthCheckNodePort"] = .int(Int64(port))
        }
    }

    private func take(
        _ number: Int64, _ before: Holdings, _ state: inout State, _ fresh: inout Holdings, _ own: [UInt16: Set<String>]
    ) -> String? {
        guard let port = UInt16(exactly: number), portRange.contains(port) else {
            return "provided port is not in the valid range. The range of valid ports is "
                + "\(portRange.lowerBound)-\(portRange.upperBound)"
        }
        if before.ports.contains(port) || own[port] != nil { return nil }
        if !state.ports.insert(port).inserted { return "provided port is already allocated" }
        fresh.ports.insert(port)
        return nil
    }

    private func freePort(_ state: inout State, _ fresh: inout Holdings) -> UInt16? {
        let count = Int(portRange.upperBound - portRange.lowerBound) + 1
        let start = Int.random(in: 0..<count)
        for i in 0..<count {
            let port = portRange.lowerBound + UInt16((start + i) % count)
            if state.ports.insert(port).inserted {
                fresh.ports.insert(port)
                return port
            }
        }
        return nil
    }
}
