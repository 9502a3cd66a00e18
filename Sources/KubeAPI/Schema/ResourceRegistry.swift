internal import Codecs
import Synchronization

/// The resources, in the order in which discovery lists them: built-in ones as the table has them, then what came at run time.
struct ResourceRegistry {
    var rows: [ResourceInfo] = []
    private var byName: [GroupVersionResource: Int] = [:]
    /// Grows with every change; discovery and OpenAPI documents are keyed by it.
    var generation: Int64 = 1

    mutating func load(_ table: StaticString) {
        let bytes = table.bytes
        for range in bytes.lineRanges() {
            let columns = bytes.text(Int(range.lowerBound)..<Int(range.upperBound))
                .split(separator: "\t", omittingEmptySubsequences: false)
            precondition(columns.count == 12, "row of the resource table: \(columns)")
            add(row(columns, end: range.upperBound))
        }
    }

    private func row(_ columns: [Substring], end: Int32) -> ResourceInfo {
        let package = String(columns[0])
        let gv = Self.groupVersion(package)
        func words(_ text: Substring) -> [String] { text.split(separator: ",").map(String.init) }
        var row = ResourceInfo(
            gvr: GroupVersionResource(gv.group, gv.version, String(columns[2])), kind: String(columns[1]),
            singular: String(columns[3]), namespaced: columns[4] == "N", shortNames: words(columns[5]),
            categories: words(columns[6]), verbs: Verbs(names: columns[7].split(separator: ",")),
            subresources: columns[8].split(separator: ";").map { Self.subresource($0, gv) },
            storageVersionHash: String(columns[9]))
        row.isServed = columns[10] == "yes"
        row.typeName = package + "." + columns[1]
        row.columnSource = .builtIn(end - Int32(columns[11].utf8.count)..<end)
        return row
    }

    private static func groupVersion(_ package: String) -> GroupVersion {
        guard let found = SchemaTable.packages.first(where: { $0.name == package }) else {
            preconditionFailure("the resource table names package \(package)")
        }
        return GroupVersion(found.group, found.version)
    }

    /// name[Kind](verbs) or name[package.Kind](verbs)
    private static func subresource(_ text: Substring, _ gv: GroupVersion) -> ResourceInfo.Subresource {
        let parts = text.split { "[]()".contains($0) }
        precondition(parts.count == 3, "subresource of the resource table: \(text)")
        let kind = parts[1].split(separator: ".")
        let owner = kind.count == 2 ? groupVersion(String(kind[0])) : gv
        return ResourceInfo.Subresource(
            name: String(parts[0]), kind: GroupVersionKind(owner, String(kind.last ?? "")),
            verbs: Verbs(names: parts[2].split(separator: ",")))
    }

    func row(_ gvr: GroupVersionResource) -> ResourceInfo? { byName[gvr].map { rows[$0] } }

    mutating func add(_ row: ResourceInfo) {
        generation += 1
        if let index = byName[row.gvr] {
            rows[index] = row
        } else {
            byName[row.gvr] = rows.count
            rows.append(row)
        }
    }

    mutating func remove(_ gvr: GroupVersionResource) {
        guard let index = byName[gvr] else { return }
        generation += 1
        rows.remove(at: index)
        byName = [:]
        for (i, row) in rows.enumerated() { byName[row.gvr] = i }
    }

    mutating func setServed(_ gv: GroupVersion, _ served: Bool) {
        generation += 1
        for i in rows.indices where rows[i].gvr.groupVersion == gv { rows[i].isServed = served }
    }
}

extension Schema {
    /// The row of a resource, served or not.
    package func resource(_ gvr: GroupVersionResource) -> ResourceInfo? { registry.withLock { $0.row(gvr) } }

    /// The row whose objects are of a kind; the served one first.
    package func resource(forKind gvk: GroupVersionKind) -> ResourceInfo? {
        registry.withLock { registry in
            registry.rows.first { $0.kind == gvk.kind && $0.gvr.version == gvk.version && $0.gvr.group == gvk.group }
        }
    }

    /// In discovery's order.
    package var resources: [ResourceInfo] { registry.withLock { $0.rows } }
    package var servedResources: [ResourceInfo] { registry.withLock { $0.rows.filter(\.isServed) } }
    package var generation: Int64 { registry.withLock { $0.generation } }

    /// Adds or replaces a resource at run time (a custom resource, an aggregated API).
    package func addResource(_ row: ResourceInfo) { registry.withLock { $0.add(row) } }
    package func removeResource(_ gvr: GroupVersionResource) { registry.withLock { $0.remove(gvr) } }
    /// `--runtime-config`: switches a built-in group version on or off.
    package func setServed(_ gv: GroupVersion, _ served: Bool) { registry.withLock { $0.setServed(gv, served) } }
}
