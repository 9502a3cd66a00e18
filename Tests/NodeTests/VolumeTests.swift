import Codecs
import Containers
import KubeAPI
import Linux
import Testing

@testable import Node

@Suite("Volumes") struct VolumeTests {
    static func configMap(_ name: String, _ data: JSON) -> KubeObject {
        var object = KubeObject(GroupVersionKind("", "v1", "ConfigMap"), name: name, namespace: "default")
        object["data"] = data
        return object
    }

    static func app(_ mounts: [JSON]) -> [JSON] {
        [["name": "app", "image": "busybox:1", "volumeMounts": .array(mounts)]]
    }

    private func mount(_ node: NodeHarness, _ path: String) throws -> ContainerMount {
        try #require(node.runtime.config("app")?.mounts.first { $0.containerPath == path })
    }

    @Test func aConfigMapIsShownAndFollowed() async throws {
        let node = try NodeHarness()
        node.client.put(.configMaps, Self.configMap("settings", ["color": "green", "size": "1"]))
        node.start()
        let uid = node.create(
            "web", ["volumes": [["name": "conf", "configMap": ["name": "settings"]]]],
            containers: Self.app([["name": "conf", "mountPath": "/etc/conf"]]))
        try await node.until("ready") { node.isReady("web") }
        let path = try mount(node, "/etc/conf").hostPath
        #expect(path == "\(node.configuration.rootDirectory)/pods/\(uid)/volumes/kubernetes.io~configmap/conf")
        #expect(Files.text(path + "/color") == "green")
        #expect(try Files.readLink(path + "/color") == "..data/color")
        #expect(try mount(node, "/etc/conf").readOnly)
        node.client.put(.configMaps, Self.configMap("settings", ["color": "blue"]))
        try await node.until("updated") { Files.text(path + "/color") == "blue" }
        try await node.until("removed") { !Files.exists(path + "/size") }
        #expect(node.agent?.objects.count == 1)
        try await node.client.delete(.pods, namespace: "default", name: "web", options: DeleteOptions())
        try await node.until("gone") { node.pod("web") == nil }
        try await node.until("directory removed") { !Files.exists(path) }
        #expect(node.agent?.objects.count == 0)
        await node.stop()
    }

    @Test func aPodWaitsForAVolumeThatIsMissing() async throws {
        let node = try NodeHarness()
        node.start()
        node.create(
            "web", ["volumes": [["name": "conf", "configMap": ["name": "late"]]]],
            containers: Self.app([["name": "conf", "mountPath": "/etc/conf"]]))
        try await node.until("event") {
            node.client.eventTexts().contains(
                "FailedMount: MountVolume.SetUp failed for volume \"conf\" : configmap \"late\" not found")
        }
        #expect(node.containerStatus("web")["state"]["waiting"]["reason"].string == "ContainerCreating")
        #expect(await node.runtime.sandboxes().isEmpty)
        node.client.put(.configMaps, Self.configMap("late", ["a": "b"]))
        try await node.until("ready without a timer") { node.isReady("web") }
        await node.stop()
    }

    @Test func kindsThatAreNotSupportedAreNamed() async throws {
        let node = try NodeHarness()
        node.start()
        node.create("web", ["volumes": [["name": "disk", "awsElasticBlockStore": ["volumeID": "v"]]]])
        try await node.until("event") {
            node.client.eventTexts().contains(
                "FailedMount: MountVolume.SetUp failed for volume \"disk\" : volume type awsElasticBlockStore is not supported on this node"
            )
        }
        await node.stop()
    }

    @Test func secretsModesItemsAndOwnershipAreAsAsked() async throws {
        let node = try NodeHarness()
        var secret = KubeObject(GroupVersionKind("", "v1", "Secret"), name: "keys", namespace: "default")
        secret["data"] = [
            "key": .string(Base64.encode(Array("hush".utf8))), "other": .string(Base64.encode([0, 255])),
        ]
        node.client.put(.secrets, secret)
        node.start()
        node.create(
            "web",
            [
                "securityContext": ["fsGroup": 4242],
                "volumes": [
                    [
                        "name": "keys",
                        "secret": [
                            "secretName": "keys", "defaultMode": 0o400,
                            "items": [
                                ["key": "key", "path": "deep/er/key", "mode": 0o440],
                                ["key": "other", "path": "other"],
                            ],
                        ],
                    ], ["name": "tmp", "emptyDir": [:]],
                ],
            ],
            containers: Self.app([["name": "keys", "mountPath": "/keys"], ["name": "tmp", "mountPath": "/tmp"]]))
        try await node.until("ready") { node.isReady("web") }
        let path = try mount(node, "/keys").hostPath
        #expect(Files.text(path + "/deep/er/key") == "hush")
        #expect(try Files.read(path + "/other") == [0, 255])
        let key = try Files.status(path + "/deep/er/key")
        #expect(key.st_mode & 0o777 == 0o440)
        #expect(key.st_gid == 4242)
        // The group may read what the mode alone would forbid.
        #expect(try Files.status(path + "/other").st_mode & 0o777 == 0o440)
        let temporary = try Files.status(try mount(node, "/tmp").hostPath)
        #expect(temporary.st_gid == 4242)
        #expect(temporary.st_mode & 0o7777 == 0o2777)
        #expect(node.mounter.log.contains("tmpfs keys 0"))
        await node.stop()
    }

