import Netlink
import Testing

@Suite struct IPAddressTests {
    @Test(arguments: [
        "0.0.0.0", "10.42.0.1", "255.255.255.255", "::", "::1", "fd00:42::1", "2001:db8::1:0:0:1", "fe80::1:2:3:4",
        "1:2:3:4:5:6:7:8", "1::8", "2001:db8:0:1:1:1:1:1",
    ])
    func canonicalTextSurvives(_ text: String) {
        #expect(IPAddress(text)?.description == text)
    }

    @Test(arguments: [
        "", "1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.+4", ":", ":::", "1:2", "1::2::3", "12345::",
        "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "g::", "::1%eth0", "1:2:3:4:5:6:7:", "::+1", "1.2.3.4 ",
    ])
    func otherTextIsRefused(_ text: String) { #expect(IPAddress(text) == nil) }

    @Test func embeddedIPv4IsRead() { #expect(IPAddress("::ffff:10.0.0.1") == .v6(0, 0xffff_0a00_0001)) }
    @Test func upperCaseIsRead() { #expect(IPAddress("FD00:AB::1")?.description == "fd00:ab::1") }
    @Test func bytesRoundTrip() {
        for text in ["10.1.2.3", "fd00:42::1:2"] {
            let address = IPAddress(text)
            #expect(address.flatMap { IPAddress(bytes: $0.bytes) } == address)
        }
        #expect(IPAddress(bytes: [1, 2, 3]) == nil)
    }
    @Test func advancingCarriesAndStopsAtTheEnd() {
        #expect(IPAddress("10.0.0.255")?.advanced(by: 1)?.description == "10.0.1.0")
        #expect(IPAddress("255.255.255.255")?.advanced(by: 1) == nil)
        #expect(IPAddress("fd00::ffff:ffff:ffff:ffff")?.advanced(by: 1)?.description == "fd00:0:0:1::")
    }
}

@Suite struct IPPrefixTests {
    @Test func networkAndLast() {
        let prefix = IPPrefix("10.42.3.7/22")
        #expect(prefix?.network.description == "10.42.0.0")
        #expect(prefix?.lastAddress.description == "10.42.3.255")
        #expect(prefix?.addressCount == 1024)
        #expect(prefix?.maskBytes == [255, 255, 252, 0])
        let six = IPPrefix("fd00:42:1:2:3::/68")
        #expect(six?.network.description == "fd00:42:1:2::")
        #expect(six?.lastAddress.description == "fd00:42:1:2:fff:ffff:ffff:ffff")
        #expect(IPPrefix("0.0.0.0/0")?.lastAddress.description == "255.255.255.255")
    }
    @Test func membership() {
        let prefix = IPPrefix("10.42.0.0/16")
        #expect(prefix?.contains(.v4(0x0a2a_ff01)) == true)
        #expect(prefix?.contains(.v4(0x0a2b_0001)) == false)
        #expect(prefix?.contains(.v6(0, 1)) == false)
    }
    @Test(arguments: ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "fd00::/129", "10.0.0.0/8/8", "x/8"])
    func otherTextIsRefused(_ text: String) { #expect(IPPrefix(text) == nil) }
    @Test func macAddress() {
        #expect(MACAddress("0a:58:0a:2a:00:05")?.description == "0a:58:0a:2a:00:05")
        #expect(MACAddress("0a:58:0a:2a:00") == nil)
        #expect(MACAddress("0a:58:0a:2a:00:5") == nil)
    }
}
