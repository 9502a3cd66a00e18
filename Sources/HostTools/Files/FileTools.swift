extension HostTool {
    /// Files and mounts, as coreutils and util-linux have them.
    static var files: [HostTool] {
        [
            HostTool("du", Du.run)
        ]
    }
}
