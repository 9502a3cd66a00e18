import Codecs
import KubeAPI
import Linux

/// `apply`, and looking at what was applied last.
enum ApplyCommands {
    static let annotation = "kubectl.kubernetes.io/last-applied-configuration"

    static let all: [Command] = [
        Command(
            "apply", "(-f FILENAME | -k DIRECTORY) [options]",
            "Apply a configuration to a resource by file name or stdin",
            Flags.output + Flags.files + Flags.selector + Flags.all + Flags.dryRun
                + Flags.manager("kubectl-client-side-apply") + Flags.validate + """
                    |server-side|b||If true, apply runs in the server instead of the client.
                    |force-conflicts|b||If true, server-side apply will force the changes against conflicts.
                    |force|b||If true, immediately remove resources from API and bypass graceful deletion.
                    |overwrite|b|true|Accepted
                    |openapi-patch|b|true|Accepted
                    |prune|b||Automatically delete resource objects that do not appear in the configs.
                    |prune-allowlist|a||Overwrite the default allowlist with <group/version/kind> for --prune
                    |cascade|o|background|Deletion cascading strategy of --prune and --force.
                    |grace-period|s|-1|Period of time in seconds given to the resource to terminate gracefully.
                    |timeout|s|0s|The length of time to wait before giving up on a delete
                    |wait|b||If true, wait for resources to be gone before returning.

                    """
        ) { try ApplyCommand($0).run() },
        Command(
            "apply view-last-applied", "(TYPE [NAME | -l label] | TYPE/NAME | -f FILENAME) [flags]",
            "View the latest last-applied-configuration annotations of a resource/object",
            "o|output|s|yaml|Output format. Must be one of (yaml, json)\n" + Flags.files + Flags.selector + Flags.all
        ) { session in
            for found in try session.findAll(session.arguments) {
                guard let text = found.object["metadata"]["annotations"][annotation].string else {
                    throw CommandError("no last-applied-configuration annotation found on resource: \(found.name)")
                }
                let json = try JSON.parse(text)
                if session.options.string("output") == "json" {
                    Terminal.line(json.sorted.encodePretty())
                } else {
                    Terminal.write(YAML.encode(json), to: STDOUT_FILENO)
                }
            }
        },
    ]

    /// The object with what it was applied from.
    static func annotated(_ object: JSON) -> JSON {
        var plain = object
        if !plain["metadata"]["annotations"][annotation].isNull { plain["metadata"]["annotations"][annotation] = .null }
        if plain["metadata"]["annotations"].object == nil { plain["metadata"]["annotations"] = [:] }
        var result = plain
        result["metadata"]["annotations"][annotation] = .string(plain.sorted.text + "\n")
        return result
    }
}

struct ApplyCommand {
    let session: Session
    private var options: Options { session.options }

    init(_ session: Session) { self.session = session }

    func run() throws {
        guard session.arguments.isEmpty else {
            throw CommandError.usage("Unexpected args: [\(session.arguments.joined(separator: " "))]", "apply")
        }
        try session.requireFiles()
        let isServerSide = options.bool("server-side")
        if options.bool("force-conflicts"), !isServerSide {
            throw CommandError("--force-conflicts only works with --server-side")
        }
        if isServerSide, try session.dryRun() == .client {
            throw CommandError(
                "--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)")
        }
        if options.bool("force"), try session.dryRun() == .server {
            throw CommandError("--dry-run=server cannot be used with --force")
        }
        if options.bool("prune"), !options.bool("all"), options.string("selector").isEmpty {
            throw CommandError(
                "all resources selected for prune without explicitly passing --all. To prune all resources, pass the --all flag. If you did not mean to prune all resources, specify a label selector"
            )
        }
        var documents = try session.manifests()
        if let selector = options.given("selector"), !selector.isEmpty {
            let labels = try LabelSelector(parsing: selector)
            documents = documents.filter { labels.matches(labels: $0.object["metadata"]["labels"]) }
        }
        var errors = ErrorList()
        var visited: [JSON] = []
        for document in documents {
            errors.collect {
                guard !document.name.isEmpty else {
                    throw CommandError(
                        document.object["metadata"]["generateName"].isNull
                            ? "error when creating \(GoText.quoted(document.source)): resource name may not be empty"
                            : "from \(document.object["metadata"]["generateName"].string ?? ""): cannot use generate name with apply"
                    )
                }
                visited.append(try isServerSide ? serverSide(document) : clientSide(document))
            }
        }
        if documents.isEmpty { throw CommandError("no objects passed to apply") }
        if (try? session.printer) != nil, options.isSet("output") { try session.printer.finish() }
        try errors.throwIfAny()
        if options.bool("prune") { try prune(visited) }
    }

    private func serverSide(_ document: Session.Found) throws -> JSON {
        var query = try session.writeQuery(manager: "kubectl", validate: true)
        query.append(("force", options.bool("force-conflicts") ? "true" : "false"))
        do {
            let object = try session.api.call(
                "PATCH", document.path, query: query, body: document.object, type: PatchType.apply.rawValue)
            try session.report(object, document.resource, "serverside-applied")
            return object
        } catch let error as APIError where error.isConflict && !error.causes.isEmpty {
            throw CommandError(
                """
                \(error.message)
                Please review the fields above--they currently have other managers. Here
                are the ways you can resolve this warning:
                * If you intend to manage all of these fields, please re-run the apply
                  command with the `--force-conflicts` flag.
                * If you do not intend to manage all of the fields, please edit your
                  manifest to remove references to the fields that should keep their
                  current managers.
                * You may co-own fields by updating your manifest to match the existing
                  value; in this case, you'll become the manager if the other manager(s)
                  stop managing the field (remove it from their configuration).
                See https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts
                """)
        } catch {
            throw error
        }
    }

