internal import Codecs
internal import KubeAPI

/// Events: stored as core/v1, shown as events.k8s.io/v1 as well.
/// Source: pkg/apis/core/validation/events.go.
struct EventStrategy: ResourceStrategy {
    /// The newer version of the kind asks for more.
    var isStrict = false

    var selectableFields: [SelectableField] {
        let object = ["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"]
        return object.map { SelectableField("involvedObject.\($0)") } + [
            SelectableField("reason"), SelectableField("reportingComponent"), SelectableField("type"),
            SelectableField("source", path: ["source", "component"]),
        ]
    }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        checkCommon(object, &check)
        guard isStrict else { return }
        checkSeries(object, &check)
        if object["eventTime"].isNull { check.add(.required("eventTime")) }
        let type = object["type"].string ?? ""
        if type != "Normal", type != "Warning" {
            check.add(.invalid("type", "", "has invalid value: \(type)"))
        }
        func isSet(_ key: String) -> Bool {
            let value = object[key]
            return !value.isNull && value != 0 && value != .object(JSONObject())
        }
        for key in ["firstTimestamp", "lastTimestamp", "count", "source"] where isSet(key) {
            check.add(.invalid(key, "", "needs to be unset"))
        }
    }

    private func checkSeries(_ object: KubeObject, _ check: inout Validation) {
        let series = object["series"]
        if series.isNull { return }
        if series["count"].int ?? 0 < 2 { check.add(.invalid("series.count", "", "should be at least 2")) }
        if series["lastObservedTime"].isNull { check.add(.required("series.lastObservedTime")) }
    }

    /// What holds for events of both versions.
    private func checkCommon(_ object: KubeObject, _ check: inout Validation) {
        let namespace = object["involvedObject"]["namespace"].string ?? ""
        let isNew = !object["eventTime"].isNull
        // What has no namespace is reported in "default".
        let fits =
            namespace.isEmpty
            ? object.namespace == "default" || object.namespace == "kube-system"
            : isNew || namespace == object.namespace
        if !fits {
            check.add(
                .invalid(
                    "involvedObject.namespace", .string(namespace), "does not match event.namespace"))
        }
        guard isNew else { return }
        let controller = object["reportingComponent"].string ?? ""
        if controller.isEmpty { check.add(.required("reportingController")) }
        if let problem = LabelSyntax.keyProblem(controller) {
            check.add(.invalid("reportingController", .string(controller), problem))
        }
        for key in ["reportingInstance", "action", "reason"] {
            let text = object[key].string ?? ""
            if text.isEmpty { check.add(.required(key)) }
            if text.utf8.count > 128 { check.add(.invalid(key, "", "can have at most 128 characters")) }
        }
        if (object["message"].string ?? "").utf8.count > 1024 {
            check.add(.invalid("message", "", "can have at most 1024 characters"))
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        checkCommon(object, &check)
        guard isStrict else { return }
        if object["series"] != old["series"] { checkSeries(object, &check) }
        for key in [
            "involvedObject", "reason", "message", "source", "firstTimestamp", "lastTimestamp", "count", "type",
            "eventTime", "action", "related", "reportingComponent", "reportingInstance",
        ] {
            check.immutable(
                object[key], old[key], key == "reportingComponent" ? "reportingController" : key)
        }
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
