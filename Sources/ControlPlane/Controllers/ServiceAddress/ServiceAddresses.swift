internal import Codecs
internal import KubeAPI

/// ServiceCIDR and IPAddress objects: from which networks services get their addresses, and which service has which.
/// Source: KEP-1880, pkg/registry/core/service/ipallocator, pkg/controller/servicecidrs.
enum ServiceAddresses {
    static let cidrs = GroupVersionResource("networking.k8s.io", "v1", "servicecidrs")
    static let addresses = GroupVersionResource("networking.k8s.io", "v1", "ipaddresses")
    static let prefix = "/registry/ipaddresses.networking.k8s.io/"
    static let networkPrefix = "/registry/servicecidrs.networking.k8s.io/"
    static let finalizer = "networking.k8s.io/service-cidr-finalizer"
    private static let managedBy = "ipaddress.kubernetes.io/managed-by"
    private static let allocator = "ipallocator"

    /// Whether an IPAddress is this server's record of a service's address.
    static func isManaged(_ address: KubeObject) -> Bool { address.labels[managedBy] == allocator }

    static func networks(of cidr: KubeObject) -> [IPNetwork] {
        cidr.spec["cidrs"].elements.compactMap { $0.string.flatMap { IPNetwork($0) } }
    }

    /// The networks that addresses may be taken from.
    static func networks(_ cidrs: [KubeObject]) -> [IPNetwork] {
        cidrs.filter { !$0.isBeingDeleted }.flatMap(networks(of:))
    }

    static func defaultNetwork(_ networks: [IPNetwork]) -> KubeObject {
        var object = KubeObject(GroupVersionKind(cidrs.groupVersion, "ServiceCIDR"), name: "kubernetes")
        object.json["spec"] = ["cidrs": .strings(networks.map(\.description))]
        return object
    }

    static func reference(_ service: ObjectKey) -> JSON {
        ["resource": "services", "namespace": .string(service.namespace), "name": .string(service.name)]
    }

    static func record(_ address: IPAddress, of service: ObjectKey) -> KubeObject {
        var object = KubeObject(GroupVersionKind(addresses.groupVersion, "IPAddress"), name: address.description)
        object.labels = [
            managedBy: allocator, "ipaddress.kubernetes.io/ip-family": address.isIPv6 ? "IPv6" : "IPv4",
        ]
        object.json["spec"] = ["parentRef": reference(service)]
        return object
    }
}

/// Addresses for which somebody has made an IPAddress object are not given to services.
struct AddressKeeper: WriteHook {
    let allocator: ServiceAllocator

    func reserve(_ object: inout KubeObject, old: KubeObject?, scope: RequestScope) throws(APIError) -> Reservation {
        guard old == nil, !ServiceAddresses.isManaged(object), let address = IPAddress(object.name) else {
            return .none
        }
        return Reservation(commit: { [allocator] in allocator.keep(address) }, rollback: {})
    }

    func release(_ object: KubeObject) {
        if !ServiceAddresses.isManaged(object), let address = IPAddress(object.name) { allocator.letGo(address) }
    }
}
