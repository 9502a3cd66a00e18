import Codecs
import ControlPlane
import KubeAPI
import NIOPosix
import Store
import Testing
import Transport

/// What a component may rely on, with either client: in the server's process and over HTTP.
@Suite struct KubeClientTests {
    enum Kind: String, CaseIterable, Sendable {
        case local, remote
    }

    /// On a starved machine a client may need longer for a request than a server should wait.
    private static var patient: HTTPServerConfiguration {
        var configuration = HTTPServerConfiguration()
        configuration.limits.headerTimeout = 600
        return configuration
    }

    /// Runs the body with a client of that kind to a fresh API server.
    static func with(_ kind: Kind, _ body: (any KubeClient, Cluster) async throws -> Void) async throws {
        let cluster = try await Cluster()
        guard kind == .remote else { return try await body(cluster.client, cluster) }
        let server = HTTPServer(
            group: MultiThreadedEventLoopGroup.singleton, configuration: Self.patient, handler: cluster.server.handler)
        let port = try await server.start(host: "127.0.0.1", port: 0)
        let client = RemoteClient(
            http: HTTPClient(group: MultiThreadedEventLoopGroup.singleton),
            server: HTTPURL(isTLS: false, host: "127.0.0.1", port: port, target: "/"), tls: nil,
            userAgent: "k3s/test", patience: 300)
        do {
            try await body(client, cluster)
        } catch {
            await server.stop()
            throw error
        }
        await server.stop()
    }

