import Codecs
import KubeAPI

/// What the words of a command line mean: `pods`, `pods a b`, `pod/a svc/b`, `deploy,rs -l app=x`, `all`, or files.
extension Session {
    /// A resource of which all (that a selector picks) or some by name are meant.
    struct Target {
        var resource: Catalog.Resource
        /// Empty: all.
        var names: [String]
    }

    var isSelecting: Bool {
        options.isSet("selector") || options.isSet("field-selector") || options.bool("all")
    }

    func targets(_ words: [String]) throws -> [Target] {
        guard let first = words.first else { return [] }
        if words.contains(where: { $0.utf8.contains(UInt8(ascii: "/")) }) {
            var targets: [Target] = []
            for word in words {
                let parts = word.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
                if parts.count == 1 {
                    throw CommandError(
                        "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'kubectl get resource/<resource_name>' instead of 'kubectl get resource resource/<resource_name>'"
                    )
                }
                guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else {
                    throw CommandError(
                        parts.count == 2
                            ? "arguments in resource/name form must have a single resource and name"
                            : "arguments in resource/name form may not have more than one slash")
                }
                for type in parts[0].split(separator: ",") {
                    targets.append(Target(resource: try catalog.resource(String(type)), names: [parts[1]]))
                }
            }
            return targets
        }
        let names = Array(words.dropFirst())
        var targets: [Target] = []
        for type in first.split(separator: ",", omittingEmptySubsequences: false).map(String.init) {
            let members = try catalog.find(type) == nil ? catalog.category(type) : []
            if members.isEmpty {
                targets.append(Target(resource: try catalog.resource(type), names: names))
            } else {
                targets += members.filter { $0.verbs.contains("list") || !names.isEmpty }.map {
                    Target(resource: $0, names: names)
                }
            }
        }
        if names.count > 0, options.bool("all-namespaces") {
            throw CommandError("a resource cannot be retrieved by name across all namespaces")
        }
        if names.count > 0, isSelecting, options.isSet("selector") || options.isSet("field-selector") {
            throw CommandError("name cannot be provided when a selector is specified")
        }
        return targets
    }

    /// The namespace of requests about a resource; nil: all.
    func namespace(for resource: Catalog.Resource) throws -> String? {
        guard resource.namespaced, !options.bool("all-namespaces") else { return nil }
        return try namespace
    }

    func listQuery() -> [(String, String)] {
        var query: [(String, String)] = []
        if let labels = options.given("selector"), !labels.isEmpty { query.append(("labelSelector", labels)) }
        if let fields = options.given("field-selector"), !fields.isEmpty { query.append(("fieldSelector", fields)) }
        return query
    }

    /// All items of a list, page by page; the answers have `metadata` of the last page.
    func pages(
        _ resource: Catalog.Resource, query: [(String, String)], accept: String = Connection.json
    ) throws -> [JSON] {
        var pages: [JSON] = []
        var token = ""
        let size = options.given("chunk-size") ?? "500"
        repeat {
            var query = query
            if size != "0" { query.append(("limit", size)) }
            if !token.isEmpty { query.append(("continue", token)) }
            let page = try api.call("GET", resource.path(try namespace(for: resource)), query: query, accept: accept)
            pages.append(page)
            token = page["metadata"]["continue"].string ?? ""
        } while !token.isEmpty
        return pages
    }

    /// An object with what it is of.
    struct Found {
        var resource: Catalog.Resource
        var object: JSON
        /// The file it came from; empty: from the server.
        var source = ""
        var name: String { object["metadata"]["name"].string ?? "" }
        var namespace: String { object["metadata"]["namespace"].string ?? "" }
        var path: String { resource.path(namespace, name) }
    }

    /// The objects that the words and flags mean, read from the server.
    func find(_ words: [String], errors: inout ErrorList) throws -> [Found] {
        var found: [Found] = []
        if options.isSet("filename") || options.isSet("kustomize") {
            for document in try manifests() {
                errors.collect {
                    let object = try api.get(document.path)
                    found.append(Found(resource: document.resource, object: object, source: document.source))
                }
            }
            return found
        }
        for target in try targets(words) {
            if target.names.isEmpty {
                guard isSelecting || ["get", "describe", "wait"].contains(command) else {
                    throw CommandError("resource(s) were provided, but no name was specified")
                }
                errors.collect {
                    for page in try pages(target.resource, query: listQuery()) {
                        for var item in page["items"].elements {
                            // Members of lists do not say what they are.
                            item["apiVersion"] = .string(target.resource.apiVersion)
                            item["kind"] = .string(target.resource.kind)
                            found.append(Found(resource: target.resource, object: item))
                        }
                    }
                }
            }
            for name in target.names {
                errors.collect {
                    let object = try api.get(target.resource.path(try namespace, name))
                    found.append(Found(resource: target.resource, object: object))
                }
            }
        }
        return found
    }

    /// As `find`, where something must have been found.
    func findAll(_ words: [String]) throws -> [Found] {
        var errors = ErrorList()
        let found = try find(words, errors: &errors)
        try errors.throwIfAny()
        return found
    }
}
