import Iptables
import Linux
import Netlink

/// What the kernel really does, found by doing it in namespaces of our own that go away with the thread: a configuration
/// says what was built, not what a container host lets one use.
enum KernelProbes {
    struct Probe: Sendable {
        var label: String
        var whenMissing: CheckReport.Level
        /// Throws what the kernel said.
        var run: @Sendable () throws -> Void
    }

    /// Nothing without root: then nobody can tell.
    static func run(isRoot: Bool, into report: inout CheckReport) {
        report.section("Tried out in a namespace of its own:")
        guard isRoot else {
            report.add("probes", "skipped: they need root", .warn)
            return
        }
        for probe in all {
            let failure = attempt(probe)
            report.add(probe.label, failure ?? "works", failure == nil ? .good : probe.whenMissing)
        }
    }

    /// nil: it works. Each probe has a network and a mount namespace of its own.
    private static func attempt(_ probe: Probe) -> String? {
        BlockingPool.waitForFreshThread(name: "probe") {
            do {
                try Namespaces.unshareThread([.net, .mnt])
                try Mounts.makePrivate("/")
                try probe.run()
                return nil
            } catch {
                return "\(error)"
            }
        }
    }

    static let all: [Probe] =
        [
            Probe(label: "veth pair", whenMissing: .fail) { try addLink(.veth(VethPeer(name: "probe1"))) },
            Probe(label: "bridge", whenMissing: .fail) { try addLink(.bridge) },
            Probe(label: "vxlan", whenMissing: .warn) { try addLink(.vxlan(VXLANSettings(identifier: 1, port: 8472))) },
            Probe(label: "wireguard", whenMissing: .warn) { try addLink(.other("wireguard")) },
        ]
        + KernelSupport.needs.map { need in
            Probe(label: "nf_tables: \(need.title)", whenMissing: .fail) {
                try KernelSupport.attempt([need], KernelRuleset())
            }
        } + [
            Probe(label: "bridged frames in the firewall", whenMissing: .warn) {
                if let problem = BridgeFiltering.problem([.ipv4, .ipv6]) { throw StartupError(problem) }
            },
            Probe(label: "overlay file system", whenMissing: .fail, run: overlay),
            Probe(label: "user namespaces", whenMissing: .warn) {
                // Not tried: a process with threads cannot enter one.
                let maximum = try Files.readString("/proc/sys/user/max_user_namespaces")
                guard maximum.first != "0" else {
                    throw SysError(ENOSPC, "read", path: "/proc/sys/user/max_user_namespaces")
                }
            },
            Probe(label: "pid, ipc, uts and cgroup namespaces", whenMissing: .fail) {
                try Namespaces.unshareThread([.ipc, .uts, .cgroup, .pid])
            },
        ]

    private static func addLink(_ kind: LinkKind) throws {
        try RouteSocket().addLink(LinkSpec("probe0", kind))
    }

    @Sendable private static func overlay() throws {
        // The mount namespace is this thread's own: a tmpfs anywhere hides nothing from others.
        let base = "/tmp"
        try Mounts.mountFilesystem("tmpfs", at: base)
        for name in ["lower", "upper", "work", "merged"] { try Directories.make("\(base)/\(name)") }
        try Mounts.mountFilesystem(
            "overlay", at: base + "/merged",
            options: "lowerdir=\(base)/lower,upperdir=\(base)/upper,workdir=\(base)/work")
        try Files.write(base + "/merged/file", [1])
    }
}
