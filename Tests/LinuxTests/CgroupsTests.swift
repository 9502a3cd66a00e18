import Linux
import Testing

/// Both versions on directories that look like cgroupfs: no root, no kernel.
@Suite struct CgroupsTests {
    private func makeV1(_ root: String) throws -> CgroupsV1 {
        let sets = [["cpu", "cpuacct"], ["memory"], ["pids"], ["cpuset"], ["devices"], ["name=systemd"]]
        let hierarchies = sets.map { options in
            CgroupsV1.Hierarchy(mountPoint: root + "/" + options.joined(separator: ","), options: options)
        }
        for hierarchy in hierarchies { try Directories.make(hierarchy.mountPoint) }
        try Files.write(root + "/cpuset/cpuset.cpus", Array("0-3\n".utf8))
        try Files.write(root + "/cpuset/cpuset.mems", Array("0\n".utf8))
        return CgroupsV1(hierarchies: hierarchies)
    }

    private func touch(_ directory: String, _ files: [String: String]) throws {
        for (name, content) in files { try Files.write(directory + "/" + name, Array(content.utf8)) }
    }

    private func limits() -> CgroupLimits {
        var limits = CgroupLimits()
        limits.cpuShares = 1024
        limits.cpuQuota = 50_000
        limits.cpuPeriod = 100_000
        limits.memory = 5_000_000_000
        limits.pids = 77
        return limits
    }

    @Test func v1LimitsAreWrittenToTheirControllers() throws {
        try withTemporaryDirectory { root in
            let cgroups = try makeV1(root)
            for directory in ["cpu,cpuacct", "memory", "pids", "devices", "cpuset"] {
                try Directories.make(root + "/" + directory + "/pod/c")
            }
            try touch(root + "/cpu,cpuacct/pod/c", ["cpu.shares": "", "cpu.cfs_quota_us": "", "cpu.cfs_period_us": ""])
            try touch(root + "/memory/pod/c", ["memory.limit_in_bytes": "", "memory.memsw.limit_in_bytes": "100"])
            try touch(root + "/pids/pod/c", ["pids.max": ""])
            try cgroups.apply(limits(), to: "pod/c")
            func read(_ path: String) throws -> String { try Files.readString(root + "/" + path) }
            #expect(try read("cpu,cpuacct/pod/c/cpu.shares") == "1024")
            #expect(try read("cpu,cpuacct/pod/c/cpu.cfs_quota_us") == "50000")
            #expect(try read("cpu,cpuacct/pod/c/cpu.cfs_period_us") == "100000")
            #expect(try read("memory/pod/c/memory.limit_in_bytes") == "5000000000")
            #expect(try read("memory/pod/c/memory.memsw.limit_in_bytes") == "5000000000")
            #expect(try read("pids/pod/c/pids.max") == "77")
            var open = CgroupLimits()
            (open.cpuQuota, open.memory, open.pids) = (-1, -1, -1)
            try cgroups.apply(open, to: "pod/c")
            #expect(try read("cpu,cpuacct/pod/c/cpu.cfs_quota_us") == "-1")
            #expect(try read("memory/pod/c/memory.limit_in_bytes") == "-1")
            #expect(try read("pids/pod/c/pids.max") == "max")
        }
    }

    @Test func v1StatisticsComeFromThreeControllers() throws {
        try withTemporaryDirectory { root in
            let cgroups = try makeV1(root)
            for directory in ["cpu,cpuacct", "memory", "pids"] { try Directories.make(root + "/" + directory + "/c") }
            try touch(root + "/cpu,cpuacct/c", ["cpuacct.usage": "123456789\n"])
            try touch(
                root + "/memory/c",
                ["memory.usage_in_bytes": "1000\n", "memory.stat": "inactive_file 1\ntotal_inactive_file 300\n"])
            try touch(root + "/pids/c", ["pids.current": "4\n"])
            var expected = CgroupStats()
            expected.cpuNanoseconds = 123_456_789
            try touch(root + "/cpu,cpuacct/c", ["cpu.stat": "nr_periods 7\nnr_throttled 2\nthrottled_time 99\n"])
            (expected.cpuPeriods, expected.cpuThrottledPeriods, expected.cpuThrottledNanoseconds) = (7, 2, 99)
            try touch(root + "/memory/c", ["memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"])
            expected.oomKills = 3
            (expected.memoryUsage, expected.memoryWorkingSet, expected.processes) = (1000, 700, 4)
            #expect(try cgroups.stats("c") == expected)
        }
    }

