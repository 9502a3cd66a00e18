import Codecs
import GRPC
import Linux
import Node

/// `k3s crictl`: a client of CRI v1 with the verbs, flags and forms of crictl 1.35, for the runtime of this node or, with
/// `--runtime-endpoint`, any other. Source: sigs.k8s.io/cri-tools/cmd/crictl.
enum CrictlCommand {
    static let verbs: [CrictlVerb] =
        CrictlChanges.verbs + CrictlLists.verbs + CrictlInspect.verbs + CrictlStats.verbs + CrictlStreams.verbs

    private static let globals = Flag.table(
        """
        +|config|c|CRI_CONFIG_FILE|s|||Location of the client config file
        h|debug|D||b|||Enable debug mode
        +|image-endpoint|i|IMAGE_SERVICE_ENDPOINT|s|||Endpoint of CRI image manager service
        +|runtime-endpoint|r|CONTAINER_RUNTIME_ENDPOINT|s|||Endpoint of CRI container runtime service (default: that of k3s)
        +|state|||s|/run/k3s||Runtime state directory of k3s, whose endpoint is meant
        +|timeout|t|CONTAINER_RUNTIME_TIMEOUT|s|2s||Timeout of connecting to the server
        """)

    static var help: String {
        var lines = [
            "NAME:\n   crictl - client for CRI\n",
            "USAGE:\n   crictl [global options] command [command options] [arguments...]\n", "COMMANDS:",
        ]
        for verb in verbs.sorted(by: { $0.names[0] < $1.names[0] }) {
            lines.append("   " + verb.names.joined(separator: ", ").padding(to: 22) + verb.summary)
        }
        return lines.joined(separator: "\n") + "\n\nGLOBAL " + FlagParser(flags: globals).help()
    }

    static func run(_ arguments: [String]) -> Int32 {
        do { return try execute(arguments) } catch {
            fatal("\(error)")
            return 1
        }
    }

    /// As logrus writes it: for people on a terminal, for programs elsewhere.
    private static func fatal(_ text: String) {
        if isatty(STDERR_FILENO) == 1 { return Terminal.error("FATA[0000] \(text)") }
        let time = Timestamp(nanoseconds: WallClock.now()).rfc3339
        Terminal.error("time=\"\(time)\" level=fatal msg=\(GoText.quoted(text))")
    }

    private static func execute(_ arguments: [String]) throws -> Int32 {
        let environment: (String) -> String? = { name in getenv(name).map { String(cString: $0) } }
        var parser = FlagParser(flags: globals)
        parser.argumentsEndFlags = true
        let global = try parser.parse(arguments, environment: environment)
        guard let name = global.arguments.first, !global.wantsHelp, name != "help", name != "h" else {
            if global.arguments.count > 1, let verb = verb(global.arguments[1]) {
                print(verb.help)
            } else {
                print(help)
            }
            return 0
        }
        guard let verb = verb(name) else { throw UsageError("No help topic for '\(name)'") }
        parser = FlagParser(flags: verb.flags)
        parser.clusters = true
        parser.argumentsEndFlags = verb.argumentsEndFlags
        let values = try parser.parse(Array(global.arguments.dropFirst()), environment: environment)
        if values.wantsHelp {
            print(verb.help)
            return 0
        }
        let session = try CrictlSession(values, try endpoints(global))
        do { return try verb.run(session) } catch is CrictlVerb.ShowHelp {
            print(verb.help)
            return 0
        }
    }

    private static func verb(_ name: String) -> CrictlVerb? { verbs.first { $0.names.contains(name) } }

    /// The flags' and the environment's, else the configuration file's, which the node writes.
    private static func endpoints(_ global: FlagValues) throws -> (runtime: String, images: String) {
        func text(_ value: String?) -> String? { value?.isEmpty == false ? value : nil }
        var file: JSON = [:]
        let usual = ["/var/lib/rancher/k3s/agent/etc/crictl.yaml", "/etc/crictl.yaml"].first { Files.exists($0) }
        if global.string("state") == nil, let path = text(global.string("config")) ?? usual {
            do { file = try YAML.parse(Files.read(path, limit: 1 << 20)) } catch {
                throw UsageError("config file \(path): \(error)")
            }
        }
        let own = "unix://" + (global.string("state") ?? ControlClient.standardState) + "/containerd/containerd.sock"
        let runtime = text(global.string("runtime-endpoint")) ?? text(file["runtime-endpoint"].string) ?? own
        return (runtime, text(global.string("image-endpoint")) ?? text(file["image-endpoint"].string) ?? runtime)
    }
}

/// A verb as data: parsing and help work from the same row.
struct CrictlVerb: Sendable {
    /// Thrown by a verb that has too few arguments, or too many.
    struct ShowHelp: Error {}

    var names: [String]
    var arguments: String
    var summary: String
    var flags: [Flag]
    /// Flags after the first argument are somebody else's.
    var argumentsEndFlags = false
    var run: @Sendable (CrictlSession) throws -> Int32

    init(
        _ names: String, _ arguments: String, _ summary: String, _ flags: StaticString = "",
        argumentsEndFlags: Bool = false, _ run: @escaping @Sendable (CrictlSession) throws -> Int32
    ) {
        self.names = names.split(separator: " ").map(String.init)
        (self.arguments, self.summary, self.flags) = (arguments, summary, Flag.table(flags))
        (self.argumentsEndFlags, self.run) = (argumentsEndFlags, run)
    }

