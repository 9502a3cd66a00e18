package import Codecs
import Synchronization

/// Keeps track of who owns which fields, and decides what an apply may change.
///
/// Works on objects as they are decoded and defaulted, before admission and before the server fills in anything: what the
/// server adds belongs to nobody. Source: structured-merge-diff (merge.Updater) and k8s.io/apimachinery managedfields.
package struct FieldManager: Sendable {
    /// What a request writes, beside the object.
    package struct Writer: Sendable {
        package var manager: ManagedFields.Manager
        package var now: Timestamp
        /// Fields that the endpoint resets: they are not owned through it.
        package var ignored: FieldSet
        package init(_ manager: ManagedFields.Manager, now: Timestamp, ignored: FieldSet = FieldSet()) {
            (self.manager, self.now, self.ignored) = (manager, now, ignored)
        }
    }

    /// Converts an object to another version of its kind; nil where it has none.
    package typealias Converter = (_ apiVersion: String) -> (old: JSON, new: JSON)?

    /// Entries of updates that an object may have before the oldest are put together.
    static let maximumUpdaters = 10
    static let bucket = "ancient-changes"
    static let beforeFirstApply = "before-first-apply"
    static let lastApplied = "kubectl.kubernetes.io/last-applied-configuration"
    /// What nobody owns: what identifies an object and what the server keeps.
    static let stripped = FieldSet(fields: [
        "apiVersion", "kind", "metadata", "metadata.name", "metadata.namespace", "metadata.creationTimestamp",
        "metadata.selfLink", "metadata.uid", "metadata.clusterName", "metadata.generation", "metadata.managedFields",
        "metadata.resourceVersion",
    ])

    let schema: Schema
    let gvk: GroupVersionKind
    let shape: FieldShape
    private let walk: FieldWalk

    package init(_ gvk: GroupVersionKind, schema: Schema = .shared) {
        (self.schema, self.gvk) = (schema, gvk)
        shape = FieldShape(schema.kind(gvk).map { .object($0.id) } ?? .deduced)
        walk = FieldWalk(schema: schema)
    }

    private var apiVersion: String { gvk.groupVersion.description }

    /// Of the kinds that have been created, so few and small.
    private static let empties = Mutex<[GroupVersionKind: JSON]>([:])

    /// The object that a creation starts from: what Go writes for an empty one.
    package var empty: JSON {
        if let known = Self.empties.withLock({ $0[gvk] }) { return known }
        let made = emptyObject()
        // Kinds that come and go (custom resources) do not pile up.
        Self.empties.withLock { if $0.count < 256 { $0[gvk] = made } }
        return made
    }

    private func emptyObject() -> JSON {
        let json: JSON = ["apiVersion": .string(apiVersion), "kind": .string(gvk.kind)]
        return (try? schema.decode(json, as: gvk))?.json ?? json
    }

    // MARK: - Create and update

    /// - Parameter managed: of an object that is created, what it came with.
    package func created(_ object: JSON, _ managed: ManagedFields = ManagedFields(), by writer: Writer) -> ManagedFields
    {
        var managed = managed
        track(empty, object, &managed, writer, convert: nil)
        return managed
    }

    /// An object whose managed fields were taken away is not tracked until somebody applies.
    package func updated(
        _ old: JSON, _ new: JSON, _ managed: ManagedFields, by writer: Writer, convert: Converter? = nil
    ) -> ManagedFields {
        guard !managed.isEmpty else { return managed }
        var managed = managed
        track(old, new, &managed, writer, convert: convert)
        return managed
    }

    /// The writer owns what it changed or added; nobody owns what is gone or what somebody else changed.
    private func track(
        _ old: JSON, _ new: JSON, _ managed: inout ManagedFields, _ writer: Writer, convert: Converter?
    ) {
        let change = comparison(old, new, ignoring: writer.ignored)
        guard !change.isSame else { return }
        let touched = change.modified.union(change.added)
        var taken = touched.subtracting(Self.stripped)
        for i in managed.entries.indices {
            // The writer's own entry keeps its fields: what was taken is added to them.
            let own = managed.entries[i].manager.isSame(as: writer.manager)
            var (lost, gone) = (touched, change.removed)
            let version = managed.entries[i].manager.apiVersion
            if version != apiVersion {
                guard let (was, is_) = convert?(version) else {
                    managed.entries[i].fields = FieldSet()
                    continue
                }
                let other = GroupVersion(version).map {
                    FieldManager(GroupVersionKind($0, gvk.kind), schema: schema)
                }
                let seen = other?.comparison(was, is_, ignoring: writer.ignored) ?? FieldWalk.Comparison()
                (lost, gone) = (seen.modified.union(seen.added), seen.removed)
            }
            var fields = managed.entries[i].fields.subtracting(gone)
            if !own { fields = fields.subtracting(lost) }
            managed.entries[i].fields = fields
        }
        taken = taken.subtracting(change.removed)
        if !taken.isEmpty {
            if let own = managed.index(of: writer.manager) {
                managed.entries[own].fields = managed.entries[own].fields.union(taken)
                managed.entries[own].time = writer.now.wholeSeconds
            } else {
                managed.entries.append(.init(writer.manager, time: writer.now.wholeSeconds, fields: taken))
            }
        }
        managed.entries.removeAll(where: \.fields.isEmpty)
        cap(&managed)
    }

    private func comparison(_ old: JSON, _ new: JSON, ignoring ignored: FieldSet) -> FieldWalk.Comparison {
        var change = walk.compare(old, new, shape)
        guard !ignored.isEmpty, !change.isSame else { return change }
        change.added = change.added.subtractingRecursively(ignored)
        change.modified = change.modified.subtractingRecursively(ignored)
        change.removed = change.removed.subtractingRecursively(ignored)
        return change
    }

    /// Puts the oldest updates of a version together when there are too many.
    private func cap(_ managed: inout ManagedFields) {
        let updaters = managed.entries.filter { $0.manager.operation == .update }
        var count = updaters.count
        guard count > Self.maximumUpdaters else { return }
        let oldest = updaters.sorted {
            ($0.time ?? 0, $0.manager.name) < ($1.time ?? 0, $1.manager.name)
        }
        var first: [String: ManagedFields.Manager] = [:]
        for entry in oldest where count > Self.maximumUpdaters {
            let version = entry.manager.apiVersion
            guard let before = first[version] else {
                first[version] = entry.manager
                continue
            }
            let bucket = ManagedFields.Manager(Self.bucket, .update, version)
            if managed.index(of: bucket) == nil, let i = managed.index(of: before) {
                managed.entries[i].manager = bucket
            }
            guard let i = managed.index(of: bucket), entry.manager != bucket else { continue }
            managed.entries[i].fields = managed.entries[i].fields.union(entry.fields)
            managed.entries[i].time = entry.time
            managed.entries.removeAll { $0.manager.isSame(as: entry.manager) }
            count -= 1
        }
    }

    // MARK: - Apply

    package struct Applied: Sendable {
        /// Not decoded yet; nil: nothing changes but perhaps who owns what.
        package var object: JSON?
        package var managed: ManagedFields
    }

    /// What the object is with a configuration applied.
    ///
    /// - Parameters:
    ///   - live: the object as it is stored; `empty` for one that is to be created.
    ///   - config: as the client wrote it.
    package func apply(
        _ config: JSON, to live: JSON, _ managed: ManagedFields, by writer: Writer, force: Bool,
        convert: Converter? = nil
    ) throws(APIError) -> Applied {
        let version = config["apiVersion"].string ?? ""
        guard version == apiVersion else {
            throw .badRequest(
                "Incorrect version specified in apply patch. Specified patch version: \(version), expected: \(apiVersion)"
            )
        }
        if !config["metadata"]["managedFields"].isNull { throw .badRequest("metadata.managedFields must be nil") }
        let problems = walk.problems(in: config, shape)
        if !problems.isEmpty { throw untyped(config, problems) }
        var known = managed
        if managed.isEmpty {
            // Fields that were there before anybody applied have an owner, so that taking them is a conflict.
            var before = writer
            before.manager = .init(Self.beforeFirstApply, .update, apiVersion)
            before.ignored = FieldSet()
            track(empty, live, &known, before, convert: nil)
        }
        var applied: Applied
        do throws(Conflicts) {
            applied = try merged(config, live, known, writer, force: force, convert: convert)
        } catch {
            guard writer.manager.name == "kubectl", let allowed = fromLastApplied(live) else { throw error.status }
            // What a client-side apply set and nobody changed since is kubectl's own.
            let left = error.excluding(allowed)
            if !left.list.isEmpty { throw left.status }
            do throws(Conflicts) {
                applied = try merged(config, live, known, writer, force: true, convert: convert)
            } catch {
                throw error.status
            }
        }
        if writer.manager.name == "kubectl" { syncLastApplied(&applied, config, live) }
        return applied
    }

    private func untyped(_ config: JSON, _ problems: [String]) -> APIError {
        func text(_ key: String) -> String { config["metadata"][key].string ?? "" }
        let joined =
            problems.count == 1 ? problems[0] : (["errors:"] + problems.map { "  " + $0 }).joined(separator: "\n")
        let name = "\(text("namespace"))/\(text("name")); \(apiVersion), Kind=\(config["kind"].string ?? "")"
        return APIError(code: 500, reason: "", message: "failed to create typed patch object (\(name)): \(joined)")
    }

    private func merged(
        _ config: JSON, _ live: JSON, _ managed: ManagedFields, _ writer: Writer, force: Bool, convert: Converter?
    ) throws(Conflicts) -> Applied {
        var managed = managed
        var object = walk.merge(live, config, shape)
        let wanted = walk.fields(of: config, shape).subtractingRecursively(writer.ignored)
        let last = managed.index(of: writer.manager).map { managed.entries[$0].fields } ?? FieldSet()
        if let own = managed.index(of: writer.manager) {
            managed.entries[own].fields = wanted
            managed.entries[own].manager.apiVersion = apiVersion
        } else {
            managed.entries.append(.init(writer.manager, time: nil, fields: wanted))
        }
        object = pruned(object, managed, last: last)
        try takeFromOthers(live, object, &managed, writer, force: force, convert: convert)
        if let own = managed.index(of: writer.manager) {
            managed.entries[own].fields = managed.entries[own].fields.subtracting(Self.stripped)
        }
        managed.entries.removeAll(where: \.fields.isEmpty)
        let isSame = object.withoutNulls == live.withoutNulls
        if !isSame, let own = managed.index(of: writer.manager) { managed.entries[own].time = writer.now.wholeSeconds }
        cap(&managed)
        // Not `nil`, which would be JSON's null here.
        return Applied(object: isSame ? JSON?.none : object, managed: managed)
    }

    /// Without what the applier owned, does not want any more, and nobody else owns.
    private func pruned(_ merged: JSON, _ managed: ManagedFields, last: FieldSet) -> JSON {
        guard !last.isEmpty else { return merged }
        let lastNamed = last.namingFields(shape, schema)
        var pruned = walk.removing(lastNamed, from: merged, shape)
        // Back with what somebody owns ...
        var owned = FieldSet()
        for entry in managed.entries { owned = owned.union(entry.fields) }
        let all = walk.fields(of: merged, shape).namingFields(shape, schema)
        var kept = walk.fields(of: pruned, shape).namingFields(shape, schema)
        let unowned = all.subtracting(kept.union(owned.namingFields(shape, schema)))
        pruned = walk.removing(unowned, from: merged, shape)
        // ... and with what only went because it lay within something that went.
        kept = walk.fields(of: pruned, shape).namingFields(shape, schema)
        return walk.removing(all.subtracting(kept).intersection(lastNamed), from: merged, shape)
    }

    /// Fields that others own and that this changes are conflicts, or with force theirs no more.
    private func takeFromOthers(
        _ live: JSON, _ object: JSON, _ managed: inout ManagedFields, _ writer: Writer, force: Bool,
        convert: Converter?
    ) throws(Conflicts) {
        let change = comparison(live, object, ignoring: writer.ignored)
        guard !change.isSame else { return }
        let touched = change.modified.union(change.added)
        var conflicts = Conflicts()
        for i in managed.entries.indices where !managed.entries[i].manager.isSame(as: writer.manager) {
            let entry = managed.entries[i]
            // Of another version: its names of the same fields are taken as they are, which they mostly are.
            let conflict = entry.fields.intersection(touched)
            if !conflict.isEmpty { conflicts.list.append((entry.manager, conflict)) }
            managed.entries[i].fields = entry.fields.subtracting(conflict).subtracting(change.removed)
        }
        if !force, !conflicts.list.isEmpty { throw conflicts }
    }

    // MARK: - Client-side apply

    /// What the annotation of client-side apply names and the object still has.
    private func fromLastApplied(_ live: JSON) -> FieldSet? {
        guard let text = live["metadata"]["annotations"][Self.lastApplied].string, let config = try? JSON.parse(text),
            config["apiVersion"].string == apiVersion
        else { return nil }
        let change = walk.compare(config, live, shape)
        return walk.fields(of: config, shape).subtracting(change.modified).subtracting(change.added)
            .subtracting(change.removed)
    }

    /// kubectl's annotation, where there is one, goes along with what is applied, so that a client-side apply may follow.
    private func syncLastApplied(_ applied: inout Applied, _ config: JSON, _ live: JSON) {
        let object = applied.object ?? live
        guard let known = object["metadata"]["annotations"][Self.lastApplied].string else { return }
        var copy = config
        if case .object(var annotations) = copy["metadata"]["annotations"] {
            annotations[Self.lastApplied] = nil
            copy["metadata"]["annotations"] = .object(annotations)
        }
        let text = copy.sortedByKey.text + "\n"
        // An annotation may have 256 KiB.
        guard text.utf8.count <= 256 << 10, text != known else { return }
        var changed = object
        changed["metadata"]["annotations"][Self.lastApplied] = .string(text)
        applied.object = changed
    }
}

