internal import Codecs

/// Walks over objects along their shapes: which fields there are, what differs, what a merge gives.
/// Source: structured-merge-diff, typed (ToFieldSet, Compare, Merge, RemoveItems).
struct FieldWalk {
    let schema: Schema

    typealias Node = FieldSet.Node

    // MARK: - Fields of a value

    /// The fields that a configuration owns: leaves, elements of lists, keys of maps, and what is empty.
    func fields(of value: JSON, _ shape: FieldShape) -> FieldSet { collect(value, shape, everywhere: false).below }

    /// - Parameter everywhere: structs and lists on the way count as well, as in a comparison with nothing.
    private func collect(_ value: JSON, _ shape: FieldShape, everywhere: Bool) -> (isMember: Bool, below: FieldSet) {
        switch (shape.form, value) {
        case (.keyedList, .array(let list)), (.setList, .array(let list)):
            return (everywhere, FieldSet(unsorted: elements(list, shape, everywhere: everywhere)))
        case (.object, .object(let object)), (.map, .object(let object)), (.deduced, .object(let object)):
            if object.isEmpty { return (true, FieldSet()) }
            var nodes: [Node] = []
            nodes.reserveCapacity(object.count)
            for (key, member) in object {
                let element = PathElement.field(key)
                var (isMember, below) = collect(member, shape.child(element, schema), everywhere: everywhere)
                if case .map = shape.form { isMember = true }
                if isMember || !below.isEmpty { nodes.append(Node(element, isMember: isMember, below: below)) }
            }
            return (everywhere, FieldSet(unsorted: nodes))
        default: return (true, FieldSet())
        }
    }

    private func elements(_ list: [JSON], _ shape: FieldShape, everywhere: Bool) -> [Node] {
        var nodes: [Node] = []
        nodes.reserveCapacity(list.count)
        var places: [PathElement: Int] = [:]
        for item in list {
            guard let element = shape.step(to: item, schema) else { continue }
            if let known = places[element] {
                // Duplicates are owned as one, whole.
                nodes[known].below = FieldSet()
                continue
            }
            places[element] = nodes.count
            let below = collect(item, shape.child(element, schema), everywhere: everywhere).below
            nodes.append(Node(element, isMember: true, below: below))
        }
        return nodes
    }

    // MARK: - Comparison

    struct Comparison {
        var added = FieldSet()
        var modified = FieldSet()
        var removed = FieldSet()
        var isSame: Bool { added.isEmpty && modified.isEmpty && removed.isEmpty }
    }

    private struct Change {
        var added: (isMember: Bool, below: FieldSet) = (false, FieldSet())
        var modified: (isMember: Bool, below: FieldSet) = (false, FieldSet())
        var removed: (isMember: Bool, below: FieldSet) = (false, FieldSet())
    }

    func compare(_ old: JSON, _ new: JSON, _ shape: FieldShape) -> Comparison {
        let change = difference(old, new, shape)
        return Comparison(added: change.added.below, modified: change.modified.below, removed: change.removed.below)
    }

    private func difference(_ old: JSON?, _ new: JSON?, _ shape: FieldShape) -> Change {
        var change = Change()
        guard let old else {
            if let new { change.added = collect(new, shape, everywhere: true) }
            return change
        }
        guard let new else {
            change.removed = collect(old, shape, everywhere: true)
            return change
        }
        if old == new { return change }
        // Where one side is empty or null, the other's parts have come or gone.
        let isGranular = shape.isGranular(old) || shape.isGranular(new)
        guard isGranular, shape.isGranular(old) || old.isNull, shape.isGranular(new) || new.isNull else {
            change.modified.isMember = true
            return change
        }
        if old.isGoZero, new.isGoZero {
            change.modified.isMember = true
            return change
        }
        if shape.isList {
            listDifference(old.elements, new.elements, shape, &change)
        } else {
            objectDifference(old.object ?? JSONObject(), new.object ?? JSONObject(), shape, &change)
        }
        return change
    }

    private struct Nodes {
        var added: [Node] = []
        var modified: [Node] = []
        var removed: [Node] = []

        mutating func append(_ element: PathElement, _ change: Change) {
            func add(_ part: (isMember: Bool, below: FieldSet), _ list: inout [Node]) {
                guard part.isMember || !part.below.isEmpty else { return }
                list.append(Node(element, isMember: part.isMember, below: part.below))
            }
            add(change.added, &added)
            add(change.modified, &modified)
            add(change.removed, &removed)
        }
    }

    private func finish(_ nodes: Nodes, _ change: inout Change) {
        change.added.below = FieldSet(unsorted: nodes.added)
        change.modified.below = FieldSet(unsorted: nodes.modified)
        change.removed.below = FieldSet(unsorted: nodes.removed)
    }

    private func objectDifference(
        _ old: JSONObject, _ new: JSONObject, _ shape: FieldShape, _ change: inout Change
    ) {
        var nodes = Nodes()
        let (before, after) = (Lookup(old), Lookup(new))
        for (key, value) in new {
            let known = before[key]
            if known == value { continue }
            let element = PathElement.field(key)
            nodes.append(element, difference(known, value, shape.child(element, schema)))
        }
        for (key, value) in old where after[key] == nil {
            let element = PathElement.field(key)
            nodes.append(element, difference(value, nil, shape.child(element, schema)))
        }
        finish(nodes, &change)
    }