    private func clientSide(_ document: Session.Found) throws -> JSON {
        let resource = document.resource
        let modified = ApplyCommands.annotated(document.object)
        let dryRun = try session.dryRun()
        let query = try session.writeQuery(manager: "kubectl-client-side-apply", validate: true)
        var attempts = 0
        while true {
            let current: JSON
            do {
                current = try session.api.get(document.path)
            } catch let error as APIError where error.isNotFound {
                var object = modified
                if dryRun != .client {
                    do {
                        object = try session.api.call(
                            "POST", resource.path(document.namespace), query: query, body: modified)
                    } catch { throw ErrorText.when("creating", document.source, error) }
                }
                try session.report(object, resource, "created")
                return object
            }
            let last = current["metadata"]["annotations"][ApplyCommands.annotation].string
            if last == nil {
                Terminal.error(
                    "Warning: resource \(resource.plural)/\(document.name) is missing the \(ApplyCommands.annotation) annotation which is required by kubectl apply. kubectl apply should only be used on resources created declaratively by either kubectl create --save-config or kubectl apply. The missing annotation will be patched automatically."
                )
            }
            let original = last.flatMap { try? JSON.parse($0) } ?? .null
            let result = ThreeWay(apiVersion: resource.apiVersion, kind: resource.kind)
                .result(original: original, modified: modified, current: current)
            guard var patch = ThreeWay.difference(current, result) else {
                try session.report(current, resource, "unchanged")
                return current
            }
            if dryRun == .client {
                try session.report(result, resource, "configured")
                return result
            }
            // Conditions that nobody else may have changed meanwhile.
            if patch["metadata"]["resourceVersion"].isNull {
                patch["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"]
            }
            do {
                let object = try session.api.call(
                    "PATCH", document.path, query: query, body: patch, type: PatchType.merge.rawValue)
                try session.report(object, resource, "configured")
                return object
            } catch let error as APIError {
                attempts += 1
                if error.isConflict, attempts < 5, document.object["metadata"]["resourceVersion"].isNull { continue }
                if options.bool("force"), error.isConflict || error.isInvalid {
                    _ = try session.api.call(
                        "DELETE", document.path,
                        body: DeleteCommand.deleteOptions(propagation: "Background", grace: 0))
                    try DeleteCommand.waitUntilGone(
                        session, document, uid: current["metadata"]["uid"].string ?? "", until: nil)
                    let object = try session.api.call(
                        "POST", resource.path(document.namespace), query: query, body: modified)
                    try session.report(object, resource, "configured")
                    return object
                }
                guard !error.isInvalid else { throw error }
                var told = error
                told.message =
                    "error when applying patch:\n\(patch.text)\nto:\nResource: \"\(resource.group.isEmpty ? "" : resource.group + "/")\(resource.version), Resource=\(resource.plural)\", GroupVersionKind: \"\(resource.group.isEmpty ? "/" : resource.group + "/")\(resource.version), Kind=\(resource.kind)\"\nName: \(GoText.quoted(document.name)), Namespace: \(GoText.quoted(document.namespace))\nfor: \(GoText.quoted(document.source)): error when patching \(GoText.quoted(document.source)): \(error.message)"
                throw told
            }
        }
    }

    // MARK: - Pruning

    private static let pruned = [
        "core/v1/ConfigMap", "core/v1/Endpoints", "core/v1/Namespace", "core/v1/PersistentVolumeClaim",
        "core/v1/PersistentVolume", "core/v1/Pod", "core/v1/ReplicationController", "core/v1/Secret", "core/v1/Service",
        "batch/v1/Job", "batch/v1/CronJob", "networking.k8s.io/v1/Ingress", "apps/v1/DaemonSet", "apps/v1/Deployment",
        "apps/v1/ReplicaSet", "apps/v1/StatefulSet",
    ]

    private func prune(_ visited: [JSON]) throws {
        let uids = Set(visited.compactMap { $0["metadata"]["uid"].string })
        let namespaces = Set(visited.compactMap { $0["metadata"]["namespace"].string })
        let allowed = options.isSet("prune-allowlist") ? options.list("prune-allowlist") : Self.pruned
        for entry in allowed {
            let parts = entry.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 3 else {
                throw CommandError("invalid GroupVersionKind format: \(entry), please follow <group/version/kind>")
            }
            let api = parts[0] == "core" || parts[0].isEmpty ? parts[1] : "\(parts[0])/\(parts[1])"
            guard let resource = try session.catalog.resource(apiVersion: api, kind: parts[2]) else {
                throw CommandError("no matches for kind \(GoText.quoted(parts[2])) in version \(GoText.quoted(api))")
            }
            if !resource.namespaced, try session.settings.namespaceIsGiven { continue }
            let places: [String?] = resource.namespaced ? namespaces.sorted().map { $0 } : [nil]
            for place in places {
                let list = try session.api.get(resource.path(place), query: session.listQuery())
                for item in list["items"].elements {
                    guard !item["metadata"]["annotations"][ApplyCommands.annotation].isNull,
                        let uid = item["metadata"]["uid"].string, !uids.contains(uid),
                        item["metadata"]["deletionTimestamp"].isNull
                    else { continue }
                    let name = item["metadata"]["name"].string ?? ""
                    if try session.dryRun() != .client {
                        let query = try session.dryRun() == .server ? [("dryRun", "All")] : []
                        _ = try session.api.call(
                            "DELETE", resource.path(place, name), query: query,
                            body: DeleteCommand.deleteOptions(propagation: "Background"))
                    }
                    try session.report(item, resource, "pruned")
                }
            }
        }
    }
}
