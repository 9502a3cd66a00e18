import Codecs
import Linux
import Netlink

/// The tunnels' devices.
extension NetworkBackend {
    struct Devices {
        var devices: [AddressFamily: Int32] = [:]
        var tunnels: [AddressFamily: NetworkNode.Tunnel] = [:]
    }

    /// The interface towards the other nodes: the one that is named, or that has the node's address, or the default route.
    static func findUplink(
        _ configuration: BackendConfiguration, _ route: RouteSocket
    ) throws(PodNetworkError) -> HostAddress.Interface {
        let found = try kernel("find the interface to other nodes") { () throws(NetlinkError) in
            if let name = configuration.interface { return try HostAddress.interface(named: name, route) }
            if let address = configuration.nodeIPs.first,
                let owner = try HostAddress.interface(with: address, route)
            {
                return owner
            }
            return try HostAddress.defaultInterface(route)
        }
        if let found { return found }
        if let name = configuration.interface {
            throw PodNetworkError(.invalid, "--flannel-iface: there is no interface \"\(name)\"")
        }
        throw PodNetworkError(
            .invalid, "no default route found: name the interface to the other nodes with --flannel-iface")
    }

    static func localAddress(
        _ configuration: BackendConfiguration, _ uplink: HostAddress.Interface, _ family: AddressFamily
    ) throws(PodNetworkError) -> IPAddress {
        let onInterface = (family == .ipv4 ? uplink.ipv4 : uplink.ipv6).map(\.address)
        // The node's address, if it is on that interface: with --flannel-iface it need not be.
        if let address = configuration.nodeIPs.first(where: { $0.family == family }),
            configuration.interface == nil || onInterface.contains(address)
        {
            return address
        }
        guard let address = onInterface.first else {
            throw PodNetworkError(
                .invalid,
                "pods have \(family) addresses (--cluster-cidr), but interface \(uplink.name) has none to reach other nodes: "
                    + "add one, or name another interface with --flannel-iface")
        }
        return address
    }

    /// Removes the devices, and the subnet file, that an earlier process made for another backend or configuration.
    static func removeOtherDevices(
        _ configuration: BackendConfiguration, _ podCIDRs: [IPPrefix], _ route: RouteSocket
    ) throws(PodNetworkError) {
        var wanted = podCIDRs.compactMap { configuration.deviceName($0.family) }
        if configuration.kind != .none, let file = configuration.subnetFile { wanted.append(file) }
        let recorded: [UInt8]?
        do throws(SysError) {
            recorded = try Files.readIfPresent(configuration.stateFile, limit: 4096)
        } catch { throw PodNetworkError("read the names of tunnels", error) }
        let stale = String(decoding: recorded ?? [], as: UTF8.self).split(separator: "\n").map(String.init).filter {
            !wanted.contains($0)
        }
        // The only lines with a slash, which no interface has in its name.
        for file in stale where file.hasPrefix("/") { try? Files.remove(file) }
        try kernel("remove tunnels of another backend") { () throws(NetlinkError) in
            for line in stale where !line.hasPrefix("/") {
                guard let link = try route.link(name: line), link.kind == "vxlan" || link.kind == "wireguard"
                else { continue }
                try route.deleteLink(link.index)
            }
            for family in AddressFamily.allCases
            where !podCIDRs.contains(where: { $0.family == family })
                || configuration.kind == .none
            {
                for stale in try route.routes(family: family) where stale.origin == ForwardingPlan.origin {
                    try route.deleteRoute(stale)
                }
            }
        }
        do throws(SysError) {
            try Directories.make(Path.parent(configuration.stateFile), mode: 0o755)
            if wanted.isEmpty {
                try Files.remove(configuration.stateFile)
            } else {
                try Files.writeAtomically(
                    configuration.stateFile, wanted.joined(separator: "\n") + "\n", mode: 0o600, sync: false)
            }
        } catch { throw PodNetworkError("write the names of tunnels", error) }
    }

    static func makeDevices(
        _ configuration: BackendConfiguration, _ podCIDRs: [IPPrefix], _ uplink: HostAddress.Interface, _ outer: UInt32,
        _ earlier: NetworkNode, _ route: RouteSocket, _ namespace: NetworkNamespace
    ) throws(PodNetworkError) -> Devices {
        var made = Devices()
        for range in podCIDRs {
            let family = range.family
            guard let name = configuration.deviceName(family) else { continue }
            let local = try localAddress(configuration, uplink, family)
            let mtu = max(1280, outer - min(outer, configuration.overhead(family)))
            let link: Link
            switch configuration.kind {
            case .vxlan:
                let settings = VXLANSettings(
                    identifier: configuration.vni, port: configuration.port(family), local: local, device: uplink.index)
                let mac = earlier.tunnels[family]?.mac
                link = try kernel("set up \(name)") { () throws(NetlinkError) in
                    try vxlan(name, settings, mac: mac, mtu: mtu, route)
                }
                made.tunnels[family] = NetworkNode.Tunnel(vni: configuration.vni, mac: link.mac)
            default:
                let key = try WireGuardKeyFile.loadOrMake(configuration.keyFile)
                let (device, publicKey) = try kernel("set up \(name)") { () throws(NetlinkError) in
                    try wireGuard(name, key, port: configuration.port(family), mtu: mtu, route, namespace)
                }
                link = device
                made.tunnels[family] = NetworkNode.Tunnel(publicKey: publicKey)
            }
            made.devices[family] = link.index
            try kernel("set up \(name)") { () throws(NetlinkError) in
                if family == .ipv6 {
                    try namespace.run { () throws(NetlinkError) in
                        try Sysctl.set("net/ipv6/conf/\(name)/disable_ipv6", "0")
                        try Sysctl.set("net/ipv6/conf/\(name)/accept_ra", "0")
                        try Sysctl.set("net/ipv6/conf/\(name)/accept_dad", "0")
                    }
                }
                // One address, the range's own: what the node sends to pods elsewhere comes from it.
                let own = IPPrefix(host: range.network)
                let present = try route.addresses(link: link.index).filter { !$0.prefix.address.isLinkLocal }.map(
                    \.prefix)
                for prefix in present where prefix != own { try route.deleteAddress(prefix, from: link.index) }
                if !present.contains(own) {
                    try route.addAddress(own, to: link.index, flags: family == .ipv6 ? .noDuplicateDetection : [])
                }
                if !link.isUp { try route.setLink(link.index, LinkChange(isUp: true)) }
            }
        }
        return made
    }

