/// One message of the tunnel between an agent and a server, as rancher/remotedialer has it on the wire: zig-zag varints
/// (Go's `binary.PutVarint`) for message id, connection id and type, one more (a deadline of old, ignored) for `data` and
/// `connect`, then the payload up to the end of the WebSocket message. A value without IO.
package struct TunnelFrame: Equatable, Sendable {
    package enum Kind: Int64, Sendable {
        case data = 1
        /// The payload is a `TunnelAddress`.
        case connect = 2
        /// The connection is over; the payload says why, "EOF" for a normal end.
        case error = 3
        /// Between servers only (`addClient`, `removeClient`): a session of a peer came or went.
        case addClient = 4
        case removeClient = 5
        case pause = 6
        case resume = 7
        /// The connection ids that the client has open, eight bytes each, little-endian.
        case syncConnections = 8
    }

    /// Longest payloads that are accepted, in bytes; data is limited by the WebSocket message.
    package static let addressLimit = 266
    package static let errorLimit = 100
    package static let syncLimit = 8 * 65_536
    private static let legacyDeadline: Int64 = 15_000

    package var id: Int64
    package var connection: Int64
    package var kind: Kind
    package var payload: [UInt8]

    package init(id: Int64, connection: Int64, kind: Kind, payload: [UInt8] = []) {
        self.id = id
        self.connection = connection
        self.kind = kind
        self.payload = payload
    }

    /// - Throws: never traps, whatever the bytes.
    package init(decoding bytes: [UInt8]) throws(TunnelError) {
        var reader = VarintReader(bytes)
        id = try reader.next("message id")
        connection = try reader.next("connection id")
        let type = try reader.next("message type")
        guard let kind = Kind(rawValue: type) else { throw .unknownType(type) }
        self.kind = kind
        if kind == .data || kind == .connect { _ = try reader.next("deadline") }
        let rest = bytes[reader.position...]
        switch kind {
        case .data: payload = Array(rest)
        case .connect:
            guard rest.count <= Self.addressLimit else {
                throw .malformed("address of \(rest.count) bytes, at most \(Self.addressLimit) are expected")
            }
            payload = Array(rest)
        // remotedialer cuts a longer text off, too.
        case .error, .addClient, .removeClient: payload = Array(rest.prefix(Self.errorLimit))
        case .pause, .resume: payload = []
        case .syncConnections:
            guard rest.count % 8 == 0, rest.count <= Self.syncLimit else {
                throw .malformed("connection list of \(rest.count) bytes, at most 65536 ids of 8 bytes are expected")
            }
            payload = Array(rest)
        }
    }

    /// What stands before the payload.
    package var header: [UInt8] {
        var header: [UInt8] = []
        header.reserveCapacity(24)
        Self.append(id, to: &header)
        Self.append(connection, to: &header)
        Self.append(kind.rawValue, to: &header)
        if kind == .data || kind == .connect { Self.append(Self.legacyDeadline, to: &header) }
        return header
    }

    package var encoded: [UInt8] { header + payload }

    private static func append(_ value: Int64, to bytes: inout [UInt8]) {
        var rest = UInt64(bitPattern: value << 1 ^ value >> 63)
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    /// The ids of a `syncConnections` frame.
    package var connections: [Int64] {
        guard kind == .syncConnections else { return [] }
        return stride(from: 0, to: payload.count - payload.count % 8, by: 8).map { start in
            var value: UInt64 = 0
            for byte in payload[start..<(start + 8)].reversed() { value = value << 8 | UInt64(byte) }
            return Int64(bitPattern: value)
        }
    }

    package static func sync(id: Int64, connections: some Sequence<Int64>) -> TunnelFrame {
        var payload: [UInt8] = []
        for connection in connections where payload.count < syncLimit {
            let value = UInt64(bitPattern: connection)
            for shift in stride(from: 0, to: 64, by: 8) { payload.append(UInt8(truncatingIfNeeded: value >> shift)) }
        }
        return TunnelFrame(id: id, connection: 0, kind: .syncConnections, payload: payload)
    }
}

/// Where a tunnel is asked to connect to: `tcp/10.42.1.7:8080`.
package struct TunnelAddress: Equatable, Hashable, Sendable, CustomStringConvertible {
    package var network: String
    /// A name or an address; IPv6 without brackets.
    package var host: String
    package var port: UInt16

    package init(network: String = "tcp", host: String, port: UInt16) {
        self.network = network
        self.host = host
        self.port = port
    }

    package init(decoding bytes: [UInt8]) throws(TunnelError) {
        guard let text = String(validating: bytes, as: UTF8.self), let slash = text.firstIndex(of: "/") else {
            throw .malformed("connect address, <network>/<host>:<port> is expected")
        }
        try self.init(network: String(text[..<slash]), address: String(text[text.index(after: slash)...]))
    }

    /// - Parameter address: `host:port`, an IPv6 address in brackets.
    package init(network: String, address: String) throws(TunnelError) {
        guard let colon = address.lastIndex(of: ":"), let port = UInt16(address[address.index(after: colon)...]) else {
            throw .malformed("connect address \"\(address.prefix(300))\", <host>:<port> is expected")
        }
        var host = address[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            throw .malformed("connect address \"\(address.prefix(300))\", an IPv6 address needs brackets")
        }
        self.init(network: network, host: String(host), port: port)
    }

    /// `host:port`.
    package var address: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
    package var description: String { "\(network)/\(address)" }
}

package enum TunnelError: Error, Equatable, CustomStringConvertible {
    case malformed(String)
    /// A message type of a later version; the frame may be left out.
    case unknownType(Int64)
    /// The other side ended the connection, for this reason.
    case closedByPeer(String)
    /// The session has ended.
    case sessionEnded
    case tooManyConnections(limit: Int)
    /// More bytes than the consumer takes and the limits allow.
    case overflow(limit: Int)

    package var description: String {
        switch self {
        case .malformed(let what): "tunnel: malformed \(what)"
        case .unknownType(let type): "tunnel: unknown message type \(type)"
        case .closedByPeer(let reason): "tunnel: \(reason)"
        case .sessionEnded: "tunnel: disconnected"
        case .tooManyConnections(let limit): "tunnel: more than \(limit) connections"
        case .overflow(let limit): "tunnel: more than \(limit) bytes are waiting for a slow reader"
        }
    }
}

private struct VarintReader {
    private let bytes: [UInt8]
    private(set) var position = 0

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// As Go's `binary.ReadVarint`: ten bytes at most, the tenth of them 0 or 1.
    mutating func next(_ what: StaticString) throws(TunnelError) -> Int64 {
        var value: UInt64 = 0
        for index in 0..<10 {
            guard position < bytes.count else { throw .malformed("\(what): the message ends early") }
            let byte = bytes[position]
            position += 1
            guard index < 9 || byte <= 1 else { break }
            value |= UInt64(byte & 0x7F) << UInt64(7 * index)
            if byte < 0x80 { return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1) }
        }
        throw .malformed("\(what): larger than 64 bits")
    }
}