    @Test func aProjectedTokenIsRenewedAtFourFifthsOfItsLife() async throws {
        let node = try NodeHarness()
        node.client.put(.configMaps, Self.configMap("kube-root-ca.crt", ["ca.crt": "CA"]))
        node.start()
        node.create(
            "web",
            [
                "volumes": [
                    [
                        "name": "api",
                        "projected": [
                            "sources": [
                                ["serviceAccountToken": ["expirationSeconds": 3600, "path": "token"]],
                                [
                                    "configMap": [
                                        "name": "kube-root-ca.crt", "items": [["key": "ca.crt", "path": "ca.crt"]],
                                    ]
                                ],
                                [
                                    "downwardAPI": [
                                        "items": [
                                            ["path": "namespace", "fieldRef": ["fieldPath": "metadata.namespace"]]
                                        ]
                                    ]
                                ],
                            ]
                        ],
                    ]
                ]
            ],
            containers: Self.app([
                ["name": "api", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true]
            ]))
        try await node.until("ready") { node.isReady("web") }
        let path = try mount(node, "/var/run/secrets/kubernetes.io/serviceaccount").hostPath
        #expect(Files.text(path + "/ca.crt") == "CA")
        #expect(Files.text(path + "/namespace") == "default")
        await node.settle()
        #expect(node.client.tokensIssued == 1)
        let first = Files.text(path + "/token")
        node.clock.advance(by: .seconds(2870))
        await node.settle()
        #expect(Files.text(path + "/token") == first)
        node.clock.advance(by: .seconds(20))
        try await node.until("renewed") { node.client.tokensIssued == 2 && Files.text(path + "/token") != first }
        await node.stop()
    }

    @Test func aChangedLabelIsShown() async throws {
        let node = try NodeHarness()
        node.start()
        node.create(
            "web",
            [
                "volumes": [
                    [
                        "name": "info",
                        "downwardAPI": ["items": [["path": "labels", "fieldRef": ["fieldPath": "metadata.labels"]]]],
                    ]
                ]
            ],
            containers: Self.app([["name": "info", "mountPath": "/info"]]))
        try await node.until("ready") { node.isReady("web") }
        let path = try mount(node, "/info").hostPath
        #expect(Files.text(path + "/labels") == "")
        var pod = try #require(node.pod("web"))
        pod.labels = ["a": "x\"y", "b": "2"]
        node.client.put(.pods, pod)
        try await node.until("shown") { Files.text(path + "/labels") == "a=\"x\\\"y\"\nb=\"2\"" }
        await node.stop()
    }

    @Test func aSubPathCannotLeaveItsVolume() async throws {
        let node = try NodeHarness()
        let shared = node.directory + "/shared"
        try Directories.make(shared + "/inside")
        symlink("/etc", shared + "/escape")
        node.start()
        node.create(
            "web",
            ["volumes": [["name": "data", "hostPath": ["path": .string(shared), "type": "Directory"]]]],
            containers: Self.app([
                ["name": "data", "mountPath": "/a", "subPath": "inside"],
                ["name": "data", "mountPath": "/b", "subPath": "made/new"],
                ["name": "data", "mountPath": "/c", "subPath": "escape/passwd"],
            ]))
        try await node.until("bound") { node.mounter.log.contains { $0.hasPrefix("bind \(shared)/inside ") } }
        try await node.until("bound") { node.mounter.log.contains { $0.hasPrefix("bind \(shared)/made/new ") } }
        // The link leads to /etc of the volume, which is made, never to the host's.
        #expect(!node.mounter.log.contains { $0.hasPrefix("bind /etc") })
        await node.stop()
    }

    @Test(arguments: [
        ("/dev/null", "CharDevice", nil as String?),
        ("/dev/null", "File", "hostPath type check failed: /dev/null is not a file"),
        ("/etc", "Directory", nil),
        ("/nonexistent-k3s", "Directory", "hostPath type check failed: /nonexistent-k3s is not a directory"),
        ("/etc/passwd", "Socket", "hostPath type check failed: /etc/passwd is not a socket file"),
        ("/etc/../etc", "Directory", "hostPath path \"/etc/../etc\" must be absolute and must not contain '..'"),
    ])
    func hostPathTypesAreChecked(_ path: String, _ type: String, _ problem: String?) async throws {
        let node = try NodeHarness()
        let manager = VolumeManager(root: node.directory, client: node.client, mounter: node.mounter, clock: node.clock)
        var object = KubeObject(GroupVersionKind("", "v1", "Pod"), name: "p", namespace: "default")
        object.metadata["uid"] = "u"
        object.spec = ["volumes": [["name": "v", "hostPath": ["path": .string(path), "type": .string(type)]]]]
        let facts = PodFacts(pod: Pod(object), podIPs: [], hostIPs: [], allocatable: [:])
        do {
            _ = try await manager.setUp(facts)
            #expect(problem == nil)
        } catch {
            #expect(error.message == problem)
        }
    }

