extension HostTool {
    /// Files and mounts, as coreutils and util-linux have them.
    static var files: [HostTool] {
        [
            HostTool("du", Du.run), HostTool("mount", Mount.run), HostTool("umount", Umount.run),
            HostTool("findmnt", Findmnt.run),
        ]
    }

    /// Programs in other surroundings.
    static var processes: [HostTool] { [HostTool("nsenter", Nsenter.run)] }
}
