import Linux

extension ContainerLaunch {
    /// The plan of the container's main process.
    package func plan() throws(RuntimeError) -> LaunchPlan {
        var plan = LaunchPlan()
        (plan.logPath, plan.exitPath, plan.oomPath, plan.killPath) = (logPath, exitPath, oomPath, killPath)
        plan.cgroupDirectory = cgroupDirectory
        plan.namespaces = pid == .own ? [.mnt, .pid] : [.mnt]
        plan.idBase = idBase
        addResources(&plan)
        // The mount namespace stays the node's: what the container may not change is made before it enters its own users.
        if let userNamespace { plan.add(.openUsers(path: userNamespace)) }
        let shared = config.mounts.filter { $0.propagation == .bidirectional }
        guard shared.count <= Int(K3S_TREE_SLOTS) else {
            throw RuntimeError(
                .invalid, "mounts: at most \(K3S_TREE_SLOTS) with Bidirectional propagation, got \(shared.count)")
        }
        for (slot, mount) in shared.enumerated() { plan.add(.openTree(source: mount.hostPath, slot: slot)) }
        if let networkNamespace { plan.add(.enterNamespace(.net, path: networkNamespace)) }
        if let ipcNamespace { plan.add(.enterNamespace(.ipc, path: ipcNamespace)) }
        if let utsNamespace { plan.add(.enterNamespace(.uts, path: utsNamespace)) }
        // A privileged container sees the node's cgroups, any other only its own as root.
        if !config.security.privileged { plan.add(.unshare([.cgroup])) }
        plan.add(.slaveMounts)
        plan.add(.overlay(lower: lower, upper: upper, work: work, at: rootMountPoint))
        addFilesystems(&plan)
        addDevices(&plan)
        addMounts(&plan, shared)
        if config.tty { plan.add(.terminal(console: true)) }
        plan.add(.makeDirectory(workingDirectory, mode: 0o755))
        if !config.security.privileged && !config.security.unmaskedProc {
            for path in config.security.readOnlyPaths ?? Self.readOnlyPaths { plan.add(.readOnly(path)) }
            for path in config.security.maskedPaths ?? Self.maskedPaths { plan.add(.mask(path)) }
        }
        if config.security.readOnlyRootFilesystem { plan.add(.readOnlyRoot) }
        plan.add(.pivot)
        try addProcess(&plan, arguments: try arguments, environment: environment)
        return plan
    }

    /// The plan of another process in the running container.
    package func execPlan(_ request: ExecRequest) throws(RuntimeError) -> LaunchPlan {
        guard !request.command.isEmpty else { throw RuntimeError(.invalid, "exec: no command specified") }
        var plan = LaunchPlan()
        plan.cgroupDirectory = cgroupDirectory
        plan.idBase = idBase
        addResources(&plan)
        plan.add(.enterTarget([.mnt, .uts, .ipc, .net, .cgroup]))
        if request.tty { plan.add(.terminal(console: false)) }
        var environment = environment
        if request.tty, !environment.contains(where: { $0.hasPrefix("TERM=") }) { environment.append("TERM=xterm") }
        try addProcess(&plan, arguments: request.command, environment: environment)
        return plan
    }

    private func addResources(_ plan: inout LaunchPlan) {
        if let adjustment = config.resources.oomScoreAdj {
            // Lowering it needs CAP_SYS_RESOURCE, which some hosts withhold.
            plan.add(.write(file: "/proc/self/oom_score_adj", "\(adjustment)"), optional: true)
        }
        for file in cgroupJoinFiles { plan.add(.joinCgroup(file: file)) }
    }

    private func addFilesystems(_ plan: inout LaunchPlan) {
        let privileged = config.security.privileged
        plan.add(.mount(type: "proc", target: "/proc", options: "", [.noSuid, .noDev, .noExec]))
        let owner = idBase == 0 ? "" : ",uid=\(idBase),gid=\(idBase)"
        plan.add(.mount(type: "tmpfs", target: "/dev", options: "mode=755,size=65536k" + owner, [.noSuid]))
        let group = terminalGroup.map { ",gid=\(idBase + $0)" } ?? ""
        plan.add(
            .mount(
                type: "devpts", target: "/dev/pts", options: "newinstance,ptmxmode=0666,mode=0620" + group,
                [.noSuid, .noExec]))
        plan.add(.mount(type: "mqueue", target: "/dev/mqueue", options: "", [.noSuid, .noDev, .noExec]))
        if config.mounts.contains(where: { Path.normalized($0.containerPath) == "/dev/shm" }) {
            // The pod brings its own, of another size (an emptyDir in memory).
        } else if let sharedMemory {
            plan.add(.bind(source: sharedMemory, target: "/dev/shm", [], .privateMount, slot: nil))
        } else {
            plan.add(
                .mount(
                    type: "tmpfs", target: "/dev/shm", options: "mode=1777,size=65536k", [.noSuid, .noDev, .noExec]))
        }
        let readOnly: LaunchPlan.MountAttributes = privileged ? [] : [.readOnly]
        plan.add(.mount(type: "sysfs", target: "/sys", options: "", readOnly.union([.noSuid, .noDev, .noExec])))
        addCgroups(&plan, readOnly)
    }

