internal import Codecs
internal import Containers
internal import Linux

/// The runtime's values as CRI's messages, for another runtime; and its answers back.
extension CRIValues {
    // MARK: - Sandboxes

    /// - Parameter cgroup: of the pod, which is there.
    static func request(_ config: SandboxConfig, cgroup: String) -> JSON {
        var json: JSON = [
            "metadata": metadata(config), "log_directory": .string(config.logDirectory),
            "labels": .map(config.labels), "annotations": .map(config.annotations),
            "linux": [
                "cgroup_parent": .string(cgroup), "sysctls": .map(config.sysctls),
                "security_context": [
                    "namespace_options": namespaces(config), "seccomp": ["profile_type": 0],
                ],
            ],
        ]
        // In the node's network the node's own name is used.
        if config.network == .pod { json["hostname"] = .string(config.hostname) }
        if let dns = config.dns {
            json["dns_config"] = [
                "servers": .strings(dns.servers), "searches": .strings(dns.searches), "options": .strings(dns.options),
            ]
        }
        let protocols = ["TCP", "UDP", "SCTP"]
        json["port_mappings"] = .array(
            config.hostPorts.map { port in
                [
                    "protocol": .int(Int64(protocols.firstIndex(of: port.transport) ?? 0)),
                    "container_port": .int(Int64(port.containerPort)), "host_port": .int(Int64(port.hostPort)),
                    "host_ip": .string(port.hostIP),
                ]
            })
        return json
    }

    /// An entry of a list, or a status.
    static func sandboxStatus(_ json: JSON) -> SandboxStatus {
        var status = SandboxStatus()
        status.id = json["id"].string ?? ""
        let metadata = json["metadata"]
        status.config.podUID = metadata["uid"].string ?? ""
        status.config.name = metadata["name"].string ?? ""
        status.config.namespace = metadata["namespace"].string ?? ""
        status.config.attempt = UInt32(clamping: metadata["attempt"].int ?? 0)
        status.config.labels = json["labels"].stringMap
        status.config.annotations = json["annotations"].stringMap
        status.state = (json["state"].int ?? 0) == 0 ? .ready : .notReady
        status.createdAt = json["created_at"].int ?? 0
        return status
    }

    // MARK: - Containers

    /// - Parameter imageMounts: image ids by the paths that stand for them.
    static func request(_ config: ContainerConfig, in pod: SandboxConfig, imageMounts: [String: String] = [:]) -> JSON {
        [
            "metadata": ["name": .string(config.name), "attempt": .int(Int64(config.attempt))],
            "image": ["image": .string(config.image)], "command": .strings(config.command),
            "args": .strings(config.args), "working_dir": .string(config.workingDirectory),
            "envs": .array(config.environment.map { ["key": .string($0.name), "value": .string($0.value)] }),
            "mounts": .array(config.mounts.map { request($0, imageMounts) }),
            "devices": .array(config.devices.map(device)), "labels": .map(config.labels),
            "annotations": .map(config.annotations), "log_path": .string(config.logPath),
            "stdin": .bool(config.stdin), "stdin_once": .bool(config.stdinOnce), "tty": .bool(config.tty),
            "stop_signal": .int(config.stopSignal.isEmpty ? 0 : signalNumber(config.stopSignal)),
            "linux": [
                "resources": request(config.resources), "security_context": request(config.security, config, pod),
            ],
        ]
    }

    private static func request(_ mount: ContainerMount, _ images: [String: String]) -> JSON {
        var json = json(mount)
        let source = images.first { mount.hostPath == $0.key || mount.hostPath.hasPrefix($0.key + "/") }
        if let source {
            json["host_path"] = ""
            json["image"] = ["image": .string(source.value)]
            json["image_sub_path"] = .string(String(mount.hostPath.dropFirst(source.key.utf8.count + 1)))
        }
        return json
    }

    /// "/dev/x", "/dev/x:/dev/y" or "/dev/x:/dev/y:rw"
    private static func device(_ text: String) -> JSON {
        let parts = text.split(separator: ":").map(String.init)
        return [
            "host_path": .string(parts.first ?? ""), "container_path": .string(parts.count > 1 ? parts[1] : text),
            "permissions": .string(parts.count > 2 ? parts[2] : "rwm"),
        ]
    }

