import Codecs
import KubeAPI
import Linux

/// `get` and what else only reads.
enum ReadCommands {
    static let all: [Command] = [
        Command(
            "get",
            "[(-o|--output=)...] (TYPE[.VERSION][.GROUP] [NAME | -l label] | TYPE[.VERSION][.GROUP]/NAME ...) [flags] [options]",
            "Display one or many resources",
            Flags.output + Flags.files + Flags.selector + Flags.fields + Flags.allNamespaces + """
                w|watch|b||After listing/getting the requested object, watch for changes.
                |watch-only|b||Watch for changes to the requested object(s), without listing/getting first.
                |output-watch-events|b||Output watch event objects when --watch or --watch-only is used.
                |no-headers|b||When using the default or custom-column output format, don't print headers.
                |show-labels|b||When printing, show all labels as the last column.
                |show-kind|b||If present, list the resource type for the requested object(s).
                |sort-by|s||If non-empty, sort list types using this field specification.
                L|label-columns|l||Accepts a comma separated list of labels that are going to be presented as columns.
                |ignore-not-found|b||If set to true, suppresses NotFound error for specific objects that do not exist.
                |chunk-size|s|500|Return large lists in chunks rather than all at once. Pass 0 to disable.
                |server-print|b|true|Accepted; the server renders tables
                |raw|s||Raw URI to request from the server.
                |subresource|s||If specified, gets the subresource of the requested object.

                """
        ) { try GetCommand($0).run() },
        Command(
            "api-resources", "[flags]", "Print the supported API resources on the server",
            """
            |api-group|s||Limit to resources in the specified API group.
            |cached|b||Accepted
            |categories|l||Limit to resources that belong to the specified categories.
            |namespaced|b|true|If false, non-namespaced resources will be returned, otherwise returning namespaced resources by default.
            |no-headers|b||When using the default or custom-column output format, don't print headers.
            o|output|s||Output format. One of: (wide, name).
            |sort-by|s||If non-empty, sort list of resources using specified field. One of (name, kind).
            |verbs|l||Limit to resources that support the specified verbs.
            """, apiResources),
        Command("api-versions", "", "Print the supported API versions on the server, in the form of \"group/version\"")
        {
            for line in try $0.catalog.groupVersions.sorted() { Terminal.line(line) }
        },
        Command(
            "version", "[flags]", "Print the client and server version information",
            "|client|b||If true, shows client version only (no server required).\no|output|s||One of 'yaml' or 'json'.",
            version),
        Command("cluster-info", "[flags]", "Display cluster information", "", clusterInfo),
    ]

    private static func apiResources(_ session: Session) throws {
        let options = session.options
        let output = options.string("output")
        guard ["", "wide", "name"].contains(output) else {
            throw CommandError("--output \(output) is not available")
        }
        var resources = try session.catalog.preferred.filter { resource in
            if let group = options.given("api-group"), group != resource.group { return false }
            if options.isSet("namespaced"), resource.namespaced != options.bool("namespaced") { return false }
            if !options.list("categories").allSatisfy(resource.categories.contains) { return false }
            if !options.list("verbs").allSatisfy(resource.verbs.contains) { return false }
            return !resource.verbs.isEmpty
        }
        let byKind = options.string("sort-by") == "kind"
        resources.sort { a, b in
            if options.isSet("sort-by") {
                return byKind ? (a.kind, a.plural) < (b.kind, b.plural) : (a.plural, a.group) < (b.plural, b.group)
            }
            return (a.group, a.plural) < (b.group, b.plural)
        }
        if output == "name" {
            for resource in resources { Terminal.line(resource.qualified) }
            return
        }
        var rows: [[String]] = []
        let isWide = output == "wide"
        if !options.bool("no-headers") {
            rows.append(
                ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"] + (isWide ? ["VERBS", "CATEGORIES"] : []))
        }
        for resource in resources {
            rows.append(
                [
                    resource.plural, resource.shortNames.joined(separator: ","), resource.apiVersion,
                    "\(resource.namespaced)", resource.kind,
                ] + (isWide ? [resource.verbs.joined(separator: ","), resource.categories.joined(separator: ",")] : []))
        }
        Terminal.out(TabText.table(rows))
    }

    private static func version(_ session: Session) throws {
        let client: JSON = [
            "buildDate": "", "compiler": "swift", "gitCommit": "", "gitTreeState": "clean",
            "gitVersion": .string(Version.git),
            "major": .string(Version.major), "minor": .string(Version.minor),
        ]
        var all: JSON = ["clientVersion": client, "kustomizeVersion": "v0.0.0"]
        var failure: (any Error)?
        if !session.options.bool("client") {
            do { all["serverVersion"] = try session.api.get("/version") } catch { failure = error }
        }
        switch session.options.string("output") {
        case "":
            Terminal.line("Client Version: \(Version.git)\nKustomize Version: v0.0.0")
            if let server = all["serverVersion"]["gitVersion"].string { Terminal.line("Server Version: \(server)") }
        case "json": Terminal.line(all.sorted.encodePretty())
        case "yaml": Terminal.write(YAML.encode(all), to: STDOUT_FILENO)
        default: throw CommandError("--output must be 'yaml' or 'json'")
        }
        if let failure { throw failure }
    }

    private static func clusterInfo(_ session: Session) throws {
        let server = try session.api.server
        let base = "\(server)".hasSuffix("/") ? String("\(server)".dropLast()) : "\(server)"
        func line(_ name: String, _ url: String) {
            Terminal.line("\u{1B}[0;32m\(name)\u{1B}[0m is running at \u{1B}[0;33m\(url)\u{1B}[0m".plainUnlessTerminal)
        }
        line("Kubernetes control plane", base)
        let services = try session.api.get(
            "/api/v1/namespaces/\(try session.settings.namespaceIsGiven ? session.namespace : "kube-system")/services",
            query: [("labelSelector", "kubernetes.io/cluster-service=true")])
        for service in services["items"].elements {
            let name = service["metadata"]["name"].string ?? ""
            let ports = service["spec"]["ports"].elements
            var link = name
            if let port = ports.first {
                link = port["port"].int == 443 ? "https:\(name):" : name
                if let portName = port["name"].string, !portName.isEmpty {
                    link = (link.hasSuffix(":") ? link : name + ":") + portName
                }
            }
            let shown = service["metadata"]["labels"]["kubernetes.io/name"].string ?? name
            line(shown, "\(base)/api/v1/namespaces/kube-system/services/\(link)/proxy")
        }
        Terminal.line("\nTo further debug and diagnose cluster problems, use 'kubectl cluster-info dump'.")
    }
}

extension String {
    /// Without colours where nobody looks.
    var plainUnlessTerminal: String {
        if isatty(STDOUT_FILENO) == 1 { return self }
        var out = ""
        var inEscape = false
        for c in self {
            if c == "\u{1B}" {
                inEscape = true
            } else if inEscape {
                if c == "m" { inEscape = false }
            } else {
                out.append(c)
            }
        }
        return out
    }
}
