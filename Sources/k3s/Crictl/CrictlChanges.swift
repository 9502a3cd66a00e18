import Codecs
import GRPC
import Linux

/// What is made, started, stopped and removed.
enum CrictlChanges {
    private static let pulling: StaticString = """
        +|auth||CRICTL_AUTH|s|||Use AUTH_STRING for accessing the registry: a base64 encoded 'USERNAME[:PASSWORD]'
        +|cancel-timeout|T||s|||Time to wait for the request to complete before cancelling it
        +|creds||CRICTL_CREDS|s|||Use USERNAME[:PASSWORD] for accessing the registry
        +|no-pull|||b|||Do not pull the image
        +|pull-timeout|pt|CRICTL_PULL_TIMEOUT|s|||Maximum time to be used for pulling the image, disabled if set to 0s
        +|runtime|r||s|||Runtime handler to use
        +|with-pull|||b|||Pull the image
        """

    static let verbs: [CrictlVerb] = [
        CrictlVerb(
            "runp", "pod-config.[json|yaml]", "Run a new pod",
            """
            +|cancel-timeout|T||s|||Time to wait for the request to complete before cancelling it
            +|runtime|r||s|||Runtime handler to use
            """
        ) { session in
            guard session.arguments.count == 1 else { throw CrictlVerb.ShowHelp() }
            print(try runPod(session, try pod(session, session.arguments[0])))
            return 0
        },
        CrictlVerb(
            "create", "POD container-config.[json|yaml] pod-config.[json|yaml]", "Create a new container", pulling
        ) { session in
            let words = session.arguments
            guard words.count == 3 else { throw CrictlVerb.ShowHelp() }
            let (config, sandbox) = (try container(session, words[1]), try pod(session, words[2]))
            try pull(session, config, sandbox, usual: false)
            print(try create(session, words[0], config, sandbox))
            return 0
        },
        CrictlVerb(
            "run", "container-config.[json|yaml] pod-config.[json|yaml]", "Run a new container inside a sandbox",
            pulling
        ) { session in
            let words = session.arguments
            guard words.count == 2 else { throw CrictlVerb.ShowHelp() }
            let (config, sandbox) = (try container(session, words[0]), try pod(session, words[1]))
            let pod = try runPod(session, sandbox)
            try pull(session, config, sandbox, usual: true)
            let id = try create(session, pod, config, sandbox)
            _ = try session.call(
                "StartContainer", ["container_id": .string(id)], "running container: starting the container \"\(id)\"")
            print(id)
            return 0
        },
        CrictlVerb("start", "CONTAINER-ID [CONTAINER-ID...]", "Start one or more created containers") { session in
            guard !session.arguments.isEmpty else { throw UsageError("ID cannot be empty") }
            for id in session.arguments {
                _ = try session.call(
                    "StartContainer", ["container_id": .string(id)], "starting the container \"\(id)\"")
                print(id)
            }
            return 0
        },
        CrictlVerb(
            "stop", "CONTAINER-ID [CONTAINER-ID...]", "Stop one or more running containers",
            """
            +|all|a||b|||Stop all running containers
            +|timeout|t||s|0||Seconds to wait to kill the container after a graceful stop is requested
            """, stop),
        CrictlVerb(
            "rm", "CONTAINER-ID [CONTAINER-ID...]", "Remove one or more containers",
            """
            +|all|a||b|||Remove all containers
            +|force|f||b|||Force removal of the container, disregarding if running
            +|keep-logs|k||b|||Preserve the container log file and its rotations
            """, remove),
        CrictlVerb("stopp", "POD-ID [POD-ID...]", "Stop one or more running pods") { session in
            for id in try session.required() {
                _ = try session.call(
                    "StopPodSandbox", ["pod_sandbox_id": .string(try known(session, id, "stopping the pod sandbox"))],
                    "stopping the pod sandbox \"\(id)\"")
                print("Stopped sandbox \(id)")
            }
            return 0
        },
        CrictlVerb(
            "rmp", "POD-ID [POD-ID...]", "Remove one or more pods",
            """
            +|all|a||b|||Remove all pods
            +|force|f||b|||Force removal of the pod sandbox, disregarding if running
            """, removePods),
        CrictlVerb(
            "update", "CONTAINER-ID [CONTAINER-ID...]", "Update one or more running containers",
            """
            +|cpu-period|||s|||CPU CFS period to be used for hardcapping (in usecs). 0 to use system default
            +|cpu-quota|||s|||CPU CFS hardcap limit (in usecs). Allowed cpu time in a given period
            +|cpu-share|||s|||CPU shares (relative weight vs. other containers)
            +|cpuset-cpus|||s|||CPU(s) to use
            +|cpuset-mems|||s|||Memory node(s) to use
            +|memory|||s|||Memory limit (in bytes)
            +|oom-score-adj|||s|||OOM Killer score to use
            """, update),
        CrictlVerb(
            "pull", "NAME[:TAG|@DIGEST]", "Pull an image from a registry",
            """
            +|annotation|a||l|||Annotation to be set on the pulled image
            +|auth||CRICTL_AUTH|s|||Use AUTH_STRING for accessing the registry: a base64 encoded 'USERNAME[:PASSWORD]'
            +|creds||CRICTL_CREDS|s|||Use USERNAME[:PASSWORD] for accessing the registry
            +|pod-config|||s|||Use pod-config.[json|yaml] to override the pull context
            +|pull-timeout|pt|CRICTL_PULL_TIMEOUT|s|||Maximum time to be used for pulling the image, disabled if set to 0s
            """
        ) { session in
            guard session.arguments.count == 1 else {
                throw session.arguments.isEmpty ? UsageError("Image name cannot be empty") : CrictlVerb.ShowHelp()
            }
            let sandbox = try session.values.string("pod-config").map { try pod(session, $0) }
            print("Image is up to date for \(try pull(session, session.arguments[0], [:], sandbox))")
            return 0
        },
        CrictlVerb(
            "rmi", "IMAGE-ID [IMAGE-ID...]", "Remove one or more images",
            """
            +|all|a||b|||Remove all images
            +|prune|q||b|||Remove all unused images
            """, removeImages),
    ]