    var help: String {
        let name = "crictl " + names[0]
        return "NAME:\n   \(name) - \(summary)\n\nUSAGE:\n   \(name) [command options] \(arguments)\n\n"
            + FlagParser(flags: flags).help()
    }
}

/// One command's arguments and the runtime at the other end.
struct CrictlSession: Sendable {
    let values: FlagValues
    private let runtime: RemoteService
    private let images: RemoteService
    let json: ProtobufJSON

    init(_ values: FlagValues, _ endpoints: (runtime: String, images: String)) throws {
        self.values = values
        let services = try RemoteService.services(at: endpoints.runtime)
        runtime = services.runtime
        let isOne = endpoints.images == endpoints.runtime
        images = isOne ? services.images : try RemoteService.services(at: endpoints.images).images
        json = CrictlMessages.json(services.runtime.table)
    }

    var arguments: [String] { values.arguments }

    func required() throws -> [String] {
        guard !arguments.isEmpty else { throw CrictlVerb.ShowHelp() }
        return arguments
    }

    private static let imageMethods: Set<String> = [
        "ListImages", "ImageStatus", "PullImage", "RemoveImage", "ImageFsInfo",
    ]

    func call(_ method: String, _ what: String) throws -> JSON { try call(method, [:], what) }

    /// - Parameter what: what failed, before the error's own words.
    func call(_ method: String, _ request: JSON, _ what: String, timeout: Duration? = nil) throws -> JSON {
        let service = Self.imageMethods.contains(method) ? images : runtime
        do {
            return try CommandTask.wait { try await service.call(method, request, timeout: timeout) }
        } catch { throw UsageError(what.isEmpty ? "\(error)" : "\(what): \(error)") }
    }

    /// A message as text in the form that `--output` asks for; nil for a table.
    func text(_ message: String, _ value: JSON) throws -> String? {
        switch values.string("output") ?? "table" {
        case "json": json.encode(message, value).encodePretty()
        case "yaml": YAML.text(json.encode(message, value))
        case "table": nil
        case let other: throw UsageError("unsupported output format \"\(other)\"")
        }
    }

    func number(_ flag: String) throws -> Int64? {
        guard let text = values.string(flag) else { return nil }
        guard let number = Int64(text) else {
            throw UsageError("invalid value \"\(text)\" for flag -\(flag): expected a whole number")
        }
        return number
    }

    func duration(_ flag: String) throws -> Duration? {
        guard let text = values.string(flag) else { return nil }
        guard let nanoseconds = GoDuration.parse(text) else {
            throw UsageError("invalid value \"\(text)\" for flag -\(flag): expected a duration such as 10s")
        }
        return nanoseconds > 0 ? .nanoseconds(nanoseconds) : nil
    }

    /// `--latest` and `--last`, of a list that is sorted by age.
    func newest(_ list: [JSON]) throws -> [JSON] {
        if let last = try number("last"), last > 0 { return Array(list.prefix(Int(clamping: last))) }
        return values.bool("latest") ? Array(list.prefix(1)) : list
    }
}

/// What the table of CRI's messages does not say of their JSON form.
enum CrictlMessages {
    static func json(_ table: ProtobufTable) -> ProtobufJSON {
        ProtobufJSON(table, enumerations: enumerations, narrow: narrow)
    }

    private static let narrow = """
        PortMapping.container_port PortMapping.host_port IDMapping.host_id IDMapping.container_id IDMapping.length \
        PodSandboxMetadata.attempt ContainerMetadata.attempt ContainerStatus.exit_code
        """

    private static let enumerations = """
        PodSandboxStatus.state,PodSandbox.state,PodSandboxStateValue.state SANDBOX_READY SANDBOX_NOTREADY
        Container.state,ContainerStatus.state CONTAINER_CREATED CONTAINER_RUNNING CONTAINER_EXITED CONTAINER_UNKNOWN
        NamespaceOption.network,NamespaceOption.pid,NamespaceOption.ipc,UserNamespace.mode POD CONTAINER NODE TARGET
        Mount.propagation PROPAGATION_PRIVATE PROPAGATION_HOST_TO_CONTAINER PROPAGATION_BIDIRECTIONAL
        SecurityProfile.profile_type RuntimeDefault Unconfined Localhost
        LinuxSandboxSecurityContext.supplemental_groups_policy,LinuxContainerSecurityContext.supplemental_groups_policy \
        Merge Strict
        PortMapping.protocol TCP UDP SCTP
        LinuxRuntimeConfiguration.cgroup_driver SYSTEMD CGROUPFS
        Metric.metric_type COUNTER GAUGE
        ContainerStatus.stop_signal,ContainerConfig.stop_signal RUNTIME_DEFAULT SIGABRT SIGALRM SIGBUS SIGCHLD SIGCLD \
        SIGCONT SIGFPE SIGHUP SIGILL SIGINT SIGIO SIGIOT SIGKILL SIGPIPE SIGPOLL SIGPROF SIGPWR SIGQUIT SIGSEGV \
        SIGSTKFLT SIGSTOP SIGSYS SIGTERM SIGTRAP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGUSR1 SIGUSR2 SIGVTALRM SIGWINCH \
        SIGXCPU SIGXFSZ SIGRTMIN
        """
}
