import Iptables
import Linux
import Netlink
import Synchronization

/// The kernel's nf_tables, with the CPU time that transactions take (encoding, which is little, included): what no way of
/// computing the elements could save.
final class MeasuredRuleset: RulesetBackend {
    private let kernel: KernelRuleset
    private let spent = Mutex(Duration.zero)

    init(in namespace: NetworkNamespace) throws(NetlinkError) { kernel = try KernelRuleset(in: namespace) }

    /// Since it was asked last.
    func takeCommitTime() -> Duration {
        spent.withLock { spent in
            defer { spent = .zero }
            return spent
        }
    }

    /// Of this thread, the kernel's part included: what a busy machine does not distort.
    static func cpuTime() -> Duration {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }

    @discardableResult
    func commit(_ commands: [NFCommand], purpose: String) throws(NetlinkError) -> Int {
        let start = MeasuredRuleset.cpuTime()
        defer { spent.withLock { $0 += MeasuredRuleset.cpuTime() - start } }
        return try kernel.commit(commands, purpose: purpose)
    }
    func tables() throws(NetlinkError) -> [NFTable] { try kernel.tables() }
    func chains(_ table: NFTable) throws(NetlinkError) -> [NFChain] { try kernel.chains(table) }
    func setNames(_ table: NFTable) throws(NetlinkError) -> [String] { try kernel.setNames(table) }
    func elements(_ table: NFTable, _ set: NFSet) throws(NetlinkError) -> NFElements {
        try kernel.elements(table, set)
    }
    func rulesDigest(_ table: NFTable) throws(NetlinkError) -> UInt64 { try kernel.rulesDigest(table) }
    func generation() throws(NetlinkError) -> UInt32 { try kernel.generation() }
    func setSysctl(_ name: String, _ value: String) throws(NetlinkError) { try kernel.setSysctl(name, value) }
}
