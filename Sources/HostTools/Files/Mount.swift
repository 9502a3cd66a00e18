import Linux

/// `mount` of util-linux 2.38: what is mounted, and mounting. Labels and UUIDs are looked up in /dev/disk.
enum Mount {
    private static let known =
        "a,all c,no-canonicalize f,fake F,fork T,fstab= i,internal-only l,show-labels m,mkdir? n,no-mtab options-mode= options-source= options-source-force o,options= O,test-opts= r,read-only t,types= source= target= target-prefix= v,verbose w,rw w,read-write N,namespace= h,help V,version L,label= U,uuid= B,bind M,move R,rbind make-shared make-slave make-private make-unbindable make-rshared make-rslave make-rprivate make-runbindable s"

    static let help = """

        Usage:
         mount [-lhV]
         mount -a [options]
         mount [options] [--source] <source> | [--target] <directory>
         mount [options] <source> <directory>
         mount <operation> <mountpoint> [<target>]

        Mount a filesystem.

        Options:
         -a, --all               mount all filesystems mentioned in fstab
         -f, --fake              dry run; skip the mount(2) syscall
         -T, --fstab <path>      alternative file to /etc/fstab
         -i, --internal-only     don't call the mount.<type> helpers
         -m, --mkdir[=<mode>]    alias to '-o X-mount.mkdir[=<mode>]'
         -n, --no-mtab           don't write to /etc/mtab
         -o, --options <list>    comma-separated list of mount options
         -O, --test-opts <list>  limit the set of filesystems (use with -a)
         -r, --read-only         mount the filesystem read-only (same as -o ro)
         -t, --types <list>      limit the set of filesystem types
             --source <src>      explicitly specifies source (path, label, uuid)
             --target <target>   explicitly specifies mountpoint
             --target-prefix <path>
                                 specifies path used for all mountpoints
         -v, --verbose           say what is being done
         -w, --rw, --read-write  mount the filesystem read-write (default)
         -N, --namespace <ns>    perform mount in another namespace

         -h, --help              display this help
         -V, --version           display version

        Source:
         -L, --label <label>     synonym for LABEL=<label>
         -U, --uuid <uuid>       synonym for UUID=<uuid>
         <device>                specifies device by path
         <directory>             mountpoint for bind mounts (see --bind/rbind)
         <file>                  regular file for loopdev setup

        Operations:
         -B, --bind              mount a subtree somewhere else (same as -o bind)
         -M, --move              move a subtree to some other place
         -R, --rbind             mount a subtree and all submounts somewhere else
         --make-[r]shared, --make-[r]slave, --make-[r]private, --make-[r]unbindable
                                 change the propagation of a [sub]tree

        For more details see mount(8).

        """

    struct Plan {
        var all = false
        var isFake = false
        var isVerbose = false
        var isInternal = false
        var labels = false
        var fstab = "/etc/fstab"
        var types: String?
        var testOptions: String?
        /// In the order of the command line, joined by commas.
        var options: [String] = []
        var source: String?
        var target: String?
        var prefix = ""
        var namespace: String?
        var propagations: [UInt] = []
        var makesTarget: String??
    }

    static func run(_ call: ToolCall) -> Int32 {
        let options: CommandOptions
        do throws(CommandOptions.Failure) { options = try CommandOptions(call.arguments, known: known) } catch {
            call.usage(error)
            return MountFailure.usage
        }
        var plan = Plan()
        for option in options.given {
            let value = option.value ?? ""
            switch option.name {
            case "h": call.write(help); return 0
            case "V": call.line("mount from util-linux 2.38.1 (k3s)"); return 0
            case "a": plan.all = true
            case "f": plan.isFake = true
            case "T": plan.fstab = value
            case "i": plan.isInternal = true
            case "l": plan.labels = true
            case "m": plan.makesTarget = .some(option.value)
            case "o": plan.options.append(value)
            case "O": plan.testOptions = value
            case "r": plan.options.append("ro")
            case "w": plan.options.append("rw")
            case "t": plan.types = value
            case "source": plan.source = value
            case "target": plan.target = value
            case "target-prefix": plan.prefix = value
            case "v": plan.isVerbose = true
            case "N": plan.namespace = value
            case "L": plan.source = "LABEL=\"\(value)\""
            case "U": plan.source = "UUID=\"\(value)\""
            case "B": plan.options.append("bind")
            case "M": plan.options.append("move")
            case "R": plan.options.append("rbind")
            case let name where name.hasPrefix("make-"):
                if let flag = MountOptions.propagation(String(name.dropFirst(5))) { plan.propagations.append(flag) }
            default: break
            }
        }
        return run(plan, options.operands, call)
    }

