import Linux

/// A Curve25519 key of WireGuard, 32 bytes; text form is base64, which this layer leaves to others.
package struct WireGuardKey: Hashable, Sendable {
    package let bytes: [UInt8]

    /// Nil unless there are 32 bytes.
    package init?(bytes: [UInt8]) {
        guard bytes.count == 32 else { return nil }
        self.bytes = bytes
    }

    /// A private key of the kernel's random bytes (SystemRandomNumberGenerator is getrandom), clamped as RFC 7748 asks.
    package static func random() -> WireGuardKey {
        var generator = SystemRandomNumberGenerator()
        var bytes = (0..<32).map { _ in UInt8.random(in: 0...255, using: &generator) }
        bytes[0] &= 248
        bytes[31] = bytes[31] & 127 | 64
        return WireGuardKey(clamped: bytes)
    }

    private init(clamped bytes: [UInt8]) { self.bytes = bytes }
}

/// Another end of the tunnel and what it may send.
package struct WireGuardPeer: Hashable, Sendable {
    package struct Endpoint: Hashable, Sendable {
        package var address: IPAddress
        package var port: UInt16
        package init(_ address: IPAddress, _ port: UInt16) { (self.address, self.port) = (address, port) }
    }
    package var publicKey: WireGuardKey
    package var presharedKey: WireGuardKey?
    package var endpoint: Endpoint?
    /// Seconds; 0 is off.
    package var keepalive: UInt16
    package var allowedIPs: [IPPrefix]

    package init(
        publicKey: WireGuardKey, presharedKey: WireGuardKey? = nil, endpoint: Endpoint? = nil, keepalive: UInt16 = 0,
        allowedIPs: [IPPrefix]
    ) {
        (self.publicKey, self.presharedKey, self.endpoint) = (publicKey, presharedKey, endpoint)
        (self.keepalive, self.allowedIPs) = (keepalive, allowedIPs)
    }
}

/// A WireGuard device as the kernel reports it, without its private key.
package struct WireGuardDevice: Sendable, Equatable {
    package var link: Int32
    package var publicKey: WireGuardKey?
    package var port: UInt16
    package var peers: [WireGuardPeer]
}

/// Settings of WireGuard devices by generic netlink (linux/wireguard.h). The device itself is a link of kind "wireguard".
package final class WireGuardSocket: Sendable {
    private let socket: GenericSocket
    package let family: UInt16

    /// - Throws: EOPNOTSUPP with what to do when the kernel has no WireGuard. The family appears with the module, which the
    ///   first device of the kind loads.
    package init(in namespace: NetworkNamespace? = nil) throws(NetlinkError) {
        socket = try GenericSocket(in: namespace)
        guard let family = try socket.family("wireguard") else {
            throw NetlinkError(
                EOPNOTSUPP, "open WireGuard",
                hint: "the kernel lacks CONFIG_WIREGUARD (modprobe wireguard); --flannel-backend=vxlan needs none")
        }
        self.family = family
    }

    /// The device gets key and port; peers are left alone.
    package func configure(_ link: Int32, privateKey: WireGuardKey, port: UInt16) throws(NetlinkError) {
        var buffer = MessageBuffer(capacity: 256)
        WireGuardSocket.encodeDevice(family: family, link: link, privateKey: privateKey, port: port, into: &buffer)
        try socket.socket.request(&buffer, "configure WireGuard link \(link)")
    }

    /// Sets peers (what they had is replaced) and removes others. An attribute holds 64 KiB, so it takes several messages.
    package func update(
        _ link: Int32, set peers: [WireGuardPeer], remove gone: [WireGuardKey] = []
    ) throws(NetlinkError) {
        var buffer = MessageBuffer(capacity: 1024)
        let changes: [Change] = gone.map { .remove($0) } + peers.map { .set($0) }
        for start in stride(from: 0, to: changes.count, by: 128) {
            WireGuardSocket.encode(
                family: family, link: link, changes[start..<min(start + 128, changes.count)], into: &buffer)
        }
        if changes.isEmpty { return }
        try socket.socket.request(&buffer, "set peers of WireGuard link \(link)")
    }

    package func device(_ link: Int32) throws(NetlinkError) -> WireGuardDevice? {
        var buffer = MessageBuffer(capacity: 64)
        buffer.message(type: family, flags: [.request, .dump]) { message in
            message.appendGenericHeader(command: 0, version: 1)
            message.attribute(1, UInt32(bitPattern: link))
        }
        let parts = try socket.socket.dump(&buffer, "read WireGuard link \(link)") { WireGuardDevice($0) }
        return WireGuardDevice.join(parts)
    }

    enum Change {
        case set(WireGuardPeer)
        case remove(WireGuardKey)
    }

    static func encodeDevice(
        family: UInt16, link: Int32, privateKey: WireGuardKey, port: UInt16, into buffer: inout MessageBuffer
    ) {
        buffer.message(type: family, flags: [.request, .ack]) { message in
            message.appendGenericHeader(command: 1, version: 1)
            message.attribute(1, UInt32(bitPattern: link))
            message.attribute(3, bytes: privateKey.bytes)
            message.attribute(6, port)
        }
    }

    static func encode(
        family: UInt16, link: Int32, _ changes: some Sequence<Change>, into buffer: inout MessageBuffer
    ) {
        buffer.message(type: family, flags: [.request, .ack]) { message in
            message.appendGenericHeader(command: 1, version: 1)
            message.attribute(1, UInt32(bitPattern: link))
            message.nested(8) { list in
                for change in changes {
                    list.nested(0) { peer in
                        switch change {
                        case .remove(let key):
                            peer.attribute(1, bytes: key.bytes)
                            // WGPEER_F_REMOVE_ME
                            peer.attribute(3, UInt32(1))
                        case .set(let wanted): wanted.encode(into: &peer)
                        }
                    }
                }
            }
        }
    }
}

