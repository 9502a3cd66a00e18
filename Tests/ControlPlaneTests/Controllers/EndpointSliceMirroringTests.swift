import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct EndpointSliceMirroringTests {
    private func bench() async throws -> ControllerBench {
        try await ControllerBench { client, clock in
            [EndpointSliceController(client: client, clock: clock), EndpointSliceMirroring(client: client)]
        }
    }

    private func service(_ bench: ControllerBench, _ spec: JSON = [:]) async throws {
        var spec = spec
        spec["ports"] = [["port": 80]]
        _ = try await bench.create(.services, ["metadata": ["name": "own"], "spec": spec])
    }

    private static let subsets: JSON = [
        [
            "addresses": [["ip": "10.1.2.3", "hostname": "a"], ["ip": "fd00::1"]],
            "notReadyAddresses": [["ip": "10.1.2.4"]], "ports": [["port": 8080, "name": "web"]],
        ]
    ]

    private func endpoints(_ bench: ControllerBench, labels: JSON = [:]) async throws {
        _ = try await bench.create(
            .endpoints, ["metadata": ["name": "own", "labels": labels], "subsets": Self.subsets])
    }

    private func slices(_ bench: ControllerBench) async throws -> [KubeObject] {
        try await bench.list(
            .endpointSlices, ["endpointslice.kubernetes.io/managed-by": EndpointSliceMirroring.manager]
        ).sorted { ($0["addressType"].string ?? "") < ($1["addressType"].string ?? "") }
    }

    @Test func endpointsOfOnesOwnBecomeSlicesOfEachFamily() async throws {
        let bench = try await bench()
        try await service(bench)
        try await endpoints(bench, labels: ["team": "x"])
        try await bench.settle()
        let found = try await slices(bench)
        try #require(found.count == 2)
        #expect(
            found[0]["endpoints"] == [
                ["addresses": ["10.1.2.3"], "conditions": ["ready": true], "hostname": "a"],
                ["addresses": ["10.1.2.4"], "conditions": ["ready": false]],
            ])
        #expect(found[0]["ports"] == [["name": "web", "port": 8080, "protocol": "TCP"]])
        #expect(found[0].labels["team"] == "x" && found[0].labels["kubernetes.io/service-name"] == "own")
        #expect(found[0].controller?.kind == "Endpoints")
        #expect(found[1]["addressType"] == "IPv6" && found[1]["endpoints"][0]["addresses"] == ["fd00::1"])

        try await bench.patch(
            .endpoints, "own", ["subsets": [["addresses": [["ip": "10.9.9.9"]], "ports": [["port": 9]]]]])
        try await bench.settle()
        let changed = try await slices(bench)
        #expect(changed.map { $0["endpoints"][0]["addresses"] } == [["10.9.9.9"]])
        #expect(changed.first?.name == found[0].name, "the slice is changed, not replaced")
        try await bench.delete(.endpoints, "own")
        try await bench.settle()
        #expect(try await slices(bench).isEmpty)
    }

    @Test func whatHasSlicesAlreadyIsLeftAlone() async throws {
        let bench = try await bench()
        try await service(bench)
        try await endpoints(bench, labels: ["endpointslice.kubernetes.io/skip-mirror": "true"])
        try await bench.settle()
        #expect(try await slices(bench).isEmpty)
        let other = try await self.bench()
        try await service(other, ["selector": ["app": "x"]])
        try await other.settle()
        #expect(try await slices(other).isEmpty)
    }

    @Test func aSelectorEndsTheMirroring() async throws {
        let bench = try await bench()
        try await service(bench)
        try await endpoints(bench)
        try await bench.settle()
        #expect(try await slices(bench).count == 2)
        try await bench.patch(.services, "own", ["spec": ["selector": ["app": "x"]]])
        try await bench.settle()
        #expect(try await slices(bench).isEmpty)
    }
}
