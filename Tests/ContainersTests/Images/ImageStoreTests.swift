import Codecs
@testable import Containers
import Linux
import Testing

@Suite struct ImageStoreTests {
    let image = TestImage(files: ["one", "two", "three"])

    private func loaded(_ repository: String = "app") throws -> TestStore {
        let store = try TestStore()
        store.registry.add(image, "reg.test", repository, tag: "1")
        return store
    }

    @Test func pulledImageIsKnownByAllItsNames() async throws {
        let store = try loaded()
        #expect(await store.store.image("reg.test/app:1") == nil)
        let info = try await store.pull("reg.test/app:1")
        #expect(info.id == image.id)
        #expect(info.tags == ["reg.test/app:1"])
        #expect(info.digests == ["reg.test/app@\(image.digest)"])
        #expect(info.config.entrypoint == ["/bin/app"])
        #expect(info.sizeBytes > 0)
        #expect(!info.pinned)
        for name in ["reg.test/app:1", image.id, String(image.id.dropFirst(7)), "reg.test/app@\(image.digest)"] {
            #expect(await store.store.image(name) == info, "\(name)")
        }
        for name in [
            "reg.test/app", "reg.test/app:2", "other/app:1", "sha256:" + String(repeating: "0", count: 64), "", "A",
        ] {
            #expect(await store.store.image(name) == nil, "\(name)")
        }
    }

    @Test func layersAreDirectoriesLowestLast() async throws {
        let store = try loaded()
        let info = try await store.pull("reg.test/app:1")
        let directories = try await store.store.lowerDirectories(imageID: info.id)
        #expect(directories.map(names) == [["three"], ["two"], ["one"]])
        #expect(text(directories[2] + "/one") == "content of one")
        #expect(try await store.leftovers() == [])
        let error = await failure { () throws(ImageError) in
            try await store.store.lowerDirectories(imageID: "sha256:00")
        }
        #expect(error?.code == .notFound)
    }

    @Test(.enabled(if: geteuid() == 0, "needs root for overlayfs"))
    func overlayfsShowsTheMergedImage() async throws {
        var lower = TarBuilder()
        lower.file("keep", "k")
        lower.file("gone", "g")
        lower.file("dir/old", "o")
        var upper = TarBuilder()
        upper.whiteout(".wh.gone")
        upper.directory("dir/")
        upper.whiteout("dir/.wh..wh..opq")
        upper.file("dir/new", "n")
        let store = try TestStore()
        let image = TestImage([lower.finished(), upper.finished()])
        store.registry.add(image, "reg.test", "o", tag: "1")
        let info = try await store.pull("reg.test/o:1")
        let stack = try await store.store.lowerDirectories(imageID: info.id).joined(separator: ":")
        let merged = store.directory / "merged"
        try run(["mkdir", merged])
        try run([
            "unshare", "-m", "sh", "-c",
            "mount -t overlay overlay -o ro,lowerdir=\(stack) \(merged) && cd \(merged) && find . | sort > ../list",
        ])
        #expect(text(store.directory / "list") == ".\n./dir\n./dir/new\n./keep\n")
    }

    @Test func opaqueRootCutsTheStack() async throws {
        var top = TarBuilder()
        top.file(".wh..wh..opq", "")
        top.file("only", "x")
        let image = TestImage([TestImage(files: ["below"]).layers[0], top.finished()])
        let store = try TestStore()
        store.registry.add(image, "reg.test", "o", tag: "1")
        let info = try await store.pull("reg.test/o:1")
        #expect(try await store.store.lowerDirectories(imageID: info.id).map(names) == [["only"]])
    }

    @Test func imageWithoutLayersHasAnEmptyRoot() async throws {
        let store = try TestStore()
        store.registry.add(TestImage([]), "reg.test", "scratch", tag: "1")
        let info = try await store.pull("reg.test/scratch:1")
        #expect(try await store.store.lowerDirectories(imageID: info.id).map(names) == [[]])
    }