    /// CRI's message has no field for what is only in cgroup version 2; those are by the kernel's names.
    static func request(_ resources: ContainerResources) -> JSON {
        var json = json(resources)
        let unified = [
            ("memory.min", resources.memoryMinBytes), ("memory.low", resources.memoryLowBytes),
            ("memory.high", resources.memoryHighBytes),
        ]
        var map: [String: String] = [:]
        for (name, value) in unified { if let value { map[name] = String(value) } }
        if !map.isEmpty { json["unified"] = .map(map) }
        return json
    }

    private static func request(
        _ security: ContainerSecurity, _ config: ContainerConfig, _ pod: SandboxConfig
    ) -> JSON {
        var options = namespaces(pod)
        if let pid = config.pid {
            options["pid"] = .int(number(pid))
            if case .target(let id) = pid { options["target_id"] = .string(id) }
        }
        var json: JSON = [
            "capabilities": [
                "add_capabilities": .strings(security.addCapabilities),
                "drop_capabilities": .strings(security.dropCapabilities),
                "add_ambient_capabilities": .strings(security.ambientCapabilities),
            ],
            "privileged": .bool(security.privileged), "namespace_options": options,
            "run_as_username": .string(security.runAsUsername),
            "readonly_rootfs": .bool(security.readOnlyRootFilesystem),
            "supplemental_groups": .array(security.supplementalGroups.map { .int($0) }),
            "supplemental_groups_policy": .int(security.strictSupplementalGroups ? 1 : 0),
            "no_new_privs": .bool(security.noNewPrivileges),
        ]
        if let user = security.runAsUser { json["run_as_user"] = ["value": .int(user)] }
        if let group = security.runAsGroup { json["run_as_group"] = ["value": .int(group)] }
        if !security.unmaskedProc {
            json["masked_paths"] = .strings(security.maskedPaths ?? ContainerLaunch.maskedPaths)
            json["readonly_paths"] = .strings(security.readOnlyPaths ?? ContainerLaunch.readOnlyPaths)
        }
        switch security.seccomp {
        case .runtimeDefault: json["seccomp"] = ["profile_type": 0]
        case .unconfined: json["seccomp"] = ["profile_type": 1]
        case .localhost(let path): json["seccomp"] = ["profile_type": 2, "localhost_ref": .string(path)]
        }
        switch security.appArmor {
        case .runtimeDefault: json["apparmor"] = ["profile_type": 0]
        case .unconfined: json["apparmor"] = ["profile_type": 1]
        case .localhost(let name): json["apparmor"] = ["profile_type": 2, "localhost_ref": .string(name)]
        case nil: break
        }
        return json
    }

    static func state(_ json: JSON) -> ContainerStatus.State {
        switch json.int ?? 0 {
        case 0: .created
        case 1: .running
        case 2: .exited
        default: .unknown
        }
    }

    static func containerStatus(_ json: JSON) -> ContainerStatus {
        var status = ContainerStatus()
        status.id = json["id"].string ?? ""
        status.name = json["metadata"]["name"].string ?? ""
        status.attempt = UInt32(clamping: json["metadata"]["attempt"].int ?? 0)
        status.state = state(json["state"])
        status.image = json["image"]["image"].string ?? ""
        status.imageID = json["image_id"].string.flatMap { $0.isEmpty ? nil : $0 } ?? json["image_ref"].string ?? ""
        (status.createdAt, status.startedAt) = (json["created_at"].int ?? 0, json["started_at"].int ?? 0)
        (status.finishedAt, status.exitCode) = (
            json["finished_at"].int ?? 0, Int32(clamping: json["exit_code"].int ?? 0)
        )
        (status.reason, status.message) = (json["reason"].string ?? "", json["message"].string ?? "")
        (status.labels, status.annotations) = (json["labels"].stringMap, json["annotations"].stringMap)
        status.logPath = json["log_path"].string ?? ""
        return status
    }
}
