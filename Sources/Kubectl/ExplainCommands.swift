import Codecs
import KubeAPI
import Linux

/// `explain` from the server's OpenAPI, and `diff`.
enum ExplainCommands {
    static let all: [Command] = [
        Command(
            "explain", "TYPE [--recursive=FALSE|TRUE] [--api-version=api-version-group] [-o|--output=plaintext]",
            "Get documentation for a resource",
            "|api-version|s||Use given api-version (group/version) of the resource.\n|recursive|b||Print the name of all the fields recursively.\no|output|s|plaintext|Format in which to render the schema.\n",
            explain),
        Command(
            "diff", "-f FILENAME", "Diff the live version against a would-be applied version",
            Flags.files + Flags.selector + Flags.manager("kubectl-client-side-apply") + """
                |server-side|b||If true, apply runs in the server instead of the client.
                |force-conflicts|b||If true, server-side apply will force the changes against conflicts.
                |show-managed-fields|b||If true, include managed fields in the diff.
                |prune|b||Not supported
                |concurrency|s|1|Accepted

                """, diff),
    ]

    // MARK: - explain

    private static func explain(_ session: Session) throws {
        guard let word = session.arguments.first else {
            throw CommandError(
                "You must specify the type of resource to explain. Use \"kubectl api-resources\" for a complete list of supported resources."
            )
        }
        guard session.arguments.count == 1 else { throw CommandError("We accept only this format: explain RESOURCE") }
        var path = word.split(separator: ".").map(String.init)
        // The longest beginning that is a resource: `deployments.apps.spec` as well as `deploy.spec`.
        var resource: Catalog.Resource?
        let catalog = try session.catalog
        for count in (1...max(1, path.count)).reversed() where resource == nil {
            let name = path.prefix(count).joined(separator: ".")
            guard let found = catalog.find(name),
                count == 1 || found.qualified == name || name.hasSuffix(".\(found.group)")
            else { continue }
            resource = found
            path.removeFirst(count)
        }
        guard var resource else {
            throw CommandError(
                "the server doesn't have a resource type \(GoText.quoted(path.first ?? word))", plain: true)
        }
        if let version = session.options.given("api-version") {
            guard
                let other = catalog.resources.first(where: { $0.apiVersion == version && $0.plural == resource.plural })
            else {
                throw CommandError(
                    "couldn't find resource for \(GoText.quoted("\(version), Resource=\(resource.plural)"))")
            }
            resource = other
        }
        let document = try session.api.get(
            "/openapi/v3/"
                + (resource.group.isEmpty ? "api/\(resource.version)" : "apis/\(resource.group)/\(resource.version)"))
        let schemas = document["components"]["schemas"]
        let root = (schemas.object?.members ?? []).first { _, schema in
            schema["x-kubernetes-group-version-kind"].elements.contains {
                $0["group"].shown == resource.group && $0["version"].string == resource.version
                    && $0["kind"].string == resource.kind
            }
        }
        guard let root else {
            throw CommandError(
                "couldn't find resource for \(GoText.quoted("\(resource.apiVersion), Kind=\(resource.kind)"))")
        }
        var schema = root.value
        var field: (name: String, schema: JSON, isRequired: Bool)?
        var text = resource.group.isEmpty ? "" : "GROUP:      \(resource.group)\n"
        text += "KIND:       \(resource.kind)\nVERSION:    \(resource.version)\n\n"
        for name in path {
            let owner = resolve(schema, schemas)
            guard let next = owner["properties"].object?[name] else {
                Terminal.out(text)
                throw CommandError("field \(GoText.quoted(name)) does not exist")
            }
            field = (name, next, owner["required"].texts.contains(name))
            schema = next
        }
        if let field {
            text += "FIELD: \(field.name) <\(type(field.schema))>\(field.isRequired ? " -required-" : "")\n"
            text += values(field.schema) + "\n"
        }
        var words = [schema["description"].shown]
        let target = resolve(schema, schemas)
        if let more = target["description"].string, more != words[0] { words.append(more) }
        words = words.filter { !$0.isEmpty }
        if words.isEmpty { words = ["<empty>"] }
        text += (field == nil ? "" : "\n") + "DESCRIPTION:\n" + words.map { wrapped($0, 4) }.joined() + "    \n"
        if let properties = target.object?["properties"], properties.object?.isEmpty == .some(false) {
            text += "FIELDS:\n" + fields(target, schemas, 1, recursive: session.options.bool("recursive"), seen: [])
        }
        Terminal.out(text + "\n")
    }

    private static func reference(_ schema: JSON) -> String? {
        let found = schema["$ref"].string ?? schema["allOf"].elements.first?["$ref"].string
        return found.map { String($0.dropFirst("#/components/schemas/".count)) }
    }

    /// Through references, lists and maps to what has fields.
    private static func resolve(_ schema: JSON, _ schemas: JSON) -> JSON {
        var schema = schema
        for _ in 0..<8 {
            if let name = reference(schema) {
                schema = schemas[name]
            } else if schema["type"].string == "array" {
                schema = schema["items"]
            } else if schema["additionalProperties"].object != nil {
                schema = schema["additionalProperties"]
            } else {
                break
            }
        }
        return schema
    }

    private static func type(_ schema: JSON) -> String {
        if let name = reference(schema) {
            let short = name.split(separator: ".").last.map(String.init) ?? name
            return ["Quantity": "Quantity", "IntOrString": "IntOrString", "Time": "Time"][short] ?? short
        }
        if schema["type"].string == "array" { return "[]" + type(schema["items"]) }
        if schema["additionalProperties"].object != nil { return "map[string]" + type(schema["additionalProperties"]) }
        if schema["format"].string == "int-or-string" || schema["x-kubernetes-int-or-string"].bool == true {
            return "IntOrString"
        }
        return schema["type"].string == "object" ? "Object" : schema["type"].string ?? "Object"
    }

