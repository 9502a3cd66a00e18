import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct EndpointSliceTests {
    func bench() async throws -> ControllerBench {
        try await ControllerBench { client, clock in [EndpointSliceController(client: client, clock: clock)] }
    }

    func service(_ bench: ControllerBench, _ extra: JSON = [:]) async throws {
        var spec: JSON = ["selector": ["app": "web"], "ports": [["name": "http", "port": 80, "targetPort": 8080]]]
        for (key, value) in extra.object?.members ?? [] { spec[key] = value }
        try await bench.create(.services, ["metadata": ["name": "web", "labels": ["team": "x"]], "spec": spec])
    }

    func slices(_ bench: ControllerBench) async throws -> [KubeObject] {
        try await bench.list(.endpointSlices, ["kubernetes.io/service-name": "web"])
    }

    /// "name ready/serving/terminating"
    func endpoints(_ bench: ControllerBench) async throws -> [String] {
        try await slices(bench).flatMap { $0["endpoints"].elements }.map { endpoint in
            let conditions = endpoint["conditions"]
            let flags = ["ready", "serving", "terminating"].map { conditions[$0].bool == true ? "yes" : "no" }
            return "\(endpoint["targetRef"]["name"].string ?? "") \(flags.joined(separator: "/"))"
        }.sorted()
    }

    @Test func podsShowTheirStateInTheSlice() async throws {
        let bench = try await bench()
        try await service(bench)
        for name in ["ready", "sick", "ending", "done", "fresh"] {
            try await bench.create(.pods, Sample.pod(name, labels: ["app": "web"]))
        }
        try await bench.create(.pods, Sample.pod("stranger", labels: ["app": "other"]))
        try await bench.setPod("ready")
        try await bench.setPod("sick", ready: false)
        try await bench.setPod("ending")
        try await bench.delete(.pods, "ending")
        try await bench.setPod("done", phase: "Succeeded")
        try await bench.setPod("stranger")
        try await bench.settle()
        #expect(
            try await endpoints(bench) == ["ending no/yes/yes", "ready yes/yes/no", "sick no/no/no"],
            "without an address or finished: not there at all")
        let slice = try #require(try await slices(bench).first)
        #expect(slice["ports"] == [["name": "http", "port": 8080, "protocol": "TCP"]])
        #expect(slice["addressType"] == "IPv4" && slice.name.hasPrefix("web-"))
        #expect(slice.labels["endpointslice.kubernetes.io/managed-by"] == "endpointslice-controller.k8s.io")
        #expect(slice.labels["team"] == "x" && slice.controller?.kind == "Service")
        let subsets = try await bench.get(.endpoints, "web")["subsets"]
        #expect(subsets[0]["addresses"].elements.map { $0["targetRef"]["name"] } == ["ready"])
        #expect(subsets[0]["notReadyAddresses"].elements.map { $0["targetRef"]["name"] } == ["sick"])
        try await bench.setPod("ready", ready: false)
        try await bench.settle()
        #expect(try await endpoints(bench).contains("ready no/no/no"))
    }

    @Test func notReadyAddressesArePublishedOnRequest() async throws {
        let bench = try await bench()
        try await service(bench, ["publishNotReadyAddresses": true])
        try await bench.create(.pods, Sample.pod("sick", labels: ["app": "web"]))
        try await bench.setPod("sick", ready: false)
        try await bench.settle()
        #expect(try await endpoints(bench) == ["sick yes/no/no"])
        #expect(
            try await bench.get(.endpoints, "web")["subsets"][0]["addresses"].elements.count == 1)
    }

    @Test func namedPortsAreThoseOfThePod() async throws {
        let bench = try await bench()
        try await service(bench, ["ports": [["name": "http", "port": 80, "targetPort": "web"]]])
        for (name, port) in [("a", 1000), ("b", 2000), ("c", 1000)] {
            let container: JSON = [
                "name": "main", "image": "i", "ports": [["name": "web", "containerPort": .int(Int64(port))]],
            ]
            try await bench.create(.pods, Sample.pod(name, labels: ["app": "web"], ["containers": [container]]))
            try await bench.setPod(name)
        }
        // An init container is over when the pod serves; one that stays serves as well.
        for (name, stays) in [("init", false), ("sidecar", true)] {
            var container: JSON = ["name": "side", "image": "i", "ports": [["name": "web", "containerPort": 3000]]]
            if stays { container["restartPolicy"] = "Always" }
            try await bench.create(.pods, Sample.pod(name, labels: ["app": "web"], ["initContainers": [container]]))
            try await bench.setPod(name)
        }
        try await bench.settle()
        var byPort: [String: [String]] = [:]
        for slice in try await slices(bench) {
            let port = slice["ports"][0]["port"].int.map(String.init) ?? "none"
            byPort[port] = slice["endpoints"].elements.compactMap { $0["targetRef"]["name"].string }
        }
        #expect(byPort == ["1000": ["a", "c"], "2000": ["b"], "3000": ["sidecar"], "none": ["init"]])
    }

    @Test func aSliceHoldsAHundredEndpoints() async throws {
        let bench = try await bench()
        try await service(bench)
        for i in 0..<205 {
            try await bench.create(.pods, Sample.pod("p\(1000 + i)", labels: ["app": "web"]))
            try await bench.setPod("p\(1000 + i)")
        }
        try await bench.settle()
        #expect(try await slices(bench).map { $0["endpoints"].elements.count }.sorted() == [5, 100, 100])
        for i in 0..<150 { try await bench.delete(.pods, "p\(1000 + i)", grace: 0) }
        try await bench.settle()
        #expect(try await slices(bench).map { $0["endpoints"].elements.count } == [55], "slices that are not needed go")
    }

    @Test func headlessServicesHaveHostnames() async throws {
        let bench = try await bench()
        try await service(bench, ["clusterIP": "None"])
        try await bench.create(
            .pods, Sample.pod("a", labels: ["app": "web"], ["hostname": "first", "subdomain": "web"]))
        try await bench.setPod("a")
        try await bench.settle()
        let slice = try #require(try await slices(bench).first)
        #expect(slice.labels["service.kubernetes.io/headless"] == "")
        #expect(slice["endpoints"][0]["hostname"] == "first")
    }

    @Test func aServiceWithoutSelectorIsItsOwnersAffair() async throws {
        let bench = try await bench()
        try await bench.create(
            .services, ["metadata": ["name": "web"], "spec": ["ports": [["port": 80]]]])
        try await bench.settle()
        #expect(try await bench.list(.endpointSlices).isEmpty)
        #expect(try await bench.find(.endpoints, "web") == nil)
    }

    @Test func foreignChangesAreUndoneAndEndpointsGoWithTheirService() async throws {
        let bench = try await bench()
        try await service(bench)
        try await bench.create(.pods, Sample.pod("a", labels: ["app": "web"]))
        try await bench.setPod("a")
        try await bench.settle()
        let slice = try #require(try await slices(bench).first)
        try await bench.patch(.endpointSlices, slice.name, ["endpoints": []])
        try await bench.settle()
        #expect(try await endpoints(bench) == ["a yes/yes/no"])
        let version = try await bench.get(.endpointSlices, slice.name).resourceVersion
        try await bench.patch(.pods, "a", ["metadata": ["annotations": ["x": "y"]]])
        try await bench.settle()
        #expect(try await bench.get(.endpointSlices, slice.name).resourceVersion == version, "nothing new, no write")
        try await bench.delete(.services, "web")
        try await bench.settle()
        #expect(try await bench.find(.endpoints, "web") == nil)
    }
}
