import Linux
import Testing

/// Every limit of both versions, on directories that look like cgroupfs, and what the kernel of this machine makes of them.
@Suite struct CgroupLimitsTests {
    private func touch(_ directory: String, _ files: [String]) throws {
        try Directories.make(directory)
        for name in files { try Files.write(directory + "/" + name, []) }
    }

    private func v1(_ root: String) throws -> CgroupsV1 {
        let names = ["cpu", "cpuacct", "memory", "pids", "cpuset", "devices", "blkio", "hugetlb", "freezer"]
        for name in names { try Directories.make(root + "/" + name) }
        for file in ["cpuset.cpus", "cpuset.mems"] { try Files.write(root + "/cpuset/" + file, Array("0\n".utf8)) }
        return CgroupsV1(hierarchies: names.map { .init(mountPoint: root + "/" + $0, options: [$0]) })
    }

    private func limits() -> CgroupLimits {
        var limits = CgroupLimits()
        (limits.cpuQuota, limits.cpuPeriod, limits.cpuBurst) = (50_000, 100_000, 20_000)
        (limits.cpusetCPUs, limits.cpusetMemoryNodes) = ("0-1", "0")
        (limits.memory, limits.swap) = (1 << 30, 1 << 20)
        (limits.memoryMin, limits.memoryLow, limits.memoryHigh) = (4096, 8192, 1 << 29)
        limits.hugePages = ["2MB": 4 << 20, "1GB": -1]
        limits.io.weight = 500
        limits.io.deviceWeights = [.init(8, 0): 100]
        var throttle = IOLimits.Throttle(.init(8, 16))
        (throttle.readBytes, throttle.writes) = (1 << 20, 100)
        limits.io.throttles = [throttle]
        return limits
    }

