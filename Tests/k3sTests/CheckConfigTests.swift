import Codecs
import Iptables
import Linux
import Netlink
import Testing

@testable import k3s

@Suite struct CheckConfigTests {
    private func folder() throws -> String {
        let path = "/tmp/k3s-check-\(getpid())-\(UInt64.random(in: 0 ... .max))"
        try Directories.make(path)
        return path
    }

    @Test func aConfigurationIsReadLineByLine() {
        let config = KernelConfig(
            path: "x", text: "# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=m\nCONFIG_D=\"text\"\nCONFIG_E=n\nnonsense\n")
        #expect(config["B"] == .builtIn && config["C"] == .module && config["D"] == .builtIn)
        #expect(config["A"] == .missing && config["E"] == .missing && config["F"] == .missing)
    }

    @Test(arguments: [("6.1.0-37-armmp", 6, 1), ("5.10.0", 5, 10), ("4.4-rc1", 4, 4), ("", 0, 0)])
    func versionsAreReadFromTheRelease(_ release: String, _ major: Int, _ minor: Int) {
        #expect(KernelVersion(release: release) == KernelVersion(major, minor))
    }

    @Test func whatOldKernelsNeedIsAskedOfThemOnly() {
        func optional(_ version: KernelVersion) -> [String] {
            KernelOptions.groups(version).flatMap(\.names)
        }
        #expect(optional(KernelVersion(4, 4)).contains("MEMCG_KMEM"))
        #expect(optional(KernelVersion(4, 4)).contains("DEVPTS_MULTIPLE_INSTANCES"))
        #expect(optional(KernelVersion(5, 0)).contains("INET_XFRM_MODE_TRANSPORT"))
        for name in ["MEMCG_KMEM", "DEVPTS_MULTIPLE_INSTANCES", "INET_XFRM_MODE_TRANSPORT", "RESOURCE_COUNTERS"] {
            #expect(!optional(KernelVersion(6, 1)).contains(name))
        }
    }

    @Test func aMissingOptionCountsByWhatItIsFor() {
        var report = CheckReport()
        let names = KernelOptions.groups(KernelVersion(6, 1)).flatMap(\.names)
        let absent: Set<String> = ["NF_TABLES", "OVERLAY_FS", "VXLAN", "IP_NF_FILTER"]
        let text = names.filter { !absent.contains($0) }.map { "CONFIG_\($0)=m\n" }.joined()
        KernelOptions.check(KernelConfig(path: "x", text: text), KernelVersion(6, 1), into: &report)
        let bad = report.sections.flatMap(\.lines).filter { $0.level != .good }
        #expect(bad.count == 4)
        #expect(bad.filter { $0.level == .fail }.map(\.label) == ["CONFIG_NF_TABLES", "CONFIG_OVERLAY_FS"])
        #expect(report.failures == 2 && report.exitCode == 3)
        #expect(report.text(colours: false).contains("- CONFIG_NF_TABLES: missing (fail)\n"))
        #expect(report.text(colours: false).hasSuffix("\nSTATUS: 2 (fail)\n"))
        #expect(report.text(colours: true).contains("\u{1b}[31mmissing (fail)\u{1b}[m"))
        #expect(report.json["failures"] == 2)
    }

    @Test func aReportWithoutFailuresPasses() {
        var report = CheckReport()
        report.section("System:")
        report.add("swap", "should be disabled", .warn)
        #expect(report.exitCode == 0)
        #expect(report.text(colours: false) == "\nSystem:\n- swap: should be disabled\n\nSTATUS: pass\n")
    }

    @Test func aKernelConfigThatIsNotThereIsNamed() throws {
        let folder = try folder()
        defer { try? Directories.removeTree(folder) }
        let error = #expect(throws: UsageError.self) { try KernelConfig.load(folder + "/none", release: "6.1") }
        #expect(error.map { "\($0)".contains(folder + "/none") } == true)
        try Files.write(folder + "/empty", Array("hello\n".utf8))
        #expect(throws: UsageError.self) { try KernelConfig.load(folder + "/empty", release: "6.1") }
        try Files.write(folder + "/broken.gz", [0x1f, 0x8b, 8, 0, 1, 2, 3])
        #expect(throws: UsageError.self) { try KernelConfig.load(folder + "/broken.gz", release: "6.1") }
    }

    /// What the checks say of a system made of files.
    private func lines(_ files: [String: String]) throws -> [String: CheckReport.Line] {
        let folder = try folder()
        defer { try? Directories.removeTree(folder) }
        for (name, text) in files {
            let path = folder + name
            try Directories.make(String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]))
            try Files.write(path, Array(text.utf8))
        }
        var report = CheckReport()
        SystemChecks(root: folder).run(into: &report)
        return Dictionary(report.sections.flatMap(\.lines).map { ($0.label, $0) }) { first, _ in first }
    }

    private let v2 = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"

    @Test func swapAndLimitsAreToldWithTheirLevel() throws {
        let lines = try lines([
            "/proc/meminfo": "MemTotal: 1 kB\nSwapTotal:      100 kB\n", "/proc/sys/kernel/keys/root_maxkeys": "200\n",
        ])
        #expect(lines["swap"]?.level == .warn)
        #expect(lines["/proc/sys/kernel/keys/root_maxkeys"]?.level == .fail)
        #expect(lines["cgroup hierarchy"]?.level == .fail)
    }

    @Test func controllersOfVersion2() throws {
        let good = try lines([
            "/proc/self/mountinfo": v2, "/sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n",
        ])
        #expect(good["cgroup hierarchy"]?.level == .good)
        #expect(good["cgroup hierarchy"]?.text.hasPrefix("cgroups V2 mounted") == true)
        let bad = try lines(["/proc/self/mountinfo": v2, "/sys/fs/cgroup/cgroup.controllers": "cpuset cpu pids\n"])
        #expect(bad["cgroup hierarchy"]?.level == .fail)
        #expect(bad["cgroup hierarchy"]?.text.contains("cgroup_enable=memory") == true)
    }

    @Test func aForeignRouteIntoThePodNetwork() throws {
        let head = "Iface Destination Gateway\n"
        #expect(try lines(["/proc/net/route": head + "eth0 00002A0A 0\n"])["routes"]?.level == .warn)
        #expect(try lines(["/proc/net/route": head + "cni0 00002A0A 0\neth0 0000A8C0 0\n"])["routes"]?.level == .good)
    }

    @Test(.enabled(if: geteuid() == 0, "needs root: namespaces are made")) func probesLeaveNothingBehind() throws {
        let before = try MountInfo.current().count
        var report = CheckReport()
        KernelProbes.run(isRoot: true, into: &report)
        let lines = report.sections.flatMap(\.lines)
        #expect(lines.count == KernelProbes.all.count)
        #expect(lines.first { $0.label == "veth pair" }?.level == .good)
        let frames = lines.first { $0.label == "bridged frames in the firewall" }
        let isThere = BridgeFiltering.problem([.ipv4, .ipv6]) == nil
        #expect(frames?.level == (isThere ? .good : .warn))
        #expect(isThere || frames?.text.contains("modprobe br_netfilter") == true)
        #expect(try MountInfo.current().count == before)
        #expect(access("/sys/class/net/probe0", F_OK) != 0)
    }

    @Test func withoutRootTheProbesSaySo() {
        var report = CheckReport()
        KernelProbes.run(isRoot: false, into: &report)
        #expect(report.sections.flatMap(\.lines).map(\.level) == [.warn])
    }
}
