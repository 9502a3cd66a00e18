import Codecs
import Linux

/// What there is: `ps`, `pods`, `images`.
enum CrictlLists {
    static let verbs: [CrictlVerb] = [
        CrictlVerb(
            "ps", "", "List containers",
            """
            +|all|a||b|||Show all containers
            +|id|||s|||Filter by container id
            +|image|||s|||Filter by container image
            +|label|||l|||Filter by key=value label
            +|last|n||s|||Show last n recently created containers (includes all states). Set 0 for unlimited.
            +|latest|l||b|||Show the most recently created container (includes all states)
            +|name|||s|||Filter by container name regular expression pattern
            +|namespace|||s|||Filter by pod namespace regular expression pattern
            +|no-trunc|||b|||Show output without truncating the ID
            +|output|o||s|table||Output format, One of: json|yaml|table
            +|pod|p||s|||Filter by pod id
            +|quiet|q||b|||Only display container IDs
            +|resolve-image-path|r||b|||Show image path instead of image id
            +|state|s||s|||Filter by container state
            +|verbose|v||b|||Show verbose information for containers
            """, showContainers),
        CrictlVerb(
            "pods p", "", "List pods",
            """
            +|id|||s|||filter by pod id
            +|label|||l|||Filter by key=value label
            +|last|n||s|||Show last n recently created pods. Set 0 for unlimited
            +|latest|l||b|||Show the most recently created pod
            +|name|||s|||Filter by pod name regular expression pattern
            +|namespace|||s|||Filter by pod namespace regular expression pattern
            +|no-trunc|||b|||Show output without truncating the ID
            +|output|o||s|table||Output format, One of: json|yaml|table
            +|quiet|q||b|||List only pod IDs
            +|state|s||s|||Filter by pod state
            +|verbose|v||b|||Show verbose info for pods
            """, showPods),
        CrictlVerb(
            "images image img", "[REPOSITORY[:TAG]]", "List images",
            """
            +|digests|||b|||Show digests
            +|filter|f||l|||Filter output: dangling=(true or false), reference=/regular expression/
            +|no-trunc|||b|||Show output without truncating the ID
            +|output|o||s|table||Output format, One of: json|yaml|table
            +|pinned|||b|||Show whether the image is pinned or not
            +|quiet|q||b|||Only show image IDs
            +|verbose|v||b|||Show verbose info for images
            """, showImages),
    ]

    /// Rows as crictl's tables have them.
    static func table(_ rows: [[String]]) {
        var table = TextTable([], minimum: 20, padding: 3)
        for row in rows { table.add(row) }
        Terminal.write(table.text, to: STDOUT_FILENO)
    }

    private static func verbose(_ lines: [(String, String)], _ item: JSON) {
        var text = lines.filter { !$0.1.isEmpty }.map { "\($0.0): \($0.1)\n" }.joined()
        for (title, key) in [("Labels", "labels"), ("Annotations", "annotations")] {
            guard item[key].object != nil else { continue }
            text += title + ":\n"
            for (name, value) in item[key].stringMap.sorted(by: { $0.key < $1.key }) {
                text += "\t\(name) -> \(value)\n"
            }
        }
        Terminal.write(text + "\n", to: STDOUT_FILENO)
    }

    private static func state(_ text: String, _ names: [String], _ error: String) throws -> JSON {
        guard let number = names.firstIndex(of: text.lowercased()) else { throw UsageError(error) }
        return ["state": .int(Int64(number))]
    }

    // MARK: - Containers

    /// In the order of their age, youngest first.
    static func containers(_ session: CrictlSession) throws -> [JSON] {
        let values = session.values
        var filter: JSON = ["label_selector": try CrictlText.labels(values.list("label"))]
        if let id = values.string("id") { filter["id"] = .string(id) }
        if let pod = values.string("pod") { filter["pod_sandbox_id"] = .string(pod) }
        let last = try session.number("last") ?? 0
        let anyState = values.bool("all") || values.bool("latest") || last > 0
        if let text = values.string("state") {
            filter["state"] = try state(
                text, ["created", "running", "exited", "unknown"],
                "--state should be one of created, running, exited or unknown")
        } else if !anyState {
            filter["state"] = ["state": 1]
        }
        let answer = try session.call("ListContainers", ["filter": filter], "listing containers")
        let name = try CrictlPattern(values.string("name"))
        let namespace = try CrictlPattern(values.string("namespace"))
        var wanted: String?
        if let image = values.string("image") { wanted = try imageID(session, image) ?? "none" }
        let list = try answer["containers"].elements.filter { container in
            if let wanted, try imageID(session, container["image"]["image"].string ?? "") != wanted { return false }
            return name?.matches(container["metadata"]["name"].string ?? "") != false
                && namespace?.matches(label(container, "namespace")) != false
        }
        return try session.newest(list.sorted { ($0["created_at"].int ?? 0) > ($1["created_at"].int ?? 0) })
    }

