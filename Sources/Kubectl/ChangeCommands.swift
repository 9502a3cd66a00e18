import Codecs
import KubeAPI
import Linux

/// `label`, `annotate`, `patch`, `replace`, `edit`: changes of objects that are there.
enum ChangeCommands {
    private static let marks = """
        |overwrite|b||If true, allow labels or annotations to be overwritten, otherwise reject updates that overwrite existing ones.
        |list|b||If true, display the labels or annotations for a given resource.
        |resource-version|s||If non-empty, the update will only succeed if this is the current resource-version for the object.
        |local|b||Not supported

        """

    static let all: [Command] = [
        Command(
            "label", "[--overwrite] (-f FILENAME | TYPE NAME) KEY_1=VAL_1 ... KEY_N=VAL_N [options]",
            "Update the labels on a resource",
            Flags.change("kubectl-label") + Flags.fields + Flags.allNamespaces + marks
        ) { try mark($0, "labels", "label") },
        Command(
            "annotate", "[--overwrite] (-f FILENAME | TYPE NAME) KEY_1=VAL_1 ... KEY_N=VAL_N [options]",
            "Update the annotations on a resource",
            Flags.change("kubectl-annotate") + Flags.fields + Flags.allNamespaces + marks
        ) { try mark($0, "annotations", "annotation") },
        Command(
            "patch", "(-f FILENAME | TYPE NAME) [-p PATCH|--patch-file FILE] [options]", "Update fields of a resource",
            Flags.output + Flags.files + Flags.dryRun + Flags.manager("kubectl-patch") + """
                p|patch|s||The patch to be applied to the resource JSON file.
                |patch-file|s||A file containing a patch to be applied to the resource.
                |type|s|strategic|The type of patch being provided; one of [json merge strategic]
                |subresource|s||If specified, patch will operate on the subresource of the requested object.
                |local|b||Not supported

                """, patch),
        Command(
            "replace", "-f FILENAME [options]", "Replace a resource by file name or stdin",
            Flags.output + Flags.files + Flags.dryRun + Flags.validate + Flags.manager("kubectl-replace") + """
                |force|b||If true, immediately remove resources from API and bypass graceful deletion.
                |cascade|o|background|Deletion cascading strategy of --force.
                |grace-period|s|-1|Period of time in seconds given to the resource to terminate gracefully.
                |timeout|s|0s|The length of time to wait before giving up on a delete
                |wait|b||Accepted
                |save-config|b||If true, the configuration of current object will be saved in its annotation.
                |subresource|s||If specified, replace will operate on the subresource of the requested object.
                |raw|s||Raw URI to PUT to the server.

                """, replace),
        Command(
            "edit", "(RESOURCE/NAME | -f FILENAME) [options]", "Edit a resource on the server",
            Flags.output + Flags.files + Flags.selector + Flags.validate + Flags.manager("kubectl-edit") + """
                |output-patch|b||Not supported
                |save-config|b||Accepted
                |subresource|s||If specified, edit will operate on the subresource of the requested object.
                |windows-line-endings|b||Accepted

                """, edit),
    ]

    // MARK: - label, annotate

    private static func mark(_ session: Session, _ field: String, _ noun: String) throws {
        let options = session.options
        let isLabel = noun == "label"
        if options.bool("local") { throw CommandError("--local is not supported by this kubectl") }
        func isChange(_ word: String) -> Bool {
            word.utf8.contains(UInt8(ascii: "=")) || (word.hasSuffix("-") && word.utf8.count > 1)
        }
        let words = Array(session.arguments.prefix { !isChange($0) })
        var set: [(key: String, value: String)] = []
        var removed: [String] = []
        for word in session.arguments.dropFirst(words.count) {
            if let equals = word.firstIndex(of: "=") {
                set.append((String(word[..<equals]), String(word[word.index(after: equals)...])))
            } else if word.hasSuffix("-") {
                removed.append(String(word.dropLast()))
            } else {
                throw CommandError(
                    "unexpected arguments: all resources must be specified before \(noun) changes: \(word)")
            }
        }
        if words.isEmpty, !options.isSet("filename") {
            throw CommandError("one or more resources must be specified as <resource> <name> or <resource>/<name>")
        }
        if set.isEmpty, removed.isEmpty, !options.bool("list") {
            throw CommandError("at least one \(noun) update is required")
        }
        for (key, _) in set where removed.contains(key) {
            throw CommandError(
                "can not both modify and remove \(isLabel ? "a label" : "an annotation") in the same command")
        }
        var errors = ErrorList()
        let found = try session.find(words, errors: &errors)
        for item in found {
            errors.collect {
                let have = item.object["metadata"][field].stringMap
                if options.bool("list"), set.isEmpty, removed.isEmpty {
                    if found.count > 1 { Terminal.line("Listing \(field) for \(item.resource.kind)./\(item.name):") }
                    for (key, value) in have.sorted(by: { $0.key < $1.key }) { Terminal.line("\(key)=\(value)") }
                    return
                }
                if !options.bool("overwrite") {
                    let clashes = set.filter { have[$0.key] != nil && have[$0.key] != $0.value }.map {
                        "'\($0.key)' already has a value (\(have[$0.key] ?? "")), and --overwrite is false"
                    }
                    if isLabel, let first = clashes.first { throw CommandError(first) }
                    let told = set.filter { have[$0.key] != nil && have[$0.key] != $0.value }.map {
                        "'\($0.key)' already has a value (\(have[$0.key] ?? ""))"
                    }
                    if !isLabel, !told.isEmpty {
                        throw CommandError(
                            "--overwrite is false but found the following declared annotation(s): \(told.joined(separator: "; "))"
                        )
                    }
                }
                var changes = JSONObject()
                for (key, value) in set { changes.append(key, .string(value)) }
                for key in removed {
                    if isLabel, have[key] == nil { Terminal.line("label \(GoText.quoted(key)) not found.") }
                    changes.append(key, .null)
                }
                var patch: JSON = ["metadata": .object(JSONObject(members: [(field, .object(changes))]))]
                if let revision = options.given("resource-version") {
                    patch["metadata"]["resourceVersion"] = .string(revision)
                }
                var after = Patch.merge(patch, into: item.object)
                let isSame = after["metadata"][field].stringMap == have
                if try session.dryRun() != .client {
                    after = try session.api.call(
                        "PATCH", item.path, query: try session.writeQuery(manager: "kubectl-\(session.command)"),
                        body: patch,
                        type: PatchType.merge.rawValue)
                }
                var verb = "annotated"
                if isLabel {
                    let shrinks = set.isEmpty && after["metadata"][field].stringMap.count < have.count
                    verb = isSame ? "not labeled" : shrinks && !options.bool("overwrite") ? "unlabeled" : "labeled"
                }
                try session.report(after, item.resource, verb)
            }
        }
        if options.isSet("output") { try session.printer.finish() }
        if found.isEmpty, errors.errors.isEmpty { Terminal.error("No resources found") }
        try errors.throwIfAny()
    }