    @Test func v2LimitsAreWritten() throws {
        try withTemporaryDirectory { root in
            let cgroups = CgroupsV2(root: root)
            try Directories.make(root + "/c")
            try touch(
                root + "/c",
                [
                    "cpu.weight": "", "cpu.max": "max 100000\n", "memory.max": "", "memory.swap.max": "max",
                    "pids.max": "",
                ])
            try cgroups.apply(limits(), to: "c")
            func read(_ name: String) throws -> String { try Files.readString(root + "/c/" + name) }
            #expect(try read("cpu.weight") == "100")
            #expect(try read("cpu.max") == "50000 100000")
            #expect(try read("memory.max") == "5000000000")
            #expect(try read("memory.swap.max") == "0")
            #expect(try read("pids.max") == "77")
            var open = CgroupLimits()
            (open.cpuQuota, open.memory, open.pids) = (-1, -1, 0)
            try cgroups.apply(open, to: "c")
            #expect(try read("cpu.max") == "max 100000")
            #expect(try read("memory.max") == "max")
            #expect(try read("pids.max") == "max")
        }
    }

    @Test(
        arguments: [(0, 0), (2, 1), (102, 17), (1024, 100), (262_144, 10000), (1_000_000, 10000)] as [(UInt64, UInt64)])
    func sharesBecomeWeights(_ shares: UInt64, _ weight: UInt64) {
        #expect(CgroupsV2.weight(shares: shares) == weight)
    }

    @Test func v2EnablesControllersOnTheWayDown() throws {
        try withTemporaryDirectory { root in
            for directory in ["", "/a", "/a/b"] {
                try Directories.make(root + directory)
                try touch(
                    root + directory,
                    ["cgroup.controllers": "cpu memory pids rdma\n", "cgroup.subtree_control": "cpu\n"])
            }
            try CgroupsV2(root: root).create("a/b")
            #expect(try Files.readString(root + "/cgroup.subtree_control") == "+memory +pids")
            #expect(try Files.readString(root + "/a/cgroup.subtree_control") == "+memory +pids")
            #expect(try Files.readString(root + "/a/b/cgroup.subtree_control") == "cpu\n")
        }
    }

    @Test func v2Statistics() throws {
        try withTemporaryDirectory { root in
            try touch(
                root,
                [
                    "cpu.stat": "usage_usec 5\nuser_usec 3\n", "memory.current": "100\n",
                    "memory.stat": "anon 1\ninactive_file 200\n", "pids.current": "2\n",
                ])
            var expected = CgroupStats()
            (expected.cpuNanoseconds, expected.memoryUsage, expected.processes) = (5000, 100, 2)
            (expected.cpuUserNanoseconds, expected.memoryRSS) = (3000, 1)
            try touch(
                root,
                [
                    "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2\n8:16 rbytes=5 wbytes=0 rios=3 wios=0\n",
                    "memory.swap.current": "4096\n", "memory.events": "low 0\noom 1\noom_kill 2\n",
                ])
            (expected.readBytes, expected.writtenBytes, expected.reads, expected.writes) = (15, 20, 4, 2)
            (expected.memorySwap, expected.oomKills) = (4096, 2)
            #expect(try CgroupsV2(root: root).stats("") == expected)
        }
    }

