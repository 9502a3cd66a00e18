import Iptables
import Netlink
import PodNetwork
import Testing

@Suite struct AddressPoolTests {
    private func pool(_ text: String) throws -> AddressPool { try AddressPool(#require(IPPrefix(text))) }

    @Test func theFirstPodGetsTheSecondAddress() throws {
        var pool = try pool("10.42.3.0/24")
        #expect(pool.gateway.description == "10.42.3.1")
        #expect(pool.gatewayPrefix.description == "10.42.3.1/24")
        let first = try pool.allocate(for: "a"), second = try pool.allocate(for: "b")
        #expect([first, second].map(\.description) == ["10.42.3.2", "10.42.3.3"])
    }

    @Test func aReleasedAddressRestsUntilTheRangeWasUsed() throws {
        var pool = try pool("10.42.0.0/29")
        #expect(pool.capacity == 5)
        let first = try pool.allocate(for: "a")
        pool.release(first)
        pool.release(first)
        var seen: [String] = []
        for index in 0..<5 { seen.append(try pool.allocate(for: "p\(index)").description) }
        #expect(seen == ["10.42.0.3", "10.42.0.4", "10.42.0.5", "10.42.0.6", "10.42.0.2"])
    }

    @Test func exhaustionSaysWhatToDo() throws {
        var pool = try pool("10.42.0.0/30")
        _ = try pool.allocate(for: "a")
        let full = pool
        let error = #expect(throws: PodNetworkError.self) {
            var copy = full
            _ = try copy.allocate(for: "b")
        }
        #expect(error?.code == .exhausted)
        #expect(error?.message.contains("10.42.0.0/30") == true)
    }

    @Test func adoptionKeepsOwnersApart() throws {
        var pool = try pool("10.42.0.0/24")
        var results: [Bool] = []
        for (address, owner) in [
            ("10.42.0.9", "a"), ("10.42.0.9", "a"), ("10.42.0.9", "b"), ("10.42.0.1", "b"), ("10.42.0.255", "b"),
            ("10.43.0.9", "b"),
        ] { results.append(pool.adopt(try #require(IPAddress(address)), for: owner)) }
        #expect(results == [true, true, false, false, false, false])
        let next = try pool.allocate(for: "b")
        #expect(next.description == "10.42.0.10")
    }

    @Test func ipv6HasNoBroadcastAddress() throws {
        var pool = try pool("fd00:42:0:3::/64")
        #expect(pool.gateway.description == "fd00:42:0:3::1")
        let first = try pool.allocate(for: "a")
        #expect(first.description == "fd00:42:0:3::2")
        #expect(try AddressPool(#require(IPPrefix("fd00::/126"))).capacity == 2)
    }

    @Test(arguments: ["10.42.0.0/31", "10.42.0.0/32", "fd00::/127"])
    func tooSmallRangesAreRefused(_ text: String) throws {
        let error = #expect(throws: PodNetworkError.self) { _ = try pool(text) }
        #expect(error?.code == .invalid)
    }
}

@Suite struct SandboxRecordTests {
    private var record: SandboxRecord {
        SandboxRecord(
            sandboxID: "abc-1", addresses: [.v4(0x0a2a_0005), .v6(0xfd00_0042_0000_0000, 5)],
            mac: MACAddress(value: 0x0a58_0a2a_0005),
            hostInterface: "veth01234567",
            hostPorts: [
                HostPort(hostPort: 80, podPort: 8080),
                HostPort(hostAddress: .v4(0x7f00_0001), transport: .udp, hostPort: 53, podPort: 53),
            ], sequence: 7)
    }

    @Test func textRoundTrips() { #expect(SandboxRecord(text: record.text) == record) }

    @Test func cutOrChangedTextIsRefused() {
        let text = record.text
        for length in 0..<text.count - 1 { #expect(SandboxRecord(text: String(text.prefix(length))) == nil) }
        #expect(SandboxRecord(text: text.replacing("mac", with: "mca")) == nil)
        #expect(SandboxRecord(text: text.replacing("10.42.0.5", with: "10.42.0.500")) == nil)
        #expect(SandboxRecord(text: text.replacing("tcp", with: "xyz")) == nil)
    }
}

@Suite struct InterfaceNameTests {
    @Test func namesAreStableAndShort() {
        #expect(InterfaceName.make("sandbox") == InterfaceName.make("sandbox"))
        #expect(InterfaceName.make("sandbox") != InterfaceName.make("sandbox", attempt: 1))
        #expect(InterfaceName.make("sandbox").utf8.count == 12)
        #expect(InterfaceName.isOurs(InterfaceName.make("x")))
        for name in ["veth1", "vethABCDEF01", "eth0", "veth123456789", "vethzzzzzzzz"] {
            #expect(!InterfaceName.isOurs(name))
        }
    }

    @Test func macFollowsTheAddress() {
        #expect(InterfaceName.mac(.v4(0x0a2a_0005)).description == "0a:58:0a:2a:00:05")
    }
}
