import CShims
import Linux

/// `k3s server --rootless` before there are namespaces: what is missing is said in one line that names it, then the process
/// becomes the parent (`k3s_rootless_main`), which starts this program again inside.
enum RootlessLaunch {
    /// Where sockets and namespaces of the node are on the host.
    static let runVariable = "_K3S_ROOTLESS_RUN"

    /// Replaces the process; returns only by throwing.
    static func becomeParent(_ configuration: ServerConfiguration, environment: (String) -> String?) throws -> Never {
        let user = getuid()
        guard user != 0 else {
            throw UsageError("--rootless: this is root: run k3s without --rootless, or as another user")
        }
        try checkKernel { (try? Files.readString($0))?[...].trimmingSpaces() }
        let run = try runDirectory(configuration, environment: environment)
        set(runVariable, run)
        let ids = OwnIDs(user: user, environment: environment)
        set(K3S_ROOTLESS_UIDS, SubordinateIDs.map(own: user, ids.areSeveral ? ids.users : []))
        set(K3S_ROOTLESS_GIDS, SubordinateIDs.map(own: getgid(), ids.areSeveral ? ids.groups : []))
        set(K3S_ROOTLESS_NEWUIDMAP, ids.areSeveral ? ids.helpers[0] : "")
        set(K3S_ROOTLESS_NEWGIDMAP, ids.areSeveral ? ids.helpers[1] : "")
        if let cgroup = DelegatedCgroup.prepare() { set(K3S_ROOTLESS_CGROUP, cgroup) }
        set(K3S_ROOTLESS_ROLE, "parent")
        let words = CStringArray(CommandLine.arguments)
        execv("/proc/self/exe", words.pointer)
        throw StartupError("--rootless: exec: \(SysError(errno, "execv"))")
    }

    private static func set(_ name: String, _ value: String) { setenv(name, value, 1) }

    /// `read`: a setting without its line's end; nil: the kernel has no such.
    static func checkKernel(_ read: (String) -> String?) throws {
        guard let limit = read("/proc/sys/user/max_user_namespaces") else {
            throw StartupError("--rootless: the kernel has no user namespaces (CONFIG_USER_NS)")
        }
        if limit == "0" {
            throw StartupError("--rootless: expected sysctl user.max_user_namespaces above 0 (for instance 28633)")
        }
        if read("/proc/sys/kernel/unprivileged_userns_clone") == "0" {
            throw StartupError("--rootless: expected sysctl kernel.unprivileged_userns_clone=1, got 0")
        }
        if read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1",
            read("/proc/self/attr/apparmor/current")?.hasPrefix("unconfined") == true
        {
            throw StartupError(
                "--rootless: AppArmor keeps unconfined programs from using user namespaces: expected a profile for k3s "
                    + "with \"userns,\" or sysctl kernel.apparmor_restrict_unprivileged_userns=0")
        }
    }

    /// `$XDG_RUNTIME_DIR/k3s`, or, without a session, a folder of the data directory.
    private static func runDirectory(
        _ configuration: ServerConfiguration, environment: (String) -> String?
    ) throws -> String {
        let session = environment("XDG_RUNTIME_DIR") ?? ""
        let base =
            session.hasPrefix("/") && access(session, W_OK | X_OK) == 0 ? session : configuration.dataDirectory + "/run"
        do throws(SysError) {
            try Directories.make(configuration.dataDirectory, mode: 0o755)
            try Directories.make(base + "/k3s", mode: 0o700)
        } catch {
            throw StartupError("--rootless: \(error)")
        }
        return base + "/k3s"
    }
}
