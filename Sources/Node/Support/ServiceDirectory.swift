internal import Codecs
package import KubeAPI
import Synchronization

/// The cluster's services as pods see them in their environment: names, addresses and ports, nothing else.
/// Fed by whoever follows services (the proxy adapter).
package final class ServiceDirectory: Sendable {
    struct Entry: Sendable, Equatable {
        struct Port: Sendable, Equatable {
            var name: String
            var port: Int64
            var transport: String
        }
        var address: String
        var ports: [Port]
    }
    private struct State {
        var services: [ObjectKey: Entry] = [:]
        var synced = false
        var waiters: [CheckedContinuation<Void, Never>] = []
    }
    private let state = Mutex(State())

    package init() {}

    package func reset(_ services: [KubeObject]) {
        let waiters = state.withLock { state -> [CheckedContinuation<Void, Never>] in
            state.services = [:]
            for service in services { state.services[service.key] = Self.entry(service) }
            state.synced = true
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }
    package func set(_ service: KubeObject) { state.withLock { $0.services[service.key] = Self.entry(service) } }
    package func remove(_ key: ObjectKey) { state.withLock { $0.services[key] = nil } }

    package var isSynced: Bool { state.withLock { $0.synced } }

    /// Returns once the services have been listed.
    package func waitUntilSynced() async {
        await withCheckedContinuation { continuation in
            let now = state.withLock { state -> Bool in
                if !state.synced { state.waiters.append(continuation) }
                return state.synced
            }
            if now { continuation.resume() }
        }
    }

    /// nil: one without an address of its own.
    private static func entry(_ service: KubeObject) -> Entry? {
        let spec = service.spec
        guard let address = spec["clusterIP"].string, !address.isEmpty, address != "None",
            spec["type"].string != "ExternalName"
        else { return nil }
        return Entry(
            address: address,
            ports: spec["ports"].elements.map {
                Entry.Port(
                    name: $0["name"].string ?? "", port: $0["port"].int ?? 0,
                    transport: ($0["protocol"].string ?? "TCP").lowercased())
            })
    }

    /// Variables for a pod of `namespace`: its services and "kubernetes"; with links off, the latter only.
    /// Source: k8s.io/kubernetes/pkg/kubelet/envvars.
    package func variables(namespace: String, links: Bool) -> [String: String] {
        let master = ObjectKey(namespace: "default", name: "kubernetes")
        let chosen = state.withLock { state -> [(ObjectKey, Entry)] in
            var list = state.services.filter { key, _ in key == master }
            if links { list.merge(state.services.filter { $0.key.namespace == namespace }) { _, new in new } }
            return list.map { ($0.key, $0.value) }
        }
        var variables: [String: String] = [:]
        // The pod's own namespace wins over the master service of the same name.
        for (key, entry) in chosen.sorted(by: { ($0.0 == master ? 0 : 1, $0.0) < ($1.0 == master ? 0 : 1, $1.0) }) {
            Self.add(Self.variableName(key.name), entry, to: &variables)
        }
        return variables
    }

    private static func add(_ name: String, _ entry: Entry, to variables: inout [String: String]) {
        guard let first = entry.ports.first else { return }
        variables["\(name)_SERVICE_HOST"] = entry.address
        variables["\(name)_SERVICE_PORT"] = String(first.port)
        let host = entry.address.contains(":") ? "[\(entry.address)]" : entry.address
        for port in entry.ports where !port.name.isEmpty {
            variables["\(name)_SERVICE_PORT_\(variableName(port.name))"] = String(port.port)
        }
        variables["\(name)_PORT"] = "\(first.transport)://\(host):\(first.port)"
        for port in entry.ports {
            let prefix = "\(name)_PORT_\(port.port)_\(port.transport.uppercased())"
            variables[prefix] = "\(port.transport)://\(host):\(port.port)"
            variables[prefix + "_PROTO"] = port.transport
            variables[prefix + "_PORT"] = String(port.port)
            variables[prefix + "_ADDR"] = entry.address
        }
    }

    private static func variableName(_ name: String) -> String {
        String(name.uppercased().map { $0 == "-" ? "_" : $0 })
    }
}
