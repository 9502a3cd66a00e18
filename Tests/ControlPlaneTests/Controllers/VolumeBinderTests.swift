import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct VolumeBinderTests {
    func bench(scheduler: Bool = false) async throws -> ControllerBench {
        try await ControllerBench { client, clock in
            let all: [any Controller] = [
                VolumeBinder(client: client, clock: clock), VolumeProtection(client: client),
                ClaimProtection(client: client), EphemeralClaims(client: client, clock: clock),
            ]
            return scheduler ? all + [Scheduler(client: client, clock: clock)] : all
        }
    }

    func volume(_ bench: ControllerBench, _ name: String, _ size: String, _ more: JSON = [:]) async throws {
        var spec: JSON = [
            "capacity": ["storage": .string(size)], "accessModes": ["ReadWriteOnce"], "hostPath": ["path": "/data"],
            "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "manual",
        ]
        for (key, value) in more.object?.members ?? [] { spec[key] = value }
        if !spec["local"].isNull { spec["hostPath"] = .null }
        try await bench.create(
            .persistentVolumes, ["metadata": ["name": .string(name), "labels": ["name": .string(name)]], "spec": spec])
    }
    @discardableResult
    func claim(_ bench: ControllerBench, _ name: String, _ size: String, _ more: JSON = [:]) async throws -> KubeObject
    {
        var spec: JSON = [
            "accessModes": ["ReadWriteOnce"], "storageClassName": "manual",
            "resources": ["requests": ["storage": .string(size)]],
        ]
        for (key, value) in more.object?.members ?? [] { spec[key] = value }
        return try await bench.create(.persistentVolumeClaims, ["metadata": ["name": .string(name)], "spec": spec])
    }
    func bound(_ bench: ControllerBench, _ name: String) async throws -> String {
        try await bench.get(.persistentVolumeClaims, name).spec["volumeName"].string ?? ""
    }
    func phase(_ bench: ControllerBench, _ resource: GroupVersionResource, _ name: String) async throws -> String {
        try await bench.get(resource, name).status["phase"].string ?? ""
    }
    func waitingClass(_ bench: ControllerBench, _ name: String, provisioner: String) async throws {
        try await bench.create(
            .storageClasses,
            [
                "metadata": ["name": .string(name)], "provisioner": .string(provisioner),
                "volumeBindingMode": "WaitForFirstConsumer",
            ])
    }
    func node(_ bench: ControllerBench, _ name: String) async throws {
        try await bench.create(.nodes, Sample.node(name))
        var node = try await bench.get(.nodes, name)
        node.status = Sample.node(name)["status"]
        _ = try await bench.client.updateStatus(.nodes, node)
    }
    func pod(_ bench: ControllerBench, _ name: String, claim: String) async throws {
        try await bench.create(
            .pods,
            Sample.pod(
                name, ["volumes": [["name": "data", "persistentVolumeClaim": ["claimName": .string(claim)]]]]))
    }
    static func local(_ node: String) -> JSON {
        [
            "local": ["path": "/mnt/disk"],
            "nodeAffinity": [
                "required": [
                    "nodeSelectorTerms": [
                        [
                            "matchExpressions": [
                                ["key": "kubernetes.io/hostname", "operator": "In", "values": [.string(node)]]
                            ]
                        ]
                    ]
                ]
            ],
        ]
    }

    @Test func theSmallestVolumeThatDoesIsBoundAndBothSaySo() async throws {
        let bench = try await bench()
        for (name, size) in [("big", "10Gi"), ("fits", "2Gi"), ("small", "512Mi")] {
            try await volume(bench, name, size)
        }
        try await volume(bench, "other", "1Gi", ["storageClassName": "fast"])
        try await volume(bench, "shared", "1Gi", ["accessModes": ["ReadOnlyMany"]])
        let made = try await claim(bench, "c", "1Gi")
        try await bench.settle()
        #expect(try await bound(bench, "c") == "fits")
        let claim = try await bench.get(.persistentVolumeClaims, "c")
        #expect(claim.status["phase"] == "Bound" && claim.status["capacity"]["storage"] == "2Gi")
        #expect(claim.annotations["pv.kubernetes.io/bind-completed"] == "yes")
        let volume = try await bench.get(.persistentVolumes, "fits")
        #expect(volume.status["phase"] == "Bound" && volume.spec["claimRef"]["uid"].string == made.uid)
        #expect(volume.annotations["pv.kubernetes.io/bound-by-controller"] == "yes")
        #expect(try await phase(bench, .persistentVolumes, "big") == "Available")
    }

    @Test func selectorsAndKeptVolumesAreRespected() async throws {
        let bench = try await bench()
        try await volume(bench, "a", "1Gi")
        try await volume(bench, "b", "2Gi")
        try await volume(bench, "kept", "1Gi", ["claimRef": ["name": "later", "namespace": "default"]])
        try await claim(bench, "c", "1Gi", ["selector": ["matchLabels": ["name": "b"]]])
        try await claim(bench, "named", "1Gi", ["volumeName": "a"])
        try await claim(bench, "later", "1Gi")
        try await bench.settle()
        #expect(try await bound(bench, "c") == "b")
        #expect(try await phase(bench, .persistentVolumeClaims, "named") == "Bound")
        #expect(try await bound(bench, "later") == "kept")
    }

    @Test func aClaimWaitsUntilAVolumeComes() async throws {
        let bench = try await bench()
        try await claim(bench, "c", "1Gi", ["storageClassName": ""])
        try await bench.settle()
        #expect(try await phase(bench, .persistentVolumeClaims, "c") == "Pending")
        #expect(
            try await bench.events("c") == [
                "FailedBinding no persistent volumes available for this claim and no storage class is set"
            ])
        try await volume(bench, "v", "1Gi", ["storageClassName": ""])
        try await bench.settle()
        #expect(try await bound(bench, "c") == "v")
    }

    @Test func aVolumeWhoseClaimIsGoneIsReleasedAndKept() async throws {
        let bench = try await bench()
        try await volume(bench, "v", "1Gi")
        try await claim(bench, "c", "1Gi")
        try await bench.settle()
        #expect(try await bench.get(.persistentVolumes, "v").finalizers == ["kubernetes.io/pv-protection"])
        try await bench.delete(.persistentVolumeClaims, "c")
        try await bench.settle()
        #expect(try await bench.find(.persistentVolumeClaims, "c") == nil)
        #expect(try await phase(bench, .persistentVolumes, "v") == "Released")
        // Another claim does not get it: there may be data on it.
        try await claim(bench, "c", "1Gi")
        try await bench.settle()
        #expect(try await phase(bench, .persistentVolumeClaims, "c") == "Pending")
    }

    @Test(arguments: [
        ("Recycle", "VolumeFailedRecycle No recycler plugin found for the volume!"),
        (
            "Delete",
            "VolumeFailedDelete error getting deleter volume plugin for volume \"v\": no deletable volume plugin matched"
        ),
    ]) func whatCannotBeReclaimedFailsAndSaysSo(_ policy: String, _ event: String) async throws {
        let bench = try await bench()
        try await volume(bench, "v", "1Gi", ["persistentVolumeReclaimPolicy": .string(policy)])
        try await claim(bench, "c", "1Gi")
        try await bench.settle()
        try await bench.delete(.persistentVolumeClaims, "c")
        try await bench.settle()
        #expect(try await phase(bench, .persistentVolumes, "v") == "Failed")
        #expect(try await bench.events("v") == [event])
    }

    @Test func aClaimWhoseVolumeVanishedIsLost() async throws {
        let bench = try await bench()
        try await volume(bench, "v", "1Gi")
        try await claim(bench, "c", "1Gi")
        try await bench.settle()
        var volume = try await bench.get(.persistentVolumes, "v")
        volume.finalizers = []
        _ = try await bench.client.update(.persistentVolumes, volume)
        try await bench.delete(.persistentVolumes, "v")
        var gone = try await bench.find(.persistentVolumes, "v")
        if gone != nil {
            gone?.finalizers = []
            if let gone { _ = try await bench.client.update(.persistentVolumes, gone) }
        }
        try await bench.settle()
        #expect(try await phase(bench, .persistentVolumeClaims, "c") == "Lost")
    }

    @Test func aProvisionerIsToldAndAMissingClassIsSaid() async throws {
        let bench = try await bench()
        try await bench.create(
            .storageClasses, ["metadata": ["name": "made"], "provisioner": "example.com/disks"])
        try await claim(bench, "c", "1Gi", ["storageClassName": "made"])
        try await claim(bench, "d", "1Gi", ["storageClassName": "absent"])
        try await bench.settle()
        let annotations = try await bench.get(.persistentVolumeClaims, "c").annotations
        #expect(annotations["volume.kubernetes.io/storage-provisioner"] == "example.com/disks")
        #expect(
            try await bench.events("d") == [
                "ProvisioningFailed storageclass.storage.k8s.io \"absent\" not found"
            ])
    }

    // MARK: - With the scheduler

    @Test func theVolumeOfTheChosenNodeIsTaken() async throws {
        let bench = try await bench(scheduler: true)
        try await waitingClass(bench, "manual", provisioner: "kubernetes.io/no-provisioner")
        for name in ["n1", "n2"] { try await node(bench, name) }
        try await volume(bench, "v2", "1Gi", Self.local("n2"))
        try await claim(bench, "c", "1Gi")
        try await bench.settle()
        #expect(try await phase(bench, .persistentVolumeClaims, "c") == "Pending", "nobody uses it yet")
        #expect(try await bench.events("c").contains { $0.hasPrefix("WaitForFirstConsumer ") })
        try await pod(bench, "p", claim: "c")
        try await bench.settle()
        #expect(try await bound(bench, "c") == "v2")
        #expect(try await bench.get(.pods, "p").spec["nodeName"] == "n2")
        // A second claim finds nothing.
        try await claim(bench, "d", "1Gi")
        try await pod(bench, "q", claim: "d")
        try await bench.settle()
        #expect(
            try await bench.get(.pods, "q").condition("PodScheduled")["message"].string?.hasPrefix(
                "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind.") == true)
        try await volume(bench, "v1", "1Gi", Self.local("n1"))
        try await bench.settle()
        #expect(try await bench.get(.pods, "q").spec["nodeName"] == "n1")
    }

    @Test func theProvisionerLearnsTheNodeAndThePodWaits() async throws {
        let bench = try await bench(scheduler: true)
        try await waitingClass(bench, "manual", provisioner: "example.com/disks")
        try await node(bench, "n1")
        try await claim(bench, "c", "1Gi")
        try await pod(bench, "p", claim: "c")
        try await bench.settle()
        let claim = try await bench.get(.persistentVolumeClaims, "c")
        #expect(claim.annotations["volume.kubernetes.io/selected-node"] == "n1")
        #expect(claim.annotations["volume.kubernetes.io/storage-provisioner"] == "example.com/disks")
        #expect(try await bench.get(.pods, "p").spec["nodeName"].isNull)
        // What a provisioner does.
        var spec = Self.local("n1")
        spec["claimRef"] = [
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "c", "namespace": "default",
            "uid": .string(claim.uid),
        ]
        try await volume(bench, "made", "1Gi", spec)
        try await bench.settle()
        #expect(try await bench.get(.pods, "p").spec["nodeName"] == "n1")
    }

    @Test func podsOfUnboundClaimsSayWhyTheyWait() async throws {
        let bench = try await bench(scheduler: true)
        try await node(bench, "n1")
        try await claim(bench, "c", "1Gi")
        try await pod(bench, "p", claim: "c")
        try await pod(bench, "q", claim: "absent")
        try await bench.settle()
        func message(_ name: String) async throws -> String {
            try await bench.get(.pods, name).condition("PodScheduled")["message"].string ?? ""
        }
        let tail = " preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        #expect(
            try await message("p")
                == "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims." + tail)
        #expect(
            try await message("q") == "0/1 nodes are available: persistentvolumeclaim \"absent\" not found." + tail)
        try await volume(bench, "v", "1Gi")
        try await bench.settle()
        #expect(try await bench.get(.pods, "p").spec["nodeName"] == "n1")
    }

    @Test func aClaimForOnePodIsForOnePod() async throws {
        let bench = try await bench(scheduler: true)
        for name in ["n1", "n2"] { try await node(bench, name) }
        try await volume(bench, "v", "1Gi", ["accessModes": ["ReadWriteOncePod"]])
        try await claim(bench, "c", "1Gi", ["accessModes": ["ReadWriteOncePod"]])
        try await bench.settle()
        try await pod(bench, "p", claim: "c")
        try await bench.settle()
        try await pod(bench, "q", claim: "c")
        try await bench.settle()
        #expect(
            try await bench.get(.pods, "q").condition("PodScheduled")["message"].string?.contains(
                "2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode")
                == true)
        try await bench.delete(.pods, "p", grace: 0)
        try await bench.settle()
        #expect(try await bench.get(.pods, "q").spec["nodeName"].isNull == false)
    }

    @Test func ephemeralClaimsComeAndBelongToThePod() async throws {
        let bench = try await bench(scheduler: true)
        try await node(bench, "n1")
        try await volume(bench, "v", "1Gi")
        let made = try await bench.create(
            .pods,
            Sample.pod(
                "p",
                [
                    "volumes": [
                        [
                            "name": "scratch",
                            "ephemeral": [
                                "volumeClaimTemplate": [
                                    "metadata": ["labels": ["kind": "scratch"]],
                                    "spec": [
                                        "accessModes": ["ReadWriteOnce"], "storageClassName": "manual",
                                        "resources": ["requests": ["storage": "1Gi"]],
                                    ],
                                ]
                            ],
                        ]
                    ]
                ]))
        try await bench.settle()
        let claim = try await bench.get(.persistentVolumeClaims, "p-scratch")
        #expect(claim.controller?.uid == made.uid && claim.labels == ["kind": "scratch"])
        #expect(try await bench.get(.pods, "p").spec["nodeName"] == "n1")
    }
}
