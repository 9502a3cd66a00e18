import Codecs
import KubeAPI
import Linux

/// `config` and `auth`.
enum ConfigCommands {
    static let all: [Command] = [
        Command(
            "config view", "[flags]", "Display merged kubeconfig settings or a specified kubeconfig file",
            Flags.output
                + "|raw|b||Display raw byte data and sensitive data\n|flatten|b||Accepted\n|minify|b||Remove all information not used by current-context from the output\n|merge|o|true|Accepted\n",
            view),
        Command("config current-context", "[flags]", "Display the current-context") { session in
            guard
                let name = try Kubeconfig(given: session.options.given("kubeconfig")).config["current-context"].string,
                !name.isEmpty
            else {
                throw CommandError("current-context is not set")
            }
            Terminal.line(name)
        },
        Command(
            "config get-contexts", "[(-o|--output=)name)]", "Describe one or many contexts",
            "|no-headers|b||When using the default output format, don't print headers.\no|output|s||Output format. One of: (name).",
            contexts),
        Command("config get-clusters", "", "Display clusters defined in the kubeconfig") { try names($0, "clusters") },
        Command("config get-users", "", "Display users defined in the kubeconfig") { try names($0, "users") },
        Command("config use-context", "CONTEXT_NAME", "Set the current-context in a kubeconfig file") { session in
            let name = try one(session)
            try change(session) { config in
                guard config["contexts"].elements.contains(where: { $0["name"].string == name }) else {
                    throw CommandError("no context exists with the name: \(GoText.quoted(name))")
                }
                config["current-context"] = .string(name)
            }
            Terminal.line("Switched to context \(GoText.quoted(name)).")
        },
        Command(
            "config set-context",
            "[NAME | --current] [--cluster=cluster_nickname] [--user=user_nickname] [--namespace=namespace]",
            "Set a context entry in kubeconfig", "|current|b||Modify the current context\n"
        ) { session in
            try set(
                session, "contexts", "context", "Context",
                [("cluster", "cluster"), ("user", "user"), ("namespace", "namespace")])
        },
        Command(
            "config set-cluster",
            "NAME [--server=server] [--certificate-authority=path/to/certificate/authority] [--insecure-skip-tls-verify=true]",
            "Set a cluster entry in kubeconfig", "|embed-certs|b||embed-certs for the cluster entry in kubeconfig\n"
        ) { session in
            try set(
                session, "clusters", "cluster", "Cluster",
                [
                    ("server", "server"), ("certificate-authority", "certificate-authority"),
                    ("insecure-skip-tls-verify", "insecure-skip-tls-verify"), ("tls-server-name", "tls-server-name"),
                ])
        },
        Command(
            "config set-credentials",
            "NAME [--client-certificate=path/to/certfile] [--client-key=path/to/keyfile] [--token=bearer_token]",
            "Set a user entry in kubeconfig", "|embed-certs|b||Embed client cert/key for the user entry in kubeconfig\n"
        ) { session in
            try set(
                session, "users", "user", "User",
                [
                    ("client-certificate", "client-certificate"), ("client-key", "client-key"), ("token", "token"),
                    ("username", "username"), ("password", "password"),
                ])
        },
        Command("config delete-context", "NAME", "Delete the specified context from the kubeconfig") {
            try delete($0, "contexts", "context")
        },
        Command("config delete-cluster", "NAME", "Delete the specified cluster from the kubeconfig") {
            try delete($0, "clusters", "cluster")
        },
        Command("config delete-user", "NAME", "Delete the specified user from the kubeconfig") {
            try delete($0, "users", "user")
        },
        Command(
            "auth can-i", "VERB [TYPE | TYPE/NAME | NONRESOURCEURL]", "Check whether an action is allowed",
            Flags.allNamespaces
                + "|subresource|s||SubResource such as pod/log or deployment/scale\n|list|b||If true, prints all allowed actions.\n|no-headers|b||If true, prints allowed actions without headers\nq|quiet|b||If true, suppress output and just return the exit code.\n",
            canI),
        Command("auth whoami", "", "Experimental: Check self subject attributes", Flags.output, whoAmI),
    ]

    private static func one(_ session: Session) throws -> String {
        guard session.arguments.count == 1 else {
            throw CommandError.usage("Unexpected args: [\(session.arguments.joined(separator: " "))]", session.command)
        }
        return session.arguments[0]
    }

