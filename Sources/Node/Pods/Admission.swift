internal import Codecs
internal import KubeAPI

/// Whether the node takes a pod that was assigned to it. Source: k8s.io/kubernetes/pkg/kubelet/lifecycle/predicate.go,
/// component-helpers/scheduling/corev1/nodeaffinity, and pkg/kubelet/sysctl.
package struct Admission {
    let node: String
    let labels: [String: String]
    let allowedSysctls: [String]

    package init(node: String, labels: [String: String], allowedSysctls: [String]) {
        (self.node, self.labels, self.allowedSysctls) = (node, labels, allowedSysctls)
    }

    /// nil: it may run, as far as its spec goes.
    package func refusal(_ pod: Pod) -> PodStatusBuilder.Verdict? {
        if !matchesNode(pod) {
            return PodStatusBuilder.Verdict("NodeAffinity", "Predicate NodeAffinity failed")
        }
        for entry in pod.security["sysctls"].elements {
            let name = entry["name"].string ?? ""
            if !isAllowed(sysctl: name, pod) {
                return PodStatusBuilder.Verdict("SysctlForbidden", "forbidden sysctl: \"\(name)\" not allowlisted")
            }
        }
        return nil
    }

    private static let safeSysctls: Set<String> = [
        "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
    ]

    private func isAllowed(sysctl name: String, _ pod: Pod) -> Bool {
        let name = name.split(separator: "/").joined(separator: ".")
        if name.hasPrefix("net."), pod.hostNetwork { return false }
        if name.hasPrefix("kernel.") || name.hasPrefix("fs.mqueue."), pod.hostIPC { return false }
        return Self.safeSysctls.contains(name)
            || allowedSysctls.contains { $0.hasSuffix("*") ? name.hasPrefix($0.dropLast()) : $0 == name }
    }

    private func matchesNode(_ pod: Pod) -> Bool {
        for (key, value) in pod.spec["nodeSelector"].stringMap where labels[key] != value { return false }
        let required = pod.spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        guard !required.isNull else { return true }
        return required["nodeSelectorTerms"].elements.contains { term in
            let expressions = term["matchExpressions"].elements
            let fields = term["matchFields"].elements
            guard !expressions.isEmpty || !fields.isEmpty else { return false }
            return expressions.allSatisfy { matches($0, labels[$0["key"].string ?? ""]) }
                && fields.allSatisfy { $0["key"].string == "metadata.name" && matches($0, node) }
        }
    }

    private func matches(_ requirement: JSON, _ value: String?) -> Bool {
        let values = requirement["values"].elements.compactMap(\.string)
        switch requirement["operator"].string {
        case "In": return value.map(values.contains) ?? false
        case "NotIn": return value.map { !values.contains($0) } ?? true
        case "Exists": return value != nil
        case "DoesNotExist": return value == nil
        case "Gt", "Lt":
            guard let value = value.flatMap({ Int64($0) }), let bound = values.first.flatMap({ Int64($0) }) else {
                return false
            }
            return requirement["operator"].string == "Gt" ? value > bound : value < bound
        default: return false
        }
    }
}
