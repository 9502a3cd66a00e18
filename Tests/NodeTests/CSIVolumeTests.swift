import Codecs
import Containers
import KubeAPI
import Linux
import Testing
import Transport

@testable import Node

@Suite("CSI volumes") struct CSIVolumeTests {
    private func begin(
        _ capabilities: [Int64] = [1], driver spec: JSON = ["attachRequired": false]
    ) async throws -> (NodeHarness, TestCSIDriver) {
        let node = try NodeHarness()
        node.putDriver(spec)
        node.start()
        let registry = node.configuration.rootDirectory + "/plugins_registry"
        try await node.until("the registry") { Files.isDirectory(registry) }
        let driver = try TestCSIDriver(node, capabilities: capabilities)
        try driver.start()
        try await node.until("registered", ticking: .milliseconds(50)) {
            node.agent?.context.csi.drivers[driver.name] != nil
        }
        return (node, driver)
    }

    private func end(_ node: NodeHarness, _ pod: String) async throws {
        try await node.client.delete(.pods, namespace: "default", name: pod, options: DeleteOptions())
        try await node.until("\(pod) is gone") { node.pod(pod) == nil }
    }

    @Test func theNodesObjectIsThereBeforeAnyDriver() async throws {
        let node = try NodeHarness()
        node.start()
        try await node.until("CSINode", ticking: .milliseconds(50)) {
            node.client.object(.csiNodes, "", "node-1") != nil
        }
        let csiNode = try #require(node.client.object(.csiNodes, "", "node-1"))
        #expect(csiNode.spec == ["drivers": []])
        #expect(csiNode.ownerReferences.first?.uid == node.client.object(.nodes, "", "node-1")?.uid)
        await node.stop()
    }

