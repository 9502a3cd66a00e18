import Codecs
import KubeAPI

/// What the server offers, asked for anew by every command: two small requests, and never out of date.
struct Catalog: Sendable {
    struct Resource: Sendable {
        var group: String
        var version: String
        var plural: String
        var singular: String
        var kind: String
        var namespaced: Bool
        var shortNames: [String]
        var categories: [String]
        var verbs: [String]
        var subresources: [String]

        var apiVersion: String { group.isEmpty ? version : "\(group)/\(version)" }
        /// `deployments.apps`
        var qualified: String { group.isEmpty ? plural : "\(plural).\(group)" }
        /// `deployment.apps`, as success is told and `-o name` prints.
        var singularName: String { group.isEmpty ? kind.lowercased() : "\(kind.lowercased()).\(group)" }
        var root: String { group.isEmpty ? "/api/\(version)" : "/apis/\(group)/\(version)" }

        func path(_ namespace: String?, _ name: String? = nil, _ subresource: String? = nil) -> String {
            var path = root
            if namespaced, let namespace, !namespace.isEmpty { path += "/namespaces/" + Self.escaped(namespace) }
            path += "/" + plural
            if let name { path += "/" + Self.escaped(name) }
            if let subresource, !subresource.isEmpty { path += "/" + subresource }
            return path
        }

        static func escaped(_ text: String) -> String {
            var out = ""
            for byte in text.utf8 {
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E, 0x3A, 0x40:
                    out.unicodeScalars.append(Unicode.Scalar(byte))
                default:
                    let hex = String(byte, radix: 16, uppercase: true)
                    out += "%" + (hex.utf8.count == 1 ? "0" + hex : hex)
                }
            }
            return out
        }
    }

    /// In the order of preference: the core group first, of each group its preferred version first.
    private(set) var resources: [Resource] = []
    /// `apps/v1`
    private(set) var groupVersions: [String] = []

    init(_ connection: Connection) throws {
        let accept =
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
        for path in ["/api", "/apis"] {
            let answer = try connection.call("GET", path, accept: accept)
            if answer["kind"].string == "APIGroupDiscoveryList" {
                for group in answer["items"].elements { add(group) }
            } else {
                try addUnaggregated(answer, connection)
            }
        }
    }

    init(resources: [Resource]) { self.resources = resources }

    private mutating func add(_ item: JSON) {
        let group = item["metadata"]["name"].string ?? ""
        for version in item["versions"].elements {
            let name = version["version"].string ?? ""
            groupVersions.append(group.isEmpty ? name : "\(group)/\(name)")
            for entry in version["resources"].elements {
                resources.append(
                    Resource(
                        group: group, version: name, plural: entry["resource"].string ?? "",
                        singular: entry["singularResource"].string ?? "",
                        kind: entry["responseKind"]["kind"].string ?? "",
                        namespaced: entry["scope"].string == "Namespaced",
                        shortNames: entry["shortNames"].texts, categories: entry["categories"].texts,
                        verbs: entry["verbs"].texts,
                        subresources: entry["subresources"].elements.compactMap { $0["subresource"].string }))
            }
        }
    }

    /// Servers that know no aggregated discovery.
    private mutating func addUnaggregated(_ answer: JSON, _ connection: Connection) throws {
        var found: [(group: String, version: String)] = answer["versions"].texts.map { ("", $0) }
        for group in answer["groups"].elements {
            let name = group["name"].string ?? ""
            let preferred = group["preferredVersion"]["version"].string ?? ""
            let versions = group["versions"].elements.compactMap { $0["version"].string }
            found += ([preferred] + versions.filter { $0 != preferred }).map { (name, $0) }
        }
        for (group, version) in found {
            groupVersions.append(group.isEmpty ? version : "\(group)/\(version)")
            let list = try connection.get(group.isEmpty ? "/api/\(version)" : "/apis/\(group)/\(version)")["resources"]
            for entry in list.elements {
                let name = entry["name"].string ?? ""
                guard !name.utf8.contains(UInt8(ascii: "/")) else { continue }
                resources.append(
                    Resource(
                        group: group, version: version, plural: name, singular: entry["singularName"].string ?? "",
                        kind: entry["kind"].string ?? "", namespaced: entry["namespaced"].bool ?? false,
                        shortNames: entry["shortNames"].texts, categories: entry["categories"].texts,
                        verbs: entry["verbs"].texts,
                        subresources: list.elements.compactMap { other in
                            guard let full = other["name"].string, full.hasPrefix(name + "/") else { return nil }
                            return String(full.dropFirst(name.count + 1))
                        }))
            }
        }
    }

    /// `pods`, `po`, `Pod`, `deployments.apps`, `deployments.v1.apps`
    func resource(_ text: String) throws -> Resource {
        if let found = find(text) { return found }
        let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        if parts.count == 2 {
            let rest = parts[1].split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
            if rest.count == 2, rest[0].hasPrefix("v"), rest[0].dropFirst().first?.isNumber == true {
                throw CommandError(
                    "the server doesn't have a resource type \(GoText.quoted(String(parts[0]))) in group \(GoText.quoted(String(rest[1]))) and version \(GoText.quoted(String(rest[0])))"
                )
            }
        }
        throw CommandError("the server doesn't have a resource type \(GoText.quoted(text))")
    }

    func find(_ text: String) -> Resource? {
        let word = text.lowercased()
        let parts = word.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let name = parts[0]
        var group: String?
        var version: String?
        if parts.count == 2 {
            group = parts[1]
            let rest = parts[1].split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            if groupVersions.contains(where: {
                $0 == (rest.count == 2 && !rest[1].isEmpty ? "\(rest[1])/\(rest[0])" : rest[0])
            }) {
                version = rest[0]
                group = rest.count == 2 ? rest[1] : ""
            }
        }
        func fits(_ resource: Resource) -> Bool {
            if let version, resource.version != version { return false }
            guard let group else { return true }
            return resource.group == group || (version == nil && resource.group.hasPrefix(group))
        }
        let candidates = resources.filter(fits)
        return candidates.first { $0.plural == name } ?? candidates.first { $0.singular == name && !name.isEmpty }
            ?? candidates.first { $0.shortNames.contains(name) }
    }

    func resource(apiVersion: String, kind: String) -> Resource? {
        resources.first { $0.apiVersion == apiVersion && $0.kind == kind }
    }

    /// The resources of a category such as `all`; empty for what is none.
    func category(_ name: String) -> [Resource] {
        var seen: Set<String> = []
        return resources.filter { $0.categories.contains(name) && seen.insert($0.qualified).inserted }
    }

    /// The preferred version of each.
    var preferred: [Resource] {
        var seen: Set<String> = []
        return resources.filter { seen.insert($0.qualified).inserted }
    }
}

extension JSON {
    var texts: [String] { elements.compactMap(\.string) }
    /// A string's own text, anything else as JSON; "" for null.
    var shown: String {
        switch self {
        case .null: ""
        case .string(let text): text
        default: text
        }
    }
    /// With members in the order of their names, at every depth: as Go encodes maps.
    var sorted: JSON {
        switch self {
        case .array(let list): return .array(list.map(\.sorted))
        case .object(let object):
            return .object(
                JSONObject(members: object.members.map { ($0.key, $0.value.sorted) }.sorted { $0.0 < $1.0 }))
        default: return self
        }
    }
    func at(_ path: String...) -> JSON { path.reduce(self) { $0[$1] } }
}
