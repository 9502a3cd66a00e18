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

    private static let controllers: Set<String> = ["cpu", "cpuacct", "cpuset", "memory", "pids", "devices"]

    package init(hierarchies: [Hierarchy]) {
        self.hierarchies = hierarchies
        managed = hierarchies.filter { !Self.controllers.isDisjoint(with: $0.options) }
    }

    package var version: Int { 1 }

    package var problems: [String] {
        ["cpu", "cpuacct", "memory", "pids", "cpuset", "devices"].filter { directory($0, "") == nil }.map {
            $0 == "memory"
                ? "failed to find memory cgroup (v1): boot the kernel with cgroup_memory=1 cgroup_enable=memory"
                : "failed to find \($0) cgroup (v1)"
        }
    }

    private func directory(_ controller: String, _ path: String) -> String? {
        guard let hierarchy = hierarchies.first(where: { $0.options.contains(controller) }) else { return nil }
        return path.isEmpty ? hierarchy.mountPoint : hierarchy.mountPoint + "/" + path
    }

    private func file(_ controller: String, _ path: String, _ name: String) throws(SysError) -> String {
        guard let directory = directory(controller, path) else {
            throw SysError(ENOENT, call: "find cgroup controller", path: controller)
        }
        return directory + "/" + name
    }

    private func write(_ controller: String, _ path: String, _ name: String, _ value: String) throws(SysError) {
        try Files.overwrite(file(controller, path, name), value)
    }

    private func number(_ controller: String, _ path: String, _ name: String) throws(SysError) -> UInt64 {
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

    package func apply(_ limits: CgroupLimits, to path: String) throws(SysError) {
        if let shares = limits.cpuShares { try write("cpu", path, "cpu.shares", "\(max(2, shares))") }
        if let period = limits.cpuPeriod { try write("cpu", path, "cpu.cfs_period_us", "\(period)") }
        if let quota = limits.cpuQuota { try write("cpu", path, "cpu.cfs_quota_us", "\(quota <= 0 ? -1 : quota)") }
        if let memory = limits.memory { try applyMemory(memory, path) }
        if let pids = limits.pids { try write("pids", path, "pids.max", pids <= 0 ? "max" : "\(pids)") }
        if let cpus = limits.cpusetCPUs { try write("cpuset", path, "cpuset.cpus", cpus) }
    }

    /// memory + swap may never be below memory: which of the two is written first depends on the direction.
    private func applyMemory(_ memory: Int64, _ path: String) throws(SysError) {
        let value = memory <= 0 ? "-1" : "\(memory)"
        let swap = try file("memory", path, "memory.memsw.limit_in_bytes")
        guard Files.exists(swap) else {
            try write("memory", path, "memory.limit_in_bytes", value)
            return
        }
        let current = try number("memory", path, "memory.memsw.limit_in_bytes")
        let growing = memory <= 0 || UInt64(memory) > current
        if growing { try Files.overwrite(swap, value) }
        try write("memory", path, "memory.limit_in_bytes", value)
        if !growing { try Files.overwrite(swap, value) }
    }

    package func restrictDevices(_ rules: [DeviceRule], of path: String) throws(SysError) {
        if rules.contains(where: { $0.kind == .all }) { return try write("devices", path, "devices.allow", "a") }
        try write("devices", path, "devices.deny", "a")
        for rule in rules { try write("devices", path, "devices.allow", rule.line) }
    }

    package func killTogether(_ path: String) throws(SysError) {}

    private func main(_ path: String) -> String {
        directory("memory", path) ?? directory("pids", path) ?? hierarchies[0].mountPoint + "/" + path
    }

    package func processes(_ path: String) throws(SysError) -> [Int32] {
        try CgroupTree.processes(main(path))
    }

    package func stats(_ path: String) throws(SysError) -> CgroupStats {
        var stats = CgroupStats()
        stats.cpuNanoseconds = try number("cpuacct", path, "cpuacct.usage")
        stats.memoryUsage = try number("memory", path, "memory.usage_in_bytes")
        let inactive = CgroupTree.field(
            "total_inactive_file", in: try Files.readString(file("memory", path, "memory.stat")))
        stats.memoryWorkingSet = stats.memoryUsage > inactive ? stats.memoryUsage - inactive : 0
        stats.processes = try number("pids", path, "pids.current")
        return stats
    }

    package func kill(_ path: String) throws(SysError) { try CgroupTree.killAll(main(path)) }

    package func remove(_ path: String) throws(SysError) {
        for hierarchy in hierarchies { try CgroupTree.remove(hierarchy.mountPoint + "/" + path) }
    }

    package func exists(_ path: String) -> Bool {
        hierarchies.contains { Files.isDirectory($0.mountPoint + "/" + path) }
    }

    package func children(_ path: String) throws(SysError) -> [String] { try CgroupTree.children(main(path)) }

    package func joinFiles(_ path: String) -> [String] {
        managed.map { $0.mountPoint + "/" + path + "/tasks" }
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
