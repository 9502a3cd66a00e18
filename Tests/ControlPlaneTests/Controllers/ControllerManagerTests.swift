import Codecs
import KubeAPI
import Logging
import Synchronization
import Testing

@testable import ControlPlane

@Suite struct ControllerManagerTests {
    /// Notes what it is asked, and whether it ever was asked twice at a time about one key.
    final class Recorder: Controller {
        let name = "recorder"
        let concurrency = 4
        let sources: [WatchSource]
        let client: LocalClient
        let calls = Mutex<[(key: ObjectKey, secrets: Int)]>([])
        let busy = Mutex<Set<ObjectKey>>([])
        let collisions = Mutex(0)
        init(_ client: LocalClient, _ sources: [WatchSource]) { (self.client, self.sources) = (client, sources) }

        func expand(_ key: ObjectKey) async throws(APIError) -> [ObjectKey]? {
            key.name == "both" ? [ObjectKey(name: "one"), ObjectKey(name: "two")] : nil
        }
        func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
            if !busy.withLock({ $0.insert(key).inserted }) { collisions.withLock { $0 += 1 } }
            let secrets = try await client.list(.secrets).items.count
            for _ in 0..<5 { await Task.yield() }
            calls.withLock { $0.append((key, secrets)) }
            busy.withLock { _ = $0.remove(key) }
            return nil
        }
    }

    @Test func aControllerStartsWhenAllIsListedAndKeysStandForOthers() async throws {
        let cluster = try await Cluster()
        for i in 0..<20 { _ = try await cluster.client.create(.configMaps, cluster.configMap("m\(i)")) }
        let listed = Mutex(0)
        let recorder = Recorder(
            cluster.client,
            [
                WatchSource(.configMaps) { map, _ in
                    [ObjectKey(name: map.name == "m0" ? "both" : "one")]
                },
                WatchSource(.namespaces) { _, _ in
                    listed.withLock { $0 += 1 }
                    return []
                },
            ])
        let manager = ControllerManager(
            client: cluster.client, clock: cluster.clock, logger: Logger(label: "test"), controllers: [recorder])
        let task = Task { await manager.run() }
        await until { recorder.calls.withLock { $0.count } >= 2 && manager.isIdle }
        #expect(listed.withLock { $0 } == 2, "the namespaces were listed before anything was worked on")
        #expect(Set(recorder.calls.withLock { $0.map(\.key.name) }) == ["one", "two"])
        for i in 20..<60 { _ = try await cluster.client.create(.configMaps, cluster.configMap("m\(i)")) }
        await until { manager.isIdle }
        #expect(recorder.collisions.withLock { $0 } == 0)
        task.cancel()
        await task.value
    }

    @Test func aDeploymentRunsThroughTheRealManager() async throws {
        let cluster = try await Cluster()
        let (client, clock) = (cluster.client, cluster.clock)
        let manager = ControllerManager(
            client: client, clock: clock, logger: Logger(label: "test"),
            controllers: [
                Scheduler(client: client, clock: clock), DeploymentController(client: client, clock: clock),
                ReplicaSetController(client: client, clock: clock),
            ])
        var node = KubeObject(Sample.node("n1"))
        node.json["apiVersion"] = "v1"
        node.json["kind"] = "Node"
        node = try await client.untainted(try await client.create(.nodes, node))
        node.status = Sample.node("n1")["status"]
        _ = try await client.updateStatus(.nodes, node)
        var deployment = KubeObject(Sample.workload("d", replicas: 20))
        deployment.json["apiVersion"] = "apps/v1"
        deployment.json["kind"] = "Deployment"
        deployment.namespace = "default"
        _ = try await client.create(.deployments, deployment)
        let task = Task { await manager.run() }
        for _ in 0..<2000 {
            let pods = try await client.list(.pods).decoded()
            if pods.count == 20, pods.allSatisfy({ $0.spec["nodeName"].string == "n1" }) { break }
            try await Task.sleep(for: .milliseconds(5))
        }
        let pods = try await client.list(.pods).decoded()
        #expect(pods.count == 20)
        #expect(pods.allSatisfy { $0.spec["nodeName"].string == "n1" })
        task.cancel()
        await task.value
    }
}
