internal import Codecs
internal import KubeAPI
internal import Transport

/// Objects as meta.k8s.io/v1 Table: the server side of `kubectl get`.
/// Source: k8s.io/kubernetes/pkg/printers/internalversion.
struct TableRenderer: Sendable {
    private enum Include: String {
        case none = "None"
        case metadata = "Metadata"
        case object = "Object"
    }
    private let columns: [ResourceInfo.Column]
    private let cells: TableCells
    private let include: Include
    private let clock: any KubeClock

    init(registry: Registry, resource: ServedResource, request: HTTPRequest) throws(APIError) {
        let known = resource.info.columns
        columns =
            known.isEmpty
            ? [.init(name: "Name", type: "string", format: "name"), .init(name: "Created At", type: "date")] : known
        cells = TableCells.of(resource.gvr, hasColumns: !known.isEmpty)
        clock = registry.clock
        let text = request.query["includeObject"] ?? ""
        guard let include = text.isEmpty ? .metadata : Include(rawValue: text) else {
            throw .badRequest(
                "unrecognized includeObject value: \(JSON.string(text).text), expected None, Metadata or Object")
        }
        self.include = include
    }

    /// - Parameter columns: whether to say what the columns are; the later tables of a watch do not.
    func table(_ objects: [EncodedObject], metadata: JSON, columns withColumns: Bool = true) throws(APIError) -> JSON {
        var rows: [JSON] = []
        rows.reserveCapacity(objects.count)
        for item in objects { rows.append(try row(item)) }
        return [
            "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
            "columnDefinitions": withColumns ? .array(columns.map(Self.definition)) : .null, "rows": .array(rows),
        ]
    }

    /// A table up to its rows.
    func head(metadata: JSON) throws(APIError) -> [UInt8] {
        // Without the ends of the rows and of the object.
        Array(try table([], metadata: metadata).encode().dropLast(2))
    }

    func row(_ item: EncodedObject) throws(APIError) -> JSON {
        let object = try item.decode()
        var row: JSON = ["cells": .array(cells.make(object, clock.now()))]
        let conditions = cells.conditions(object)
        if conditions != .null { row["conditions"] = conditions }
        switch include {
        case .none: row["object"] = .null
        case .metadata: row["object"] = PartialMetadata.encode(object)
        case .object: row["object"] = object.json
        }
        return row
    }

    private static func definition(_ column: ResourceInfo.Column) -> JSON {
        [
            "name": .string(column.name), "type": .string(column.type), "format": .string(column.format),
            "description": .string(column.description), "priority": .int(Int64(column.priority)),
        ]
    }
}

/// The cells of a kind's rows, in the order of its columns.
struct TableCells: Sendable {
    let make: @Sendable (KubeObject, Timestamp) -> [JSON]
    var conditions: @Sendable (KubeObject) -> JSON = { _ in .null }

    static func of(_ gvr: GroupVersionResource, hasColumns: Bool) -> TableCells {
        switch (gvr.group, gvr.resource) {
        case ("", _): core(gvr.resource)
        case ("apps", _): apps(gvr.resource)
        case ("events.k8s.io", "events"): TableCells(make: EventCells.newer)
        case ("rbac.authorization.k8s.io", _): rbac(gvr.resource)
        case ("batch", "jobs"): TableCells(make: BatchCells.job)
        case ("batch", "cronjobs"): TableCells(make: BatchCells.cronJob)
        case ("policy", "poddisruptionbudgets"): TableCells(make: WorkloadCells.disruptionBudget)
        case ("autoscaling", _):
            TableCells(make: gvr.version == "v1" ? PolicyCells.oldAutoscaler : PolicyCells.autoscaler)
        case ("coordination.k8s.io", "leases"): TableCells("name", "text:spec.holderIdentity", "age")
        case ("discovery.k8s.io", "endpointslices"): TableCells(make: ServiceCells.slice)
        case ("scheduling.k8s.io", "priorityclasses"):
            TableCells("name", "int:value", "bool:globalDefault", "age", "text:preemptionPolicy")
        case ("node.k8s.io", "runtimeclasses"): TableCells("name", "text:handler", "age")
        case ("certificates.k8s.io", "certificatesigningrequests"): TableCells(make: PolicyCells.signingRequest)
        case ("networking.k8s.io", _): networking(gvr.resource)
        case ("storage.k8s.io", _): storage(gvr.resource)
        case ("admissionregistration.k8s.io", _): admission(gvr.resource)
        case ("apiregistration.k8s.io", _): TableCells(make: PolicyCells.apiService)
        case ("flowcontrol.apiserver.k8s.io", "flowschemas"): TableCells(make: PolicyCells.flowSchema)
        case ("flowcontrol.apiserver.k8s.io", _): TableCells(make: PolicyCells.priorityLevel)
        case ("resource.k8s.io", "resourceclaims"): TableCells(make: PolicyCells.resourceClaim)
        case ("resource.k8s.io", "resourceslices"):
            TableCells("name", "text:spec.nodeName:<unset>", "text:spec.driver", "text:spec.pool.name", "age")
        case ("resource.k8s.io", _): TableCells("name", "age")
        case ("k3s.cattle.io", "addons"): TableCells("name", "text:spec.source", "text:spec.checksum")
        default: plain
        }
    }

