import Testing

@testable import Linux

@Suite struct IDMapTests {
    @Test func theFirstUserNamespaceHasAllIDs() {
        let map = IDMap("         0          0 4294967295\n")
        #expect(map.isInitial)
        #expect(map.contains(0) && map.contains(.max))
    }

    @Test func anotherHasWhatItWasGiven() {
        let map = IDMap("0 1000 1\n1 100000 65536\n")
        #expect(!map.isInitial)
        #expect(map.contains(0) && map.contains(1) && map.contains(65536))
        #expect(!map.contains(65537))
    }

    @Test func oneIDIsOneID() {
        let map = IDMap("0 1000 1\n")
        #expect(map.contains(0) && !map.contains(1))
    }

    @Test func rangesEndWithTheLastID() {
        #expect(IDMap("4294967290 5 100\n").contains(.max))
    }

    @Test func whatCannotBeReadIsNoNamespace() { #expect(IDMap("").isInitial) }
}
