import Linux

/// The mounts of a rootless node that need no more than its own mount namespace: a /run that it can write to, and a resolv.conf
/// that leads to name servers which it reaches.
enum RootlessMounts {
    /// Where the host's /run is.
    static let host = "/run/.host"
    /// Of a node outside, if there is one: not this one's.
    private static let own: Set<String> = ["k3s", "flannel", "netns", "containerd", "xtables.lock"]

    /// A new /run in which all that the host has there is linked, and `directory` (of the host, the user's) is /run/k3s.
    static func replaceRun(_ directory: String) throws(SysError) {
        let before = FileDescriptor(
            owning: try checked("open_tree", "/run") {
                k3s_open_tree(AT_FDCWD, "/run", UInt32(K3S_OPEN_TREE_CLONE | K3S_AT_RECURSIVE))
            })
        // By descriptor: its name may be below /run.
        let state = FileDescriptor(
            owning: try checked("open_tree", directory) {
                k3s_open_tree(AT_FDCWD, directory, UInt32(K3S_OPEN_TREE_CLONE))
            })
        try Mounts.mountFilesystem(
            "tmpfs", at: "/run", flags: UInt(MS_NOSUID | MS_NODEV), options: "mode=755,size=64m")
        for path in [host, "/run/k3s"] { try Directories.make(path) }
        try move(before, to: host)
        try move(state, to: "/run/k3s")
        for entry in try Directories.list(host) where !own.contains(entry.name) {
            let (target, link) = (".host/" + entry.name, "/run/" + entry.name)
            try syscall("symlink", link) { symlink(target, link) }
        }
    }

    private static func move(_ tree: borrowing FileDescriptor, to target: String) throws(SysError) {
        let raw = tree.raw
        try checked("move_mount", target) {
            k3s_move_mount(raw, "", AT_FDCWD, target, UInt32(K3S_MOVE_MOUNT_F_EMPTY_PATH))
        }
    }

    /// resolv.conf's text with other servers; search domains and options stay.
    static func resolvConf(_ text: String, servers: [String]) -> String {
        let kept = text.split(whereSeparator: \.isNewline).filter {
            $0.hasPrefix("search") || $0.hasPrefix("domain") || $0.hasPrefix("options")
        }
        return (servers.map { "nameserver \($0)" } + kept.map(String.init)).joined(separator: "\n") + "\n"
    }

    /// In the place of /etc/resolv.conf, wherever that is.
    static func replaceResolvConf(_ text: String) throws(SysError) {
        let path = "/run/.resolv.conf"
        try Files.write(path, Array(text.utf8), mode: 0o644)
        try Mounts.bind(path, to: "/etc/resolv.conf")
    }
}
