import Codecs
import ControlPlane
import KubeAPI
import Store
import Testing
import Transport

@Suite struct HTTPWatchTests {
    static let maps = "/api/v1/namespaces/default/configmaps"

    @Test func aWatchBeginsWithWhatIsThere() async throws {
        let cluster = try await Cluster()
        _ = try await cluster.client.create(.configMaps, cluster.configMap("a"))
        let watch = try await cluster.watch(Self.maps + "?watch=true")
        var events = await watch.events(1)
        #expect(events[0]["type"] == "ADDED" && events[0]["object"]["metadata"]["name"] == "a")
        _ = try await cluster.client.create(.configMaps, cluster.configMap("b"))
        _ = try await cluster.client.delete(.configMaps, namespace: "default", name: "a", options: DeleteOptions())
        events = await watch.events(2)
        #expect(events.map { $0["type"] } == ["ADDED", "DELETED"])
        let deleted = events[1]["object"]["metadata"]["resourceVersion"].string.flatMap { Int64($0) }
        #expect(deleted == cluster.store.revision)
        watch.cancel()
    }

    @Test func aWatchGoesOnFromARevision() async throws {
        let cluster = try await Cluster()
        let a = try await cluster.client.create(.configMaps, cluster.configMap("a"))
        _ = try await cluster.client.create(.configMaps, cluster.configMap("b"))
        let watch = try await cluster.watch(Self.maps + "?watch=1&resourceVersion=\(a.resourceVersion)")
        let events = await watch.events(1)
        #expect(events[0]["object"]["metadata"]["name"] == "b")
        watch.cancel()
        // The legacy path, and one object only.
        let legacy = try await cluster.watch("/api/v1/watch/namespaces/default/configmaps/b")
        #expect(await legacy.events(1)[0]["object"]["metadata"]["name"] == "b")
        legacy.cancel()
    }

    @Test func initialEventsEndWithABookmark() async throws {
        let cluster = try await Cluster()
        _ = try await cluster.client.create(.configMaps, cluster.configMap("a"))
        let watch = try await cluster.watch(
            Self.maps + "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true")
        let events = await watch.events(2)
        #expect(events.map { $0["type"] } == ["ADDED", "BOOKMARK"])
        #expect(events[1]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true")
        #expect(events[1]["object"]["kind"] == "ConfigMap")
        watch.cancel()
        let refused = try await cluster.call("GET", Self.maps + "?watch=1&sendInitialEvents=true")
        #expect(refused.code == 422)
        #expect(
            refused.message
                == "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        )
    }

    @Test func bookmarksComeEveryMinuteAndTheTimeIsKept() async throws {
        let cluster = try await Cluster()
        let revision = cluster.store.revision
        let watch = try await cluster.watch(
            Self.maps + "?watch=1&resourceVersion=\(revision)&allowWatchBookmarks=true&timeoutSeconds=90")
        while cluster.clock.sleeping == 0 { await Task.yield() }
        cluster.clock.advance(by: .seconds(60))
        let events = await watch.events(1)
        #expect(events[0]["type"] == "BOOKMARK")
        #expect(events[0]["object"]["metadata"]["resourceVersion"] == .string(String(revision)))
        while cluster.clock.sleeping == 0 { await Task.yield() }
        cluster.clock.advance(by: .seconds(30))
        #expect(await watch.events(1).isEmpty)
    }

    @Test func tooOldARevisionIsAnErrorEvent() async throws {
        let cluster = try await Cluster()
        _ = try await cluster.client.create(.configMaps, cluster.configMap("a"))
        try await cluster.store.compact(to: cluster.store.revision)
        let watch = try await cluster.watch(Self.maps + "?watch=1&resourceVersion=1")
        let events = await watch.events(2)
        #expect(events.count == 1)
        #expect(events[0]["type"] == "ERROR")
        #expect(events[0]["object"]["code"] == 410 && events[0]["object"]["reason"] == "Expired")
    }

    @Test func tablesAreWatchedToo() async throws {
        let cluster = try await Cluster()
        _ = try await cluster.client.create(.pods, cluster.pod("a"))
        let watch = try await cluster.watch(
            "/api/v1/namespaces/default/pods?watch=1",
            headers: ["Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"])
        let first = await watch.events(1)[0]
        #expect(first["object"]["kind"] == "Table")
        #expect(first["object"]["columnDefinitions"].elements.count == 9)
        #expect(first["object"]["rows"][0]["cells"][0] == "a")
        _ = try await cluster.client.create(.pods, cluster.pod("b"))
        let second = await watch.events(1)[0]
        #expect(second["object"]["columnDefinitions"].isNull)
        #expect(second["object"]["rows"][0]["cells"][2] == "Pending")
        watch.cancel()
    }

    @Test func manyWatchersSeeTheSameOrder() async throws {
        let cluster = try await Cluster()
        let revision = cluster.store.revision
        var watches: [HTTPWatch] = []
        for _ in 0..<8 { watches.append(try await cluster.watch(Self.maps + "?watch=1&resourceVersion=\(revision)")) }
        await withTaskGroup(of: Void.self) { group in
            for i in 0..<40 {
                group.addTask { _ = try? await cluster.client.create(.configMaps, cluster.configMap("m\(i)")) }
            }
        }
        var orders: [[JSON]] = []
        for watch in watches {
            orders.append(await watch.events(40).map { $0["object"]["metadata"]["name"] })
            watch.cancel()
        }
        #expect(orders[0].count == 40)
        #expect(orders.allSatisfy { $0 == orders[0] })
    }
}