    private static func run(_ given: Plan, _ operands: [String], _ call: ToolCall) -> Int32 {
        var plan = given
        let isPlain = plan.source == nil && plan.target == nil && operands.isEmpty
        if isPlain, !plan.all {
            guard plan.options.isEmpty, plan.propagations.isEmpty else { return badUsage(call) }
            return list(plan, call)
        }
        guard operands.count <= 2 else { return badUsage(call) }
        do throws(MountFailure) {
            if let namespace = plan.namespace { try enterMountNamespace(namespace) }
            if plan.all { return try all(plan, call) }
            var operands = operands[...]
            if plan.source == nil, plan.target == nil, operands.count == 2 { plan.source = operands.removeFirst() }
            if let only = operands.popFirst() {
                if plan.source != nil || !plan.propagations.isEmpty || plan.target != nil {
                    if plan.target == nil { plan.target = only } else { plan.source = only }
                } else {
                    try fill(&plan, only)
                }
            } else if plan.source == nil || plan.target == nil {
                try fill(&plan, plan.source ?? plan.target ?? "")
            }
            guard operands.isEmpty else { return badUsage(call) }
            return try mount(plan, call)
        } catch {
            complain(error, call)
            return error.code
        }
    }

    private static func badUsage(_ call: ToolCall) -> Int32 {
        call.complain("\(call.name): bad usage")
        call.complain("Try '\(call.name) --help' for more information.")
        return MountFailure.usage
    }

    static func complain(_ error: MountFailure, _ call: ToolCall) {
        call.complain("\(call.name): \(error.subject): \(error.text).")
        if error.isOfKernel {
            call.complain("       dmesg(1) may have more information after failed mount system call.")
        }
    }

    /// What is mounted, a line each.
    private static func list(_ plan: Plan, _ call: ToolCall) -> Int32 {
        guard let mounts = try? MountInfo.current() else {
            call.complain("mount: failed to read mtab: No such file or directory")
            return MountFailure.system
        }
        let filter = plan.types.map(TypeFilter.init)
        for mount in mounts where filter?.matches(mount.type) ?? true {
            let options = MountOptions.merged(mount.options, mount.superOptions).joined(separator: ",")
            call.line("\(mount.source) on \(mount.mountPoint) type \(mount.type) (\(options))")
        }
        return 0
    }

