internal import Codecs
internal import KubeAPI

/// Rows of nodes.
enum NodeCells {
    @Sendable static func make(_ node: KubeObject, _ now: Timestamp) -> [JSON] {
        var status: [String] = []
        let ready = node.condition("Ready")
        if !ready.isNull { status.append(ready["status"].string == "True" ? "Ready" : "NotReady") }
        if status.isEmpty { status.append("Unknown") }
        if node.spec["unschedulable"].bool == true { status.append("SchedulingDisabled") }
        let info = node.status["nodeInfo"]
        func shown(_ key: String) -> JSON {
            .string(info[key].string.flatMap { $0.isEmpty ? nil : $0 } ?? "<unknown>")
        }
        return [
            .string(node.name), .string(status.joined(separator: ",")),
            TableText.orNone(roles(node.labels).joined(separator: ",")), .string(node.age(now)),
            .string(info["kubeletVersion"].string ?? ""), TableText.orNone(address("InternalIP", node)),
            TableText.orNone(address("ExternalIP", node)), shown("osImage"), shown("kernelVersion"),
            shown("containerRuntimeVersion"),
        ]
    }

    private static func roles(_ labels: [String: String]) -> [String] {
        let prefix = "node-role.kubernetes.io/"
        var roles: Set<String> = []
        for (key, value) in labels {
            if key.hasPrefix(prefix), key.utf8.count > prefix.utf8.count {
                roles.insert(String(key.dropFirst(prefix.count)))
            } else if key == "kubernetes.io/role", !value.isEmpty {
                roles.insert(value)
            }
        }
        return roles.sorted()
    }

    private static func address(_ type: String, _ node: KubeObject) -> String? {
        node.status["addresses"].elements.first { $0["type"].string == type }?["address"].string
    }
}
