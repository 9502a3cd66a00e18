import Netlink

/// A service as the cluster's names show it.
package struct DNSService: Sendable, Equatable {
    package struct Port: Sendable, Equatable {
        package var name: String
        /// "tcp", "udp", "sctp"
        package var transport: String
        package var port: UInt16
        package init(name: String, transport: String, port: UInt16) {
            (self.name, self.transport, self.port) = (name, transport, port)
        }
    }
    package var namespace: String
    package var name: String
    /// Empty: headless.
    package var addresses: [IPAddress]
    package var ports: [Port]
    /// ExternalName; then addresses and ports mean nothing.
    package var externalName: String?

    package init(
        namespace: String, name: String, addresses: [IPAddress] = [], ports: [Port] = [], externalName: String? = nil
    ) {
        (self.namespace, self.name, self.addresses) = (namespace, name, addresses)
        (self.ports, self.externalName) = (ports, externalName)
    }
}

/// A ready endpoint of a service (of all its slices).
package struct DNSEndpoint: Sendable, Equatable {
    package var address: IPAddress
    /// nil: the address with dashes serves as its name.
    package var hostname: String?
    /// Ports of its slice.
    package var ports: [DNSService.Port]
    package init(_ address: IPAddress, hostname: String? = nil, ports: [DNSService.Port] = []) {
        (self.address, self.hostname, self.ports) = (address, hostname, ports)
    }
    /// "10-42-0-5", "fd00-42--5", or the hostname.
    var label: String {
        if let hostname, !hostname.isEmpty { return hostname }
        return String(address.description.map { $0 == "." || $0 == ":" ? "-" : $0 })
    }
}

/// Services and endpoints as bytes: ten thousand of them cost little more than their names.
struct PackedRecords {
    private var bytes: [UInt8] = []
    private var index = 0

    // MARK: writing

    private mutating func put(_ text: String) {
        let utf8 = text.utf8.prefix(255)
        bytes.append(UInt8(utf8.count))
        bytes += utf8
    }
    private mutating func put(_ value: UInt16) { bytes += [UInt8(value >> 8), UInt8(value & 0xff)] }
    private mutating func put(_ address: IPAddress) {
        bytes.append(UInt8(address.byteCount))
        address.appendBytes(to: &bytes)
    }
    private mutating func put(_ ports: [DNSService.Port]) {
        bytes.append(UInt8(clamping: ports.count))
        for port in ports.prefix(255) {
            put(port.name)
            put(port.transport)
            put(port.port)
        }
    }

    /// Exactly as large as needed.
    private consuming func finished() -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: bytes.count) { buffer, count in
            count = buffer.initialize(fromContentsOf: bytes)
        }
    }

    static func encode(_ service: DNSService) -> [UInt8] {
        var out = PackedRecords()
        out.bytes.reserveCapacity(128)
        out.put(service.namespace)
        out.put(service.name)
        out.bytes.append(UInt8(clamping: service.addresses.count))
        for address in service.addresses.prefix(255) { out.put(address) }
        out.put(service.ports)
        if let external = service.externalName { out.put(external) }
        return out.finished()
    }

    /// Endpoints of one slice share their ports: they are written once where they are the same as before.
    static func encode(_ endpoints: [DNSEndpoint], namespace: String, name: String) -> [UInt8] {
        var out = PackedRecords()
        out.bytes.reserveCapacity(128)
        out.put(namespace)
        out.put(name)
        out.put(UInt16(clamping: endpoints.count))
        var last: [DNSService.Port]?
        for endpoint in endpoints.prefix(65_535) {
            out.put(endpoint.address)
            out.put(endpoint.hostname ?? "")
            out.bytes.append(endpoint.ports == last ? 1 : 0)
            if endpoint.ports != last { out.put(endpoint.ports) }
            last = endpoint.ports
        }
        return out.finished()
    }

    // MARK: reading (of what was written above)

    private init() {}
    private init(_ bytes: [UInt8]) { self.bytes = bytes }

    private mutating func byte() -> UInt8 {
        guard index < bytes.count else { return 0 }
        defer { index += 1 }
        return bytes[index]
    }
    private mutating func slice(_ count: Int) -> ArraySlice<UInt8> {
        let end = min(bytes.count, index + count)
        defer { index = end }
        return bytes[index..<end]
    }
    private mutating func text() -> String { String(decoding: slice(Int(byte())), as: UTF8.self) }
    private mutating func short() -> UInt16 { UInt16(byte()) << 8 | UInt16(byte()) }
    private mutating func address() -> IPAddress? { IPAddress(bytes: slice(Int(byte()))) }
    private mutating func ports() -> [DNSService.Port] {
        (0..<byte()).map { _ in DNSService.Port(name: text(), transport: text(), port: short()) }
    }

    static func service(_ bytes: [UInt8]) -> DNSService {
        var reader = PackedRecords(bytes)
        var service = DNSService(namespace: reader.text(), name: reader.text())
        service.addresses = (0..<reader.byte()).compactMap { _ in reader.address() }
        service.ports = reader.ports()
        if reader.index < bytes.count { service.externalName = reader.text() }
        return service
    }

    /// The name at the front of both forms.
    static func owner(_ bytes: [UInt8]) -> (namespace: String, name: String) {
        var reader = PackedRecords(bytes)
        return (reader.text(), reader.text())
    }

    static func isOwner(_ bytes: [UInt8], _ namespace: ArraySlice<UInt8>, _ name: ArraySlice<UInt8>) -> Bool {
        var reader = PackedRecords(bytes)
        return reader.slice(Int(reader.byte())).elementsEqual(namespace)
            && reader.slice(Int(reader.byte())).elementsEqual(name)
    }

    static func endpoints(_ bytes: [UInt8]) -> [DNSEndpoint] {
        var reader = PackedRecords(bytes)
        _ = (reader.text(), reader.text())
        var out: [DNSEndpoint] = []
        var last: [DNSService.Port] = []
        for _ in 0..<reader.short() {
            guard let address = reader.address() else { break }
            let hostname = reader.text()
            if reader.byte() == 0 { last = reader.ports() }
            out.append(DNSEndpoint(address, hostname: hostname.isEmpty ? nil : hostname, ports: last))
        }
        return out
    }
}
