import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct VolumeNeedsTests {
    func cluster(zones: [String?]) -> ClusterState {
        var cluster = ClusterState()
        for (i, zone) in zones.enumerated() {
            var scene = NodeFiltersTests.Scene()
            scene.labels = zone.map { ["topology.kubernetes.io/zone": .string($0)] } ?? [:]
            scene.enter(&cluster, name: "n\(i)")
        }
        return cluster
    }
    func reasons(_ needs: VolumeNeeds, _ cluster: ClusterState, _ spec: JSON = [:]) -> [String] {
        let pod = NodeFiltersTests.waiting(spec).pod
        return cluster.nodes.indices.map { needs.refusal(of: $0, cluster, pod)?.reasons.first ?? "" }
    }

    @Test func zonesOfVolumesAreOneOrSeveral() {
        let cluster = cluster(zones: ["a", "b", "c", nil])
        var needs = VolumeNeeds()
        needs.bound = [KubeObject(["metadata": ["labels": ["topology.kubernetes.io/zone": "a__c"]]])]
        let conflict = "node(s) had no available volume zone"
        #expect(reasons(needs, cluster) == ["", conflict, "", ""], "a node that says nothing of zones is not judged")
    }

    @Test func aNodeHasAtMostAsManyVolumesAsItsDriverSays() {
        var cluster = cluster(zones: ["a", "b"])
        for i in 0..<2 {
            let pod: JSON = [
                "metadata": ["name": "p", "namespace": "default", "uid": .string("user-\(i)")],
                "spec": [
                    "nodeName": "n0",
                    "volumes": [["name": "v", "persistentVolumeClaim": ["claimName": .string("c\(i)")]]],
                ],
            ]
            _ = cluster.update(pod: KubeObject(pod), deleted: false)
        }
        var needs = VolumeNeeds()
        needs.csi = ["example.com": 1]
        needs.drivers = [
            ObjectKey(namespace: "default", name: "c0"): "example.com",
            ObjectKey(namespace: "default", name: "c1"): "example.com",
        ]
        needs.limits = ["n0": ["example.com": 2], "n1": ["example.com": 2]]
        #expect(reasons(needs, cluster) == ["node(s) exceed max volume count", ""])
        needs.limits["n0"] = ["example.com": 3]
        #expect(reasons(needs, cluster) == ["", ""])
        needs.limits["n0"] = nil
        #expect(reasons(needs, cluster) == ["", ""])
    }

    @Test func oneDiskIsForOneWriter() {
        var cluster = cluster(zones: ["a", "b"])
        func spec(_ readOnly: Bool) -> JSON {
            [
                "volumes": [
                    [
                        "name": "d",
                        "iscsi": ["targetPortal": "192.0.2.1", "iqn": "iqn.x", "lun": 0, "readOnly": .bool(readOnly)],
                    ]
                ]
            ]
        }
        var placed = spec(true)
        placed["nodeName"] = "n0"
        let pod: JSON = ["metadata": ["name": "p", "namespace": "default", "uid": "p"], "spec": placed]
        _ = cluster.update(pod: KubeObject(pod), deleted: false)
        func reasons(_ readOnly: Bool) -> [String] {
            let pod = NodeFiltersTests.waiting(spec(readOnly)).pod
            return self.reasons(VolumeNeeds(pod), cluster, spec(readOnly))
        }
        #expect(reasons(false) == ["node(s) had no available disk", ""])
        #expect(reasons(true) == ["", ""])
    }

    @Test func claimsThatWaitGetDifferentVolumesOfOneNode() {
        let cluster = cluster(zones: ["a", "b"])
        func volume(_ name: String, _ zone: String) -> KubeObject {
            let term: JSON = [
                "matchExpressions": [
                    ["key": "topology.kubernetes.io/zone", "operator": "In", "values": [.string(zone)]]
                ]
            ]
            return KubeObject([
                "metadata": ["name": .string(name)],
                "spec": ["nodeAffinity": ["required": ["nodeSelectorTerms": [term]]]],
            ])
        }
        func claim(_ name: String) -> KubeObject {
            KubeObject(["metadata": ["name": .string(name), "namespace": "default"]])
        }
        let none = KubeObject(["provisioner": "kubernetes.io/no-provisioner"])
        let volumes = [volume("a1", "a"), volume("b1", "b"), volume("b2", "b")]
        var needs = VolumeNeeds()
        needs.delayed = ["x", "y"].map { .init(claim: claim($0), storageClass: none, volumes: volumes) }
        #expect(reasons(needs, cluster) == ["node(s) didn't find available persistent volumes to bind", ""])
        #expect(needs.plan(for: cluster.nodes[1])?.map { $0.volume?.name } == ["b1", "b2"])
        // With a provisioner the zones that it serves count.
        let made = KubeObject([
            "provisioner": "example.com",
            "allowedTopologies": [
                ["matchLabelExpressions": [["key": "topology.kubernetes.io/zone", "values": ["a"]]]]
            ],
        ])
        needs.delayed = [.init(claim: claim("x"), storageClass: made, volumes: [])]
        #expect(reasons(needs, cluster) == ["", "node(s) didn't find available persistent volumes to bind"])
    }
}
