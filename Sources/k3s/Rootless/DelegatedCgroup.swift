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

    enum State: Equatable {
        case usable(String)
        /// Why not.
        case missing(String)
    }

    static func state() -> State {
        guard let own = ownDirectory() else { return .missing("no cgroup of version 2") }
        let lacking = Set(needed).subtracting(words(own + "/cgroup.controllers")).sorted()
        guard lacking.isEmpty else {
            return .missing("controllers missing in \(own): \(lacking.joined(separator: ", "))")
        }
        let files = ["", "/cgroup.procs", "/cgroup.subtree_control"]
        if let file = files.first(where: { access(own + $0, W_OK) != 0 }) {
            return .missing("\(own)\(file) is not this user's")
        }
        return .usable(own)
    }

    /// Moves this process away from where cgroups are to be made. Nil: there is nothing delegated that would be of use.
    static func prepare() -> String? {
        guard case .usable(let own) = state() else { return nil }
        let controllers = words(own + "/cgroup.controllers")
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