    private static func imageID(_ session: CrictlSession, _ image: String) throws -> String? {
        try session.call("ImageStatus", ["image": ["image": .string(image)]], "check image match")["image"]["id"].string
    }

    private static func label(_ container: JSON, _ name: String) -> String {
        container["labels"].stringMap["io.kubernetes.pod." + name] ?? "unknown"
    }

    private static func showContainers(_ session: CrictlSession) throws -> Int32 {
        guard session.arguments.isEmpty else { throw CrictlVerb.ShowHelp() }
        let list = try containers(session)
        if let text = try session.text("ListContainersResponse", ["containers": .array(list)]) {
            print(text)
            return 0
        }
        if session.values.bool("quiet") {
            for container in list { print(container["id"].string ?? "") }
            return 0
        }
        let states = ["Created", "Running", "Exited", "Unknown"]
        let whole = session.values.bool("no-trunc")
        var rows = [["CONTAINER", "IMAGE", "CREATED", "STATE", "NAME", "ATTEMPT", "POD ID", "POD", "NAMESPACE"]]
        for container in list {
            let number = Int(clamping: container["state"].int ?? 0)
            let state = states.indices.contains(number) ? states[number] : "Unknown"
            let (id, pod) = (container["id"].string ?? "", container["pod_sandbox_id"].string ?? "")
            let name = container["metadata"]["name"].string ?? ""
            let attempt = "\(container["metadata"]["attempt"].int ?? 0)"
            let created = CrictlText.age(container["created_at"].int ?? 0)
            var image = container["image"]["image"].string ?? ""
            if session.values.bool("verbose") {
                verbose(
                    [
                        ("ID", id), ("PodID", pod), ("Namespace", label(container, "namespace")), ("Name", name),
                        ("Attempt", attempt), ("State", state), ("Image", image), ("Created", created),
                    ], container)
                continue
            }
            if session.values.bool("resolve-image-path") {
                let status = try session.call("ImageStatus", ["image": ["image": .string(image)]], "fetch repo image")
                image = status["image"]["repo_tags"][0].string ?? image
            } else if !whole, image.hasPrefix("sha256:") {
                image = CrictlText.short(image)
            }
            rows.append([
                whole ? id : CrictlText.short(id), image, created, state, name, attempt,
                whole ? pod : CrictlText.short(pod), label(container, "name"), label(container, "namespace"),
            ])
        }
        if !session.values.bool("verbose") { table(rows) }
        return 0
    }

    // MARK: - Pods

    static func pods(_ session: CrictlSession) throws -> [JSON] {
        let values = session.values
        var filter: JSON = ["label_selector": try CrictlText.labels(values.list("label"))]
        if let id = values.string("id") { filter["id"] = .string(id) }
        if let text = values.string("state") {
            filter["state"] = try state(text, ["ready", "notready"], "--state should be ready or notready")
        }
        let answer = try session.call("ListPodSandbox", ["filter": filter], "listing pod sandboxes")
        let name = try CrictlPattern(values.string("name"))
        let namespace = try CrictlPattern(values.string("namespace"))
        let list = answer["items"].elements.filter { pod in
            name?.matches(pod["metadata"]["name"].string ?? "") != false
                && namespace?.matches(pod["metadata"]["namespace"].string ?? "") != false
        }
        return try session.newest(list.sorted { ($0["created_at"].int ?? 0) > ($1["created_at"].int ?? 0) })
    }

