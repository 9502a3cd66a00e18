internal import Codecs
package import KubeAPI

/// Makes EndpointSlices of Endpoints that people write themselves, for Services without a selector: the proxy reads
/// slices only. Source: k8s.io/kubernetes/pkg/controller/endpointslicemirroring, with its limit of 1,000 addresses.
package struct EndpointSliceMirroring: Controller {
    package let name = "endpointslice-mirroring-controller"
    private let client: any KubeClient
    static let manager = "endpointslicemirroring-controller.k8s.io"
    private static let managedBy = "endpointslice.kubernetes.io/managed-by"
    private static let limit = 1000

    package init(client: any KubeClient) { self.client = client }

    package var sources: [WatchSource] {
        [
            .own(.services),
            // What the endpoints controller writes has its slices already.
            WatchSource(.endpoints) { object, _ in
                object.labels["endpoints.kubernetes.io/managed-by"] == nil ? [object.key] : []
            },
            WatchSource(.endpointSlices) { slice, kind in
                guard slice.labels[Self.managedBy] == Self.manager, kind != .added,
                    let service = slice.labels["kubernetes.io/service-name"]
                else { return [] }
                return [ObjectKey(namespace: slice.namespace, name: service)]
            },
        ]
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        let options = ListOptions(
            labels: .equal(["kubernetes.io/service-name": key.name, Self.managedBy: Self.manager]))
        var existing = try await client.list(.endpointSlices, namespace: key.namespace, options: options).decoded()
        if let endpoints = try await mirrored(key) {
            for wanted in Self.slices(of: endpoints) {
                let match = existing.firstIndex {
                    $0["addressType"] == wanted["addressType"] && $0["ports"] == wanted["ports"]
                }
                guard let i = match ?? existing.firstIndex(where: { $0["addressType"] == wanted["addressType"] }) else {
                    _ = try await client.create(.endpointSlices, wanted)
                    continue
                }
                let old = existing.remove(at: i)
                var slice = old
                (slice["endpoints"], slice["ports"]) = (wanted["endpoints"], wanted["ports"])
                (slice.labels, slice.annotations) = (wanted.labels, wanted.annotations)
                if slice.json != old.json { _ = try await client.update(.endpointSlices, slice) }
            }
        }
        for slice in existing { try await client.deleteIfPresent(.endpointSlices, slice) }
        return nil
    }

    /// The Endpoints of a service that nobody else makes slices for.
    private func mirrored(_ key: ObjectKey) async throws(APIError) -> KubeObject? {
        guard let service = try await client.getIfPresent(.services, namespace: key.namespace, name: key.name),
            service.spec["selector"].isNull, !service.isBeingDeleted,
            let endpoints = try await client.getIfPresent(.endpoints, namespace: key.namespace, name: key.name),
            !endpoints.isBeingDeleted, endpoints.labels["endpointslice.kubernetes.io/skip-mirror"] != "true",
            endpoints.annotations["control-plane.alpha.kubernetes.io/leader"] == nil
        else { return nil }
        return endpoints
    }

    /// One slice for each subset and family of addresses.
    private static func slices(of endpoints: KubeObject) -> [KubeObject] {
        var labels = endpoints.labels
        labels["kubernetes.io/service-name"] = endpoints.name
        labels[managedBy] = manager
        var annotations = endpoints.annotations
        annotations["kubectl.kubernetes.io/last-applied-configuration"] = nil
        var found: [KubeObject] = []
        for subset in endpoints["subsets"].elements {
            for family in ["IPv4", "IPv6"] {
                var members: [JSON] = []
                for (list, ready) in [("addresses", true), ("notReadyAddresses", false)] {
                    for address in subset[list].elements where members.count < limit {
                        guard let text = address["ip"].string, let ip = IPAddress(text),
                            ip.isIPv6 == (family == "IPv6")
                        else { continue }
                        members.append(endpoint(address, ready: ready))
                    }
                }
                guard !members.isEmpty else { continue }
                var slice = KubeObject(["apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice"])
                slice.metadata = [
                    "generateName": .string(endpoints.name + "-"), "namespace": .string(endpoints.namespace),
                    "ownerReferences": [OwnerReference(controller: endpoints).json],
                ]
                (slice.labels, slice.annotations) = (labels, annotations)
                slice["addressType"] = .string(family)
                slice["endpoints"] = .array(members)
                slice["ports"] = ports(subset)
                found.append(slice)
            }
        }
        return found
    }

    private static func ports(_ subset: JSON) -> JSON {
        .array(
            subset["ports"].elements.map { port in
                var json: JSON = [
                    "name": .string(port["name"].string ?? ""), "port": port["port"],
                    "protocol": .string(port["protocol"].string ?? "TCP"),
                ]
                json["appProtocol"] = port["appProtocol"]
                return json
            })
    }

    private static func endpoint(_ address: JSON, ready: Bool) -> JSON {
        var json: JSON = ["addresses": [address["ip"]], "conditions": ["ready": .bool(ready)]]
        for key in ["hostname", "nodeName", "targetRef"] { json[key] = address[key] }
        return json
    }
}
