extension HostTool {
    /// Sockets and interfaces.
    static var network: [HostTool] { [HostTool("socat", Socat.run), HostTool("ethtool", Ethtool.run)] }
}
