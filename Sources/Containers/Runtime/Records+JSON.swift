import Codecs

// Configurations to JSON and back. Absent members take the type's default, so that records of an older version stay
// readable.

extension JSON {
    static func optional(_ value: Int64?) -> JSON { value.map { .int($0) } ?? .null }
    var strings: [String] { elements.compactMap(\.string) }
    var flag: Bool { bool ?? false }
    var text32: UInt32 { UInt32(clamping: int ?? 0) }
}

extension SandboxConfig.NamespaceMode {
    var json: JSON {
        switch self {
        case .pod: "pod"
        case .container: "container"
        case .node: "node"
        case .target(let id): .string("target:" + id)
        }
    }

    init?(json: JSON) {
        switch json.string {
        case "pod": self = .pod
        case "container": self = .container
        case "node": self = .node
        case let text?:
            guard text.hasPrefix("target:") else { return nil }
            self = .target(String(text.dropFirst(7)))
        case nil: return nil
        }
    }
}

extension SandboxConfig {
    var json: JSON {
        var json = JSON.object([
            "podUID": .string(podUID), "name": .string(name), "namespace": .string(namespace),
            "attempt": .int(Int64(attempt)), "hostname": .string(hostname), "logDirectory": .string(logDirectory),
            "labels": .map(labels), "annotations": .map(annotations), "network": network.json, "pid": pid.json,
            "ipc": ipc.json, "sysctls": .map(sysctls), "cgroupParent": .string(cgroupParent),
            "resources": resources.json,
        ])
        if privateUsers { json["idBase"] = .int(Int64(idBase)) }
        if let dns {
            json["dns"] = .object([
                "servers": .strings(dns.servers), "searches": .strings(dns.searches), "options": .strings(dns.options),
            ])
        }
        return json
    }

    init(json: JSON) {
        self.init()
        podUID = json["podUID"].string ?? ""
        name = json["name"].string ?? ""
        namespace = json["namespace"].string ?? ""
        attempt = json["attempt"].text32
        hostname = json["hostname"].string ?? ""
        logDirectory = json["logDirectory"].string ?? ""
        labels = json["labels"].stringMap
        annotations = json["annotations"].stringMap
        network = NamespaceMode(json: json["network"]) ?? network
        pid = NamespaceMode(json: json["pid"]) ?? pid
        ipc = NamespaceMode(json: json["ipc"]) ?? ipc
        if let base = json["idBase"].int { (privateUsers, idBase) = (true, UInt32(clamping: base)) }
        sysctls = json["sysctls"].stringMap
        cgroupParent = json["cgroupParent"].string ?? cgroupParent
        resources = ContainerResources(json: json["resources"])
        let dns = json["dns"]
        if !dns.isNull {
            self.dns = SandboxDNS(
                servers: dns["servers"].strings, searches: dns["searches"].strings, options: dns["options"].strings)
        }
    }
}

extension ContainerResources {
    var json: JSON {
        var json = JSON.object([:])
        json["cpuShares"] = .optional(cpuShares.map { Int64(clamping: $0) })
        json["cpuQuota"] = .optional(cpuQuotaMicroseconds)
        json["cpuPeriod"] = .optional(cpuPeriodMicroseconds.map { Int64(clamping: $0) })
        json["cpuBurst"] = .optional(cpuBurstMicroseconds.map { Int64(clamping: $0) })
        json["memory"] = .optional(memoryLimitBytes)
        json["swap"] = .optional(swapLimitBytes)
        json["memoryMin"] = .optional(memoryMinBytes)
        json["memoryLow"] = .optional(memoryLowBytes)
        json["memoryHigh"] = .optional(memoryHighBytes)
        json["mems"] = cpusetMemoryNodes.map { .string($0) } ?? .null
        json["ioWeight"] = .optional(ioWeight.map { Int64(clamping: $0) })
        if let hugePages {
            json["hugePages"] = .object([:])
            for (size, bytes) in hugePages { json["hugePages"][size] = .int(bytes) }
        }
        json["pids"] = .optional(pidsLimit)
        json["cpus"] = cpusetCPUs.map { .string($0) } ?? .null
        json["oomScoreAdj"] = .optional(oomScoreAdj.map { Int64($0) })
        return json
    }

