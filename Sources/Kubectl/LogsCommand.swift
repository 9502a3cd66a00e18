import Codecs
import KubeAPI
import Linux
import Synchronization
import Transport

enum LogsCommands {
    static let all: [Command] = [
        Command(
            "logs", "[-f] [-p] (POD | TYPE/NAME) [-c CONTAINER] [options]",
            "Print the logs for a container in a pod or specified resource",
            Flags.selector + """
                f|follow|b||Specify if the logs should be streamed.
                p|previous|b||If true, print the logs for the previous instance of the container in a pod if it exists.
                c|container|s||Print the logs of this container
                |all-containers|b||Get all containers' logs in the pod(s).
                |all-pods|b||Get logs from all pod(s).
                |since|s|0s|Only return logs newer than a relative duration like 5s, 2m, or 3h.
                |since-time|s||Only return logs after a specific date (RFC3339).
                |tail|s|-1|Lines of recent log file to display.
                |timestamps|b||Include timestamps on each line in the log output.
                |prefix|b||Prefix each log line with the log source (pod name and container name).
                |limit-bytes|s|0|Maximum bytes of logs to return.
                |max-log-requests|s|5|Specify maximum number of concurrent logs to follow when using by a selector.
                |pod-running-timeout|s|20s|The length of time to wait until at least one pod is running
                |ignore-errors|b||If watching / following pod logs, allow for any errors that occur to be non-fatal
                |insecure-skip-tls-verify-backend|b||Skip verifying the identity of the kubelet that logs are requested from.

                """
        ) { try LogsCommand($0).run() }
    ]
}

struct LogsCommand {
    let session: Session
    private var options: Options { session.options }
    private static let usage =
        "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required argument for the logs command"

    init(_ session: Session) { self.session = session }

    func run() throws {
        let selector = options.string("selector")
        let words = session.arguments
        guard !words.isEmpty || !selector.isEmpty, words.count < 3 else { throw CommandError.usage(Self.usage, "logs") }
        if !selector.isEmpty, !words.isEmpty {
            throw CommandError("only a selector (-l) or a POD name is allowed")
        }
        if options.isSet("since"), options.isSet("since-time") {
            throw CommandError("at most one of `sinceTime` or `sinceSeconds` may be specified")
        }
        if options.bool("all-containers"), options.isSet("container") {
            throw CommandError(
                "--all-containers=true should not be specified with container name \(options.string("container"))")
        }
        guard try options.int("tail") >= -1 else { throw CommandError("--tail must be greater than or equal to -1") }
        var pods: [JSON]
        if !selector.isEmpty {
            pods = try session.api.get(
                "/api/v1/namespaces/\(try session.namespace)/pods", query: [("labelSelector", selector)])["items"]
                .elements
            if pods.isEmpty {
                Terminal.error("No resources found in \(try session.namespace) namespace.")
                return
            }
        } else {
            let word = words[0]
            let isPod = !word.utf8.contains(UInt8(ascii: "/"))
            let found: Session.Found
            do { found = try session.findAll(isPod ? ["pods", word] : [word])[0] } catch let error as APIError
                where isPod && error.isNotFound
            {
                throw CommandError(
                    "error from server (NotFound): \(error.message) in namespace \(GoText.quoted(try session.namespace))"
                )
            }
            pods = try session.pods(of: found)
            if found.resource.qualified != "pods", !options.bool("all-pods") {
                let until = try Terminal.now + options.seconds("pod-running-timeout")
                while pods.isEmpty, Terminal.now < until {
                    Terminal.sleep(0.3)
                    pods = try session.pods(of: found)
                }
                pods.sort(by: Session.preferred)
                guard let first = pods.first else { throw CommandError("timed out waiting for the condition") }
                if pods.count > 1 {
                    Terminal.error("Found \(pods.count) pods, using pod/\(first["metadata"]["name"].string ?? "")")
                }
                pods = [first]
            }
        }
        var sources: [(pod: JSON, container: String)] = []
        for pod in pods {
            if words.count == 2 {
                sources.append((pod, words[1]))
            } else if options.bool("all-containers") {
                for list in ["initContainers", "containers", "ephemeralContainers"] {
                    sources += pod["spec"][list].elements.map { (pod, $0["name"].string ?? "") }
                }
            } else {
                sources.append((pod, try session.container(of: pod)))
            }
        }
        if options.bool("follow"), sources.count > 1 {
            let most = try options.int("max-log-requests")
            guard sources.count <= most else {
                throw CommandError(
                    "you are attempting to follow \(sources.count) log streams, but maximum allowed concurrency is \(most), use --max-log-requests to increase the limit"
                )
            }
            return try follow(sources)
        }
        for source in sources {
            var mark = lines(source)
            try session.api.stream(path(source.pod), query: try query(source.container)) { bytes in
                mark.write(bytes)
                return true
            }
            mark.finish()
        }
    }