    @Test func driversShowInTheNodesObjects() async throws {
        let (node, driver) = try await begin()
        let csiNode = try #require(node.client.object(.csiNodes, "", "node-1"))
        #expect(
            csiNode.spec["drivers"] == [
                [
                    "name": "disk.csi.test", "nodeID": "here", "topologyKeys": ["topology.csi.test/rack"],
                    "allocatable": ["count": 7],
                ]
            ])
        #expect(csiNode.ownerReferences.first?.kind == "Node")
        let own = try #require(node.client.object(.nodes, "", "node-1"))
        #expect(own.labels["topology.csi.test/rack"] == "r1")
        #expect(own.annotations["csi.volume.kubernetes.io/nodeid"] == "{\"disk.csi.test\":\"here\"}")
        driver.stop()
        try await node.until("taken out") {
            node.client.object(.csiNodes, "", "node-1")?.spec["drivers"].elements.isEmpty == true
        }
        #expect(node.client.object(.nodes, "", "node-1")?.annotations["csi.volume.kubernetes.io/nodeid"] == nil)
        await node.stop()
    }

    @Test func aVolumeIsStagedOnceAndUnstagedWithItsLastPod() async throws {
        let (node, driver) = try await begin()
        var secret = KubeObject(GroupVersionKind("", "v1", "Secret"), name: "key", namespace: "vault")
        secret["data"] = ["password": "c2VjcmV0"]
        node.client.put(.secrets, secret)
        node.putVolume(
            "a", spec: ["mountOptions": ["noatime"]],
            csi: [
                "fsType": "ext4", "volumeAttributes": ["pool": "p"],
                "nodeStageSecretRef": ["namespace": "vault", "name": "key"],
            ])
        let first = node.createUser("one", of: "a")
        try await node.until("one runs") { node.isReady("one") }
        node.createUser("two", of: "a")
        try await node.until("two runs") { node.isReady("two") }
        #expect(driver.calls == ["NodeStageVolume", "NodePublishVolume", "NodePublishVolume"])

        let root = node.configuration.rootDirectory
        let folder = root + "/plugins/kubernetes.io/csi/disk.csi.test/" + SHA256.hexDigest(Array("h-a".utf8))
        let stage = try #require(driver.requests("NodeStageVolume").first)
        #expect(stage["staging_target_path"].string == folder + "/globalmount")
        #expect(stage["secrets"] == ["password": "secret"] && stage["volume_context"] == ["pool": "p"])
        #expect(
            stage["volume_capability"] == [
                "mount": ["fs_type": "ext4", "mount_flags": ["noatime"]], "access_mode": ["mode": 1],
            ])
        let target = "\(root)/pods/\(first)/volumes/kubernetes.io~csi/pv-a/mount"
        #expect(driver.requests("NodePublishVolume").first?["target_path"].string == target)
        #expect(node.runtime.config("c-one")?.mounts.first { $0.containerPath == "/data" }?.hostPath == target)
        let record = try JSON.parse(Files.read(Path.parent(target) + "/vol_data.json"))
        #expect(record["driverName"] == "disk.csi.test" && record["volumeHandle"] == "h-a")
        #expect(record["specVolID"] == "pv-a" && record["volumeLifecycleMode"] == "Persistent")

        driver.forget()
        try await end(node, "one")
        #expect(driver.calls == ["NodeUnpublishVolume"])
        driver.fail("NodeUnstageVolume", "busy")
        try await node.client.delete(.pods, namespace: "default", name: "two", options: DeleteOptions())
        try await node.until("it fails", ticking: .milliseconds(10)) { driver.calls.contains("NodeUnstageVolume") }
        try await node.until("the event", ticking: .milliseconds(10)) {
            node.client.eventTexts().contains {
                $0.hasPrefix("FailedUnMount: UnmountDevice failed for volume \"pv-a\"")
            }
        }
        driver.fail("NodeUnstageVolume", nil)
        try await node.until("two is gone", ticking: .milliseconds(50)) { node.pod("two") == nil }
        #expect(!Files.exists(folder))
        await node.stop()
    }

    @Test func attachedVolumesAreWaitedForAndShown() async throws {
        let (node, driver) = try await begin(driver: [:])
        node.putVolume("a")
        node.createUser("one", of: "a")
        @Sendable func inUse() -> [String] {
            node.client.object(.nodes, "", "node-1")?.status["volumesInUse"].elements.compactMap(\.string) ?? []
        }
        try await node.until("in use") { inUse() == ["kubernetes.io/csi/disk.csi.test^h-a"] }
        #expect(driver.calls.isEmpty)
        let name = "csi-" + SHA256.hexDigest(Array("h-adisk.csi.testnode-1".utf8))
        var attachment = KubeObject(GroupVersionKind("storage.k8s.io", "v1", "VolumeAttachment"), name: name)
        attachment.status = ["attached": true, "attachmentMetadata": ["path": "/dev/x"]]
        node.client.put(.volumeAttachments, attachment)
        try await node.until("one runs", ticking: .milliseconds(20)) { node.isReady("one") }
        #expect(driver.requests("NodeStageVolume").first?["publish_context"] == ["path": "/dev/x"])
        #expect(driver.requests("NodePublishVolume").first?["publish_context"] == ["path": "/dev/x"])
        try await end(node, "one")
        try await node.until("free") { inUse().isEmpty }
        await node.stop()
    }

    @Test func inlineVolumesAreToldOfTheirPod() async throws {
        let (node, driver) = try await begin(
            [],
            driver: [
                "attachRequired": false, "podInfoOnMount": true, "volumeLifecycleModes": ["Ephemeral"],
                "tokenRequests": [["audience": "vault", "expirationSeconds": 600]],
            ])
        let uid = node.create(
            "p",
            [
                "serviceAccountName": "runner",
                "volumes": [
                    [
                        "name": "keys",
                        "csi": ["driver": "disk.csi.test", "volumeAttributes": ["class": "x"], "readOnly": true],
                    ]
                ],
            ],
            containers: [
                ["name": "app", "image": "busybox:1", "volumeMounts": [["name": "keys", "mountPath": "/keys"]]]
            ])
        try await node.until("p runs") { node.isReady("p") }
        #expect(driver.calls == ["NodePublishVolume"])
        let request = try #require(driver.requests("NodePublishVolume").first)
        #expect(request["volume_id"].string == "csi-" + SHA256.hexDigest(Array((uid + "keys").utf8)))
        #expect(request["readonly"].bool == true)
        var context = request["volume_context"].stringMap
        let tokens = try JSON.parse(context.removeValue(forKey: "csi.storage.k8s.io/serviceAccount.tokens") ?? "")
        #expect(tokens["vault"]["token"].string?.isEmpty == false)
        #expect(
            context == [
                "class": "x", "csi.storage.k8s.io/pod.name": "p", "csi.storage.k8s.io/pod.namespace": "default",
                "csi.storage.k8s.io/pod.uid": uid, "csi.storage.k8s.io/serviceAccount.name": "runner",
                "csi.storage.k8s.io/ephemeral": "true",
            ])
        #expect(node.runtime.config("app")?.mounts.first { $0.containerPath == "/keys" }?.readOnly == true)
        node.putVolume("a")
        node.createUser("q", of: "a")
        try await node.until("refused") {
            node.client.eventTexts().contains { $0.contains("volume mode \"Persistent\" not supported by driver") }
        }
        try await end(node, "p")
        #expect(driver.calls == ["NodePublishVolume", "NodeUnpublishVolume"])
        await node.stop()
    }

    @Test func blockVolumesAreDevicesOfTheContainer() async throws {
        let (node, driver) = try await begin()
        node.putVolume("a", spec: ["volumeMode": "Block"])
        let uid = node.createUser(
            "p", of: "a", container: ["volumeDevices": [["name": "data", "devicePath": "/dev/xvda"]]])
        try await node.until("p runs") { node.isReady("p") }
        let folder = node.configuration.rootDirectory + "/plugins/kubernetes.io/csi/volumeDevices"
        #expect(node.runtime.config("c-p")?.devices == ["\(folder)/publish/pv-a/\(uid):/dev/xvda:rwm"])
        #expect(driver.requests("NodeStageVolume").first?["staging_target_path"].string == folder + "/staging/pv-a")
        #expect(driver.requests("NodeStageVolume").first?["volume_capability"]["block"] == [:])
        try await end(node, "p")
        #expect(
            driver.calls == ["NodeStageVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume"])
        await node.stop()
    }

    @Test func volumesArePublishedAnewWhereTheDriverWantsIt() async throws {
        let (node, driver) = try await begin([], driver: ["attachRequired": false, "requiresRepublish": true])
        node.putVolume("a")
        node.createUser("p", of: "a")
        try await node.until("p runs") { node.isReady("p") }
        try await node.until("again", ticking: .seconds(1)) { driver.calls.count >= 3 }
        #expect(Set(driver.calls) == ["NodePublishVolume"])
        await node.stop()
    }

    @Test func volumesGrowWhileTheyAreUsed() async throws {
        let (node, driver) = try await begin([1, 3])
        node.putVolume("a")
        node.createUser("p", of: "a")
        try await node.until("p runs") { node.isReady("p") }
        var volume = try #require(node.client.object(.persistentVolumes, "", "pv-a"))
        volume.spec["capacity"] = ["storage": "2Gi"]
        node.client.put(.persistentVolumes, volume)
        var claim = try #require(node.client.object(.persistentVolumeClaims, "default", "a"))
        claim.status["conditions"] = [["type": "FileSystemResizePending", "status": "True"]]
        node.client.put(.persistentVolumeClaims, claim)
        try await node.until("grown", ticking: .seconds(1)) {
            node.client.object(.persistentVolumeClaims, "default", "a")?.status["capacity"]["storage"] == "2Gi"
        }
        #expect(
            driver.requests("NodeExpandVolume").first?["capacity_range"] == ["required_bytes": .int(2 << 30)])
        #expect(
            node.client.object(.persistentVolumeClaims, "default", "a")?.status["conditions"].elements.isEmpty == true)
        await node.stop()
    }

    /// The pod was deleted while nobody looked, and the driver comes later than the node.
    @Test func whatARestartLeftIsTakenDown() async throws {
        let (node, driver) = try await begin()
        node.putVolume("a")
        let uid = node.createUser("p", of: "a")
        try await node.until("p runs") { node.isReady("p") }
        await node.stop()
        driver.stop()
        try await node.client.delete(
            .pods, namespace: "default", name: "p", options: DeleteOptions(gracePeriodSeconds: 0))
        driver.forget()
        node.start()
        let directory = node.configuration.rootDirectory + "/pods/" + uid
        try await node.until("its container ends", ticking: .milliseconds(10)) {
            node.runtime.calls.contains { $0.hasPrefix("stop c-p") }
        }
        #expect(Files.exists(directory))
        try driver.start()
        try await node.until("its directory is gone", ticking: .milliseconds(50)) { !Files.exists(directory) }
        #expect(driver.calls == ["NodeUnpublishVolume", "NodeUnstageVolume"])
        await node.stop()
    }

    @Test(.enabled(if: getuid() == 0, "groups of files are root's to change")) func volumesGetThePodsGroup()
        async throws
    {
        let (node, _) = try await begin([], driver: ["attachRequired": false])
        node.putVolume("a", csi: ["fsType": "ext4"])
        node.putVolume("b")
        for name in ["a", "b"] {
            let uid = node.createUser("p" + name, of: name, spec: ["securityContext": ["fsGroup": 4321]])
            try await node.until("it runs") { node.isReady("p" + name) }
            let target = "\(node.configuration.rootDirectory)/pods/\(uid)/volumes/kubernetes.io~csi/pv-\(name)/mount"
            let (folder, file) = (try Files.status(target), try Files.status(target + "/file"))
            // By default only volumes with a file system that is said are changed.
            #expect((folder.st_gid == 4321) == (name == "a") && (file.st_gid == 4321) == (name == "a"))
            if name == "a" {
                #expect(folder.st_mode & 0o2070 == 0o2070 && file.st_mode & 0o060 == 0o060)
            }
        }
        await node.stop()
    }
}
