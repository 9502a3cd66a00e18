package import Codecs
package import KubeAPI

/// Facts about a pod and its node that the downward API can name.
package struct PodFacts: Sendable {
    package var pod: Pod
    package var podIPs: [String]
    package var hostIPs: [String]
    /// What the node has to give: the default of limits.
    package var allocatable: [String: Quantity]

    package init(pod: Pod, podIPs: [String], hostIPs: [String], allocatable: [String: Quantity]) {
        (self.pod, self.podIPs, self.hostIPs, self.allocatable) = (pod, podIPs, hostIPs, allocatable)
    }

    /// The text of a fieldRef; nil: no such field. Source: k8s.io/kubernetes/pkg/fieldpath.
    package func field(_ path: String) -> String? {
        let metadata = pod.object.metadata
        switch path {
        case "metadata.name": return pod.name
        case "metadata.namespace": return pod.namespace
        case "metadata.uid": return pod.uid
        case "metadata.labels": return Self.lines(metadata["labels"].stringMap)
        case "metadata.annotations": return Self.lines(metadata["annotations"].stringMap)
        case "spec.nodeName": return pod.spec["nodeName"].string ?? ""
        case "spec.serviceAccountName": return pod.spec["serviceAccountName"].string ?? ""
        case "status.podIP": return podIPs.first ?? ""
        case "status.podIPs": return podIPs.joined(separator: ",")
        case "status.hostIP": return hostIPs.first ?? ""
        case "status.hostIPs": return hostIPs.joined(separator: ",")
        default:
            for (prefix, map) in [
                ("metadata.labels['", metadata["labels"]), ("metadata.annotations['", metadata["annotations"]),
            ]
            where path.hasPrefix(prefix) && path.hasSuffix("']") {
                return map[String(path.dropFirst(prefix.count).dropLast(2))].string ?? ""
            }
            return nil
        }
    }

    /// `key="value"` lines in the order of their keys, values quoted as Go does (fmt %q).
    private static func lines(_ map: [String: String]) -> String {
        map.sorted { $0.key < $1.key }.map { "\($0.key)=\(GoText.quoted($0.value))" }.joined(separator: "\n")
    }

    /// The text of a resourceFieldRef; nil: no such container or resource.
    package func resource(_ reference: JSON, container: ContainerSpec?) -> String? {
        let container = reference["containerName"].string.flatMap { pod.container($0) } ?? container
        guard let container, let path = reference["resource"].string, let dot = path.firstIndex(of: ".") else {
            return nil
        }
        let resource = String(path[path.index(after: dot)...])
        let json = container.json["resources"]
        let limit = json["limits"][resource].string.flatMap { Quantity($0) } ?? allocatable[resource]
        let amount: Quantity
        switch path[..<dot] {
        case "limits": amount = limit ?? .zero
        case "requests":
            amount =
                json["requests"][resource].string.flatMap { Quantity($0) } ?? json["limits"][resource].string.flatMap {
                    Quantity($0)
                }
                ?? .zero
        default: return nil
        }
        let divisor =
            reference["divisor"].string.flatMap { Quantity($0) }.flatMap { $0.nanos > 0 ? $0 : nil } ?? Quantity(1)
        let quotient = amount.nanos / divisor.nanos
        return "\(amount.nanos % divisor.nanos > 0 ? quotient + 1 : quotient)"
    }
}
