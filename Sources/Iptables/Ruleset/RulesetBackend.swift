import Netlink

/// Where rulesets go: the kernel (`KernelRuleset`) or memory (`FakeRuleset`), with the same rules: a commit is atomic,
/// unknown objects are ENOENT, objects in use are EBUSY.
package protocol RulesetBackend: Sendable {
    /// Applies all commands or none. Returns the size of the batch in bytes.
    @discardableResult
    func commit(_ commands: [NFCommand], purpose: String) throws(NetlinkError) -> Int
    func tables() throws(NetlinkError) -> [NFTable]
    func chains(_ table: NFTable) throws(NetlinkError) -> [NFChain]
    func setNames(_ table: NFTable) throws(NetlinkError) -> [String]
    func elements(_ table: NFTable, _ set: NFSet) throws(NetlinkError) -> NFElements
    /// Hash over the rules of a table in their order; changes when somebody adds, removes or edits one.
    func rulesDigest(_ table: NFTable) throws(NetlinkError) -> UInt64
    /// Changes with every transaction of the namespace, anybody's.
    func generation() throws(NetlinkError) -> UInt32
    func setSysctl(_ name: String, _ value: String) throws(NetlinkError)
}

/// nf_tables of the process's network namespace, or of a given one.
package final class KernelRuleset: RulesetBackend {
    private let socket: NFTablesSocket
    private let namespace: NetworkNamespace?

    package init(in namespace: NetworkNamespace? = nil) throws(NetlinkError) {
        socket = try NFTablesSocket(in: namespace)
        self.namespace = namespace
    }

    @discardableResult
    package func commit(_ commands: [NFCommand], purpose: String) throws(NetlinkError) -> Int {
        try socket.commit(commands, purpose)
    }
    package func tables() throws(NetlinkError) -> [NFTable] { try socket.tables() }
    package func chains(_ table: NFTable) throws(NetlinkError) -> [NFChain] { try socket.chains(table) }
    package func setNames(_ table: NFTable) throws(NetlinkError) -> [String] { try socket.sets(table) }
    package func elements(_ table: NFTable, _ set: NFSet) throws(NetlinkError) -> NFElements {
        try socket.elements(table, set)
    }
    package func generation() throws(NetlinkError) -> UInt32 { try socket.generation().number }

    package func rulesDigest(_ table: NFTable) throws(NetlinkError) -> UInt64 {
        var hash = FNV64()
        for rule in try socket.rules(table) {
            hash.combine(rule.chain)
            rule.expressions.withUnsafeBytes { hash.combine($0) }
        }
        return hash.value
    }

    package func setSysctl(_ name: String, _ value: String) throws(NetlinkError) {
        if let namespace {
            try namespace.run { () throws(NetlinkError) in try Sysctl.set(name, value) }
        } else {
            try Sysctl.set(name, value)
        }
    }
}
