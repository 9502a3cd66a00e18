import Codecs
import KubeAPI
import Linux
import Logging
import Testing
import Transport

@testable import ControlPlane

@Suite struct AddonDeployerTests {
    /// A directory of manifests and the deployer that looks at it, pass by pass.
    final class Bench {
        let cluster: Cluster
        let directory: String
        var memory = AddonDeployer.Memory()
        private let disabled: Set<String>
        private lazy var deployer = make()

        init(disabled: Set<String> = []) async throws {
            cluster = try await Cluster()
            self.disabled = disabled
            directory = "/tmp/k3s-addons-\(UInt64.random(in: 0...UInt64.max))"
            try Directories.make(directory, mode: 0o700)
            _ = try await cluster.client.create(
                .namespaces, KubeObject(GroupVersionKind(.core, "Namespace"), name: "kube-system"))
        }

        deinit { try? Directories.removeTree(directory) }

        private func make() -> AddonDeployer {
            AddonDeployer(
                cluster.server, directory: directory, disabled: disabled, node: "n1", logger: Logger(label: "test"))
        }

        func write(_ name: String, _ text: String) throws {
            try Directories.make(Path.parent(directory + "/" + name), mode: 0o700)
            try Files.write(directory + "/" + name, Array(text.utf8))
        }

        func remove(_ name: String) throws { try Files.remove(directory + "/" + name) }
        func pass() async throws { try await deployer.pass(&memory) }
        /// As after a restart of the server.
        func restart() { (memory, deployer) = (AddonDeployer.Memory(), make()) }

        func map(_ name: String, _ namespace: String = "default") async throws -> KubeObject? {
            try await cluster.client.getIfPresent(.configMaps, namespace: namespace, name: name)
        }
        func addon(_ name: String) async throws -> KubeObject? {
            try await cluster.client.getIfPresent(.addons, namespace: "kube-system", name: name)
        }
        func events(_ reason: String) async throws -> [KubeObject] {
            try await cluster.client.list(.events).decoded().filter { $0["reason"].string == reason }
        }
    }

    static func map(_ name: String, _ value: String = "1", namespace: String? = nil) -> String {
        """
        apiVersion: v1
        kind: ConfigMap
        metadata:
          name: \(name)
        \(namespace.map { "  namespace: \($0)" } ?? "")
        data:
          value: "\(value)"
        """
    }

