import Linux

/// `nsenter` of util-linux 2.38: a program in other processes' namespaces.
enum Nsenter {
    private static let known =
        "a,all t,target= m,mount? u,uts? i,ipc? n,net? p,pid? C,cgroup? U,user? T,time? S,setuid= G,setgid= preserve-credentials r,root? w,wd? W= wdns? F,no-fork Z,follow-context h,help V,version"

    static let help = """

        Usage:
         nsenter [options] [<program> [<argument>...]]

        Run a program with namespaces of other processes.

        Options:
         -a, --all              enter all namespaces
         -t, --target <pid>     target process to get namespaces from
         -m, --mount[=<file>]   enter mount namespace
         -u, --uts[=<file>]     enter UTS namespace (hostname etc)
         -i, --ipc[=<file>]     enter System V IPC namespace
         -n, --net[=<file>]     enter network namespace
         -p, --pid[=<file>]     enter pid namespace
         -C, --cgroup[=<file>]  enter cgroup namespace
         -U, --user[=<file>]    enter user namespace
         -T, --time[=<file>]    enter time namespace
         -S, --setuid <uid>     set uid in entered namespace
         -G, --setgid <gid>     set gid in entered namespace
             --preserve-credentials do not touch uids or gids
         -r, --root[=<dir>]     set the root directory
         -w, --wd[=<dir>]       set the working directory
         -W. --wdns <dir>       set the working directory in namespace
         -F, --no-fork          do not fork before exec'ing <program>
         -Z, --follow-context   set SELinux context according to --target PID

         -h, --help             display this help
         -V, --version          display version

        For more details see nsenter(1).

        """

    /// What went wrong, as warnx(3) prints it, and the exit code.
    private struct Failure: Error {
        var text: String
        var code: Int32 = 1
    }

    /// In the order in which they are entered: with the user namespace come the rights to the others.
    private static let namespaces: [(letter: String, file: String, flag: UInt64)] = [
        ("U", "ns/user", K3S_CLONE_NEWUSER), ("C", "ns/cgroup", K3S_CLONE_NEWCGROUP),
        ("i", "ns/ipc", K3S_CLONE_NEWIPC), ("u", "ns/uts", K3S_CLONE_NEWUTS), ("n", "ns/net", K3S_CLONE_NEWNET),
        ("p", "ns/pid", K3S_CLONE_NEWPID), ("m", "ns/mnt", K3S_CLONE_NEWNS), ("T", "ns/time", 0x80),
    ]

    private struct Plan {
        var target: String?
        var all = false
        /// By letter; nil: the target's.
        var wanted: [(letter: String, path: String?)] = []
        var user: UInt32?
        var group: UInt32?
        var keepsCredentials = false
        var root: String??
        var directory: String??
        var directoryInside: String?
        var forks = true
    }

    static func run(_ call: ToolCall) -> Int32 {
        do throws(CommandOptions.Failure) {
            let options = try CommandOptions(call.arguments, known: known, stopsAtOperand: true)
            if let early = options.given.first(where: { $0.name == "h" || $0.name == "V" }) {
                if early.name == "h" { call.write(help) } else { call.line("nsenter from util-linux 2.38.1") }
                return 0
            }
            do throws(Failure) { try enter(plan(options.given), options.operands) } catch {
                call.complain("nsenter: \(error.text)")
                return error.code
            }
        } catch { call.usage(error) }
        return 1
    }

    private static func plan(_ given: [CommandOptions.Given]) throws(Failure) -> Plan {
        var plan = Plan()
        for option in given {
            let value = option.value ?? ""
            switch option.name {
            case "a": plan.all = true
            case "t":
                guard let pid = UInt32(value), pid <= UInt32(Int32.max) else {
                    throw Failure(text: "failed to parse pid: '\(value)'")
                }
                plan.target = value
            case "S":
                guard let id = UInt32(value) else { throw Failure(text: "failed to parse uid: '\(value)'") }
                plan.user = id
            case "G":
                guard let id = UInt32(value) else { throw Failure(text: "failed to parse gid: '\(value)'") }
                plan.group = id
            case "preserve-credentials": plan.keepsCredentials = true
            case "r": plan.root = .some(option.value)
            case "w": plan.directory = .some(option.value)
            // The long form's value is in the same word, as in the original's table; without one it has no effect.
            case "W": plan.directoryInside = value
            case "wdns": plan.directoryInside = option.value
            case "F": plan.forks = false
            case "Z":
                // Without SELinux there is nothing to follow, as in the original.
                if Files.exists("/sys/fs/selinux/enforce") {
                    throw Failure(text: "SELinux contexts (-Z) are not supported")
                }
            default: plan.wanted.append((option.name, option.value))
            }
        }
        return plan
    }