    private static func view(_ session: Session) throws {
        var config = try Kubeconfig(given: session.options.given("kubeconfig")).config
        if session.options.bool("minify") {
            let name = session.options.given("context") ?? config["current-context"].string ?? ""
            guard let context = config["contexts"].elements.first(where: { $0["name"].string == name }) else {
                throw CommandError("cannot locate context \(name)")
            }
            for (list, wanted) in [
                ("contexts", name), ("clusters", context["context"]["cluster"].shown),
                ("users", context["context"]["user"].shown),
            ] {
                config[list] = .array(config[list].elements.filter { $0["name"].string == wanted })
            }
        }
        if !session.options.bool("raw") {
            func hide(_ list: String, _ entry: String, _ keys: [String], _ text: String) {
                config[list] = .array(
                    config[list].elements.map { item in
                        var item = item
                        for key in keys where !item[entry][key].isNull { item[entry][key] = .string(text) }
                        return item
                    })
            }
            hide("clusters", "cluster", ["certificate-authority-data"], "DATA+OMITTED")
            hide("users", "user", ["client-certificate-data", "client-key-data"], "DATA+OMITTED")
            hide("users", "user", ["token", "password"], "REDACTED")
        }
        for list in ["clusters", "contexts", "users"] where config[list].elements.isEmpty { config[list] = .null }
        if config["current-context"].isNull { config["current-context"] = "" }
        if session.options.isSet("output") {
            try session.printer.print(config)
            try session.printer.finish()
        } else {
            Terminal.write(YAML.encode(config), to: STDOUT_FILENO)
        }
    }

    private static func contexts(_ session: Session) throws {
        let config = try Kubeconfig(given: session.options.given("kubeconfig")).config
        let current = config["current-context"].string ?? ""
        var list = config["contexts"].elements.sorted { $0["name"].shown < $1["name"].shown }
        if !session.arguments.isEmpty {
            for name in session.arguments where !list.contains(where: { $0["name"].string == name }) {
                throw CommandError("context \(name) not found")
            }
            list = list.filter { session.arguments.contains($0["name"].shown) }
        }
        if session.options.string("output") == "name" { return list.forEach { Terminal.line($0["name"].shown) } }
        var rows = session.options.bool("no-headers") ? [] : [["CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE"]]
        rows += list.map {
            [
                $0["name"].string == current ? "*" : "", $0["name"].shown, $0["context"]["cluster"].shown,
                $0["context"]["user"].shown, $0["context"]["namespace"].shown,
            ]
        }
        Terminal.out(TabText.table(rows))
    }

    private static func names(_ session: Session, _ list: String) throws {
        Terminal.line("NAME")
        for entry in try Kubeconfig(given: session.options.given("kubeconfig")).config[list].elements {
            Terminal.line(entry["name"].shown)
        }
    }

    /// Changes the first file of the kubeconfig's; it may not be there yet.
    private static func change(_ session: Session, _ body: (inout JSON) throws -> Void) throws {
        let paths = Kubeconfig.paths(session.options.given("kubeconfig"))
        guard let path = paths.first(where: Files.exists) ?? paths.first else { return }
        var config = try Kubeconfig.read(path) ?? ["apiVersion": "v1", "kind": "Config", "preferences": [:]]
        try body(&config)
        try Files.writeAtomically(path, YAML.encode(config), mode: 0o600)
    }

    private static func set(
        _ session: Session, _ list: String, _ entry: String, _ title: String, _ fields: [(flag: String, key: String)]
    ) throws {
        let options = session.options
        let name =
            options.bool("current")
            ? try Kubeconfig(given: options.given("kubeconfig")).config["current-context"].string ?? ""
            : try one(session)
        guard !name.isEmpty else { throw CommandError("no current context is set") }
        var isNew = true
        try change(session) { config in
            var items = config[list].elements
            let place = items.firstIndex { $0["name"].string == name }
            isNew = place == nil
            var item: JSON = place.map { items[$0] } ?? ["name": .string(name)]
            if item[entry].isNull { item[entry] = [:] }
            for (flag, key) in fields {
                guard let value = options.given(flag) else { continue }
                let isFile = ["certificate-authority", "client-certificate", "client-key"].contains(key)
                if isFile, options.bool("embed-certs") {
                    item[entry][key + "-data"] = .string(Base64.encode(try LocalFiles.read(value)))
                    item[entry][key] = .null
                } else {
                    item[entry][key] =
                        Options.boolean(value) != nil && key == "insecure-skip-tls-verify"
                        ? .bool(Options.boolean(value) ?? false) : .string(value)
                    if isFile { item[entry][key + "-data"] = .null }
                }
            }
            if let place { items[place] = item } else { items.append(item) }
            config[list] = .array(items)
        }
        Terminal.line("\(title) \(GoText.quoted(name)) \(entry == "context" ? isNew ? "created" : "modified" : "set").")
    }