    @Test(arguments: Kind.allCases) func whatIsCreatedIsThere(_ kind: Kind) async throws {
        try await Self.with(kind) { client, cluster in
            let made = try await client.create(.configMaps, cluster.configMap("a", ["k": "v"]))
            #expect(!made.uid.isEmpty && made.resourceVersion > 0 && made.metadata["managedFields"].isNull)
            let there = try await client.get(.configMaps, namespace: "default", name: "a")
            #expect(there == made)
            #expect(try await client.getIfPresent(.configMaps, namespace: "default", name: "b") == nil)
            let again = await #expect(throws: APIError.self) {
                try await client.create(.configMaps, cluster.configMap("a"))
            }
            #expect(again?.isAlreadyExists == true)
            #expect(again?.message == "configmaps \"a\" already exists" && again?.name == "a")
        }
    }

    @Test(arguments: Kind.allCases) func writesAreRefusedInTheServersWords(_ kind: Kind) async throws {
        try await Self.with(kind) { client, cluster in
            let invalid = await #expect(throws: APIError.self) {
                try await client.create(.configMaps, cluster.configMap("Not_A_Name"))
            }
            #expect(invalid?.isInvalid == true && invalid?.causes.first?.field == "metadata.name")
            let made = try await client.create(.configMaps, cluster.configMap("a", ["k": "v"]))
            var changed = made
            changed.json["data"]["k"] = "w"
            _ = try await client.update(.configMaps, changed)
            let stale = await #expect(throws: APIError.self) { try await client.update(.configMaps, changed) }
            #expect(stale?.isConflict == true)
            changed.resourceVersion = 0
            changed.json["data"]["k"] = "x"
            #expect(try await client.update(.configMaps, changed)["data"]["k"] == "x")
            let missing = await #expect(throws: APIError.self) {
                try await client.get(.pods, namespace: "default", name: "nobody")
            }
            #expect(missing?.isNotFound == true && missing?.message == "pods \"nobody\" not found")
        }
    }

    @Test(arguments: Kind.allCases) func aListIsWholeHoweverLong(_ kind: Kind) async throws {
        try await Self.with(kind) { client, cluster in
            for i in 0..<620 {
                _ = try await cluster.client.create(
                    .configMaps,
                    cluster.configMap("m\(i)", ["quote": "\\\"]},[{"], labels: ["third": i % 3 == 0 ? "yes" : "no"]))
            }
            let all = try await client.list(.configMaps, namespace: "default")
            #expect(all.items.count == 620)
            let names = Set(try all.decoded().map(\.name))
            #expect(names.count == 620 && names.contains("m619"))
            #expect(all.resourceVersion == cluster.store.revision)
            let first = try #require(all.items.first)
            #expect(try first.decode().resourceVersion == first.resourceVersion)
            let third = try await client.list(
                .configMaps, namespace: nil, options: ListOptions(labels: .equal(["third": "yes"])))
            #expect(third.items.count == 207)
            let one = try await client.list(
                .configMaps, namespace: "default", options: ListOptions(fields: .equal("metadata.name", "m7")))
            #expect(try one.decoded().map(\.name) == ["m7"])
            #expect(try await client.list(.configMaps, namespace: "other").items.isEmpty)
        }
    }

    @Test(arguments: Kind.allCases) func aWatchFollowsItsSelector(_ kind: Kind) async throws {
        try await Self.with(kind) { client, cluster in
            _ = try await cluster.client.create(.configMaps, cluster.configMap("before", labels: ["app": "a"]))
            let watch = try await client.watch(
                .configMaps, namespace: "default", options: ListOptions(labels: .equal(["app": "a"])))
            #expect(try await watch.next()?.kind == .added)
            var map = try await cluster.client.create(.configMaps, cluster.configMap("x"))
            map.labels = ["app": "a"]
            map = try await cluster.client.update(.configMaps, map)
            map.json["data"] = ["k": "line\nend"]
            map = try await cluster.client.update(.configMaps, map)
            map.labels = [:]
            map = try await cluster.client.update(.configMaps, map)
            _ = try await cluster.client.delete(
                .configMaps, namespace: "default", name: "before", options: DeleteOptions())
            var seen: [String] = []
            for _ in 0..<4 {
                let event = try #require(try await watch.next())
                let object = try event.object.decode()
                #expect(object.resourceVersion == event.object.resourceVersion)
                #expect(object.metadata["managedFields"].isNull)
                seen.append("\(event.kind.rawValue) \(object.name)")
            }
            #expect(seen == ["ADDED x", "MODIFIED x", "DELETED x", "DELETED before"])
            watch.close()
            #expect(try await watch.next() == nil)
        }
    }

    @Test(arguments: Kind.allCases) func aWatchGoesOnFromARevision(_ kind: Kind) async throws {
        try await Self.with(kind) { client, cluster in
            let a = try await client.create(.configMaps, cluster.configMap("a"))
            _ = try await client.create(.configMaps, cluster.configMap("b"))
            let watch = try await client.watch(
                .configMaps, namespace: "default", options: ListOptions(resourceVersion: a.resourceVersion))
            #expect(try await watch.next()?.object.decode().name == "b")
            watch.close()
        }
    }

    @Test(arguments: Kind.allCases) func aRevisionThatIsGoneIsExpired(_ kind: Kind) async throws {
        try await Self.with(kind) { client, cluster in
            _ = try await client.create(.configMaps, cluster.configMap("a"))
            try await cluster.store.compact(to: cluster.store.revision)
            let error = await #expect(throws: APIError.self) {
                let watch = try await client.watch(
                    .configMaps, namespace: "default", options: ListOptions(resourceVersion: 1))
                _ = try await watch.next()
            }
            #expect(error?.isExpired == true)
        }
    }

    @Test(arguments: Kind.allCases) func aCancelledTaskEndsItsWatch(_ kind: Kind) async throws {
        try await Self.with(kind) { client, cluster in
            let revision = cluster.store.revision
            let watch = try await client.watch(
                .configMaps, namespace: "default", options: ListOptions(resourceVersion: revision))
            let reader = Task { try await watch.next() == nil }
            for _ in 0..<100 { await Task.yield() }
            reader.cancel()
            #expect(try await reader.value)
        }
    }

    @Test(arguments: Kind.allCases) func closingEndsAWatchThatIsRead(_ kind: Kind) async throws {
        try await Self.with(kind) { client, cluster in
            let watch = try await client.watch(
                .configMaps, namespace: "default", options: ListOptions(resourceVersion: cluster.store.revision))
            let reader = Task { try await watch.next() == nil }
            for _ in 0..<100 { await Task.yield() }
            watch.close()
            #expect(try await reader.value)
        }
    }

    @Test(arguments: Kind.allCases) func patchesOfEveryKind(_ kind: Kind) async throws {
        try await Self.with(kind) { client, cluster in
            _ = try await client.create(.configMaps, cluster.configMap("a", ["k": "v"]))
            func patch(_ patch: JSON, _ type: PatchType) async throws -> JSON {
                try await client.patch(
                    .configMaps, namespace: "default", name: "a", patch, type: type, subresource: nil)["data"]
            }
            #expect(try await patch(["data": ["l": "w"]], .merge) == ["k": "v", "l": "w"])
            #expect(try await patch(["data": ["l": .null]], .strategic) == ["k": "v"])
            #expect(try await patch([["op": "replace", "path": "/data/k", "value": "x"]], .json) == ["k": "x"])
            let applied: JSON = [
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "a", "namespace": "default"],
                "data": ["k": "y", "own": "z"],
            ]
            #expect(try await patch(applied, .apply) == ["k": "y", "own": "z"])
            let stored = try await cluster.call("GET", "/api/v1/namespaces/default/configmaps/a").json
            let managers = stored["metadata"]["managedFields"].elements.compactMap { $0["manager"].string }
            #expect(managers.contains("k3s"))
        }
    }

    @Test(arguments: Kind.allCases) func subresourcesHaveTheirOwnWrites(_ kind: Kind) async throws {
        try await Self.with(kind) { client, cluster in
            var pod = try await client.create(.pods, cluster.pod("a"))
            let binding = KubeObject([
                "apiVersion": "v1", "kind": "Binding", "metadata": ["name": "a", "namespace": "default"],
                "target": ["kind": "Node", "name": "n1"],
            ])
            _ = try await client.create(.pods, binding, subresource: "binding", name: "a")
            pod = try await client.get(.pods, namespace: "default", name: "a")
            #expect(pod.spec["nodeName"] == "n1")
            pod.status["phase"] = "Running"
            let written = try await client.updateStatus(.pods, pod)
            #expect(written.status["phase"] == "Running")
            let patched = try await client.patch(
                .pods, namespace: "default", name: "a", ["status": ["message": "m"]], type: .strategic,
                subresource: "status")
            #expect(patched.status["message"] == "m")
        }
    }

    @Test(arguments: Kind.allCases) func deletionHasItsOptions(_ kind: Kind) async throws {
        try await Self.with(kind) { client, cluster in
            let made = try await client.create(.configMaps, cluster.configMap("a"))
            let wrong = await #expect(throws: APIError.self) {
                try await client.delete(
                    .configMaps, namespace: "default", name: "a", options: DeleteOptions(uid: "another"))
            }
            #expect(wrong?.isConflict == true)
            let gone = try await client.delete(
                .configMaps, namespace: "default", name: "a", options: DeleteOptions(uid: made.uid))
            #expect(gone.name == "a" && gone.namespace == "default" && gone.uid == made.uid)
            #expect(try await client.getIfPresent(.configMaps, namespace: "default", name: "a") == nil)
            _ = try await client.create(.configMaps, cluster.configMap("b"))
            let going = try await client.delete(
                .configMaps, namespace: "default", name: "b", options: DeleteOptions(propagation: .foreground))
            #expect(going.finalizers == ["foregroundDeletion"] && going.isBeingDeleted)
        }
    }

    @Test(arguments: Kind.allCases) func thingsWithoutNamespace(_ kind: Kind) async throws {
        try await Self.with(kind) { (client: any KubeClient, _: Cluster) async throws -> Void in
            let node = KubeObject(GroupVersionKind(.core, "Node"), name: "n1")
            #expect(try await client.create(.nodes, node).name == "n1")
            #expect(try await client.get(.nodes, namespace: "", name: "n1").namespace == "")
            #expect(try await client.list(.namespaces).items.count >= 2)
            let lease = KubeObject(
                GroupVersionKind("coordination.k8s.io", "v1", "Lease"), name: "n1", namespace: "default")
            #expect(try await client.create(.leases, lease).key == ObjectKey(namespace: "default", name: "n1"))
        }
    }

    @Test func aServerThatIsNotThereIsUnavailable() async throws {
        let client = RemoteClient(
            http: HTTPClient(group: MultiThreadedEventLoopGroup.singleton),
            server: HTTPURL(isTLS: false, host: "127.0.0.1", port: 1, target: "/"), tls: nil, userAgent: "k3s/test",
            patience: 300)
        let error = await #expect(throws: APIError.self) { try await client.list(.pods) }
        #expect(error?.code == 503)
        #expect(
            error?.message
                == "Get \"http://127.0.0.1:1/api/v1/pods?limit=250\": dial 127.0.0.1:1: connect: connection refused")
    }

    @Test func aWatchEndsWhenTheConnectionIsLost() async throws {
        let cluster = try await Cluster()
        let server = HTTPServer(
            group: MultiThreadedEventLoopGroup.singleton, configuration: Self.patient, handler: cluster.server.handler)
        let port = try await server.start(host: "127.0.0.1", port: 0)
        let client = RemoteClient(
            http: HTTPClient(group: MultiThreadedEventLoopGroup.singleton),
            server: HTTPURL(isTLS: false, host: "127.0.0.1", port: port, target: "/"), tls: nil, userAgent: "k3s/test",
            patience: 300)
        let watch = try await client.watch(.configMaps, namespace: nil, options: ListOptions())
        await server.stop(within: 0.1)
        #expect(try await watch.next() == nil)
    }

    /// Objects of 20 KiB each, many in one piece of the connection and one in many.
    @Test func eventsOfAnySizeAreTakenApart() async throws {
        try await Self.with(.remote) { client, cluster in
            let watch = try await client.watch(
                .configMaps, namespace: nil, options: ListOptions(resourceVersion: cluster.store.revision))
            let sizes = [1, 20_000, 300_000, 5, 90_000]
            for (i, size) in sizes.enumerated() {
                _ = try await cluster.client.create(
                    .configMaps, cluster.configMap("m\(i)", ["k": String(repeating: "x", count: size)]))
            }
            for (i, size) in sizes.enumerated() {
                let object = try #require(try await watch.next()).object.decode()
                #expect(object.name == "m\(i)" && object["data"]["k"].string?.utf8.count == size)
            }
            watch.close()
        }
    }
}
