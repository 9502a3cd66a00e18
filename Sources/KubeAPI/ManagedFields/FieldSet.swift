/// A set of paths in an object: which fields a manager owns.
///
/// A tree; a node says whether its own path is in the set, and what is below it. Children are sorted, so that two sets are
/// combined in one pass. No node is empty (neither a member nor with children).
/// Source: structured-merge-diff, fieldpath.Set.
package struct FieldSet: Sendable, Equatable {
    package struct Node: Sendable, Equatable {
        package let element: PathElement
        package var isMember: Bool
        package var below: FieldSet
        package init(_ element: PathElement, isMember: Bool, below: FieldSet = FieldSet()) {
            (self.element, self.isMember, self.below) = (element, isMember, below)
        }
    }

    package private(set) var nodes: [Node]

    package init() { nodes = [] }

    /// Nodes in any order, of distinct elements.
    init(unsorted nodes: [Node]) {
        self.nodes = nodes
        for i in nodes.indices.dropFirst() where nodes[i].element < nodes[i - 1].element {
            self.nodes.sort { $0.element < $1.element }
            return
        }
    }

    /// Of paths of member names: "metadata.name".
    package init(fields paths: [String]) {
        self.init()
        for path in paths { insert(path.split(separator: ".").map { PathElement.field(String($0)) }[...]) }
    }

    package var isEmpty: Bool { nodes.isEmpty }

    package mutating func insert(_ path: ArraySlice<PathElement>) {
        guard let first = path.first else { return }
        let at = nodes.firstIndex { !($0.element < first) } ?? nodes.count
        if at == nodes.count || nodes[at].element != first {
            nodes.insert(Node(first, isMember: false), at: at)
        }
        if path.count == 1 { nodes[at].isMember = true } else { nodes[at].below.insert(path.dropFirst()) }
    }

    package subscript(element: PathElement) -> Node? { nodes.first { $0.element == element } }

    package func contains(_ path: [PathElement]) -> Bool {
        var set = self
        for (i, element) in path.enumerated() {
            guard let node = set[element] else { return false }
            if i == path.count - 1 { return node.isMember }
            set = node.below
        }
        return false
    }

    /// Every path, what is at a level before what is below it.
    package func forEach(_ body: ([PathElement]) -> Void) { forEach([], body) }

    private func forEach(_ prefix: [PathElement], _ body: ([PathElement]) -> Void) {
        for node in nodes where node.isMember { body(prefix + [node.element]) }
        for node in nodes where !node.below.isEmpty { node.below.forEach(prefix + [node.element], body) }
    }
}

// MARK: - Combination

extension FieldSet {
    /// Walks two sets side by side; the closure sees the nodes of an element, of which at most one is missing.
    private static func merge(_ a: FieldSet, _ b: FieldSet, _ combine: (Node?, Node?) -> Node?) -> FieldSet {
        var out: [Node] = []
        out.reserveCapacity(max(a.nodes.count, b.nodes.count))
        var (i, j) = (0, 0)
        while i < a.nodes.count || j < b.nodes.count {
            var (left, right): (Node?, Node?) = (nil, nil)
            if j == b.nodes.count || i < a.nodes.count && a.nodes[i].element < b.nodes[j].element {
                left = a.nodes[i]
                i += 1
            } else if i == a.nodes.count || b.nodes[j].element < a.nodes[i].element {
                right = b.nodes[j]
                j += 1
            } else {
                (left, right) = (a.nodes[i], b.nodes[j])
                i += 1
                j += 1
            }
            if let node = combine(left, right), node.isMember || !node.below.isEmpty { out.append(node) }
        }
        var set = FieldSet()
        set.nodes = out
        return set
    }

    package func union(_ other: FieldSet) -> FieldSet {
        if isEmpty { return other }
        if other.isEmpty { return self }
        return Self.merge(self, other) { a, b in
            guard let a, let b else { return a ?? b }
            return Node(a.element, isMember: a.isMember || b.isMember, below: a.below.union(b.below))
        }
    }

    package func intersection(_ other: FieldSet) -> FieldSet {
        if isEmpty || other.isEmpty { return FieldSet() }
        return Self.merge(self, other) { a, b in
            guard let a, let b else { return nil }
            return Node(a.element, isMember: a.isMember && b.isMember, below: a.below.intersection(b.below))
        }
    }

    package func subtracting(_ other: FieldSet) -> FieldSet {
        if isEmpty || other.isEmpty { return self }
        return Self.merge(self, other) { a, b in
            guard let a, let b else { return a }
            return Node(a.element, isMember: a.isMember && !b.isMember, below: a.below.subtracting(b.below))
        }
    }

    /// Without the other's paths and everything below them.
    package func subtractingRecursively(_ other: FieldSet) -> FieldSet {
        if isEmpty || other.isEmpty { return self }
        return Self.merge(self, other) { a, b in
            guard let a, let b else { return a }
            if b.isMember { return nil }
            return Node(a.element, isMember: a.isMember, below: a.below.subtractingRecursively(b.below))
        }
    }

    /// With the members of structs on the way counted in: to take away what is left empty.
    func namingFields(_ shape: FieldShape, _ schema: Schema) -> FieldSet {
        var set = self
        for i in set.nodes.indices {
            let element = set.nodes[i].element
            let inner = shape.child(element, schema)
            if element.kind == .field, !set.nodes[i].below.isEmpty, shape.names(element.text, schema) {
                set.nodes[i].isMember = true
            }
            set.nodes[i].below = set.nodes[i].below.namingFields(inner, schema)
        }
        return set
    }
}
