/// Version 2: one hierarchy, controllers enabled level by level.
package struct CgroupsV2: Cgroups {
    package let root: String

    package init(root: String) { self.root = root }

    package var version: Int { 2 }

    private static let wanted = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids"]

    private func words(_ path: String) throws(SysError) -> [String] {
        try Files.readString(path).split(whereSeparator: \.isWhitespace).map(String.init)
    }

    package var problems: [String] {
        let available = (try? words(root + "/cgroup.controllers")) ?? []
        return ["cpu", "cpuset", "memory", "pids"].filter { !available.contains($0) }.map {
            $0 == "memory"
                ? "failed to find memory cgroup (v2): boot the kernel with cgroup_memory=1 cgroup_enable=memory"
                : "failed to find \($0) cgroup (v2): it is missing in \(root)/cgroup.controllers"
        }
    }

    private func directory(_ path: String) -> String { path.isEmpty ? root : root + "/" + path }

    package func create(_ path: String) throws(SysError) {
        var directory = root
        for part in path.split(separator: "/") {
            try enableControllers(in: directory)
            directory += "/" + part
            if !Files.isDirectory(directory) { try Directories.make(directory) }
        }
    }

    package func createRefuge(_ path: String) throws(SysError) -> [String] {
        try create(path)
        return joinFiles(path)
    }

    /// Gives the children of a cgroup all controllers it has itself.
    private func enableControllers(in directory: String) throws(SysError) {
        let available = try words(directory + "/cgroup.controllers")
        let enabled = try words(directory + "/cgroup.subtree_control")
        let missing = Self.wanted.filter { available.contains($0) && !enabled.contains($0) }
        if missing.isEmpty { return }
        let file = directory + "/cgroup.subtree_control"
        do throws(SysError) {
            try Files.overwrite(file, missing.map { "+" + $0 }.joined(separator: " "))
        } catch {
            // A cgroup with processes of its own cannot have children with controllers: only the root may.
            guard error.code == EBUSY else { throw error }
            throw SysError(
                EBUSY, call: "enable controllers \(missing.joined(separator: ",")) (processes must leave first)",
                path: file)
        }
    }

    package func apply(_ limits: CgroupLimits, to path: String) throws(SysError) {
        let directory = directory(path)
        if let shares = limits.cpuShares {
            try Files.overwrite(directory + "/cpu.weight", "\(Self.weight(shares: shares))")
        }
        if limits.cpuQuota != nil || limits.cpuPeriod != nil {
            let quota = limits.cpuQuota.map { $0 <= 0 ? "max" : "\($0)" }
            let current = try words(directory + "/cpu.max")
            let text =
                (quota ?? current.first ?? "max") + " "
                + (limits.cpuPeriod.map(String.init) ?? current.dropFirst().first ?? "100000")
            try Files.overwrite(directory + "/cpu.max", text)
        }
        if let memory = limits.memory {
            try Files.overwrite(directory + "/memory.max", memory <= 0 ? "max" : "\(memory)")
            // Kubernetes does not swap by default; kernels without swap accounting do not have the file.
            let swap = directory + "/memory.swap.max"
            if Files.exists(swap) { try Files.overwrite(swap, memory <= 0 ? "max" : "0") }
        }
        if let pids = limits.pids { try Files.overwrite(directory + "/pids.max", pids <= 0 ? "max" : "\(pids)") }
        if let cpus = limits.cpusetCPUs { try Files.overwrite(directory + "/cpuset.cpus", cpus) }
    }

    /// Shares 2, 1024, 262144 become weights 1, 100, 10000 on a curve through these three points, as current container
    /// runtimes convert (the straight line of former years gave 1024 shares a weight of 39).
    package static func weight(shares: UInt64) -> UInt64 {
        if shares == 0 { return 0 }
        if shares <= 2 { return 1 }
        if shares >= 262144 { return 10000 }
        let l = log2(Double(shares))
        let exponent = (l * l + 125 * l) / 612.0 - 7.0 / 34.0
        return min(10000, max(1, UInt64(pow(10, exponent).rounded(.up))))
    }

    package func restrictDevices(_ rules: [DeviceRule], of path: String) throws(SysError) {
        let program = DeviceFilter.program(rules)
        let fd = try FileDescriptor.open(directory(path), O_RDONLY | O_DIRECTORY)
        let raw = fd.raw
        _ = try program.withBytes { (bytes) throws(SysError) in
            try checked("bpf", directory(path)) {
                k3s_bpf_attach_device_filter(raw, bytes.baseAddress, UInt32(bytes.count / 8))
            }
        }
    }

    package func killTogether(_ path: String) throws(SysError) {
        let file = directory(path) + "/memory.oom.group"
        if Files.exists(file) { try Files.overwrite(file, "1") }
    }

    package func processes(_ path: String) throws(SysError) -> [Int32] { try CgroupTree.processes(directory(path)) }

    package func stats(_ path: String) throws(SysError) -> CgroupStats {
        let directory = directory(path)
        var stats = CgroupStats()
        stats.cpuNanoseconds = CgroupTree.field("usage_usec", in: try Files.readString(directory + "/cpu.stat")) * 1000
        stats.memoryUsage = try number(directory + "/memory.current")
        let inactive = CgroupTree.field("inactive_file", in: try Files.readString(directory + "/memory.stat"))
        stats.memoryWorkingSet = stats.memoryUsage > inactive ? stats.memoryUsage - inactive : 0
        stats.processes = try number(directory + "/pids.current")
        return stats
    }

    private func number(_ path: String) throws(SysError) -> UInt64 {
        UInt64(try Files.readString(path).filter { !$0.isWhitespace }) ?? 0
    }

    package func kill(_ path: String) throws(SysError) {
        let file = directory(path) + "/cgroup.kill"
        if Files.exists(file) { try Files.overwrite(file, "1") }
        try CgroupTree.killAll(directory(path))
    }

    package func remove(_ path: String) throws(SysError) { try CgroupTree.remove(directory(path)) }
    package func exists(_ path: String) -> Bool { Files.isDirectory(directory(path)) }
    package func children(_ path: String) throws(SysError) -> [String] { try CgroupTree.children(directory(path)) }
    package func joinFiles(_ path: String) -> [String] { [directory(path) + "/cgroup.procs"] }
    package func cloneDirectory(_ path: String) -> String? { directory(path) }
    package func oomFile(_ path: String) -> String { directory(path) + "/memory.events" }
    package func killFile(_ path: String) -> String {
        let kill = directory(path) + "/cgroup.kill"
        return Files.exists(kill) ? kill : directory(path) + "/cgroup.procs"
    }
    package var containerMounts: [CgroupMount] { [CgroupMount(type: "cgroup2", name: "", options: "")] }
}