    @Test func platformIsChosenFromTheIndex() async throws {
        var arm = TestImage(files: ["arm"])
        (arm.architecture, arm.variant) = ("arm", "v7")
        let amd = TestImage(files: ["amd"])
        let store = try TestStore()
        let index = TestImage.index([arm, amd])
        store.registry.add(arm, "reg.test", "m", tag: "arm")
        store.registry.add(amd, "reg.test", "m", tag: "amd")
        store.registry.put("reg.test", "/v2/m/manifests/1", store.registry.manifest(index, type: MediaType.ociIndex))
        let info = try await store.pull("reg.test/m:1")
        #expect(info.id == amd.id)
        #expect(info.digests == ["reg.test/m@\(TestSHA256.digest(index))"])

        let only = TestImage.index([arm])
        store.registry.put("reg.test", "/v2/m/manifests/2", store.registry.manifest(only, type: MediaType.ociIndex))
        let error = await failure { () throws(ImageError) in try await store.pull("reg.test/m:2") }
        #expect(error?.code == .notFound)
        #expect(
            error?.message.contains(
                "no match for platform linux/amd64 in manifest \(TestSHA256.digest(only)): not found") == true)
    }

    @Test func secondPullOfTheSameTagOnlyLooks() async throws {
        let store = try loaded()
        let first = try await store.pull("reg.test/app:1")
        let before = store.registry.count("reg.test")
        #expect(try await store.pull("reg.test/app:1") == first)
        #expect(store.registry.count("reg.test") == before)
        #expect(store.registry.count("manifests/1", method: "HEAD") == 1)
        let requests = store.registry.requests.count
        _ = try await store.pull("reg.test/app@\(image.digest)")
        #expect(store.registry.requests.count == requests)
    }

    @Test func movedTagLeavesTheOldImage() async throws {
        let store = try loaded()
        _ = try await store.pull("reg.test/app:1")
        let newer = TestImage(files: ["one", "newer"])
        store.registry.add(newer, "reg.test", "app", tag: "1")
        let info = try await store.pull("reg.test/app:1")
        #expect(info.id == newer.id)
        #expect(await store.store.image(image.id)?.tags == [])
        #expect(await store.store.image(image.id)?.digests == ["reg.test/app@\(image.digest)"])
        // The layer in common was not fetched again.
        #expect(store.registry.count(TestSHA256.digest(image.blobs[0])) == 1)
    }

    @Test func concurrentPullsShareTheWork() async throws {
        let store = try loaded()
        let ids = try await withThrowingTaskGroup(of: String.self) { group in
            for _ in 0..<20 { group.addTask { try await store.pull("reg.test/app:1").id } }
            return try await group.reduce(into: Set<String>()) { $0.insert($1) }
        }
        #expect(ids == [image.id])
        #expect(store.registry.count("manifests/1") == 1)
        for blob in image.blobs { #expect(store.registry.count(TestSHA256.digest(blob)) == 1) }
    }

    @Test func differentImagesShareLayersBeingPulled() async throws {
        let store = try TestStore()
        let files = ["base", "runtime"]
        let images = (0..<6).map { TestImage(files: files + ["app\($0)"]) }
        for (index, image) in images.enumerated() { store.registry.add(image, "reg.test", "a\(index)", tag: "1") }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in images.indices { group.addTask { _ = try await store.pull("reg.test/a\(index):1") } }
            try await group.waitForAll()
        }
        #expect(store.registry.count(TestSHA256.digest(images[0].blobs[0])) == 1)
        #expect(await store.store.images().count == 6)
        #expect(try ImageFS.names(store.directory / "store/snapshots").count == 8)
    }

    @Test func atMostThreeLayersAreFetchedAtOnce() async throws {
        let store = try TestStore()
        store.registry.add(TestImage(files: (0..<12).map { "layer\($0)" }), "reg.test", "wide", tag: "1")
        _ = try await store.pull("reg.test/wide:1")
        #expect(store.registry.mostActive <= 3)
        #expect(store.registry.mostActive > 1)
    }

    @Test func failedLayerLeavesNothingBehind() async throws {
        let store = try loaded()
        let last = TestSHA256.digest(image.blobs[2])
        store.registry.on("blobs/\(last)") { _, attempt in attempt == 1 ? FakeRegistry.Answer(404) : nil }
        let error = await failure { () throws(ImageError) in try await store.pull("reg.test/app:1") }
        #expect(error?.code == .notFound)
        #expect(await store.store.images() == [])
        #expect(try await store.leftovers() == [])
        // What was unpacked serves the next attempt.
        #expect(try await store.pull("reg.test/app:1").id == image.id)
        #expect(store.registry.count(TestSHA256.digest(image.blobs[0])) == 1)
    }

    @Test func manifestAndConfigMustAgreeOnLayers() async throws {
        var odd = image
        odd.blobs.removeLast()
        let store = try TestStore()
        store.registry.add(odd, "reg.test", "odd", tag: "1")
        let error = await failure { () throws(ImageError) in try await store.pull("reg.test/odd:1") }
        #expect(error?.code == .invalidManifest)
        #expect(error?.message.contains("mismatched image rootfs and manifest layers: 3 != 2") == true)
    }

    // MARK: removal

    @Test func removalTakesUnsharedLayersOnly() async throws {
        let store = try loaded()
        store.registry.add(TestImage(files: ["one", "other"]), "reg.test", "b", tag: "1")
        let a = try await store.pull("reg.test/app:1")
        let b = try await store.pull("reg.test/b:1")
        #expect(try ImageFS.names(store.directory / "store/snapshots").count == 4)
        try await store.store.remove("reg.test/app:1")
        #expect(await store.store.image(a.id) == nil)
        #expect(try await store.store.lowerDirectories(imageID: b.id).map(names) == [["other"], ["one"]])
        #expect(try ImageFS.names(store.directory / "store/snapshots").count == 2)
        #expect(try ImageFS.names(store.directory / "store/content/blobs/sha256").count == 2)
        try await store.store.remove(b.id)
        for directory in ["snapshots", "content/blobs/sha256", "images", "staging", "ingest"] {
            #expect(try ImageFS.names(store.directory / "store/\(directory)") == [])
        }
    }

    @Test func removingTwiceIsFine() async throws {
        let store = try loaded()
        let info = try await store.pull("reg.test/app:1")
        try await store.store.remove(info.id)
        try await store.store.remove(info.id)
        try await store.store.remove("reg.test/app:1")
        let error = await failure { () throws(ImageError) in try await store.store.remove("Not A Name") }
        #expect(error?.code == .invalidReference)
    }

    @Test func imageInUseStays() async throws {
        let store = try loaded()
        let info = try await store.pull("reg.test/app:1")
        store.store.setInUseCheck { $0 == info.id }
        let error = await failure { () throws(ImageError) in try await store.store.remove("reg.test/app:1") }
        #expect(error?.code == .inUse)
        #expect(await store.store.image(info.id) != nil)
        store.store.setInUseCheck { _ in false }
        try await store.store.remove("reg.test/app:1")
        #expect(await store.store.image(info.id) == nil)
    }

    @Test func removalDuringPullsKeepsWhatTheyNeed() async throws {
        let store = try TestStore()
        let images = (0..<10).map { TestImage(files: ["shared", "own\($0)"]) }
        for (index, image) in images.enumerated() { store.registry.add(image, "reg.test", "r\(index)", tag: "1") }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in images.indices {
                group.addTask {
                    for _ in 0..<5 {
                        let info = try await store.pull("reg.test/r\(index):1")
                        let directories = try await store.store.lowerDirectories(imageID: info.id)
                        #expect(directories.map(names) == [["own\(index)"], ["shared"]])
                        try await store.store.remove(info.id)
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(try ImageFS.names(store.directory / "store/snapshots") == [])
        #expect(try await store.leftovers() == [])
    }

    // MARK: restarts

    @Test func databaseSurvivesARestart() async throws {
        let directory = TestDirectory()
        let registry = FakeRegistry()
        registry.add(image, "reg.test", "app", tag: "1")
        var store: TestStore? = try TestStore(directory, registry: registry)
        let info = try await #require(store).pull("reg.test/app:1")
        store = nil
        let again = try await reopenStore(directory, registry)
        #expect(await again.images() == [info])
        #expect(try await again.lowerDirectories(imageID: info.id).count == 3)
    }

    @Test func oneProcessOwnsTheStore() throws {
        let store = try TestStore()
        let error = #expect(throws: ImageError.self) { _ = try makeStore(store.directory, store.registry) }
        #expect(error?.message.contains("is in use by another process") == true)
    }

    @Test func leftoversOfACrashAreRemoved() async throws {
        let directory = TestDirectory()
        let registry = FakeRegistry()
        registry.add(image, "reg.test", "app", tag: "1")
        var store: TestStore? = try TestStore(directory, registry: registry)
        let info = try await #require(store).pull("reg.test/app:1")
        store = nil
        // A download, a half-unpacked layer, a layer of an image whose record was never written, a half-written record.
        write([1, 2, 3], to: directory / "store/ingest/layer-1")
        try run(["mkdir", "-p", directory / "store/staging/layer-2/fs/deep/er"])
        write([1], to: directory / "store/staging/layer-2/fs/deep/file")
        try run(["mkdir", "-p", directory / "store/snapshots/0123456789abcdef01234567/fs"])
        write([1], to: directory / "store/images/\(String(info.id.dropFirst(7))).json.tmp")
        let again = try await reopenStore(directory, registry)
        #expect(names(directory / "store/ingest") + names(directory / "store/staging") == [])
        #expect(try ImageFS.names(directory / "store/snapshots").count == 3)
        #expect(try ImageFS.names(directory / "store/images").count == 1)
        #expect(await again.images() == [info])
    }

    @Test func imageWithAMissingLayerIsForgotten() async throws {
        let directory = TestDirectory()
        let registry = FakeRegistry()
        registry.add(image, "reg.test", "app", tag: "1")
        var store: TestStore? = try TestStore(directory, registry: registry)
        let info = try await #require(store).pull("reg.test/app:1")
        let lost = try await #require(store).store.lowerDirectories(imageID: info.id)[1]
        store = nil
        try run(["rm", "-rf", String(lost.dropLast("/fs".count))])
        let again = try await reopenStore(directory, registry)
        #expect(await again.images() == [])
        #expect(try await again.pull("reg.test/app:1", credentials: nil).id == info.id)
        #expect(try await again.lowerDirectories(imageID: info.id).map(names) == [["three"], ["two"], ["one"]])
    }

    @Test func damagedRecordKeepsLayersThatMayBeInUse() async throws {
        let directory = TestDirectory()
        let registry = FakeRegistry()
        registry.add(image, "reg.test", "app", tag: "1")
        var store: TestStore? = try TestStore(directory, registry: registry)
        let info = try await #require(store).pull("reg.test/app:1")
        store = nil
        write(Array("{".utf8), to: directory / "store/images/\(String(info.id.dropFirst(7))).json")
        let again = try await reopenStore(directory, registry)
        #expect(await again.images() == [])
        #expect(try ImageFS.names(directory / "store/snapshots").count == 3)
        _ = try await again.pull("reg.test/app:1", credentials: nil)
        #expect(await again.images() == [info])
    }

    @Test func compressedLayersCanBeKept() async throws {
        let store = try TestStore { $0.keepLayerBlobs = true }
        store.registry.add(image, "reg.test", "app", tag: "1")
        _ = try await store.pull("reg.test/app:1")
        #expect(try ImageFS.names(store.directory / "store/content/blobs/sha256").count == 5)
        #expect(try await store.leftovers() == [])
    }
}
