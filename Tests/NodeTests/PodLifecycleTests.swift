import Codecs
import Containers
import KubeAPI
import Linux
import Synchronization
import Testing

@testable import Node

@Suite("Pod life cycle") struct PodLifecycleTests {
    @Test func aPodRunsAndIsDeleted() async throws {
        let node = try NodeHarness()
        node.start()
        node.create("web")
        try await node.until("web is ready") { node.isReady("web") }
        let status = node.pod("web")?.status ?? .null
        #expect(status["phase"].string == "Running")
        #expect(status["podIP"].string == "10.42.0.2")
        #expect(status["hostIP"].string == "192.0.2.1")
        #expect(status["qosClass"].string == "BestEffort")
        #expect(status["observedGeneration"].int == 1)
        let container = node.containerStatus("web")
        #expect(container["containerID"].string == "containerd://\(node.runtime.id("app") ?? "?")")
        #expect(container["image"].string == "docker.io/library/busybox:1")
        #expect(container["imageID"].string == "docker.io/library/busybox:1@sha256:digest")
        #expect(container["restartCount"].int == 0)
        #expect(container["started"].bool == true)
        try await node.until("events are written") { node.client.eventTexts().contains("Started: Container started") }
        #expect(node.client.eventTexts().contains("Pulling: Pulling image \"busybox:1\""))
        #expect(node.client.eventTexts().contains("Created: Container created"))

        try await node.client.delete(.pods, namespace: "default", name: "web", options: DeleteOptions())
        try await node.until("web is gone") { node.pod("web") == nil }
        #expect(node.runtime.calls.contains("stop app 30 15"))
        try await node.until("its sandbox is removed") { await node.runtime.sandboxes().isEmpty }
        #expect(node.network.calls.contains("detach sandbox1"))
        try await node.until("its directories are removed") { Directories.names(node.configuration.podLogs).isEmpty }
        await node.stop()
    }
}

@Suite("Restart policy") struct RestartPolicyTests {
    /// An agent whose server is away: what the first start read has to do for the next.
    @Test func aContainerIsRestartedWithoutTheAPI() async throws {
        let node = try NodeHarness()
        var settings = KubeObject(GroupVersionKind("", "v1", "ConfigMap"), name: "settings", namespace: "default")
        settings["data"] = ["COLOR": "green"]
        node.client.put(.configMaps, settings)
        node.start()
        node.create(
            "web", ["volumes": [["name": "files", "configMap": ["name": "settings"]]]],
            containers: [
                [
                    "name": "app", "image": "busybox:1", "envFrom": [["configMapRef": ["name": "settings"]]],
                    "volumeMounts": [["name": "files", "mountPath": "/files"]],
                ]
            ])
        try await node.until("web runs") { node.isReady("web") }
        node.client.fail(.unavailable("dial 127.0.0.1:6444: connect: connection refused"))
        node.runtime.exit("app", 1)
        try await node.until("restarted", ticking: .seconds(1)) { node.runtime.config("app")?.attempt == 1 }
        #expect(node.runtime.config("app")?.environment.contains { $0 == ("COLOR", "green") } == true)
        node.client.fail(nil)
        try await node.until("said in the end", ticking: .seconds(1)) {
            node.containerStatus("web")["restartCount"].int == 1 && node.isReady("web")
        }
        await node.stop()
    }

