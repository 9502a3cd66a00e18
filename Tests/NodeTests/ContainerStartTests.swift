import Codecs
import Containers
import KubeAPI
import Linux
import Testing

@testable import Node

@Suite("Images") struct ImagePullTests {
    @Test func aFailedPullBacksOffAndIsTriedAgain() async throws {
        let node = try NodeHarness()
        node.runtime.store.fail("busybox:1", ImageError(.notFound, "docker.io/library/busybox:1: not found"))
        node.start()
        node.create("web")
        try await node.until("ErrImagePull") {
            node.containerStatus("web")["state"]["waiting"]["reason"].string == "ErrImagePull"
        }
        try await node.until("event") {
            node.client.eventTexts().contains(
                "Failed: Failed to pull image \"busybox:1\": docker.io/library/busybox:1: not found")
        }
        try await node.until("event") { node.client.eventTexts().contains("Failed: Error: ErrImagePull") }
        node.clock.advance(by: .seconds(2))
        try await node.until("ImagePullBackOff") {
            node.containerStatus("web")["state"]["waiting"]["reason"].string == "ImagePullBackOff"
        }
        #expect(
            node.containerStatus("web")["state"]["waiting"]["message"].string
                == "Back-off pulling image \"busybox:1\": ErrImagePull: docker.io/library/busybox:1: not found")
        #expect(node.phase("web") == "Pending")
        node.runtime.store.fail("busybox:1", nil)
        try await node.until("ready in the end", ticking: .seconds(1)) { node.isReady("web") }
        #expect(node.runtime.store.pulls.count == 2)
        await node.stop()
    }

    @Test func policyNeverDoesNotPull() async throws {
        let node = try NodeHarness()
        node.start()
        node.create("web", containers: [["name": "app", "image": "busybox:1", "imagePullPolicy": "Never"]])
        try await node.until("refused") {
            node.containerStatus("web")["state"]["waiting"]["reason"].string == "ErrImageNeverPull"
        }
        #expect(node.runtime.store.pulls.isEmpty)
        node.runtime.store.put("busybox:1")
        try await node.until("ready in the end", ticking: .seconds(1)) { node.isReady("web") }
        try await node.until("event") {
            node.client.eventTexts().contains(
                "Pulled: Container image \"busybox:1\" already present on machine and can be accessed by the pod")
        }
        await node.stop()
    }

    @Test(arguments: [
        ("busybox", "Always"), ("busybox:latest", "Always"), ("busybox:1", "IfNotPresent"),
        ("registry:5000/a/b", "Always"), ("busybox@sha256:00", "IfNotPresent"),
    ])
    func thePolicyFollowsFromTheTag(_ image: String, _ policy: String) {
        #expect(ContainerSpec(["name": "a", "image": .string(image)], .regular).pullPolicy == policy)
    }

    @Test func pullSecretsAreTriedInOrder() async throws {
        let node = try NodeHarness()
        let config =
            #"{"auths":{"https://registry.example/v1/":{"auth":"dXNlcjpwYXNz"},"other.example":{"username":"x","password":"y"}}}"#
        var secret = KubeObject(GroupVersionKind("", "v1", "Secret"), name: "pull", namespace: "default")
        secret["data"] = [".dockerconfigjson": .string(Base64.encode(Array(config.utf8)))]
        node.client.put(.secrets, secret)
        node.start()
        node.create(
            "web", ["imagePullSecrets": [["name": "missing"], ["name": "pull"]]],
            containers: [["name": "app", "image": "registry.example/team/app:1"]])
        try await node.until("ready") { node.isReady("web") }
        #expect(node.runtime.store.credentials == [RegistryCredentials(username: "user", password: "pass")])
        await node.stop()
    }
}