    // MARK: - patch

    private static func patch(_ session: Session) throws {
        let options = session.options
        if options.bool("local") { throw CommandError("--local is not supported by this kubectl") }
        let text: [UInt8]
        if let file = options.given("patch-file") {
            text = try LocalFiles.read(file)
        } else if let patch = options.given("patch"), !patch.isEmpty {
            text = Array(patch.utf8)
        } else {
            throw CommandError("must specify --patch or --patch-file containing the contents of the patch")
        }
        let types = ["json": PatchType.json, "merge": .merge, "strategic": .strategic]
        guard let type = types[options.string("type")] else {
            throw CommandError(
                "--type must be one of [json merge strategic], not \(GoText.quoted(options.string("type")))")
        }
        let change: JSON
        do throws(YAMLError) { change = try YAML.parse(text) } catch {
            throw CommandError("unable to parse \(GoText.quoted(String(decoding: text, as: UTF8.self))): \(error)")
        }
        if session.arguments.isEmpty, !options.isSet("filename") {
            throw CommandError(
                "You must provide one or more resources by argument or filename.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'"
            )
        }
        var errors = ErrorList()
        for item in try session.find(session.arguments, errors: &errors) {
            errors.collect {
                var after: JSON
                let subresource = options.given("subresource")
                let path = item.resource.path(item.namespace, item.name, subresource)
                let before = try subresource == nil ? item.object : session.api.get(path)
                if try session.dryRun() == .client {
                    after = try Patch.apply(
                        type, change, to: before,
                        as: GroupVersionKind(item.resource.group, item.resource.version, item.resource.kind))
                } else {
                    after = try session.api.call(
                        "PATCH", path, query: try session.writeQuery(manager: "kubectl-patch"), body: change,
                        type: type.rawValue)
                }
                var (a, b) = (before, after)
                a["metadata"]["managedFields"] = .null
                b["metadata"]["managedFields"] = .null
                var resource = item.resource
                if subresource != nil, let gv = GroupVersion(after["apiVersion"].string ?? "") {
                    (resource.group, resource.kind) = (gv.group, after["kind"].string ?? "")
                }
                try session.report(after, resource, a == b ? "patched (no change)" : "patched")
            }
        }
        if options.isSet("output") { try session.printer.finish() }
        try errors.throwIfAny()
    }

    // MARK: - replace

