import Codecs
import GRPC
import Linux

/// What something is in detail: `inspect`, `inspectp`, `inspecti`, `info`, `imagefsinfo`, `version`, `runtime-config`.
enum CrictlInspect {
    static let verbs: [CrictlVerb] = [
        CrictlVerb(
            "inspect", "CONTAINER-ID [CONTAINER-ID...]", "Display the status of one or more containers",
            """
            +|all|a||b|||Show all containers
            +|image|||s|||Filter by container image
            +|label|||l|||Filter by key=value label
            +|last|n||s|||Show last n recently created containers (includes all states). Set 0 for unlimited.
            +|latest|l||b|||Show the most recently created container (includes all states)
            +|name|||s|||Filter by container name regular expression pattern
            +|namespace|||s|||Filter by pod namespace regular expression pattern
            +|output|o||s|json||Output format, One of: json|yaml|go-template|table
            +|pod|p||s|||Filter by pod id
            +|quiet|q||b|||Do not show verbose information
            +|state|s||s|||Filter by container state
            +|template|||s|||The template string is only used when output is go-template
            """, { try inspect($0, .container) }),
        CrictlVerb(
            "inspectp", "POD-ID [POD-ID...]", "Display the status of one or more pods",
            """
            +|label|||l|||Filter by key=value label
            +|last|n||s|||Show last n recently created pods. Set 0 for unlimited
            +|latest|l||b|||Show the most recently created pod
            +|name|||s|||Filter by pod name regular expression pattern
            +|namespace|||s|||Filter by pod namespace regular expression pattern
            +|output|o||s|json||Output format, One of: json|yaml|go-template|table
            +|quiet|q||b|||Do not show verbose information
            +|state|s||s|||Filter by pod state
            +|template|||s|||The template string is only used when output is go-template
            """, { try inspect($0, .pod) }),
        CrictlVerb(
            "inspecti", "IMAGE-ID [IMAGE-ID...]", "Return the status of one or more images",
            """
            +|output|o||s|json||Output format, One of: json|yaml|go-template|table
            +|quiet|q||b|||Do not show verbose information
            +|template|||s|||The template string is only used when output is go-template
            """, { try inspect($0, .image) }),
        CrictlVerb(
            "info", "", "Display information of the container runtime",
            """
            +|output|o||s|json||Output format, One of: json|yaml|go-template
            +|quiet|q||b|||Do not show verbose information
            +|template|||s|||The template string is only used when output is go-template
            """, info),
        CrictlVerb(
            "imagefsinfo", "", "Return image filesystem info",
            """
            +|output|o||s|json||Output format, One of: json|yaml|go-template|table
            +|template|||s|||The template string is only used when output is go-template
            """, fileSystems),
        CrictlVerb("version", "", "Display runtime version information", "", version),
        CrictlVerb("runtime-config", "", "Retrieve the container runtime configuration", "") { session in
            let config = try session.call("RuntimeConfig", "getting runtime config")
            print(session.json.encode("RuntimeConfigResponse", config).encodePretty())
            return 0
        },
    ]

    enum Kind {
        case container, pod, image

        var method: String {
            switch self {
            case .container: "ContainerStatus"
            case .pod: "PodSandboxStatus"
            case .image: "ImageStatus"
            }
        }
        /// The message of what is shown.
        var message: String { self == .image ? "Image" : method }

        func request(_ id: String) -> JSON {
            switch self {
            case .container: ["container_id": .string(id)]
            case .pod: ["pod_sandbox_id": .string(id)]
            case .image: ["image": ["image": .string(id)]]
            }
        }
        func failure(_ id: String) -> String {
            switch self {
            case .container: "get the status of containers: get container status"
            case .pod: "get the status of pod sandboxes: get pod sandbox status"
            case .image: "image status for \"\(id)\" request"
            }
        }
    }

