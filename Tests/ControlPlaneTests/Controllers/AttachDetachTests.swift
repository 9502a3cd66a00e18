import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct AttachDetachTests {
    private func bench() async throws -> ControllerBench {
        let bench = try await ControllerBench { [AttachDetach(client: $0, clock: $1)] }
        for name in ["n1", "n2"] {
            try await bench.create(.nodes, Sample.node(name))
            try await status(bench, name) { $0 = Sample.node(name)["status"] }
        }
        try await bench.create(
            .persistentVolumes,
            [
                "metadata": ["name": "pv"],
                "spec": [
                    "capacity": ["storage": "1Gi"], "accessModes": ["ReadWriteOnce"],
                    "csi": ["driver": "disk.csi.test", "volumeHandle": "h"],
                    "claimRef": ["namespace": "default", "name": "data"],
                ],
            ])
        var claim = try await bench.create(
            .persistentVolumeClaims,
            [
                "metadata": ["name": "data"],
                "spec": [
                    "accessModes": ["ReadWriteOnce"], "volumeName": "pv", "storageClassName": "",
                    "resources": ["requests": ["storage": "1Gi"]],
                ],
            ])
        claim.status = ["phase": "Bound"]
        _ = try await bench.client.updateStatus(.persistentVolumeClaims, claim)
        return bench
    }

    private func status(
        _ bench: ControllerBench, _ node: String, _ change: (inout JSON) -> Void
    ) async throws {
        var object = try await bench.get(.nodes, node)
        change(&object.status)
        _ = try await bench.client.updateStatus(.nodes, object)
    }

    private func pod(_ bench: ControllerBench, _ name: String, on node: String) async throws {
        try await bench.create(
            .pods,
            Sample.pod(
                name,
                [
                    "nodeName": .string(node),
                    "volumes": [["name": "data", "persistentVolumeClaim": ["claimName": "data"]]],
                ]))
    }

    private func remove(_ bench: ControllerBench, _ pod: String) async throws {
        try await bench.client.delete(
            .pods, namespace: "default", name: pod, options: DeleteOptions(gracePeriodSeconds: 0))
    }

    private func attachments(_ bench: ControllerBench) async throws -> [KubeObject] {
        try await bench.client.list(.volumeAttachments).decoded()
    }

    private func attach(_ bench: ControllerBench) async throws {
        for var attachment in try await attachments(bench) {
            attachment.status = ["attached": true]
            _ = try await bench.client.updateStatus(.volumeAttachments, attachment)
        }
    }

    private func shown(_ bench: ControllerBench, _ node: String) async throws -> [String] {
        try await bench.get(.nodes, node).status["volumesAttached"].elements.compactMap { $0["name"].string }
    }

    private func events(_ bench: ControllerBench) async throws -> [String] {
        try await bench.client.list(.events).decoded().map {
            "\($0["involvedObject"]["name"].string ?? "") \($0["reason"].string ?? ""): \($0["message"].string ?? "")"
        }
    }

    private static let unique = "kubernetes.io/csi/disk.csi.test^h"

    @Test func aVolumeIsAttachedAndDetachedWithItsPod() async throws {
        let bench = try await bench()
        try await pod(bench, "p", on: "n1")
        try await bench.settle()
        let made = try #require(try await attachments(bench).first)
        #expect(made.name == AttachDetach.attachmentName(handle: "h", driver: "disk.csi.test", node: "n1"))
        #expect(
            made.spec == [
                "attacher": "disk.csi.test", "nodeName": "n1", "source": ["persistentVolumeName": "pv"],
            ])
        #expect(try await shown(bench, "n1").isEmpty)
        try await attach(bench)
        try await bench.settle()
        #expect(try await shown(bench, "n1") == [Self.unique])
        #expect(
            try await events(bench) == [
                "p SuccessfulAttachVolume: AttachVolume.Attach succeeded for volume \"pv\" "
            ])

        // The node still uses it.
        try await status(bench, "n1") { $0["volumesInUse"] = [.string(Self.unique)] }
        try await remove(bench, "p")
        try await bench.settle()
        #expect(try await attachments(bench).count == 1)
        try await status(bench, "n1") { $0["volumesInUse"] = .null }
        try await bench.settle()
        #expect(try await attachments(bench).isEmpty)
        #expect(try await shown(bench, "n1").isEmpty)
        #expect(bench.errors.isEmpty)
    }

    @Test func aVolumeOfOneNodeWaitsForTheOther() async throws {
        let bench = try await bench()
        try await pod(bench, "p", on: "n1")
        try await bench.settle()
        try await attach(bench)
        try await pod(bench, "q", on: "n2")
        try await bench.settle()
        #expect(try await attachments(bench).count == 1)
        #expect(
            try await events(bench).contains(
                "q FailedAttachVolume: Multi-Attach error for volume \"pv\" Volume is already used by pod(s) p"))
        try await remove(bench, "p")
        try await bench.advance(.seconds(5))
        #expect(try await attachments(bench).map { $0.spec["nodeName"].string } == ["n2"])
    }

    @Test func aNodeThatIsAwayLosesItsVolumesAfterSixMinutes() async throws {
        let bench = try await bench()
        try await pod(bench, "p", on: "n1")
        try await bench.settle()
        try await attach(bench)
        try await status(bench, "n1") {
            $0["volumesInUse"] = [.string(Self.unique)]
            $0["conditions"] = [["type": "Ready", "status": "Unknown"]]
        }
        try await remove(bench, "p")
        try await bench.advance(.seconds(300))
        #expect(try await attachments(bench).count == 1)
        try await bench.advance(.seconds(120))
        #expect(try await attachments(bench).isEmpty)
    }

    @Test func driversThatAttachNothingAndAttachmentsOfOthersAreLeftAlone() async throws {
        let bench = try await bench()
        try await bench.create(
            .csiDrivers, ["metadata": ["name": "disk.csi.test"], "spec": ["attachRequired": false]])
        try await bench.create(
            .volumeAttachments,
            [
                "metadata": ["name": "mine"],
                "spec": [
                    "attacher": "disk.csi.test", "nodeName": "n1", "source": ["persistentVolumeName": "pv"],
                ],
            ])
        try await pod(bench, "p", on: "n1")
        try await bench.settle()
        #expect(try await attachments(bench).map(\.name) == ["mine"])
    }

    @Test func whatTheAttacherSaysIsTold() async throws {
        let bench = try await bench()
        try await pod(bench, "p", on: "n1")
        try await bench.settle()
        var made = try #require(try await attachments(bench).first)
        made.status = ["attached": false, "attachError": ["message": "no disk"]]
        _ = try await bench.client.updateStatus(.volumeAttachments, made)
        try await bench.settle()
        #expect(
            try await events(bench) == ["p FailedAttachVolume: AttachVolume.Attach failed for volume \"pv\" : no disk"])
    }
}