    // MARK: - Configurations

    private static func read(_ session: CrictlSession, _ message: String, _ path: String) throws -> JSON {
        guard Files.exists(path) else { throw UsageError("config at \(path) not found") }
        let document: JSON
        do { document = try YAML.parse(Files.read(path, limit: 4 << 20)) } catch {
            throw UsageError("\(path): \(error)")
        }
        guard document.object != nil else { throw UsageError("\(path): expected an object") }
        let config = session.json.table.known(message, document)
        guard config["metadata"].object != nil else { throw UsageError("\(path): metadata is not set") }
        return config
    }

    private static func container(_ session: CrictlSession, _ path: String) throws -> JSON {
        var config = try read(session, "ContainerConfig", path)
        guard config["metadata"]["name"].string?.isEmpty == false else {
            throw UsageError("\(path): name is not in metadata")
        }
        guard config["image"].object != nil else { throw UsageError("\(path): image is not set") }
        guard let image = config["image"]["image"].string, !image.isEmpty else {
            throw UsageError("\(path): image field is not set in image")
        }
        if (config["image"]["user_specified_image"].string ?? "").isEmpty {
            config["image"]["user_specified_image"] = .string(image)
        }
        return config
    }

    private static func pod(_ session: CrictlSession, _ path: String) throws -> JSON {
        var config = try read(session, "PodSandboxConfig", path)
        guard config["metadata"]["name"].string?.isEmpty == false,
            config["metadata"]["namespace"].string?.isEmpty == false
        else { throw UsageError("\(path): load podSandboxConfig: name or namespace is not in metadata") }
        if (config["metadata"]["uid"].string ?? "").isEmpty {
            let uid = try Files.readString("/proc/sys/kernel/random/uuid")[...].trimmingSpaces()
            config["metadata"]["uid"] = .string(uid)
        }
        return config
    }

    private static func runPod(_ session: CrictlSession, _ config: JSON) throws -> String {
        var request: JSON = ["config": config]
        if let handler = session.values.string("runtime") { request["runtime_handler"] = .string(handler) }
        return try session.call(
            "RunPodSandbox", request, "run pod sandbox", timeout: try session.duration("cancel-timeout"))[
                "pod_sandbox_id"
            ].string ?? ""
    }

