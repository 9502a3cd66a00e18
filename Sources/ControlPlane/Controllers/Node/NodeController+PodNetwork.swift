internal import Codecs
internal import KubeAPI
import Synchronization

/// Each node's part of the pod networks.
extension NodeController {
    /// A range is taken before it is written, so that two nodes that come at the same time never get the same; those of nodes
    /// that are gone are free again.
    ///
    /// Returns the node as it is then, and when to try again if there is no room.
    func assignPodNetwork(_ node: KubeObject) async throws(APIError) -> (node: KubeObject, retry: Duration?) {
        let name = node.name
        let own = Self.podRanges(of: node)
        if own.isEmpty {
            try await learnPodNetworks()
            guard let ranges = podRanges.withLock({ $0.take(for: name) }) else {
                if podRanges.withLock({ $0.reported.insert(name).inserted }) {
                    await events.event(
                        node, type: .warning, reason: "CIDRNotAvailable",
                        "Node \(node.name) status is now: CIDRNotAvailable")
                }
                return (node, .seconds(10))
            }
            defer { podRanges.withLock { _ = $0.assigning.remove(name) } }
            let assigned = try await client.patch(
                .nodes, namespace: "", name: node.name,
                ["spec": ["podCIDR": .string(ranges[0]), "podCIDRs": .strings(ranges)]], type: .merge,
                subresource: nil)
            podRanges.withLock { _ = $0.reported.remove(name) }
            return (assigned, nil)
        }
        let others = podRanges.withLock { $0.adopt(own, by: name) }
        let isNews = podRanges.withLock { state in
            if !others.isEmpty { return state.reported.insert(name).inserted }
            state.reported.remove(name)
            return false
        }
        if isNews {
            await events.event(
                node, type: .warning, reason: "CIDRConflict",
                "pod CIDR \(own.joined(separator: ", ")) is also that of node \(others.joined(separator: ", ")): "
                    + "pods of one of them cannot be reached; delete one of the nodes")
        }
        return (node, nil)
    }

    /// Looks at all nodes before one gets a range.
    private func learnPodNetworks() async throws(APIError) {
        let start = podRanges.withLock { $0.serial }
        let nodes = try await client.list(.nodes).decoded()
        podRanges.withLock { state in
            let names = Set(nodes.map(\.name))
            // Who came after the list was asked for is not on it.
            for (name, serial) in state.known
            where !names.contains(name) && serial <= start && !state.assigning.contains(name) {
                state.forget(name)
            }
            // In the order of creation: of two that have the same, the older one has it rightly.
            for node in nodes.sorted(by: {
                ($0.creationTimestamp?.seconds ?? 0, $0.name) < ($1.creationTimestamp?.seconds ?? 0, $1.name)
            }) where !Self.podRanges(of: node).isEmpty {
                _ = state.adopt(Self.podRanges(of: node), by: node.name)
            }
        }
    }

    private static func podRanges(of node: KubeObject) -> [String] {
        let list = node.spec["podCIDRs"].elements.compactMap(\.string)
        return list.isEmpty ? node.spec["podCIDR"].string.map { [$0] } ?? [] : list
    }
}

extension NodeController {
    /// What is known of the nodes' ranges.
    struct PodNetworks: Sendable {
        var ranges: PodRanges
        /// Nodes with ranges, and when they were first seen.
        var known: [String: Int] = [:]
        var serial = 0
        /// Nodes whose ranges are being written.
        var assigning: Set<String> = []
        /// Nodes whose trouble was told.
        var reported: Set<String> = []

        init(_ ranges: PodRanges) { self.ranges = ranges }

        mutating func take(for node: String) -> [String]? {
            guard let taken = ranges.allocate(for: node) else { return nil }
            assigning.insert(node)
            see(node)
            return taken
        }
        mutating func adopt(_ own: [String], by node: String) -> [String] {
            see(node)
            return ranges.adopt(own, by: node)
        }
        mutating func forget(_ node: String) {
            ranges.release(node)
            known[node] = nil
            reported.remove(node)
        }
        private mutating func see(_ node: String) {
            guard known[node] == nil else { return }
            serial += 1
            known[node] = serial
        }
    }
}
