import Testing

@testable import HostTools

@Suite struct HostToolTests {
    @Test func namesAreUnique() { #expect(Set(HostTool.names).count == HostTool.names.count) }

    @Test func aToolIsFoundByItsPath() {
        for name in HostTool.names { #expect(HostTool.named("/usr/sbin/" + name)?.name == name) }
        #expect(HostTool.named("k3s") == nil)
    }
}