    private func addCgroups(_ plan: inout LaunchPlan, _ readOnly: LaunchPlan.MountAttributes) {
        let attributes = readOnly.union([.noSuid, .noDev, .noExec])
        if cgroupMounts.contains(where: { !$0.name.isEmpty }) {
            plan.add(.mount(type: "tmpfs", target: "/sys/fs/cgroup", options: "mode=755", [.noSuid, .noDev, .noExec]))
        }
        for mount in cgroupMounts {
            let target = mount.name.isEmpty ? "/sys/fs/cgroup" : "/sys/fs/cgroup/" + mount.name
            plan.add(.mount(type: mount.type, target: target, options: mount.options, attributes), optional: true)
            let names = mount.name.split(separator: ",")
            if names.count > 1 {
                for name in names { plan.add(.symbolicLink(content: mount.name, at: "/sys/fs/cgroup/" + name)) }
            }
        }
        // The directory that holds version 1's mounts.
        if !readOnly.isEmpty, cgroupMounts.contains(where: { !$0.name.isEmpty }) {
            plan.add(.readOnly("/sys/fs/cgroup"))
        }
    }

    private func addDevices(_ plan: inout LaunchPlan) {
        var made: Set<String> = []
        for node in Self.standardDevices + devices where made.insert(node.path).inserted { plan.add(.device(node)) }
        for (path, content) in [
            ("/dev/fd", "/proc/self/fd"), ("/dev/stdin", "/proc/self/fd/0"), ("/dev/stdout", "/proc/self/fd/1"),
            ("/dev/stderr", "/proc/self/fd/2"), ("/dev/ptmx", "pts/ptmx"), ("/dev/core", "/proc/kcore"),
        ] { plan.add(.symbolicLink(content: content, at: path)) }
    }

    private func addMounts(_ plan: inout LaunchPlan, _ shared: [ContainerMount]) {
        let asked = Set(config.mounts.map { Path.normalized($0.containerPath) })
        let implicit = (volumes + files).filter { !asked.contains(Path.normalized($0.containerPath)) }
        // Parents before what is mounted below them; the order of equals stays.
        let ordered = (implicit + config.mounts).enumerated().sorted { a, b in
            let (x, y) = (depth(a.element), depth(b.element))
            return x == y ? a.offset < b.offset : x < y
        }.map(\.element)
        for mount in ordered {
            let propagation: LaunchPlan.Propagation =
                switch mount.propagation {
                case .privateMount: .privateMount
                case .hostToContainer: .slave
                case .bidirectional: .unchanged
                }
            let slot = mount.propagation == .bidirectional ? shared.firstIndex(of: mount) : nil
            var attributes: LaunchPlan.MountAttributes = mount.readOnly ? [.readOnly] : []
            if mount.readOnly && mount.recursiveReadOnly { attributes.insert(.recursive) }
            if idBase != 0 { attributes.insert(.mapped) }
            plan.add(
                .bind(
                    source: mount.hostPath, target: Path.normalized(mount.containerPath), attributes, propagation,
                    slot: slot))
        }
    }

    private func depth(_ mount: ContainerMount) -> Int { mount.containerPath.split(separator: "/").count }

    /// Identity, privileges, filter, directory, program: the order in which each still has the right to do the next.
    private func addProcess(
        _ plan: inout LaunchPlan, arguments: [String], environment: [String]
    ) throws(RuntimeError) {
        let capabilities = try capabilities
        let restricted = config.security.noNewPrivileges && !config.security.privileged
        for (resource, value) in Self.limits { plan.add(.limit(resource: resource, value), optional: true) }
        if let appArmor, !config.security.privileged {
            plan.add(.write(file: Self.appArmorFile, "exec " + appArmor))
        }
        // Everything that needs the node's own privileges is behind it.
        if idBase != 0 { plan.add(.enterUsers) }
        if restricted { plan.add(.noNewPrivileges) }
        // Without no_new_privs loading a filter needs CAP_SYS_ADMIN, so it comes before the capabilities go.
        if let seccomp, !restricted { plan.add(.seccomp(seccomp)) }
        plan.add(.bounding(capabilities))
        plan.add(.identity(uid: user.uid, gid: user.gid, groups: user.groups))
        plan.add(.capabilities(capabilities, ambient: try ambientCapabilities))
        if let seccomp, restricted { plan.add(.seccomp(seccomp)) }
        plan.add(.changeDirectory(workingDirectory))
        plan.add(.execute(arguments, environment: environment))
    }

    /// PID 1 of a pod whose containers share their PID namespace.
    package static func pausePlan(
        cgroupJoinFiles: [String], cgroupDirectory: String?, idBase: UInt32 = 0
    ) -> LaunchPlan {
        var plan = LaunchPlan()
        plan.namespaces = [.pid]
        plan.cgroupDirectory = cgroupDirectory
        for file in cgroupJoinFiles { plan.add(.joinCgroup(file: file)) }
        plan.add(.write(file: "/proc/self/oom_score_adj", "-998"), optional: true)
        plan.add(.noNewPrivileges)
        plan.add(.bounding([]))
        // "nobody" of the pause image.
        let nobody: UInt32 = IDMap.users.contains(65535) && IDMap.groups.contains(65535) ? 65535 : 0
        plan.add(.identity(uid: idBase + nobody, gid: idBase + nobody, groups: []))
        plan.add(.capabilities([]))
        plan.add(.pause)
        return plan
    }
}
