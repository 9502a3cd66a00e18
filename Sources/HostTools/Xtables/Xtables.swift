extension HostTool {
    /// iptables and its relatives.
    static var xtables: [HostTool] { [] }
}
