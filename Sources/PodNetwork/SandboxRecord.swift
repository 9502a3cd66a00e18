import Iptables
import Linux
import Netlink

/// What a pod got, kept in one small text file per sandbox, so that a restarted node agent knows it without touching the
/// pod. Losing the files in a power failure is no harm: then the pods are gone too. So they are written atomically but not
/// synced, which spares the disk.
package struct SandboxRecord: Sendable, Equatable {
    package var sandboxID: String
    package var addresses: [IPAddress]
    package var mac: MACAddress
    /// The host's end of the veth pair.
    package var hostInterface: String
    package var hostPorts: [HostPort]
    /// Counts allocations: the highest says where round robin goes on.
    package var sequence: UInt64

    package init(
        sandboxID: String, addresses: [IPAddress], mac: MACAddress, hostInterface: String, hostPorts: [HostPort] = [],
        sequence: UInt64
    ) {
        (self.sandboxID, self.addresses, self.mac) = (sandboxID, addresses, mac)
        (self.hostInterface, self.hostPorts, self.sequence) = (hostInterface, hostPorts, sequence)
    }

    /// Lines of "key value ...", with a version first and `end` last (a cut file is noticed).
    package var text: String {
        var lines = [
            "k3s-pod-network 1", "sandbox \(sandboxID)", "sequence \(sequence)", "mac \(mac)",
            "interface \(hostInterface)",
        ]
        lines += addresses.map { "address \($0)" }
        lines += hostPorts.map {
            "hostport \($0.transport) \($0.hostAddress?.description ?? "*") \($0.hostPort) \($0.podPort)"
        }
        return lines.joined(separator: "\n") + "\nend\n"
    }

    /// Nil for anything that `text` would not have written.
    package init?(text: String) {
        let lines = text.split(separator: "\n").map { $0.split(separator: " ") }
        guard lines.first == ["k3s-pod-network", "1"], lines.last == ["end"] else { return nil }
        var sandboxID: String?, mac: MACAddress?, interface: String?, sequence: UInt64?
        var addresses: [IPAddress] = []
        var ports: [HostPort] = []
        for fields in lines.dropFirst().dropLast() {
            switch (fields.first, fields.count) {
            case ("sandbox", 2): sandboxID = String(fields[1])
            case ("sequence", 2): sequence = UInt64(fields[1])
            case ("mac", 2): mac = MACAddress(fields[1])
            case ("interface", 2): interface = String(fields[1])
            case ("address", 2):
                guard let address = IPAddress(fields[1]) else { return nil }
                addresses.append(address)
            case ("hostport", 5):
                guard let transport = TransportProtocol(name: String(fields[1])), let hostPort = UInt16(fields[3]),
                    let podPort = UInt16(fields[4]), fields[2] == "*" || IPAddress(fields[2]) != nil
                else { return nil }
                ports.append(
                    HostPort(
                        hostAddress: IPAddress(fields[2]), transport: transport, hostPort: hostPort, podPort: podPort))
            default: return nil
            }
        }
        guard let sandboxID, let mac, let interface, let sequence, !addresses.isEmpty else { return nil }
        self.init(
            sandboxID: sandboxID, addresses: addresses, mac: mac, hostInterface: interface, hostPorts: ports,
            sequence: sequence)
    }
}

/// The directory of records.
struct RecordStore: Sendable {
    let directory: String

    /// Sandbox ids become file names: letters, digits, "-", "_" and "." inside.
    static func isValid(_ id: String) -> Bool {
        (1...200).contains(id.utf8.count) && id.utf8.first != UInt8(ascii: ".")
            && id.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0) || $0 == 0x2d
                    || $0 == 0x5f
                    || $0 == 0x2e
            }
    }

    private func path(_ id: String) -> String { Path.join(directory, id) }

    func save(_ record: SandboxRecord) throws(PodNetworkError) {
        do throws(SysError) {
            try Files.writeAtomically(path(record.sandboxID), record.text, mode: 0o600, sync: false)
        } catch { throw PodNetworkError("save the addresses of sandbox \(record.sandboxID)", error) }
    }

    func remove(_ id: String) throws(PodNetworkError) {
        do throws(SysError) { try Files.remove(path(id)) } catch {
            throw PodNetworkError("remove the addresses of sandbox \(id)", error)
        }
    }

    /// All readable records; damaged files and leftovers of unfinished writes are removed, their addresses are free.
    func load() throws(PodNetworkError) -> [SandboxRecord] {
        do throws(SysError) {
            try Directories.make(directory, mode: 0o700)
            var records: [SandboxRecord] = []
            for entry in try Directories.list(directory) where entry.kind == .file {
                let file = path(entry.name)
                if let record = SandboxRecord(text: try Files.readString(file, limit: 64 << 10)),
                    record.sandboxID == entry.name
                {
                    records.append(record)
                } else {
                    try Files.remove(file)
                }
            }
            return records.sorted { $0.sequence < $1.sequence }
        } catch { throw PodNetworkError("read the pod addresses in \(directory)", error) }
    }
}
