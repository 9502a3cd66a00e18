internal import Codecs
internal import Containers
internal import GRPC
internal import Linux

/// CRI's messages to the runtime's values and back.
enum CRIValues {
    private static let modes: [SandboxConfig.NamespaceMode] = [.pod, .container, .node]

    static func mode(_ value: JSON) -> SandboxConfig.NamespaceMode {
        let number = Int(clamping: value.int ?? 0)
        return modes.indices.contains(number) ? modes[number] : .container
    }

    static func number(_ mode: SandboxConfig.NamespaceMode) -> Int64 {
        if case .target = mode { return 3 }
        return Int64(modes.firstIndex(of: mode) ?? 0)
    }

    // MARK: - Sandboxes

    static func sandbox(_ json: JSON) -> SandboxConfig {
        let (metadata, linux) = (json["metadata"], json["linux"])
        let options = linux["security_context"]["namespace_options"]
        var config = SandboxConfig()
        config.podUID = metadata["uid"].string ?? ""
        config.name = metadata["name"].string ?? ""
        config.namespace = metadata["namespace"].string ?? ""
        config.attempt = UInt32(clamping: metadata["attempt"].int ?? 0)
        config.logDirectory = json["log_directory"].string ?? ""
        config.labels = json["labels"].stringMap
        config.annotations = json["annotations"].stringMap
        config.network = mode(options["network"])
        config.pid = mode(options["pid"])
        config.ipc = mode(options["ipc"])
        let users = options["userns_options"]
        config.privateUsers = (users["mode"].int ?? 0) == 0 && !users["uids"].elements.isEmpty
        config.sysctls = linux["sysctls"].stringMap
        let dns = json["dns_config"]
        if dns.object != nil {
            config.dns = SandboxDNS(
                servers: strings(dns["servers"]), searches: strings(dns["searches"]), options: strings(dns["options"]))
        }
        config.hostname = json["hostname"].string ?? ""
        if config.hostname.isEmpty, config.network == .pod { config.hostname = config.name }
        // The runtime makes the pod's own directory below it; a kubelet's parent names it already.
        var parent = (linux["cgroup_parent"].string ?? "").split(separator: "/").filter { $0 != ".." && $0 != "." }
        if parent.last.map(String.init) == "pod" + config.podUID { parent.removeLast() }
        config.cgroupParent = parent.isEmpty ? "k8s.io" : parent.joined(separator: "/")
        return config
    }

    static func state(_ sandbox: SandboxStatus) -> Int64 { sandbox.state == .ready ? 0 : 1 }

    static func metadata(_ config: SandboxConfig) -> JSON {
        [
            "name": .string(config.name), "uid": .string(config.podUID), "namespace": .string(config.namespace),
            "attempt": .int(Int64(config.attempt)),
        ]
    }

    /// The members that a sandbox in a list and its status share.
    static func listed(_ sandbox: SandboxStatus) -> JSON {
        [
            "id": .string(sandbox.id), "metadata": metadata(sandbox.config), "state": .int(state(sandbox)),
            "created_at": .int(sandbox.createdAt), "labels": .map(sandbox.config.labels),
            "annotations": .map(sandbox.config.annotations),
        ]
    }

    static func namespaces(_ config: SandboxConfig) -> JSON {
        var json: JSON = [
            "network": .int(number(config.network)), "pid": .int(number(config.pid)), "ipc": .int(number(config.ipc)),
        ]
        if config.privateUsers {
            let mapping: JSON = ["host_id": .int(Int64(config.idBase)), "container_id": 0, "length": 65536]
            json["userns_options"] = ["mode": 0, "uids": [mapping], "gids": [mapping]]
        }
        return json
    }

    // MARK: - Containers

    static func strings(_ json: JSON) -> [String] { json.elements.compactMap(\.string) }