    @Test func aContainerThatEndsIsRestartedAtOnceAndThenBacksOff() async throws {
        let node = try NodeHarness()
        node.start()
        node.create("web")
        try await node.until("web runs") { node.isReady("web") }
        node.runtime.exit("app", 1)
        try await node.until("restarted at once") { node.containerStatus("web")["restartCount"].int == 1 }
        try await node.until("runs again") { node.isReady("web") }
        #expect(node.containerStatus("web")["lastState"]["terminated"]["exitCode"].int == 1)
        #expect(node.containerStatus("web")["lastState"]["terminated"]["reason"].string == "Error")

        node.runtime.exit("app", 2)
        try await node.until("backs off") {
            node.containerStatus("web")["state"]["waiting"]["reason"].string == "CrashLoopBackOff"
        }
        let uid = node.pod("web")?.uid ?? ""
        #expect(
            node.containerStatus("web")["state"]["waiting"]["message"].string
                == "back-off 10s restarting failed container=app pod=web_default(\(uid))")
        #expect(node.phase("web") == "Running")
        #expect(!node.isReady("web"))
        try await node.until("event") {
            node.client.eventTexts().contains(
                "BackOff: Back-off restarting failed container app in pod web_default(\(uid))")
        }
        node.clock.advance(by: .seconds(9))
        await node.settle()
        #expect(node.containerStatus("web")["restartCount"].int == 1)
        node.clock.advance(by: .seconds(2))
        try await node.until("second restart") { node.containerStatus("web")["restartCount"].int == 2 }
        try await node.until("runs again") { node.isReady("web") }

        node.runtime.exit("app", 2)
        try await node.until("waits for 20 s") {
            node.containerStatus("web")["state"]["waiting"]["message"].string?.hasPrefix("back-off 20s") == true
        }
        // Of the ended instances only the last is kept.
        #expect(await node.runtime.containers().count == 2)
        await node.stop()
    }

    @Test func aPodThatSucceedsKeepsItsContainersForItsLogs() async throws {
        let node = try NodeHarness()
        node.start()
        node.create("job", ["restartPolicy": "OnFailure"])
        try await node.until("job runs") { node.phase("job") == "Running" }
        node.runtime.exit("app", 3)
        try await node.until("restarted after failure") { node.containerStatus("job")["restartCount"].int == 1 }
        try await node.until("runs again") { !node.containerStatus("job")["state"]["running"].isNull }
        node.runtime.exit("app", 0)
        try await node.until("succeeded") { node.phase("job") == "Succeeded" }
        #expect(node.containerStatus("job")["state"]["terminated"]["reason"].string == "Completed")
        #expect(node.condition("job", "Ready")["reason"].string == "PodCompleted")
        #expect(node.condition("job", "Initialized")["status"].string == "True")
        #expect(await !node.runtime.containers().isEmpty)
        try await node.client.delete(.pods, namespace: "default", name: "job", options: DeleteOptions())
        try await node.until("gone") { node.pod("job") == nil }
        try await node.until("nothing left") { await node.runtime.containers().isEmpty }
        await node.stop()
    }

    @Test func aPodThatNeverRestartsFails() async throws {
        let node = try NodeHarness()
        node.start()
        node.create("once", ["restartPolicy": "Never"])
        try await node.until("runs") { node.phase("once") == "Running" }
        node.runtime.exit("app", 42, reason: "OOMKilled")
        try await node.until("failed") { node.phase("once") == "Failed" }
        let ended = node.containerStatus("once")["state"]["terminated"]
        #expect(ended["exitCode"].int == 42)
        #expect(ended["reason"].string == "OOMKilled")
        #expect(node.containerStatus("once")["restartCount"].int == 0)
        await node.stop()
    }

    @Test func aPodPastItsDeadlineFails() async throws {
        let node = try NodeHarness()
        node.start()
        node.create("slow", ["activeDeadlineSeconds": 30, "restartPolicy": "Never"])
        try await node.until("runs") { node.phase("slow") == "Running" }
        node.clock.advance(by: .seconds(31))
        try await node.until("failed") { node.phase("slow") == "Failed" }
        #expect(node.pod("slow")?.status["reason"].string == "DeadlineExceeded")
        await node.stop()
    }
}

@Suite("Init containers") struct InitContainerTests {
    static let spec: JSON = [
        "initContainers": [["name": "one", "image": "busybox:1"], ["name": "two", "image": "busybox:1"]]
    ]