    @Test func aFileBecomesObjectsWithTheOriginalsMarks() async throws {
        let bench = try await Bench()
        try bench.write("coredns.yaml", Self.map("a") + "\n---\n# nothing\n---\n" + Self.map("b", namespace: "other"))
        try await bench.pass()
        let a = try #require(try await bench.map("a"))
        // The label that k3s itself puts on what its coredns.yaml brings.
        #expect(a.labels["objectset.rio.cattle.io/hash"] == "bce283298811743a0386ab510f2f67ef74240c57")
        #expect(a.annotations["objectset.rio.cattle.io/id"] == "")
        #expect(a.annotations["objectset.rio.cattle.io/owner-gvk"] == "k3s.cattle.io/v1, Kind=Addon")
        #expect(a.annotations["objectset.rio.cattle.io/owner-name"] == "coredns")
        #expect(a.annotations["objectset.rio.cattle.io/owner-namespace"] == "kube-system")
        #expect(a.annotations["objectset.rio.cattle.io/applied"]?.hasPrefix("H4sI") == true)
        #expect(a.annotations["objectset.rio.cattle.io/applied"]?.hasSuffix("=") == false)
        #expect(try await bench.map("b", "other") != nil)
        let addon = try #require(try await bench.addon("coredns"))
        #expect(addon.spec["source"].string == bench.directory + "/coredns.yaml")
        let bytes = try Files.read(bench.directory + "/coredns.yaml")
        #expect(addon.spec["checksum"].string == SHA256.hexDigest(bytes))
        #expect(addon.annotations["addon.k3s.cattle.io/gvks"] == "/v1, Kind=ConfigMap")
        #expect(try await bench.events("ApplyingManifest").count == 1)
        #expect(
            try await bench.events("AppliedManifest").first?["message"].string
                == "Applied manifest at \"\(bench.directory)/coredns.yaml\"")
    }

    @Test func whatLeavesTheFileIsDeletedWhatLeavesTheDirectoryStays() async throws {
        let bench = try await Bench()
        try bench.write("x.yaml", Self.map("a") + "\n---\n" + Self.map("b"))
        try await bench.pass()
        try bench.write("x.yaml", Self.map("a", "longer"))
        try await bench.pass()
        #expect(try await bench.map("a")?["data"]["value"].string == "longer")
        #expect(try await bench.map("b") == nil)
        try bench.remove("x.yaml")
        try await bench.pass()
        #expect(try await bench.map("a") != nil)
        #expect(try await bench.addon("x") != nil)
        // Comes back empty, also after a restart: the Addon knows which kinds it had.
        bench.restart()
        try bench.write("x.yaml", "# nothing any more\n")
        try await bench.pass()
        #expect(try await bench.map("a") == nil)
        #expect(try await bench.addon("x")?.annotations["addon.k3s.cattle.io/gvks"] == "")
    }

    @Test func objectsThatAreNotToBePrunedStay() async throws {
        let bench = try await Bench()
        let kept = Self.map("kept").replacing(
            "name: kept", "name: kept\n  labels: {objectset.rio.cattle.io/prune: \"false\"}")
        try bench.write("x.yaml", kept)
        try await bench.pass()
        try bench.write("x.yaml", Self.map("other"))
        try await bench.pass()
        #expect(try await bench.map("kept") != nil)
        #expect(try await bench.map("other") != nil)
    }

    @Test func whatPeopleChangeIsPutBackWhenTheServerStarts() async throws {
        let bench = try await Bench()
        try bench.write("x.json", #"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"v"}}"#)
        try await bench.pass()
        _ = try await bench.cluster.client.patch(
            .configMaps, namespace: "default", name: "a", ["data": ["k": "mine", "more": "stays"]], type: .merge,
            subresource: nil)
        try await bench.pass()
        #expect(try await bench.map("a")?["data"]["k"].string == "mine")
        bench.restart()
        try await bench.pass()
        let restored = try await bench.map("a")
        #expect(restored?["data"]["k"].string == "v")
        #expect(restored?["data"]["more"].string == "stays")
    }

    @Test func aStartWithoutChangesWritesNoObject() async throws {
        let bench = try await Bench()
        try bench.write("x.yaml", Self.map("a"))
        try await bench.pass()
        let before = try await bench.map("a")?.resourceVersion
        bench.restart()
        try await bench.pass()
        #expect(try await bench.map("a")?.resourceVersion == before)
    }

    @Test func hiddenFilesOtherEndingsAndSkippedOnesAreIgnored() async throws {
        let bench = try await Bench()
        try bench.write(".hidden.yaml", Self.map("hidden"))
        try bench.write("notes.txt", Self.map("text"))
        try bench.write("deep/er/skipped.YAML", Self.map("skipped"))
        try bench.write("skipped.YAML.skip", "")
        try bench.write("deep/seen.yml", Self.map("seen"))
        try await bench.pass()
        #expect(try await bench.cluster.client.list(.addons).items.count == 1)
        #expect(try await bench.map("seen") != nil)
        try bench.remove("skipped.YAML.skip")
        try await bench.pass()
        #expect(try await bench.map("skipped") != nil)
    }

    @Test func disablingDeletesObjectsFileAndAddon() async throws {
        let bench = try await Bench()
        try bench.write("web.yaml", Self.map("web"))
        try bench.write("metrics/one.yaml", Self.map("one"))
        try bench.write("metrics/two.json", "{}")
        try bench.write("other.yaml", Self.map("other"))
        try await bench.pass()
        let off = AddonDeployer(
            bench.cluster.server, directory: bench.directory, disabled: ["web", "metrics"], node: "n1",
            logger: Logger(label: "test"))
        var memory = AddonDeployer.Memory()
        try await off.pass(&memory)
        #expect(try await bench.map("web") == nil)
        #expect(try await bench.map("one") == nil)
        #expect(try await bench.map("other") != nil)
        #expect(try await bench.cluster.client.list(.addons).decoded().map(\.name) == ["other"])
        #expect(!Files.exists(bench.directory + "/web.yaml"))
        #expect(!Files.exists(bench.directory + "/metrics/one.yaml"))
        #expect(try await bench.events("DeletingManifest").count == 3)
    }

    @Test func linkedDirectoriesAreFollowedAndTheirFilesNotDeleted() async throws {
        let bench = try await Bench()
        let elsewhere = try await Bench()
        try elsewhere.write("linked.yaml", Self.map("linked"))
        #expect(symlink(elsewhere.directory, bench.directory + "/mine") == 0)
        try await bench.pass()
        #expect(try await bench.map("linked") != nil)
        let off = AddonDeployer(
            bench.cluster.server, directory: bench.directory, disabled: ["mine"], node: "n1",
            logger: Logger(label: "test"))
        var memory = AddonDeployer.Memory()
        try await off.pass(&memory)
        #expect(try await bench.map("linked") == nil)
        #expect(Files.exists(elsewhere.directory + "/linked.yaml"))
    }

    @Test(arguments: [
        ("kind: [", "ParseManifestFailed", "yaml"), ("just text", "ParseManifestFailed", "document 1"),
        ("kind: ConfigMap", "ParseManifestFailed", "Object 'apiVersion' is missing"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {}", "ParseManifestFailed", "metadata.name is missing"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: UPPER}", "ApplyManifestFailed", "RFC 1123"),
        (
            "apiVersion: x.io/v1\nkind: Thing\nmetadata: {name: a}", "ApplyManifestFailed",
            "no matches for kind \"Thing\" in version \"x.io/v1\""
        ),
    ])
    func badManifestsAreToldByAnEvent(_ text: String, _ reason: String, _ part: String) async throws {
        let bench = try await Bench()
        try bench.write("bad.yaml", text)
        try bench.write("good.yaml", Self.map("good"))
        try await bench.pass()
        let event = try #require(try await bench.events(reason).first)
        #expect(event["message"].string?.contains(part) == true, "\(event["message"])")
        #expect(event["type"].string == "Warning")
        #expect(try await bench.map("good") != nil)
        #expect(try await bench.addon("bad")?.spec["checksum"].isNull == true)
    }

    @Test func whatFailedIsTriedAgainAfterAWhile() async throws {
        let bench = try await Bench()
        try bench.write("x.yaml", Self.map("a", namespace: "late"))
        try await bench.pass()
        #expect(try await bench.map("a", "late") == nil)
        _ = try await bench.cluster.client.create(
            .namespaces, KubeObject(GroupVersionKind(.core, "Namespace"), name: "late"))
        try await bench.pass()
        #expect(try await bench.map("a", "late") == nil)
        bench.cluster.clock.advance(by: .seconds(16))
        try await bench.pass()
        #expect(try await bench.map("a", "late") != nil)
    }

    @Test func namespacesComeBeforeWhatIsInThem() async throws {
        let bench = try await Bench()
        try bench.write(
            "x.yaml",
            Self.map("a", namespace: "fresh") + "\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: fresh}\n")
        try await bench.pass()
        #expect(try await bench.map("a", "fresh") != nil)
    }

    @Test func aListStandsForItsItems() async throws {
        let bench = try await Bench()
        try bench.write(
            "x.yaml",
            """
            apiVersion: v1
            kind: List
            items:
            - {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}
            - {apiVersion: v1, kind: ConfigMap, metadata: {name: b}}
            """)
        try await bench.pass()
        #expect(try await bench.map("a") != nil)
        #expect(try await bench.map("b") != nil)
    }

    @Test func theDeployerSeesChangesByItself() async throws {
        let bench = try await Bench()
        let deployer = AddonDeployer(
            bench.cluster.server, directory: bench.directory + "/made", disabled: [], node: "n1",
            logger: Logger(label: "test"))
        let task = Task { await deployer.run() }
        defer { task.cancel() }
        for name in ["a", "b"] {
            for _ in 0..<600 where !Files.exists(bench.directory + "/made") {
                try await Task.sleep(for: .milliseconds(100))
            }
            try bench.write("made/\(name).yaml", Self.map(name))
            for _ in 0..<600 {
                if try await bench.map(name) != nil { break }
                // The deployer's pause between a change and its look runs on the cluster's clock.
                bench.cluster.clock.advance(by: .milliseconds(300))
                try await Task.sleep(for: .milliseconds(100))
            }
            #expect(try await bench.map(name) != nil)
        }
    }

    @Test func kindsAreReadAndWrittenAsGoPrintsThem() {
        let core = GroupVersionKind(.core, "ConfigMap")
        #expect(ObjectSetApply.text(core) == "/v1, Kind=ConfigMap")
        #expect(ObjectSetApply.kind("/v1, Kind=ConfigMap") == core)
        #expect(ObjectSetApply.kind("apps/v1, Kind=Deployment") == GroupVersionKind(.apps, "Deployment"))
        #expect(ObjectSetApply.kind("nonsense") == nil)
    }
}

extension String {
    fileprivate func replacing(_ old: String, _ new: String) -> String {
        guard let range = firstRange(of: old) else { return self }
        return String(self[..<range.lowerBound]) + new + String(self[range.upperBound...])
    }
}