@Suite("Container start") struct ContainerStartTests {
    @Test func aMissingConfigMapKeepsTheContainerWaitingUntilItIsThere() async throws {
        let node = try NodeHarness()
        node.start()
        node.create(
            "web",
            containers: [["name": "app", "image": "busybox:1", "envFrom": [["configMapRef": ["name": "settings"]]]]])
        try await node.until("waits") {
            node.containerStatus("web")["state"]["waiting"]["reason"].string == "CreateContainerConfigError"
        }
        #expect(node.containerStatus("web")["state"]["waiting"]["message"].string == "configmap \"settings\" not found")
        try await node.until("event") {
            node.client.eventTexts().contains("Failed: Error: configmap \"settings\" not found")
        }
        var settings = KubeObject(GroupVersionKind("", "v1", "ConfigMap"), name: "settings", namespace: "default")
        settings["data"] = ["COLOR": "green"]
        node.client.put(.configMaps, settings)
        try await node.until("ready in the end", ticking: .seconds(1)) { node.isReady("web") }
        #expect(node.runtime.config("app")?.environment.contains { $0 == ("COLOR", "green") } == true)
        await node.stop()
    }

    @Test func aContainerThatCannotStartSaysWhy() async throws {
        let node = try NodeHarness()
        let message = "exec: \"/nope\": stat /nope: no such file or directory"
        node.runtime.failStart("app", message)
        node.start()
        node.create("web")
        try await node.until("waits") {
            ["RunContainerError", "CrashLoopBackOff"].contains(
                node.containerStatus("web")["state"]["waiting"]["reason"].string ?? "")
        }
        try await node.until("event") { node.client.eventTexts().contains("Failed: Error: " + message) }
        #expect(node.containerStatus("web")["lastState"]["terminated"]["exitCode"].int == 128)
        #expect(node.containerStatus("web")["lastState"]["terminated"]["reason"].string == "StartError")
        node.runtime.failStart("app", nil)
        try await node.until("ready in the end", ticking: .seconds(1)) { node.isReady("web") }
        await node.stop()
    }

    @Test func rootIsRefusedWhereNonRootIsAskedFor() async throws {
        let node = try NodeHarness()
        node.start()
        let uid = node.create(
            "web",
            containers: [["name": "app", "image": "busybox:1", "securityContext": ["runAsNonRoot": true]]])
        try await node.until("refused") {
            node.containerStatus("web")["state"]["waiting"]["message"].string
                == "container has runAsNonRoot and image will run as root (pod: \"web_default(\(uid))\", container: app)"
        }
        await node.stop()
    }

