import Codecs
import ControlPlane
import KubeAPI
import Linux
import Testing
import Transport

/// What the server says it serves, against a table of what kube-apiserver serves: nothing is missing, nothing differs.
@Suite struct DiscoveryTests {
    struct Row: CustomTestStringConvertible, Sendable {
        let columns: [String]
        var groupVersion: String { columns[0] }
        var resource: String { columns[1] }
        var verbs: [String] {
            columns[7] == "*"
                ? ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
                : columns[7].split(separator: ",").map(String.init)
        }
        var path: String { (groupVersion.contains("/") ? "/apis/" : "/api/") + groupVersion }
        var testDescription: String { "\(groupVersion) \(resource)" }
    }

    static let rows: [Row] = {
        let directory = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let bytes = (try? Files.read("/\(directory)/Fixtures/api/resources.tsv", limit: 1 << 20)) ?? []
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").filter { $0.first != "#" }.map {
            Row(columns: $0.split(separator: "\t", omittingEmptySubsequences: false).map(String.init))
        }
    }()

    /// A custom resource needs an engine that is not there: the definitions can be read only.
    private static let readOnly = "customresourcedefinitions"

    private func cluster() async throws -> Cluster {
        try await Cluster { configuration in
            // Other tests have other servers, without tokens and reviews, over the shared one.
            configuration.schema = Schema()
            configuration.tokens = NoTokens()
            configuration.reviews = NoReviews()
        }
    }

    private struct NoTokens: TokenIssuer {
        let openIDConfiguration: [UInt8] = []
        let keySet: [UInt8] = []
        func issue(_ parameters: TokenRequestParameters) async throws(APIError) -> IssuedToken {
            throw .unavailable("not in this test")
        }
    }
    private struct NoReviews: ReviewHandler {
        func review(
            _ resource: GroupVersionResource, namespace: String, _ object: KubeObject, user: UserInfo
        ) async throws(APIError) -> KubeObject { throw .unavailable("not in this test") }
    }

    /// The entries that discovery has to show for a row.
    private func entries(_ row: Row) -> [JSON] {
        let isReadOnly = row.resource == Self.readOnly
        var entry: JSON = [
            "name": .string(row.resource), "singularName": .string(row.columns[2]),
            "namespaced": .bool(row.columns[6] == "N"), "kind": .string(row.columns[3]),
            "verbs": .strings(isReadOnly ? ["get", "list", "watch"] : row.verbs),
        ]
        for (key, column) in [("shortNames", 4), ("categories", 5)] where !row.columns[column].isEmpty {
            entry[key] = .strings(row.columns[column].split(separator: ",").map(String.init))
        }
        if !row.columns[9].isEmpty { entry["storageVersionHash"] = .string(row.columns[9]) }
        var entries = [entry]
        for text in row.columns[8].split(separator: ";") where !isReadOnly {
            let parts = text.split { "[]()".contains($0) }.map(String.init)
            let kind = parts[1].split(separator: ".").map(String.init)
            var entry: JSON = [
                "name": .string(row.resource + "/" + parts[0]), "singularName": "",
                "namespaced": .bool(row.columns[6] == "N"),
            ]
            if kind.count > 1 {
                let gv = kind.dropLast().joined(separator: ".").split(separator: "/").map(String.init)
                entry["group"] = .string(gv[0])
                entry["version"] = .string(gv[1])
            }
            entry["kind"] = .string(kind[kind.count - 1])
            entry["verbs"] = .strings(parts[2].split(separator: ",").map(String.init))
            entries.append(entry)
        }
        return entries
    }

    @Test func theTableIsWhole() {
        #expect(Self.rows.count == 68)
        #expect(Set(Self.rows.map(\.groupVersion)).count == 22)
        #expect(Self.rows.reduce(0) { $0 + $1.columns[8].split(separator: ";").count } == 45)
    }

    @Test func everyResourceIsServedAsUpstreamServesIt() async throws {
        let cluster = try await cluster()
        var seen = 0
        for (path, rows) in Dictionary(grouping: Self.rows, by: \.path) {
            let served = try await cluster.call("GET", path).json["resources"].elements
            let wanted = rows.flatMap(entries)
            for entry in wanted {
                let found = served.first { $0["name"] == entry["name"] }
                #expect(found == entry, "\(path): \(found?.text ?? "nothing") is not \(entry.text)")
            }
            let names = Set(wanted.compactMap { $0["name"].string })
            #expect(Set(served.compactMap { $0["name"].string }).subtracting(names).isEmpty, "\(path)")
            seen += rows.count
        }
        #expect(seen == 68)
        let groups = try await cluster.call("GET", "/apis").json["groups"].elements.flatMap { $0["versions"].elements }
        #expect(
            Set(groups.compactMap { $0["groupVersion"].string })
                == Set(Self.rows.map(\.groupVersion)).subtracting(["v1"]).union(["k3s.cattle.io/v1"]))
    }

    @Test func columnsAreUpstreams() async throws {
        let cluster = try await cluster()
        for row in Self.rows where row.verbs.contains("list") {
            let table = try await cluster.call(
                "GET", row.path + "/" + row.resource, headers: ["Accept": TableTests.accept]
            ).json
            let columns = table["columnDefinitions"].elements.map { column in
                let format = column["format"].string ?? ""
                return (column["priority"] == 1 ? "*" : "") + (column["name"].string ?? "") + ":"
                    + (column["type"].string ?? "") + (format.isEmpty ? "" : ":" + format)
            }
            #expect(columns.joined(separator: "|") == row.columns[10], "\(row.testDescription)")
        }
    }
}
