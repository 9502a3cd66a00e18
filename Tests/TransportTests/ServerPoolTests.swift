import Testing

@testable import Transport

@Suite struct ServerPoolTests {
    private func pool(_ addresses: [String]) -> ServerPool {
        var pool = ServerPool(defaultServer: "a:1", now: 0)
        #expect(pool.set(addresses, now: 0).isEmpty)
        return pool
    }
    /// To healthy operation: dialed, then checked while it has connections.
    private func activate(_ pool: inout ServerPool, _ address: String, now: Int64 = 0) -> [String] {
        _ = pool.succeeded(address, .dial, now: now)
        pool.opened(address)
        return pool.succeeded(address, .healthCheck, now: now)
    }

    @Test func theDefaultServerIsTheFirstAndTheLastResort() {
        var pool = ServerPool(defaultServer: "name:1", now: 0)
        #expect(pool.servers.map(\.address) == ["name:1"] && pool["name:1"]?.state == .unchecked)
        #expect(pool.set(["a:1", "b:1"], now: 0).isEmpty)
        #expect(pool.servers.map(\.address) == ["a:1", "b:1", "name:1"])
        #expect(pool["name:1"]?.state == .standby)
        #expect(pool.addresses == ["a:1", "b:1"])
        // Failing and succeeding change nothing about that.
        _ = pool.failed("name:1", .dial, now: 1)
        _ = pool.succeeded("name:1", .dial, now: 1)
        #expect(pool["name:1"]?.state == .standby)
    }

    @Test func aServerIsActiveWhenDialedAndChecked() {
        var pool = pool(["a:1", "b:1"])
        _ = pool.succeeded("b:1", .dial, now: 1)
        #expect(pool["b:1"]?.state == .recovering)
        pool.opened("b:1")
        _ = pool.succeeded("b:1", .healthCheck, now: 2)
        #expect(pool["b:1"]?.state == .active)
        #expect(pool.servers.first?.address == "b:1")
    }

    @Test func aCheckedServerThatNobodyDialsIsPreferredForAMinute() {
        var pool = pool(["a:1", "b:1"])
        _ = pool.succeeded("b:1", .healthCheck, now: 1)
        _ = pool.succeeded("b:1", .healthCheck, now: 2)
        #expect(pool["b:1"]?.state == .preferred && pool.servers.first?.address == "b:1")
        _ = pool.succeeded("b:1", .healthCheck, now: 62)
        #expect(pool["b:1"]?.state == .preferred)
        _ = pool.succeeded("b:1", .healthCheck, now: 63)
        #expect(pool["b:1"]?.state == .healthy)
        _ = pool.succeeded("b:1", .dial, now: 64)
        #expect(pool["b:1"]?.state == .active)
    }

    @Test func aFailedCheckMovesTheClientsAndARecoveredServerComesBehindTheActiveOne() {
        var pool = pool(["a:1", "b:1"])
        #expect(activate(&pool, "a:1").isEmpty)
        #expect(pool.failed("a:1", .healthCheck, now: 5) == ["a:1"])
        #expect(pool["a:1"]?.state == .failed)
        #expect(pool.servers.map(\.address) == ["b:1", "a:1"])
        pool.closed("a:1")
        _ = activate(&pool, "b:1", now: 6)
        _ = pool.succeeded("a:1", .healthCheck, now: 7)
        _ = pool.succeeded("a:1", .healthCheck, now: 8)
        #expect(pool["a:1"]?.state == .preferred && pool["b:1"]?.state == .active)
        #expect(pool.servers.map(\.address) == ["b:1", "a:1"])
        #expect(pool.failed("b:1", .healthCheck, now: 9) == ["b:1"])
        #expect(pool.servers.first?.address == "a:1")
    }

    @Test func aFailedCheckIsNothingToAServerThatCanBeDialed() {
        var pool = pool(["a:1", "b:1"])
        #expect(pool.failed("a:1", .healthCheck, now: 1).isEmpty && pool["a:1"]?.state == .unchecked)
        _ = pool.succeeded("a:1", .dial, now: 1)
        #expect(pool.failed("a:1", .healthCheck, now: 2).isEmpty && pool["a:1"]?.state == .recovering)
        #expect(pool.failed("a:1", .dial, now: 3).isEmpty && pool["a:1"]?.state == .failed)
        #expect(pool.servers.map(\.address) == ["b:1", "a:1"])
    }

    @Test func aNewActiveServerTakesOverTheOthersConnections() {
        var pool = ServerPool(defaultServer: "name:1", now: 0)
        _ = pool.succeeded("name:1", .dial, now: 0)
        pool.opened("name:1")
        // The clients stay with the default server until one of the list carries something.
        #expect(pool.set(["a:1"], now: 1).isEmpty)
        #expect(activate(&pool, "a:1", now: 2) == ["name:1"])
    }

    @Test func ofTwoActiveServersTheOneWithMoreConnectionsStays() {
        var pool = pool(["a:1", "b:1"])
        _ = activate(&pool, "a:1")
        pool.opened("a:1")
        #expect(activate(&pool, "b:1", now: 1) == ["b:1"])
        #expect(pool["a:1"]?.state == .active && pool["b:1"]?.state == .preferred)
        pool.closed("a:1")
        pool.closed("a:1")
        #expect(pool.succeeded("b:1", .dial, now: 2).isEmpty)
        #expect(pool["b:1"]?.state == .active && pool["a:1"]?.state == .preferred)
    }

    @Test func aServerThatHasLeftTheListIsClosedAndForgotten() {
        var pool = pool(["a:1", "b:1"])
        _ = activate(&pool, "b:1")
        #expect(pool.set(["a:1", "c:1"], now: 1) == ["b:1"])
        #expect(pool["b:1"]?.state == .invalid && !pool.addresses.contains("b:1"))
        pool.closed("b:1")
        #expect(pool["b:1"] == nil)
        // It may come again.
        #expect(pool.set(["a:1", "b:1", "c:1"], now: 2).isEmpty)
        #expect(pool["b:1"]?.state == .unchecked)
        // An empty list is a server that does not know yet.
        #expect(pool.set([], now: 3).isEmpty && pool.addresses.count == 3)
    }
}
