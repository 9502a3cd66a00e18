import Codecs
import Testing

@testable import KubeAPI

/// The rules of structured merge on built-in types.
@Suite struct FieldManagerTests {
    static let deployment = GroupVersionKind("apps", "v1", "Deployment")
    static let service = GroupVersionKind("", "v1", "Service")
    static let config = GroupVersionKind("", "v1", "ConfigMap")
    private static let now = Timestamp(seconds: 1_700_000_000)

    private func writer(_ name: String, _ operation: ManagedFields.Operation = .apply, _ version: String = "apps/v1")
        -> FieldManager.Writer
    {
        .init(.init(name, operation, version), now: Self.now)
    }

    private func decoded(_ json: JSON, _ gvk: GroupVersionKind) throws -> JSON {
        try Schema.shared.decode(json, as: gvk, defaults: true).json
    }

    private func deployment(replicas: Int64? = 3, image: String = "nginx:1") -> JSON {
        var json: JSON = [
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": ["name": "web", "labels": ["app": "web"]],
            "spec": [
                "selector": ["matchLabels": ["app": "web"]],
                "template": [
                    "metadata": ["labels": ["app": "web"]],
                    "spec": [
                        "containers": [
                            ["name": "nginx", "image": .string(image), "ports": [["containerPort": 80]]]
                        ]
                    ],
                ],
            ],
        ]
        if let replicas { json["spec"]["replicas"] = .int(replicas) }
        return json
    }

