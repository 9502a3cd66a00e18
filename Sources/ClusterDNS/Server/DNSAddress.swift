import Netlink

/// The cluster DNS address as one of this machine's own, on the loopback interface (which every kernel has): pods' packets
/// to it end here, without translation, and programs of the host reach it too.
package enum DNSAddress {
    /// Idempotent.
    package static func add(_ address: IPAddress, in namespace: NetworkNamespace? = nil) throws(NetlinkError) {
        let route = try RouteSocket(in: namespace)
        let loopback = try interface(route)
        let prefix = IPPrefix(host: address)
        guard try !route.addresses(link: loopback).contains(where: { $0.prefix == prefix }) else { return }
        try route.addAddress(prefix, to: loopback, flags: address.isIPv4 ? [] : .noDuplicateDetection)
    }

    /// Idempotent.
    package static func remove(_ address: IPAddress, in namespace: NetworkNamespace? = nil) throws(NetlinkError) {
        let route = try RouteSocket(in: namespace)
        let loopback = try interface(route)
        let prefix = IPPrefix(host: address)
        guard try route.addresses(link: loopback).contains(where: { $0.prefix == prefix }) else { return }
        try route.deleteAddress(prefix, from: loopback)
    }

    private static func interface(_ route: RouteSocket) throws(NetlinkError) -> Int32 {
        guard let link = try route.link(name: "lo") else { throw NetlinkError(19, "find interface lo") }
        return link.index
    }
}