/// Fields of others that an apply would change.
struct Conflicts: Error {
    var list: [(manager: ManagedFields.Manager, fields: FieldSet)] = []

    func excluding(_ allowed: FieldSet) -> Conflicts {
        Conflicts(list: list.map { ($0.manager, $0.fields.subtracting(allowed)) }.filter { !$0.1.isEmpty })
    }

    var status: APIError {
        var paths: [(manager: String, path: String)] = []
        for (manager, fields) in list.sorted(by: { $0.manager.shown < $1.manager.shown }) {
            fields.forEach { path in paths.append((manager.shown, path.map(\.shown).joined())) }
        }
        var message = "Apply failed with \(paths.count) conflict"
        if paths.count == 1 {
            message += ": conflict with \(paths[0].manager): \(paths[0].path)"
        } else {
            message += "s: "
            var lines: [String] = []
            for (i, one) in paths.enumerated() {
                if i == 0 || paths[i - 1].manager != one.manager { lines.append("conflicts with \(one.manager):") }
                lines.append("- \(one.path)")
            }
            message += lines.joined(separator: "\n")
        }
        var error = APIError(code: 409, reason: "Conflict", message: message)
        error.causes = paths.map {
            APIError.Cause(reason: "FieldManagerConflict", message: "conflict with \($0.manager)", field: $0.path)
        }
        return error
    }
}

extension Timestamp {
    var wholeSeconds: Int64 { nanoseconds / 1_000_000_000 }
}

extension JSON {
    /// Members in the order of their names, at every level, as Go writes maps.
    var sortedByKey: JSON {
        switch self {
        case .array(let list): .array(list.map(\.sortedByKey))
        case .object(let object):
            .object(
                JSONObject(
                    members: object.members.map { ($0.key, $0.value.sortedByKey) }.sorted { $0.0 < $1.0 }.map {
                        (key: $0.0, value: $0.1)
                    }))
        default: self
        }
    }
}