    private static func inspect(_ session: CrictlSession, _ kind: Kind) throws -> Int32 {
        var ids = session.arguments
        if ids.isEmpty {
            let list: [JSON]
            switch kind {
            case .container: list = try CrictlLists.containers(session)
            case .pod: list = try CrictlLists.pods(session)
            case .image: list = []
            }
            ids = list.compactMap { $0["id"].string }
        }
        guard !ids.isEmpty else { throw CrictlVerb.ShowHelp() }
        let isVerbose = !session.values.bool("quiet")
        var results: [JSON] = []
        for id in ids {
            var request = kind.request(id)
            request["verbose"] = .bool(isVerbose)
            let answer = try session.call(kind.method, request, kind.failure(id))
            let status = answer[kind == .image ? "image" : "status"]
            guard status.object != nil else { throw UsageError("no such image \"\(id)\" present") }
            if session.values.string("output") == "table" {
                Terminal.write(
                    table(status, kind) + (isVerbose ? "Info: \(answer["info"].stringMap)\n" : ""), to: STDOUT_FILENO)
                continue
            }
            results.append(
                merged(times(session.json.encode(kind.message, status), status, kind), answer["info"].stringMap))
        }
        if !results.isEmpty { try show(session, results) }
        return 0
    }

    /// Moments as text; those that have not come are Go's zero time.
    private static func times(_ encoded: JSON, _ status: JSON, _ kind: Kind) -> JSON {
        guard kind != .image else { return encoded }
        var encoded = encoded
        func time(_ key: String) -> JSON { .string(Timestamp(nanoseconds: status[key].int ?? 0).trimmedNano) }
        encoded["createdAt"] = time("created_at")
        guard kind == .container else { return encoded }
        let zero: JSON = "0001-01-01T00:00:00Z"
        let state = status["state"].int ?? 0
        let isOver = state == 2 || (state == 3 && (status["finished_at"].int ?? 0) > 0)
        encoded["startedAt"] = state == 0 ? zero : time("started_at")
        encoded["finishedAt"] = isOver ? time("finished_at") : zero
        return encoded
    }

    /// `status`, and beside it what the runtime says of itself: objects as such, anything else as text.
    static func merged(_ status: JSON, _ info: [String: String]) -> JSON {
        var result: JSON = ["status": status]
        for (name, text) in info {
            if text.hasPrefix("{"), let value = try? JSON.parse(text) {
                result[name] = value
            } else {
                var text = text[...]
                while text.first == "\"" { text.removeFirst() }
                while text.last == "\"" { text.removeLast() }
                result[name] = .string(String(text))
            }
        }
        return CrictlText.sorted(result)
    }

    /// One is not in a list.
    private static func show(_ session: CrictlSession, _ results: [JSON]) throws {
        let value = results.count == 1 ? results[0] : .array(results)
        switch session.values.string("output") ?? "json" {
        case "json": print(value.encodePretty())
        case "yaml": print(YAML.text(value))
        case "go-template":
            print(try GoTemplate(session.values.string("template") ?? "").text(of: value))
        case let other: throw UsageError("unsupported format: \"\(other)\"")
        }
    }

