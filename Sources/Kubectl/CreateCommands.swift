import Codecs
import KubeAPI
import Linux

/// `create` from files, and its generators.
enum CreateCommands {
    private static let common =
        Flags.output + Flags.dryRun + Flags.validate + Flags.manager("kubectl-create")
        + "|save-config|b||If true, the configuration of current object will be saved in its annotation.\n"

    /// A generator of one named object.
    private static func generator(
        _ name: String, _ usage: String, _ summary: String, _ flags: String = "", kind: (api: String, kind: String),
        _ build: @escaping @Sendable (Session, String, inout JSON) throws -> Void
    ) -> Command {
        Command("create " + name, usage, summary, flags + "\n" + common) { session in
            guard let object = session.arguments.first, session.options.dash != 0 else {
                throw CommandError.usage("exactly one NAME is required, got 0", session.command)
            }
            let before = session.options.dash ?? session.arguments.count
            let extra =
                kind.kind == "Service" || kind.kind == "Deployment" || kind.kind == "CronJob" || kind.kind == "Job"
            if before > 1, !extra || session.options.dash == nil {
                throw CommandError.usage("exactly one NAME is required, got \(before)", session.command)
            }
            var json: JSON = [
                "apiVersion": .string(kind.api), "kind": .string(kind.kind), "metadata": ["name": .string(object)],
            ]
            try build(session, object, &json)
            try send(session, json)
        }
    }

    /// Creates it, or prints it for a dry run of the client.
    static func send(_ session: Session, _ given: JSON, verb: String = "created", manager: String = "kubectl-create")
        throws
    {
        var json = given
        let api = json["apiVersion"].string ?? ""
        let kind = json["kind"].string ?? ""
        let isClient = try session.dryRun() == .client
        let hasNamespace = try session.settings.namespaceIsGiven && kind != "Namespace" && !clusterKinds.contains(kind)
        if hasNamespace { json["metadata"]["namespace"] = .string(try session.namespace) }
        if session.options.bool("save-config") { json = ApplyCommands.annotated(json) }
        if isClient {
            let parts = api.split(separator: "/").map(String.init)
            let resource = Catalog.Resource(
                group: parts.count == 2 ? parts[0] : "", version: parts.last ?? "", plural: "", singular: "",
                kind: kind,
                namespaced: true, shortNames: [], categories: [], verbs: [], subresources: [])
            try session.report(json, resource, verb)
            if session.options.isSet("output") { try session.printer.finish() }
            return
        }
        guard let resource = try session.catalog.resource(apiVersion: api, kind: kind) else {
            throw CommandError("no matches for kind \(GoText.quoted(kind)) in version \(GoText.quoted(api))")
        }
        if resource.namespaced { json["metadata"]["namespace"] = .string(try session.namespace) }
        let query = try session.writeQuery(manager: manager, validate: true)
        let noun = kind == "ConfigMap" || kind == "Secret" ? kind.lowercased() : ""
        do {
            let made = try session.api.call("POST", resource.path(try session.namespace), query: query, body: json)
            try session.report(made, resource, verb)
        } catch let error as APIError where !noun.isEmpty {
            throw CommandError("failed to create \(noun): \(error.message)")
        }
        if session.options.isSet("output") { try session.printer.finish() }
    }

    private static let clusterKinds = ["ClusterRole", "ClusterRoleBinding", "PriorityClass", "Namespace"]

    // MARK: - Pieces

