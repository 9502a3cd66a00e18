import Codecs
import ControlPlane
import KubeAPI
import Linux
import Logging
import NIOCore
import Transport

/// `k3s token`: tokens with which nodes join. Flags, output and errors are the original's (pkg/cli/token).
struct TokenCommand: Sendable {
    static let help = """
        NAME:
           k3s token - Manage tokens

        USAGE:
           k3s token command [command options] [arguments...]

        COMMANDS:
           create    Create bootstrap tokens on the server
           delete    Delete bootstrap tokens on the server
           generate  Generate and print a bootstrap token, but do not create it on the server
           list      List bootstrap tokens on the server
           rotate    Rotate original server token with a new server token

        OPTIONS:
           --help, -h  show help
        """

    static let commonFlags = Flag.table(
        """
        +|data-dir|d|K3S_DATA_DIR|s||token|Folder to hold state
        +|kubeconfig||KUBECONFIG|s||token|Server to connect to
        """)
    static let createFlags = Flag.table(
        """
        +|description|||s||token|A human friendly description of how this token is used
        +|groups|||l|system:bootstrappers:k3s:default-node-token|token|Extra groups that this token will authenticate as when used for authentication
        +|ttl|||s|24h0m0s|token|The duration before the token is automatically deleted (e.g. 1s, 2m, 3h). If set to '0', the token will never expire
        +|usages|||l|signing,authentication|token|Describes the ways in which this token can be used
        """)
    static let listFlags = Flag.table(
        """
        +|output|o||s|text|token|Output format. Valid options: text, json, yaml
        """)
    static let rotateFlags = Flag.table(
        """
        +|token|t|K3S_TOKEN|s||token|Existing token used to join a server or agent to a cluster
        +|server|s|K3S_URL|s|https://127.0.0.1:6443|token|Server to connect to
        +|new-token|||s||token|New token that replaces existing token
        """)

    let values: FlagValues
    let kubeconfig: String
    let dataDirectory: String

    static func run(_ arguments: [String]) -> Int32 {
        VerbCommand.run("token", arguments, help: help, usage: "[options]", flags: flags) {
            verb, values, environment, _ in
            let command = TokenCommand(
                values: values, kubeconfig: KubeconfigFile.path(values.string("kubeconfig"), environment: environment),
                dataDirectory: SupervisorRequest.dataDirectory(values, environment: environment))
            switch verb {
            case "create": try command.create()
            case "delete": try command.delete()
            case "generate": print(try generated().text)
            case "list": try command.list()
            default: try command.rotate()
            }
        }
    }

    private static func flags(_ verb: String) -> [Flag]? {
        switch verb {
        case "create": commonFlags + createFlags
        case "delete", "generate": commonFlags
        case "list": commonFlags + listFlags
        case "rotate": commonFlags + rotateFlags
        default: nil
        }
    }

    private static let secrets = "/api/v1/namespaces/kube-system/secrets"

    private static func generated() throws -> BootstrapToken {
        guard case .bootstrap(let id, let secret) = try ClusterToken.newBootstrap() else {
            throw UsageError("no token was made")
        }
        return BootstrapToken(id: id, secret: secret)
    }

    // MARK: - create

    /// The token that the flags describe.
    static func described(_ values: FlagValues, now: Timestamp) throws -> BootstrapToken {
        var token: BootstrapToken
        if let text = values.arguments.first, !text.isEmpty {
            guard let parsed = BootstrapToken.parse(text) else {
                throw UsageError(
                    "the bootstrap token \"\(text)\" was not of the form \"\\\\A([a-z0-9]{6})\\\\.([a-z0-9]{16})\\\\z\""
                )
            }
            token = parsed
        } else {
            token = try generated()
        }
        token.description = values.string("description") ?? ""
        token.usages = values.isSet("usages") ? values.commaList("usages") : BootstrapToken.defaultUsages
        for usage in token.usages where !BootstrapToken.defaultUsages.contains(usage) {
            throw UsageError(
                "invalid bootstrap token usage string: \(usage), valid usage options: signing,authentication")
        }
        token.groups = values.isSet("groups") ? values.commaList("groups") : [BootstrapToken.defaultGroup]
        for group in token.groups where !BootstrapToken.isGroup(group) {
            throw UsageError(
                "bootstrap group \"\(group)\" is invalid (must match \\Asystem:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]\\z)"
            )
        }
        let ttl = values.string("ttl") ?? "24h0m0s"
        guard let life = GoDuration.parse(ttl), life >= 0 else {
            throw UsageError("invalid value \"\(ttl)\" for flag -ttl: parse error")
        }
        if life > 0 { token.expires = now.advanced(by: .nanoseconds(life)) }
        return token
    }

