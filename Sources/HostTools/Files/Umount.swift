import Linux

/// `umount` of util-linux 2.38.
enum Umount {
    private static let known =
        "a,all A,all-targets c,no-canonicalize d,detach-loop fake f,force i,internal-only n,no-mtab l,lazy O,test-opts= R,recursive r,read-only t,types= v,verbose q,quiet N,namespace= h,help V,version"

    static let help = """

        Usage:
         umount [-hV]
         umount -a [options]
         umount [options] <source> | <directory>

        Unmount filesystems.

        Options:
         -a, --all               unmount all filesystems
         -A, --all-targets       unmount all mountpoints for the given device in the
                                   current namespace
         -c, --no-canonicalize   don't canonicalize paths
         -d, --detach-loop       if mounted loop device, also free this loop device
             --fake              dry run; skip the umount(2) syscall
         -f, --force             force unmount (in case of an unreachable NFS system)
         -i, --internal-only     don't call the umount.<type> helpers
         -n, --no-mtab           don't write to /etc/mtab
         -l, --lazy              detach the filesystem now, clean up things later
         -O, --test-opts <list>  limit the set of filesystems (use with -a)
         -R, --recursive         recursively unmount a target with all its children
         -r, --read-only         in case unmounting fails, try to remount read-only
         -t, --types <list>      limit the set of filesystem types
         -v, --verbose           say what is being done
         -q, --quiet             suppress 'not mounted' error messages
         -N, --namespace <ns>    perform umount in another namespace

         -h, --help              display this help
         -V, --version           display version

        For more details see umount(8).

        """

    private struct Plan {
        var flags: Int32 = 0
        var isFake = false
        var isQuiet = false
        var isVerbose = false
        var fallsBackToReadOnly = false
        var isRecursive = false
        var allTargets = false
        var all = false
        var namespace: String?
        var types: String?
        var keepsPaths = false
    }

    static func run(_ call: ToolCall) -> Int32 {
        let options: CommandOptions
        do throws(CommandOptions.Failure) { options = try CommandOptions(call.arguments, known: known) } catch {
            call.usage(error)
            return MountFailure.usage
        }
        var plan = Plan()
        for option in options.given {
            switch option.name {
            case "h": call.write(help); return 0
            case "V": call.line("umount from util-linux 2.38.1 (k3s)"); return 0
            case "a": plan.all = true
            case "A": plan.allTargets = true
            case "c": plan.keepsPaths = true
            case "fake": plan.isFake = true
            case "f": plan.flags |= Int32(MNT_FORCE)
            case "l": plan.flags |= Int32(MNT_DETACH)
            case "N": plan.namespace = option.value
            case "R": plan.isRecursive = true
            case "r": plan.fallsBackToReadOnly = true
            case "t": plan.types = option.value
            case "v": plan.isVerbose = true
            case "q": plan.isQuiet = true
            default: break
            }
        }
        guard plan.all || !options.operands.isEmpty else {
            call.complain("umount: bad usage")
            call.complain("Try 'umount --help' for more information.")
            return MountFailure.usage
        }
        return run(plan, options.operands, call)
    }

    private static func run(_ plan: Plan, _ operands: [String], _ call: ToolCall) -> Int32 {
        // The codes add up, as in the original: two failures are 64.
        var code: Int32 = 0
        func attempt(_ body: () throws(MountFailure) -> Void) {
            do throws(MountFailure) {
                try body()
            } catch {
                code = min(code + error.code, 255)
                if plan.isQuiet, error.text == "not mounted" { return }
                call.complain("umount: \(error.subject): \(error.text).")
            }
        }
        if let namespace = plan.namespace {
            do throws(MountFailure) { try Mount.enterMountNamespace(namespace) } catch {
                call.complain("umount: \(error.text)")
                return error.code
            }
        }
        if plan.all {
            let filter = plan.types.map(TypeFilter.init)
            for mount in ((try? MountInfo.current()) ?? []).reversed() {
                if ["proc", "devfs", "devpts", "sysfs", "rpc_pipefs", "nfsd"].contains(mount.type) { continue }
                if let filter, !filter.matches(mount.type) { continue }
                attempt { () throws(MountFailure) in try unmount(mount.mountPoint, mount.mountPoint, plan, call) }
            }
        } else {
            for operand in operands {
                if plan.isRecursive {
                    attempt { () throws(MountFailure) in try tree(operand, plan, call) }
                } else if plan.allTargets {
                    attempt { () throws(MountFailure) in try everywhere(operand, plan, call) }
                } else {
                    attempt { () throws(MountFailure) in try unmount(target(of: operand, plan), operand, plan, call) }
                }
            }
        }
        return code
    }

