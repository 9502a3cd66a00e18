import Codecs
import KubeAPI
import Linux

/// A command as data: what it is called, what its help says, its flags, and what it does.
struct Command: Sendable {
    /// `get`, `rollout status`, `create secret generic`
    var name: String
    /// What follows the name in its usage.
    var usage: String
    var summary: String
    var flags: String
    var run: @Sendable (Session) throws -> Void

    init(
        _ name: String, _ usage: String, _ summary: String, _ flags: String = "",
        _ run: @escaping @Sendable (Session) throws -> Void
    ) {
        (self.name, self.usage, self.summary, self.flags, self.run) = (name, usage, summary, flags, run)
    }
}

/// `k3s kubectl`, also where the program is called `kubectl`: the commands of kubectl, over any cluster's API.
///
///     exit(Kubectl.run(["get", "pods", "-A"]))
package enum Kubectl {
    static let commands: [Command] =
        ReadCommands.all + ApplyCommands.all + CreateCommands.all + DeleteCommands.all + LogsCommands.all
        + ExecCommands.all + PortForwardCommands.all + ScaleCommands.all + ChangeCommands.all + DescribeCommands.all
        + RunCommands.all + NodeCommands.all + ConfigCommands.all + ExplainCommands.all
        + CopyCommands.all

    static let global = FlagRow.table(
        """
        n|namespace|s||If present, the namespace scope for this CLI request
        |kubeconfig|s||Path to the kubeconfig file to use for CLI requests.
        |context|s||The name of the kubeconfig context to use
        |cluster|s||The name of the kubeconfig cluster to use
        |user|s||The name of the kubeconfig user to use
        s|server|s||The address and port of the Kubernetes API server
        |token|s||Bearer token for authentication to the API server
        |as|s||Username to impersonate for the operation.
        |as-group|a||Group to impersonate for the operation, this flag can be repeated to specify multiple groups.
        |as-uid|s||UID to impersonate for the operation.
        |certificate-authority|s||Path to a cert file for the certificate authority
        |client-certificate|s||Path to a client certificate file for TLS
        |client-key|s||Path to a client key file for TLS
        |insecure-skip-tls-verify|b||If true, the server's certificate will not be checked for validity.
        |tls-server-name|s||Server name to use for server certificate validation.
        |username|s||Username for basic authentication to the API server
        |password|s||Password for basic authentication to the API server
        |request-timeout|s|0|Accepted; calls of this program have limits of their own
        |cache-dir|s||Accepted; nothing is cached
        |kuberc|s||Accepted
        |disable-compression|b||Accepted
        |match-server-version|b||Accepted
        |log-flush-frequency|s||Accepted
        |profile|s|none|Accepted
        |profile-output|s||Accepted
        |vmodule|s||Accepted
        |warnings-as-errors|b||Accepted
        v|v|s|0|Accepted: number for the log level verbosity
        """)

    /// - Parameter arguments: without the program's name.
    /// - Returns: the exit code.
    package static func run(_ arguments: [String]) -> Int32 {
        Signals.ignoreBrokenPipe()
        do {
            try dispatch(arguments)
            return 0
        } catch {
            let text = ErrorText.of(error)
            if !text.isEmpty {
                Terminal.write(Array((text.hasSuffix("\n") ? text : text + "\n").utf8), to: STDERR_FILENO)
            }
            return (error as? CommandError)?.code ?? 1
        }
    }

    private static func dispatch(_ arguments: [String]) throws {
        guard let (command, rest) = try find(arguments) else {
            Terminal.out(overview)
            return
        }
        let rows = FlagRow.table(command.flags) + global
        let options = try Options(rest, rows: rows, command: command.name)
        if options.wantsHelp {
            Terminal.out(help(command))
            return
        }
        try command.run(Session(command: command.name, options: options))
    }

    /// The command that the words name, and the words without its name; nil: help is wanted.
    private static func find(_ arguments: [String]) throws -> (Command, [String])? {
        var name = ""
        var found: Command?
        var rest: [String] = []
        var words = arguments[...]
        var rows = global
        while let word = words.popFirst() {
            if word == "--" {
                rest.append(word)
                break
            }
            if word.hasPrefix("-"), word.utf8.count > 1 {
                rest.append(word)
                let isLong = word.hasPrefix("--")
                let row = rows.first {
                    isLong ? "--" + $0.name == word : !$0.short.isEmpty && "-" + $0.short == word
                }
                if let row, row.kind != .bool, row.kind != .optional, let value = words.popFirst() {
                    rest.append(value)
                }
                continue
            }
            let longer = name.isEmpty ? word : "\(name) \(word)"
            let isGroup = commands.contains { $0.name.hasPrefix(longer + " ") }
            let command = commands.first { $0.name == longer || aliases[longer] == $0.name }
            if command == nil, !isGroup {
                if name.isEmpty, word == "help" {
                    guard !words.isEmpty else { return nil }
                    return try find(Array(words) + ["--help"])
                }
                if name.isEmpty { throw unknown(word) }
                if found == nil {
                    throw CommandError(
                        "unknown command \(GoText.quoted(word)) for \(GoText.quoted("kubectl " + name))\n\(members(name))"
                    )
                }
                rest.append(word)
                break
            }
            name = command?.name ?? longer
            found = command
            if let command { rows = FlagRow.table(command.flags) + global }
            if !isGroup { break }
        }
        rest += words
        if let found { return (found, rest) }
        if name.isEmpty { return nil }
        let overview = "Usage:\n  kubectl \(name) COMMAND [options]\n\nAvailable Commands:\n" + members(name)
        return (Command(name, "COMMAND", "Commands of `kubectl \(name)`") { _ in Terminal.out(overview) }, rest)
    }

    private static let aliases = [
        "create ns": "create namespace", "create cm": "create configmap", "create deploy": "create deployment",
        "create svc": "create service", "create sa": "create serviceaccount", "create ing": "create ingress",
        "create quota": "create quota", "create resourcequota": "create quota", "create cj": "create cronjob",
        "create pdb": "create poddisruptionbudget", "create pc": "create priorityclass",
        "config use": "config use-context", "top nodes": "top node", "top no": "top node", "top pods": "top pod",
        "top po": "top pod",
    ]

    private static let absent = [
        "debug", "kustomize", "plugin", "alpha", "proxy", "certificate", "completion", "events",
    ]

    private static func unknown(_ word: String) -> CommandError {
        if absent.contains(word) {
            return CommandError("\(GoText.quoted(word)) is a command of kubectl that this program does not have yet")
        }
        return CommandError("unknown command \(GoText.quoted(word)) for \"kubectl\"")
    }

    private static func members(_ group: String) -> String {
        commands.filter { $0.name.hasPrefix(group + " ") }.map { command in
            let name = String(command.name.dropFirst(group.count + 1))
            return "  \(name)\(String(repeating: " ", count: max(1, 22 - name.count)))\(command.summary)\n"
        }.joined()
    }

    private static var overview: String {
        var lines = "kubectl controls the Kubernetes cluster manager.\n\nCommands:\n"
        var seen: Set<Substring> = []
        for command in commands {
            let name = command.name.prefix { $0 != " " }
            guard seen.insert(name).inserted else { continue }
            let summary = command.name.contains(" ") ? "Commands of \(name)" : command.summary
            lines += "  \(name)\(String(repeating: " ", count: max(1, 16 - name.count)))\(summary)\n"
        }
        return lines
            + "\nUsage:\n  kubectl [flags] [options]\n\nUse \"kubectl <command> --help\" for more information about a given command.\n"
    }

    private static func help(_ command: Command) -> String {
        var text = command.summary + "\n"
        let subcommands = members(command.name)
        if !subcommands.isEmpty { text += "\nAvailable Commands:\n" + subcommands }
        let rows = FlagRow.table(command.flags).sorted { $0.name < $1.name }
        if !rows.isEmpty { text += "\nOptions:\n" + rows.map(\.line).joined(separator: "\n") }
        text += "\nUsage:\n  kubectl \(command.name) \(command.usage)\n"
        return text + "\nGlobal options:\n" + global.map(\.line).joined()
    }
}

