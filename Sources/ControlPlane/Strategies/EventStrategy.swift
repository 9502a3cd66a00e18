internal import Codecs
internal import KubeAPI

/// Events: stored as core/v1, shown as events.k8s.io/v1 as well.
struct EventStrategy: ResourceStrategy {
    var selectableFields: [SelectableField] {
        let object = ["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"]
        return object.map { SelectableField("involvedObject.\($0)") } + [
            SelectableField("reason"), SelectableField("reportingComponent"), SelectableField("type"),
            SelectableField("source", path: ["source", "component"]),
        ]
    }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        let namespace = object["involvedObject"]["namespace"].string ?? ""
        // What has no namespace is reported in "default".
        if namespace.isEmpty
            ? object.namespace != "default" && object.namespace != "kube-system"
            : namespace != object.namespace
        {
            check.add(
                .invalid(
                    "involvedObject.namespace", .string(namespace), "does not match event.namespace"))
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        validateCreate(object, &check)
    }

    // MARK: - events.k8s.io/v1

    private static let names: [(core: String, newer: String)] = [
        ("involvedObject", "regarding"), ("message", "note"), ("source", "deprecatedSource"),
        ("firstTimestamp", "deprecatedFirstTimestamp"), ("lastTimestamp", "deprecatedLastTimestamp"),
        ("count", "deprecatedCount"), ("reportingComponent", "reportingController"),
    ]

    static let view = ResourceView(
        storage: .events,
        show: { object in
            rename(object, "events.k8s.io/v1") { key in names.first { $0.core == key }?.newer }
        },
        store: { object, _ in
            rename(object, "v1") { key in names.first { $0.newer == key }?.core }
        },
        field: { field in
            if field.hasPrefix("regarding.") { return "involvedObject." + field.dropFirst("regarding.".count) }
            return field == "reportingController" ? "reportingComponent" : field
        })

    private static func rename(
        _ object: KubeObject, _ version: String, _ name: (String) -> String?
    ) -> KubeObject {
        var members: [JSONObject.Member] = []
        for (key, value) in object.json.object ?? JSONObject() {
            members.append((name(key) ?? key, key == "apiVersion" ? .string(version) : value))
        }
        return KubeObject(.object(JSONObject(members: members)))
    }
}
