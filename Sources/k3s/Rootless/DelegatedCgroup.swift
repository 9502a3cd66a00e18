import Linux

/// The cgroup (version 2) that systemd has delegated to the user's service, divided: one for the parent, one for what is inside,
/// which is the root of the node's cgroups.
///
/// Source: Documentation/admin-guide/cgroup-v2.rst, "Delegation", "No Internal Process Constraint".
enum DelegatedCgroup {
    static let node = "k3s-node"
    private static let parent = "k3s-parent"
    /// Without these pods cannot be limited.
    static let needed = ["cpu", "memory", "pids"]
    private static let wanted = needed + ["cpuset", "io", "hugetlb"]

    /// Moves this process away from where cgroups are to be made. Nil: there is nothing delegated that would be of use.
    static func prepare() -> String? {
        guard let own = ownDirectory() else { return nil }
        let controllers = words(own + "/cgroup.controllers")
        guard needed.allSatisfy(controllers.contains), access(own + "/cgroup.subtree_control", W_OK) == 0,
            access(own + "/cgroup.procs", W_OK) == 0, access(own, W_OK) == 0
        else { return nil }
        do throws(SysError) {
            try Directories.make(own + "/" + parent)
            try Files.overwrite("\(own)/\(parent)/cgroup.procs", "0")
            for controller in wanted where controllers.contains(controller) {
                try Files.overwrite(own + "/cgroup.subtree_control", "+" + controller)
            }
            try Directories.make(own + "/" + node)
            return own + "/" + node
        } catch {
            // Other programs are in it: it is not for k3s alone.
            try? Files.overwrite(own + "/cgroup.procs", "0")
            rmdir("\(own)/\(parent)")
            return nil
        }
    }

    /// Inside, where the node's cgroup is the root: its processes leave it, as a cgroup that has others below has none.
    static func moveIn(_ root: String) throws(SysError) {
        try Directories.make(root + "/k3s")
        for pid in words(root + "/cgroup.procs") { try Files.overwrite(root + "/k3s/cgroup.procs", pid) }
    }

    private static func words(_ file: String) -> [String] {
        ((try? Files.readString(file)) ?? "").split(whereSeparator: \.isWhitespace).map(String.init)
    }

    private static func ownDirectory() -> String? {
        guard let lines = try? Files.readString("/proc/self/cgroup"), let mounts = try? MountInfo.current(),
            let unified = mounts.last(where: { $0.type == "cgroup2" }),
            let line = lines.split(separator: "\n").first(where: { $0.hasPrefix("0::/") })
        else { return nil }
        let path = line.dropFirst(3)
        return path == "/" ? nil : unified.mountPoint + path
    }
}