    @Test func v1WritesEveryLimit() throws {
        try withTemporaryDirectory { root in
            let cgroups = try v1(root)
            try touch(root + "/cpu/c", ["cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us"])
            try touch(root + "/cpuset/c", ["cpuset.cpus", "cpuset.mems"])
            try touch(
                root + "/memory/c",
                ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.soft_limit_in_bytes"])
            try touch(root + "/hugetlb/c", ["hugetlb.2MB.limit_in_bytes", "hugetlb.1GB.limit_in_bytes"])
            let throttles = ["read_bps", "write_bps", "read_iops", "write_iops"].map { "blkio.throttle.\($0)_device" }
            try touch(root + "/blkio/c", ["blkio.bfq.weight", "blkio.bfq.weight_device"] + throttles)
            try cgroups.apply(limits(), to: "c")
            func read(_ path: String) throws -> String { try Files.readString(root + "/" + path) }
            #expect(try read("cpu/c/cpu.cfs_burst_us") == "20000")
            #expect(try read("cpuset/c/cpuset.cpus") == "0-1")
            #expect(try read("cpuset/c/cpuset.mems") == "0")
            #expect(try read("memory/c/memory.limit_in_bytes") == "\(1 << 30)")
            #expect(try read("memory/c/memory.memsw.limit_in_bytes") == "\((1 << 30) + (1 << 20))")
            #expect(try read("memory/c/memory.soft_limit_in_bytes") == "8192")
            #expect(try read("hugetlb/c/hugetlb.2MB.limit_in_bytes") == "\(4 << 20)")
            #expect(try read("hugetlb/c/hugetlb.1GB.limit_in_bytes") == "-1")
            #expect(try read("blkio/c/blkio.bfq.weight") == "500")
            #expect(try read("blkio/c/blkio.bfq.weight_device") == "8:0 100")
            #expect(try read("blkio/c/blkio.throttle.read_bps_device") == "8:16 1048576")
            #expect(try read("blkio/c/blkio.throttle.write_iops_device") == "8:16 100")
        }
    }

    @Test func v1HierarchiesOfRareLimitsAreJoinedOnDemand() throws {
        try withTemporaryDirectory { root in
            let cgroups = try v1(root)
            // As the kernel makes them.
            try touch(root + "/cpuset/c", ["cpuset.cpus", "cpuset.mems"])
            try cgroups.create("c")
            #expect(cgroups.joinFiles("c").count == 6)
            #expect(!Files.exists(root + "/blkio/c"))
            try touch(root + "/hugetlb/c", ["hugetlb.2MB.limit_in_bytes"])
            var limits = CgroupLimits()
            limits.hugePages = ["2MB": 0]
            try cgroups.apply(limits, to: "c")
            #expect(cgroups.joinFiles("c").last == root + "/hugetlb/c/tasks")
            #expect(cgroups.joinFiles("c").count == 7)
        }
    }

    @Test func v2WritesEveryLimit() throws {
        try withTemporaryDirectory { root in
            try touch(
                root + "/c",
                [
                    "cpu.max", "cpu.max.burst", "cpuset.cpus", "cpuset.mems", "memory.max", "memory.swap.max",
                    "memory.min", "memory.low", "memory.high", "hugetlb.2MB.max", "hugetlb.2MB.rsvd.max",
                    "hugetlb.1GB.max", "io.weight", "io.max",
                ])
            try CgroupsV2(root: root).apply(limits(), to: "c")
            func read(_ name: String) throws -> String { try Files.readString(root + "/c/" + name) }
            #expect(try read("cpu.max") == "50000 100000")
            #expect(try read("cpu.max.burst") == "20000")
            #expect(try read("cpuset.cpus") == "0-1")
            #expect(try read("cpuset.mems") == "0")
            #expect(try read("memory.max") == "\(1 << 30)")
            #expect(try read("memory.swap.max") == "\(1 << 20)")
            #expect(try read("memory.min") == "4096")
            #expect(try read("memory.low") == "8192")
            #expect(try read("memory.high") == "\(1 << 29)")
            #expect(try read("hugetlb.2MB.max") == "\(4 << 20)")
            #expect(try read("hugetlb.2MB.rsvd.max") == "\(4 << 20)")
            #expect(try read("hugetlb.1GB.max") == "max")
            // The device came last into the file, which is no cgroupfs and keeps one line.
            #expect(try read("io.weight") == "8:0 910")
            #expect(try read("io.max") == "8:16 rbps=1048576 wbps=max riops=max wiops=100")
            var open = CgroupLimits()
            (open.memoryMin, open.memoryLow, open.memoryHigh, open.swap) = (-1, 0, -1, -1)
            try CgroupsV2(root: root).apply(open, to: "c")
            #expect(try read("memory.min") == "0" && read("memory.low") == "0")
            #expect(try read("memory.high") == "max" && read("memory.swap.max") == "max")
            try Files.remove(root + "/c/io.weight")
            try Files.write(root + "/c/io.bfq.weight", [])
            var weight = CgroupLimits()
            weight.io.weight = 300
            try CgroupsV2(root: root).apply(weight, to: "c")
            #expect(try read("io.bfq.weight") == "default 300")
        }
    }

    @Test(arguments: [(0, 0), (10, 1), (500, 4950), (1000, 10000), (5000, 10000)] as [(UInt64, UInt64)])
    func blockWeightsBecomeIOWeights(_ old: UInt64, _ new: UInt64) {
        #expect(CgroupsV2.weight(blkio: old) == new)
    }

    @Test func missingCgroupsAreExplained() {
        let error = #expect(throws: SysError.self) { try CgroupDetection.detect(mounts: []) }
        #expect(error?.description.contains("neither version 1 nor version 2 is mounted") == true)
    }

    @Test func diskUsageCountsHardLinksOnce() throws {
        try withTemporaryDirectory { root in
            try Directories.make(root + "/a/b")
            try Files.write(root + "/a/one", [UInt8](repeating: 1, count: 100_000))
            let single = try DiskUsage.measure(root + "/a")
            link(root + "/a/one", root + "/a/b/two")
            symlink("/", root + "/a/b/link")
            let linked = try DiskUsage.measure(root + "/a")
            #expect(single.bytes >= 100_000 && linked.bytes - single.bytes < 8192)
            // a, b, one; then the symbolic link as well.
            #expect((single.files, linked.files) == (3, 4))
            try Files.write(root + "/a/one.rotated", [UInt8](repeating: 1, count: 50_000))
            #expect(try DiskUsage.measure(root + "/a", prefix: "one").files == 2)
            #expect(try DiskUsage.measure(root + "/missing") == DiskUsage())
            #expect(throws: SysError.self) { _ = try DiskUsage.measure(root + "/a/one") }
        }
    }

    private static let live = geteuid() == 0 && ((try? CgroupDetection.detect())?.problems.isEmpty ?? false)

    private func withCgroup(_ body: (any Cgroups, String) async throws -> Void) async throws {
        let cgroups = try CgroupDetection.detect()
        let name = "k3s-limits-test-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        try cgroups.create(name + "/c")
        do { try await body(cgroups, name + "/c") } catch {
            _ = try? cgroups.kill(name)
            _ = try? cgroups.remove(name)
            throw error
        }
        try cgroups.kill(name)
        try cgroups.remove(name)
    }

    @Test(.enabled(if: live, "needs root and cgroups with all controllers"))
    func theKernelTakesLimitsAndTheirChanges() async throws {
        try await withCgroup { cgroups, path in
            var limits = CgroupLimits()
            (limits.cpuShares, limits.cpuQuota, limits.cpuPeriod, limits.cpuBurst) = (512, 50_000, 100_000, 10_000)
            (limits.memory, limits.memoryLow) = (64 << 20, 16 << 20)
            (limits.pids, limits.cpusetCPUs, limits.cpusetMemoryNodes) = (100, "0", "0")
            if cgroups.version == 2 { (limits.memoryMin, limits.memoryHigh) = (8 << 20, 48 << 20) }
            try cgroups.apply(limits, to: path)
            // Up, down, open: each in one go, whatever was there before.
            (limits.cpuQuota, limits.cpuPeriod, limits.cpuBurst, limits.memory) = (5_000, 10_000, 5_000, 128 << 20)
            try cgroups.apply(limits, to: path)
            (limits.cpuQuota, limits.cpuPeriod, limits.cpuBurst, limits.memory) = (2_000, 100_000, 0, 32 << 20)
            if cgroups.version == 2 { limits.memoryHigh = -1 }
            try cgroups.apply(limits, to: path)
            (limits.cpuQuota, limits.memory, limits.pids) = (-1, -1, -1)
            try cgroups.apply(limits, to: path)
            let stats = try cgroups.stats(path)
            #expect(stats.processes == 0 && stats.oomKills == 0)
            if let v2 = cgroups as? CgroupsV2 {
                let directory = v2.root + "/" + path
                #expect(try Files.readString(directory + "/cpu.weight") == "59\n")
                #expect(try Files.readString(directory + "/memory.min") == "\(8 << 20)\n")
                #expect(try Files.readString(directory + "/memory.high") == "max\n")
                #expect(try Files.readString(directory + "/cpu.max") == "max 100000\n")
            }
        }
    }

    @Test(.enabled(if: live, "needs root and cgroups with all controllers"))
    func aFrozenCgroupStandsStill() async throws {
        try await withCgroup { cgroups, path in
            let joins = cgroups.joinFiles(path).map { "echo $$ > \($0)" }.joined(separator: "; ")
            var child = try Spawned.start(["/bin/sh", "-c", joins + "; while :; do :; done"])
            func wait(until nanoseconds: UInt64) throws {
                for _ in 0..<2000 {
                    if try cgroups.stats(path).cpuNanoseconds >= nanoseconds { return }
                    usleep(2000)
                }
            }
            try wait(until: 1)
            try cgroups.freeze(path, true)
            // On a busy machine the last tick is a while on its way into the account.
            var before: UInt64 = 0
            for _ in 0..<100 {
                before = try cgroups.stats(path).cpuNanoseconds
                usleep(100_000)
                if try cgroups.stats(path).cpuNanoseconds == before { break }
            }
            #expect(before > 0)
            usleep(100_000)
            #expect(try cgroups.stats(path).cpuNanoseconds == before)
            try cgroups.freeze(path, false)
            try wait(until: before + 50_000_000)
            #expect(try cgroups.stats(path).cpuNanoseconds - before >= 50_000_000)
            // What is frozen can be killed as well.
            try cgroups.freeze(path, true)
            if cgroups.version == 1 { try cgroups.freeze(path, false) }
            try cgroups.kill(path)
            #expect(try await child.wait() == .signalled(SIGKILL))
        }
    }
}
