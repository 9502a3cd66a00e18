import Netlink

// What network policies are compiled from: pods, namespaces and policies without their Kubernetes form. The semantics are
// those of networking.k8s.io/v1 NetworkPolicy.

/// Labels that are meant. Nothing required: everything.
package struct LabelMatch: Hashable, Sendable, CustomStringConvertible {
    package enum Operator: Hashable, Sendable {
        case exists, absent
        case oneOf([String])
        /// Also where the label is missing.
        case noneOf([String])
    }
    package struct Requirement: Hashable, Sendable {
        package var key: String
        package var op: Operator
        package init(_ key: String, _ op: Operator) { (self.key, self.op) = (key, op) }
    }
    package var requirements: [Requirement]

    package init(_ requirements: [Requirement] = []) { self.requirements = requirements }
    package static let everything = LabelMatch()
    package static func equal(_ labels: [String: String]) -> LabelMatch {
        LabelMatch(labels.sorted { $0.key < $1.key }.map { Requirement($0.key, .oneOf([$0.value])) })
    }

    package func matches(_ labels: [String: String]) -> Bool {
        requirements.allSatisfy { requirement in
            let value = labels[requirement.key]
            return switch requirement.op {
            case .exists: value != nil
            case .absent: value == nil
            case .oneOf(let values): value.map(values.contains) ?? false
            case .noneOf(let values): value.map { !values.contains($0) } ?? true
            }
        }
    }

    package var description: String {
        requirements.map { requirement in
            switch requirement.op {
            case .exists: requirement.key
            case .absent: "!" + requirement.key
            case .oneOf(let values): requirement.key + "=" + values.joined(separator: "|")
            case .noneOf(let values): requirement.key + "!=" + values.joined(separator: "|")
            }
        }.joined(separator: ",")
    }
}

/// A pod with a network of its own that has addresses and has not ended.
package struct PolicyPod: Sendable, Equatable {
    package struct Port: Hashable, Sendable {
        package var name: String
        package var transport: TransportProtocol
        package var number: UInt16
        package init(_ name: String, _ transport: TransportProtocol, _ number: UInt16) {
            (self.name, self.transport, self.number) = (name, transport, number)
        }
    }
    /// Unique, for instance "default/web-0".
    package var id: String
    package var namespace: String
    package var labels: [String: String]
    package var addresses: [IPAddress]
    /// Runs on this node: only such pods are filtered.
    package var isLocal: Bool
    /// Named ports of its containers.
    package var ports: [Port]

    package init(
        _ id: String, namespace: String, labels: [String: String] = [:], addresses: [IPAddress], isLocal: Bool = true,
        ports: [Port] = []
    ) {
        (self.id, self.namespace, self.labels) = (id, namespace, labels)
        (self.addresses, self.isLocal, self.ports) = (addresses, isLocal, ports)
    }
}

/// Who is on the other side.
package enum PolicyPeer: Hashable, Sendable {
    /// Pods of the policy's own namespace.
    case pods(LabelMatch)
    case namespaces(LabelMatch, pods: LabelMatch)
    case block(IPPrefix, except: [IPPrefix])
}

package struct PolicyPort: Hashable, Sendable {
    package enum Number: Hashable, Sendable {
        case any
        case range(UInt16, UInt16)
        /// As the receiving pod's containers name it; a pod that has no such port is not meant.
        case named(String)
    }
    package var transport: TransportProtocol
    package var number: Number
    package init(_ transport: TransportProtocol, _ number: Number = .any) {
        (self.transport, self.number) = (transport, number)
    }
    package init(_ transport: TransportProtocol, _ port: UInt16) { self.init(transport, .range(port, port)) }
}

package struct PolicyRule: Hashable, Sendable {
    /// Nil: everybody. Empty: nobody (all that was there made no sense).
    package var peers: [PolicyPeer]?
    /// Nil: all traffic. Empty: none.
    package var ports: [PolicyPort]?
    package init(peers: [PolicyPeer]? = nil, ports: [PolicyPort]? = nil) { (self.peers, self.ports) = (peers, ports) }
}

package struct NetworkPolicy: Sendable, Equatable {
    /// "namespace/name"; part of the chains' names.
    package var id: String
    package var namespace: String
    /// The pods that it isolates.
    package var pods: LabelMatch
    /// What may come in; nil: the policy does not concern that direction. Empty: nothing may.
    package var ingress: [PolicyRule]?
    package var egress: [PolicyRule]?

    package init(
        _ name: String, namespace: String, pods: LabelMatch = .everything, ingress: [PolicyRule]? = nil,
        egress: [PolicyRule]? = nil
    ) {
        id = namespace + "/" + name
        (self.namespace, self.pods, self.ingress, self.egress) = (namespace, pods, ingress, egress)
    }
}

/// What has changed since the last time.
package struct PolicyChanges: Sendable {
    package var pods: [PolicyPod] = []
    package var removedPods: [String] = []
    /// Labels by name.
    package var namespaces: [String: [String: String]] = [:]
    package var removedNamespaces: [String] = []
    package var policies: [NetworkPolicy] = []
    package var removedPolicies: [String] = []

    package init(
        pods: [PolicyPod] = [], namespaces: [String: [String: String]] = [:], policies: [NetworkPolicy] = []
    ) {
        (self.pods, self.namespaces, self.policies) = (pods, namespaces, policies)
    }
    package var isEmpty: Bool {
        pods.isEmpty && removedPods.isEmpty && namespaces.isEmpty && removedNamespaces.isEmpty && policies.isEmpty
            && removedPolicies.isEmpty
    }
}