    init(json: JSON) {
        self.init()
        cpuShares = json["cpuShares"].int.map { UInt64(clamping: $0) }
        cpuQuotaMicroseconds = json["cpuQuota"].int
        cpuPeriodMicroseconds = json["cpuPeriod"].int.map { UInt64(clamping: $0) }
        cpuBurstMicroseconds = json["cpuBurst"].int.map { UInt64(clamping: $0) }
        memoryLimitBytes = json["memory"].int
        swapLimitBytes = json["swap"].int
        memoryMinBytes = json["memoryMin"].int
        memoryLowBytes = json["memoryLow"].int
        memoryHighBytes = json["memoryHigh"].int
        cpusetMemoryNodes = json["mems"].string
        ioWeight = json["ioWeight"].int.map { UInt64(clamping: $0) }
        if let sizes = json["hugePages"].object?.keys {
            hugePages = [:]
            for size in sizes { hugePages?[size] = json["hugePages"][size].int }
        }
        pidsLimit = json["pids"].int
        cpusetCPUs = json["cpus"].string
        oomScoreAdj = json["oomScoreAdj"].int.map { Int(clamping: $0) }
    }
}

extension ContainerMount {
    var json: JSON {
        .object([
            "host": .string(hostPath), "container": .string(containerPath), "readOnly": .bool(readOnly),
            "recursive": .bool(recursiveReadOnly),
            "propagation": .int(propagation == .privateMount ? 0 : propagation == .hostToContainer ? 1 : 2),
        ])
    }

    init(json: JSON) {
        self.init(
            hostPath: json["host"].string ?? "", containerPath: json["container"].string ?? "",
            readOnly: json["readOnly"].flag)
        recursiveReadOnly = json["recursive"].flag
        switch json["propagation"].int {
        case 1: propagation = .hostToContainer
        case 2: propagation = .bidirectional
        default: break
        }
    }
}

extension ContainerSecurity {
    var json: JSON {
        var json = JSON.object([
            "privileged": .bool(privileged), "add": .strings(addCapabilities), "drop": .strings(dropCapabilities),
            "groups": .array(supplementalGroups.map { .int($0) }), "strictGroups": .bool(strictSupplementalGroups),
            "readOnlyRoot": .bool(readOnlyRootFilesystem), "noNewPrivileges": .bool(noNewPrivileges),
            "unmaskedProc": .bool(unmaskedProc),
        ])
        if !runAsUsername.isEmpty { json["username"] = .string(runAsUsername) }
        if let maskedPaths { json["masked"] = .strings(maskedPaths) }
        if let readOnlyPaths { json["readOnlyPaths"] = .strings(readOnlyPaths) }
        if !ambientCapabilities.isEmpty { json["ambient"] = .strings(ambientCapabilities) }
        switch appArmor {
        case .runtimeDefault: json["appArmor"] = "default"
        case .unconfined: json["appArmor"] = "unconfined"
        case .localhost(let name): json["appArmor"] = .string("localhost:" + name)
        case nil: break
        }
        json["user"] = .optional(runAsUser)
        json["group"] = .optional(runAsGroup)
        switch seccomp {
        case .runtimeDefault: json["seccomp"] = "default"
        case .unconfined: json["seccomp"] = "unconfined"
        case .localhost(let path): json["seccomp"] = .string("localhost:" + path)
        }
        return json
    }

