package import Codecs

/// Who owns which fields of an object (`metadata.managedFields`).
package struct ManagedFields: Sendable, Equatable {
    package enum Operation: String, Sendable {
        case apply = "Apply"
        case update = "Update"
    }

    /// What tells two entries of an object apart. An applier is the same whatever version it applies.
    package struct Manager: Sendable, Hashable {
        package var name: String
        package var operation: Operation
        package var apiVersion: String
        package var subresource: String
        package init(_ name: String, _ operation: Operation, _ apiVersion: String, subresource: String = "") {
            (self.name, self.operation, self.apiVersion, self.subresource) = (name, operation, apiVersion, subresource)
        }

        package func isSame(as other: Manager) -> Bool {
            name == other.name && operation == other.operation && subresource == other.subresource
                && (operation == .apply || apiVersion == other.apiVersion)
        }

        /// As conflicts name it: `"kubectl" using apps/v1`.
        package var shown: String { shown(at: nil) }
        func shown(at time: Int64?) -> String {
            var text = JSON.string(name).text
            if !subresource.isEmpty { text += " with subresource \(JSON.string(subresource).text)" }
            if operation == .update { text += " using \(apiVersion)" }
            return text
        }
    }

    package struct Entry: Sendable, Equatable {
        package var manager: Manager
        /// Seconds since 1970; nil where it is not known.
        package var time: Int64?
        package var fields: FieldSet
        package init(_ manager: Manager, time: Int64?, fields: FieldSet) {
            (self.manager, self.time, self.fields) = (manager, time, fields)
        }
    }

    package var entries: [Entry]

    package init(_ entries: [Entry] = []) { self.entries = entries }
    package var isEmpty: Bool { entries.isEmpty }

    package func index(of manager: Manager) -> Int? { entries.firstIndex { $0.manager.isSame(as: manager) } }

    /// Whether two say the same but for the times.
    package func sameIgnoringTimes(_ other: ManagedFields) -> Bool {
        guard entries.count == other.entries.count else { return false }
        return entries.allSatisfy { entry in
            other.entries.contains { $0.manager == entry.manager && $0.fields == entry.fields }
        }
    }

    // MARK: - Wire form

    /// nil: not managed fields that a server can use; the caller keeps what it has.
    package init?(json: JSON) {
        var entries: [Entry] = []
        for item in json.elements {
            guard let operation = Operation(rawValue: item["operation"].string ?? ""),
                item["fieldsType"].string == "FieldsV1",
                let fields = item["fieldsV1"].isNull ? FieldSet() : FieldSet(fieldsV1: item["fieldsV1"])
            else { return nil }
            let manager = Manager(
                item["manager"].string ?? "", operation, item["apiVersion"].string ?? "",
                subresource: item["subresource"].string ?? "")
            let time = item["time"].string.flatMap { Timestamp($0) }.map { $0.nanoseconds / 1_000_000_000 }
            let entry = Entry(manager, time: time, fields: fields)
            if let known = entries.firstIndex(where: { $0.manager.isSame(as: manager) }) {
                entries[known] = entry
            } else {
                entries.append(entry)
            }
        }
        self.entries = entries
    }

    /// In the order in which servers write them: appliers first, then by time, name, version and subresource.
    package var json: JSON {
        .array(
            sorted.entries.map { entry in
                var json: JSON = [
                    "manager": .string(entry.manager.name), "operation": .string(entry.manager.operation.rawValue),
                    "apiVersion": .string(entry.manager.apiVersion),
                ]
                if let time = entry.time { json["time"] = .string(Timestamp(seconds: time).rfc3339) }
                json["fieldsType"] = "FieldsV1"
                json["fieldsV1"] = entry.fields.fieldsV1
                if !entry.manager.subresource.isEmpty { json["subresource"] = .string(entry.manager.subresource) }
                return json
            })
    }

    var sorted: ManagedFields {
        ManagedFields(
            entries.sorted { a, b in
                let (x, y) = (a.manager, b.manager)
                if x.operation != y.operation { return x.operation == .apply }
                if a.time ?? 0 != b.time ?? 0 { return a.time ?? 0 < b.time ?? 0 }
                return (x.name, x.apiVersion, x.subresource) < (y.name, y.apiVersion, y.subresource)
            })
    }
}