    private static func create(
        _ session: CrictlSession, _ pod: String, _ config: JSON, _ sandbox: JSON
    ) throws -> String {
        let request: JSON = ["pod_sandbox_id": .string(pod), "config": config, "sandbox_config": sandbox]
        return try session.call(
            "CreateContainer", request, "creating container", timeout: try session.duration("cancel-timeout"))[
                "container_id"
            ].string ?? ""
    }

    // MARK: - Images

    private static func pull(_ session: CrictlSession, _ config: JSON, _ sandbox: JSON, usual: Bool) throws {
        let values = session.values
        guard !values.bool("no-pull") || !values.bool("with-pull") else {
            throw UsageError("conflict: no-pull and with-pull are both set")
        }
        guard (usual && !values.bool("no-pull")) || values.bool("with-pull") else { return }
        let names = ([config] + config["mounts"].elements).compactMap { $0["image"]["image"].string }
        for name in names where !name.isEmpty {
            _ = try pull(session, name, config["image"]["annotations"], sandbox)
        }
    }

    private static func pull(
        _ session: CrictlSession, _ name: String, _ annotations: JSON, _ sandbox: JSON?
    ) throws -> String {
        let values = session.values
        var image: JSON = ["image": .string(name)]
        let given = try CrictlText.labels(values.list("annotation"))
        image["annotations"] = given.stringMap.isEmpty ? annotations : given
        var request: JSON = ["image": image]
        if let sandbox { request["sandbox_config"] = sandbox }
        switch (values.string("creds"), values.string("auth")) {
        case (.some, .some): throw UsageError("both `--creds` and `--auth` are specified")
        case (let creds?, nil):
            let parts = creds.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard !parts[0].isEmpty else { throw UsageError("username can't be empty") }
            request["auth"] = ["username": .string(parts[0]), "password": .string(parts.count > 1 ? parts[1] : "")]
        case (nil, let auth?): request["auth"] = ["auth": .string(auth)]
        case (nil, nil): break
        }
        return try session.call("PullImage", request, "pulling image", timeout: try session.duration("pull-timeout"))[
            "image_ref"
        ].string ?? ""
    }

    private static func removeImages(_ session: CrictlSession) throws -> Int32 {
        let (all, prune) = (session.values.bool("all"), session.values.bool("prune"))
        func status(_ id: String) throws -> JSON {
            try session.call(
                "ImageStatus", ["image": ["image": .string(id)]], "image status request for \"\(id)\" failed")["image"]
        }
        var ids = session.arguments
        if all || prune {
            var used: Set<String> = []
            if prune {
                for container in try session.call("ListContainers", "list containers")["containers"].elements {
                    if let id = container["image_id"].string, !id.isEmpty { used.insert(id) }
                    if let id = try status(container["image"]["image"].string ?? "")["id"].string { used.insert(id) }
                }
            }
            ids = try session.call("ListImages", "listing images")["images"].elements
                .filter { !prune || $0["pinned"].bool != true }.compactMap { $0["id"].string }
                .filter { !used.contains($0) }
            if ids.isEmpty { Terminal.error("No images to remove") }
        } else if ids.isEmpty {
            throw CrictlVerb.ShowHelp()
        }
        var failed = false
        for id in ids {
            do {
                let image = try status(id)
                guard image.object != nil else { throw UsageError("no such image \(id)") }
                _ = try session.call(
                    "RemoveImage", ["image": ["image": .string(id)]], "error of removing image \"\(id)\"")
                let tags = image["repo_tags"].elements
                for name in tags.isEmpty ? image["repo_digests"].elements : tags {
                    print("Deleted: \(name.string ?? "")")
                }
            } catch {
                if prune { continue }
                Terminal.error("\(error)")
                failed = true
            }
        }
        if failed { throw UsageError("unable to remove the image(s)") }
        return 0
    }

    // MARK: - Containers and pods

    private static func stop(_ session: CrictlSession) throws -> Int32 {
        var ids = session.arguments
        if session.values.bool("all") {
            guard ids.isEmpty else { throw UsageError("cannot specify CONTAINER-ID(s) when using --all") }
            let filter: JSON = ["state": ["state": 1]]
            ids = try session.call("ListContainers", ["filter": filter], "listing containers")["containers"].elements
                .compactMap { $0["id"].string }
            if ids.isEmpty { print("No running containers found.") }
        } else if ids.isEmpty {
            throw UsageError("you must specify at least one CONTAINER-ID or use --all")
        }
        let seconds = try session.number("timeout") ?? 0
        for id in ids { try stop(session, id, seconds) }
        return 0
    }

