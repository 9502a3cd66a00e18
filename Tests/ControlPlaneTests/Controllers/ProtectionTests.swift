import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

/// What is in use stays until it is not.
@Suite struct ProtectionTests {
    private static let claims = GroupVersionResource("", "v1", "persistentvolumeclaims")
    private static let volumes = GroupVersionResource("", "v1", "persistentvolumes")
    private static let classes = GroupVersionResource("storage.k8s.io", "v1", "volumeattributesclasses")
    private static let claim: JSON = [
        "metadata": ["name": "c"],
        "spec": ["accessModes": ["ReadWriteOnce"], "resources": ["requests": ["storage": "1Gi"]]],
    ]

    private func bench() async throws -> ControllerBench {
        try await ControllerBench { client, _ in
            [ClaimProtection(client: client), VolumeProtection(client: client), AttributesProtection(client: client)]
        }
    }

    private func isThere(_ bench: ControllerBench, _ resource: GroupVersionResource, _ name: String) async throws
        -> Bool
    {
        let namespace = resource == Self.claims ? "default" : ""
        return try await bench.client.getIfPresent(resource, namespace: namespace, name: name) != nil
    }

    @Test func aClaimGoesWithTheLastPodThatUsesIt() async throws {
        let bench = try await bench()
        let made = try await bench.create(Self.claims, Self.claim)
        #expect(made.finalizers == ["kubernetes.io/pvc-protection"])
        try await bench.create(
            .pods,
            [
                "metadata": ["name": "p"],
                "spec": [
                    "nodeName": "n", "containers": [["name": "c", "image": "i"]],
                    "volumes": [["name": "v", "persistentVolumeClaim": ["claimName": "c"]]],
                ],
            ])
        try await bench.settle()
        _ = try await bench.client.delete(Self.claims, namespace: "default", name: "c", options: DeleteOptions())
        try await bench.settle()
        #expect(try await isThere(bench, Self.claims, "c"))
        _ = try await bench.client.delete(
            .pods, namespace: "default", name: "p", options: DeleteOptions(gracePeriodSeconds: 0))
        try await bench.settle()
        #expect(try await !isThere(bench, Self.claims, "c"))
    }

    @Test func aPodWithoutANodeKeepsNoClaim() async throws {
        let bench = try await bench()
        try await bench.create(Self.claims, Self.claim)
        try await bench.create(
            .pods,
            [
                "metadata": ["name": "p"],
                "spec": [
                    "containers": [["name": "c", "image": "i"]],
                    "volumes": [["name": "v", "persistentVolumeClaim": ["claimName": "c"]]],
                ],
            ])
        _ = try await bench.client.delete(Self.claims, namespace: "default", name: "c", options: DeleteOptions())
        try await bench.settle()
        #expect(try await !isThere(bench, Self.claims, "c"))
    }

    @Test func aBoundVolumeStaysUntilItIsReleased() async throws {
        let bench = try await bench()
        var volume = try await bench.create(
            Self.volumes,
            [
                "metadata": ["name": "v"],
                "spec": [
                    "capacity": ["storage": "1Gi"], "accessModes": ["ReadWriteOnce"],
                    "nfs": ["server": "s", "path": "/"],
                ],
            ])
        #expect(volume.finalizers == ["kubernetes.io/pv-protection"])
        volume.json["status"]["phase"] = "Bound"
        volume = try await bench.client.updateStatus(Self.volumes, volume)
        _ = try await bench.client.delete(Self.volumes, namespace: "", name: "v", options: DeleteOptions())
        try await bench.settle()
        volume = try await bench.client.get(Self.volumes, namespace: "", name: "v")
        volume.json["status"]["phase"] = "Released"
        _ = try await bench.client.updateStatus(Self.volumes, volume)
        try await bench.settle()
        #expect(try await !isThere(bench, Self.volumes, "v"))
    }

    @Test func whatWasMadeBeforeGetsItsFinalizer() async throws {
        let bench = try await bench()
        let made = try await bench.create(Self.claims, Self.claim)
        _ = try await bench.client.patch(
            Self.claims, namespace: "default", name: made.name, ["metadata": ["finalizers": .null]], type: .merge,
            subresource: nil)
        try await bench.settle()
        #expect(try await bench.get(Self.claims, "c").finalizers == ["kubernetes.io/pvc-protection"])
    }

    @Test func aClassStaysWhileAClaimNamesIt() async throws {
        let bench = try await bench()
        try await bench.create(
            Self.classes, ["metadata": ["name": "gold"], "driverName": "d.test", "parameters": ["a": "b"]])
        var claim = Self.claim
        claim["spec"]["volumeAttributesClassName"] = "gold"
        try await bench.create(Self.claims, claim)
        _ = try await bench.client.delete(Self.classes, namespace: "", name: "gold", options: DeleteOptions())
        try await bench.settle()
        #expect(try await isThere(bench, Self.classes, "gold"))
        _ = try await bench.client.delete(Self.claims, namespace: "default", name: "c", options: DeleteOptions())
        try await bench.settle()
        #expect(try await !isThere(bench, Self.classes, "gold"))
    }

    @Test func aNewNodeTakesNoPods() async throws {
        let cluster = try await Cluster()
        let made = try await cluster.client.create(.nodes, KubeObject(GroupVersionKind(.core, "Node"), name: "n"))
        #expect(made.spec["taints"] == [["key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"]])
    }

    @Test func oneClassOnlyIsTheDefaultPriority() async throws {
        let cluster = try await Cluster()
        let path = "/apis/scheduling.k8s.io/v1/priorityclasses"
        func post(_ name: String) async throws -> Cluster.Answer {
            try await cluster.call(
                "POST", path, ["metadata": ["name": .string(name)], "value": 5, "globalDefault": true])
        }
        #expect(try await post("a").code == 201)
        let second = try await post("b")
        #expect(second.code == 403)
        #expect(second.message.hasSuffix("PriorityClass a is already marked as default. Only one default can exist"))
        let same = try await cluster.call(
            "PATCH", path + "/a", ["description": "d"], type: "application/merge-patch+json")
        #expect(same.code == 200)
    }
}
