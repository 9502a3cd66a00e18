import Linux
import Testing

@Suite("systemd's units for cgroups") struct SystemdUnitTests {
    struct Row: Sendable, CustomTestStringConvertible {
        var path: String
        var name: String
        var directory: String
        var testDescription: String { path }
        init(_ path: String, _ name: String, _ directory: String) {
            (self.path, self.name, self.directory) = (path, name, directory)
        }
    }

    @Test(arguments: [
        Row("kubepods", "kubepods.slice", "kubepods.slice"),
        Row("kubepods/burstable", "kubepods-burstable.slice", "kubepods.slice/kubepods-burstable.slice"),
        // A dash of a component's own would be a level.
        Row(
            "kubepods/burstable/pod1-2", "kubepods-burstable-pod1_2.slice",
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice"),
        Row(
            "kubepods/pod1-2/0a", "cri-containerd-0a.scope",
            "kubepods.slice/kubepods-pod1_2.slice/cri-containerd-0a.scope"),
        // --cgroup-root
        Row("my-node/kubepods", "my_node-kubepods.slice", "my_node.slice/my_node-kubepods.slice"),
        Row("a b/kubepods", "a\\x20b-kubepods.slice", "a\\x20b.slice/a\\x20b-kubepods.slice"),
        // A parent as other kubelets name it.
        Row(
            "kubepods.slice/kubepods-besteffort.slice/pod7", "kubepods-besteffort-pod7.slice",
            "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod7.slice"),
        Row("k3s-shim", "k3s-shim.scope", "system.slice/k3s-shim.scope"),
        Row("my-node/k3s-shim", "my-node-k3s-shim.scope", "system.slice/my-node-k3s-shim.scope"),
        Row("", "-.slice", ""),
    ])
    func aPathHasAUnit(_ row: Row) {
        let unit = SystemdUnit(path: row.path)
        #expect(unit.name == row.name)
        #expect(unit.directory == row.directory)
        #expect((unit.kind == .scope) == row.name.hasSuffix(".scope"))
        if unit.kind == .scope {
            #expect(row.directory.split(separator: "/").dropLast().last.map(String.init) == unit.slice)
        }
    }

    @Test func namesAreNotLongerThanSystemdTakes() {
        let long = String(repeating: "x", count: 300)
        #expect(SystemdUnit(path: "kubepods/" + long).name.utf8.count == 255)
        #expect(SystemdUnit(path: "kubepods/pod1/" + long).name.hasSuffix(".scope"))
    }
}

@Suite("Limits as systemd's properties") struct SystemdPropertiesTests {
    private func names(_ limits: CgroupLimits) -> [String: DBusMessage.Value] {
        Dictionary(SystemdProperties(limits).list.map { ($0.name, $0.value) }) { $1 }
    }

    @Test func everyLimitHasItsProperty() {
        var limits = CgroupLimits()
        (limits.cpuShares, limits.cpuQuota, limits.cpuPeriod) = (1024, 15_000, 100_000)
        (limits.memory, limits.pids, limits.cpusetCPUs) = (64 << 20, 100, "0-1")
        limits.io.weight = 500
        #expect(
            names(limits) == [
                "CPUWeight": .uint64(100), "CPUQuotaPeriodUSec": .uint64(100_000),
                "CPUQuotaPerSecUSec": .uint64(150_000), "MemoryMax": .uint64(64 << 20), "MemorySwapMax": .uint64(0),
                "TasksMax": .uint64(100), "AllowedCPUs": .array("y", [.byte(3)]),
                "IOWeight": .uint64(CgroupsV2.weight(blkio: 500)),
            ])
        #expect(names(CgroupLimits()).isEmpty)
    }

    @Test func noLimitIsTheLargestNumber() {
        var limits = CgroupLimits()
        (limits.cpuQuota, limits.memory, limits.pids) = (-1, -1, 0)
        let list = names(limits)
        for name in ["CPUQuotaPerSecUSec", "MemoryMax", "MemorySwapMax", "TasksMax"] {
            #expect(list[name] == .uint64(.max))
        }
    }

    /// systemd.resource-control(5): CPUQuota= is in whole percents.
    @Test(
        arguments: [
            (10_000, 100_000, 100_000), (10_001, 100_000, 110_000), (250_000, 100_000, 2_500_000), (1, 100_000, 10_000),
            (3_333, 10_000, 340_000), (Int64.max, 1_000, Int64(-1)),
        ] as [(Int64, UInt64, Int64)])
    func quotasAreRoundedUpToAHundredthOfACPU(quota: Int64, period: UInt64, expected: Int64) {
        #expect(
            SystemdProperties.quotaPerSecond(quota, period: period) == (expected < 0 ? .max : UInt64(expected)))
    }

    @Test(
        arguments: [
            ("0", [1]), ("0-2,8", [7, 1]), ("15", [0, 0x80]), ("", []), ("x,3-1,1", [2]), ("99999999", []),
        ] as [(String, [UInt8])])
    func listsOfCPUsAreBits(list: String, bytes: [UInt8]) {
        #expect(SystemdProperties.mask(list) == .array("y", bytes.map { .byte($0) }))
    }

    @Test func aScopeIsDelegatedAndASliceIsNot() {
        let scope = SystemdProperties(of: SystemdUnit(path: "kubepods/pod1/c"), process: 42)
        let list = Dictionary(scope.list.map { ($0.name, $0.value) }) { $1 }
        #expect(list["Delegate"] == .bool(true) && list["Slice"] == .string("kubepods-pod1.slice"))
        #expect(list["PIDs"] == .array("u", [.uint32(42)]) && list["DefaultDependencies"] == .bool(false))
        let slice = SystemdProperties(of: SystemdUnit(path: "kubepods"), process: nil)
        #expect(!slice.list.contains { ["Delegate", "Slice", "PIDs"].contains($0.name) })
        #expect(slice.list.contains { $0.name == "MemoryAccounting" })
    }
}