    private static func enter(_ plan: Plan, _ program: [String]) throws(Failure) {
        var descriptors: [(file: String, flag: UInt64, fd: Int32)] = []
        for namespace in namespaces {
            let wish = plan.wanted.last { $0.letter == namespace.letter }
            var path = wish?.path
            if path == nil {
                guard wish != nil || plan.all else { continue }
                guard let target = plan.target else {
                    throw Failure(
                        text: wish == nil
                            ? "no target PID specified for --all"
                            : "neither filename nor target pid supplied for \(namespace.file)")
                }
                path = "/proc/\(target)/\(namespace.file)"
                // One's own namespaces are left out: to enter the own user namespace again is refused.
                if wish == nil, let path, !differs(path, "/proc/self/\(namespace.file)") { continue }
            }
            guard let path else { continue }
            descriptors.append((namespace.file, namespace.flag, try open(path)))
        }
        if plan.all, plan.target == nil { throw Failure(text: "no target PID specified for --all") }
        let root = try place(plan.root, "root", plan.target)
        var directory = try place(plan.directory, "cwd", plan.target)
        // The program stays where it is, unless it is told to go elsewhere.
        if directory == nil, root != nil, plan.directoryInside == nil { directory = try open(".") }

        try join(&descriptors)
        if let root {
            if fchdir(root) != 0 {
                throw Failure(text: "change directory by root file descriptor failed: \(errorText(errno))")
            }
            if chroot(".") != 0 { throw Failure(text: "chroot failed: \(errorText(errno))") }
        }
        if let inside = plan.directoryInside {
            let fd = k3s_openat(AT_FDCWD, inside, O_RDONLY | O_CLOEXEC, 0)
            if fd < 0 { throw Failure(text: "cannot open current working directory: \(errorText(-fd))") }
            directory = fd
        }
        if let directory, fchdir(directory) != 0 {
            throw Failure(text: "change directory by working directory file descriptor failed: \(errorText(errno))")
        }
        let flags = descriptors.reduce(UInt64(0)) { $0 | $1.flag }
        if plan.forks, flags & K3S_CLONE_NEWPID != 0 {
            do throws(SysError) { try Execution.continueInChild() } catch {
                throw Failure(text: "fork failed: \(errorText(error.code))")
            }
        }
        try becomeUser(plan, entersUsers: flags & K3S_CLONE_NEWUSER != 0)
        try execute(program)
    }

    /// Twice: what is not allowed before the user namespace is entered may be after it.
    private static func join(_ descriptors: inout [(file: String, flag: UInt64, fd: Int32)]) throws(Failure) {
        var left = descriptors
        for pass in 0..<2 {
            var failed: [(file: String, flag: UInt64, fd: Int32)] = []
            for one in left {
                let code = k3s_setns(one.fd, Int32(one.flag))
                if code >= 0 {
                    close(one.fd)
                } else if pass == 0 {
                    failed.append(one)
                } else {
                    throw Failure(text: "reassociate to namespace '\(one.file)' failed: \(errorText(-code))")
                }
            }
            left = failed
        }
    }

    private static func becomeUser(_ plan: Plan, entersUsers: Bool) throws(Failure) {
        let isForced = entersUsers && !plan.keepsCredentials
        if let group = plan.group ?? (isForced ? 0 : nil) {
            let code = k3s_tool_drop_groups()
            if code < 0 { throw Failure(text: "setgroups failed: \(errorText(-code))") }
            if setgid(group) != 0 { throw Failure(text: "setgid() failed: \(errorText(errno))") }
        }
        if let user = plan.user ?? (isForced ? 0 : nil), setuid(user) != 0 {
            throw Failure(text: "setuid() failed: \(errorText(errno))")
        }
    }

    private static func execute(_ program: [String]) throws(Failure) {
        guard let name = program.first else {
            let shell = getenv("SHELL").map { String(cString: $0) } ?? "/bin/sh"
            let argv = CStringArray(["-" + Path.last(shell)])
            execv(shell, argv.pointer)
            let code = errno
            throw Failure(text: "failed to execute \(shell): \(errorText(code))", code: code == ENOENT ? 127 : 126)
        }
        let code = Execution.become(program)
        throw Failure(text: "failed to execute \(name): \(errorText(code))", code: code == ENOENT ? 127 : 126)
    }

    /// A directory that an option names; without a name the target's.
    private static func place(_ option: String??, _ link: String, _ target: String?) throws(Failure) -> Int32? {
        guard let option else { return nil }
        if let path = option { return try open(path) }
        guard let target else { throw Failure(text: "neither filename nor target pid supplied for \(link)") }
        return try open("/proc/\(target)/\(link)")
    }

    private static func open(_ path: String) throws(Failure) -> Int32 {
        let fd = k3s_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0)
        if fd < 0 { throw Failure(text: "cannot open \(path): \(errorText(-fd))") }
        return fd
    }

    private static func differs(_ one: String, _ other: String) -> Bool {
        guard let first = try? Files.status(one), let second = try? Files.status(other) else { return true }
        return first.st_ino != second.st_ino || first.st_dev != second.st_dev
    }
}
