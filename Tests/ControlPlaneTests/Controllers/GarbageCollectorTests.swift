import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct GarbageCollectorTests {
    func bench() async throws -> ControllerBench {
        try await ControllerBench { client, _ in
            let resources = client.registry.resources
            return [
                GarbageCollector(
                    client: client, resources: [.configMaps, .secrets, .pods, .clusterRoles],
                    resolve: { kind in resources.first(kind: kind).map { ($0.gvr, $0.namespaced) } })
            ]
        }
    }

    static func reference(_ owner: KubeObject, blocks: Bool = false) -> JSON {
        var reference = OwnerReference(controller: owner)
        reference.controller = false
        reference.blockOwnerDeletion = blocks
        return reference.json
    }

    @discardableResult
    func map(
        _ bench: ControllerBench, _ name: String, owners: [JSON] = [], finalizers: [String] = []
    ) async throws -> KubeObject {
        var metadata: JSON = ["name": .string(name)]
        if !owners.isEmpty { metadata["ownerReferences"] = .array(owners) }
        if !finalizers.isEmpty { metadata["finalizers"] = .strings(finalizers) }
        return try await bench.create(.configMaps, ["metadata": metadata])
    }

    func left(_ bench: ControllerBench) async throws -> [String] { try await bench.list(.configMaps).map(\.name) }

    @Test func dependentsFollowTheirOwnerDownTheTree() async throws {
        let bench = try await bench()
        let a = try await map(bench, "a")
        let b = try await map(bench, "b", owners: [Self.reference(a)])
        try await map(bench, "c", owners: [Self.reference(b)])
        try await map(bench, "free")
        try await bench.settle()
        #expect(try await left(bench) == ["a", "b", "c", "free"])
        try await bench.delete(.configMaps, "a", .background)
        try await bench.settle()
        #expect(try await left(bench) == ["free"])
    }

    @Test func foregroundWaitsForThoseThatBlock() async throws {
        let bench = try await bench()
        let a = try await map(bench, "a")
        try await map(bench, "blocks", owners: [Self.reference(a, blocks: true)], finalizers: ["example.com/hold"])
        try await map(bench, "lets", owners: [Self.reference(a)], finalizers: ["example.com/hold"])
        try await bench.settle()
        try await bench.delete(.configMaps, "a", .foreground)
        try await bench.settle()
        #expect(try await bench.get(.configMaps, "a").finalizers == ["foregroundDeletion"])
        #expect(try await bench.get(.configMaps, "blocks").isBeingDeleted)
        try await bench.patch(.configMaps, "blocks", ["metadata": ["finalizers": nil]])
        try await bench.settle()
        #expect(try await left(bench) == ["lets"], "it does not block")
        #expect(try await bench.get(.configMaps, "lets").isBeingDeleted)
    }

    @Test func foregroundGoesDownBeforeItComesUp() async throws {
        let bench = try await bench()
        let a = try await map(bench, "a")
        let b = try await map(bench, "b", owners: [Self.reference(a, blocks: true)])
        try await map(bench, "c", owners: [Self.reference(b, blocks: true)], finalizers: ["example.com/hold"])
        try await bench.settle()
        try await bench.delete(.configMaps, "a", .foreground)
        try await bench.settle()
        #expect(try await left(bench) == ["a", "b", "c"], "c holds b, b holds a")
        try await bench.patch(.configMaps, "c", ["metadata": ["finalizers": nil]])
        try await bench.settle()
        #expect(try await left(bench) == [])
    }

    @Test func aCircleOfOwnersDoesNotHoldItself() async throws {
        let bench = try await bench()
        let a = try await map(bench, "a")
        let b = try await map(bench, "b", owners: [Self.reference(a, blocks: true)])
        try await bench.patch(
            .configMaps, "a", ["metadata": ["ownerReferences": [Self.reference(b, blocks: true)]]])
        try await bench.settle()
        #expect(try await left(bench) == ["a", "b"])
        try await bench.delete(.configMaps, "a", .foreground)
        try await bench.settle()
        #expect(try await left(bench) == [])
    }

    @Test func orphansStayWithoutTheirOwner() async throws {
        let bench = try await bench()
        let a = try await map(bench, "a")
        let other = try await map(bench, "other")
        try await map(bench, "b", owners: [Self.reference(a), Self.reference(other)])
        try await map(bench, "c", owners: [Self.reference(a, blocks: true)])
        try await bench.settle()
        try await bench.delete(.configMaps, "a", .orphan)
        try await bench.settle()
        #expect(try await left(bench) == ["b", "c", "other"])
        #expect(try await bench.get(.configMaps, "b").ownerReferences.map(\.name) == ["other"])
        #expect(try await bench.get(.configMaps, "c").ownerReferences.isEmpty)
    }

    @Test func anOwnerThatIsLeftKeepsItsDependent() async throws {
        let bench = try await bench()
        let (a, b) = (try await map(bench, "a"), try await map(bench, "b"))
        try await map(bench, "c", owners: [Self.reference(a), Self.reference(b)])
        try await bench.settle()
        try await bench.delete(.configMaps, "a", .background)
        try await bench.settle()
        #expect(try await bench.get(.configMaps, "c").ownerReferences.map(\.name) == ["b"])
        try await bench.delete(.configMaps, "b", .background)
        try await bench.settle()
        #expect(try await left(bench) == [])
    }

    @Test func whoeverWasBornAnOrphanGoes() async throws {
        let bench = try await bench()
        let a = try await map(bench, "a")
        var absent = Self.reference(a)
        absent["name"] = "never-there"
        try await map(bench, "absent", owners: [absent])
        // Another object of the owner's name is not the owner.
        var reborn = Self.reference(a)
        reborn["uid"] = "00000000-0000-0000-0000-000000000000"
        try await map(bench, "reborn", owners: [reborn])
        try await bench.settle()
        #expect(try await left(bench) == ["a"])
    }

    @Test func nothingIsConcludedFromWhatIsNotServed() async throws {
        let bench = try await bench()
        let unknown: JSON = ["apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": "u"]
        try await map(bench, "a", owners: [unknown])
        // An object of the whole cluster cannot be owned from a namespace.
        let owner = try await map(bench, "owner")
        try await bench.create(
            .clusterRoles,
            ["metadata": ["name": "role", "ownerReferences": [Self.reference(owner)]], "rules": []])
        try await bench.settle()
        #expect(try await left(bench) == ["a", "owner"])
        #expect(try await bench.list(.clusterRoles).map(\.name) == ["role"])
    }

    @Test func ownersMayBeOfAnotherKind() async throws {
        let bench = try await bench()
        let secret = try await bench.create(.secrets, ["metadata": ["name": "s"]])
        try await map(bench, "a", owners: [Self.reference(secret)])
        try await bench.settle()
        try await bench.delete(.secrets, "s")
        try await bench.settle()
        #expect(try await left(bench) == [])
    }
}