extension WireGuardPeer {
    fileprivate func encode(into peer: inout MessageBuffer) {
        peer.attribute(1, bytes: publicKey.bytes)
        // A key of zeros is none.
        peer.attribute(2, bytes: presharedKey?.bytes ?? [UInt8](repeating: 0, count: 32))
        // WGPEER_F_REPLACE_ALLOWEDIPS
        peer.attribute(3, UInt32(2))
        if let endpoint { peer.attribute(4, bytes: endpoint.socketAddress) }
        peer.attribute(5, keepalive)
        peer.nested(9) { list in
            for prefix in allowedIPs {
                list.nested(0) { entry in
                    entry.attribute(1, UInt16(prefix.family.rawValue))
                    entry.attribute(2, prefix.network)
                    entry.attribute(3, prefix.length)
                }
            }
        }
    }

    fileprivate init?(_ view: ByteView) {
        guard let key = (view.attribute(1)?.array).flatMap({ WireGuardKey(bytes: $0) }) else { return nil }
        self.init(publicKey: key, allowedIPs: [])
        for attribute in view.attributes {
            switch attribute.type {
            case 2:
                let bytes = attribute.value.array
                if bytes.contains(where: { $0 != 0 }) { presharedKey = WireGuardKey(bytes: bytes) }
            case 4: endpoint = Endpoint(socketAddress: attribute.value)
            case 5: keepalive = attribute.value.load(0) ?? 0
            case 9:
                for entry in attribute.value.attributes {
                    guard let address = entry.value.attribute(2)?.address,
                        let length = entry.value.attribute(3)?.load(0, as: UInt8.self),
                        let prefix = IPPrefix(address, length: Int(length))
                    else { continue }
                    allowedIPs.append(prefix)
                }
            default: break
            }
        }
    }
}

extension WireGuardPeer.Endpoint {
    /// struct sockaddr_in or sockaddr_in6.
    fileprivate var socketAddress: [UInt8] {
        var bytes = withUnsafeBytes(of: UInt16(address.family.rawValue)) { Array($0) }
        bytes += [UInt8(port >> 8), UInt8(port & 0xff)]
        if !address.isIPv4 { bytes += [0, 0, 0, 0] }
        bytes += address.bytes
        // sin_zero, or the scope.
        return bytes + [UInt8](repeating: 0, count: address.isIPv4 ? 8 : 4)
    }

    fileprivate init?(socketAddress view: ByteView) {
        guard let family = view.load(0, as: UInt16.self), let port = view.big(2, as: UInt16.self) else { return nil }
        let start = family == UInt16(AddressFamily.ipv4.rawValue) ? 4 : 8
        let size = family == UInt16(AddressFamily.ipv4.rawValue) ? 4 : 16
        guard let address = view.dropFirst(start).prefix(size).address else { return nil }
        self.init(address, port)
    }
}

extension WireGuardDevice {
    /// From one message of WG_CMD_GET_DEVICE; a device with many peers comes in several.
    package init?(_ message: MessageView) {
        let attributes = message.payload.dropFirst(4)
        guard let link = attributes.attribute(1)?.load(0, as: Int32.self) else { return nil }
        self.init(
            link: link, publicKey: (attributes.attribute(4)?.array).flatMap { WireGuardKey(bytes: $0) },
            port: attributes.attribute(6)?.load(0) ?? 0, peers: [])
        for peer in attributes.attribute(8)?.attributes ?? AttributeSequence(rest: attributes.prefix(0)) {
            if let peer = WireGuardPeer(peer.value) { peers.append(peer) }
        }
    }

    /// A peer whose allowed addresses did not fit is repeated in the next message.
    static func join(_ parts: [WireGuardDevice]) -> WireGuardDevice? {
        guard var whole = parts.first else { return nil }
        for part in parts.dropFirst() {
            whole.publicKey = whole.publicKey ?? part.publicKey
            for peer in part.peers {
                if let last = whole.peers.last, last.publicKey == peer.publicKey {
                    whole.peers[whole.peers.count - 1].allowedIPs += peer.allowedIPs
                } else {
                    whole.peers.append(peer)
                }
            }
        }
        return whole
    }
}
