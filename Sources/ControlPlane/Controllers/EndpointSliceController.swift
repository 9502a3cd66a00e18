internal import Codecs
package import KubeAPI

/// Keeps the EndpointSlices and the Endpoints object of every Service that has a selector.
/// Source: k8s.io/kubernetes/pkg/controller/endpointslice and endpoint. Slices hold at most 100 endpoints, Endpoints 1,000.
package struct EndpointSliceController: Controller {
    package let name = "endpointslice-controller"
    private let client: any KubeClient
    private let clock: any KubeClock
    private let topology = EndpointTopology()
    static let manager = "endpointslice-controller.k8s.io"
    static let slots = 100

    package init(client: any KubeClient, clock: any KubeClock) { (self.client, self.clock) = (client, clock) }

    package var sources: [WatchSource] {
        [
            .own(.services),
            WatchSource(.endpointSlices) { slice, kind in
                // Somebody else's change to one of ours; our own writes find nothing to do.
                guard slice.labels["endpointslice.kubernetes.io/managed-by"] == Self.manager,
                    let service = slice.labels["kubernetes.io/service-name"], kind != .added
                else { return [] }
                return [ObjectKey(namespace: slice.namespace, name: service)]
            },
            // Which services select the pod is asked when the key is worked on.
            WatchSource(.pods) { pod, _ in [ObjectKey(namespace: pod.namespace, name: Self.allOf)] },
            WatchSource(.nodes) { [topology] node, kind in
                topology.note(node, kind) ? [ObjectKey(namespace: "", name: Self.allOf)] : []
            },
        ]
    }
    /// Stands for "every service of the namespace"; without a namespace, of all that have endpoints.
    private static let allOf = "\u{1}all"

    package func expand(_ key: ObjectKey) async throws(APIError) -> [ObjectKey]? {
        guard key == ObjectKey(namespace: "", name: Self.allOf) else { return nil }
        let namespaces = try await client.list(.namespaces, namespace: nil).decoded()
        return namespaces.map { ObjectKey(namespace: $0.name, name: Self.allOf) }
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        if key.name == Self.allOf {
            let services = try await client.list(.services, namespace: key.namespace).decoded()
            guard services.contains(where: { !$0.spec["selector"].isNull }) else { return nil }
            let pods = try await client.list(.pods, namespace: key.namespace).decoded()
            for service in services { try await reconcile(service, pods) }
            return nil
        }
        guard let service = try await client.getIfPresent(.services, namespace: key.namespace, name: key.name) else {
            // Slices and Endpoints go with their service: the slices by their owner reference.
            if let there = try await client.getIfPresent(.endpoints, namespace: key.namespace, name: key.name),
                there.annotations["endpoints.kubernetes.io/last-change-trigger-time"] != nil
            {
                try await client.deleteIfPresent(.endpoints, there)
            }
            return nil
        }
        guard !service.spec["selector"].isNull else { return nil }
        let options = ListOptions(labels: .equal(service.spec["selector"].stringMap))
        let pods = try await client.list(.pods, namespace: key.namespace, options: options).decoded()
        try await reconcile(service, pods)
        return nil
    }

    private func reconcile(_ service: KubeObject, _ pods: [KubeObject]) async throws(APIError) {
        guard !service.spec["selector"].isNull, service.spec["type"].string != "ExternalName", !service.isBeingDeleted
        else { return }
        let selector = LabelSelector.equal(service.spec["selector"].stringMap)
        let chosen = pods.filter {
            selector.matches($0.labels) && $0.podPhase != "Succeeded" && $0.podPhase != "Failed"
                && $0.status["podIP"].string?.isEmpty == false
        }
        try await reconcileSlices(service, chosen)
        try await reconcileEndpoints(service, chosen)
    }

    // MARK: - EndpointSlices

    private func reconcileSlices(_ service: KubeObject, _ pods: [KubeObject]) async throws(APIError) {
        let options = ListOptions(
            labels: .equal([
                "kubernetes.io/service-name": service.name, "endpointslice.kubernetes.io/managed-by": Self.manager,
            ]))
        let existing = try await client.list(.endpointSlices, namespace: service.namespace, options: options).decoded()
        let families = Self.families(service)
        for family in families {
            try await reconcileSlices(
                service, pods, family, existing.filter { $0["addressType"].string == family })
        }
        // Of a family that the service has no more.
        try await delete(existing.filter { !families.contains($0["addressType"].string ?? "") })
    }

    static func families(_ service: KubeObject) -> [String] {
        let families = service.spec["ipFamilies"].elements.compactMap(\.string)
        if !families.isEmpty { return families }
        return [service.spec["clusterIP"].string?.utf8.contains(UInt8(ascii: ":")) == true ? "IPv6" : "IPv4"]
    }

    /// The pod's address of a family; pods of one family only are no endpoints of the other.
    static func address(_ pod: KubeObject, _ family: String) -> String? {
        let all = pod.status["podIPs"].elements.compactMap { $0["ip"].string }
        return (all.isEmpty ? [pod.status["podIP"].string].compactMap { $0 } : all)
            .first { $0.utf8.contains(UInt8(ascii: ":")) == (family == "IPv6") }
    }

    private func delete(_ slices: [KubeObject]) async throws(APIError) {
        for slice in slices { try await client.deleteIfPresent(.endpointSlices, slice) }
    }

    private func reconcileSlices(
        _ service: KubeObject, _ pods: [KubeObject], _ family: String, _ slices: [KubeObject]
    ) async throws(APIError) {
        var existing = slices
        let publish = service.spec["publishNotReadyAddresses"].bool ?? false

        // Pods that resolve a named port differently cannot share a slice.
        var groups: [(ports: JSON, endpoints: [JSON])] = []
        var endpoints: [JSON] = []
        var chosen: [KubeObject] = []
        for pod in pods.sorted(by: { $0.name < $1.name }) {
            guard let address = Self.address(pod, family) else { continue }
            var endpoint = Self.endpoint(pod, service, address, publishNotReady: publish)
            if let zone = pod.spec["nodeName"].string.flatMap(topology.zone) { endpoint["zone"] = .string(zone) }
            endpoints.append(endpoint)
            chosen.append(pod)
        }
        topology.hint(&endpoints, service)
        for (pod, endpoint) in zip(chosen, endpoints) {
            let ports = Self.slicePorts(service, pod)
            if let i = groups.firstIndex(where: { $0.ports == ports }) {
                groups[i].endpoints.append(endpoint)
            } else {
                groups.append((ports, [endpoint]))
            }
        }
        if groups.isEmpty { groups = [(Self.slicePorts(service, nil), [])] }

        var wanted: [(ports: JSON, endpoints: [JSON])] = []
        for group in groups {
            var rest = group.endpoints[...]
            repeat {
                wanted.append((group.ports, Array(rest.prefix(Self.slots))))
                rest = rest.dropFirst(Self.slots)
            } while !rest.isEmpty
        }
        for want in wanted {
            let labels = Self.sliceLabels(service)
            // Reuse the slice that is nearest: same ports, most endpoints in common is not needed at this size.
            if let i = existing.firstIndex(where: { $0["ports"] == want.ports }) ?? existing.indices.first {
                let old = existing.remove(at: i)
                var slice = old
                slice["endpoints"] = .array(want.endpoints)
                slice["ports"] = want.ports
                slice.metadata["labels"] = .map(labels)
                if slice["endpoints"] != old["endpoints"] || slice["ports"] != old["ports"]
                    || slice.labels != old.labels
                {
                    slice.metadata["annotations"]["endpoints.kubernetes.io/last-change-trigger-time"] =
                        .string(clock.now().rfc3339)
                    _ = try await client.update(.endpointSlices, slice)
                }
            } else {
                var slice = KubeObject(["apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice"])
                slice.metadata = [
                    "generateName": .string(service.name + "-"), "namespace": .string(service.namespace),
                    "labels": .map(labels),
                    "annotations": [
                        "endpoints.kubernetes.io/last-change-trigger-time": .string(clock.now().rfc3339)
                    ],
                    "ownerReferences": [OwnerReference(controller: service).json],
                ]
                slice["addressType"] = .string(family)
                slice["endpoints"] = .array(want.endpoints)
                slice["ports"] = want.ports
                _ = try await client.create(.endpointSlices, slice)
            }
        }
        try await delete(existing)
    }

    private static func sliceLabels(_ service: KubeObject) -> [String: String] {
        var labels = service.labels.filter { !$0.key.hasPrefix("endpointslice.kubernetes.io/") }
        labels["kubernetes.io/service-name"] = service.name
        labels["endpointslice.kubernetes.io/managed-by"] = manager
        if service.spec["clusterIP"].string == "None" { labels["service.kubernetes.io/headless"] = "" }
        return labels
    }

    /// The container port that a service's port means in this pod; nil: the pod has none of that name.
    static func targetPort(_ port: JSON, _ pod: KubeObject?) -> Int64? {
        let target = port["targetPort"]
        if let number = target.int { return number == 0 ? port["port"].int : number }
        guard let name = target.string, !name.isEmpty else { return port["port"].int }
        guard let pod else { return nil }
        let transport = port["protocol"].string ?? "TCP"
        for list in ["containers", "initContainers"] {
            // Of init containers only those that stay beside the others serve.
            for container in pod.spec[list].elements
            where list == "containers" || container["restartPolicy"].string == "Always" {
                for candidate in container["ports"].elements
                where candidate["name"].string == name && (candidate["protocol"].string ?? "TCP") == transport {
                    return candidate["containerPort"].int
                }
            }
        }
        return nil
    }

    private static func slicePorts(_ service: KubeObject, _ pod: KubeObject?) -> JSON {
        .array(
            service.spec["ports"].elements.compactMap { port in
                guard let number = targetPort(port, pod) else { return nil }
                var json: JSON = [
                    "name": .string(port["name"].string ?? ""), "port": .int(number),
                    "protocol": .string(port["protocol"].string ?? "TCP"),
                ]
                json["appProtocol"] = port["appProtocol"]
                return json
            })
    }

    private static func endpoint(
        _ pod: KubeObject, _ service: KubeObject, _ address: String, publishNotReady: Bool
    ) -> JSON {
        let serving = pod.isReadyPod
        let terminating = pod.isBeingDeleted
        var json: JSON = [
            "addresses": [.string(address)],
            "conditions": [
                "ready": .bool(publishNotReady || serving && !terminating), "serving": .bool(serving),
                "terminating": .bool(terminating),
            ],
        ]
        if let hostname = pod.spec["hostname"].string, !hostname.isEmpty, pod.spec["subdomain"].string == service.name {
            json["hostname"] = .string(hostname)
        }
        json["nodeName"] = pod.spec["nodeName"]
        json["targetRef"] = reference(pod)
        return json
    }

    private static func reference(_ pod: KubeObject) -> JSON {
        ["kind": "Pod", "namespace": .string(pod.namespace), "name": .string(pod.name), "uid": .string(pod.uid)]
    }

    // MARK: - Endpoints

    private func reconcileEndpoints(_ service: KubeObject, _ pods: [KubeObject]) async throws(APIError) {
        let publish = service.spec["publishNotReadyAddresses"].bool ?? false
        var subsets: [(ports: JSON, ready: [JSON], notReady: [JSON])] = []
        for pod in pods.sorted(by: { $0.name < $1.name }).prefix(1000) where publish || !pod.isBeingDeleted {
            let ports: JSON = .array(
                service.spec["ports"].elements.compactMap { port in
                    guard let number = Self.targetPort(port, pod) else { return nil }
                    var json: JSON = [:]
                    if let name = port["name"].string, !name.isEmpty { json["name"] = .string(name) }
                    json["port"] = .int(number)
                    json["protocol"] = .string(port["protocol"].string ?? "TCP")
                    return json
                })
            if ports.elements.isEmpty, !service.spec["ports"].elements.isEmpty { continue }
            // Endpoints know one family, the service's first.
            guard let ip = Self.address(pod, Self.families(service)[0]) else { continue }
            var address: JSON = ["ip": .string(ip)]
            if let hostname = pod.spec["hostname"].string, !hostname.isEmpty,
                pod.spec["subdomain"].string == service.name
            {
                address["hostname"] = .string(hostname)
            }
            address["nodeName"] = pod.spec["nodeName"]
            address["targetRef"] = Self.reference(pod)
            let i: Int
            if let found = subsets.firstIndex(where: { $0.ports == ports }) {
                i = found
            } else {
                subsets.append((ports, [], []))
                i = subsets.count - 1
            }
            if publish || pod.isReadyPod {
                subsets[i].ready.append(address)
            } else {
                subsets[i].notReady.append(address)
            }
        }
        let json: JSON = .array(
            subsets.map { subset in
                var json: JSON = [:]
                if !subset.ready.isEmpty { json["addresses"] = .array(subset.ready) }
                if !subset.notReady.isEmpty { json["notReadyAddresses"] = .array(subset.notReady) }
                if !subset.ports.elements.isEmpty { json["ports"] = subset.ports }
                return json
            })
        var labels = service.labels
        labels["endpoints.kubernetes.io/managed-by"] = "endpoint-controller"
        if service.spec["clusterIP"].string == "None" { labels["service.kubernetes.io/headless"] = "" }
        let old = try await client.getIfPresent(.endpoints, namespace: service.namespace, name: service.name)
        var object =
            old
            ?? KubeObject(
                GroupVersionKind("", "v1", "Endpoints"), name: service.name, namespace: service.namespace)
        object["subsets"] = json.elements.isEmpty ? .null : json
        object.labels = labels
        if let old, old["subsets"] == object["subsets"], old.labels == object.labels { return }
        object.metadata["annotations"]["endpoints.kubernetes.io/last-change-trigger-time"] = .string(
            clock.now().rfc3339)
        if old == nil {
            _ = try await client.create(.endpoints, object)
        } else {
            _ = try await client.update(.endpoints, object)
        }
    }
}