    private static func values(_ schema: JSON) -> String {
        let values = schema["enum"].texts
        return values.isEmpty ? "" : "ENUM:\n" + values.map { "    \($0)\n" }.joined()
    }

    private static func fields(_ schema: JSON, _ schemas: JSON, _ level: Int, recursive: Bool, seen: Set<String>)
        -> String
    {
        let required = schema["required"].texts
        let pad = String(repeating: "  ", count: level)
        var text = ""
        for (name, member) in (schema["properties"].object?.members ?? []).sorted(by: { $0.key < $1.key }) {
            text += "\(pad)\(name)\t<\(type(member))>\(required.contains(name) ? " -required-" : "")\n"
            let enumeration = member["enum"].texts
            if !enumeration.isEmpty {
                text +=
                    "\(pad)enum: \(enumeration.prefix(4).joined(separator: ", "))\(enumeration.count > 4 ? ", ...." : "")\n"
            }
            if recursive {
                let inner = resolve(member, schemas)
                let key = reference(member) ?? reference(member["items"]) ?? name
                if !inner["properties"].isNull, !seen.contains(key) {
                    text += fields(inner, schemas, level + 1, recursive: true, seen: seen.union([key]))
                }
            } else {
                let words = member["description"].string ?? ""
                text += wrapped(words.isEmpty ? "<no description>" : words, 4) + "\n"
            }
        }
        return text
    }

    /// Lines of at most 80 columns.
    static func wrapped(_ text: String, _ indent: Int) -> String {
        let pad = String(repeating: " ", count: indent)
        var out = ""
        for paragraph in text.split(separator: "\n", omittingEmptySubsequences: false) {
            var line = ""
            for word in paragraph.split(separator: " ") {
                if !line.isEmpty, line.count + 1 + word.count > 80 - indent {
                    out += pad + line + "\n"
                    line = ""
                }
                line += (line.isEmpty ? "" : " ") + word
            }
            out += pad + line + "\n"
        }
        return out
    }

    // MARK: - diff

    private static func diff(_ session: Session) throws {
        try session.requireFiles()
        if session.options.bool("prune") { throw CommandError("--prune of diff is not supported by this kubectl") }
        let root = "\(Terminal.environment("TMPDIR") ?? "/tmp")/kubectl-diff-\(getpid())"
        let (live, merged) = (root + "/LIVE", root + "/MERGED")
        for folder in [root, live, merged] { mkdir(folder, 0o700) }
        defer {
            _ = try? Terminal.wait {
                var child = try Spawned.start(["/bin/rm", "-rf", root]); return try await child.wait().code
            }
        }
        let isServerSide = session.options.bool("server-side")
        for document in try session.manifests() {
            let current = try? session.api.get(document.path)
            var query = [
                ("dryRun", "All"),
                ("fieldManager", session.options.given("field-manager") ?? "kubectl-client-side-apply"),
            ]
            var after: JSON
            if isServerSide {
                query.append(("force", session.options.bool("force-conflicts") ? "true" : "false"))
                after = try session.api.call(
                    "PATCH", document.path, query: query, body: document.object, type: PatchType.apply.rawValue)
            } else if let current {
                let modified = ApplyCommands.annotated(document.object)
                let original =
                    current["metadata"]["annotations"][ApplyCommands.annotation].string.flatMap { try? JSON.parse($0) }
                    ?? .null
                let result = ThreeWay(apiVersion: document.resource.apiVersion, kind: document.resource.kind)
                    .result(original: original, modified: modified, current: current)
                after = current
                if let patch = ThreeWay.difference(current, result) {
                    after = try session.api.call(
                        "PATCH", document.path, query: query, body: patch, type: PatchType.merge.rawValue)
                }
            } else {
                after = try session.api.call(
                    "POST", document.resource.path(document.namespace), query: query,
                    body: ApplyCommands.annotated(document.object))
            }
            func write(_ object: JSON?, _ folder: String) throws {
                let name = [
                    document.resource.group, document.resource.version, document.resource.kind, document.namespace,
                    document.name,
                ]
                .filter { !$0.isEmpty }.joined(separator: ".")
                guard var object else { return try Files.write(folder + "/" + name, [], mode: 0o600) }
                if !session.options.bool("show-managed-fields") { object["metadata"]["managedFields"] = .null }
                if !object["metadata"]["annotations"][ApplyCommands.annotation].isNull {
                    object["metadata"]["annotations"][ApplyCommands.annotation] = .null
                    if object["metadata"]["annotations"].object?.isEmpty == .some(true) {
                        object["metadata"]["annotations"] = .null
                    }
                }
                if document.resource.kind == "Secret" {
                    object["data"] = .object(
                        JSONObject(
                            members: (object["data"].object?.members ?? []).map {
                                (
                                    $0.key,
                                    folder == live
                                        ? "***" : ($0.value == current?["data"][$0.key] ? "***" : "*** (changed)")
                                )
                            }))
                }
                try Files.write(folder + "/" + name, YAML.encode(object), mode: 0o600)
            }
            try write(current.map { JSON?.some($0) } ?? JSON?.none, live)
            try write(JSON?.some(after), merged)
        }
        let program = Terminal.environment("KUBECTL_EXTERNAL_DIFF") ?? "diff -u -N"
        let code = try Terminal.wait {
            var child = try Spawned.start(
                ["/bin/sh", "-c", "\(program) \"$0\" \"$1\"", live, merged],
                stdio: (input: nil, output: STDOUT_FILENO, error: STDERR_FILENO))
            return try await child.wait().code
        }
        if code != 0 { throw CommandError.silent(code) }
    }
}