    private func create() throws {
        let token = try Self.described(values, now: SystemClock().now())
        try CommandTask.run { [kubeconfig] group in
            let api = try KubeconfigFile(path: kubeconfig, group: group)
            do {
                _ = try await api.call("POST", Self.secrets, token.object.json)
            } catch let failure as APIFailure where failure.status == 409 {
                throw UsageError("a token with id \"\(token.id)\" already exists")
            }
            print("K10\(try ClusterToken.hash(ofCA: api.ca))::\(token.text)")
        }
    }

    // MARK: - delete

    private func delete() throws {
        guard !values.arguments.isEmpty else {
            throw UsageError("missing argument; 'token delete' is missing token")
        }
        var ids: [String] = []
        for text in values.arguments {
            // The full form that `create` prints is understood, too.
            let bare = text.hasPrefix("K10") ? text.firstRange(of: "::").map { String(text[$0.upperBound...]) } : nil
            if BootstrapToken.isID(text) {
                ids.append(text)
            } else if let token = BootstrapToken.parse(bare ?? text) {
                ids.append(token.id)
            } else {
                throw UsageError(
                    "given token didn't match pattern \"\\\\A[a-z0-9]{6}\\\\z\" or \"\\\\A([a-z0-9]{6})\\\\.([a-z0-9]{16})\\\\z\""
                )
            }
        }
        try CommandTask.run { [kubeconfig, ids] group in
            let api = try KubeconfigFile(path: kubeconfig, group: group)
            for id in ids {
                do {
                    _ = try await api.call("DELETE", Self.secrets + "/" + BootstrapToken.secretName(id))
                } catch let failure as APIFailure {
                    throw UsageError("failed to delete bootstrap token \"\(id)\": \(failure)")
                }
                print("bootstrap token \"\(id)\" deleted")
            }
        }
    }

    // MARK: - list

    private func list() throws {
        let output = values.string("output") ?? "text"
        try CommandTask.run { [kubeconfig] group in
            let api = try KubeconfigFile(path: kubeconfig, group: group)
            let answer = try await api.call(
                "GET", Self.secrets + "?fieldSelector=type%3Dbootstrap.kubernetes.io%2Ftoken")
            let tokens = answer["items"].elements.compactMap { BootstrapToken(secret: KubeObject($0)) }
            switch output {
            case "json": print(JSON.array(tokens.map(Self.json)).encode().utf8Text)
            case "yaml": print(YAML.encode(.array(tokens.map(Self.json))).utf8Text, terminator: "")
            default: print(Self.table(tokens, now: SystemClock().now()))
            }
        }
    }

    private static func json(_ token: BootstrapToken) -> JSON {
        var json: JSON = ["token": .string(token.text)]
        if !token.description.isEmpty { json["description"] = .string(token.description) }
        if let expires = token.expires { json["expires"] = .string(expires.rfc3339) }
        if !token.usages.isEmpty { json["usages"] = .strings(token.usages) }
        if !token.groups.isEmpty { json["groups"] = .strings(token.groups) }
        return json
    }

    static func table(_ tokens: [BootstrapToken], now: Timestamp) -> String {
        func orNone(_ text: String) -> String { text.isEmpty ? "<none>" : text }
        let rows =
            [["TOKEN", "TTL", "EXPIRES", "USAGES", "DESCRIPTION", "EXTRA GROUPS"]]
            + tokens.map { token in
                [
                    token.text,
                    token.expires.map { HumanDuration.short(seconds: $0.duration(since: now).components.seconds) }
                        ?? "<forever>",
                    token.expires?.rfc3339 ?? "<never>", orNone(token.usages.joined(separator: ",")),
                    orNone(token.description), orNone(token.groups.joined(separator: ",")),
                ]
            }
        // Go's tabwriter with a least width of 10 and three spaces between columns; the last is not padded.
        let widths = (0..<5).map { column in max(10, (rows.map { $0[column].count }.max() ?? 0) + 3) }
        return rows.map { row in
            zip(row, widths).map { $0.padding(to: $1) }.joined() + row[5]
        }.joined(separator: "\n")
    }

    // MARK: - rotate

    private func rotate() throws {
        print(
            "\u{1B}[33mWARNING\u{1B}[0m: Recommended to keep a record of the old token. If restoring from a snapshot, you must use the token associated with that snapshot."
        )
        let request = try SupervisorRequest(values, dataDirectory: dataDirectory)
        let body = JSON.object(["newToken": .string(values.string("new-token") ?? "")])
        _ = try request.send("PUT", "/v1-k3s/token", body.encode())
        print("Token rotated, restart k3s nodes with new token")
    }
}
