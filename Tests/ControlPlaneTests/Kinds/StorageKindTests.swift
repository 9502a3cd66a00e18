import Codecs
import ControlPlane
import KubeAPI
import Testing
import Transport

@Suite struct StorageKindTests {
    private static let claims = KindRefusalTests.core + "persistentvolumeclaims"

    private func patch(_ cluster: Cluster, _ target: String, _ patch: JSON) async throws -> Cluster.Answer {
        try await cluster.call("PATCH", target, patch, type: "application/merge-patch+json")
    }

    @Test func aVolumeKeepsItsSource() async throws {
        let cluster = try await Cluster()
        let made = try await cluster.call(
            "POST", "/api/v1/persistentvolumes",
            [
                "metadata": ["name": "v"],
                "spec": [
                    "capacity": ["storage": "1Gi"], "accessModes": ["ReadWriteOnce"], "hostPath": ["path": "/srv"],
                ],
            ])
        #expect(made.code == 201 && made.json["status"]["phase"] == "Pending", "\(made.text)")
        #expect(made.json["status"]["lastPhaseTransitionTime"] == "2026-01-01T00:00:00Z")
        #expect(made.json["spec"]["persistentVolumeReclaimPolicy"] == "Retain")
        let moved = try await patch(cluster, "/api/v1/persistentvolumes/v", ["spec": ["hostPath": ["path": "/opt"]]])
        #expect(
            moved.message.contains(
                "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"))
        let policy = try await patch(
            cluster, "/api/v1/persistentvolumes/v", ["spec": ["persistentVolumeReclaimPolicy": "Delete"]])
        #expect(policy.code == 200)
        cluster.clock.advance(by: .seconds(5))
        let bound = try await patch(cluster, "/api/v1/persistentvolumes/v/status", ["status": ["phase": "Bound"]])
        #expect(bound.json["status"]["lastPhaseTransitionTime"] == "2026-01-01T00:00:05Z", "\(bound.text)")
    }

    @Test func aClaimGrowsOnceItIsBound() async throws {
        let cluster = try await Cluster()
        _ = try await cluster.call(
            "POST", "/apis/storage.k8s.io/v1/storageclasses",
            ["metadata": ["name": "elastic"], "provisioner": "acme.io/disk", "allowVolumeExpansion": true])
        let claim: JSON = [
            "metadata": ["name": "c"],
            "spec": [
                "accessModes": ["ReadWriteOnce"], "resources": ["requests": ["storage": "2Gi"]],
                "storageClassName": "elastic",
            ],
        ]
        let made = try await cluster.call("POST", Self.claims, claim)
        #expect(made.code == 201 && made.json["status"]["phase"] == "Pending", "\(made.text)")
        let target = Self.claims + "/c"
        func ask(_ size: JSON) async throws -> Cluster.Answer {
            try await patch(cluster, target, ["spec": ["resources": ["requests": ["storage": size]]]])
        }
        let early = try await ask("3Gi")
        #expect(
            early.code == 422 && early.message.contains("spec is immutable after creation except resources.requests"))
        #expect(try await patch(cluster, target, ["spec": ["volumeName": "v"]]).code == 200)
        #expect(try await patch(cluster, target, ["spec": ["volumeName": "w"]]).code == 422)
        _ = try await patch(
            cluster, target + "/status",
            ["status": ["phase": "Bound", "capacity": ["storage": "2Gi"], "accessModes": ["ReadWriteOnce"]]])
        #expect(try await ask("3Gi").code == 200)
        let smaller = try await ask("1Gi")
        #expect(
            smaller.message.contains(
                "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"),
            "\(smaller.text)")
    }

    @Test func rowsSayWhatMatters() async throws {
        let cluster = try await Cluster()
        _ = try await cluster.call(
            "POST", Self.claims,
            [
                "metadata": ["name": "c"],
                "spec": [
                    "accessModes": ["ReadWriteOnce", "ReadOnlyMany"], "volumeName": "v", "storageClassName": "fast",
                    "resources": ["requests": ["storage": "2Gi"]],
                ],
            ])
        _ = try await patch(
            cluster, Self.claims + "/c/status",
            [
                "status": [
                    "phase": "Bound", "capacity": ["storage": "2Gi"],
                    "accessModes": ["ReadWriteOnce", "ReadOnlyMany"],
                ]
            ])
        _ = try await cluster.call(
            "POST", KindRefusalTests.core + "resourcequotas",
            ["metadata": ["name": "q"], "spec": ["hard": ["pods": "2", "limits.cpu": "4"]]])
        _ = try await patch(
            cluster, KindRefusalTests.core + "resourcequotas/q/status",
            ["status": ["hard": ["pods": "2", "limits.cpu": "4"], "used": ["pods": "1", "limits.cpu": "500m"]]])
        let table: [(String, [JSON])] = [
            (Self.claims, ["c", "Bound", "v", "2Gi", "RWO,ROX", "fast", "<unset>", "0s", "Filesystem"]),
            (KindRefusalTests.core + "resourcequotas", ["q", "pods: 1/2", "limits.cpu: 500m/4", "0s"]),
        ]
        for (target, cells) in table {
            let answer = try await cluster.call("GET", target, headers: ["Accept": TableTests.accept])
            #expect(answer.json["rows"][0]["cells"].elements == cells, "\(answer.text)")
        }
    }
}