    /// As a real cluster shows it for `kubectl create deployment`.
    @Test func creationOwnsWhatItSaysAndItsDefaults() throws {
        let object = try decoded(
            [
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": ["name": "web", "labels": ["app": "web"]],
                "spec": [
                    "replicas": 1, "selector": ["matchLabels": ["app": "web"]], "strategy": [:],
                    "template": [
                        "metadata": ["labels": ["app": "web"]],
                        "spec": ["containers": [["name": "nginx", "image": "nginx", "resources": [:]]]],
                    ],
                ],
            ], Self.deployment)
        let managed = FieldManager(Self.deployment).created(object, by: writer("kubectl-create", .update))
        #expect(managed.entries.count == 1)
        let expected =
            #"{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:progressDeadlineSeconds":{},"f:replicas":{},"#
            + #""f:revisionHistoryLimit":{},"f:selector":{},"f:strategy":{"f:rollingUpdate":{".":{},"f:maxSurge":{},"#
            + #""f:maxUnavailable":{}},"f:type":{}},"f:template":{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"#
            + #""f:containers":{"k:{\"name\":\"nginx\"}":{".":{},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"#
            + #""f:resources":{},"f:terminationMessagePath":{},"f:terminationMessagePolicy":{}}},"f:dnsPolicy":{},"#
            + #""f:restartPolicy":{},"f:schedulerName":{},"f:securityContext":{},"f:terminationGracePeriodSeconds":{}}}}}"#
        #expect(managed.entries.first?.fields.fieldsV1.text == expected)
        #expect(
            managed.json[0].text
                == #"{"manager":"kubectl-create","operation":"Update","apiVersion":"apps/v1","time":"2023-11-14T22:13:20Z","fieldsType":"FieldsV1","fieldsV1":\#(expected)}"#
        )
    }

    private func applied(
        _ gvk: GroupVersionKind, _ config: JSON, _ live: JSON, _ managed: ManagedFields, _ name: String,
        force: Bool = false
    ) throws -> (object: JSON, managed: ManagedFields) {
        let manager = FieldManager(gvk)
        let result = try manager.apply(
            config, to: live, managed, by: writer(name, .apply, gvk.groupVersion.description), force: force)
        return (try decoded(result.object ?? live, gvk), result.managed)
    }

    private func failure(
        _ gvk: GroupVersionKind, _ config: JSON, _ live: JSON, _ managed: ManagedFields, _ name: String
    ) -> APIError? {
        do {
            _ = try applied(gvk, config, live, managed, name)
            return nil
        } catch {
            return error as? APIError
        }
    }

    @Test func applyOwnsExactlyTheConfiguration() throws {
        let empty = FieldManager(Self.deployment).empty
        let (_, managed) = try applied(Self.deployment, deployment(), empty, ManagedFields(), "kubectl")
        #expect(
            managed.entries.map(\.fields.fieldsV1.text) == [
                #"{"f:metadata":{"f:labels":{"f:app":{}}},"f:spec":{"f:replicas":{},"f:selector":{},"f:template":{"#
                    + #""f:metadata":{"f:labels":{"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"nginx\"}":{".":{},"#
                    + #""f:image":{},"f:name":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"#
                    + #""f:containerPort":{}}}}}}}}}"#
            ])
    }

    @Test func conflictNamesTheManagerAndTheField() throws {
        let gvk = Self.deployment
        var (live, managed) = try applied(gvk, deployment(), FieldManager(gvk).empty, ManagedFields(), "a")
        var scaled = live
        scaled["spec"]["replicas"] = 5
        managed = FieldManager(gvk).updated(live, scaled, managed, by: writer("kubectl", .update))
        live = scaled
        let error = try #require(failure(gvk, deployment(), live, managed, "a"))
        #expect(error.code == 409 && error.reason == "Conflict")
        #expect(
            error.message == #"Apply failed with 1 conflict: conflict with "kubectl" using apps/v1: .spec.replicas"#)
        #expect(
            error.causes == [
                .init(
                    reason: "FieldManagerConflict", message: #"conflict with "kubectl" using apps/v1"#,
                    field: ".spec.replicas")
            ])
        let forced = try applied(gvk, deployment(), live, managed, "a", force: true)
        #expect(forced.object["spec"]["replicas"] == 3)
        #expect(forced.managed.entries.map(\.manager.name) == ["a"])
    }

    @Test func severalConflictsAreListedByManager() throws {
        let gvk = Self.deployment
        let (live, managed) = try applied(gvk, deployment(), FieldManager(gvk).empty, ManagedFields(), "a")
        let error = try #require(failure(gvk, deployment(replicas: 1, image: "nginx:2"), live, managed, "b"))
        #expect(
            error.message == "Apply failed with 2 conflicts: conflicts with \"a\":\n- .spec.replicas\n"
                + "- .spec.template.spec.containers[name=\"nginx\"].image")
    }

    @Test func sameValuesAreShared() throws {
        let gvk = Self.deployment
        let first = try applied(gvk, deployment(), FieldManager(gvk).empty, ManagedFields(), "a")
        let second = try applied(gvk, deployment(), first.object, first.managed, "b")
        #expect(second.managed.entries.count == 2)
        #expect(second.managed.entries[0].fields == second.managed.entries[1].fields)
        // One gives it up: the field stays; both: it goes.
        let third = try applied(gvk, deployment(replicas: nil), second.object, second.managed, "a")
        #expect(third.object["spec"]["replicas"] == 3)
        let fourth = try applied(gvk, deployment(replicas: nil), third.object, third.managed, "b")
        #expect(fourth.object["spec"]["replicas"] == 1)
    }

    @Test func whatIsNoLongerAppliedGoes() throws {
        let gvk = Self.config
        func map(_ data: JSON) -> JSON {
            ["apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "m"], "data": data]
        }
        var (live, managed) = try applied(
            gvk, map(["a": "1", "b": "2"]), FieldManager(gvk).empty, ManagedFields(), "one")
        var edited = live
        edited["data"]["c"] = "3"
        managed = FieldManager(gvk).updated(live, edited, managed, by: writer("edit", .update, "v1"))
        (live, managed) = try applied(gvk, map(["a": "1"]), edited, managed, "one")
        #expect(live["data"] == ["a": "1", "c": "3"])
        // The last of a manager's fields takes its entry along.
        (live, managed) = try applied(
            gvk, ["apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "m"]], live, managed, "one")
        #expect(live["data"] == ["c": "3"])
        #expect(managed.entries.map(\.manager.name) == ["edit"])
    }

    @Test func elementsOfKeyedListsMergeByTheirKeys() throws {
        let gvk = Self.service
        func service(_ ports: JSON) -> JSON {
            ["apiVersion": "v1", "kind": "Service", "metadata": ["name": "s"], "spec": ["ports": ports]]
        }
        var (live, managed) = try applied(
            gvk, service([["name": "http", "port": 80]]), FieldManager(gvk).empty, ManagedFields(), "a")
        (live, managed) = try applied(
            gvk, service([["name": "dns", "port": 53, "protocol": "UDP"]]), live, managed, "b")
        #expect(live["spec"]["ports"].elements.map { $0["port"] } == [80, 53])
        (live, managed) = try applied(
            gvk, service([["name": "dns", "port": 53, "protocol": "UDP"], ["name": "x", "port": 9]]), live, managed, "b"
        )
        #expect(live["spec"]["ports"].elements.map { $0["port"] } == [80, 53, 9])
        (live, managed) = try applied(gvk, service([]), live, managed, "b")
        #expect(live["spec"]["ports"].elements.map { $0["port"] } == [80])
    }

    @Test func atomicListsBelongToOne() throws {
        let gvk = Self.deployment
        func config(_ args: JSON) -> JSON {
            var json = deployment()
            json["spec"]["template"]["spec"]["containers"] = [["name": "nginx", "image": "nginx:1", "args": args]]
            return json
        }
        let (live, managed) = try applied(gvk, config(["x"]), FieldManager(gvk).empty, ManagedFields(), "a")
        let error = failure(gvk, config(["y"]), live, managed, "b")
        #expect(
            error?.message
                == #"Apply failed with 1 conflict: conflict with "a": .spec.template.spec.containers[name="nginx"].args"#
        )
    }

    @Test func configurationsAreCheckedAgainstTheSchema() throws {
        var config = deployment()
        config["spec"]["replica"] = 3
        var error = failure(Self.deployment, config, FieldManager(Self.deployment).empty, ManagedFields(), "a")
        #expect(
            error?.message
                == "failed to create typed patch object (/web; apps/v1, Kind=Deployment): .spec.replica: field not declared in schema"
        )
        #expect(error?.code == 500)
        config = deployment()
        config["spec"]["template"]["spec"]["containers"] = [["name": "a"], ["name": "a"]]
        error = failure(Self.deployment, config, FieldManager(Self.deployment).empty, ManagedFields(), "a")
        #expect(error?.message.contains(#".containers: duplicate entries for key [name="a"]"#) == true)
        config = deployment()
        config["apiVersion"] = "apps/v1beta1"
        error = failure(Self.deployment, config, FieldManager(Self.deployment).empty, ManagedFields(), "a")
        #expect(
            error?.message
                == "Incorrect version specified in apply patch. Specified patch version: apps/v1beta1, expected: apps/v1"
        )
        config = deployment()
        config["metadata"]["managedFields"] = []
        error = failure(Self.deployment, config, FieldManager(Self.deployment).empty, ManagedFields(), "a")
        #expect(error?.code == 400 && error?.message == "metadata.managedFields must be nil")
    }

    @Test func objectsWithoutManagersAreTrackedFromTheFirstApplyOn() throws {
        let live = try decoded(deployment(), Self.deployment)
        let manager = FieldManager(Self.deployment)
        var changed = live
        changed["spec"]["replicas"] = 9
        #expect(manager.updated(live, changed, ManagedFields(), by: writer("x", .update)).isEmpty)
        let error = failure(Self.deployment, deployment(replicas: 4), live, ManagedFields(), "a")
        #expect(
            error?.message
                == #"Apply failed with 1 conflict: conflict with "before-first-apply" using apps/v1: .spec.replicas"#)
    }

    @Test func kubectlTakesOverWhatItAppliedOnTheClient() throws {
        let gvk = Self.deployment
        var live = try decoded(deployment(), gvk)
        live["metadata"]["annotations"] = [
            "kubectl.kubernetes.io/last-applied-configuration": .string(deployment().text)
        ]
        let managed = FieldManager(gvk).created(live, by: writer("kubectl-client-side-apply", .update))
        let (object, after) = try applied(gvk, deployment(replicas: 7), live, managed, "kubectl")
        #expect(object["spec"]["replicas"] == 7)
        #expect(after.entries.map(\.manager.name).sorted() == ["kubectl", "kubectl-client-side-apply"])
        let annotation = object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].string
        #expect(annotation.flatMap { try? JSON.parse($0) }?["spec"]["replicas"] == 7)
        // Anybody else has to force.
        #expect(failure(gvk, deployment(replicas: 7), live, managed, "flux")?.code == 409)
    }

    @Test func updatersAreBounded() throws {
        let gvk = Self.config
        var live = try decoded(["apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "m"]], gvk)
        let manager = FieldManager(gvk)
        var managed = manager.created(live, by: writer("first", .update, "v1"))
        for i in 0..<30 {
            var next = live
            next["data"]["key\(i)"] = "x"
            managed =
                managed.isEmpty
                ? manager.created(next, by: writer("m\(i)", .update, "v1"))
                : manager.updated(live, next, managed, by: writer("m\(i)", .update, "v1"))
            live = next
        }
        #expect(managed.entries.count == 10)
        #expect(managed.entries.contains { $0.manager.name == "ancient-changes" })
        var all = FieldSet()
        for entry in managed.entries { all = all.union(entry.fields) }
        #expect(all[.field("data")]?.below.nodes.count == 30)
    }
}
