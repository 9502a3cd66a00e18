package import Codecs

/// The wire form of a set (metav1.FieldsV1): objects in objects, `.` for the node itself, `{}` for what has nothing below.
extension FieldSet {
    private static let maximumDepth = 100

    /// nil for what is no such form.
    package init?(fieldsV1 json: JSON) {
        guard let (set, _) = Self.parse(json, depth: 0) else { return nil }
        self = set
    }

    private static func parse(_ json: JSON, depth: Int) -> (set: FieldSet, isSelf: Bool)? {
        guard case .object(let object) = json, depth < maximumDepth else { return nil }
        var nodes: [Node] = []
        nodes.reserveCapacity(object.count)
        var isSelf = false
        for (key, value) in object {
            if key == "." {
                isSelf = true
                continue
            }
            guard let element = PathElement(wire: key), let inner = parse(value, depth: depth + 1) else { return nil }
            nodes.append(Node(element, isMember: inner.isSelf || inner.set.isEmpty, below: inner.set))
        }
        let set = FieldSet(unsorted: nodes)
        for i in set.nodes.indices.dropFirst() where set.nodes[i].element == set.nodes[i - 1].element { return nil }
        return (set, isSelf)
    }

    package var fieldsV1: JSON { object(includingSelf: false) }

    private func object(includingSelf: Bool) -> JSON {
        var object = JSONObject()
        object.reserveCapacity(nodes.count + 1)
        if includingSelf { object.append(".", [:]) }
        for node in nodes {
            let key = String(Unicode.Scalar(PathElement.prefix(node.element.kind))) + ":" + node.element.text
            object.append(key, node.below.object(includingSelf: node.isMember && !node.below.isEmpty))
        }
        return .object(object)
    }
}