    /// `key=file`, `file` or directories, literals and env files as data.
    private static func data(_ options: Options) throws -> [(key: String, bytes: [UInt8])] {
        var found: [(key: String, bytes: [UInt8])] = []
        func add(_ key: String, _ bytes: [UInt8]) throws {
            if found.contains(where: { $0.key == key }) {
                throw CommandError("cannot add key \(GoText.quoted(key)), another key by that name already exists")
            }
            found.append((key, bytes))
        }
        for literal in options.list("from-literal") {
            guard let equals = literal.firstIndex(of: "="), equals != literal.startIndex else {
                throw CommandError("invalid literal source \(literal), expected key=value")
            }
            var value = String(literal[literal.index(after: equals)...])
            if value.count > 1, let mark = value.first, mark == "\"" || mark == "'", value.last == mark {
                value = String(value.dropFirst().dropLast())
            }
            try add(String(literal[..<equals]), Array(value.utf8))
        }
        for source in options.list("from-file") {
            let parts = source.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            let path = parts.last ?? ""
            if parts.count == 1, Files.isDirectory(path) {
                for name in try LocalFiles.names(in: path).sorted() where !Files.isDirectory(Path.join(path, name)) {
                    try add(name, try LocalFiles.read(Path.join(path, name)))
                }
            } else {
                try add(parts.count == 2 ? parts[0] : Path.last(path), try LocalFiles.read(path))
            }
        }
        for path in options.list("from-env-file") {
            for line in String(decoding: try LocalFiles.read(path), as: UTF8.self).split(whereSeparator: \.isNewline) {
                let line = String(line.drop { $0.isWhitespace })
                if line.isEmpty || line.hasPrefix("#") { continue }
                let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
                try add(parts[0], Array((parts.count == 2 ? parts[1] : Terminal.environment(parts[0]) ?? "").utf8))
            }
        }
        return found.sorted { $0.key < $1.key }
    }

    private static func required(_ options: Options, _ name: String, _ text: String? = nil) throws -> String {
        let value = options.string(name)
        guard !value.isEmpty else { throw CommandError(text ?? "required flag(s) \(GoText.quoted(name)) not set") }
        return value
    }

    /// `a=b,c=d`
    static func pairs(_ text: String) throws -> JSON {
        var object = JSONObject()
        for part in text.split(separator: ",") {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard pair.count == 2 else { throw CommandError("unexpected label format: \(part), expected key=value") }
            object[pair[0]] = .string(pair[1])
        }
        return .object(object)
    }

    private static func container(_ session: Session, name: String, image: String) throws -> JSON {
        var container: JSON = ["image": .string(image), "name": .string(name), "resources": [:]]
        if let dash = session.options.dash {
            let command = Array(session.arguments[dash...])
            if !command.isEmpty { container["command"] = .strings(command) }
        }
        return container
    }

    static func imageName(_ image: String) -> String {
        var name = image.split(separator: "/").last.map(String.init) ?? image
        name = String(name.prefix { $0 != ":" && $0 != "@" })
        return name.map { $0.isLetter || $0.isNumber ? String($0) : "-" }.joined().lowercased()
    }

    /// `80:8080`, `5678`
    private static func ports(_ options: Options, _ protocols: [(flag: String, name: String)]) throws -> [JSON] {
        var ports: [JSON] = []
        for (flag, name) in protocols {
            for text in options.list(flag) {
                let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
                guard parts.count < 3, let port = Int64(parts[0]), (1...65535).contains(port) else {
                    throw CommandError("invalid port format: \(text)")
                }
                let target: JSON = parts.count == 2 ? Int64(parts[1]).map(JSON.int) ?? .string(parts[1]) : .int(port)
                ports.append([
                    "name": .string(text.replacing(":", "-")), "port": .int(port), "protocol": .string(name),
                    "targetPort": target,
                ])
            }
        }
        return ports
    }

    private static func service(_ type: String, _ usage: String, _ summary: String, _ flags: String = "") -> Command {
        generator(
            "service " + type, usage, summary,
            "|tcp|l||Port pairs can be specified as '<port>:<targetPort>'.\n" + flags,
            kind: ("v1", "Service")
        ) { session, name, json in
            var spec: JSON = [:]
            let ports = try ports(session.options, [("tcp", "TCP")])
            if !ports.isEmpty { spec["ports"] = .array(ports) }
            json["metadata"]["labels"] = ["app": .string(name)]
            spec["selector"] = ["app": .string(name)]
            switch type {
            case "clusterip":
                spec["type"] = "ClusterIP"
                if let address = session.options.given("clusterip") { spec["clusterIP"] = .string(address) }
                if ports.isEmpty, session.options.given("clusterip") != "None" {
                    throw CommandError("at least one tcp port specifier must be provided")
                }
            case "nodeport":
                spec["type"] = "NodePort"
                if let number = session.options.given("node-port").flatMap({ Int64($0) }), number != 0 {
                    spec["ports"] = .array(
                        ports.map { port in
                            var port = port
                            port["nodePort"] = .int(number)
                            return port
                        })
                }
            case "loadbalancer": spec["type"] = "LoadBalancer"
            default:
                spec["type"] = "ExternalName"
                spec["externalName"] = .string(try required(session.options, "external-name"))
            }
            json["spec"] = spec
            json["status"] = ["loadBalancer": [:]]
        }
    }

