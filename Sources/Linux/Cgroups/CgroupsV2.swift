/// Version 2: one hierarchy, controllers enabled level by level.
package struct CgroupsV2: Cgroups {
    package let root: String

    package init(root: String) { self.root = root }

    package var version: Int { 2 }

    private static let wanted = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids"]

    func words(_ path: String) throws(SysError) -> [String] {
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

    func directory(_ path: String) -> String { path.isEmpty ? root : root + "/" + path }

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

    func number(_ path: String) throws(SysError) -> UInt64 {
        UInt64(try Files.readString(path).filter { !$0.isWhitespace }) ?? 0
    }

    package func freeze(_ path: String, _ frozen: Bool) throws(SysError) {
        try Files.overwrite(directory(path) + "/cgroup.freeze", frozen ? "1" : "0")
        let deadline = MonotonicClock.now() + 2_000_000_000
        while try (CgroupTree.field("frozen", in: Files.readString(directory(path) + "/cgroup.events")) == 1) != frozen
        {
            if MonotonicClock.now() > deadline { throw SysError(EBUSY, "freeze", path: directory(path)) }
            usleep(500)
        }
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