    private static func showPods(_ session: CrictlSession) throws -> Int32 {
        guard session.arguments.isEmpty else { throw CrictlVerb.ShowHelp() }
        let list = try pods(session)
        if let text = try session.text("ListPodSandboxResponse", ["items": .array(list)]) {
            print(text)
            return 0
        }
        if session.values.bool("quiet") {
            for pod in list { print(pod["id"].string ?? "") }
            return 0
        }
        var rows = [["POD ID", "CREATED", "STATE", "NAME", "NAMESPACE", "ATTEMPT", "RUNTIME"]]
        for pod in list {
            let (id, metadata) = (pod["id"].string ?? "", pod["metadata"])
            let (name, namespace) = (metadata["name"].string ?? "", metadata["namespace"].string ?? "")
            let state = (pod["state"].int ?? 0) == 0 ? "Ready" : "NotReady"
            let created = CrictlText.age(pod["created_at"].int ?? 0)
            let attempt = "\(metadata["attempt"].int ?? 0)"
            let handler = pod["runtime_handler"].string ?? ""
            let runtime = handler.isEmpty ? "(default)" : handler
            if session.values.bool("verbose") {
                verbose(
                    [
                        ("ID", id), ("Name", name), ("UID", metadata["uid"].string ?? ""), ("Namespace", namespace),
                        ("Attempt", attempt), ("Status", state), ("Created", created), ("Runtime", runtime),
                    ], pod)
            } else {
                let shown = session.values.bool("no-trunc") ? id : CrictlText.short(id)
                rows.append([shown, created, state, name, namespace, attempt, runtime])
            }
        }
        if !session.values.bool("verbose") { table(rows) }
        return 0
    }

    // MARK: - Images

    private static func strings(_ value: JSON) -> [String] { value.elements.compactMap(\.string) }

    /// By the first tag, else the first digest, else the id.
    static func isBefore(_ a: JSON, _ b: JSON) -> Bool {
        for key in ["repo_tags", "repo_digests"] {
            if let first = a[key][0].string, let second = b[key][0].string { return first < second }
        }
        return (a["id"].string ?? "") < (b["id"].string ?? "")
    }

    private static func images(_ session: CrictlSession) throws -> [JSON] {
        var filter: JSON = [:]
        if let name = session.arguments.first { filter["image"] = ["image": .string(name)] }
        var list = try session.call("ListImages", ["filter": filter], "listing images")["images"].elements
        list.sort(by: isBefore)
        for condition in session.values.list("filter") {
            let parts = condition.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2 else { throw UsageError("filter: \"\(condition)\": expected name=value") }
            switch parts[0] {
            case "dangling":
                list = list.filter { ($0["repo_tags"].elements.isEmpty) == (parts[1] == "true") }
            case "reference":
                let pattern = try CrictlPattern(parts[1])
                list = list.filter { strings($0["repo_tags"]).contains { pattern?.matches($0) != false } }
            default: throw UsageError("filter: \"\(parts[0])\": expected dangling or reference")
            }
        }
        return list
    }

    private static func showImages(_ session: CrictlSession) throws -> Int32 {
        guard session.arguments.count < 2 else { throw CrictlVerb.ShowHelp() }
        let list = try images(session)
        if let text = try session.text("ListImagesResponse", ["images": .array(list)]) {
            print(text)
            return 0
        }
        let values = session.values
        let (digests, pinned, whole) = (values.bool("digests"), values.bool("pinned"), values.bool("no-trunc"))
        var rows = [
            ["IMAGE", "TAG"] + (digests ? ["DIGEST"] : []) + ["IMAGE ID", "SIZE"] + (pinned ? ["PINNED"] : [])
        ]
        for image in list {
            let id = image["id"].string ?? ""
            if values.bool("quiet") {
                print(id)
                continue
            }
            let size = image["size"].int ?? 0
            let (tags, references) = (strings(image["repo_tags"]), strings(image["repo_digests"]))
            if values.bool("verbose") {
                verbose(
                    [("ID", id)] + tags.map { ("RepoTags", $0) } + references.map { ("RepoDigests", $0) } + [
                        ("Size", size == 0 ? "" : "\(size)"), ("Username", image["username"].string ?? ""),
                        ("Pinned", image["pinned"].bool == true ? "true" : ""),
                    ], [:])
                continue
            }
            let (repository, digest) = CrictlText.repository(digests: references)
            for (name, tag) in CrictlText.tags(tags, repository: repository) {
                rows.append(
                    [name, tag] + (digests ? [whole ? digest : CrictlText.short(digest)] : [])
                        + [whole ? id : CrictlText.short(id), CrictlText.size(size, digits: 3)]
                        + (pinned ? [image["pinned"].bool == true ? "true" : "false"] : []))
            }
        }
        if !values.bool("quiet"), !values.bool("verbose") { table(rows) }
        return 0
    }
}
