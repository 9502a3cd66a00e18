import Codecs
import ControlPlane
import KubeAPI
import Testing

/// What the workload kinds fill in and keep.
@Suite struct WorkloadKindTests {
    private static let apps = KindRefusalTests.apps
    private static let batch = KindRefusalTests.batch

    private func create(_ cluster: Cluster, _ target: String, _ body: String) async throws -> JSON {
        let answer = try await cluster.send("POST", target, Array(body.utf8))
        #expect(answer.code == 201, "\(answer.text)")
        return answer.json
    }

    private func patch(_ cluster: Cluster, _ target: String, _ patch: JSON) async throws -> Cluster.Answer {
        try await cluster.call("PATCH", target, patch, type: "application/merge-patch+json")
    }

    @Test func daemonSetsHaveTheirDefaults() async throws {
        let cluster = try await Cluster()
        let made = try await create(cluster, Self.apps + "daemonsets", KindRefusalTests.spec(""))
        #expect(made["metadata"]["generation"] == 1)
        #expect(made["metadata"]["annotations"]["deprecated.daemonset.template.generation"] == "1")
        #expect(
            made["spec"]["updateStrategy"] == [
                "type": "RollingUpdate", "rollingUpdate": ["maxUnavailable": 1, "maxSurge": 0],
            ])
        #expect(made["spec"]["revisionHistoryLimit"] == 10 && made["status"]["desiredNumberScheduled"] == 0)
        let target = Self.apps + "daemonsets/x"
        let changed = try await patch(
            cluster, target, ["spec": ["template": ["spec": ["hostNetwork": true]]]])
        #expect(changed.json["metadata"]["generation"] == 2)
        #expect(changed.json["metadata"]["annotations"]["deprecated.daemonset.template.generation"] == "2")
        let selector = try await patch(cluster, target, ["spec": ["selector": ["matchLabels": ["a": nil]]]])
        #expect(selector.code == 422 && selector.message.contains("spec.selector: Invalid value"))
    }

    @Test func aStatefulSetKeepsWhatItsPodsDependOn() async throws {
        let cluster = try await Cluster()
        let claims =
            #""serviceName":"s","volumeClaimTemplates":[{"metadata":{"name":"data"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}]"#
        let template =
            #""selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i","volumeMounts":[{"name":"data","mountPath":"/d"}]}]}}"#
        let made = try await create(cluster, Self.apps + "statefulsets", KindRefusalTests.spec(claims, template))
        #expect(made["spec"]["podManagementPolicy"] == "OrderedReady" && made["spec"]["replicas"] == 1)
        #expect(
            made["spec"]["persistentVolumeClaimRetentionPolicy"] == ["whenDeleted": "Retain", "whenScaled": "Retain"])
        #expect(made["spec"]["volumeClaimTemplates"][0]["spec"]["volumeMode"] == "Filesystem")
        let target = Self.apps + "statefulsets/x"
        let scaled = try await patch(cluster, target, ["spec": ["replicas": 3, "minReadySeconds": 5]])
        #expect(scaled.code == 200 && scaled.json["metadata"]["generation"] == 2)
        let refused = try await patch(cluster, target, ["spec": ["serviceName": "other"]])
        #expect(
            refused.message
                == "StatefulSet.apps \"x\" is invalid: spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
        )
        let scale = try await cluster.call("GET", target + "/scale")
        #expect(scale.json["kind"] == "Scale" && scale.json["spec"]["replicas"] == 3)
        #expect(scale.json["status"]["selector"] == "a=b")
    }

    @Test func jobsKnowTheirPodsByTheirUID() async throws {
        let cluster = try await Cluster()
        let made = try await create(cluster, Self.batch + "jobs", KindRefusalTests.spec("", KindRefusalTests.job))
        let uid = made["metadata"]["uid"]
        #expect(made["spec"]["selector"] == ["matchLabels": ["batch.kubernetes.io/controller-uid": uid]])
        #expect(
            made["spec"]["template"]["metadata"]["labels"] == [
                "batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": "x", "controller-uid": uid,
                "job-name": "x",
            ])
        #expect(made["spec"]["completions"] == 1 && made["spec"]["backoffLimit"] == 6)
        let target = Self.batch + "jobs/x"
        for change: JSON in [
            ["completions": 2], ["completionMode": "Indexed"], ["template": ["spec": ["hostNetwork": true]]],
        ] {
            let answer = try await patch(cluster, target, ["spec": change])
            #expect(answer.code == 422 && answer.message.hasSuffix("field is immutable"), "\(answer.text)")
        }
        #expect(try await patch(cluster, target, ["spec": ["parallelism": 4, "suspend": true]]).code == 200)
        let moved = try await patch(
            cluster, target, ["spec": ["template": ["spec": ["nodeSelector": ["disk": "ssd"]]]]])
        #expect(moved.code == 200, "a suspended job that never started may be moved: \(moved.text)")
        let gone = try await cluster.call("DELETE", target)
        #expect(gone.code == 200 && gone.json["metadata"]["finalizers"] == ["orphan"], "its pods stay: \(gone.text)")
    }

    @Test func anElasticJobMayGrow() async throws {
        let cluster = try await Cluster()
        _ = try await create(
            cluster, Self.batch + "jobs",
            KindRefusalTests.spec(#""completionMode":"Indexed","completions":2,"parallelism":2"#, KindRefusalTests.job))
        let target = Self.batch + "jobs/x"
        #expect(try await patch(cluster, target, ["spec": ["completions": 4, "parallelism": 4]]).code == 200)
        #expect(try await patch(cluster, target, ["spec": ["completions": 5]]).code == 422)
    }

    @Test func cronJobsHaveTheirDefaults() async throws {
        let cluster = try await Cluster()
        let made = try await create(
            cluster, Self.batch + "cronjobs",
            KindRefusalTests.cron(#""schedule":"*/5 * * * *","timeZone":"Europe/Berlin""#))
        let spec = made["spec"]
        #expect(spec["concurrencyPolicy"] == "Allow" && spec["suspend"] == false)
        #expect(spec["successfulJobsHistoryLimit"] == 3 && spec["failedJobsHistoryLimit"] == 1)
        let long = String(repeating: "n", count: 53)
        var body = made
        body["metadata"] = ["name": .string(long)]
        let refused = try await cluster.call("POST", Self.batch + "cronjobs", body)
        #expect(refused.message.contains("must be no more than 52 characters"))
    }

    @Test func replicationControllersTakeTheirSelectorFromTheirTemplate() async throws {
        let cluster = try await Cluster()
        let made = try await create(
            cluster, KindRefusalTests.core + "replicationcontrollers",
            KindRefusalTests.spec("", KindRefusalTests.template))
        #expect(made["spec"]["selector"] == ["a": "b"] && made["spec"]["replicas"] == 1)
        #expect(made["metadata"]["labels"] == ["a": "b"])
        let target = KindRefusalTests.core + "replicationcontrollers/x"
        let scale = try await patch(cluster, target + "/scale", ["spec": ["replicas": 2]])
        #expect(scale.code == 200 && scale.json["status"]["selector"] == "a=b", "\(scale.text)")
        let list = try await cluster.call(
            "GET", KindRefusalTests.core + "replicationcontrollers?fieldSelector=status.replicas%3D0")
        #expect(list.json["items"].elements.count == 1)
    }

    @Test func aStatusIsNoPartOfTheObject() async throws {
        let cluster = try await Cluster()
        let kinds = [
            (Self.apps + "daemonsets", KindRefusalTests.spec(""), "numberReady"),
            (Self.apps + "statefulsets", KindRefusalTests.spec(""), "currentReplicas"),
            (Self.batch + "jobs", KindRefusalTests.spec("", KindRefusalTests.job), "active"),
        ]
        for (target, body, field) in kinds {
            var object = try await create(cluster, target, body)
            object["status"][field] = 5
            object["status"]["replicas"] = field == "currentReplicas" ? 5 : .null
            let plain = try await cluster.call("PUT", target + "/x", object)
            #expect((plain.json["status"][field].int ?? 0) == 0, "\(target)")
            object["metadata"]["resourceVersion"] = plain.json["metadata"]["resourceVersion"]
            object["spec"]["template"]["spec"]["hostNetwork"] = true
            let status = try await cluster.call("PUT", target + "/x/status", object)
            #expect(status.code == 200 && status.json["status"][field] == 5, "\(status.text)")
            #expect(status.json["spec"]["template"]["spec"]["hostNetwork"].isNull)
            #expect(status.json["metadata"]["generation"] == 1)
        }
    }
}
