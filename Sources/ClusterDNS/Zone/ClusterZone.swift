import Netlink

/// The names of a cluster (Kubernetes DNS specification 1.1): services, their ports and endpoints, pods by address, and
/// the way back from addresses. A value; answers come from what is in it, nothing waits.
///
/// What the specification leaves open follows CoreDNS's kubernetes plugin with `pods insecure`: a headless service
/// without ready endpoints is no name, endpoints have names in all services, namespaces are empty names.
package struct ClusterZone: Sendable {
    package let domain: DNSName
    /// TTL of all records, and of negative answers.
    static let ttl: UInt32 = 5

    /// Where the cluster's name server answers, for `NS` and `ns.dns`.
    private let serverAddresses: [IPAddress]
    private let svc: DNSName
    private let serverName: DNSName
    /// By hash of namespace and name. Two services of the same 64-bit hash (which is seeded anew by each process) would
    /// hide each other; the name is compared, so that no wrong answer comes of it.
    private var services: [UInt64: [UInt8]] = [:]
    private var endpoints: [UInt64: [UInt8]] = [:]
    private var namespaces: Set<[UInt8]> = []
    /// Service by hash of its address; endpoint addresses lead to the first service that has them.
    private var reverse: [UInt64: UInt64] = [:]

    /// - Parameter domain: "cluster.local".
    package init?(domain: String, serverAddresses: [IPAddress]) {
        guard let name = DNSName(domain), !name.isRoot, let svc = name.prepending([Array("svc".utf8)]),
            let server = name.prepending([Array("ns".utf8), Array("dns".utf8)])
        else { return nil }
        (self.domain, self.svc, serverName, self.serverAddresses) = (name, svc, server, serverAddresses)
    }

    package var serviceCount: Int { services.count }
    package var serviceKeys: [(namespace: String, name: String)] { services.values.map { PackedRecords.owner($0) } }

    // MARK: content

    private static func hash(_ namespace: ArraySlice<UInt8>, _ name: ArraySlice<UInt8>) -> UInt64 {
        var hasher = Hasher()
        namespace.withUnsafeBytes { hasher.combine(bytes: $0) }
        hasher.combine(UInt8(0))
        name.withUnsafeBytes { hasher.combine(bytes: $0) }
        // Where Int has 32 bits, two rounds make up the 64.
        let first = UInt64(UInt(bitPattern: hasher.finalize()))
        if UInt.bitWidth == 64 { return first }
        hasher.combine(UInt8(1))
        return first << 32 | UInt64(UInt(bitPattern: hasher.finalize()))
    }
    private static func hash(_ namespace: String, _ name: String) -> UInt64 {
        hash(Array(namespace.utf8)[...], Array(name.utf8)[...])
    }
    private static func hash(_ address: IPAddress) -> UInt64 {
        let bytes = address.bytes
        return hash(bytes[...], bytes[..<0])
    }

    package mutating func set(_ service: DNSService) {
        let key = ClusterZone.hash(service.namespace, service.name)
        if let old = services[key] {
            for address in PackedRecords.service(old).addresses { forget(address, key) }
        }
        services[key] = PackedRecords.encode(service)
        for address in service.addresses { reverse[ClusterZone.hash(address)] = key }
    }

    package mutating func removeService(namespace: String, name: String) {
        let key = ClusterZone.hash(namespace, name)
        guard let old = services.removeValue(forKey: key) else { return }
        for address in PackedRecords.service(old).addresses { forget(address, key) }
    }

    /// The ready endpoints of a service; none forgets them.
    package mutating func set(_ list: [DNSEndpoint], namespace: String, name: String) {
        let key = ClusterZone.hash(namespace, name)
        if let old = endpoints[key] {
            for endpoint in PackedRecords.endpoints(old) { forget(endpoint.address, key) }
        }
        if list.isEmpty {
            endpoints[key] = nil
            return
        }
        endpoints[key] = PackedRecords.encode(list, namespace: namespace, name: name)
        for endpoint in list {
            let hash = ClusterZone.hash(endpoint.address)
            if reverse[hash] == nil { reverse[hash] = key }
        }
    }

    private mutating func forget(_ address: IPAddress, _ key: UInt64) {
        let hash = ClusterZone.hash(address)
        if reverse[hash] == key { reverse[hash] = nil }
    }

    package mutating func setNamespace(_ name: String, exists: Bool) {
        if exists { namespaces.insert(Array(name.utf8)) } else { namespaces.remove(Array(name.utf8)) }
    }

    // MARK: answers

    package struct Answer: Sendable, Equatable {
        package var code: DNSCode = .noError
        package var answers: [DNSRecord] = []
        package var additionals: [DNSRecord] = []
        /// The name leads to one outside: its records are to be looked up and added.
        package var alias: DNSName?
    }

    /// nil: the name is not of the cluster.
    package func answer(_ name: DNSName, _ type: DNSType) -> Answer? {
        guard name.isInside(domain) else { return nil }
        let labels = name.labels(before: domain)
        switch labels.count {
        case 0: return apex(type)
        case 1:
            if labels[0].elementsEqual("dns-version".utf8) {
                return records(type == .txt ? [DNSRecord(name, .txt, ttl: ClusterZone.ttl, .text("1.1.0"))] : [])
            }
            let isKind = ["svc", "pod", "dns"].contains { labels[0].elementsEqual($0.utf8) }
            return Answer(code: isKind ? .noError : .nameError)
        default: break
        }
        if name == serverName { return records(addresses(serverName, serverAddresses, type)) }
        let kind = labels[labels.count - 1]
        let namespace = labels[labels.count - 2]
        if kind.elementsEqual("pod".utf8) { return pod(name, labels, namespace, type) }
        guard kind.elementsEqual("svc".utf8) else { return Answer(code: .nameError) }
        if labels.count == 2 {
            return Answer(code: namespaces.contains(Array(namespace)) ? .noError : .nameError)
        }
        return service(name, Array(labels.dropLast(3)), labels[labels.count - 3], namespace, type)
    }

    /// For negative answers, and of the zone itself.
    package func authority() -> DNSRecord {
        // The serial: nobody transfers the zone, so it need not change.
        DNSRecord(
            domain, .soa, ttl: ClusterZone.ttl,
            .authority(
                primary: serverName, mailbox: domain.prepending([Array("hostmaster".utf8)]) ?? domain,
                numbers: [1, 7200, 1800, 86400, ClusterZone.ttl]))
    }

    private func records(_ list: [DNSRecord]) -> Answer { Answer(answers: list) }

    private func addresses(_ name: DNSName, _ list: [IPAddress], _ type: DNSType) -> [DNSRecord] {
        list.filter { type == .any || (type == .a) == $0.isIPv4 && (type == .a || type == .aaaa) }
            .map { .address(name, ttl: ClusterZone.ttl, $0) }
    }

    private func apex(_ type: DNSType) -> Answer {
        switch type {
        case .soa: return records([authority()])
        case .ns:
            return Answer(
                answers: [DNSRecord(domain, .ns, ttl: ClusterZone.ttl, .name(serverName))],
                additionals: addresses(serverName, serverAddresses, .any))
        default: return Answer()
        }
    }

    /// `10-42-0-5.default.pod`: any address, as long as the namespace exists.
    private func pod(
        _ name: DNSName, _ labels: [ArraySlice<UInt8>], _ namespace: ArraySlice<UInt8>, _ type: DNSType
    ) -> Answer {
        guard namespaces.contains(Array(namespace)), labels.count <= 3 else { return Answer(code: .nameError) }
        guard labels.count == 3 else { return Answer() }
        let text = String(decoding: labels[0], as: UTF8.self)
        guard
            let address = IPAddress(String(text.map { $0 == "-" ? "." : $0 }))
                ?? IPAddress(String(text.map { $0 == "-" ? ":" : $0 }))
        else { return Answer(code: .nameError) }
        return records(addresses(name, [address], type))
    }

    private func find(
        _ table: [UInt64: [UInt8]], _ namespace: ArraySlice<UInt8>, _ name: ArraySlice<UInt8>
    ) -> [UInt8]? {
        guard let packed = table[ClusterZone.hash(namespace, name)], PackedRecords.isOwner(packed, namespace, name)
        else { return nil }
        return packed
    }

    private func service(
        _ qname: DNSName, _ front: [ArraySlice<UInt8>], _ name: ArraySlice<UInt8>, _ namespace: ArraySlice<UInt8>,
        _ type: DNSType
    ) -> Answer {
        guard front.count <= 2, let packed = find(services, namespace, name),
            let base = svc.prepending([Array(name), Array(namespace)])
        else { return Answer(code: .nameError) }
        let service = PackedRecords.service(packed)
        if let external = service.externalName {
            guard front.isEmpty, let target = DNSName(external) else { return Answer(code: .nameError) }
            return Answer(
                answers: [DNSRecord(qname, .cname, ttl: ClusterZone.ttl, .name(target))],
                alias: type == .cname ? nil : target)
        }
        // _port._protocol
        var filter: (port: String, transport: String)?
        if front.count == 2 {
            let parts = front.map { String(decoding: $0, as: UTF8.self) }
            guard parts[0].hasPrefix("_"), parts[1].hasPrefix("_") else { return Answer(code: .nameError) }
            filter = (String(parts[0].dropFirst()), String(parts[1].dropFirst()))
        }
        func matches(_ port: DNSService.Port) -> Bool {
            guard let filter else { return true }
            return port.name == filter.port && port.transport == filter.transport
        }
        if !service.addresses.isEmpty, front.count != 1 {
            let ports = service.ports.filter(matches)
            if filter != nil, ports.isEmpty { return Answer(code: .nameError) }
            guard type == .srv else { return records(filter == nil ? addresses(qname, service.addresses, type) : []) }
            return serviceRecords(
                qname, ports.map { ($0.port, base) }, hosts: [(base, service.addresses)], count: ports.count)
        }
        var list = find(endpoints, namespace, name).map(PackedRecords.endpoints) ?? []
        if front.count == 1 {
            list = list.filter { front[0].elementsEqual($0.label.utf8) }
        } else {
            list = list.filter { filter == nil || $0.ports.contains(where: matches) }
        }
        if list.isEmpty { return Answer(code: .nameError) }
        guard type == .srv else { return records(filter == nil ? addresses(qname, list.map(\.address), type) : []) }
        var targets: [(UInt16, DNSName)] = []
        var hosts: [(DNSName, [IPAddress])] = []
        for endpoint in list {
            guard let target = base.prepending([Array(endpoint.label.utf8)]) else { continue }
            for port in endpoint.ports where matches(port) { targets.append((port.port, target)) }
            hosts.append((target, [endpoint.address]))
        }
        return serviceRecords(qname, targets, hosts: hosts, count: targets.count)
    }

    private func serviceRecords(
        _ name: DNSName, _ targets: [(UInt16, DNSName)], hosts: [(DNSName, [IPAddress])], count: Int
    ) -> Answer {
        let weight = UInt16(max(1, 100 / max(1, count)))
        var answer = Answer()
        for (port, target) in targets {
            answer.answers.append(
                DNSRecord(
                    name, .srv, ttl: ClusterZone.ttl,
                    .service(priority: 0, weight: weight, port: port, target: target)))
        }
        for (host, list) in hosts { answer.additionals += addresses(host, list, .any) }
        return answer
    }

    // MARK: reverse

    /// The name of an address of the cluster: of its service, or of an endpoint in a service.
    package func name(of address: IPAddress) -> DNSName? {
        guard let key = reverse[ClusterZone.hash(address)] else { return nil }
        if let packed = services[key] {
            let service = PackedRecords.service(packed)
            if service.addresses.contains(address) {
                return svc.prepending([Array(service.name.utf8), Array(service.namespace.utf8)])
            }
        }
        guard let packed = endpoints[key],
            let endpoint = PackedRecords.endpoints(packed).first(where: { $0.address == address })
        else { return nil }
        let owner = PackedRecords.owner(packed)
        return svc.prepending([Array(endpoint.label.utf8), Array(owner.name.utf8), Array(owner.namespace.utf8)])
    }
}

extension DNSName {
    private static let ipv4Reverse = DNSName(unchecked: Array("\u{7}in-addr\u{4}arpa\u{0}".utf8))
    private static let ipv6Reverse = DNSName(unchecked: Array("\u{3}ip6\u{4}arpa\u{0}".utf8))

    /// The address that a name below in-addr.arpa or ip6.arpa stands for.
    package var reverseAddress: IPAddress? {
        if isInside(.ipv4Reverse) {
            let parts = labels(before: .ipv4Reverse)
            guard parts.count == 4 else { return nil }
            return IPAddress(parts.reversed().map { String(decoding: $0, as: UTF8.self) }.joined(separator: "."))
        }
        guard isInside(.ipv6Reverse) else { return nil }
        let parts = labels(before: .ipv6Reverse)
        guard parts.count == 32 else { return nil }
        var bytes = [UInt8](repeating: 0, count: 16)
        for (index, part) in parts.reversed().enumerated() {
            guard part.count == 1, let digit = part.first.flatMap({ Character(UnicodeScalar($0)).hexDigitValue })
            else { return nil }
            bytes[index / 2] |= UInt8(digit) << (index % 2 == 0 ? 4 : 0)
        }
        return IPAddress(bytes: bytes)
    }
}
