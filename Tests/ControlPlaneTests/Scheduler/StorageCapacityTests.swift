import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct StorageCapacityTests {
    @Test func volumesAreMadeWhereTheDriverHasRoom() async throws {
        let bench = try await ControllerBench { client, clock in
            [VolumeBinder(client: client, clock: clock), Scheduler(client: client, clock: clock)]
        }
        for name in ["n1", "n2"] {
            try await bench.create(.nodes, Sample.node(name))
            var node = try await bench.get(.nodes, name)
            node.status = Sample.node(name)["status"]
            _ = try await bench.client.updateStatus(.nodes, node)
        }
        try await bench.create(
            .storageClasses,
            [
                "metadata": ["name": "disk"], "provisioner": "disk.csi.test",
                "volumeBindingMode": "WaitForFirstConsumer",
            ])
        try await bench.create(
            .csiDrivers, ["metadata": ["name": "disk.csi.test"], "spec": ["storageCapacity": true]])
        try await bench.create(
            .persistentVolumeClaims,
            [
                "metadata": ["name": "c"],
                "spec": [
                    "accessModes": ["ReadWriteOnce"], "storageClassName": "disk",
                    "resources": ["requests": ["storage": "10Gi"]],
                ],
            ])
        func capacity(_ node: String, _ size: String, largest: String? = nil) async throws {
            var json: JSON = [
                "metadata": ["name": .string("of-" + node)], "storageClassName": "disk", "capacity": .string(size),
                "nodeTopology": ["matchLabels": ["kubernetes.io/hostname": .string(node)]],
            ]
            if let largest { json["maximumVolumeSize"] = .string(largest) }
            try await bench.create(.csiStorageCapacities, json)
        }
        try await capacity("n1", "100Gi", largest: "5Gi")
        try await bench.create(
            .pods, Sample.pod("p", ["volumes": [["name": "data", "persistentVolumeClaim": ["claimName": "c"]]]]))
        try await bench.settle()
        #expect(
            try await bench.get(.pods, "p").condition("PodScheduled")["message"].string?.hasPrefix(
                "0/2 nodes are available: 2 node(s) did not have enough free storage.") == true)
        try await capacity("n2", "20Gi")
        try await bench.settle()
        #expect(
            try await bench.get(.persistentVolumeClaims, "c").annotations["volume.kubernetes.io/selected-node"] == "n2")
    }
}