    @Test func theConfigurationHoldsWhatTheSpecSays() async throws {
        let node = try NodeHarness()
        node.start()
        let uid = node.create(
            "web",
            [
                "securityContext": ["runAsUser": 1000, "fsGroup": 2000, "supplementalGroups": [3000]],
                "hostname": "front", "subdomain": "tier",
            ],
            containers: [
                [
                    "name": "app", "image": "busybox:1", "command": ["sh", "-c", "echo $(GREETING) $(UNKNOWN) $$(X)"],
                    "env": [
                        ["name": "GREETING", "value": "hello $(POD)"],
                        ["name": "POD", "valueFrom": ["fieldRef": ["fieldPath": "metadata.name"]]],
                        ["name": "AGAIN", "value": "$(POD)!"],
                        [
                            "name": "CPU",
                            "valueFrom": ["resourceFieldRef": ["resource": "limits.cpu", "divisor": "1m"]],
                        ],
                        ["name": "IP", "valueFrom": ["fieldRef": ["fieldPath": "status.podIP"]]],
                    ],
                    "resources": [
                        "requests": ["cpu": "100m", "memory": "64Mi"], "limits": ["cpu": "500m", "memory": "128Mi"],
                    ],
                    "securityContext": [
                        "allowPrivilegeEscalation": false, "capabilities": ["add": ["NET_ADMIN"], "drop": ["ALL"]],
                    ],
                ]
            ])
        try await node.until("ready") { node.isReady("web") }
        let config = try #require(node.runtime.config("app"))
        #expect(config.command == ["sh", "-c", "echo hello $(POD) $(UNKNOWN) $(X)"])
        let environment = Dictionary(uniqueKeysWithValues: config.environment.map { ($0.name, $0.value) })
        #expect(environment["GREETING"] == "hello $(POD)")
        #expect(environment["AGAIN"] == "web!")
        #expect(environment["CPU"] == "500")
        #expect(environment["IP"] == "10.42.0.2")
        #expect(config.resources.cpuShares == 102)
        #expect(config.resources.cpuQuotaMicroseconds == 50000)
        #expect(config.resources.memoryLimitBytes == 128 << 20)
        #expect(config.security.runAsUser == 1000)
        #expect(config.security.supplementalGroups == [3000, 2000])
        #expect(config.security.noNewPrivileges)
        #expect(config.security.dropCapabilities == ["ALL"])
        #expect(config.logPath == "app/0.log")
        let sandbox = try #require(node.runtime.sandboxConfig("web"))
        #expect(sandbox.hostname == "front")
        #expect(sandbox.cgroupParent == "kubepods/burstable")
        #expect(sandbox.logDirectory == "\(node.configuration.podLogs)/default_web_\(uid)")
        let hosts = try #require(config.mounts.first { $0.containerPath == "/etc/hosts" })
        #expect(
            Files.text(hosts.hostPath)?.contains("10.42.0.2\tfront.tier.default.svc.cluster.local\tfront\n") == true)
        let resolv = try #require(config.mounts.first { $0.containerPath == "/etc/resolv.conf" })
        #expect(
            Files.text(resolv.hostPath)
                == "search default.svc.cluster.local svc.cluster.local cluster.local example.test\nnameserver 10.43.0.10\noptions ndots:5\n"
        )
        #expect(config.mounts.contains { $0.containerPath == "/dev/termination-log" })
        await node.stop()
    }

    @Test func theTerminationMessageIsRead() async throws {
        let node = try NodeHarness()
        node.start()
        node.create("once", ["restartPolicy": "Never"])
        try await node.until("runs") { node.phase("once") == "Running" }
        let file = try #require(node.runtime.config("app")?.mounts.first { $0.containerPath == "/dev/termination-log" })
        try Files.write(file.hostPath, Array("bye".utf8))
        node.runtime.exit("app", 0)
        try await node.until("succeeded") { node.phase("once") == "Succeeded" }
        #expect(node.containerStatus("once")["state"]["terminated"]["message"].string == "bye")
        await node.stop()
    }

    @Test func postStartFailureKillsTheContainer() async throws {
        let node = try NodeHarness()
        node.actions.answer("exec /bin/false", .failure("no"))
        node.start()
        node.create(
            "web",
            containers: [
                [
                    "name": "app", "image": "busybox:1",
                    "lifecycle": ["postStart": ["exec": ["command": ["/bin/false"]]]],
                ]
            ])
        try await node.until("killed") { node.runtime.calls.contains { $0.hasPrefix("stop app") } }
        try await node.until("event") { node.client.eventTexts().contains("FailedPostStartHook: PostStartHook failed") }
        await node.stop()
    }

    @Test func anEphemeralContainerStartsInARunningPod() async throws {
        let node = try NodeHarness()
        node.start()
        node.create("web")
        try await node.until("ready") { node.isReady("web") }
        var pod = try #require(node.pod("web"))
        pod.spec["ephemeralContainers"] = [["name": "debug", "image": "busybox:1"]]
        node.client.put(.pods, pod)
        try await node.until("debug runs") { !node.containerStatus("web", "debug")["state"]["running"].isNull }
        node.runtime.exit("debug", 0)
        try await node.until("debug ended") { !node.containerStatus("web", "debug")["state"]["terminated"].isNull }
        await node.settle()
        #expect(node.runtime.calls.filter { $0.hasPrefix("start debug") }.count == 1)
        #expect(node.isReady("web"))
        await node.stop()
    }

    @Test func aNewImageMeansANewContainer() async throws {
        let node = try NodeHarness()
        node.start()
        node.create("web")
        try await node.until("ready") { node.isReady("web") }
        var pod = try #require(node.pod("web"))
        pod.spec["containers"] = [["name": "app", "image": "busybox:2"]]
        node.client.put(.pods, pod)
        try await node.until("replaced", ticking: .milliseconds(100)) {
            node.containerStatus("web")["image"].string == "docker.io/library/busybox:2" && node.isReady("web")
        }
        #expect(node.containerStatus("web")["restartCount"].int == 1)
        #expect(node.client.eventTexts().contains("Killing: Container app definition changed, will be restarted"))
        await node.stop()
    }
}