    /// Name and creation: what a kind without a printer of its own shows.
    static let plain = TableCells { object, _ in
        [.string(object.name), .string(object.creationTimestamp?.rfc3339 ?? "<unknown>")]
    }

    private static func networking(_ resource: String) -> TableCells {
        switch resource {
        case "ingresses": TableCells(make: PolicyCells.ingress)
        case "ingressclasses": TableCells(make: PolicyCells.ingressClass)
        case "ipaddresses": TableCells(make: PolicyCells.ipAddress)
        case "servicecidrs": TableCells(make: PolicyCells.serviceCIDR)
        case "networkpolicies":
            TableCells { object, now in
                [
                    .string(object.name), .string(TableText.selector(object.spec["podSelector"])),
                    .string(object.age(now)),
                ]
            }
        default: plain
        }
    }

    private static func storage(_ resource: String) -> TableCells {
        switch resource {
        case "storageclasses": TableCells(make: StorageCells.storageClass)
        case "csidrivers": TableCells(make: StorageCells.csiDriver)
        case "csinodes": TableCells("name", "count:spec.drivers", "age")
        case "csistoragecapacities": TableCells("name", "text:storageClassName", "text:capacity:<unset>")
        case "volumeattachments":
            TableCells(
                "name", "text:spec.attacher", "text:spec.source.persistentVolumeName", "text:spec.nodeName",
                "bool:status.attached", "age")
        case "volumeattributesclasses": TableCells("name", "text:driverName", "age")
        default: plain
        }
    }

    private static func admission(_ resource: String) -> TableCells {
        switch resource {
        case "mutatingwebhookconfigurations", "validatingwebhookconfigurations":
            TableCells("name", "count:webhooks", "age")
        case "mutatingadmissionpolicies", "validatingadmissionpolicies": TableCells(make: PolicyCells.admissionPolicy)
        default: TableCells(make: PolicyCells.admissionPolicyBinding)
        }
    }

    private static func core(_ resource: String) -> TableCells {
        switch resource {
        case "pods": PodCells.cells
        case "nodes": TableCells(make: NodeCells.make)
        case "services": TableCells(make: ServiceCells.service)
        case "endpoints": TableCells(make: ServiceCells.endpoints)
        case "events": TableCells(make: EventCells.core)
        case "configmaps":
            TableCells { object, now in
                let count = (object["data"].object?.count ?? 0) + (object["binaryData"].object?.count ?? 0)
                return [.string(object.name), .int(Int64(count)), .string(object.age(now))]
            }
        case "secrets":
            TableCells { object, now in
                [
                    .string(object.name), .string(object["type"].string ?? ""),
                    .int(Int64(object["data"].object?.count ?? 0)), .string(object.age(now)),
                ]
            }
        case "serviceaccounts":
            TableCells { object, now in
                [.string(object.name), .int(Int64(object["secrets"].elements.count)), .string(object.age(now))]
            }
        case "namespaces":
            TableCells { object, now in
                [.string(object.name), .string(object.status["phase"].string ?? ""), .string(object.age(now))]
            }
        case "componentstatuses": TableCells(make: ComponentStatus.cells)
        case "replicationcontrollers": TableCells(make: WorkloadCells.replicationController)
        case "persistentvolumes": TableCells(make: StorageCells.volume)
        case "persistentvolumeclaims": TableCells(make: StorageCells.claim)
        case "resourcequotas": TableCells(make: StorageCells.quota)
        case "podtemplates":
            TableCells { object, _ in
                let (names, images) = WorkloadCells.containers(object["template"])
                return [
                    .string(object.name), .string(names), .string(images),
                    .string(TableText.labels(object["template"]["metadata"]["labels"])),
                ]
            }
        default: plain
        }
    }

    private static func apps(_ resource: String) -> TableCells {
        switch resource {
        case "deployments": TableCells(make: WorkloadCells.deployment)
        case "replicasets": TableCells(make: WorkloadCells.replicaSet)
        case "daemonsets": TableCells(make: WorkloadCells.daemonSet)
        case "statefulsets": TableCells(make: WorkloadCells.statefulSet)
        case "controllerrevisions":
            TableCells { object, now in
                let owner = object.controller.map { owner in
                    let group = owner.apiVersion.split(separator: "/")
                    return owner.kind.lowercased() + (group.count == 2 ? "." + group[0] : "") + "/" + owner.name
                }
                return [
                    .string(object.name), .string(owner ?? "<none>"), .int(object["revision"].int ?? 0),
                    .string(object.age(now)),
                ]
            }
        default: plain
        }
    }

    private static func rbac(_ resource: String) -> TableCells {
        guard resource == "rolebindings" || resource == "clusterrolebindings" else { return plain }
        return TableCells { object, now in
            let subjects = object["subjects"].elements
            func names(_ kind: String) -> JSON {
                let found = subjects.filter { $0["kind"].string == kind }.map { subject in
                    let name = subject["name"].string ?? ""
                    return kind == "ServiceAccount" ? "\(subject["namespace"].string ?? "")/\(name)" : name
                }
                return .string(found.joined(separator: ", "))
            }
            let role = object["roleRef"]
            return [
                .string(object.name), .string("\(role["kind"].string ?? "")/\(role["name"].string ?? "")"),
                .string(object.age(now)), names("User"), names("Group"), names("ServiceAccount"),
            ]
        }
    }
}
