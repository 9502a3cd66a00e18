import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

/// Claims from their making to their end: the controller and the scheduler together.
@Suite struct ResourceClaimTests {
    func bench(devices: Int = 1) async throws -> ControllerBench {
        let bench = try await ControllerBench { client, clock in
            [Scheduler(client: client, clock: clock), ResourceClaimController(client: client, clock: clock)]
        }
        for name in ["n1", "n2"] {
            try await bench.create(.nodes, Sample.node(name))
            var node = try await bench.get(.nodes, name)
            node.status = Sample.node(name)["status"]
            _ = try await bench.client.updateStatus(.nodes, node)
        }
        try await bench.create(
            .deviceClasses,
            [
                "metadata": ["name": "gpu"],
                "spec": ["selectors": [["cel": ["expression": "device.driver == 'gpu.test'"]]]],
            ])
        if devices > 0 { try await slice(bench, devices) }
        return bench
    }

    func slice(_ bench: ControllerBench, _ count: Int, node: String = "n2") async throws {
        try await bench.create(
            .resourceSlices,
            [
                "metadata": ["name": .string("slice-" + node)],
                "spec": [
                    "driver": "gpu.test", "nodeName": .string(node),
                    "pool": ["name": .string(node), "generation": 1, "resourceSliceCount": 1],
                    "devices": .array((0..<count).map { ["name": .string("gpu-\($0)")] }),
                ],
            ])
    }

    static let spec: JSON = [
        "devices": ["requests": [["name": "gpu", "exactly": ["deviceClassName": "gpu"]]]]
    ]

    func template(_ bench: ControllerBench) async throws {
        try await bench.create(
            .resourceClaimTemplates,
            ["metadata": ["name": "one-gpu"], "spec": ["metadata": ["labels": ["a": "b"]], "spec": Self.spec]])
    }

    func pod(_ bench: ControllerBench, _ name: String, _ source: JSON) async throws {
        var entry = source
        entry["name"] = "gpu"
        try await bench.create(
            .pods,
            [
                "metadata": ["name": .string(name)],
                "spec": [
                    "restartPolicy": "Never", "resourceClaims": [entry],
                    "containers": [["name": "c", "image": "i", "resources": ["claims": [["name": "gpu"]]]]],
                ],
            ])
    }
    static let byTemplate: JSON = ["resourceClaimTemplateName": "one-gpu"]
    static let byName: JSON = ["resourceClaimName": "shared"]

    func place(_ bench: ControllerBench, _ name: String) async throws -> String {
        try await bench.get(.pods, name).spec["nodeName"].string ?? ""
    }