    @Test func theyRunOneAfterTheOther() async throws {
        let node = try NodeHarness()
        node.start()
        node.create("web", Self.spec)
        try await node.until("one runs") { !node.containerStatus("web", "one")["state"]["running"].isNull }
        #expect(node.phase("web") == "Pending")
        #expect(node.containerStatus("web")["state"]["waiting"]["reason"].string == "PodInitializing")
        #expect(
            node.condition("web", "Initialized")["message"].string == "containers with incomplete status: [one two]")
        #expect(node.runtime.id("two") == nil)
        node.runtime.exit("one", 0)
        try await node.until("two runs") { !node.containerStatus("web", "two")["state"]["running"].isNull }
        #expect(node.containerStatus("web", "one")["ready"].bool == true)
        #expect(node.runtime.id("app") == nil)
        node.runtime.exit("two", 0)
        try await node.until("web is ready") { node.isReady("web") }
        #expect(node.condition("web", "Initialized")["status"].string == "True")
        await node.stop()
    }

    @Test func aFailingOneFailsAPodThatNeverRestarts() async throws {
        let node = try NodeHarness()
        node.start()
        node.create("web", ["restartPolicy": "Never", "initContainers": [["name": "one", "image": "busybox:1"]]])
        try await node.until("one runs") { node.runtime.id("one") != nil }
        node.runtime.exit("one", 1)
        try await node.until("failed") { node.phase("web") == "Failed" }
        #expect(node.runtime.id("app") == nil)
        #expect(node.containerStatus("web")["state"]["waiting"]["reason"].string == "PodInitializing")
        await node.stop()
    }

    @Test func aFailingOneIsTriedAgainWithBackOff() async throws {
        let node = try NodeHarness()
        node.runtime.exitsAtOnce("one", 1)
        node.start()
        node.create("web", ["initContainers": [["name": "one", "image": "busybox:1"]]])
        try await node.until("three attempts", ticking: .seconds(1)) {
            (node.containerStatus("web", "one")["restartCount"].int ?? 0) >= 3
        }
        #expect(node.phase("web") == "Pending")
        node.runtime.exitsAtOnce("one", 0)
        try await node.until("ready in the end", ticking: .seconds(1)) { node.isReady("web") }
        await node.stop()
    }

    @Test func aSidecarStaysAndEndsLast() async throws {
        let node = try NodeHarness()
        node.start()
        node.create(
            "web",
            [
                "restartPolicy": "Never",
                "initContainers": [["name": "proxy", "image": "busybox:1", "restartPolicy": "Always"]],
            ])
        try await node.until("web is ready") { node.isReady("web") }
        #expect(!node.containerStatus("web", "proxy")["state"]["running"].isNull)
        #expect(node.containerStatus("web", "proxy")["ready"].bool == true)
        node.runtime.exit("app", 0)
        try await node.until("succeeded") { node.phase("web") == "Succeeded" }
        #expect(node.runtime.calls.contains { $0.hasPrefix("stop proxy") })
        await node.stop()
    }
}

@Suite("Termination") struct TerminationTests {
    @Test func preStopRunsBeforeTheSignalAndUsesUpTheGrace() async throws {
        let node = try NodeHarness()
        node.start()
        node.create(
            "web", ["terminationGracePeriodSeconds": 30],
            containers: [["name": "app", "image": "busybox:1", "lifecycle": ["preStop": ["sleep": ["seconds": 12]]]]])
        try await node.until("ready") { node.isReady("web") }
        try await node.client.delete(.pods, namespace: "default", name: "web", options: DeleteOptions())
        try await node.until("gone", ticking: .seconds(1)) { node.pod("web") == nil }
        #expect(node.actions.asked.contains("sleep 12"))
        let stop = node.runtime.calls.first { $0.hasPrefix("stop app") } ?? ""
        let grace = stop.split(separator: " ").dropFirst(2).first.flatMap { Int($0) } ?? 0
        #expect((14...18).contains(grace), "\(stop)")
        await node.stop()
    }