    private static func delete(_ session: Session, _ list: String, _ title: String) throws {
        let name = try one(session)
        let path = Kubeconfig.paths(session.options.given("kubeconfig")).first ?? ""
        try change(session) { config in
            let kept = config[list].elements.filter { $0["name"].string != name }
            guard kept.count < config[list].elements.count else {
                throw CommandError("cannot delete \(title) \(name), not in \(path)")
            }
            config[list] = .array(kept)
        }
        Terminal.line("deleted \(title) \(name) from \(path)")
    }

    // MARK: - auth

    private static func canI(_ session: Session) throws {
        let options = session.options
        if options.bool("list") { return try rules(session) }
        guard session.arguments.count == 2 || session.arguments.count == 3 else {
            throw CommandError(
                "you must specify two arguments: verb resource or verb resource/resourceName.\nSee 'kubectl auth can-i -h' for help and examples."
            )
        }
        let (verb, subject) = (session.arguments[0], session.arguments[1])
        var spec: JSON
        if subject.hasPrefix("/") {
            spec = ["nonResourceAttributes": ["path": .string(subject), "verb": .string(verb)]]
        } else {
            let parts = subject.split(separator: "/", maxSplits: 1).map(String.init)
            var attributes: JSON = ["verb": .string(verb)]
            if let resource = try session.catalog.find(parts[0]) {
                attributes["resource"] = .string(resource.plural)
                if !resource.group.isEmpty { attributes["group"] = .string(resource.group) }
                if !resource.namespaced, !options.bool("quiet") {
                    Terminal.error(
                        resource.group.isEmpty
                            ? "Warning: resource '\(resource.plural)' is not namespace scoped\n"
                            : "Warning: resource '\(resource.plural)' is not namespace scoped in group '\(resource.group)'\n"
                    )
                }
                if resource.namespaced, !options.bool("all-namespaces") {
                    attributes["namespace"] = .string(try session.namespace)
                }
            } else {
                if parts[0] != "*" {
                    Terminal.error("Warning: the server doesn't have a resource type '\(parts[0])'\n")
                }
                attributes["resource"] = .string(parts[0])
                if !options.bool("all-namespaces") { attributes["namespace"] = .string(try session.namespace) }
            }
            if parts.count == 2 { attributes["name"] = .string(parts[1]) }
            if session.arguments.count == 3 { attributes["name"] = .string(session.arguments[2]) }
            if let sub = options.given("subresource") { attributes["subresource"] = .string(sub) }
            spec = ["resourceAttributes": attributes]
        }
        let answer = try session.api.call(
            "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            body: ["apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec])
        let status = answer["status"]
        let isAllowed = status["allowed"].bool ?? false
        if !options.bool("quiet") {
            var text = isAllowed ? "yes" : "no"
            if !isAllowed {
                if let reason = status["reason"].string, !reason.isEmpty { text += " - \(reason)" }
                if let error = status["evaluationError"].string, !error.isEmpty { text += " - \(error)" }
            }
            Terminal.line(text)
        }
        if !isAllowed { throw CommandError.silent() }
    }

    private static func rules(_ session: Session) throws {
        let answer = try session.api.call(
            "POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
            body: [
                "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
                "spec": ["namespace": .string(try session.namespace)],
            ])
        var rows =
            session.options.bool("no-headers") ? [] : [["Resources", "Non-Resource URLs", "Resource Names", "Verbs"]]
        func list(_ value: JSON) -> String { "[\(value.texts.joined(separator: " "))]" }
        for rule in answer["status"]["resourceRules"].elements {
            for resource in rule["resources"].texts {
                for group in rule["apiGroups"].texts {
                    rows.append([
                        group.isEmpty ? resource : "\(resource).\(group)", "[]", list(rule["resourceNames"]),
                        list(rule["verbs"]),
                    ])
                }
            }
        }
        for rule in answer["status"]["nonResourceRules"].elements {
            rows.append(["", list(rule["nonResourceURLs"]), "[]", list(rule["verbs"])])
        }
        Terminal.out(TabText.table(rows))
    }

    private static func whoAmI(_ session: Session) throws {
        let answer = try session.api.call(
            "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            body: ["apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"])
        if session.options.isSet("output") {
            try session.printer.print(answer)
            return try session.printer.finish()
        }
        let user = answer["status"]["userInfo"]
        var rows = [["ATTRIBUTE", "VALUE"]]
        if let name = user["username"].string { rows.append(["Username", name]) }
        if let uid = user["uid"].string { rows.append(["UID", uid]) }
        if !user["groups"].elements.isEmpty {
            rows.append(["Groups", "[\(user["groups"].texts.joined(separator: " "))]"])
        }
        for (key, value) in (user["extra"].object?.members ?? []).sorted(by: { $0.key < $1.key }) {
            rows.append(["Extra: \(key)", "[\(value.texts.joined(separator: " "))]"])
        }
        Terminal.out(TabText.table(rows))
    }
}
