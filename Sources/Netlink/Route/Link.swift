/// A network interface as the kernel reports it.
package struct Link: Sendable, Equatable {
    package var index: Int32
    package var name: String
    package var mac: MACAddress?
    package var mtu: UInt32
    /// IFF_UP: told to be up; `isRunning` (IFF_RUNNING) says that it has a carrier.
    package var isUp: Bool
    package var isRunning: Bool
    package var isLoopback: Bool
    /// Index of the bridge it is a port of.
    package var master: Int32?
    /// Index of the other end of a veth (in the other namespace) or of the lower device.
    package var lower: Int32?
    /// "bridge", "veth", "vxlan"; nil for hardware and `lo`.
    package var kind: String?
    /// Of a vxlan device.
    package var vxlan: VXLANSettings?
}

/// The far end of a veth pair, made in the same step, possibly in another namespace.
package struct VethPeer: Sendable {
    package var name: String
    package var namespace: NetworkNamespace?
    package var mac: MACAddress?
    package var mtu: UInt32?
    package init(name: String, namespace: NetworkNamespace? = nil, mac: MACAddress? = nil, mtu: UInt32? = nil) {
        (self.name, self.namespace, self.mac, self.mtu) = (name, namespace, mac, mtu)
    }
}

/// A vxlan device as flannel makes it: no learning, entries are written by the node agent.
package struct VXLANSettings: Sendable, Equatable {
    package var identifier: UInt32
    package var port: UInt16
    /// Source address of the outer packets and index of the device they leave by.
    package var local: IPAddress?
    package var device: Int32?
    package var learning: Bool
    package init(
        identifier: UInt32, port: UInt16, local: IPAddress? = nil, device: Int32? = nil, learning: Bool = false
    ) {
        (self.identifier, self.port, self.local, self.device) = (identifier, port, local, device)
        self.learning = learning
    }
}

package enum LinkKind: Sendable {
    case bridge, dummy
    case veth(VethPeer)
    case vxlan(VXLANSettings)
    /// A kind without settings of its own at creation ("wireguard", "ifb").
    case other(String)

    package var name: String {
        switch self {
        case .bridge: "bridge"
        case .dummy: "dummy"
        case .veth: "veth"
        case .vxlan: "vxlan"
        case .other(let name): name
        }
    }

    /// What to do about a kernel that does not know the kind.
    var hint: String {
        switch self {
        case .other(let name): "the kernel lacks the \(name) device type (modprobe \(name))"
        default: "the kernel lacks CONFIG_\(name.uppercased()) (modprobe \(name))"
        }
    }
}

package struct LinkSpec: Sendable {
    package var name: String
    package var kind: LinkKind
    package var mtu: UInt32?
    package var mac: MACAddress?
    package var master: Int32?
    package var isUp = false

    package init(
        _ name: String, _ kind: LinkKind, mtu: UInt32? = nil, mac: MACAddress? = nil, master: Int32? = nil,
        isUp: Bool = false
    ) {
        (self.name, self.kind, self.mtu, self.mac, self.master, self.isUp) = (name, kind, mtu, mac, master, isUp)
    }

    /// The RTM_NEWLINK message; exclusive, so that an existing link of that name is an error (EEXIST).
    package func encode(into buffer: inout MessageBuffer) {
        buffer.message(type: RouteMessage.newLink.rawValue, flags: [.request, .ack, .create, .exclusive]) { message in
            message.appendLinkHeader(index: 0, flags: isUp ? 1 : 0, change: isUp ? 1 : 0)
            message.attribute(LinkAttribute.name, string: name)
            if let mtu { message.attribute(LinkAttribute.mtu, mtu) }
            if let mac { message.attribute(LinkAttribute.address, bytes: mac.bytes) }
            if let master { message.attribute(LinkAttribute.master, master) }
            message.nested(LinkAttribute.info) { info in
                info.attribute(LinkAttribute.infoKind, string: kind.name)
                switch kind {
                case .bridge, .dummy, .other: break
                case .veth(let peer):
                    info.nested(LinkAttribute.infoData) { $0.nested(LinkAttribute.vethPeer) { peer.encode(into: &$0) } }
                case .vxlan(let settings):
                    info.nested(LinkAttribute.infoData) { settings.encode(into: &$0) }
                }
            }
        }
    }
}

extension VethPeer {
    fileprivate func encode(into message: inout MessageBuffer) {
        message.appendLinkHeader(index: 0, flags: 0, change: 0)
        message.attribute(LinkAttribute.name, string: name)
        if let mtu { message.attribute(LinkAttribute.mtu, mtu) }
        if let mac { message.attribute(LinkAttribute.address, bytes: mac.bytes) }
        if let namespace { message.attribute(LinkAttribute.namespaceDescriptor, namespace.descriptor) }
    }
}

extension VXLANSettings {
    /// IFLA_VXLAN_* of a device; what the kernel does not say is as if it had not been set.
    init(_ data: ByteView) {
        self.init(
            identifier: data.attribute(1)?.load(0) ?? 0, port: data.attribute(15)?.big() ?? 0,
            local: (data.attribute(4) ?? data.attribute(17))?.address.flatMap { $0.isUnspecified ? nil : $0 },
            device: data.attribute(3)?.load(0), learning: data.attribute(7)?.load(0, as: UInt8.self) == 1)
    }

    fileprivate func encode(into message: inout MessageBuffer) {
        message.attribute(1, identifier)
        if let device { message.attribute(3, device) }
        if let local { message.attribute(local.isIPv4 ? 4 : 17, local) }
        message.attribute(7, UInt8(learning ? 1 : 0))
        message.attribute(15, big: port)
    }
}

extension MessageBuffer {
    /// struct ifinfomsg.
    mutating func appendLinkHeader(family: UInt8 = 0, index: Int32, flags: UInt32, change: UInt32) {
        append(family)
        append(UInt8(0))
        append(UInt16(0))
        append(index)
        append(flags)
        append(change)
    }
}

extension Link {
    /// From an RTM_NEWLINK message.
    package init?(_ message: MessageView) {
        guard message.type == RouteMessage.newLink.rawValue, let index = message.payload.load(4, as: Int32.self),
            let flags = message.payload.load(8, as: UInt32.self)
        else { return nil }
        self.init(
            index: index, name: "", mac: nil, mtu: 0, isUp: flags & 1 != 0, isRunning: flags & 0x40 != 0,
            isLoopback: flags & 8 != 0, master: nil, lower: nil, kind: nil)
        for attribute in message.payload.dropFirst(16).attributes {
            switch attribute.type {
            case LinkAttribute.name: name = attribute.value.string
            case LinkAttribute.address: mac = MACAddress(bytes: attribute.value.bytes)
            case LinkAttribute.mtu: mtu = attribute.value.load(0) ?? 0
            case LinkAttribute.master: master = attribute.value.load(0)
            case LinkAttribute.link: lower = attribute.value.load(0)
            case LinkAttribute.info:
                kind = attribute.value.attribute(LinkAttribute.infoKind)?.string
                if kind == "vxlan" { vxlan = attribute.value.attribute(LinkAttribute.infoData).map(VXLANSettings.init) }
            default: break
            }
        }
    }
}
