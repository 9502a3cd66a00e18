import Testing

@testable import ControlPlane

@Suite struct IPNetworkTests {
    @Test func aWideNetworkHoldsAllItsSubnets() throws {
        let wide = try #require(IPNetwork("fd99::/48"))
        for (text, isInside) in [
            ("fd99::1/64", true), ("fd99:0:0:1::/64", true), ("fd99:0:1::/64", false), ("fd98::/64", false),
        ] {
            #expect(try wide.contains(#require(IPNetwork(text)).base) == isInside, "\(text)")
        }
        let all = try #require(IPNetwork("::/0"))
        #expect(try all.contains(wide.base) && !all.contains(#require(IPNetwork("10.0.0.0/8")).base))
    }
}
