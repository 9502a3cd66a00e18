/// What can be done with a resource.
package struct Verbs: OptionSet, Sendable, Hashable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    package static let create = Verbs(rawValue: 1)
    package static let delete = Verbs(rawValue: 2)
    package static let deleteCollection = Verbs(rawValue: 4)
    package static let get = Verbs(rawValue: 8)
    package static let list = Verbs(rawValue: 16)
    package static let patch = Verbs(rawValue: 32)
    package static let update = Verbs(rawValue: 64)
    package static let watch = Verbs(rawValue: 128)
    package static let all = Verbs(rawValue: 255)

    private static let spelled: [(String, Verbs)] = [
        ("create", .create), ("delete", .delete), ("deletecollection", .deleteCollection), ("get", .get),
        ("list", .list),
        ("patch", .patch), ("update", .update), ("watch", .watch),
    ]
    /// In alphabetic order, as discovery has them.
    package var names: [String] { Self.spelled.filter { contains($0.1) }.map(\.0) }

    package init(names: some Sequence<some StringProtocol>) {
        self = []
        for name in names {
            if let verb = Self.spelled.first(where: { $0.0 == name }) { insert(verb.1) }
        }
    }

    /// - Returns: nil for what is not a verb of resources.
    package init?(verb: String) {
        switch verb {
        case "create": self = .create
        case "delete": self = .delete
        case "deletecollection": self = .deleteCollection
        case "get": self = .get
        case "list": self = .list
        case "patch": self = .patch
        case "update": self = .update
        case "watch": self = .watch
        default: return nil
        }
    }
}

/// A row of the API: a resource of one group version, with all that routing, discovery and printing need to know.
package struct ResourceInfo: Sendable {
    package struct Subresource: Sendable {
        /// "status", "scale", "log"
        package var name: String
        package var kind: GroupVersionKind
        package var verbs: Verbs
        package init(name: String, kind: GroupVersionKind, verbs: Verbs) {
            (self.name, self.kind, self.verbs) = (name, kind, verbs)
        }
    }

    /// A column of `kubectl get`.
    package struct Column: Sendable, Equatable {
        package var name: String
        /// OpenAPI type: string, integer, boolean, date, number.
        package var type: String
        /// "name" for the object's name, else mostly empty.
        package var format: String
        /// 0: always shown; 1: with -o wide.
        package var priority: Int
        package var description: String
        package init(name: String, type: String, format: String = "", priority: Int = 0, description: String = "") {
            (self.name, self.type, self.format) = (name, type, format)
            (self.priority, self.description) = (priority, description)
        }
    }

    enum Columns: Sendable {
        /// A range of the resource table.
        case builtIn(Range<Int32>)
        case listed([Column])
    }

    package var gvr: GroupVersionResource
    package var kind: String
    package var singular: String
    package var namespaced: Bool
    package var shortNames: [String]
    package var categories: [String]
    package var verbs: Verbs
    package var subresources: [Subresource]
    /// "" for what is not stored.
    package var storageVersionHash: String
    package var isServed: Bool
    /// The schema's type ("apps/v1.Deployment"); nil for resources whose schema is not in the table.
    package var typeName: String?
    /// The kind's OpenAPI schema, encoded, for custom resources.
    package var openAPISchema: [UInt8]?
    var columnSource: Columns

    /// A custom resource.
    package init(
        gvr: GroupVersionResource, kind: String, singular: String, namespaced: Bool, shortNames: [String] = [],
        categories: [String] = [], verbs: Verbs = .all, subresources: [Subresource] = [],
        storageVersionHash: String = "",
        columns: [Column] = []
    ) {
        (self.gvr, self.kind, self.singular, self.namespaced) = (gvr, kind, singular, namespaced)
        (self.shortNames, self.categories, self.verbs) = (shortNames, categories, verbs)
        (self.subresources, self.storageVersionHash, isServed) = (subresources, storageVersionHash, true)
        columnSource = .listed(columns)
    }

    package var gvk: GroupVersionKind { GroupVersionKind(gvr.groupVersion, kind) }
    package var listKind: String { kind + "List" }
    package func subresource(_ name: String) -> Subresource? { subresources.first { $0.name == name } }

    /// Decoded from the table at each call: columns are needed only when a table is printed.
    package var columns: [Column] {
        switch columnSource {
        case .listed(let list): return list
        case .builtIn(let range):
            let text = SchemaTable.resources.bytes.text(Int(range.lowerBound)..<Int(range.upperBound))
            return text.split(separator: "|").map { item in
                let wide = item.first == "*"
                let parts = item.drop { $0 == "*" }.split(separator: ":")
                return Column(
                    name: String(parts[0]), type: parts.count > 1 ? String(parts[1]) : "string",
                    format: parts.count > 2 ? String(parts[2]) : "", priority: wide ? 1 : 0)
            }
        }
    }
}