    /// The mount point that a name stands for: itself, or where a device is mounted last.
    private static func target(of name: String, _ plan: Plan) throws(MountFailure) -> String {
        // The last name is taken as it is: a link to a mount point is followed, as the original does.
        let path = plan.keepsPaths ? name : Tags.canonical(name)
        guard let mounts = try? MountInfo.current() else { return path }
        if mounts.contains(where: { $0.mountPoint == path }) { return path }
        if let device = Tags.device(name),
            let mounted = mounts.last(where: { $0.source == device || $0.source == path })
        {
            return mounted.mountPoint
        }
        if let mounted = mounts.last(where: { $0.source.hasPrefix("/dev/loop") && backing($0.source) == path }) {
            return mounted.mountPoint
        }
        // A path below a mount that cannot be looked at any more (a dead server's) is found by its name above.
        if mounts.contains(where: { $0.mountPoint == name }) { return name }
        if !Files.exists(path) {
            throw MountFailure(subject: name, text: "no mount point specified", code: MountFailure.failed)
        }
        if geteuid() != 0 { return path }
        throw MountFailure(subject: name, text: "not mounted", code: MountFailure.failed)
    }

    /// The file that a loop device shows.
    private static func backing(_ device: String) -> String? {
        (try? Files.readString("/sys/block/\(Path.last(device))/loop/backing_file"))?.split(separator: "\n").first
            .map(String.init)
    }

    private static func unmount(
        _ target: String, _ name: String, _ plan: Plan, _ call: ToolCall
    ) throws(MountFailure) {
        let source = plan.isVerbose ? (try? MountInfo.current())?.last { $0.mountPoint == target }?.source : nil
        if !plan.isFake, umount2(target, plan.flags) != 0 {
            let code = errno
            if plan.fallsBackToReadOnly, code == EBUSY,
                Glibc.mount(nil, target, nil, UInt(MS_REMOUNT | MS_RDONLY), nil) == 0
            {
                call.complain("umount: \(target): filesystem was unmounted, but not: busy - remounted read-only")
                return
            }
            throw MountFailure.unmount(code, name)
        }
        if plan.isVerbose { call.complain("umount: \(target)\(source.map { " (\($0))" } ?? "") unmounted") }
    }

    /// A mount and all below it, the newest first.
    private static func tree(_ name: String, _ plan: Plan, _ call: ToolCall) throws(MountFailure) {
        let path = Tags.canonical(name)
        let mounts = (try? MountInfo.current()) ?? []
        guard let top = mounts.last(where: { $0.mountPoint == path }) else {
            throw MountFailure(subject: name, text: "not mounted", code: MountFailure.failed)
        }
        func remove(_ mount: MountInfo) throws(MountFailure) {
            for child in mounts.reversed() where child.parent == mount.id && child.id != mount.id { try remove(child) }
            try unmount(mount.mountPoint, mount.mountPoint, plan, call)
        }
        try remove(top)
    }

    private static func everywhere(_ name: String, _ plan: Plan, _ call: ToolCall) throws(MountFailure) {
        let path = Tags.canonical(name)
        let mounts = (try? MountInfo.current()) ?? []
        let device = mounts.last { $0.mountPoint == path }?.device
        let targets = mounts.filter { device != nil ? $0.device == device : $0.source == path }
        if targets.isEmpty { throw MountFailure(subject: name, text: "not mounted", code: MountFailure.failed) }
        for mount in targets.reversed() {
            if plan.isRecursive {
                try tree(mount.mountPoint, plan, call)
            } else {
                try unmount(mount.mountPoint, mount.mountPoint, plan, call)
            }
        }
    }
}