    private static func table(_ status: JSON, _ kind: Kind) -> String {
        var text = "ID: \(status["id"].string ?? "")\n"
        func line(_ title: String, _ value: String) { if !value.isEmpty { text += "\(title): \(value)\n" } }
        let metadata = status["metadata"]
        let created = CrictlText.age(status["created_at"].int ?? 0)
        switch kind {
        case .image:
            for tag in status["repo_tags"].elements { line("Tag", tag.string ?? "") }
            for digest in status["repo_digests"].elements { line("Digest", digest.string ?? "") }
            line("Size", CrictlText.size(status["size"].int ?? 0, digits: 3))
            return text
        case .pod:
            for (title, key) in [("Name", "name"), ("UID", "uid"), ("Namespace", "namespace")] {
                line(title, metadata[key].string ?? "")
            }
            line("Attempt", "\(metadata["attempt"].int ?? 0)")
            line("Status", (status["state"].int ?? 0) == 0 ? "SANDBOX_READY" : "SANDBOX_NOTREADY")
            line("Created", Timestamp(nanoseconds: status["created_at"].int ?? 0).rfc3339)
            line("IP Addresses", status["network"]["ip"].string ?? "")
            for address in status["network"]["additional_ips"].elements {
                line("Additional IP", address["ip"].string ?? "")
            }
        case .container:
            line("Name", metadata["name"].string ?? "")
            if let attempt = metadata["attempt"].int, attempt != 0 { line("Attempt", "\(attempt)") }
            let state = status["state"].int ?? 0
            line(
                "State",
                ["CONTAINER_CREATED", "CONTAINER_RUNNING", "CONTAINER_EXITED", "CONTAINER_UNKNOWN"][
                    Int(clamping: min(max(state, 0), 3))])
            line("Created", created)
            if state != 0 { line("Started", CrictlText.age(status["started_at"].int ?? 0)) }
            if state == 2 {
                if let end = status["finished_at"].int, end > 0 { line("Finished", CrictlText.age(end)) }
                line("Exit Code", "\(status["exit_code"].int ?? 0)")
            }
        }
        for (title, key) in [("Labels", "labels"), ("Annotations", "annotations")] where status[key].object != nil {
            text += title + ":\n"
            for (name, value) in status[key].stringMap.sorted(by: { $0.key < $1.key }) {
                text += "\t\(name) -> \(value)\n"
            }
        }
        return text
    }

    // MARK: - The runtime

    private static func info(_ session: CrictlSession) throws -> Int32 {
        guard session.arguments.isEmpty else { throw CrictlVerb.ShowHelp() }
        let answer = try session.call(
            "Status", ["verbose": .bool(!session.values.bool("quiet"))], "getting status of runtime")
        var result = merged(session.json.encode("RuntimeStatus", answer["status"]), answer["info"].stringMap)
        // These are written as Go's structures are: by the fields' own names, without what is zero.
        if !answer["runtime_handlers"].elements.isEmpty { result["runtimeHandlers"] = answer["runtime_handlers"] }
        if answer["features"].object != nil { result["features"] = answer["features"] }
        try show(session, [CrictlText.sorted(result)])
        return 0
    }

    private static func fileSystems(_ session: CrictlSession) throws -> Int32 {
        guard session.arguments.isEmpty else { throw CrictlVerb.ShowHelp() }
        let answer = try session.call("ImageFsInfo", "image filesystem info request")
        guard session.values.string("output") == "table" else {
            try show(session, [["status": CrictlText.sorted(session.json.encode("ImageFsInfoResponse", answer))]])
            return 0
        }
        var text = ""
        for (title, key) in [("Container", "container_filesystems"), ("Image", "image_filesystems")] {
            text += title + " Filesystem \n"
            for (number, system) in answer[key].elements.enumerated() {
                text += "TimeStamp[\(number)]: \(system["timestamp"].int ?? 0)\n"
                text += "Disk[\(number)]: \(CrictlText.size(system["used_bytes"]["value"].int ?? 0))\n"
                text += "Inodes[\(number)]: \(system["inodes_used"]["value"].int ?? 0)\n"
                text += "Mountpoint[\(number)]: \(system["fs_id"]["mountpoint"].string ?? "")\n"
            }
        }
        Terminal.write(text, to: STDOUT_FILENO)
        return 0
    }

    private static func version(_ session: CrictlSession) throws -> Int32 {
        guard session.arguments.isEmpty else { throw CrictlVerb.ShowHelp() }
        let answer = try session.call("Version", ["version": "v1"], "getting the runtime version")
        for (title, key) in [
            ("Version", "version"), ("RuntimeName", "runtime_name"), ("RuntimeVersion", "runtime_version"),
            ("RuntimeApiVersion", "runtime_api_version"),
        ] { print("\(title):  \(answer[key].string ?? "")") }
        return 0
    }
}

extension Timestamp {
    /// As Go's RFC3339Nano: without zeros at the end of the fraction.
    var trimmedNano: String {
        var text = rfc3339Nano
        guard text.contains("."), text.last == "Z" else { return text }
        text.removeLast()
        while text.last == "0" { text.removeLast() }
        if text.last == "." { text.removeLast() }
        return text + "Z"
    }
}
