/// Version 1: one hierarchy per controller or group of controllers, each with a directory for the same path.
package struct CgroupsV1: Cgroups {
    package struct Hierarchy: Sendable, Equatable {
        package var mountPoint: String
        /// Controllers, or "name=systemd".
        package var options: [String]
        package init(mountPoint: String, options: [String]) {
            (self.mountPoint, self.options) = (mountPoint, options)
        }
    }

    /// All of the machine.
    package let hierarchies: [Hierarchy]
    /// Those with a controller that limits or accounts for a container. Every further hierarchy would cost each container
    /// a directory and a migration, which is the dearest part of a start.
    private let managed: [Hierarchy]
    private let extra: [Hierarchy]

    private static let controllers: Set<String> = ["cpu", "cpuacct", "cpuset", "memory", "pids", "devices"]
    /// Joined by those containers only that have limits in them.
    private static let onDemand: Set<String> = ["blkio", "hugetlb"]

    package init(hierarchies: [Hierarchy]) {
        self.hierarchies = hierarchies
        managed = hierarchies.filter { !Self.controllers.isDisjoint(with: $0.options) }
        extra = hierarchies.filter {
            Self.controllers.isDisjoint(with: $0.options) && !Self.onDemand.isDisjoint(with: $0.options)
        }
    }

    package var version: Int { 1 }

    package var problems: [String] {
        ["cpu", "cpuacct", "memory", "pids", "cpuset", "devices"].filter { directory($0, "") == nil }.map {
            $0 == "memory"
                ? "failed to find memory cgroup (v1): boot the kernel with cgroup_memory=1 cgroup_enable=memory"
                : "failed to find \($0) cgroup (v1)"
        }
    }

    func directory(_ controller: String, _ path: String) -> String? {
        guard let hierarchy = hierarchies.first(where: { $0.options.contains(controller) }) else { return nil }
        return path.isEmpty ? hierarchy.mountPoint : hierarchy.mountPoint + "/" + path
    }

    func file(_ controller: String, _ path: String, _ name: String) throws(SysError) -> String {
        guard let directory = directory(controller, path) else {
            throw SysError(ENOENT, call: "find cgroup controller", path: controller)
        }
        return directory + "/" + name
    }

    func write(_ controller: String, _ path: String, _ name: String, _ value: String) throws(SysError) {
        try Files.overwrite(file(controller, path, name), value)
    }

    func number(_ controller: String, _ path: String, _ name: String) throws(SysError) -> UInt64 {
        let text = try Files.readString(file(controller, path, name))
        return UInt64(text.filter { !$0.isWhitespace }) ?? 0
    }

    package func create(_ path: String) throws(SysError) { try create(path, in: managed) }

    package func createRefuge(_ path: String) throws(SysError) -> [String] {
        try create(path, in: hierarchies)
        return hierarchies.map { $0.mountPoint + "/" + path + "/tasks" }
    }

    private func create(_ path: String, in hierarchies: [Hierarchy]) throws(SysError) {
        for hierarchy in hierarchies {
            let directory = hierarchy.mountPoint + "/" + path
            if Files.isDirectory(directory) { continue }
            try Directories.make(directory)
            if hierarchy.options.contains("cpuset") { try inheritCpuset(hierarchy.mountPoint, path) }
        }
    }

    /// A new cpuset is empty and takes no process until it has CPUs and memory nodes.
    private func inheritCpuset(_ root: String, _ path: String) throws(SysError) {
        var directory = root
        for part in path.split(separator: "/") {
            let parent = directory
            directory += "/" + part
            for name in ["cpuset.cpus", "cpuset.mems"] {
                let own = try Files.readIfPresent(directory + "/" + name) ?? []
                guard own.allSatisfy({ $0 == UInt8(ascii: "\n") }) else { continue }
                let inherited = try Files.readString(parent + "/" + name)
                try Files.overwrite(directory + "/" + name, String(inherited.prefix { $0 != "\n" }))
            }
        }
    }

    /// The directory in a hierarchy that containers join on demand.
    func createOnDemand(_ controller: String, _ path: String) throws(SysError) {
        guard let hierarchy = extra.first(where: { $0.options.contains(controller) }) else { return }
        try create(path, in: [hierarchy])
    }

    package func restrictDevices(_ rules: [DeviceRule], of path: String) throws(SysError) {
        if rules.contains(where: { $0.kind == .all }) { return try write("devices", path, "devices.allow", "a") }
        try write("devices", path, "devices.deny", "a")
        for rule in rules { try write("devices", path, "devices.allow", rule.line) }
    }

    package func killTogether(_ path: String) throws(SysError) {}

    func main(_ path: String) -> String {
        directory("memory", path) ?? directory("pids", path) ?? hierarchies[0].mountPoint + "/" + path
    }

    package func processes(_ path: String) throws(SysError) -> [Int32] {
        try CgroupTree.processes(main(path))
    }

    package func kill(_ path: String) throws(SysError) {
        do throws(SysError) { try CgroupTree.killAll(main(path), milliseconds: 500) } catch {
            guard error.code == EBUSY, directory("freezer", path) != nil else { throw error }
            // What forks faster than it is killed has to stand still.
            try? freeze(path, true)
            for pid in try processes(path) where pid > 1 { _ = Glibc.kill(pid, SIGKILL) }
            try? freeze(path, false)
            try CgroupTree.killAll(main(path))
        }
    }

    /// Containers are not in the freezer's hierarchy from the start on: it would cost each start a migration. They are
    /// taken there when they are to be frozen, until no process comes along any more.
    package func freeze(_ path: String, _ frozen: Bool) throws(SysError) {
        guard let freezer = directory("freezer", path) else {
            throw SysError(ENOENT, call: "find cgroup controller", path: "freezer")
        }
        if !Files.isDirectory(freezer) {
            if !frozen { return }
            try Directories.make(freezer)
        }
        if frozen {
            for _ in 0..<64 {
                let outside = Set(try processes(path)).subtracting(try CgroupTree.processes(freezer))
                if outside.isEmpty { break }
                for pid in outside { _ = try? Files.overwrite(freezer + "/cgroup.procs", "\(pid)") }
            }
        }
        let wanted = frozen ? "FROZEN" : "THAWED"
        try Files.overwrite(freezer + "/freezer.state", wanted)
        let deadline = MonotonicClock.now() + 2_000_000_000
        while try !Files.readString(freezer + "/freezer.state").hasPrefix(wanted) {
            if MonotonicClock.now() > deadline { throw SysError(EBUSY, "freeze", path: freezer) }
            usleep(500)
            // A process that was being made meanwhile keeps the state at FREEZING until it is asked for again.
            try Files.overwrite(freezer + "/freezer.state", wanted)
        }
    }

    package func remove(_ path: String) throws(SysError) {
        for hierarchy in hierarchies { try CgroupTree.remove(hierarchy.mountPoint + "/" + path) }
    }

    package func exists(_ path: String) -> Bool {
        hierarchies.contains { Files.isDirectory($0.mountPoint + "/" + path) }
    }

    package func children(_ path: String) throws(SysError) -> [String] { try CgroupTree.children(main(path)) }

    package func joinFiles(_ path: String) -> [String] {
        let joined = managed + extra.filter { Files.isDirectory($0.mountPoint + "/" + path) }
        return joined.map { $0.mountPoint + "/" + path + "/tasks" }
    }

    package func cloneDirectory(_ path: String) -> String? { nil }
    package func oomFile(_ path: String) -> String {
        (directory("memory", path) ?? main(path)) + "/memory.oom_control"
    }
    package func killFile(_ path: String) -> String { main(path) + "/cgroup.procs" }

    package var containerMounts: [CgroupMount] {
        managed.map { hierarchy in
            let name = hierarchy.options.joined(separator: ",")
            return CgroupMount(type: "cgroup", name: name, options: name)
        }
    }
}
