internal import Codecs
internal import KubeAPI

/// Rows of services, endpoints and endpoint slices.
enum ServiceCells {
    @Sendable static func service(_ service: KubeObject, _ now: Timestamp) -> [JSON] {
        let spec = service.spec
        let ports = spec["ports"].elements.map { port in
            let node = port["nodePort"].int ?? 0
            let number = "\(port["port"].int ?? 0)" + (node > 0 ? ":\(node)" : "")
            return "\(number)/\(port["protocol"].string ?? "TCP")"
        }
        return [
            .string(service.name), .string(spec["type"].string ?? ""),
            TableText.orNone(spec["clusterIPs"][0].string ?? spec["clusterIP"].string), .string(external(service)),
            TableText.orNone(ports.joined(separator: ",")), .string(service.age(now)),
            .string(TableText.labels(spec["selector"])),
        ]
    }

    private static func external(_ service: KubeObject) -> String {
        let own = service.spec["externalIPs"].elements.compactMap(\.string)
        switch service.spec["type"].string ?? "" {
        case "ClusterIP", "NodePort": return own.isEmpty ? "<none>" : own.joined(separator: ",")
        case "LoadBalancer":
            let ingress = service.status["loadBalancer"]["ingress"].elements.compactMap { item in
                item["ip"].string.flatMap { $0.isEmpty ? nil : $0 } ?? item["hostname"].string
            }
            let all = Set(ingress).sorted() + own
            return all.isEmpty ? "<pending>" : all.joined(separator: ",")
        case "ExternalName": return service.spec["externalName"].string ?? ""
        default: return "<unknown>"
        }
    }

    @Sendable static func endpoints(_ endpoints: KubeObject, _ now: Timestamp) -> [JSON] {
        let subsets = endpoints["subsets"].elements
        var list: [String] = []
        for subset in subsets {
            let addresses = subset["addresses"].elements.compactMap { $0["ip"].string }
            let ports = subset["ports"].elements
            if ports.isEmpty { list += addresses }
            for port in ports { list += addresses.map { TableText.hostPort($0, port["port"].int ?? 0) } }
        }
        let text = TableText.firstThree(list, empty: subsets.isEmpty ? "<none>" : "")
        return [.string(endpoints.name), .string(text), .string(endpoints.age(now))]
    }

    @Sendable static func slice(_ slice: KubeObject, _ now: Timestamp) -> [JSON] {
        let ports = slice["ports"].elements.map { port in
            port["port"].int.map(String.init) ?? port["name"].string ?? "*"
        }
        let addresses = slice["endpoints"].elements.flatMap { $0["addresses"].elements.compactMap(\.string) }
        return [
            .string(slice.name), .string(slice["addressType"].string ?? ""),
            .string(TableText.firstThree(ports, empty: "<unset>")),
            .string(TableText.firstThree(addresses, empty: "<unset>")), .string(slice.age(now)),
        ]
    }
}

/// Rows of events.
enum EventCells {
    @Sendable static func core(_ event: KubeObject, _ now: Timestamp) -> [JSON] {
        let source = event["source"]
        return make(
            event, now, regarding: event["involvedObject"], first: event["firstTimestamp"],
            last: event["lastTimestamp"],
            count: event["count"].int ?? 0, message: event["message"].string ?? "",
            component: source["component"].string ?? "", host: source["host"].string ?? "")
    }

    /// events.k8s.io/v1
    @Sendable static func newer(_ event: KubeObject, _ now: Timestamp) -> [JSON] {
        let source = event["deprecatedSource"]
        return make(
            event, now, regarding: event["regarding"], first: event["deprecatedFirstTimestamp"],
            last: event["deprecatedLastTimestamp"], count: event["deprecatedCount"].int ?? 0,
            message: event["note"].string ?? "", component: source["component"].string ?? "",
            host: source["host"].string ?? "")
    }

    private static func make(
        _ event: KubeObject, _ now: Timestamp, regarding: JSON, first: JSON, last: JSON, count: Int64, message: String,
        component: String, host: String
    ) -> [JSON] {
        let firstSeen = TableText.since(first.isNull ? event["eventTime"] : first, now)
        var lastSeen = last.isNull ? firstSeen : TableText.since(last, now)
        var count = count == 0 ? 1 : count
        if !event["series"].isNull {
            lastSeen = TableText.since(event["series"]["lastObservedTime"], now)
            count = event["series"]["count"].int ?? 0
        }
        let kind = (regarding["kind"].string ?? "").lowercased()
        let name = regarding["name"].string ?? ""
        var source =
            component.isEmpty
            ? event["reportingComponent"].string ?? event["reportingController"].string ?? "" : component
        let instance = host.isEmpty ? event["reportingInstance"].string ?? "" : host
        if !instance.isEmpty { source += ", " + instance }
        let trimmed = message.drop { $0.isWhitespace }
        return [
            .string(lastSeen), .string(event["type"].string ?? ""), .string(event["reason"].string ?? ""),
            .string(name.isEmpty ? kind : "\(kind)/\(name)"), .string(regarding["fieldPath"].string ?? ""),
            .string(source), .string(String(trimmed)), .string(firstSeen), .int(count), .string(event.name),
        ]
    }
}

/// Rows of workloads.
enum WorkloadCells {
    /// Names and images of a pod template's containers.
    static func containers(_ template: JSON) -> (names: String, images: String) {
        let containers = template["spec"]["containers"].elements
        func all(_ key: String) -> String { containers.map { $0[key].string ?? "" }.joined(separator: ",") }
        return (all("name"), all("image"))
    }

    @Sendable static func deployment(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        let status = object.status
        let (names, images) = containers(object.spec["template"])
        return [
            .string(object.name),
            .string("\(status["readyReplicas"].int ?? 0)/\(object.spec["replicas"].int ?? 0)"),
            .int(status["updatedReplicas"].int ?? 0), .int(status["availableReplicas"].int ?? 0),
            .string(object.age(now)), .string(names), .string(images),
            .string(TableText.selector(object.spec["selector"])),
        ]
    }

    @Sendable static func replicaSet(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        let (names, images) = containers(object.spec["template"])
        return [
            .string(object.name), .int(object.spec["replicas"].int ?? 0), .int(object.status["replicas"].int ?? 0),
            .int(object.status["readyReplicas"].int ?? 0), .string(object.age(now)), .string(names), .string(images),
            .string(TableText.selector(object.spec["selector"])),
        ]
    }
}