    init(json: JSON) {
        self.init()
        privileged = json["privileged"].flag
        addCapabilities = json["add"].strings
        dropCapabilities = json["drop"].strings
        supplementalGroups = json["groups"].elements.compactMap(\.int)
        strictSupplementalGroups = json["strictGroups"].flag
        readOnlyRootFilesystem = json["readOnlyRoot"].flag
        noNewPrivileges = json["noNewPrivileges"].flag
        unmaskedProc = json["unmaskedProc"].flag
        ambientCapabilities = json["ambient"].strings
        runAsUsername = json["username"].string ?? ""
        maskedPaths = json["masked"].isNull ? nil : json["masked"].strings
        readOnlyPaths = json["readOnlyPaths"].isNull ? nil : json["readOnlyPaths"].strings
        switch json["appArmor"].string {
        case "default": appArmor = .runtimeDefault
        case "unconfined": appArmor = .unconfined
        case let name?: appArmor = .localhost(String(name.dropFirst(10)))
        case nil: break
        }
        runAsUser = json["user"].int
        runAsGroup = json["group"].int
        let seccomp = json["seccomp"].string ?? ""
        if seccomp == "default" { self.seccomp = .runtimeDefault }
        if seccomp.hasPrefix("localhost:") { self.seccomp = .localhost(path: String(seccomp.dropFirst(10))) }
    }
}

extension ContainerConfig {
    var json: JSON {
        var json = JSON.object([
            "name": .string(name), "attempt": .int(Int64(attempt)), "image": .string(image),
            "command": .strings(command), "args": .strings(args), "cwd": .string(workingDirectory),
            "env": .strings(environment.map { $0.name + "=" + $0.value }), "mounts": .array(mounts.map(\.json)),
            "labels": .map(labels), "annotations": .map(annotations), "logPath": .string(logPath),
            "stdin": .bool(stdin), "stdinOnce": .bool(stdinOnce), "tty": .bool(tty), "resources": resources.json,
            "security": security.json, "devices": .strings(devices),
        ])
        if let pid { json["pid"] = pid.json }
        if !stopSignal.isEmpty { json["stopSignal"] = .string(stopSignal) }
        return json
    }

    init(json: JSON) {
        self.init()
        name = json["name"].string ?? ""
        attempt = json["attempt"].text32
        image = json["image"].string ?? ""
        command = json["command"].strings
        args = json["args"].strings
        workingDirectory = json["cwd"].string ?? ""
        environment = json["env"].strings.map { entry in
            let parts = entry.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return (String(parts[0]), parts.count > 1 ? String(parts[1]) : "")
        }
        mounts = json["mounts"].elements.map(ContainerMount.init(json:))
        labels = json["labels"].stringMap
        annotations = json["annotations"].stringMap
        logPath = json["logPath"].string ?? ""
        stdin = json["stdin"].flag
        stdinOnce = json["stdinOnce"].flag
        tty = json["tty"].flag
        resources = ContainerResources(json: json["resources"])
        security = ContainerSecurity(json: json["security"])
        devices = json["devices"].strings
        pid = SandboxConfig.NamespaceMode(json: json["pid"])
        stopSignal = json["stopSignal"].string ?? ""
    }
}

extension ImageConfig {
    var json: JSON {
        .object([
            "entrypoint": .strings(entrypoint), "cmd": .strings(cmd), "env": .strings(environment),
            "cwd": .string(workingDirectory), "user": .string(user), "stopSignal": .string(stopSignal),
            "volumes": .strings(volumes),
        ])
    }

    /// Labels are not kept: nothing of a running container needs them.
    init(json: JSON) {
        self.init()
        entrypoint = json["entrypoint"].strings
        cmd = json["cmd"].strings
        environment = json["env"].strings
        workingDirectory = json["cwd"].string ?? ""
        user = json["user"].string ?? ""
        stopSignal = json["stopSignal"].string ?? ""
        volumes = json["volumes"].strings
    }
}

extension ResolvedUser {
    var json: JSON {
        .object([
            "uid": .int(Int64(uid)), "gid": .int(Int64(gid)), "groups": .array(groups.map { .int(Int64($0)) }),
            "home": .string(home),
        ])
    }

    init(json: JSON) {
        self.init(
            uid: json["uid"].text32, gid: json["gid"].text32,
            groups: json["groups"].elements.map(\.text32), home: json["home"].string ?? "/")
    }
}
