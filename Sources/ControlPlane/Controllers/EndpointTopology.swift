internal import Codecs
internal import KubeAPI
import Synchronization

/// Where nodes are, for the `zone` of endpoints and the hints whom they are meant for.
final class EndpointTopology: Sendable {
    struct Place: Equatable, Sendable {
        var zone: String?
        /// Takes part in topology-aware routing.
        var isCounted: Bool
        /// Allocatable, in thousandths.
        var cpu: Int64
    }
    private let places = Mutex<[String: Place]>([:])

    /// True if what endpoints say may have to change.
    func note(_ node: KubeObject, _ kind: WatchEvent.Kind) -> Bool {
        places.withLock { places in
            let old = places[node.name]
            places[node.name] = kind == .deleted ? nil : Self.place(node)
            return places[node.name] != old
        }
    }

    static func place(_ node: KubeObject) -> Place {
        let isReady = node.status["conditions"].elements.contains {
            $0["type"].string == "Ready" && $0["status"].string == "True"
        }
        let isControlPlane = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"]
            .contains { node.labels[$0] != nil }
        let cpu = node.status["allocatable"]["cpu"].quantity?.milliValue ?? 0
        return Place(
            zone: node.labels["topology.kubernetes.io/zone"], isCounted: isReady && !isControlPlane, cpu: cpu)
    }

    func zone(of node: String) -> String? { places.withLock { $0[node]?.zone } }

    /// Writes hints into the endpoints of all slices of one family, or takes them away.
    func hint(_ endpoints: inout [JSON], _ service: KubeObject) {
        let mode =
            service.annotations["service.kubernetes.io/topology-mode"]
            ?? service.annotations["service.kubernetes.io/topology-aware-hints"]
        if mode == "Auto" || mode == "auto" {
            let places = places.withLock { Array($0.values) }
            for (index, zone) in Self.share(endpoints, places) {
                endpoints[index]["hints"] = ["forZones": [["name": .string(zone)]]]
            }
            return
        }
        let wish = service.spec["trafficDistribution"].string
        guard wish == "PreferClose" || wish == "PreferSameZone" || wish == "PreferSameNode" else { return }
        for index in endpoints.indices where endpoints[index]["conditions"]["ready"].bool == true {
            var hints: JSON = .null
            if let zone = endpoints[index]["zone"].string { hints = ["forZones": [["name": .string(zone)]]] }
            if wish == "PreferSameNode", let node = endpoints[index]["nodeName"].string {
                hints["forNodes"] = [["name": .string(node)]]
            }
            if !hints.isNull { endpoints[index]["hints"] = hints }
        }
    }

    /// Zones for the ready endpoints, so that each zone has a part of them that fits its CPUs; nothing where that cannot be
    /// had without more than a fifth of overload.
    /// Source: k8s.io/endpointslice/topologycache (KEP-2433).
    static func share(_ endpoints: [JSON], _ places: [Place]) -> [(Int, String)] {
        let nodes = places.filter(\.isCounted)
        var cpus: [String: Int64] = [:]
        for node in nodes {
            guard let zone = node.zone, node.cpu > 0 else { return [] }
            cpus[zone, default: 0] += node.cpu
        }
        let ready = endpoints.indices.filter { endpoints[$0]["conditions"]["ready"].bool == true }
        guard cpus.count >= 2, cpus.count <= ready.count else { return [] }
        let total = Double(cpus.values.reduce(0, +))
        var desired: [String: Double] = [:]
        var minimum: [String: Int] = [:]
        for (zone, cpu) in cpus {
            let share = Double(cpu) / total * Double(ready.count)
            desired[zone] = share
            minimum[zone] = Int((share / 1.2).rounded(.up))
        }
        guard minimum.values.reduce(0, +) <= ready.count else { return [] }
        var members: [String: [Int]] = [:]
        for index in ready {
            guard let zone = endpoints[index]["zone"].string else { return [] }
            members[zone, default: []].append(index)
        }
        while let poor = cpus.keys.sorted().first(where: { (members[$0]?.count ?? 0) < minimum[$0] ?? 0 }) {
            func surplus(_ zone: String) -> Double { Double(members[zone]?.count ?? 0) - (desired[zone] ?? 0) }
            let rich = members.keys.sorted().max { surplus($0) < surplus($1) }
            guard let rich, rich != poor, (members[rich]?.count ?? 0) > minimum[rich] ?? 0,
                let moved = members[rich]?.popLast()
            else { return [] }
            members[poor, default: []].append(moved)
        }
        return members.flatMap { zone, indexes in indexes.map { ($0, zone) } }.sorted { $0.0 < $1.0 }
    }
}