    @Test func missingMemoryControllerIsNamed() throws {
        try withTemporaryDirectory { root in
            try touch(root, ["cgroup.controllers": "cpuset cpu io pids\n"])
            #expect(
                CgroupsV2(root: root).problems == [
                    "failed to find memory cgroup (v2): boot the kernel with cgroup_memory=1 cgroup_enable=memory"
                ])
        }
    }

    @Test func hybridSystemsAreVersionOne() throws {
        let mounts = MountInfo.parse(
            """
            30 20 0:26 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
            31 20 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
            32 20 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/lib/x,name=systemd
            33 20 0:29 / /nonexistent/unified rw - cgroup2 cgroup2 rw
            """)
        let cgroups = try CgroupDetection.detect(mounts: mounts)
        #expect(
            (cgroups as? CgroupsV1)?.hierarchies == [
                .init(mountPoint: "/sys/fs/cgroup/memory", options: ["memory"]),
                .init(mountPoint: "/sys/fs/cgroup/cpu,cpuacct", options: ["cpu", "cpuacct"]),
                .init(mountPoint: "/sys/fs/cgroup/systemd", options: ["name=systemd"]),
            ])
        #expect(cgroups.containerMounts.map(\.options) == ["memory", "cpu,cpuacct"])
        // Containers are not moved in hierarchies without a controller of theirs; the shim leaves all of them.
        #expect(cgroups.joinFiles("x").count == 2)
        #expect(cgroups.problems.contains("failed to find pids cgroup (v1)"))
    }

    @Test func unifiedHierarchyIsVersionTwo() throws {
        let mounts = MountInfo.parse("33 20 0:29 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate")
        #expect(try CgroupDetection.detect(mounts: mounts) is CgroupsV2)
        #expect(throws: SysError.self) { try CgroupDetection.detect(mounts: []) }
    }

    @Test func escapedMountPointsAreRead() {
        let mount = MountInfo.parse(
            #"36 35 98:0 /a\040b /mnt\134x rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue"#)
        #expect(mount.first?.root == "/a b")
        #expect(mount.first?.mountPoint == #"/mnt\x"#)
        #expect(mount.first?.propagation == ["master:1", "shared:2"])
        #expect(MountInfo.parse("short line\n\n").isEmpty)
        // mount(2) takes an empty name.
        let unnamed = MountInfo.parse("33 20 0:29 / /a rw - tmpfs  rw,size=4k")
        #expect(unnamed.map(\.source) == [""] && unnamed.map(\.superOptions) == [["rw", "size=4k"]])
    }

    @Test func deviceRulesAsLines() {
        #expect(DeviceRule(.char, 1, 3).line == "c 1:3 rwm")
        #expect(DeviceRule(.block, nil, nil, access: "m").line == "b *:* m")
        #expect(DeviceRule.everything.map(\.line) == ["a *:* rwm"])
    }

    @Test func deviceFilterIsAProgramOfTests() {
        let program = DeviceFilter.program([DeviceRule(.char, 1, 3, access: "r")])
        // Six instructions of preparation, six tests, two to allow, two to deny.
        #expect(program.count == (6 + 6 + 2 + 2) * 8)
        // jne r2, 2 over the rest of the block
        #expect(Array(program[48..<56]) == [0x55, 0x02, 7, 0, 2, 0, 0, 0])
        #expect(Array(program.suffix(8)) == [0x95, 0, 0, 0, 0, 0, 0, 0])
        #expect(DeviceFilter.program([]).count == 8 * 8)
        // Allowed, and nothing behind it.
        #expect(DeviceFilter.program(DeviceRule.everything + [DeviceRule(.char, 1, 3)]).count == (6 + 2) * 8)
    }

    private static let live = geteuid() == 0 && ((try? CgroupDetection.detect())?.problems.isEmpty ?? false)

    @Test(.enabled(if: live, "needs root and cgroups with all controllers"))
    func cgroupsOfTheMachine() async throws {
        let cgroups = try CgroupDetection.detect()
        let name = "k3s-linux-test-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        defer { try? cgroups.remove(name) }
        try cgroups.create(name + "/child")
        var limits = limits()
        limits.memory = 64 << 20
        try cgroups.apply(limits, to: name + "/child")
        let joins = cgroups.joinFiles(name + "/child").map { "echo $$ > \($0)" }.joined(separator: "; ")
        var child = try Spawned.start(["/bin/sh", "-c", joins + "; sleep 100 & sleep 100 & wait"])
        for _ in 0..<500 where try cgroups.processes(name).count < 3 { usleep(2000) }
        #expect(try cgroups.processes(name).count == 3)
        #expect(try cgroups.stats(name + "/child").processes == 3)
        #expect(try cgroups.children(name) == ["child"])
        try cgroups.restrictDevices(DeviceRule.everything, of: name + "/child")
        try cgroups.restrictDevices(DeviceRule.containerDefault, of: name + "/child")
        try cgroups.kill(name)
        #expect(try await child.wait() == .signalled(SIGKILL))
        try cgroups.remove(name)
        #expect(!cgroups.exists(name))
        try cgroups.remove(name)
    }
}