/// Rows of flags that several commands share.
enum Flags {
    static let output = """
        o|output|s||Output format. One of: (json, yaml, name, jsonpath, jsonpath-as-json, jsonpath-file, custom-columns, custom-columns-file).
        |template|s||Template string or path to template file to use when -o=jsonpath, -o=jsonpath-file.
        |show-managed-fields|b||If true, keep the managedFields when printing objects in JSON or YAML format.

        """
    static let files = """
        f|filename|l||Files, directories or URLs; - is standard input
        k|kustomize|s||Process a kustomization directory (not supported)
        R|recursive|b||Process the directory used in -f, --filename recursively.

        """
    static let selector = "l|selector|s||Selector (label query) to filter on.\n"
    static let fields = "|field-selector|s||Selector (field query) to filter on.\n"
    static let allNamespaces = "A|all-namespaces|b||If present, the requested object(s) across all namespaces.\n"
    static let all = "|all|b||Select all resources in the namespace of the specified resource types.\n"
    static let dryRun = """
        |dry-run|o|unchanged|Must be "none", "server", or "client".

        """
    static func manager(_ name: String) -> String {
        "|field-manager|s|\(name)|Name of the manager used to track field ownership.\n"
    }
    static let validate = "|validate|o|strict|Must be one of: strict (or true), warn, ignore (or false).\n"
    /// Of commands that change objects they are given by name, selector or file.
    static func change(_ manager: String) -> String {
        output + files + selector + all + dryRun + self.manager(manager)
            + "|save-config|b||Accepted\n"
    }
}