    /// An existing device that fits is kept, with its entries: packets go on through a restart.
    private static func vxlan(
        _ name: String, _ settings: VXLANSettings, mac: MACAddress?, mtu: UInt32, _ route: RouteSocket
    ) throws(NetlinkError) -> Link {
        if let existing = try route.link(name: name) {
            if existing.kind == "vxlan", existing.vxlan == settings {
                let change = LinkChange(
                    mtu: existing.mtu == mtu ? nil : mtu, mac: mac == nil || existing.mac == mac ? nil : mac)
                if change.mtu != nil || change.mac != nil { try route.setLink(existing.index, change) }
                guard let link = try route.link(existing.index) else { throw NetlinkError(ENODEV, "find \(name)") }
                return link
            }
            guard existing.kind == "vxlan" else {
                throw NetlinkError(
                    EEXIST, "add vxlan link \"\(name)\"",
                    hint: "an interface of that name exists and is no vxlan; remove or rename it")
            }
            try route.deleteLink(existing.index)
        }
        do throws(NetlinkError) {
            try route.addLink(LinkSpec(name, .vxlan(settings), mtu: mtu, mac: mac ?? randomMAC()))
        } catch {
            var error = error
            if error.isExisting {
                error.hint =
                    "another vxlan device has VNI \(settings.identifier) and port \(settings.port) (ip -d link show type "
                    + "vxlan): remove it, or set Backend.VNI with --flannel-conf"
            }
            throw error
        }
        guard let link = try route.link(name: name) else { throw NetlinkError(ENODEV, "find \(name)") }
        return link
    }

    /// Locally administered, unicast.
    private static func randomMAC() -> MACAddress {
        MACAddress(value: UInt64.random(in: 0...0xffff_ffff_ffff) & 0xfcff_ffff_ffff | 0x0200_0000_0000)
    }

    private static func wireGuard(
        _ name: String, _ key: WireGuardKey, port: UInt16, mtu: UInt32, _ route: RouteSocket,
        _ namespace: NetworkNamespace
    ) throws(NetlinkError) -> (Link, WireGuardKey?) {
        if let existing = try route.link(name: name), existing.kind != "wireguard" {
            throw NetlinkError(
                EEXIST, "add wireguard link \"\(name)\"",
                hint: "an interface of that name exists and is no WireGuard device; remove or rename it")
        }
        if try route.link(name: name) == nil {
            do throws(NetlinkError) { try route.addLink(LinkSpec(name, .other("wireguard"), mtu: mtu)) } catch {
                var error = error
                if error.isUnsupported {
                    error.hint =
                        "--flannel-backend=wireguard-native needs CONFIG_WIREGUARD (modprobe wireguard); vxlan does not"
                }
                throw error
            }
        }
        guard let link = try route.link(name: name) else { throw NetlinkError(ENODEV, "find \(name)") }
        if link.mtu != mtu { try route.setLink(link.index, LinkChange(mtu: mtu)) }
        let socket = try WireGuardSocket(in: namespace)
        try socket.configure(link.index, privateKey: key, port: port)
        return (link, try socket.device(link.index)?.publicKey)
    }
}

/// The node's WireGuard key, where flannel keeps it: base64 in a file that only root reads.
enum WireGuardKeyFile {
    static func loadOrMake(_ path: String) throws(PodNetworkError) -> WireGuardKey {
        let bytes: [UInt8]?
        do throws(SysError) { bytes = try Files.readIfPresent(path, limit: 4096) } catch {
            throw PodNetworkError("read \(path)", error)
        }
        if let bytes {
            let text = String(decoding: bytes.filter { $0 > 0x20 }, as: UTF8.self)
            guard let key = Base64.decode(text).flatMap({ WireGuardKey(bytes: $0) }) else {
                throw PodNetworkError(
                    .invalid, "\(path): expected a WireGuard key (32 bytes as base64); remove the file for a new one")
            }
            return key
        }
        let key = WireGuardKey.random()
        do throws(SysError) {
            try Directories.make(Path.parent(path), mode: 0o755)
            try Files.writeAtomically(path, Base64.encode(key.bytes), mode: 0o400, sync: true)
        } catch { throw PodNetworkError("write \(path)", error) }
        return key
    }
}