@Suite("Admission") struct AdmissionTests {
    @Test func aPodThatDoesNotFitIsRefused() async throws {
        let node = try NodeHarness()
        node.start()
        node.create(
            "huge",
            containers: [["name": "app", "image": "busybox:1", "resources": ["requests": ["cpu": "100000"]]]])
        try await node.until("failed") { node.phase("huge") == "Failed" }
        #expect(node.pod("huge")?.status["reason"].string == "OutOfcpu")
        #expect(
            node.pod("huge")?.status["message"].string?.hasPrefix(
                "Pod was rejected: Node didn't have enough resource: cpu, requested: 100000000, used: 0, capacity: ")
                == true)
        #expect(await node.runtime.sandboxes().isEmpty)
        node.create("elsewhere", ["nodeSelector": ["disk": "ssd"]])
        try await node.until("failed") { node.phase("elsewhere") == "Failed" }
        #expect(node.pod("elsewhere")?.status["reason"].string == "NodeAffinity")
        node.create("unsafe", ["securityContext": ["sysctls": [["name": "kernel.msgmax", "value": "1"]]]])
        try await node.until("failed") { node.phase("unsafe") == "Failed" }
        #expect(node.pod("unsafe")?.status["reason"].string == "SysctlForbidden")
        await node.stop()
    }

    @Test func aHostPortIsGivenOnce() async throws {
        let node = try NodeHarness()
        node.start()
        let container: JSON = [
            "name": "app", "image": "busybox:1", "ports": [["containerPort": 80, "hostPort": 8080]],
        ]
        node.create("a", containers: [container])
        try await node.until("a is ready") { node.isReady("a") }
        node.create("b", containers: [container])
        try await node.until("b failed") { node.phase("b") == "Failed" }
        #expect(node.pod("b")?.status["reason"].string == "NodePorts")
        #expect(node.pod("b")?.status["containerStatuses"].isNull == true)
        try await node.client.delete(.pods, namespace: "default", name: "a", options: DeleteOptions())
        try await node.until("a is gone") { node.pod("a") == nil }
        node.create("c", containers: [container])
        try await node.until("c is ready") { node.isReady("c") }
        await node.stop()
    }

    @Test func addressesAndProtocolsHaveHostPortsOfTheirOwn() {
        func port(_ address: String, _ transport: String = "TCP", _ number: Int64 = 80) -> NodeResources.HostPort {
            NodeResources.HostPort(address: address, transport: transport, port: number)
        }
        #expect(!port("0.0.0.0").conflicts(port("0.0.0.0", "UDP")))
        #expect(!port("192.0.2.1").conflicts(port("192.0.2.2")))
        #expect(!port("192.0.2.1").conflicts(port("2001:db8::1")))
        #expect(!port("192.0.2.1").conflicts(port("192.0.2.1", "TCP", 81)))
        #expect(port("192.0.2.1").conflicts(port("192.0.2.1")))
        #expect(port("192.0.2.1").conflicts(port("0.0.0.0")) && port("::").conflicts(port("2001:db8::1")))
    }
}