    private static func stop(_ session: CrictlSession, _ id: String, _ seconds: Int64) throws {
        let request: JSON = ["container_id": .string(id), "timeout": .int(seconds)]
        _ = try session.call("StopContainer", request, "stopping the container \"\(id)\"")
        print(id)
    }

    private static func remove(_ session: CrictlSession) throws -> Int32 {
        var ids = session.arguments
        if session.values.bool("all") {
            ids = try session.call("ListContainers", "listing containers")["containers"].elements
                .compactMap { $0["id"].string }
        } else if ids.isEmpty {
            throw CrictlVerb.ShowHelp()
        }
        for id in ids {
            let request: JSON = ["container_id": .string(id)]
            let status = try session.call("ContainerStatus", request, "getting container status \"\(id)\"")["status"]
            if status["state"].int == 1 {
                guard session.values.bool("force") else {
                    throw UsageError("container \"\(id)\" is running, please stop it first")
                }
                try stop(session, id, 0)
            }
            _ = try session.call("RemoveContainer", request, "removing container \"\(id)\"")
            print(id)
            if !session.values.bool("keep-logs"), let log = status["log_path"].string, !log.isEmpty {
                removeLogs(log)
            }
        }
        return 0
    }

    /// The log and what was rotated.
    private static func removeLogs(_ log: String) {
        let (folder, name) = (Path.parent(log), Path.last(log))
        for entry in (try? Directories.list(folder)) ?? [] {
            if entry.name == name || entry.name.hasPrefix(name + ".") { unlink(Path.join(folder, entry.name)) }
        }
    }

    /// The runtime calls what it does not know stopped: here that is an error, as a name that was mistyped.
    private static func known(_ session: CrictlSession, _ id: String, _ what: String) throws -> String {
        let request: JSON = ["pod_sandbox_id": .string(id)]
        return try session.call("PodSandboxStatus", request, "\(what) \"\(id)\"")["status"]["id"].string ?? id
    }

    private static func removePods(_ session: CrictlSession) throws -> Int32 {
        var ids = session.arguments
        if session.values.bool("all") {
            ids = try session.call("ListPodSandbox", "listing pod sandboxes")["items"].elements
                .compactMap { $0["id"].string }
            if ids.isEmpty { Terminal.error("No pods to remove") }
        } else if ids.isEmpty {
            throw CrictlVerb.ShowHelp()
        }
        for id in ids {
            let request: JSON = ["pod_sandbox_id": .string(id)]
            let status = try session.call(
                "PodSandboxStatus", request, "getting sandbox status of pod \"\(id)\"")["status"]
            if (status["state"].int ?? 0) == 0 {
                guard session.values.bool("force") else {
                    throw UsageError("pod sandbox \"\(id)\" is running, please stop it first")
                }
                _ = try session.call("StopPodSandbox", request, "stopping the pod sandbox \"\(id)\" failed")
                print("Stopped sandbox \(id)")
            }
            _ = try session.call("RemovePodSandbox", request, "removing the pod sandbox \"\(id)\"")
            print("Removed sandbox \(id)")
        }
        return 0
    }

    private static func update(_ session: CrictlSession) throws -> Int32 {
        guard !session.arguments.isEmpty else { throw UsageError("ID cannot be empty") }
        var linux: JSON = [:]
        for (flag, key) in [
            ("cpu-period", "cpu_period"), ("cpu-quota", "cpu_quota"), ("cpu-share", "cpu_shares"),
            ("memory", "memory_limit_in_bytes"), ("oom-score-adj", "oom_score_adj"),
        ] {
            if let number = try session.number(flag) { linux[key] = .int(number) }
        }
        for (flag, key) in [("cpuset-cpus", "cpuset_cpus"), ("cpuset-mems", "cpuset_mems")] {
            if let text = session.values.string(flag) { linux[key] = .string(text) }
        }
        for id in session.arguments {
            _ = try session.call(
                "UpdateContainerResources", ["container_id": .string(id), "linux": linux],
                "updating container resources for \"\(id)\"")
            print(id)
        }
        return 0
    }
}