    @Test func aBoundClaimIsItsDirectory() async throws {
        let node = try NodeHarness()
        let path = node.directory + "/storage"
        try Directories.make(path)
        var claim = KubeObject(GroupVersionKind("", "v1", "PersistentVolumeClaim"), name: "data", namespace: "default")
        claim.status = ["phase": "Pending"]
        node.client.put(GroupVersionResource("", "v1", "persistentvolumeclaims"), claim)
        node.start()
        node.create(
            "web", ["volumes": [["name": "data", "persistentVolumeClaim": ["claimName": "data"]]]],
            containers: Self.app([["name": "data", "mountPath": "/data"]]))
        try await node.until("event") { node.client.eventCount("FailedMount") > 0 }
        claim.spec = ["volumeName": "pv-1"]
        claim.status = ["phase": "Bound"]
        node.client.put(GroupVersionResource("", "v1", "persistentvolumeclaims"), claim)
        var volume = KubeObject(GroupVersionKind("", "v1", "PersistentVolume"), name: "pv-1")
        volume.spec = ["hostPath": ["path": .string(path), "type": "DirectoryOrCreate"]]
        node.client.put(GroupVersionResource("", "v1", "persistentvolumes"), volume)
        try await node.until("ready", ticking: .milliseconds(100)) { node.isReady("web") }
        #expect(try mount(node, "/data").hostPath == path)
        await node.stop()
    }

    @Test(.enabled(if: getuid() == 0, "files are given to another group"))
    func aLocalVolumeIsThePodsGroupsUnlessItIsShared() async throws {
        let node = try NodeHarness()
        let path = node.directory + "/disk"
        try Directories.make(path, mode: 0o755)
        try Files.write(path + "/file", Array("x".utf8), mode: 0o600)
        var claim = KubeObject(GroupVersionKind("", "v1", "PersistentVolumeClaim"), name: "data", namespace: "default")
        (claim.spec, claim.status) = (["volumeName": "pv-1"], ["phase": "Bound"])
        node.client.put(.persistentVolumeClaims, claim)
        var volume = KubeObject(GroupVersionKind("", "v1", "PersistentVolume"), name: "pv-1")
        volume.spec = ["local": ["path": .string(path)]]
        node.client.put(.persistentVolumes, volume)
        node.start()
        for (name, group) in [("first", 4242), ("second", 4343)] as [(String, Int64)] {
            node.create(
                name,
                [
                    "securityContext": ["fsGroup": .int(group)],
                    "volumes": [["name": "data", "persistentVolumeClaim": ["claimName": "data"]]],
                ],
                containers: Self.app([["name": "data", "mountPath": "/data"]]))
            try await node.until("ready") { node.isReady(name) }
            let file = try Files.status(path + "/file")
            #expect(file.st_gid == 4242 && file.st_mode & 0o777 == 0o660)
            #expect(try Files.status(path).st_mode & 0o7777 == 0o2775)
        }
        await node.stop()
    }
}

@Suite("AtomicWriter") struct AtomicWriterTests {
    @Test func nothingIsWrittenWhereNothingHasChanged() throws {
        let directory = "/tmp/k3s-atomic-\(getpid())-\(UInt32.random(in: .min ... .max))"
        try Directories.make(directory)
        defer { try? Directories.removeTree(directory) }
        let writer = AtomicWriter(directory: directory)
        let stamp = Timestamp(seconds: 1_800_000_000)
        let payload = ["a": AtomicWriter.File([1], mode: 0o640), "d/b": AtomicWriter.File([2], mode: 0o600)]
        #expect(try writer.write(payload, stamp: stamp))
        let data = try Files.readLink(directory + "/..data")
        #expect(data.hasPrefix("..2027_01_15_08_00_00."))
        #expect(try !writer.write(payload, stamp: stamp))
        #expect(try Files.readLink(directory + "/..data") == data)
        #expect(try Files.status(directory + "/a").st_mode & 0o777 == 0o640)
        #expect(try writer.write(["a": AtomicWriter.File([1], mode: 0o640)], stamp: stamp))
        #expect(!Files.exists(directory + "/d"))
        #expect(Directories.names(directory).filter { $0.hasPrefix("..") }.count == 2)
    }

    @Test(arguments: ["../x", "/x", "a/../b", "..x", ""])
    func pathsThatLeadOutsideAreRefused(_ path: String) throws {
        let directory = "/tmp/k3s-atomic-\(getpid())-\(UInt32.random(in: .min ... .max))"
        try Directories.make(directory)
        defer { try? Directories.removeTree(directory) }
        #expect(throws: SysError.self) {
            try AtomicWriter(directory: directory).write(
                [path: AtomicWriter.File([], mode: 0o644)], stamp: Timestamp(seconds: 0))
        }
        #expect(Directories.names(directory).isEmpty)
    }
}
