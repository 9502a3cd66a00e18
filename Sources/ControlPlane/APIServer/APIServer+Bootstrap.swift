internal import Codecs
package import KubeAPI
internal import Store

extension APIServer {
    private static let namespaces = ["default", "kube-system", "kube-public", "kube-node-lease"]

    /// Makes sure of what every cluster has: its namespaces, the two system priority classes and the `kubernetes` service
    /// with this server as its endpoint. Safe to call at every start.
    package func bootstrap() async throws(APIError) {
        let client = client(as: .system)
        for name in Self.namespaces {
            try await ensure(client, .namespaces, KubeObject(GroupVersionKind(.core, "Namespace"), name: name))
        }
        let classes = GroupVersionKind("scheduling.k8s.io", "v1", "PriorityClass")
        for (name, value) in PriorityClassStrategy.system.sorted(by: { $0.key < $1.key }) {
            var object = KubeObject(classes, name: name)
            object.json["value"] = .int(value)
            object.json["description"] = .string(
                name == "system-node-critical"
                    ? "Used for system critical pods that must not be moved from their current node."
                    : "Used for system critical pods that must run in the cluster, but can be moved to another node if "
                        + "necessary.")
            try await ensure(client, GroupVersionResource("scheduling.k8s.io", "v1", "priorityclasses"), object)
        }
        try await FlowControlDefaults.ensure(client)
        try await LocalAPIServices.sync(client, Discovery(configuration.schema).groupVersions)
        try await ensure(
            client, ServiceAddresses.cidrs, ServiceAddresses.defaultNetwork(configuration.serviceNetworks))
        try await publishTrust(client)
        try await publishService(client)
    }

    /// Source: k8s.io/kubernetes/pkg/controlplane/controller/clusterauthenticationtrust.
    private func publishTrust(_ client: LocalClient) async throws(APIError) {
        guard let trust = configuration.trustedByExtensions else { return }
        var map = KubeObject(
            GroupVersionKind(.core, "ConfigMap"), name: "extension-apiserver-authentication", namespace: "kube-system")
        map.json["data"] = [
            "client-ca-file": .string(String(decoding: trust.clientCA, as: UTF8.self)),
            "requestheader-client-ca-file": .string(String(decoding: trust.frontProxyCA, as: UTF8.self)),
            "requestheader-allowed-names": .string(JSON.strings([RequestAuthenticator.frontProxyName]).text),
            "requestheader-username-headers": #"["X-Remote-User"]"#,
            "requestheader-group-headers": #"["X-Remote-Group"]"#,
            "requestheader-extra-headers-prefix": #"["X-Remote-Extra-"]"#,
        ]
        try await replace(client, .configMaps, map)
    }

    private func ensure(
        _ client: LocalClient, _ resource: GroupVersionResource, _ object: KubeObject
    ) async throws(APIError) {
        if try await client.getIfPresent(resource, namespace: object.namespace, name: object.name) != nil { return }
        do throws(APIError) {
            _ = try await client.create(resource, object)
        } catch {
            if !error.isAlreadyExists { throw error }
        }
    }

    private func publishService(_ client: LocalClient) async throws(APIError) {
        guard let address = configuration.advertiseAddress else { return }
        var service = KubeObject(GroupVersionKind(.core, "Service"), name: "kubernetes", namespace: "default")
        service.labels = ["component": "apiserver", "provider": "kubernetes"]
        service.json["spec"] = [
            "type": "ClusterIP", "clusterIP": .string(configuration.serviceNetworks[0].address(at: 1).description),
            "sessionAffinity": "None",
            "ports": [
                [
                    "name": "https", "protocol": "TCP", "port": 443,
                    "targetPort": .int(Int64(configuration.advertisePort)),
                ]
            ],
        ]
        try await ensure(client, .services, service)
        // A server for this machine alone: on the loopback pods would find themselves, and endpoints there are refused.
        var check = Validation()
        IPAddress.checkReachable(.string(address.description), "", &check)
        guard check.errors.isEmpty else { return }
        let port: JSON = ["name": "https", "protocol": "TCP", "port": .int(Int64(configuration.advertisePort))]

        var endpoints = KubeObject(GroupVersionKind(.core, "Endpoints"), name: "kubernetes", namespace: "default")
        endpoints.labels = ["endpointslice.kubernetes.io/skip-mirror": "true"]
        endpoints.json["subsets"] = [["addresses": [["ip": .string(address.description)]], "ports": [port]]]
        try await replace(client, .endpoints, endpoints)

        var slice = KubeObject(
            GroupVersionKind("discovery.k8s.io", "v1", "EndpointSlice"), name: "kubernetes", namespace: "default")
        slice.labels = ["kubernetes.io/service-name": "kubernetes"]
        slice.json["addressType"] = address.isIPv6 ? "IPv6" : "IPv4"
        slice.json["endpoints"] = [["addresses": [.string(address.description)], "conditions": ["ready": true]]]
        slice.json["ports"] = [port]
        try await replace(client, .endpointSlices, slice)
    }

    /// As `ensure`, but the content is the one given; an unchanged object is not written.
    private func replace(
        _ client: LocalClient, _ resource: GroupVersionResource, _ object: KubeObject
    ) async throws(APIError) {
        try await ensure(client, resource, object)
        _ = try await client.update(resource, object)
    }

    // MARK: - Events go after an hour

    private static let eventLife: Duration = .seconds(3600)

    /// Removes old events; runs until it is cancelled. It sleeps until the oldest event is due, and where there is none
    /// until there is one.
    package func expireEvents() async {
        let client = client(as: .system)
        let clock = configuration.clock
        while !Task.isCancelled {
            guard let events = try? registry.resource(.events),
                let page = try? registry.list(events, namespace: nil, ListParameters())
            else { return }
            let now = clock.now()
            var next: Timestamp?
            for item in page.items {
                let made = RawJSON.text(of: ["metadata", "creationTimestamp"], in: item.stored).flatMap {
                    Timestamp($0)
                }
                let last = RawJSON.text(of: ["lastTimestamp"], in: item.stored).flatMap { Timestamp($0) }
                guard let seen = [made, last].compactMap({ $0 }).max() else { continue }
                let due = seen.advanced(by: Self.eventLife)
                if due > now {
                    next = min(next ?? due, due)
                    continue
                }
                _ = try? await client.delete(
                    .events, namespace: RawJSON.text(of: ["metadata", "namespace"], in: item.stored) ?? "",
                    name: RawJSON.text(of: ["metadata", "name"], in: item.stored) ?? "",
                    options: DeleteOptions(resourceVersion: item.resourceVersion))
            }
            if let next {
                // A minute's worth of events goes together.
                await clock.sleep(for: next.duration(since: now) + .seconds(60))
            } else if let watch = try? registry.watch(
                events, namespace: nil, Self.watch(from: page.resourceVersion))
            {
                _ = try? await watch.next()
                watch.close()
            } else {
                await clock.sleep(for: .seconds(60))
            }
        }
    }

    private static func watch(from revision: Int64) -> WatchParameters {
        var parameters = WatchParameters()
        parameters.list.resourceVersion = revision
        return parameters
    }
}
