internal import Codecs
internal import KubeAPI
internal import Linux
internal import Logging
internal import Netlink

/// The Service and EndpointSlices by which clients find the cluster DNS.
extension ClusterNames {
    private static let labels: [String: String] = [
        "k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS",
    ]
    private static let ports: [(name: String, transport: String)] = [("dns", "UDP"), ("dns-tcp", "TCP")]
    /// CoreDNS's port for Prometheus.
    package static let metricsPort = 9153

    /// Makes the Service, or gives it the cluster DNS address again; tries until it is there.
    func publishService(_ context: NodeContext) async {
        var delay: Duration = .milliseconds(200)
        while !Task.isCancelled {
            do throws(APIError) {
                try await writeService(context)
                return
            } catch {
                context.logger.debug("service kube-dns: \(error.message); again in \(delay)")
                await context.clock.sleep(for: delay)
                delay = min(delay * 2, .seconds(30))
            }
        }
    }

    private func writeService(_ context: NodeContext) async throws(APIError) {
        if let there = try await context.client.getIfPresent(.services, namespace: Self.namespace, name: Self.service) {
            if there.spec["clusterIP"].string == address.description, there.spec["selector"].isNull { return }
            // The address cannot be changed, and a selector would let others write its endpoints.
            _ = try await context.client.delete(
                .services, namespace: Self.namespace, name: Self.service, options: DeleteOptions())
        }
        var service = KubeObject(GroupVersionKind("", "v1", "Service"), name: Self.service, namespace: Self.namespace)
        service.labels = Self.labels
        service.spec = [
            "clusterIP": .string(address.description), "clusterIPs": .strings([address.description]),
            "type": "ClusterIP",
            "ports": .array(
                Self.ports.map { port -> JSON in
                    [
                        "name": .string(port.name), "port": 53, "targetPort": .int(Int64(self.port)),
                        "protocol": .string(port.transport),
                    ]
                } + [
                    [
                        "name": "metrics", "port": .int(Int64(Self.metricsPort)),
                        "targetPort": .int(Int64(Self.metricsPort)), "protocol": "TCP",
                    ]
                ]),
        ]
        service.annotations = [
            "prometheus.io/scrape": "true", "prometheus.io/port": String(Self.metricsPort),
        ]
        _ = try await context.client.create(.services, service)
    }

    /// One slice per family of this node, with its gateways.
    func publishEndpoints(_ gateways: [IPAddress], _ context: NodeContext) async {
        for family in AddressFamily.allCases {
            let name = "\(Self.service)-\(context.configuration.name)" + (family == .ipv4 ? "" : "-ipv6")
            let own = gateways.filter { $0.family == family }
            if own.isEmpty { continue }
            var slice = KubeObject(
                GroupVersionKind("discovery.k8s.io", "v1", "EndpointSlice"), name: name, namespace: Self.namespace)
            slice.labels = Self.labels.merging([
                "kubernetes.io/service-name": Self.service, "endpointslice.kubernetes.io/managed-by": "k3s",
            ]) { _, new in new }
            slice["addressType"] = .string(family.description)
            slice["endpoints"] = .array(
                own.map { gateway -> JSON in
                    [
                        "addresses": .strings([gateway.description]), "nodeName": .string(context.configuration.name),
                        "conditions": ["ready": true, "serving": true, "terminating": false],
                    ]
                })
            slice["ports"] = .array(
                Self.ports.map { port -> JSON in
                    [
                        "name": .string(port.name), "port": .int(Int64(self.port)),
                        "protocol": .string(port.transport),
                    ]
                })
            await write(slice, context)
        }
    }

    private func write(_ slice: KubeObject, _ context: NodeContext) async {
        var delay: Duration = .milliseconds(200)
        for _ in 0..<8 where !Task.isCancelled {
            do throws(APIError) {
                if let there = try await context.client.getIfPresent(
                    .endpointSlices, namespace: slice.namespace, name: slice.name)
                {
                    if there["endpoints"] == slice["endpoints"], there["ports"] == slice["ports"] { return }
                    var slice = slice
                    slice.resourceVersion = there.resourceVersion
                    _ = try await context.client.update(.endpointSlices, slice)
                } else {
                    _ = try await context.client.create(.endpointSlices, slice)
                }
                return
            } catch {
                context.logger.debug("endpointslice \(slice.name): \(error.message); again in \(delay)")
                await context.clock.sleep(for: delay)
                delay = delay * 2
            }
        }
    }

    /// What an earlier start with cluster DNS left, for `--disable coredns`.
    static func withdraw(_ context: NodeContext) async {
        guard
            let there = try? await context.client.getIfPresent(.services, namespace: namespace, name: service),
            there.spec["selector"].isNull, there.labels["k8s-app"] == "kube-dns"
        else { return }
        let slice = "\(service)-\(context.configuration.name)"
        for name in [slice, slice + "-ipv6"] {
            _ = try? await context.client.delete(
                .endpointSlices, namespace: namespace, name: name, options: DeleteOptions())
        }
        _ = try? await context.client.delete(.services, namespace: namespace, name: service, options: DeleteOptions())
    }
}
