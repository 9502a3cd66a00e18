import Linux

/// Everything that a container's launch plan depends on: what was asked for and where things are on this node.
package struct ContainerLaunch: Sendable {
    package enum PIDNamespace: Sendable, Equatable { case own, host, joined }

    package var config = ContainerConfig()
    package var image = ImageConfig()
    package var user = ResolvedUser()
    package var hostname = ""
    /// Topmost layer first.
    package var lower: [String] = []
    package var upper = ""
    package var work = ""
    /// Empty directory on which every container mounts its root, each in its own mount namespace.
    package var rootMountPoint = ""
    /// nil: the node's.
    package var networkNamespace: String?
    package var ipcNamespace: String?
    package var utsNamespace: String?
    package var userNamespace: String?
    /// Host id of the root of that namespace.
    package var idBase: UInt32 = 0
    /// Name of a loaded AppArmor profile; nil: as the node's runtime itself.
    package var appArmor: String?
    package var pid = PIDNamespace.own
    /// Directory to share as /dev/shm; nil: a file system of the container's own.
    package var sharedMemory: String?
    /// Of terminals ("tty"); nil where the node has no such group: a user namespace of one id.
    package var terminalGroup: UInt32? = 5
    package var cgroupJoinFiles: [String] = []
    package var cgroupDirectory: String?
    package var cgroupMounts: [CgroupMount] = []
    /// /etc/hosts and the like; a mount of the configuration on the same path wins.
    package var files: [ContainerMount] = []
    /// Directories behind the VOLUMEs of the image.
    package var volumes: [ContainerMount] = []
    package var devices: [DeviceNode] = []
    /// nil: unconfined.
    package var seccomp: [UInt8]?
    /// The node's own bounding set: nothing beyond it can be given.
    package var availableCapabilities = CapabilitySet()
    package var logPath: String?
    package var exitPath: String?
    package var oomPath: String?
    package var killPath: String?

    package init() {}
}

extension ContainerLaunch {
    package static let defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    /// containerd's lists.
    package static let maskedPaths = [
        "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
        "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
        "/sys/devices/virtual/powercap", "/proc/scsi",
    ]
    package static let readOnlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]

    /// What k3s's service sets for containerd, and containers inherit: LimitNOFILE, LimitNPROC, LimitCORE. Soft and hard.
    static let limits: [(resource: UInt32, value: UInt64)] = [
        (UInt32(RLIMIT_NOFILE.rawValue), 1 << 20), (UInt32(__RLIMIT_NPROC.rawValue), .max),
        (UInt32(RLIMIT_CORE.rawValue), .max),
    ]

    static let appArmorFile = "/proc/self/attr/apparmor/exec"

    package static let standardDevices: [DeviceNode] = [
        ("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0),
    ].map { DeviceNode(path: "/dev/" + $0.0, mode: UInt32(S_IFCHR) | 0o666, major: $0.1, minor: $0.2) }

    var ambientCapabilities: CapabilitySet {
        get throws(RuntimeError) {
            var set = CapabilitySet()
            for name in config.security.ambientCapabilities { set.insert(try Self.capability(name, "ambient")) }
            return set.intersection(try capabilities)
        }
    }

    package var capabilities: CapabilitySet {
        get throws(RuntimeError) {
            try ContainerLaunch.capabilities(config.security, available: availableCapabilities)
        }
    }

    /// Privileged: all there are. Otherwise the default set, with ALL and names added and dropped; add wins over a
    /// dropped ALL, drop over an added ALL.
    package static func capabilities(
        _ security: ContainerSecurity, available: CapabilitySet
    ) throws(RuntimeError) -> CapabilitySet {
        if security.privileged { return available }
        let add = security.addCapabilities.map { $0.uppercased() }
        let drop = security.dropCapabilities.map { $0.uppercased() }
        func isAll(_ name: String) -> Bool { name == "ALL" || name == "CAP_ALL" }
        var set = CapabilitySet.containerDefault
        if add.contains(where: isAll) { set = available }
        if drop.contains(where: isAll) { set = [] }
        for name in add where !isAll(name) { set.insert(try capability(name, "add")) }
        for name in drop where !isAll(name) { set.remove(try capability(name, "drop")) }
        return set.intersection(available)
    }

    private static func capability(_ name: String, _ field: String) throws(RuntimeError) -> CapabilitySet {
        guard let capability = CapabilitySet(name: name) else {
            throw RuntimeError(.createFailed, "capabilities.\(field): unknown capability \"\(name)\"")
        }
        return capability
    }

    /// Entrypoint and arguments of the image, replaced as Kubernetes defines it.
    package var arguments: [String] {
        get throws(RuntimeError) {
            let command = config.command.isEmpty ? image.entrypoint : config.command
            let useImageArguments = config.args.isEmpty && config.command.isEmpty
            let all = command + (useImageArguments ? image.cmd : config.args)
            guard !all.isEmpty else { throw RuntimeError(.createFailed, "no command specified") }
            return all
        }
    }

    package var workingDirectory: String {
        let path = config.workingDirectory.isEmpty ? image.workingDirectory : config.workingDirectory
        return Path.normalized(path)
    }

    /// Later entries of a name replace earlier ones: default PATH, image, container.
    package var environment: [String] {
        var names: [String] = [], values: [String: String] = [:]
        func set(_ entry: String) {
            let name = String(entry.prefix { $0 != "=" })
            if values.updateValue(entry, forKey: name) == nil { names.append(name) }
        }
        set(Self.defaultPath)
        if !hostname.isEmpty { set("HOSTNAME=" + hostname) }
        if config.tty { set("TERM=xterm") }
        for entry in image.environment where entry.contains("=") { set(entry) }
        for entry in config.environment { set(entry.name + "=" + entry.value) }
        if values["HOME"] == nil { set("HOME=" + user.home) }
        return names.compactMap { values[$0] }
    }
}