    static func enterMountNamespace(_ name: String) throws(MountFailure) {
        let path = UInt32(name) == nil ? name : "/proc/\(name)/ns/mnt"
        let fd = k3s_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0)
        let code = fd < 0 ? fd : k3s_setns(fd, Int32(K3S_CLONE_NEWNS))
        if fd >= 0 { close(fd) }
        if code < 0 {
            throw MountFailure(
                subject: name, text: "failed to set target namespace: \(errorText(-code))", code: MountFailure.system)
        }
    }

    /// Only one of source and mount point is given: the other one is in fstab, for remounting also in the kernel's table.
    private static func fill(_ plan: inout Plan, _ name: String) throws(MountFailure) {
        let path = Tags.canonical(name)
        let entries = (try? Files.readString(plan.fstab)).map { FstabEntry.parse($0) } ?? []
        if let entry = entries.first(where: { $0.target == path || $0.target == name })
            ?? entries.first(where: { $0.source == name || $0.source == path })
        {
            plan.source = entry.source
            plan.target = entry.target
            if plan.types == nil, entry.type != "auto" { plan.types = entry.type }
            plan.options.insert(entry.options, at: 0)
            return
        }
        var asked = MountOptions()
        for text in plan.options { asked.add(text) }
        guard asked.isRemount || asked.isBind || asked.isMove else {
            let what = plan.source == nil ? "can't find in" : "can't find mount source \(name) in"
            throw MountFailure(subject: name, text: what + " /etc/fstab", code: MountFailure.usage)
        }
        plan.target = name
        if asked.isRemount, let mounted = try? MountInfo.current().last(where: { $0.mountPoint == path }) {
            plan.source = mounted.source
            if plan.types == nil { plan.types = mounted.type }
            let options = asked.isBind ? mounted.options : MountOptions.merged(mounted.options, mounted.superOptions)
            plan.options.insert(options.joined(separator: ","), at: 0)
        }
    }

    /// `mount -a`: what fstab has and is not there yet.
    private static func all(_ plan: Plan, _ call: ToolCall) throws(MountFailure) -> Int32 {
        guard let text = try? Files.readString(plan.fstab) else {
            throw MountFailure(subject: plan.fstab, text: "can't read: \(errorText(errno))", code: MountFailure.system)
        }
        let filter = plan.types.map(TypeFilter.init)
        let mounted = (try? MountInfo.current()) ?? []
        var (worked, failed) = (0, 0)
        for entry in FstabEntry.parse(text) {
            let options = MountOptions.split(entry.options)
            if entry.target == "none" || ["swap", "ignore"].contains(entry.type) { continue }
            if options.contains("noauto") || entry.target == "/" {
                if plan.isVerbose { call.line("\(padded(entry.target)): ignored") }
                continue
            }
            if let filter, !filter.matches(entry.type) { continue }
            if let test = plan.testOptions, !MountOptions.split(test).allSatisfy({ options.contains($0) }) { continue }
            let target = plan.prefix + entry.target
            if mounted.contains(where: { $0.mountPoint == target }) {
                if plan.isVerbose { call.line("\(padded(entry.target)): already mounted") }
                continue
            }
            var one = plan
            (one.source, one.target) = (entry.source, entry.target)
            one.types = entry.type == "auto" ? nil : entry.type
            one.options.insert(entry.options, at: 0)
            one.isVerbose = false
            do throws(MountFailure) {
                let code = try mount(one, call)
                if code == 0 { worked += 1 } else { failed += 1 }
                if plan.isVerbose, code == 0 { call.line("\(padded(entry.target)): successfully mounted") }
            } catch {
                failed += 1
                complain(error, call)
            }
        }
        return failed == 0 ? 0 : worked > 0 ? MountFailure.someOK : MountFailure.failed
    }

    private static func padded(_ text: String) -> String {
        text + String(repeating: " ", count: max(0, 25 - text.utf8.count))
    }
}

/// Sources by name: paths, labels, UUIDs.
enum Tags {
    /// The real path where there is one.
    static func canonical(_ path: String) -> String {
        guard let resolved = realpath(path, nil) else { return path }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// nil: no device has it.
    static func device(_ source: String) -> String? {
        for (tag, folder) in [
            ("UUID=", "by-uuid"), ("LABEL=", "by-label"), ("PARTUUID=", "by-partuuid"), ("PARTLABEL=", "by-partlabel"),
            ("ID=", "by-id"),
        ] where source.hasPrefix(tag) {
            var value = source.dropFirst(tag.utf8.count)
            if value.hasPrefix("\""), value.hasSuffix("\""), value.count > 1 { value = value.dropFirst().dropLast() }
            let link = "/dev/disk/\(folder)/\(value)"
            return Files.exists(link) ? canonical(link) : nil
        }
        return source
    }
}
