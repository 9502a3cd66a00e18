import Codecs
import Linux
import Logging
import Testing

@testable import Containers

/// A store that is killed in the midst of pulls: what it leaves is whole images or none, and no lost space.
@Suite(.serialized) struct ImageCrashTests {
    private static let directoryVariable = "K3S_TEST_CRASH_DIRECTORY"
    private static let files = 150

    private static var image: TestImage {
        TestImage(
            (0..<3).map { layer in
                var tar = TarBuilder()
                tar.directory("layer\(layer)/")
                for file in 0..<files { tar.file("layer\(layer)/\(file)", "\(layer) \(file)") }
                return tar.finished()
            })
    }

    private static func store(_ path: String, _ registry: FakeRegistry) throws(ImageError) -> ImageStore {
        var options = ImageStore.Options()
        options.platform = Platform(architecture: "amd64")
        return try ImageStore(
            root: path, transport: registry, sha256: TestSHA256.factory,
            logger: Logger(label: "crash") { _ in SwiftLogNoOpLogHandler() }, options: options)
    }

    private static func registry() -> FakeRegistry {
        let registry = FakeRegistry()
        registry.add(image, "reg.test", "app", tag: "1")
        return registry
    }

    /// What the killed process does: pulls and removes the image, over and over.
    @Test(.enabled(if: getenv(directoryVariable) != nil, "the part of `aKilledStore...` that is killed"))
    func pullUntilKilled() async throws {
        let path = String(cString: try #require(getenv(Self.directoryVariable)))
        let store = try Self.store(path + "/store", Self.registry())
        try Files.write(path + "/ready", [])
        while true {
            _ = try await store.pull("reg.test/app:1", credentials: nil)
            try Files.write(path + "/pulled", [])
            try await store.remove("reg.test/app:1")
        }
    }

    private static let bundle = Path.parent(TestNode.probe) + "/k3sPackageTests.xctest"

    @Test(.enabled(if: Files.exists(bundle), "needs the test bundle beside RuntimeProbe"), .timeLimit(.minutes(5)))
    func aKilledStoreLeavesWholeImagesOrNone() async throws {
        let directory = TestDirectory()
        for round in 0..<20 {
            for file in ["ready", "pulled"] { try Files.remove(directory / file) }
            var child = try Spawned.start(
                [
                    Self.bundle, "--testing-library", "swift-testing", "--filter", "ImageCrashTests/pullUntilKilled",
                ],
                environment: [
                    Self.directoryVariable + "=" + directory.path, "PATH=/usr/bin:/bin",
                    "LD_LIBRARY_PATH=" + (getenv("LD_LIBRARY_PATH").map { String(cString: $0) } ?? ""),
                ])
            for _ in 0..<3000 where !Files.exists(directory / "ready") { usleep(10_000) }
            try #require(Files.exists(directory / "ready"), "the child did not start")
            // Anywhere within the first pull, and in some rounds in a later one or a removal.
            if round >= 15 { for _ in 0..<3000 where !Files.exists(directory / "pulled") { usleep(10_000) } }
            usleep(UInt32.random(in: 0...(round % 2 == 0 ? 100_000 : 900_000)))
            try child.signal(SIGKILL)
            #expect(try await child.wait() == .signalled(SIGKILL))
            let registry = Self.registry()
            let store = try Self.store(directory / "store", registry)
            #expect(names(directory / "store/ingest").isEmpty && names(directory / "store/staging").isEmpty)
            if let info = await store.image("reg.test/app:1") {
                try await check(store, info)
            } else {
                // What was finished of it has no owner and is gone.
                #expect(names(directory / "store/snapshots").isEmpty, "round \(round)")
                #expect(names(directory / "store/content/blobs/sha256").isEmpty, "round \(round)")
            }
            try await check(store, try await store.pull("reg.test/app:1", credentials: nil))
            try await store.remove("reg.test/app:1")
            #expect(names(directory / "store/snapshots").isEmpty)
        }
        #expect(Files.exists(directory / "pulled"), "no pull was ever finished")
    }

    private func check(_ store: ImageStore, _ info: ImageInfo) async throws {
        let lower = try await store.lowerDirectories(imageID: info.id)
        #expect(lower.count == 3)
        for (layer, path) in lower.reversed().enumerated() {
            #expect(names("\(path)/layer\(layer)").count == Self.files)
            for file in [0, 7, Self.files - 1] {
                #expect(text("\(path)/layer\(layer)/\(file)") == "\(layer) \(file)")
            }
        }
    }
}

@Suite struct ImageGarbageCollectionTests {
    private let start = ContinuousClock.now

    private func loaded() async throws -> (TestStore, [ImageInfo]) {
        let store = try TestStore()
        var infos: [ImageInfo] = []
        for name in ["a", "b", "c"] {
            store.registry.add(TestImage(files: [name]), "reg.test", name, tag: "1")
            infos.append(try await store.pull("reg.test/\(name):1"))
        }
        return (store, infos)
    }

    private func present(_ store: TestStore) async -> [String] { await store.store.images().flatMap(\.tags).sorted() }

    @Test func nothingGoesWhileThereIsRoom() async throws {
        let (store, _) = try await loaded()
        var uses = ImageStore.ImageUses()
        let report = try await store.store.collectOnce(
            ImageGCPolicy(), &uses, now: start + .seconds(1000), space: DiskSpace(capacity: 1000, available: 160))
        #expect((report.usedPercent, report.removed, report.failure) == (84, [], nil))
        #expect(await present(store).count == 3)
    }

    @Test func theLeastRecentlyUsedGoFirstUntilEnoughIsFree() async throws {
        let (store, infos) = try await loaded()
        let (a, b, c) = (infos[0], infos[1], infos[2])
        var uses = ImageStore.ImageUses()
        let roomy = DiskSpace(capacity: 1000, available: 900)
        let full = DiskSpace(capacity: 1000, available: 100)
        // b was used, then a; c is used now.
        for (used, second) in [(b, 0), (a, 300), (c, 600)] {
            store.store.setInUseCheck { $0 == used.id }
            _ = try await store.store.collectOnce(
                ImageGCPolicy(), &uses, now: start + .seconds(second), space: roomy)
        }
        // Everything but c would be needed: 100 bytes wanted and less than that in one image.
        let report = try await store.store.collectOnce(
            ImageGCPolicy(), &uses, now: start + .seconds(900), space: full)
        #expect(report.usedPercent == 90)
        #expect(report.removed.first == b.id)
        #expect(!report.removed.contains(c.id))
        #expect(await present(store).contains("reg.test/c:1"))
    }

    @Test func youngAndPinnedImagesStayAndThatIsSaid() async throws {
        let (store, _) = try await loaded()
        var uses = ImageStore.ImageUses()
        let report = try await store.store.collectOnce(
            ImageGCPolicy(), &uses, now: start, space: DiskSpace(capacity: 1 << 40, available: 0))
        #expect(report.removed.isEmpty)
        #expect(
            report.failure?.hasPrefix("Failed to garbage collect required amount of images. Attempted to free") == true)
        #expect(await present(store).count == 3)
        // Two minutes later they may go.
        let later = try await store.store.collectOnce(
            ImageGCPolicy(), &uses, now: start + .seconds(121), space: DiskSpace(capacity: 1 << 40, available: 0))
        #expect(later.removed.count == 3)
        #expect(await present(store).isEmpty)
    }
}