    @Test func aSecondShorterGraceIsObeyed() async throws {
        let node = try NodeHarness()
        node.runtime.stopTakes("app", .seconds(3600))
        node.start()
        node.create("web", ["terminationGracePeriodSeconds": 600])
        try await node.until("ready") { node.isReady("web") }
        try await node.client.delete(.pods, namespace: "default", name: "web", options: DeleteOptions())
        try await node.until("asked to stop") { node.runtime.calls.contains("stop app 600 15") }
        #expect(node.pod("web")?.isBeingDeleted == true)
        try await node.client.delete(
            .pods, namespace: "default", name: "web", options: DeleteOptions(gracePeriodSeconds: 1))
        try await node.until("asked again") { node.runtime.calls.contains("stop app 1 15") }
        try await node.until("gone", ticking: .milliseconds(100)) { node.pod("web") == nil }
        await node.stop()
    }

    @Test func aForcedDeletionStillStopsTheContainers() async throws {
        let node = try NodeHarness()
        node.start()
        node.create("web")
        try await node.until("ready") { node.isReady("web") }
        try await node.client.delete(
            .pods, namespace: "default", name: "web", options: DeleteOptions(gracePeriodSeconds: 0))
        #expect(node.pod("web") == nil)
        try await node.until("stopped") { await node.runtime.sandboxes().isEmpty }
        #expect(node.runtime.calls.contains { $0.hasPrefix("stop app") })
        await node.stop()
    }

    @Test func aPodDeletedWhileItsImageIsPulledDoesNotWaitForIt() async throws {
        let node = try NodeHarness()
        node.runtime.store.pullTakes(.seconds(3600))
        node.start()
        node.create("web")
        try await node.until("pulling") { node.runtime.store.pulls == ["busybox:1"] }
        #expect(node.containerStatus("web")["state"]["waiting"]["reason"].string == "ContainerCreating")
        try await node.client.delete(.pods, namespace: "default", name: "web", options: DeleteOptions())
        try await node.until("gone") { node.pod("web") == nil }
        await node.stop()
    }
}

@Suite("Restart of the agent") struct AdoptionTests {
    @Test func runningContainersAreLeftAlone() async throws {
        let node = try NodeHarness()
        node.start()
        node.create("web")
        try await node.until("ready") { node.isReady("web") }
        node.runtime.exit("app", 1)
        try await node.until("restarted") {
            node.isReady("web") && node.containerStatus("web")["restartCount"].int == 1
        }
        let before = node.containerStatus("web")
        let calls = node.runtime.calls
        await node.stop()
        node.clock.advance(by: .seconds(60))
        let patches = node.client.patches.filter { $0.0.name == "web" }.count
        node.start()
        await node.settle()
        try await node.until("adopted") {
            await node.agent?.pods.worker(namespace: "default", name: "web")?.stage == .running
        }
        await node.settle()
        #expect(node.runtime.calls == calls)
        #expect(node.containerStatus("web") == before)
        let later = node.client.patches.filter { $0.0.name == "web" }.dropFirst(patches)
        #expect(later.isEmpty, "\(later.map(\.1.text))")
        node.runtime.exit("app", 1)
        try await node.until("still looked after") { node.containerStatus("web")["restartCount"].int == 2 }
        await node.stop()
    }

    /// A runtime that tells of everything it has when it is first looked at, and a network that takes its time.
    @Test func whatHappensDuringTheAdoptionWaitsForItsEnd() async throws {
        let node = try NodeHarness()
        node.start()
        node.create("web")
        try await node.until("ready") { node.isReady("web") }
        let calls = node.runtime.calls
        await node.stop()
        final class Seen: Sendable { let sandboxes = Mutex<[String]>([]) }
        let (runtime, seen) = (node.runtime, Seen())
        node.network.onLookup { sandbox in
            seen.sandboxes.withLock { $0.append(sandbox) }
            for container in await runtime.containers() {
                runtime.send(ContainerEvent(.started, container: container.id, sandbox: sandbox))
            }
            for _ in 0..<20 { try? await Task.sleep(for: .milliseconds(5)) }
        }
        node.start()
        try await node.until("adopted") {
            await node.agent?.pods.worker(namespace: "default", name: "web")?.stage == .running
        }
        await node.settle()
        #expect(seen.sandboxes.withLock { !$0.isEmpty })
        #expect(node.runtime.calls == calls)
        await node.stop()
    }