    @Test func aTemplateBringsAClaimThatTheSchedulerAllocates() async throws {
        let bench = try await bench()
        try await template(bench)
        try await pod(bench, "p", Self.byTemplate)
        try await bench.settle()
        let pod = try await bench.get(.pods, "p")
        #expect(pod.spec["nodeName"] == "n2", "where the device is")
        let claim = try #require(try await bench.list(.resourceClaims).first)
        #expect(claim.name.hasPrefix("p-gpu-") && claim.name.utf8.count == 11)
        #expect(claim.labels == ["a": "b"])
        #expect(claim.annotations == ["resource.kubernetes.io/pod-claim-name": "gpu"])
        #expect(claim.controller?.uid == pod.uid)
        #expect(claim.finalizers == ["resource.kubernetes.io/delete-protection"])
        #expect(
            pod.status["resourceClaimStatuses"] == [["name": "gpu", "resourceClaimName": .string(claim.name)]])
        #expect(claim.status["reservedFor"] == [["resource": "pods", "name": "p", "uid": .string(pod.uid)]])
        #expect(
            claim.status["allocation"]["devices"]["results"] == [
                ["request": "gpu", "driver": "gpu.test", "pool": "n2", "device": "gpu-0"]
            ])
        #expect(try await bench.events("p") == ["Scheduled Successfully assigned default/p to n2"])
    }

    @Test func twoPodsDoNotGetOneDeviceAndTheSecondFollowsTheFirst() async throws {
        let bench = try await bench()
        try await template(bench)
        for name in ["p1", "p2"] { try await pod(bench, name, Self.byTemplate) }
        try await bench.settle()
        let places = [try await place(bench, "p1"), try await place(bench, "p2")]
        #expect(places.sorted() == ["", "n2"])
        let (first, second) = places[0].isEmpty ? ("p2", "p1") : ("p1", "p2")
        #expect(
            try await bench.events(second).contains {
                $0.hasPrefix("FailedScheduling 0/2 nodes are available: 2 cannot allocate all claims.")
            })
        try await bench.setPod(first, phase: "Succeeded", node: "n2")
        try await bench.settle()
        #expect(try await place(bench, second) == "n2")
        let claims = try await bench.list(.resourceClaims)
        #expect(claims.map { $0.controller?.name } == [second], "the finished pod's claim has gone")
    }

    @Test func aSharedClaimIsGivenBackWithItsLastPod() async throws {
        let bench = try await bench()
        try await pod(bench, "p1", Self.byName)
        try await bench.settle()
        #expect(
            try await bench.events("p1").first?.hasPrefix(
                "FailedScheduling 0/2 nodes are available: resourceclaim.resource.k8s.io \"shared\" not found.") == true
        )
        try await bench.create(.resourceClaims, ["metadata": ["name": "shared"], "spec": Self.spec])
        try await pod(bench, "p2", Self.byName)
        try await bench.settle()
        #expect(try await place(bench, "p1") == "n2")
        #expect(try await place(bench, "p2") == "n2")
        #expect(try await bench.get(.resourceClaims, "shared").status["reservedFor"].elements.count == 2)
        try await bench.setPod("p1", phase: "Failed", node: "n2")
        try await bench.settle()
        var claim = try await bench.get(.resourceClaims, "shared")
        #expect(claim.status["reservedFor"].elements.map { $0["name"].string } == ["p2"])
        #expect(!claim.status["allocation"].isNull)
        try await bench.delete(.pods, "p2", grace: 0)
        try await bench.settle()
        claim = try await bench.get(.resourceClaims, "shared")
        #expect(claim.status == .null || claim.status == [:])
        #expect(claim.finalizers.isEmpty)
    }

    @Test func aClaimInUseIsNotDeletedBeforeItsPod() async throws {
        let bench = try await bench()
        try await bench.create(.resourceClaims, ["metadata": ["name": "shared"], "spec": Self.spec])
        try await pod(bench, "p", Self.byName)
        try await bench.settle()
        try await bench.delete(.resourceClaims, "shared")
        try await bench.settle()
        #expect(try await bench.get(.resourceClaims, "shared").isBeingDeleted)
        try await pod(bench, "late", Self.byName)
        try await bench.settle()
        #expect(try await bench.events("late").first?.contains(Character("b")) == true)
        #expect(try await place(bench, "late") == "")
        try await bench.setPod("p", phase: "Succeeded", node: "n2")
        try await bench.settle()
        #expect(try await bench.find(.resourceClaims, "shared") == nil)
    }

    @Test func devicesThatComeAreNoticed() async throws {
        let bench = try await bench(devices: 0)
        try await template(bench)
        try await pod(bench, "p", Self.byTemplate)
        try await bench.settle()
        #expect(try await place(bench, "p") == "")
        try await slice(bench, 1, node: "n1")
        try await bench.settle()
        #expect(try await place(bench, "p") == "n1")
    }

    @Test func aMissingTemplateOrClassIsToldInUpstreamsWords() async throws {
        let bench = try await bench()
        try await pod(bench, "p", Self.byTemplate)
        try await bench.settle()
        #expect(
            try await bench.events("p").contains(
                "FailedResourceClaimCreation PodResourceClaim gpu: resource claim template \"one-gpu\": "
                    + "resourceclaimtemplate.resource.k8s.io \"one-gpu\" not found"))
        var spec = Self.spec
        spec["devices"] = ["requests": [["name": "gpu", "exactly": ["deviceClassName": "none"]]]]
        try await bench.create(.resourceClaims, ["metadata": ["name": "shared"], "spec": spec])
        try await pod(bench, "q", Self.byName)
        try await bench.settle()
        #expect(
            try await bench.events("q").first?.hasPrefix(
                "FailedScheduling 0/2 nodes are available: request gpu: device class none does not exist.") == true)
    }

    @Test func aClaimWhosePodCannotGoThereGetsOtherDevices() async throws {
        let bench = try await bench()
        try await slice(bench, 1, node: "n1")
        try await bench.create(.resourceClaims, ["metadata": ["name": "shared"], "spec": Self.spec])
        try await pod(bench, "p1", Self.byName)
        try await bench.settle()
        let first = try await place(bench, "p1")
        // Given back by hand, but still allocated.
        try await bench.delete(.pods, "p1", grace: 0)
        var claim = try await bench.get(.resourceClaims, "shared")
        claim.status["reservedFor"] = .null
        _ = try await bench.client.updateStatus(.resourceClaims, claim)
        try await bench.patch(.nodes, first, ["spec": ["unschedulable": true]])
        try await pod(bench, "p2", Self.byName)
        try await bench.settle()
        try await bench.advance(.seconds(2))
        #expect(try await place(bench, "p2") == (first == "n1" ? "n2" : "n1"))
    }

    @Test func podsGoWhenTheirDeviceIsTainted() async throws {
        let bench = try await ControllerBench { client, clock in [DeviceTaintEviction(client: client, clock: clock)] }
        try await slice(bench, 2)
        for (i, seconds) in [nil, 60].enumerated() {
            try await bench.create(.pods, Sample.pod("p\(i)"))
            let pod = try await bench.get(.pods, "p\(i)")
            try await bench.create(.resourceClaims, ["metadata": ["name": .string("c\(i)")], "spec": Self.spec])
            var claim = try await bench.get(.resourceClaims, "c\(i)")
            var result: JSON = [
                "request": "gpu", "driver": "gpu.test", "pool": "n2", "device": .string("gpu-\(i)"),
            ]
            if let seconds {
                result["tolerations"] = [
                    ["key": "ill", "operator": "Exists", "tolerationSeconds": .int(Int64(seconds))]
                ]
            }
            claim.status = [
                "allocation": ["devices": ["results": [result]]], "reservedFor": [pod.resourceClaimConsumer],
            ]
            _ = try await bench.client.updateStatus(.resourceClaims, claim)
        }
        try await bench.settle()
        #expect(try await bench.list(.pods).count == 2)
        var slice = try await bench.get(.resourceSlices, "slice-n2")
        let taints: JSON = [["key": "ill", "value": "", "effect": "NoExecute"]]
        slice.spec["devices"] = [["name": "gpu-0", "taints": taints], ["name": "gpu-1", "taints": taints]]
        _ = try await bench.client.update(.resourceSlices, slice)
        try await bench.settle()
        #expect(try await bench.list(.pods).map(\.name) == ["p1"])
        #expect(try await bench.events("p0") == ["DeviceTaintManagerEviction Marking for deletion"])
        try await bench.advance(.seconds(61))
        #expect(try await bench.list(.pods).isEmpty)
    }

    @Test func generatedNamesAreShortEnough() {
        let long = String(repeating: "p", count: 80)
        #expect(ResourceClaimController.base("pod", "gpu") == "pod-gpu-")
        for (pod, entry) in [(long, "gpu"), ("pod", long), (long, long)] {
            #expect(ResourceClaimController.base(pod, entry).utf8.count <= 58)
        }
    }
}