    private static func replace(_ session: Session) throws {
        let options = session.options
        if let raw = options.given("raw") {
            let documents = try session.documents()
            guard documents.count == 1 else { throw CommandError("--raw can only use a single local file or stdin") }
            Terminal.write(try session.api.raw("PUT", raw, body: documents[0].object.encode()), to: STDOUT_FILENO)
            return
        }
        guard options.isSet("filename") || options.isSet("kustomize") else {
            throw CommandError.usage("Must specify --filename to replace", "replace")
        }
        let query = try session.writeQuery(manager: "kubectl-replace", validate: true)
        var errors = ErrorList()
        for document in try session.manifests() {
            errors.collect {
                var object = document.object
                if options.bool("save-config")
                    || (try? session.api.get(document.path))?["metadata"]["annotations"][ApplyCommands.annotation]
                        .isNull == .some(false)
                {
                    object = ApplyCommands.annotated(object)
                }
                if try session.dryRun() == .client { return try session.report(object, document.resource, "replaced") }
                do {
                    if options.bool("force") {
                        let grace = max(0, try options.int("grace-period"))
                        let body = DeleteCommand.deleteOptions(propagation: "Background", grace: grace)
                        do {
                            let gone = try session.api.call("DELETE", document.path, body: body)
                            Terminal.line(
                                "\(document.resource.singularName) \(GoText.quoted(document.name)) deleted"
                                    + (document.resource.namespaced ? " from \(document.namespace) namespace" : ""))
                            try DeleteCommand.waitUntilGone(
                                session, document, uid: gone["metadata"]["uid"].string ?? "", until: nil)
                        } catch let error as APIError where error.isNotFound {}
                        object["metadata"]["resourceVersion"] = .null
                        object = try session.api.call(
                            "POST", document.resource.path(document.namespace), query: query, body: object)
                    } else {
                        let path = document.resource.path(
                            document.namespace, document.name, options.given("subresource"))
                        object = try session.api.call("PUT", path, query: query, body: object)
                    }
                } catch { throw ErrorText.when("replacing", document.source, error) }
                try session.report(object, document.resource, "replaced")
            }
        }
        if options.isSet("output") { try session.printer.finish() }
        try errors.throwIfAny()
    }

    // MARK: - edit

    private static func edit(_ session: Session) throws {
        let options = session.options
        var errors = ErrorList()
        let found = try session.find(session.arguments, errors: &errors)
        try errors.throwIfAny()
        guard !found.isEmpty else { throw CommandError("edit cancelled, no objects found", plain: true) }
        let isJSON = options.string("output") == "json"
        var items = found.map(\.object)
        for i in items.indices { items[i]["metadata"]["managedFields"] = .null }
        let document: JSON =
            items.count == 1 ? items[0] : ["apiVersion": "v1", "items": .array(items), "kind": "List", "metadata": [:]]
        let comment =
            "# Please edit the object below. Lines beginning with a '#' will be ignored,\n# and an empty file will abort the edit. If an error occurs while saving this file will be\n# reopened with the relevant failures.\n#\n"
        let content =
            isJSON
            ? ObjectPrinter.pretty(document.sorted, 0) + "\n" : String(decoding: YAML.encode(document), as: UTF8.self)
        let path = "\(Terminal.environment("TMPDIR") ?? "/tmp")/kubectl-edit-\(getpid()).\(isJSON ? "json" : "yaml")"
        try Files.write(path, Array((comment + content).utf8), mode: 0o600)
        try runEditor(path)
        let bytes = try Files.read(path)
        let text = String(decoding: bytes, as: UTF8.self).split(separator: "\n").filter { !$0.hasPrefix("#") }
            .joined(separator: "\n")
        guard !text.trimmed.isEmpty else {
            unlink(path)
            throw CommandError("Edit cancelled, saved file was empty.", plain: true)
        }
        let edited: JSON
        do throws(YAMLError) { edited = try YAML.parse(Array(text.utf8)) } catch {
            throw CommandError(
                "the edited file had a syntax error: \(error)\nA copy of your changes has been stored to \(GoText.quoted(path))"
            )
        }
        let after = items.count == 1 ? [edited] : edited["items"].elements
        var changed = 0
        for (item, was) in zip(found, items) {
            guard
                let now = after.first(where: {
                    $0["metadata"]["name"].string == item.name && $0["kind"].string == was["kind"].string
                })
            else {
                throw CommandError(
                    "At least one of apiVersion, kind and name was changed\nA copy of your changes has been stored to \(GoText.quoted(path))"
                )
            }
            guard let patch = ThreeWay.difference(was, now) else { continue }
            changed += 1
            do {
                let result = try session.api.call(
                    "PATCH", item.resource.path(item.namespace, item.name, options.given("subresource")),
                    query: try session.writeQuery(manager: "kubectl-edit", validate: true), body: patch,
                    type: PatchType.merge.rawValue)
                Terminal.line("\(item.resource.singularName)/\(result["metadata"]["name"].string ?? item.name) edited")
            } catch {
                Terminal.error(ErrorText.of(error))
                throw CommandError(
                    "A copy of your changes has been stored to \(GoText.quoted(path))\nerror: Edit cancelled, no valid changes were saved.",
                    plain: true)
            }
        }
        unlink(path)
        if changed == 0 { Terminal.error("Edit cancelled, no changes made.") }
    }

    /// $KUBE_EDITOR, else $EDITOR, else vi, as the shell understands it.
    private static func runEditor(_ path: String) throws {
        let editor = Terminal.environment("KUBE_EDITOR") ?? Terminal.environment("EDITOR") ?? "vi"
        let code = try Terminal.wait {
            var child = try Spawned.start(
                ["/bin/sh", "-c", "\(editor) \"$0\"", path],
                stdio: (input: STDIN_FILENO, output: STDOUT_FILENO, error: STDERR_FILENO))
            return try await child.wait().code
        }
        guard code == 0 else { throw CommandError("there was a problem with the editor \(GoText.quoted(editor))") }
    }
}