    private func listDifference(_ old: [JSON], _ new: [JSON], _ shape: FieldShape, _ change: inout Change) {
        let (before, after) = (grouped(old, shape), grouped(new, shape))
        var nodes = Nodes()
        for element in after.order {
            let (was, is_) = (before.items[element] ?? [], after.items[element] ?? [])
            if was.count > 1 || is_.count > 1 {
                guard was != is_ else { continue }
                var one = Change()
                if was.isEmpty { one.added.isMember = true } else { one.modified.isMember = true }
                nodes.append(element, one)
            } else {
                nodes.append(element, itemDifference(was.first, is_.first, shape.child(element, schema)))
            }
        }
        for element in before.order where after.items[element] == nil {
            let was = before.items[element] ?? []
            var one = Change()
            one.removed.isMember = true
            nodes.append(
                element, was.count > 1 ? one : itemDifference(was.first, nil, shape.child(element, schema)))
        }
        finish(nodes, &change)
    }

    private func itemDifference(_ old: JSON?, _ new: JSON?, _ shape: FieldShape) -> Change {
        var change = difference(old, new, shape)
        if old == nil { change.added.isMember = true }
        if new == nil { change.removed.isMember = true }
        return change
    }

    private func grouped(_ list: [JSON], _ shape: FieldShape) -> (order: [PathElement], items: [PathElement: [JSON]]) {
        var order: [PathElement] = []
        var items: [PathElement: [JSON]] = [:]
        for item in list {
            guard let element = shape.step(to: item, schema) else { continue }
            if items[element] == nil { order.append(element) }
            items[element, default: []].append(item)
        }
        return (order, items)
    }

    /// Members by key; with a table where there are so many that looking through them would be quadratic.
    private struct Lookup {
        private let object: JSONObject
        private let places: [String: Int]?

        init(_ object: JSONObject) {
            self.object = object
            guard object.count > 24 else {
                places = nil
                return
            }
            var places = [String: Int](minimumCapacity: object.count)
            for (i, member) in object.members.enumerated() { places[member.key] = i }
            self.places = places
        }
        subscript(key: String) -> JSON? {
            if let places { places[key].map { object.members[$0].value } } else { object[key] }
        }
    }

    // MARK: - Merge

    /// The live object with a configuration laid over it.
    func merge(_ old: JSON, _ new: JSON, _ shape: FieldShape) -> JSON {
        guard shape.isGranular(old) || old.isNull, shape.isGranular(new) || new.isNull,
            !(old.isGoZero && new.isGoZero), shape.isGranular(old) || shape.isGranular(new)
        else { return new }
        if shape.isList { return .array(mergeLists(old.elements, new.elements, shape)) }
        let (base, changes) = (old.object ?? JSONObject(), new.object ?? JSONObject())
        let (before, after) = (Lookup(base), Lookup(changes))
        var members: [JSONObject.Member] = []
        members.reserveCapacity(base.count + changes.count)
        for (key, value) in base {
            if let change = after[key] {
                members.append((key, merge(value, change, shape.child(.field(key), schema))))
            } else {
                members.append((key, value))
            }
        }
        for (key, value) in changes where before[key] == nil { members.append((key, value)) }
        return .object(JSONObject(members: members))
    }

    /// In the configuration's order; what only the live list has keeps its place among what it stood with.
    private func mergeLists(_ old: [JSON], _ new: [JSON], _ shape: FieldShape) -> [JSON] {
        func step(_ item: JSON) -> PathElement { shape.step(to: item, schema) ?? PathElement(.index, item.text) }
        let (left, right) = (old.map(step), new.map(step))
        let wanted = Set(right)
        var known: [PathElement: JSON] = [:]
        for (element, item) in zip(left, old) where known[element] == nil { known[element] = item }
        var shared = right.filter { known[$0] != nil }[...]
        var out: [JSON] = []
        out.reserveCapacity(old.count + new.count)
        func take(_ j: Int) {
            let live = known[right[j]]
            out.append(live.map { merge($0, new[j], shape.child(right[j], schema)) } ?? new[j])
            if shared.first == right[j] { shared.removeFirst() }
        }
        var (i, j) = (0, 0)
        while i < old.count || j < new.count {
            if i < old.count, j < new.count {
                if left[i] == right[j] {
                    take(j)
                    i += 1
                    j += 1
                    continue
                }
                if wanted.contains(left[i]), let next = shared.first, next != left[i] {
                    // Shared, but its turn comes elsewhere.
                    i += 1
                    continue
                }
            }
            if i < old.count {
                if !wanted.contains(left[i]) {
                    out.append(old[i])
                    i += 1
                    continue
                }
                if j == new.count {
                    i += 1
                    continue
                }
            }
            if j < new.count {
                take(j)
                j += 1
            }
        }
        return out
    }

    // MARK: - Removal

    /// Without what a set names; what loses all its members becomes null.
    func removing(_ set: FieldSet, from value: JSON, _ shape: FieldShape) -> JSON {
        guard !set.isEmpty, shape.isGranular(value) else { return value }
        switch value {
        case .array(let list):
            var out: [JSON] = []
            out.reserveCapacity(list.count)
            for item in list {
                guard let element = shape.step(to: item, schema), let node = set[element] else {
                    out.append(item)
                    continue
                }
                if node.isMember { continue }
                out.append(removing(node.below, from: item, shape.child(element, schema)))
            }
            return out.isEmpty && !list.isEmpty ? .null : .array(out)
        case .object(let object):
            var out = JSONObject()
            out.reserveCapacity(object.count)
            for (key, member) in object {
                guard let node = set[.field(key)] else {
                    out.append(key, member)
                    continue
                }
                if node.isMember { continue }
                out.append(key, removing(node.below, from: member, shape.child(.field(key), schema)))
            }
            return out.isEmpty && !object.isEmpty ? .null : .object(out)
        default: return value
        }
    }
}