    private static func rules(_ session: Session) throws -> [JSON] {
        let options = session.options
        let verbs = options.list("verb").reduce(into: [String]()) { if !$0.contains($1) { $0.append($1) } }
        guard !verbs.isEmpty else { throw CommandError("at least one verb must be specified") }
        var groups: [(group: String, resources: [String])] = []
        for text in options.list("resource") {
            let parts = text.split(separator: "/", maxSplits: 1).map(String.init)
            var (group, plural) = ("", parts[0])
            if parts[0] == "*" {
                group = "*"
            } else {
                let resource = try session.catalog.resource(parts[0])
                (group, plural) = (resource.group, resource.plural)
            }
            let name = parts.count == 2 ? "\(plural)/\(parts[1])" : plural
            if let i = groups.firstIndex(where: { $0.group == group }) {
                groups[i].resources.append(name)
            } else {
                groups.append((group, [name]))
            }
        }
        var rules: [JSON] = groups.sorted { $0.group < $1.group }.map { entry in
            var rule: JSON = [
                "apiGroups": [.string(entry.group)], "resources": .strings(entry.resources), "verbs": .strings(verbs),
            ]
            if options.isSet("resource-name") { rule["resourceNames"] = .strings(options.list("resource-name")) }
            return rule
        }
        if options.isSet("non-resource-url") {
            rules.append(["nonResourceURLs": .strings(options.list("non-resource-url")), "verbs": .strings(verbs)])
        }
        guard !rules.isEmpty else {
            throw CommandError("one of --resource, --non-resource-url or --aggregation-rule must be specified")
        }
        return rules
    }

    private static func subjects(_ session: Session) throws -> JSON {
        var subjects: [JSON] = []
        for (flag, kind) in [("user", "User"), ("group", "Group")] {
            for name in session.options.list(flag) {
                subjects.append(["apiGroup": "rbac.authorization.k8s.io", "kind": .string(kind), "name": .string(name)])
            }
        }
        for account in session.options.list("serviceaccount") {
            let parts = account.split(separator: ":").map(String.init)
            guard parts.count == 2 else {
                throw CommandError("serviceaccount must be <namespace>:<name>")
            }
            subjects.append(["kind": "ServiceAccount", "name": .string(parts[1]), "namespace": .string(parts[0])])
        }
        return .array(subjects)
    }

    private static let rbac = "rbac.authorization.k8s.io"
    private static let ruleFlags = """
        |verb|l||Verb that applies to the resources contained in the rule
        |resource|l||Resource that the rule applies to
        |resource-name|l||Resource in the white list that the rule applies to
        """
    private static let bindingFlags = """
        |user|a||Usernames to bind to the role.
        |group|a||Groups to bind to the role.
        |serviceaccount|a||Service accounts to bind to the role, in the format <namespace>:<name>.
        """
    private static let dataFlags = """
        |from-literal|a||Specify a key and literal value to insert (i.e. mykey=somevalue)
        |from-file|l||Key files, directories, or key=file
        |from-env-file|l||Specify the path to a file to read lines of key=val pairs
        |append-hash|b||Not supported
        """

    // MARK: - The table

