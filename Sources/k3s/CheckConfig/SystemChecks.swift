import Codecs
import HostTools
import Linux

/// What the running system says of itself. `root` stands in front of every path, for tests.
struct SystemChecks {
    var root = ""

    func run(into report: inout CheckReport) {
        report.section("System:")
        swap(&report)
        routes(&report)
        iptables(&report)
        report.section("Limits:")
        limits(&report)
        report.section("Control groups:")
        cgroups(&report)
        appArmor(&report)
    }

    private func text(_ path: String) -> String? { try? Files.readString(root + path, limit: 4 << 20) }

    private func swap(_ report: inout CheckReport) {
        let line = text("/proc/meminfo")?.split(separator: "\n").first { $0.hasPrefix("SwapTotal:") }
        let kilobytes = line?.split(separator: " ").dropFirst().first.flatMap { Int64($0) } ?? 0
        report.add("swap", kilobytes == 0 ? "disabled" : "should be disabled", kilobytes == 0 ? .good : .warn)
    }

    /// A route of somebody else into the default pod or service network.
    private func routes(_ report: inout CheckReport) {
        var foreign: [String] = []
        for line in (text("/proc/net/route") ?? "").split(separator: "\n").dropFirst() {
            let fields = line.split(whereSeparator: \.isWhitespace)
            guard fields.count > 2, fields[0] != "cni0", !fields[0].hasPrefix("flannel"),
                let address = UInt32(fields[1], radix: 16)?.byteSwapped
            else { continue }
            let prefix = (address >> 24, address >> 16 & 255)
            if prefix == (10, 42) || prefix == (10, 43) { foreign.append("10.\(prefix.1).*.* by \(fields[0])") }
        }
        if foreign.isEmpty {
            report.add("routes", "ok", .good)
        } else {
            report.add("routes", "default CIDRs 10.42.0.0/16 or 10.43.0.0/16 already routed: \(foreign[0])", .warn)
        }
    }

    /// Which of them plugins and people find: the host's, else the one inside.
    private func iptables(_ report: inout CheckReport) {
        let folders = (getenv("PATH").map { String(cString: $0) } ?? BundledTools.standardPath).split(separator: ":")
        let found = folders.map { "\($0)/iptables" }.first { path in
            guard Files.exists(root + path) else { return false }
            return !BundledTools.isOwn(root + path)
        }
        report.add("iptables", found ?? "not installed: the one inside is used", .good)
    }

    private func limits(_ report: inout CheckReport) {
        guard let text = text("/proc/sys/kernel/keys/root_maxkeys"),
            let keys = Int64(text[...].trimmingSpaces())
        else {
            report.add("/proc/sys/kernel/keys/root_maxkeys", "not there", .warn)
            return
        }
        if keys > 10000 {
            report.add("/proc/sys/kernel/keys/root_maxkeys", "\(keys)", .good)
        } else {
            report.add("/proc/sys/kernel/keys/root_maxkeys", "\(keys), should be above 10000", .fail)
        }
    }

    private func cgroups(_ report: inout CheckReport) {
        let mounts = MountInfo.parse(text("/proc/self/mountinfo") ?? "")
        let unified = mounts.last { $0.type == "cgroup2" }
        let v1 = Set(mounts.filter { $0.type == "cgroup" }.flatMap(\.superOptions))
        let v2 = unified.flatMap { text($0.mountPoint + "/cgroup.controllers") } ?? ""
        let controllers = Set(v2.split(whereSeparator: \.isWhitespace).map(String.init))
        let isHybrid = !v1.isEmpty && unified != nil
        let has: (String) -> Bool = v1.isEmpty ? controllers.contains : { v1.contains($0) || controllers.contains($0) }
        let name =
            v1.isEmpty ? (unified == nil ? "nonexistent" : "cgroups V2") : isHybrid ? "cgroups Hybrid" : "cgroups V1"
        guard name != "nonexistent" else {
            report.add("cgroup hierarchy", "nonexistent", .fail)
            return
        }
        let needed = ["cpu", "cpuset", "memory", "pids"]
        let missing = needed.filter { !has($0) }
        if missing.isEmpty {
            report.add(
                "cgroup hierarchy", "\(name) mounted, \(needed.joined(separator: "|")) controllers status: good", .good)
        } else {
            let hint =
                missing.contains("memory")
                ? " (add \"cgroup_memory=1 cgroup_enable=memory\" to the kernel command line)" : ""
            report.add(
                "cgroup hierarchy", "\(name) mounted, controllers missing: \(missing.joined(separator: ", "))\(hint)",
                missing == ["cpuset"] ? .warn : .fail)
        }
    }

    private func appArmor(_ report: inout CheckReport) {
        guard text("/sys/module/apparmor/parameters/enabled")?.hasPrefix("Y") == true else { return }
        let parser = ["/sbin/apparmor_parser", "/usr/sbin/apparmor_parser"].contains { Files.exists(root + $0) }
        report.add(
            "apparmor", parser ? "enabled and tools installed" : "enabled, but apparmor_parser missing",
            parser ? .good : .warn)
    }
}