    private func path(_ pod: JSON) -> String {
        "/api/v1/namespaces/\(pod["metadata"]["namespace"].string ?? "")/pods/\(pod["metadata"]["name"].string ?? "")/log"
    }

    private func query(_ container: String) throws -> [(String, String)] {
        var query = [("container", container)]
        for (flag, name) in [
            ("follow", "follow"), ("previous", "previous"), ("timestamps", "timestamps"),
            ("insecure-skip-tls-verify-backend", "insecureSkipTLSVerifyBackend"),
        ] where options.bool(flag) { query.append((name, "true")) }
        let since = try options.seconds("since")
        if since > 0 { query.append(("sinceSeconds", String(Int64(since.rounded(.up))))) }
        if let time = options.given("since-time") { query.append(("sinceTime", time)) }
        if try options.int("limit-bytes") > 0 { query.append(("limitBytes", options.string("limit-bytes"))) }
        var tail = try options.int("tail")
        if !options.isSet("tail"), options.isSet("selector") { tail = 10 }
        if tail >= 0 { query.append(("tailLines", String(tail))) }
        return query
    }

    private func lines(_ source: (pod: JSON, container: String)) -> LogLines {
        LogLines(
            prefix: options.bool("prefix")
                ? "[pod/\(source.pod["metadata"]["name"].string ?? "")/\(source.container)] " : "")
    }

    /// Several at once, whole lines of each.
    private func follow(_ sources: [(pod: JSON, container: String)]) throws {
        let api = try session.api
        var requests: [(HTTPClientRequest, LogLines)] = []
        for source in sources {
            var request = HTTPClientRequest(
                "GET", api.url(path(source.pod), try query(source.container)), headers: api.headers)
            request.headers.add("Accept", Connection.json)
            requests.append((request, lines(source)))
        }
        let (http, all) = (api.http, requests)
        try Terminal.wait {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (request, lines) in all {
                    group.addTask {
                        var lines = lines
                        lines.isWhole = true
                        let response = try await http.execute(request)
                        while let bytes = try await response.body.next() { lines.write(bytes) }
                        lines.finish()
                    }
                }
                try await group.waitForAll()
            }
        }
    }
}

/// Log text on its way out, with what it is from at the start of each line.
struct LogLines: Sendable {
    let prefix: String
    /// Whether only whole lines may be written, since others write, too.
    var isWhole = false
    private var rest: [UInt8] = []

    init(prefix: String) { self.prefix = prefix }

    mutating func write(_ bytes: [UInt8]) {
        if prefix.isEmpty, !isWhole { return Terminal.write(bytes, to: STDOUT_FILENO) }
        rest += bytes
        guard let last = rest.lastIndex(of: UInt8(ascii: "\n")) else { return }
        var out: [UInt8] = []
        for line in rest[...last].split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast() {
            out += prefix.utf8
            out += line
            out.append(UInt8(ascii: "\n"))
        }
        rest = Array(rest[(last + 1)...])
        Terminal.write(out, to: STDOUT_FILENO)
    }

    mutating func finish() {
        if !rest.isEmpty { Terminal.write(Array(prefix.utf8) + rest, to: STDOUT_FILENO) }
        rest = []
    }
}