    /// Without its mounts of images, which have to be made first.
    static func container(_ json: JSON) throws(GRPCStatus) -> ContainerConfig {
        var config = ContainerConfig()
        config.name = json["metadata"]["name"].string ?? ""
        config.attempt = UInt32(clamping: json["metadata"]["attempt"].int ?? 0)
        config.image = json["image"]["image"].string ?? ""
        (config.command, config.args) = (strings(json["command"]), strings(json["args"]))
        config.workingDirectory = json["working_dir"].string ?? ""
        config.environment = json["envs"].elements.map { ($0["key"].string ?? "", $0["value"].string ?? "") }
        (config.labels, config.annotations) = (json["labels"].stringMap, json["annotations"].stringMap)
        config.logPath = json["log_path"].string ?? ""
        config.stdin = json["stdin"].bool ?? false
        config.stdinOnce = json["stdin_once"].bool ?? false
        config.tty = json["tty"].bool ?? false
        config.devices = json["devices"].elements.map {
            let host = $0["host_path"].string ?? ""
            return "\(host):\($0["container_path"].string ?? host):\($0["permissions"].string ?? "rwm")"
        }
        config.stopSignal = signalName(json["stop_signal"].int ?? 0)
        let linux = json["linux"]
        config.resources = resources(linux["resources"], over: ContainerResources())
        config.security = try security(linux["security_context"])
        let options = linux["security_context"]["namespace_options"]
        if options["pid"].int == 3 {
            config.pid = .target(options["target_id"].string ?? "")
        } else if options.object != nil {
            config.pid = mode(options["pid"])
        }
        return config
    }

    static func mount(_ json: JSON) throws(GRPCStatus) -> ContainerMount {
        let path = json["container_path"].string ?? ""
        guard !path.isEmpty else { throw GRPCStatus(.invalidArgument, "mounts: container_path is missing") }
        var mount = ContainerMount(
            hostPath: json["host_path"].string ?? "", containerPath: path.hasPrefix("/") ? path : "/" + path,
            readOnly: json["readonly"].bool ?? false)
        switch json["propagation"].int ?? 0 {
        case 1: mount.propagation = .hostToContainer
        case 2: mount.propagation = .bidirectional
        default: mount.propagation = .privateMount
        }
        if json["recursive_read_only"].bool == true {
            guard mount.readOnly, mount.propagation == .privateMount else {
                throw GRPCStatus(
                    .invalidArgument,
                    "mounts: \(path): recursive_read_only needs readonly and the propagation PROPAGATION_PRIVATE")
            }
            mount.recursiveReadOnly = true
        }
        return mount
    }

    static func json(_ mount: ContainerMount) -> JSON {
        let propagation: Int64 =
            switch mount.propagation {
            case .privateMount: 0
            case .hostToContainer: 1
            case .bidirectional: 2
            }
        return [
            "container_path": .string(mount.containerPath), "host_path": .string(mount.hostPath),
            "readonly": .bool(mount.readOnly), "propagation": .int(propagation),
            "recursive_read_only": .bool(mount.recursiveReadOnly),
        ]
    }

    private static func security(_ json: JSON) throws(GRPCStatus) -> ContainerSecurity {
        var security = ContainerSecurity()
        security.privileged = json["privileged"].bool ?? false
        let capabilities = json["capabilities"]
        security.addCapabilities = strings(capabilities["add_capabilities"])
        security.dropCapabilities = strings(capabilities["drop_capabilities"])
        security.ambientCapabilities = strings(capabilities["add_ambient_capabilities"])
        // Ambient ones are in all other sets as well.
        security.addCapabilities += security.ambientCapabilities
        if json["run_as_user"].object != nil { security.runAsUser = json["run_as_user"]["value"].int ?? 0 }
        security.runAsUsername = json["run_as_username"].string ?? ""
        if json["run_as_group"].object != nil {
            guard security.runAsUser != nil || !security.runAsUsername.isEmpty else {
                throw GRPCStatus(
                    .invalidArgument, "runAsGroup is specified without runAsUser or runAsUsername")
            }
            security.runAsGroup = json["run_as_group"]["value"].int ?? 0
        }
        security.supplementalGroups = json["supplemental_groups"].elements.compactMap(\.int)
        security.strictSupplementalGroups = json["supplemental_groups_policy"].int == 1
        security.readOnlyRootFilesystem = json["readonly_rootfs"].bool ?? false
        security.noNewPrivileges = json["no_new_privs"].bool ?? false
        let (masked, readOnly) = (strings(json["masked_paths"]), strings(json["readonly_paths"]))
        if !masked.isEmpty { security.maskedPaths = masked }
        if !readOnly.isEmpty { security.readOnlyPaths = readOnly }
        let seccomp = profile(json["seccomp"], json["seccomp_profile_path"])
        switch seccomp?.kind {
        case 0: security.seccomp = .runtimeDefault
        case 2: security.seccomp = .localhost(path: seccomp?.reference ?? "")
        default: security.seccomp = .unconfined
        }
        let appArmor = profile(json["apparmor"], json["apparmor_profile"])
        switch appArmor?.kind {
        case 0: security.appArmor = .runtimeDefault
        case 1: security.appArmor = .unconfined
        case 2: security.appArmor = .localhost(appArmor?.reference ?? "")
        default: break
        }
        return security
    }

