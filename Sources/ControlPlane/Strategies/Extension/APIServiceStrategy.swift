internal import Codecs
internal import KubeAPI
internal import Store

/// Which server answers for a group version. Those of this server ("Local") are made when it starts; one that names a
/// service is stored and says in its status that nobody asks that service yet.
/// Source: k8s.io/kube-aggregator/pkg/apis/apiregistration/validation, pkg/registry/apiservice.
struct APIServiceStrategy: ResourceStrategy {
    var nameRule: NameRule { .pathSegment }

    func prepareForCreate(_ object: inout KubeObject, _ scope: RequestScope) {
        object.json["status"] = .null
        setAvailable(&object, scope)
    }

    func prepareForUpdate(_ object: inout KubeObject, old: KubeObject, subresource: String, _ scope: RequestScope) {
        if subresource.isEmpty, object.spec["service"].isNull != old.spec["service"].isNull {
            setAvailable(&object, scope)
        }
    }

    private func setAvailable(_ object: inout KubeObject, _ scope: RequestScope) {
        let isLocal = object.spec["service"].isNull
        object.setCondition(
            "Available", status: isLocal ? "True" : "False", reason: isLocal ? "Local" : "NotSupported",
            message: isLocal
                ? "Local APIServices are always available"
                : "this server does not pass requests to other API servers yet",
            now: scope.now)
    }

    func warnings(for object: KubeObject) -> [String] {
        object.spec["service"].isNull ? [] : ["API aggregation is not supported by this server yet"]
    }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        let spec = object.spec
        let (group, version) = (spec["group"].string ?? "", spec["version"].string ?? "")
        let name = version + "." + group
        if object.name != name {
            check.add(
                .invalid(
                    "metadata.name", .string(object.name),
                    "must be `spec.version+\".\"+spec.group`: \(JSON.string(name).text)"))
        }
        if group.isEmpty, version != "v1" {
            check.add(.required("spec.group", "only v1 may have an empty group and it better be legacy kube"))
        }
        if !group.isEmpty, let problem = LabelSyntax.subdomainProblem(group) {
            check.add(.invalid("spec.group", .string(group), problem))
        }
        if let problem = LabelSyntax.rfc1035LabelProblem(version) {
            check.add(.invalid("spec.version", .string(version), problem))
        }
        for (key, limit) in [("groupPriorityMinimum", Int64(20000)), ("versionPriority", 1000)] {
            let value = spec[key].int ?? 0
            if !(1...limit).contains(value) {
                check.add(.invalid("spec.\(key)", .int(value), "must be positive and less than \(limit)"))
            }
        }
        self.service(spec, &check)
    }

    private func service(_ spec: JSON, _ check: inout Validation) {
        let bundle = Base64.decode(spec["caBundle"].string ?? "")?.count ?? 0
        let isInsecure = spec["insecureSkipTLSVerify"].bool == true
        guard !spec["service"].isNull else {
            if bundle > 0 {
                check.add(
                    .invalid("spec.caBundle", .string("\(bundle) bytes"), "local APIServices may not have a caBundle"))
            }
            if isInsecure {
                check.add(
                    .invalid(
                        "spec.insecureSkipTLSVerify", true, "local APIServices may not have insecureSkipTLSVerify"))
            }
            return
        }
        for key in ["namespace", "name"] where (spec["service"][key].string ?? "").isEmpty {
            check.add(.required("spec.service.\(key)"))
        }
        let port = spec["service"]["port"].int ?? 443
        if let problem = Ports.problem(port) {
            check.add(.invalid("spec.service.port", .int(port), "port is not valid: " + problem))
        }
        if isInsecure, bundle > 0 {
            check.add(.invalid("spec.insecureSkipTLSVerify", true, "may not be true if caBundle is present"))
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        if subresource.isEmpty { validateCreate(object, &check) }
    }
}

/// The APIService objects of this server's own group versions. Source: pkg/controlplane/apiserver/aggregator.go.
enum LocalAPIServices {
    static let resource = GroupVersionResource("apiregistration.k8s.io", "v1", "apiservices")
    private static let managed = "kube-aggregator.kubernetes.io/automanaged"

    /// Where a group stands among the groups, and a version among its group's.
    private static let priorities: [String: Int64] = [
        "": 18000, "apps": 17800, "events.k8s.io": 17750, "authentication.k8s.io": 17700,
        "authorization.k8s.io": 17600, "autoscaling": 17500, "batch": 17400, "certificates.k8s.io": 17300,
        "networking.k8s.io": 17200, "policy": 17100, "rbac.authorization.k8s.io": 17000, "storage.k8s.io": 16800,
        "apiextensions.k8s.io": 16700, "admissionregistration.k8s.io": 16700, "scheduling.k8s.io": 16600,
        "coordination.k8s.io": 16500, "node.k8s.io": 16300, "discovery.k8s.io": 16200,
        "flowcontrol.apiserver.k8s.io": 16100, "resource.k8s.io": 15900,
    ]

    private static func versionPriority(_ gv: GroupVersion) -> Int64 {
        switch gv.description {
        case "v1": 1
        case "autoscaling/v2": 30
        case "flowcontrol.apiserver.k8s.io/v1": 21
        default: 15
        }
    }

    static func object(_ gv: GroupVersion) -> KubeObject? {
        guard let priority = priorities[gv.group] else { return nil }
        var object = KubeObject(
            GroupVersionKind(resource.groupVersion, "APIService"), name: gv.version + "." + gv.group)
        object.labels = [managed: "onstart"]
        var spec: JSON = gv.group.isEmpty ? [:] : ["group": .string(gv.group)]
        spec["version"] = .string(gv.version)
        spec["groupPriorityMinimum"] = .int(priority)
        spec["versionPriority"] = .int(versionPriority(gv))
        object.json["spec"] = spec
        return object
    }

    /// Makes what is missing and removes what an earlier version of this server has left.
    static func sync(_ client: LocalClient, _ versions: [GroupVersion]) async throws(APIError) {
        var wanted: [String: KubeObject] = [:]
        for gv in versions {
            if let object = object(gv) { wanted[object.name] = object }
        }
        for item in try await client.list(resource).items {
            let known = try item.decode()
            guard let object = wanted.removeValue(forKey: known.name) else {
                if known.labels[managed] == "onstart" {
                    _ = try await client.delete(resource, namespace: "", name: known.name, options: DeleteOptions())
                }
                continue
            }
            if known.spec == object.spec { continue }
            var updated = known
            updated.json["spec"] = object.spec
            _ = try await client.update(resource, updated)
        }
        for (_, object) in wanted.sorted(by: { $0.key < $1.key }) {
            do throws(APIError) {
                _ = try await client.create(resource, object)
            } catch {
                if !error.isAlreadyExists { throw error }
            }
        }
    }
}
