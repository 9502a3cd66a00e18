import Linux

/// What `k3s server --rootless` needs that a machine does not always give to its users: all of it warnings, as a node runs
/// without it, if less well.
enum RootlessChecks {
    static func run(user: UInt32, environment: (String) -> String?, into report: inout CheckReport) {
        report.section("Rootless (k3s server --rootless):")
        func setting(_ path: String) -> String? { (try? Files.readString(path))?[...].trimmingSpaces() }
        do {
            try RootlessLaunch.checkKernel(setting)
            report.add("user namespaces", "allowed", .good)
        } catch {
            report.add("user namespaces", "\(error)", .warn)
        }
        let ids = OwnIDs(user: user, environment: environment)
        report.add("/etc/subuid, /etc/subgid", text(ids), ids.areSeveral ? .good : .warn)
        switch DelegatedCgroup.state() {
        case .usable(let path): report.add("cgroup", "delegated: \(path)", .good)
        case .missing(let why): report.add("cgroup", "\(why): pods run without limits (systemd: Delegate=yes)", .warn)
        }
        let session = environment("XDG_RUNTIME_DIR") ?? ""
        report.add(
            "XDG_RUNTIME_DIR", session.isEmpty ? "not set: sockets lie below the data directory" : session,
            session.isEmpty ? .warn : .good)
    }

    private static func text(_ ids: OwnIDs) -> String {
        if ids.helpers.count < 2 { return "newuidmap and newgidmap are missing: pods have one id (root)" }
        if !ids.areSeveral { return "no ids for this user: pods have one id (root)" }
        let count = ids.users.reduce(Int64(0)) { $0 + Int64($1.count) }
        return count < 65536 ? "\(count) ids: images with higher ones have root's" : "\(count) ids"
    }
}