    /// The message, or the text of before CRI had it: "runtime/default", "unconfined", "localhost/...".
    private static func profile(_ json: JSON, _ old: JSON) -> (kind: Int64, reference: String)? {
        if json.object != nil { return (json["profile_type"].int ?? 0, json["localhost_ref"].string ?? "") }
        switch old.string ?? "" {
        case "": return nil
        case "unconfined": return (1, "")
        case let text where text.hasPrefix("localhost/"): return (2, String(text.dropFirst(10)))
        default: return (0, "")
        }
    }

    /// Fields that are zero leave what there was.
    static func resources(_ json: JSON, over old: ContainerResources) -> ContainerResources {
        var resources = old
        func positive(_ name: String) -> Int64? { json[name].int.flatMap { $0 > 0 ? $0 : nil } }
        if let value = positive("cpu_period") { resources.cpuPeriodMicroseconds = UInt64(value) }
        if let value = json["cpu_quota"].int, value != 0 { resources.cpuQuotaMicroseconds = value }
        if let value = positive("cpu_shares") { resources.cpuShares = UInt64(value) }
        if let value = json["memory_limit_in_bytes"].int, value != 0 { resources.memoryLimitBytes = value }
        // CRI's is memory and swap together.
        if let both = positive("memory_swap_limit_in_bytes"), let memory = resources.memoryLimitBytes, memory > 0 {
            resources.swapLimitBytes = max(0, both - memory)
        }
        if let value = json["oom_score_adj"].int { resources.oomScoreAdj = Int(clamping: value) }
        if let text = json["cpuset_cpus"].string, !text.isEmpty { resources.cpusetCPUs = text }
        if let text = json["cpuset_mems"].string, !text.isEmpty { resources.cpusetMemoryNodes = text }
        for limit in json["hugepage_limits"].elements {
            guard let size = limit["page_size"].string, !size.isEmpty else { continue }
            resources.hugePages = resources.hugePages ?? [:]
            resources.hugePages?[size] = limit["limit"].int ?? 0
        }
        let unified = json["unified"].stringMap
        func bytes(_ name: String) -> Int64? { unified[name].flatMap { Int64($0) } }
        if let value = bytes("memory.min") { resources.memoryMinBytes = value }
        if let value = bytes("memory.low") { resources.memoryLowBytes = value }
        if let value = bytes("memory.high") { resources.memoryHighBytes = value }
        if let value = bytes("pids.max") { resources.pidsLimit = value }
        return resources
    }

    static func json(_ resources: ContainerResources) -> JSON {
        var json: JSON = [
            "cpu_period": .int(Int64(clamping: resources.cpuPeriodMicroseconds ?? 0)),
            "cpu_quota": .int(resources.cpuQuotaMicroseconds ?? 0),
            "cpu_shares": .int(Int64(clamping: resources.cpuShares ?? 0)),
            "memory_limit_in_bytes": .int(resources.memoryLimitBytes ?? 0),
            "oom_score_adj": .int(Int64(resources.oomScoreAdj ?? 0)),
            "cpuset_cpus": .string(resources.cpusetCPUs ?? ""),
            "cpuset_mems": .string(resources.cpusetMemoryNodes ?? ""),
        ]
        if let memory = resources.memoryLimitBytes, let swap = resources.swapLimitBytes {
            json["memory_swap_limit_in_bytes"] = .int(memory + swap)
        }
        let pages = (resources.hugePages ?? [:]).sorted { $0.key < $1.key }
        json["hugepage_limits"] = .array(pages.map { ["page_size": .string($0.key), "limit": .int($0.value)] })
        return json
    }

    // MARK: - Signals

    /// In the order of CRI's enumeration, from 1 on.
    private static let signals = [
        "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL",
        "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1",
        "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
    ]

    static func signalName(_ number: Int64) -> String {
        switch number {
        case 1...34: "SIG" + signals[Int(number) - 1]
        case 35: "SIGRTMIN"
        case 36...50: "SIGRTMIN+\(number - 35)"
        case 51...64: "SIGRTMAX-\(65 - number)"
        case 65: "SIGRTMAX"
        default: ""
        }
    }

    static func signalNumber(_ name: String) -> Int64 {
        guard let wanted = Signals.number(name) else { return 0 }
        return (1...65).first { Signals.number(signalName($0)) == wanted } ?? 0
    }
}
