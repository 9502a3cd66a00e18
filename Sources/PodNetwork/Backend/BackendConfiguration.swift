import Codecs
import Netlink

/// How pods' packets get to other nodes; names and meaning are flannel's, as k3s has them in `--flannel-backend`.
package enum BackendKind: String, Sendable, CaseIterable {
    /// In UDP datagrams between the nodes' addresses: works wherever the nodes reach each other.
    case vxlan
    /// As they are, by routes: the nodes are neighbours on one link.
    case hostGateway = "host-gw"
    /// Encrypted, by the kernel's WireGuard.
    case wireGuard = "wireguard-native"
    /// Somebody else's CNI plugin sees to it.
    case none

    /// The value of the node's backend-type annotation.
    package var annotation: String { self == .wireGuard ? "wireguard" : rawValue }
}

/// Settings of the backend: flags, and the `Backend` object of flannel's configuration file (`--flannel-conf`).
package struct BackendConfiguration: Sendable, Equatable {
    package var kind: BackendKind
    /// The interface towards the other nodes; nil is the one with the node's address, or with the default route.
    package var interface: String?
    /// The node's own addresses, at most one per family; a family without one takes the interface's.
    package var nodeIPs: [IPAddress] = []
    /// What other nodes send to instead (`--flannel-external-ip`).
    package var externalIPs: [IPAddress] = []
    /// Of the packets between the nodes; nil is that of the interface.
    package var mtu: UInt32?
    package var vni: UInt32 = 1
    /// UDP; nil is the backend's own: 8472 for vxlan, 51820 and 51821 (IPv6) for WireGuard.
    package var port: UInt16?
    package var portIPv6: UInt16?
    /// vxlan: nodes on the same link are reached by plain routes.
    package var directRouting = false
    package var presharedKey: WireGuardKey?
    /// Seconds; k3s's 25 keep NAT in the way open.
    package var keepalive: UInt16 = 25
    package var keyFile = "/run/flannel/wgkey"
    /// The cluster's pod networks, and where CNI plugins and scripts look for them and the node's part (`SubnetFile`); nil:
    /// nowhere.
    package var clusterCIDRs: [IPPrefix] = []
    package var subnetFile: String?
    /// Where the names of the interfaces (and of the subnet file) are kept that were made, so that another backend can
    /// remove them; on tmpfs, as they live no longer than that.
    package var stateFile: String

    package init(_ kind: BackendKind, stateFile: String) { (self.kind, self.stateFile) = (kind, stateFile) }

    func port(_ family: AddressFamily) -> UInt16 {
        switch (kind, family) {
        case (.wireGuard, .ipv4): port ?? 51820
        case (.wireGuard, .ipv6): portIPv6 ?? 51821
        default: port ?? 8472
        }
    }

    /// Bytes that the tunnel adds: flannel's figures.
    func overhead(_ family: AddressFamily) -> UInt32 {
        switch kind {
        case .vxlan: family == .ipv4 ? 50 : 70
        case .wireGuard: 80
        case .hostGateway, .none: 0
        }
    }

    func deviceName(_ family: AddressFamily) -> String? {
        switch (kind, family) {
        case (.vxlan, .ipv4): "flannel.\(vni)"
        case (.vxlan, .ipv6): "flannel-v6.\(vni)"
        case (.wireGuard, .ipv4): "flannel-wg"
        case (.wireGuard, .ipv6): "flannel-wg-v6"
        case (.hostGateway, _), (.none, _): nil
        }
    }

    /// Takes over what flannel's configuration file says.
    /// - Throws: `.invalid`, naming the field and what was expected.
    package mutating func apply(flannelConfiguration document: JSON) throws(PodNetworkError) {
        let backend = document["Backend"]
        guard document.object != nil, backend.isNull || backend.object != nil else {
            throw PodNetworkError(.invalid, "expected an object with a \"Backend\" object")
        }
        if !backend["Type"].isNull {
            let types: [String: BackendKind] = [
                "vxlan": .vxlan, "host-gw": .hostGateway, "wireguard": .wireGuard, "wireguard-native": .wireGuard,
            ]
            guard let name = backend["Type"].string, let named = types[name] else {
                throw PodNetworkError(
                    .invalid, "Backend.Type: \(backend["Type"].text): expected \"vxlan\", \"host-gw\" or \"wireguard\"")
            }
            kind = named
        }
        func number<T: FixedWidthInteger>(_ key: String, _ range: ClosedRange<Int64>) throws(PodNetworkError) -> T? {
            let value = backend[key]
            if value.isNull { return nil }
            guard let number = value.int, range.contains(number) else {
                throw PodNetworkError(
                    .invalid,
                    "Backend.\(key): \(value.text): expected a number from \(range.lowerBound) to "
                        + "\(range.upperBound)")
            }
            return T(number)
        }
        vni = try number("VNI", 1...0xff_ffff) ?? vni
        port = try number(kind == .wireGuard ? "ListenPort" : "Port", 1...65535) ?? port
        portIPv6 = try number("ListenPortV6", 1...65535) ?? portIPv6
        mtu = try number("MTU", 1330...65535) ?? mtu
        keepalive = try number("PersistentKeepaliveInterval", 0...65535) ?? keepalive
        if backend["GBP"].bool == true || backend["Learning"].bool == true {
            throw PodNetworkError(.invalid, "Backend.GBP and Backend.Learning are not supported: remove them")
        }
        if let mode = backend["Mode"].string, mode != "separate" {
            throw PodNetworkError(.invalid, "Backend.Mode: \"\(mode)\": only \"separate\" is supported")
        }
        directRouting = backend["DirectRouting"].bool ?? directRouting
        if let text = backend["PSK"].string, !text.isEmpty {
            guard let key = Base64.decode(text).flatMap({ WireGuardKey(bytes: $0) }) else {
                throw PodNetworkError(.invalid, "Backend.PSK: expected 32 bytes as base64 (wg genpsk)")
            }
            presharedKey = key
        }
    }
}
