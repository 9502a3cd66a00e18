import Codecs
import KubeAPI
import Linux

enum DeleteCommands {
    static let all: [Command] = [
        Command(
            "delete", "([-f FILENAME] | [-k DIRECTORY] | TYPE [(NAME | -l label | --all)]) [options]",
            "Delete resources by file names, stdin, resources and names, or by resources and label selector",
            Flags.files + Flags.selector + Flags.fields + Flags.all + Flags.allNamespaces + Flags.dryRun + """
                |cascade|o|background|Must be "background", "orphan", or "foreground".
                |force|b||If true, immediately remove resources from API and bypass graceful deletion.
                |grace-period|s|-1|Period of time in seconds given to the resource to terminate gracefully.
                |now|b||If true, resources are signaled for immediate shutdown (same as --grace-period=1).
                |ignore-not-found|b||Treat "resource not found" as a successful delete.
                |wait|b|true|If true, wait for resources to be gone before returning.
                |timeout|s|0s|The length of time to wait before giving up on a delete
                i|interactive|b||If true, delete resource only when user confirms.
                o|output|s||Output mode. Use "-o name" for shorter output (resource/name).
                |raw|s||Raw URI to DELETE to the server.

                """
        ) { try DeleteCommand($0).run() }
    ]
}

struct DeleteCommand {
    let session: Session
    private var options: Options { session.options }

    init(_ session: Session) { self.session = session }

    /// A negative `grace` leaves it to the server.
    static func deleteOptions(propagation: String? = nil, grace: Int64 = -1) -> JSON {
        var options: JSON = ["kind": "DeleteOptions", "apiVersion": "v1"]
        if let propagation { options["propagationPolicy"] = .string(propagation) }
        if grace >= 0 { options["gracePeriodSeconds"] = .int(grace) }
        return options
    }

    func run() throws {
        if let raw = options.given("raw") {
            Terminal.write(try session.api.raw("DELETE", raw), to: STDOUT_FILENO)
            return
        }
        let output = options.string("output")
        guard output.isEmpty || output == "name" else {
            throw CommandError("unexpected -o output mode: \(output). We only support '-o name'")
        }
        if options.bool("all"), !options.string("selector").isEmpty {
            throw CommandError("cannot set --all and --selector at the same time")
        }
        var grace = try options.int("grace-period")
        let force = options.bool("force")
        if options.bool("now") {
            guard grace == -1 else { throw CommandError("--now and --grace-period cannot be specified together") }
            grace = 1
        }
        if grace == 0, !force { grace = 1 }
        if force, grace < 0 { grace = 0 }
        if force, grace > 0 {
            throw CommandError("--force and --grace-period greater than 0 cannot be specified together")
        }
        let cascade = options.given("cascade") ?? "background"
        let propagation: String
        switch cascade {
        case "background", "true": propagation = "Background"
        case "foreground": propagation = "Foreground"
        case "orphan", "false": propagation = "Orphan"
        default:
            throw CommandError(
                "invalid cascade value (\(cascade)). Must be \"background\", \"foreground\", or \"orphan\"")
        }
        let isFromFiles = options.isSet("filename") || options.isSet("kustomize")
        if session.arguments.isEmpty, !isFromFiles {
            throw CommandError(
                "You must provide one or more resources by argument or filename.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'"
            )
        }
        var errors = ErrorList()
        var doomed: [Session.Found] = []
        if isFromFiles {
            doomed = try session.manifests()
        } else {
            for target in try session.targets(session.arguments) {
                if target.names.isEmpty {
                    guard session.isSelecting else {
                        throw CommandError("resource(s) were provided, but no name was specified")
                    }
                    errors.collect {
                        for page in try session.pages(target.resource, query: session.listQuery()) {
                            doomed += page["items"].elements.map {
                                Session.Found(resource: target.resource, object: $0)
                            }
                        }
                    }
                }
                for name in target.names {
                    var object: JSON = ["metadata": ["name": .string(name)]]
                    if target.resource.namespaced { object["metadata"]["namespace"] = .string(try session.namespace) }
                    doomed.append(Session.Found(resource: target.resource, object: object))
                }
            }
        }
        if grace == 0, force, try session.dryRun() == .none, !doomed.isEmpty {
            Terminal.error(
                "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run on the cluster indefinitely."
            )
        }
        if options.bool("interactive") { guard try confirmed(doomed) else { return } }
        let body = Self.deleteOptions(propagation: propagation, grace: grace)
        var gone: [(found: Session.Found, uid: String)] = []
        let ignores = options.bool("ignore-not-found") || (session.isSelecting && !isFromFiles)
        for found in doomed {
            do {
                if try session.dryRun() != .client {
                    let query = try session.dryRun() == .server ? [("dryRun", "All")] : []
                    let answer = try session.api.call("DELETE", found.path, query: query, body: body)
                    let uid = answer["metadata"]["uid"].string ?? answer["details"]["uid"].string ?? ""
                    gone.append((found, uid))
                } else if !session.isSelecting || isFromFiles {
                    _ = try session.api.get(found.path)
                }
                try tell(found, force: grace == 0)
            } catch let error as APIError where error.isNotFound && ignores {
                continue
            } catch {
                errors.add(ErrorText.when("deleting", found.source, error))
            }
        }
        if doomed.isEmpty, errors.errors.isEmpty { Terminal.line("No resources found") }
        if options.bool("wait"), try session.dryRun() == .none {
            let timeout = try options.seconds("timeout")
            let until = timeout > 0 ? Terminal.now + timeout : nil
            for (found, uid) in gone {
                errors.collect { try Self.waitUntilGone(session, found, uid: uid, until: until) }
            }
        }
        try errors.throwIfAny()
    }

    private func tell(_ found: Session.Found, force: Bool) throws {
        let resource = found.resource
        let kind = resource.group.isEmpty ? resource.kind.lowercased() : resource.singularName
        if options.string("output") == "name" { return Terminal.line("\(kind)/\(found.name)") }
        var line = "\(kind) \(GoText.quoted(found.name)) \(force ? "force deleted" : "deleted")"
        if resource.namespaced { line += " from \(found.namespace) namespace" }
        switch try session.dryRun() {
        case .none: break
        case .client: line += " (dry run)"
        case .server: line += " (server dry run)"
        }
        Terminal.line(line)
    }

    private func confirmed(_ doomed: [Session.Found]) throws -> Bool {
        Terminal.line("You are about to delete the following \(doomed.count) resource(s):")
        for found in doomed { Terminal.line("\(found.resource.singularName)/\(found.name)") }
        Terminal.out("Do you want to continue? (y/N): ")
        let answer = readLine() ?? ""
        guard answer == "y" || answer == "Y" else {
            Terminal.line("deletion is cancelled")
            return false
        }
        return true
    }

    /// Until the object is gone, or another has its name.
    static func waitUntilGone(_ session: Session, _ found: Session.Found, uid: String, until: Double?) throws {
        var pause = 0.02
        while true {
            do {
                let now = try session.api.get(found.path)
                if !uid.isEmpty, now["metadata"]["uid"].string != uid { return }
            } catch let error as APIError where error.isNotFound {
                return
            }
            if let until, Terminal.now > until {
                throw CommandError("timed out waiting for the condition on \(found.resource.plural)/\(found.name)")
            }
            Terminal.sleep(pause)
            pause = min(0.5, pause * 1.5)
        }
    }
}
