import Linux

/// An address of an interface.
package struct InterfaceAddress: Sendable, Equatable {
    package var link: Int32
    package var prefix: IPPrefix
    /// RT_SCOPE_*: 0 universe, 253 link, 254 host.
    package var scope: UInt8
    /// IFA_F_*.
    package var flags: UInt32
    package var isSecondary: Bool { flags & 1 != 0 }
    package var isTentative: Bool { flags & 0x40 != 0 }
    package var isDeprecated: Bool { flags & 0x20 != 0 }
}

package struct AddressFlags: OptionSet, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }
    /// No duplicate address detection: the address works at once (IPv6).
    package static let noDuplicateDetection = AddressFlags(rawValue: 0x02)
    /// No route to the prefix by this interface.
    package static let noPrefixRoute = AddressFlags(rawValue: 0x200)
}

extension RouteSocket {
    /// - Throws: EEXIST if the interface has it.
    package func addAddress(_ prefix: IPPrefix, to link: Int32, flags: AddressFlags = []) throws(NetlinkError) {
        var buffer = MessageBuffer(capacity: 256)
        RouteSocket.encodeAddress(prefix, link: link, flags: flags, into: &buffer)
        try socket.request(&buffer, "add address \(prefix) to link \(link)")
    }

    package static func encodeAddress(
        _ prefix: IPPrefix, link: Int32, flags: AddressFlags, into buffer: inout MessageBuffer
    ) {
        buffer.message(
            type: RouteMessage.newAddress.rawValue, flags: [.request, .ack, .create, .exclusive]
        ) { message in
            message.appendAddressHeader(prefix, link)
            message.attribute(2, prefix.address)
            message.attribute(1, prefix.address)
            if prefix.family == .ipv4, prefix.length < 31 { message.attribute(4, prefix.lastAddress) }
            if !flags.isEmpty { message.attribute(8, flags.rawValue) }
        }
    }

    /// Idempotent.
    package func deleteAddress(_ prefix: IPPrefix, from link: Int32) throws(NetlinkError) {
        do {
            try perform(.deleteAddress, [], "delete address \(prefix) of link \(link)") { message in
                message.appendAddressHeader(prefix, link)
                message.attribute(2, prefix.address)
                message.attribute(1, prefix.address)
            }
        } catch { if !error.isNotFound { throw error } }
    }

    package func addresses(family: AddressFamily? = nil, link: Int32? = nil) throws(NetlinkError) -> [InterfaceAddress]
    {
        var buffer = MessageBuffer(capacity: 64)
        buffer.message(type: RouteMessage.getAddress.rawValue, flags: [.request, .dump]) { message in
            for byte: UInt8 in [family?.rawValue ?? 0, 0, 0, 0] { message.append(byte) }
            message.append(UInt32(link ?? 0))
        }
        return try socket.dump(&buffer, "list addresses") { InterfaceAddress($0) }
            .filter { (link == nil || $0.link == link) && (family == nil || $0.prefix.family == family) }
    }
}

extension InterfaceAddress {
    init?(_ message: MessageView) {
        guard message.type == RouteMessage.newAddress.rawValue, let length = message.payload.load(1, as: UInt8.self),
            let shortFlags = message.payload.load(2, as: UInt8.self),
            let scope = message.payload.load(3, as: UInt8.self),
            let link = message.payload.load(4, as: Int32.self)
        else { return nil }
        let attributes = message.payload.dropFirst(8)
        // IFA_LOCAL is the interface's own address; IFA_ADDRESS the peer's on point-to-point links. IPv6 has only the latter.
        guard let address = (attributes.attribute(2) ?? attributes.attribute(1))?.address,
            let prefix = IPPrefix(address, length: Int(length))
        else { return nil }
        self.init(
            link: link, prefix: prefix, scope: scope, flags: attributes.attribute(8)?.load(0) ?? UInt32(shortFlags))
    }
}

extension MessageBuffer {
    /// struct ifaddrmsg.
    fileprivate mutating func appendAddressHeader(_ prefix: IPPrefix, _ link: Int32) {
        append(prefix.family.rawValue)
        append(prefix.length)
        append(UInt8(0))
        append(UInt8(0))
        append(link)
    }
}
