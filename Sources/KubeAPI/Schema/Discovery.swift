package import Codecs

/// The documents by which clients find out what the server has, made from the resource rows that are served.
/// Source: k8s.io/apimachinery/pkg/apis/meta/v1 (APIGroup, APIResourceList), k8s.io/api/apidiscovery/v2.
package struct Discovery: Sendable {
    private let rows: [ResourceInfo]

    package init(_ schema: Schema = .shared) { rows = schema.servedResources }

    /// The group versions, those of a group together, the preferred version first.
    package var groupVersions: [GroupVersion] {
        groups.flatMap { group in versions(of: group).map { GroupVersion(group, $0) } }
    }

    private var groups: [String] {
        var seen: Set<String> = []
        return rows.map(\.gvr.group).filter { seen.insert($0).inserted }
    }

    private func versions(of group: String) -> [String] {
        var seen: Set<String> = []
        return rows.filter { $0.gvr.group == group && seen.insert($0.gvr.version).inserted }.map(\.gvr.version)
            .sorted { VersionOrder.precedes($0, $1) }
    }

    private func rows(of gv: GroupVersion) -> [ResourceInfo] {
        rows.filter { $0.gvr.groupVersion == gv }.sorted { $0.gvr.resource < $1.gvr.resource }
    }

    /// `/api`. - Parameter serverAddress: host:port under which clients reach the server.
    package func apiVersions(serverAddress: String) -> JSON {
        [
            "kind": "APIVersions", "versions": .strings(versions(of: "")),
            "serverAddressByClientCIDRs": [["clientCIDR": "0.0.0.0/0", "serverAddress": .string(serverAddress)]],
        ]
    }

    /// `/apis`
    package func groupList() -> JSON {
        ["kind": "APIGroupList", "apiVersion": "v1", "groups": .array(groups.filter { !$0.isEmpty }.map(groupBody))]
    }

    /// `/apis/GROUP`
    package func group(_ name: String) -> JSON? {
        guard !name.isEmpty, groups.contains(name), case .object(let body) = groupBody(name) else { return nil }
        return .object(JSONObject(members: [("kind", "APIGroup"), ("apiVersion", "v1")] + body.members))
    }

    private func groupBody(_ name: String) -> JSON {
        let versions = versions(of: name).map { version -> JSON in
            ["groupVersion": .string("\(name)/\(version)"), "version": .string(version)]
        }
        return ["name": .string(name), "versions": .array(versions), "preferredVersion": versions.first ?? [:]]
    }

    /// `/api/v1` and `/apis/GROUP/VERSION`
    package func resourceList(_ gv: GroupVersion) -> JSON? {
        let rows = rows(of: gv)
        guard !rows.isEmpty else { return nil }
        var list: [JSON] = []
        for row in rows {
            var entry: JSONObject = [
                "name": .string(row.gvr.resource), "singularName": .string(row.singular),
                "namespaced": .bool(row.namespaced),
                "kind": .string(row.kind), "verbs": .strings(row.verbs.names),
            ]
            if !row.shortNames.isEmpty { entry.append("shortNames", .strings(row.shortNames)) }
            if !row.categories.isEmpty { entry.append("categories", .strings(row.categories)) }
            if !row.storageVersionHash.isEmpty { entry.append("storageVersionHash", .string(row.storageVersionHash)) }
            list.append(.object(entry))
            for sub in row.subresources.sorted(by: { $0.name < $1.name }) {
                var entry: JSONObject = [
                    "name": .string("\(row.gvr.resource)/\(sub.name)"), "singularName": "",
                    "namespaced": .bool(row.namespaced),
                ]
                if sub.kind.groupVersion != gv {
                    if !sub.kind.group.isEmpty { entry.append("group", .string(sub.kind.group)) }
                    entry.append("version", .string(sub.kind.version))
                }
                entry.append("kind", .string(sub.kind.kind))
                entry.append("verbs", .strings(sub.verbs.names))
                list.append(.object(entry))
            }
        }
        var document: JSONObject = ["kind": "APIResourceList"]
        // The legacy group's document has no version of its own.
        if !gv.group.isEmpty { document.append("apiVersion", "v1") }
        document.append("groupVersion", .string(gv.description))
        document.append("resources", .array(list))
        return .object(document)
    }

    /// `/api` and `/apis` for clients that accept `application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList`.
    /// - Parameter legacy: the core group (`/api`), or all others (`/apis`).
    package func aggregated(legacy: Bool) -> JSON {
        let items = groups.filter { $0.isEmpty == legacy }.map { group -> JSON in
            let versions = versions(of: group).map { version -> JSON in
                [
                    "version": .string(version),
                    "resources": .array(rows(of: GroupVersion(group, version)).map(aggregatedRow)),
                    "freshness": "Current",
                ]
            }
            return ["metadata": group.isEmpty ? [:] : ["name": .string(group)], "versions": .array(versions)]
        }
        return [
            "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": [:],
            "items": .array(items),
        ]
    }

    private func aggregatedRow(_ row: ResourceInfo) -> JSON {
        var entry: JSONObject = [
            "resource": .string(row.gvr.resource), "responseKind": Self.kind(row.gvk),
            "scope": row.namespaced ? "Namespaced" : "Cluster", "singularResource": .string(row.singular),
            "verbs": .strings(row.verbs.names),
        ]
        if !row.shortNames.isEmpty { entry.append("shortNames", .strings(row.shortNames)) }
        if !row.categories.isEmpty { entry.append("categories", .strings(row.categories)) }
        if !row.subresources.isEmpty {
            entry.append(
                "subresources",
                .array(
                    row.subresources.sorted { $0.name < $1.name }.map {
                        [
                            "subresource": .string($0.name), "responseKind": Self.kind($0.kind),
                            "verbs": .strings($0.verbs.names),
                        ]
                    }))
        }
        return .object(entry)
    }

    private static func kind(_ gvk: GroupVersionKind) -> JSON {
        ["group": .string(gvk.group), "version": .string(gvk.version), "kind": .string(gvk.kind)]
    }
}

/// The order of API versions by preference: v2, v1, v1beta2, v1beta1, v1alpha1, then names that are none.
/// Source: the CRD documentation, "version priority".
package enum VersionOrder {
    package static func precedes(_ a: String, _ b: String) -> Bool {
        switch (parse(a), parse(b)) {
        case (let x?, let y?):
            x.stability != y.stability ? x.stability > y.stability : (x.major, x.minor) > (y.major, y.minor)
        case (.some, nil): true
        case (nil, .some): false
        case (nil, nil): a < b
        }
    }

    private static func parse(_ text: String) -> (stability: Int, major: Int, minor: Int)? {
        guard text.first == "v" else { return nil }
        let digits = text.dropFirst().prefix { $0.isASCII && $0.isNumber }
        guard let major = Int(digits) else { return nil }
        let rest = text.dropFirst(1 + digits.count)
        if rest.isEmpty { return (2, major, 0) }
        for (word, stability) in [("beta", 1), ("alpha", 0)] where rest.hasPrefix(word) {
            return Int(rest.dropFirst(word.count)).map { (stability, major, $0) }
        }
        return nil
    }
}
