import Linux

/// Changes to an existing link; nil fields stay as they are.
package struct LinkChange: Sendable {
    package var isUp: Bool?
    package var mtu: UInt32?
    package var mac: MACAddress?
    /// 0 takes the link out of its bridge.
    package var master: Int32?
    /// Only while the link is down (before Linux 6.2).
    package var name: String?
    package var namespace: NetworkNamespace?

    package init(
        isUp: Bool? = nil, mtu: UInt32? = nil, mac: MACAddress? = nil, master: Int32? = nil, name: String? = nil,
        namespace: NetworkNamespace? = nil
    ) {
        (self.isUp, self.mtu, self.mac) = (isUp, mtu, mac)
        (self.master, self.name, self.namespace) = (master, name, namespace)
    }

    package func encode(index: Int32, into buffer: inout MessageBuffer) {
        buffer.message(type: RouteMessage.newLink.rawValue, flags: [.request, .ack]) { message in
            message.appendLinkHeader(index: index, flags: isUp == true ? 1 : 0, change: isUp == nil ? 0 : 1)
            if let mtu { message.attribute(LinkAttribute.mtu, mtu) }
            if let mac { message.attribute(LinkAttribute.address, bytes: mac.bytes) }
            if let master { message.attribute(LinkAttribute.master, master) }
            if let name { message.attribute(LinkAttribute.name, string: name) }
            if let namespace { message.attribute(LinkAttribute.namespaceDescriptor, namespace.descriptor) }
        }
    }
}

extension RouteSocket {
    package func addLink(_ spec: LinkSpec) throws(NetlinkError) {
        guard (1...15).contains(spec.name.utf8.count) else {
            throw NetlinkError(EINVAL, "add link \"\(spec.name)\"", hint: "an interface name has 1 to 15 bytes")
        }
        var buffer = MessageBuffer(capacity: 512)
        spec.encode(into: &buffer)
        do { try socket.request(&buffer, "add \(spec.kind.name) link \"\(spec.name)\"") } catch {
            var error = error
            if error.isUnsupported { error.hint = spec.kind.hint }
            throw error
        }
    }

    package func setLink(_ index: Int32, _ change: LinkChange) throws(NetlinkError) {
        var buffer = MessageBuffer(capacity: 256)
        change.encode(index: index, into: &buffer)
        try socket.request(&buffer, "change link \(index)")
    }

    /// Lets frames leave by the bridge port they came from: a pod that reaches itself through a service address needs it
    /// where bridged packets pass the firewall (net.bridge.bridge-nf-call-iptables).
    package func setBridgePort(_ index: Int32, hairpin: Bool) throws(NetlinkError) {
        try perform(.setLink, [], "set hairpin mode of bridge port \(index)") { message in
            message.appendLinkHeader(family: UInt8(AF_BRIDGE), index: index, flags: 0, change: 0)
            message.nested(LinkAttribute.protocolInfo) {
                $0.attribute(LinkAttribute.bridgePortMode, UInt8(hairpin ? 1 : 0))
            }
        }
    }

    /// Idempotent: no link is no error.
    package func deleteLink(name: String) throws(NetlinkError) {
        do {
            try perform(.deleteLink, [], "delete link \"\(name)\"") { message in
                message.appendLinkHeader(index: 0, flags: 0, change: 0)
                message.attribute(LinkAttribute.name, string: name)
            }
        } catch { if !error.isNotFound { throw error } }
    }

    package func deleteLink(_ index: Int32) throws(NetlinkError) {
        do {
            try perform(.deleteLink, [], "delete link \(index)") {
                $0.appendLinkHeader(index: index, flags: 0, change: 0)
            }
        } catch { if !error.isNotFound { throw error } }
    }

    /// Nil if there is none.
    package func link(name: String) throws(NetlinkError) -> Link? {
        try link("read link \"\(name)\"") { message in
            message.appendLinkHeader(index: 0, flags: 0, change: 0)
            message.attribute(LinkAttribute.name, string: name)
        }
    }

    package func link(_ index: Int32) throws(NetlinkError) -> Link? {
        try link("read link \(index)") { $0.appendLinkHeader(index: index, flags: 0, change: 0) }
    }

    private func link(
        _ operation: @autoclosure () -> String, _ body: (inout MessageBuffer) -> Void
    ) throws(NetlinkError) -> Link? {
        var buffer = MessageBuffer(capacity: 128)
        buffer.message(type: RouteMessage.getLink.rawValue, flags: [.request, .ack], body)
        do { return try socket.query(&buffer, operation()) { Link($0) } } catch {
            if error.isNotFound { return nil }
            throw error
        }
    }

    /// All links, or those that are ports of one bridge.
    package func links(master: Int32? = nil) throws(NetlinkError) -> [Link] {
        var buffer = MessageBuffer(capacity: 128)
        buffer.message(type: RouteMessage.getLink.rawValue, flags: [.request, .dump]) { message in
            message.appendLinkHeader(index: 0, flags: 0, change: 0)
            if let master { message.attribute(LinkAttribute.master, master) }
        }
        return try socket.dump(&buffer, "list links") { Link($0) }.filter { master == nil || $0.master == master }
    }
}
