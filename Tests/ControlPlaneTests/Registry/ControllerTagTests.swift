import Codecs
import ControlPlane
import KubeAPI
import Store
import Testing

@Suite struct ControllerTagTests {
    private static func pod(_ name: String, _ references: JSON) -> [UInt8] {
        let pod: JSON = [
            "metadata": ["name": .string(name), "ownerReferences": references], "spec": ["controller": true],
        ]
        return pod.encode()
    }

    @Test func theControllerAmongTheOwnersCounts() {
        let own = ControllerTag.of(uid: "u-1")
        #expect(own != 0 && own != ControllerTag.of(uid: "u-2"))
        #expect(ControllerTag.of(Self.pod("a", [["uid": "u-2"], ["controller": true, "uid": "u-1"]])) == own)
        #expect(ControllerTag.of(Self.pod("a", [["controller": false, "uid": "u-1"]])) == 0)
        #expect(ControllerTag.of(Self.pod("a", [])) == 0)
        #expect(ControllerTag.of(Array("{}".utf8)) == 0 && ControllerTag.of(Array("nothing".utf8)) == 0)
    }

    /// Whoever lists for an owner is not given what others control, and is given what nobody does.
    @Test func aClaimantIsSparedOthersObjects() async throws {
        let cluster = try await Cluster()
        func make(_ name: String, _ owner: String?) async throws {
            var map = cluster.configMap(name)
            if let owner {
                map.metadata["ownerReferences"] = [
                    [
                        "apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": .string(owner), "controller": true,
                    ]
                ]
            }
            _ = try await cluster.client.create(.configMaps, map)
        }
        try await make("mine", "u-1")
        try await make("others", "u-2")
        try await make("free", nil)
        let list = try await cluster.client.list(
            .configMaps, namespace: "default", options: ListOptions(claimant: "u-1"))
        #expect(try list.decoded().map(\.name).filter { $0 != "kube-root-ca.crt" } == ["free", "mine"])
        #expect(list.resourceVersion > 0)
    }
}
