import Iptables
import Linux
import Netlink
import NetworkTesting
import Testing

/// nf_tables in memory of a kernel that lacks something: what it refuses, and with which errno.
private final class PoorKernel: RulesetBackend {
    private let fake = FakeRuleset()
    private let refuses: @Sendable (NFCommand) -> Int32?
    init(_ refuses: @escaping @Sendable (NFCommand) -> Int32?) { self.refuses = refuses }

    func commit(_ commands: [NFCommand], purpose: String) throws(NetlinkError) -> Int {
        for command in commands { if let code = refuses(command) { throw NetlinkError(code, command.summary) } }
        return try fake.commit(commands, purpose: purpose)
    }
    func tables() throws(NetlinkError) -> [NFTable] { fake.tables() }
    func chains(_ table: NFTable) throws(NetlinkError) -> [NFChain] { fake.chains(table) }
    func setNames(_ table: NFTable) throws(NetlinkError) -> [String] { fake.setNames(table) }
    func elements(_ table: NFTable, _ set: NFSet) throws(NetlinkError) -> NFElements { try fake.elements(table, set) }
    func rulesDigest(_ table: NFTable) throws(NetlinkError) -> UInt64 { try fake.rulesDigest(table) }
    func generation() throws(NetlinkError) -> UInt32 { fake.generation() }
    func setSysctl(_ name: String, _ value: String) throws(NetlinkError) { fake.setSysctl(name, value) }
}

@Suite struct KernelSupportTests {
    @Test func aKernelWithIptablesOnlyIsToldWhatItLacks() throws {
        // What the kernel says where nfnetlink knows no such subsystem.
        let error = try #require(
            #expect(throws: KernelSupport.Missing.self) { try KernelSupport.check(PoorKernel { _ in EINVAL }) })
        #expect(error.needs == KernelSupport.needs)
        for option in ["CONFIG_NF_TABLES", "CONFIG_NFT_NAT", "CONFIG_NFT_NUMGEN", "CONFIG_NFT_MASQ", "iptables alone"] {
            #expect(error.description.contains(option), "\(error)")
        }
    }

    @Test func oneThatLacksAnExpressionIsToldWhich() throws {
        let kernel = PoorKernel { command in
            guard case .addRule(_, _, let rule) = command else { return nil }
            return rule.expressions.contains { $0.name == "numgen" } ? ENOENT : nil
        }
        let error = try #require(#expect(throws: KernelSupport.Missing.self) { try KernelSupport.check(kernel) })
        #expect(error.needs.map(\.title) == ["random numbers (numgen)"])
        #expect(error.description.contains("CONFIG_NFT_NUMGEN") && !error.description.contains("CONFIG_NFT_MASQ"))
    }

    @Test func otherErrorsAreNoMissingParts() throws {
        #expect(throws: NetlinkError.self) { try KernelSupport.check(PoorKernel { _ in EPERM }) }
        let fake = FakeRuleset()
        try KernelSupport.check(fake)
        #expect(fake.tables().isEmpty)
    }

    @Test(.enabled(if: Live.isRoot, "needs root and network namespaces")) func thisKernelHasAllOfIt() throws {
        let namespace = try NetworkNamespace.make()
        try KernelSupport.check(KernelRuleset(in: namespace))
        #expect(nftRuleset(namespace).output.isEmpty)
    }
}
