internal import Codecs
package import KubeAPI

/// Keeps one IPAddress object for each address that a service has. The allocator knows who has what; the objects follow.
/// Source: pkg/registry/core/service/ipallocator/controller/repairip.go.
package struct ServiceAddressController: Controller {
    package let name = "service-ip-address-controller"
    private let client: any KubeClient
    private let allocator: ServiceAllocator

    package init(client: any KubeClient, allocator: ServiceAllocator) {
        (self.client, self.allocator) = (client, allocator)
    }

    /// Keys without a namespace are addresses, others are services that may have lost one.
    package var sources: [WatchSource] {
        [
            WatchSource(.services) { service, kind in
                let keys = Self.addresses(of: service).map { ObjectKey(name: $0.description) }
                return kind == .modified ? keys + [service.key] : keys
            },
            WatchSource(ServiceAddresses.addresses) { address, _ in
                ServiceAddresses.isManaged(address) ? [address.key] : []
            },
        ]
    }

    private static func addresses(of service: KubeObject) -> [IPAddress] {
        service.spec["clusterIPs"].elements.compactMap { $0.string.flatMap { IPAddress($0) } }
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        guard !key.namespace.isEmpty else {
            if let address = IPAddress(key.name) { try await sync(address) }
            return nil
        }
        let reference = ServiceAddresses.reference(key)
        for item in try await client.list(ServiceAddresses.addresses).items {
            let record = try item.decode()
            guard record.spec["parentRef"] == reference, let address = IPAddress(record.name) else { continue }
            try await sync(address)
        }
        return nil
    }

    private func sync(_ address: IPAddress) async throws(APIError) {
        var owner = allocator.owner(of: address)
        if let key = owner {
            let service = try await client.getIfPresent(.services, namespace: key.namespace, name: key.name)
            if !(service.map { Self.addresses(of: $0).contains(address) } ?? false) { owner = nil }
        }
        let name = address.description
        let known = try await client.getIfPresent(ServiceAddresses.addresses, namespace: "", name: name)
        if let known {
            guard ServiceAddresses.isManaged(known) else { return }
            if let owner, known.spec["parentRef"] == ServiceAddresses.reference(owner) { return }
            try await client.deleteIfPresent(ServiceAddresses.addresses, known)
        }
        guard let owner else { return }
        do throws(APIError) {
            _ = try await client.create(ServiceAddresses.addresses, ServiceAddresses.record(address, of: owner))
        } catch {
            if !error.isAlreadyExists { throw error }
        }
    }
}

/// Makes the networks of ServiceCIDR objects available, and keeps one that is to go as long as services have addresses
/// of it that no other network has. Source: pkg/controller/servicecidrs.
package struct ServiceCIDRController: Controller {
    package let name = "service-cidr-controller"
    private let client: any KubeClient
    private let clock: any KubeClock
    private let allocator: ServiceAllocator
    /// Nobody says when the last address of a network is given back.
    private static let pause: Duration = .seconds(10)

    package init(client: any KubeClient, clock: any KubeClock, allocator: ServiceAllocator) {
        (self.client, self.clock, self.allocator) = (client, clock, allocator)
    }

    package var sources: [WatchSource] { [.own(ServiceAddresses.cidrs)] }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        var all: [KubeObject] = []
        for item in try await client.list(ServiceAddresses.cidrs).items { all.append(try item.decode()) }
        allocator.setNetworks(ServiceAddresses.networks(all))
        guard var cidr = all.first(where: { $0.name == key.name }) else { return nil }
        let isKept = cidr.finalizers.contains(ServiceAddresses.finalizer)
        if cidr.isBeingDeleted {
            guard isKept else { return nil }
            if try await isUsed(cidr, ServiceAddresses.networks(all)) {
                try await setReady(
                    &cidr, "False", "Terminating",
                    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"
                )
                return Self.pause
            }
            cidr.finalizers.removeAll { $0 == ServiceAddresses.finalizer }
            _ = try await client.update(ServiceAddresses.cidrs, cidr)
            return nil
        }
        if !isKept {
            cidr.finalizers.append(ServiceAddresses.finalizer)
            cidr = try await client.update(ServiceAddresses.cidrs, cidr)
        }
        try await setReady(&cidr, "True", "", "Kubernetes Service CIDR is ready")
        return nil
    }

    private func setReady(
        _ cidr: inout KubeObject, _ status: String, _ reason: String, _ message: String
    ) async throws(APIError) {
        let before = cidr.status
        cidr.setCondition("Ready", status: status, reason: reason, message: message, now: clock.now())
        if cidr.status != before { cidr = try await client.updateStatus(ServiceAddresses.cidrs, cidr) }
    }

    private func isUsed(_ cidr: KubeObject, _ others: [IPNetwork]) async throws(APIError) -> Bool {
        let own = ServiceAddresses.networks(of: cidr)
        for item in try await client.list(ServiceAddresses.addresses).items {
            guard let address = IPAddress(try item.decode().name), own.contains(where: { $0.contains(address) }) else {
                continue
            }
            if !others.contains(where: { $0.contains(address) }) { return true }
        }
        return false
    }
}