    static let all: [Command] = [
        Command(
            "create", "-f FILENAME [options]", "Create a resource from a file or from stdin",
            common + Flags.files + Flags.selector + "|edit|b||Not supported\n|raw|s||Raw URI to POST to the server.\n",
            files),
        generator("namespace", "NAME", "Create a namespace with the specified name", kind: ("v1", "Namespace")) {
            _, _, json in
            json["spec"] = [:]
            json["status"] = [:]
        },
        generator(
            "configmap", "NAME [--from-file=[key=]source] [--from-literal=key1=value1]",
            "Create a config map from a local file, directory or literal value", dataFlags, kind: ("v1", "ConfigMap")
        ) { session, _, json in
            for (key, bytes) in try data(session.options) {
                if let text = String(validating: bytes, as: UTF8.self) {
                    json["data"][key] = .string(text)
                } else {
                    json["binaryData"][key] = .string(Base64.encode(bytes))
                }
            }
        },
        Command("create secret", "(docker-registry | generic | tls)", "Create a secret using a specified subcommand") {
            _ in
            throw CommandError("must specify one of: docker-registry, generic, tls")
        },
        generator(
            "secret generic", "NAME [--type=string] [--from-file=[key=]source] [--from-literal=key1=value1]",
            "Create a secret from a local file, directory, or literal value",
            dataFlags + "\n|type|s||The type of secret to create",
            kind: ("v1", "Secret")
        ) { session, _, json in
            for (key, bytes) in try data(session.options) { json["data"][key] = .string(Base64.encode(bytes)) }
            if let type = session.options.given("type") { json["type"] = .string(type) }
        },
        generator(
            "secret tls", "NAME --cert=path/to/cert/file --key=path/to/key/file", "Create a TLS secret",
            "|cert|s||Path to PEM encoded public key certificate.\n|key|s||Path to private key associated with given certificate.",
            kind: ("v1", "Secret")
        ) { session, _, json in
            for (key, flag) in [("tls.crt", "cert"), ("tls.key", "key")] {
                let path = try required(session.options, flag, "\(flag) must be specified")
                json["data"][key] = .string(Base64.encode(try Files.read(path, limit: 1 << 20)))
            }
            json["type"] = "kubernetes.io/tls"
        },
        generator(
            "secret docker-registry",
            "NAME --docker-username=user --docker-password=password --docker-email=email [--docker-server=string]",
            "Create a secret for use with a Docker registry",
            """
            |docker-username|s||Username for Docker registry authentication
            |docker-password|s||Password for Docker registry authentication
            |docker-email|s||Email for Docker registry
            |docker-server|s|https://index.docker.io/v1/|Server location for Docker registry
            |from-file|l||Not supported
            """, kind: ("v1", "Secret")
        ) { session, _, json in
            let user = try required(session.options, "docker-username")
            let password = try required(session.options, "docker-password")
            var entry: JSON = ["username": .string(user), "password": .string(password)]
            if let email = session.options.given("docker-email"), !email.isEmpty { entry["email"] = .string(email) }
            entry["auth"] = .string(Base64.encode(Array("\(user):\(password)".utf8)))
            var auths: JSON = [:]
            auths[session.options.string("docker-server")] = entry
            let config: JSON = ["auths": auths]
            json["data"][".dockerconfigjson"] = .string(Base64.encode(config.encode()))
            json["type"] = "kubernetes.io/dockerconfigjson"
        },
        generator(
            "deployment", "NAME --image=image -- [COMMAND] [args...]", "Create a deployment with the specified name",
            "|image|a||Image names to run.\nr|replicas|s|1|Number of replicas to create.\n|port|s|-1|The containerPort that this deployment exposes.",
            kind: ("apps/v1", "Deployment")
        ) { session, name, json in
            let images = session.options.list("image")
            guard !images.isEmpty else { throw CommandError("required flag(s) \"image\" not set") }
            let labels: JSON = ["app": .string(name)]
            json["metadata"]["labels"] = labels
            var containers = try images.map { try container(session, name: imageName($0), image: $0) }
            let port = try session.options.int("port")
            if port >= 0 { containers[0]["ports"] = [["containerPort": .int(port)]] }
            json["spec"] = [
                "replicas": .int(try session.options.int("replicas")), "selector": ["matchLabels": labels],
                "strategy": [:],
                "template": ["metadata": ["labels": labels], "spec": ["containers": .array(containers)]],
            ]
            json["status"] = [:]
        },
        generator(
            "job", "NAME --image=image [--from=cronjob/name] -- [COMMAND] [args...]",
            "Create a job with the specified name",
            "|image|s||Image name to run.\n|from|s||The name of the resource to create a Job from (only cronjob is supported).",
            kind: ("batch/v1", "Job")
        ) { session, name, json in
            if let from = session.options.given("from") {
                let parts = from.split(separator: "/").map(String.init)
                guard parts.count == 2, try session.catalog.resource(parts[0]).plural == "cronjobs" else {
                    throw CommandError("from must be an existing cronjob")
                }
                let cronJob = try session.api.get(
                    try session.catalog.resource("cronjobs").path(try session.namespace, parts[1]))
                let template = cronJob["spec"]["jobTemplate"]
                json["spec"] = template["spec"]
                json["metadata"]["annotations"] = template["metadata"]["annotations"]
                json["metadata"]["annotations"]["cronjob.kubernetes.io/instantiate"] = "manual"
                json["metadata"]["labels"] = template["metadata"]["labels"]
                json["metadata"]["ownerReferences"] = [
                    [
                        "apiVersion": "batch/v1", "kind": "CronJob", "name": cronJob["metadata"]["name"],
                        "uid": cronJob["metadata"]["uid"], "controller": true,
                    ]
                ]
                return
            }
            guard let image = session.options.given("image") else {
                throw CommandError("either --image or --from must be specified")
            }
            json["spec"] = [
                "template": [
                    "metadata": [:],
                    "spec": [
                        "containers": [try container(session, name: name, image: image)], "restartPolicy": "Never",
                    ],
                ]
            ]
            json["status"] = [:]
        },
        generator(
            "cronjob", "NAME --image=image --schedule='0/5 * * * ?' -- [COMMAND] [args...]",
            "Create a cron job with the specified name",
            "|image|s||Image name to run.\n|schedule|s||A schedule in the Cron format the job should be run with.\n|restart|s|OnFailure|job's restart policy. supported values: OnFailure, Never",
            kind: ("batch/v1", "CronJob")
        ) { session, name, json in
            json["spec"] = [
                "jobTemplate": [
                    "metadata": ["name": .string(name)],
                    "spec": [
                        "template": [
                            "metadata": [:],
                            "spec": [
                                "containers": [
                                    try container(session, name: name, image: try required(session.options, "image"))
                                ], "restartPolicy": .string(session.options.string("restart")),
                            ],
                        ]
                    ],
                ], "schedule": .string(try required(session.options, "schedule")),
            ]
            json["status"] = [:]
        },
        Command(
            "create service", "(clusterip | externalname | loadbalancer | nodeport)",
            "Create a service using a specified subcommand"
        ) { _ in
            throw CommandError("must specify one of: clusterip, externalname, loadbalancer, nodeport")
        },
        service(
            "clusterip", "NAME [--tcp=<port>:<targetPort>]", "Create a ClusterIP service",
            "|clusterip|s||Assign your own ClusterIP or set to 'None' for a 'headless' service"),
        service(
            "nodeport", "NAME [--tcp=port:targetPort]", "Create a NodePort service",
            "|node-port|s|0|Port used to expose the service on each node in a cluster."),
        service("loadbalancer", "NAME [--tcp=port:targetPort]", "Create a LoadBalancer service"),
        service(
            "externalname", "NAME --external-name external.name", "Create an ExternalName service",
            "|external-name|s||External name of service"),
        generator(
            "serviceaccount", "NAME", "Create a service account with the specified name", kind: ("v1", "ServiceAccount")
        ) { _, _, _ in },
        generator(
            "role", "NAME --verb=verb --resource=resource.group/subresource [--resource-name=resourcename]",
            "Create a role with single rule", ruleFlags, kind: (rbac + "/v1", "Role")
        ) { session, _, json in json["rules"] = .array(try rules(session)) },
        generator(
            "clusterrole", "NAME --verb=verb --resource=resource.group [--resource-name=resourcename]",
            "Create a cluster role",
            ruleFlags
                + "\n|non-resource-url|l||A partial url that user should have access to.\n|aggregation-rule|s||An aggregation label selector for combining ClusterRoles.",
            kind: (rbac + "/v1", "ClusterRole")
        ) { session, _, json in
            if let rule = session.options.given("aggregation-rule") {
                json["aggregationRule"] = ["clusterRoleSelectors": [["matchLabels": try pairs(rule)]]]
                json["rules"] = []
            } else {
                json["rules"] = .array(try rules(session))
            }
        },
        generator(
            "rolebinding",
            "NAME --clusterrole=NAME|--role=NAME [--user=username] [--group=groupname] [--serviceaccount=namespace:serviceaccountname]",
            "Create a role binding for a particular role or cluster role",
            bindingFlags
                + "\n|role|s||Role this RoleBinding should reference\n|clusterrole|s||ClusterRole this RoleBinding should reference",
            kind: (rbac + "/v1", "RoleBinding")
        ) { session, _, json in
            let (role, cluster) = (session.options.given("role"), session.options.given("clusterrole"))
            guard let name = role ?? cluster, role == nil || cluster == nil else {
                throw CommandError("exactly one of clusterrole or role must be specified")
            }
            json["roleRef"] = [
                "apiGroup": .string(rbac), "kind": role == nil ? "ClusterRole" : "Role", "name": .string(name),
            ]
            json["subjects"] = try subjects(session)
        },
        generator(
            "clusterrolebinding",
            "NAME --clusterrole=NAME [--user=username] [--group=groupname] [--serviceaccount=namespace:serviceaccountname]",
            "Create a cluster role binding for a particular cluster role",
            bindingFlags + "\n|clusterrole|s||ClusterRole this ClusterRoleBinding should reference",
            kind: (rbac + "/v1", "ClusterRoleBinding")
        ) { session, _, json in
            json["roleRef"] = [
                "apiGroup": .string(rbac), "kind": "ClusterRole",
                "name": .string(try required(session.options, "clusterrole")),
            ]
            json["subjects"] = try subjects(session)
        },
        generator(
            "quota", "NAME [--hard=key1=value1,key2=value2] [--scopes=Scope1,Scope2]",
            "Create a quota with the specified name",
            "|hard|s||A comma-delimited set of resource=quantity pairs that define a hard limit.\n|scopes|s||A comma-delimited set of quota scopes.",
            kind: ("v1", "ResourceQuota")
        ) { session, _, json in
            json["spec"] = [:]
            if let hard = session.options.given("hard") { json["spec"]["hard"] = try pairs(hard) }
            if let scopes = session.options.given("scopes") {
                json["spec"]["scopes"] = .strings(scopes.split(separator: ",").map(String.init))
            }
            json["status"] = [:]
        },
        generator(
            "poddisruptionbudget", "NAME --selector=SELECTOR --min-available=N",
            "Create a pod disruption budget with the specified name",
            "|min-available|s||The minimum number or percentage of available pods this budget requires.\n|max-unavailable|s||The maximum number or percentage of unavailable pods this budget requires.\n|selector|s||A label selector to use for this budget.",
            kind: ("policy/v1", "PodDisruptionBudget")
        ) { session, _, json in
            var spec: JSON = ["selector": ["matchLabels": try pairs(try required(session.options, "selector"))]]
            let (least, most) = (session.options.given("min-available"), session.options.given("max-unavailable"))
            guard least != nil || most != nil else {
                throw CommandError("one of min-available or max-unavailable must be specified")
            }
            guard least == nil || most == nil else {
                throw CommandError("min-available and max-unavailable cannot be both specified")
            }
            if let least { spec["minAvailable"] = Int64(least).map(JSON.int) ?? .string(least) }
            if let most { spec["maxUnavailable"] = Int64(most).map(JSON.int) ?? .string(most) }
            json["spec"] = spec
            json["status"] = ["currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0]
        },
        generator(
            "priorityclass", "NAME --value=VALUE --global-default=BOOL",
            "Create a priority class with the specified name",
            "|value|s|0|the value of this priority class.\n|global-default|b||specifies whether this PriorityClass should be considered as the default priority.\n|description|s||description is an arbitrary string that usually provides guidelines.\n|preemption-policy|s|PreemptLowerPriority|preemption-policy is the policy for preempting pods with lower priority.",
            kind: ("scheduling.k8s.io/v1", "PriorityClass")
        ) { session, _, json in
            json["value"] = .int(try session.options.int("value"))
            if session.options.bool("global-default") { json["globalDefault"] = true }
            if let text = session.options.given("description") { json["description"] = .string(text) }
            json["preemptionPolicy"] = .string(session.options.string("preemption-policy"))
        },
        generator(
            "ingress", "NAME --rule=host/path=service:port[,tls[=secret]]", "Create an ingress with the specified name",
            "|rule|a||Rule in format host/path=service:port[,tls=secretname].\n|class|s||Ingress Class to be used\n|annotation|a||Annotation to insert in the ingress object, in the format annotation=value\n|default-backend|s||Default service for backend, in format of svcname:port",
            kind: ("networking.k8s.io/v1", "Ingress"), ingress),
        Command(
            "create token", "SERVICE_ACCOUNT_NAME", "Request a service account token",
            "|duration|s|0s|Requested lifetime of the issued token.\n|audience|a||Audience of the requested token.\n|bound-object-kind|s||Kind of an object to bind the token to.\n|bound-object-name|s||Name of an object to bind the token to.\n|bound-object-uid|s||UID of an object to bind the token to.\n"
                + Flags.output, token),
    ]

    private static func ingress(_ session: Session, _ name: String, _ json: inout JSON) throws {
        func backend(_ text: String) throws -> JSON {
            let parts = text.split(separator: ":").map(String.init)
            guard parts.count == 2 else {
                throw CommandError("rule \(text) is invalid and should be in format host/path=svcname:svcport")
            }
            return [
                "service": [
                    "name": .string(parts[0]),
                    "port": Int64(parts[1]).map { ["number": .int($0)] } ?? ["name": .string(parts[1])],
                ]
            ]
        }
        var spec: JSON = [:]
        if let text = session.options.given("class") { spec["ingressClassName"] = .string(text) }
        if let text = session.options.given("default-backend") { spec["defaultBackend"] = try backend(text) }
        var hosts: [(host: String, paths: [JSON])] = []
        var tls: [(secret: String, hosts: [String])] = []
        for rule in session.options.list("rule") {
            let pieces = rule.split(separator: ",", maxSplits: 1).map(String.init)
            let pair = pieces[0].split(separator: "=", maxSplits: 1).map(String.init)
            guard pair.count == 2 else {
                throw CommandError(
                    "rule \(rule) is invalid and should be in format host/path=svcname:svcport[,tls[=secret]]")
            }
            let slash = pair[0].firstIndex(of: "/") ?? pair[0].endIndex
            let host = String(pair[0][..<slash])
            var path = slash < pair[0].endIndex ? String(pair[0][slash...]) : "/"
            let isPrefix = path.hasSuffix("*")
            if isPrefix { path = String(path.dropLast()) }
            let entry: JSON = [
                "backend": try backend(pair[1]), "path": .string(path), "pathType": isPrefix ? "Prefix" : "Exact",
            ]
            if let i = hosts.firstIndex(where: { $0.host == host }) {
                hosts[i].paths.append(entry)
            } else {
                hosts.append((host, [entry]))
            }
            if pieces.count == 2 {
                let secret = pieces[1].split(separator: "=", maxSplits: 1).dropFirst().first.map(String.init) ?? ""
                if let i = tls.firstIndex(where: { $0.secret == secret }) {
                    tls[i].hosts.append(host)
                } else {
                    tls.append((secret, [host]))
                }
            }
        }
        if !hosts.isEmpty {
            spec["rules"] = .array(
                hosts.map { host, paths in
                    var rule: JSON = ["http": ["paths": .array(paths)]]
                    if !host.isEmpty { rule["host"] = .string(host) }
                    return rule
                })
        } else if spec["defaultBackend"].isNull {
            throw CommandError(
                "not enough information provided: every ingress has to either specify a default-backend (which catches all traffic) or a list of rules (which catch specific paths)"
            )
        }
        if !tls.isEmpty {
            spec["tls"] = .array(
                tls.map { secret, hosts in
                    var entry: JSON = [:]
                    let named = hosts.filter { !$0.isEmpty }
                    if !named.isEmpty { entry["hosts"] = .strings(named) }
                    if !secret.isEmpty { entry["secretName"] = .string(secret) }
                    return entry
                })
        }
        for annotation in session.options.list("annotation") {
            let pair = annotation.split(separator: "=", maxSplits: 1).map(String.init)
            json["metadata"]["annotations"][pair[0]] = .string(pair.count == 2 ? pair[1] : "")
        }
        json["spec"] = spec
        json["status"] = ["loadBalancer": [:]]
    }

    private static func token(_ session: Session) throws {
        guard session.arguments.count == 1 else {
            throw CommandError.usage("exactly one NAME is required, got \(session.arguments.count)", session.command)
        }
        var spec: JSON = [:]
        let seconds = try session.options.seconds("duration")
        if seconds > 0 { spec["expirationSeconds"] = .int(Int64(seconds)) }
        if session.options.isSet("audience") { spec["audiences"] = .strings(session.options.list("audience")) }
        if let kind = session.options.given("bound-object-kind") {
            var object: JSON = [
                "kind": .string(kind), "name": .string(try required(session.options, "bound-object-name")),
            ]
            object["apiVersion"] = "v1"
            if let uid = session.options.given("bound-object-uid") { object["uid"] = .string(uid) }
            spec["boundObjectRef"] = object
        }
        let path = "/api/v1/namespaces/\(try session.namespace)/serviceaccounts/\(session.arguments[0])/token"
        var answer: JSON
        do {
            answer = try session.api.call(
                "POST", path,
                body: ["kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": [:], "spec": spec])
        } catch let error as APIError {
            throw CommandError(
                error.isNotFound
                    ? "failed to create token: \(error.message)" : "failed to create token: \(error.message)")
        }
        if session.options.isSet("output") {
            answer["kind"] = "TokenRequest"
            try session.printer.print(answer)
            try session.printer.finish()
        } else {
            guard let token = answer["status"]["token"].string, !token.isEmpty else {
                throw CommandError("failed to create token: no token in server response")
            }
            Terminal.line(token)
        }
    }

    // MARK: - Files

    private static func files(_ session: Session) throws {
        if let raw = session.options.given("raw") {
            let documents = try session.documents()
            guard documents.count == 1 else { throw CommandError("--raw can only use a single local file or stdin") }
            Terminal.write(try session.api.raw("POST", raw, body: documents[0].object.encode()), to: STDOUT_FILENO)
            return
        }
        if session.options.bool("edit") {
            throw CommandError("--edit is not supported by this kubectl: create, then use kubectl edit")
        }
        if !session.options.isSet("filename"), !session.options.isSet("kustomize") {
            if let word = session.arguments.first { throw CommandError.usage("Unexpected args: [\(word)]", "create") }
            throw CommandError("must specify one of -f and -k")
        }
        var errors = ErrorList()
        let query = try session.writeQuery(manager: "kubectl-create", validate: true)
        for document in try session.manifests() {
            errors.collect {
                var object = document.object
                if session.options.bool("save-config") { object = ApplyCommands.annotated(object) }
                if try session.dryRun() != .client {
                    do {
                        object = try session.api.call(
                            "POST", document.resource.path(document.namespace), query: query, body: object)
                    } catch { throw ErrorText.when("creating", document.source, error) }
                }
                try session.report(object, document.resource, "created")
            }
        }
        if session.options.isSet("output") { try session.printer.finish() }
        try errors.throwIfAny()
    }
}

extension String {
    func replacing(_ a: Character, _ b: Character) -> String { String(map { $0 == a ? b : $0 }) }
}