    @Test func whatWasDeletedMeanwhileIsRemoved() async throws {
        let node = try NodeHarness()
        node.start()
        node.create("web")
        try await node.until("ready") { node.isReady("web") }
        await node.stop()
        try await node.client.delete(
            .pods, namespace: "default", name: "web", options: DeleteOptions(gracePeriodSeconds: 0))
        try Directories.make(node.configuration.rootDirectory + "/pods/stale/volumes")
        node.start()
        try await node.until("orphan removed") { await node.runtime.sandboxes().isEmpty }
        try await node.until("directories removed") {
            Directories.names(node.configuration.rootDirectory + "/pods").isEmpty
        }
        #expect(node.runtime.calls.contains { $0.hasPrefix("stop app") })
        await node.stop()
    }

    @Test func aDeadSandboxIsReplaced() async throws {
        let node = try NodeHarness()
        node.start()
        node.create("web")
        try await node.until("ready") { node.isReady("web") }
        await node.stop()
        node.runtime.kill(sandbox: "web")
        node.start()
        try await node.until("a second sandbox") { node.runtime.calls.contains("runSandbox web 1") }
        try await node.until("ready again", ticking: .seconds(1)) {
            node.isReady("web") && node.containerStatus("web")["restartCount"].int == 1
        }
        try await node.until("event") {
            node.client.eventTexts().contains("SandboxChanged: Pod sandbox changed, it will be killed and re-created.")
        }
        await node.stop()
    }
}

@Suite("Pods that have ended") struct EndedPodTests {
    @Test func aPodThatTheAPICallsEndedIsNotStartedAgain() async throws {
        let node = try NodeHarness()
        node.start()
        node.create("slow", ["activeDeadlineSeconds": 30])
        try await node.until("runs") { node.phase("slow") == "Running" }
        node.clock.advance(by: .seconds(31))
        try await node.until("failed") { node.phase("slow") == "Failed" }
        await node.stop()
        let starts = node.runtime.calls.filter { $0.hasPrefix("start") || $0.hasPrefix("runSandbox") }
        node.start()
        try await node.until("taken over") {
            await node.agent?.pods.worker(namespace: "default", name: "slow")?.stage == .terminated
        }
        #expect(node.runtime.calls.filter { $0.hasPrefix("start") || $0.hasPrefix("runSandbox") } == starts)
        #expect(node.pod("slow")?.status["reason"].string == "DeadlineExceeded")
        await node.stop()
    }

    @Test func aPodOfTheSameNameIsFoundWhileTheOldOneEnds() async throws {
        let node = try NodeHarness()
        node.runtime.stopTakes("app", .seconds(20))
        node.start()
        let old = node.create("web")
        try await node.until("ready") { node.isReady("web") }
        try await node.client.delete(
            .pods, namespace: "default", name: "web", options: DeleteOptions(gracePeriodSeconds: 0))
        let new = node.create("web")
        #expect(old != new)
        try await node.until("the new one") { node.agent?.pods.worker(namespace: "default", name: "web")?.uid == new }
        #expect(node.agent?.pods.worker(uid: old) != nil)
        try await node.until("the old one ends", ticking: .seconds(1)) { node.agent?.pods.worker(uid: old) == nil }
        try await node.until("ready", ticking: .seconds(1)) { node.isReady("web") }
        #expect(node.agent?.pods.worker(namespace: "default", name: "web")?.uid == new)
        await node.stop()
    }
}
