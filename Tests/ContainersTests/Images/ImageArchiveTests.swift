import Codecs
@testable import Containers
import Linux
import Testing

@Suite struct ImageArchiveTests {
    let image = TestImage(files: ["one", "two"])
    let directory = TestDirectory()

    /// `docker save` before version 25: configuration, layers and manifest.json.
    private func dockerArchive(_ image: TestImage, tags: [String]) -> TarBuilder {
        var tar = TarBuilder()
        let layers = image.layers.indices.map { "layer\($0)/layer.tar" }
        for (name, layer) in zip(layers, image.layers) { tar.file(name, layer) }
        let config = String(image.id.dropFirst(7)) + ".json"
        tar.file(config, image.document)
        let manifest: JSON = [["Config": .string(config), "RepoTags": .strings(tags), "Layers": .strings(layers)]]
        tar.file("manifest.json", manifest.encode())
        tar.file("repositories", "{}")
        return tar
    }

    private func layout(_ images: [(TestImage, [String: String])], index: [TestImage] = []) -> TarBuilder {
        var tar = TarBuilder()
        tar.file("oci-layout", #"{"imageLayoutVersion":"1.0.0"}"#)
        var seen: Set<String> = []
        func add(_ bytes: [UInt8]) {
            let digest = TestSHA256.digest(bytes)
            if seen.insert(digest).inserted { tar.file("blobs/sha256/" + digest.dropFirst(7), bytes) }
        }
        var manifests: [JSON] = []
        for (image, annotations) in images {
            for bytes in image.blobs + [image.document, image.manifest] { add(bytes) }
            manifests.append([
                "mediaType": .string(MediaType.ociManifest), "digest": .string(image.digest),
                "size": .int(Int64(image.manifest.count)), "annotations": .map(annotations),
            ])
        }
        if !index.isEmpty {
            let bytes = TestImage.index(index)
            add(bytes)
            manifests = [
                [
                    "mediaType": .string(MediaType.ociIndex), "digest": .string(TestSHA256.digest(bytes)),
                    "size": .int(Int64(bytes.count)),
                    "annotations": ["io.containerd.image.name": "docker.io/multi/arch:1"],
                ]
            ]
        }
        let document: JSON = ["schemaVersion": 2, "manifests": .array(manifests)]
        tar.file("index.json", document.encode())
        return tar
    }

    private func store(_ change: (inout ImageStore.Options) -> Void = { _ in }) throws -> ImageStore {
        try makeStore(directory, FakeRegistry(), RegistriesConfig(), change)
    }

    @Test(arguments: ["cat", "gzip", "zstd"])
    func dockerArchiveIsImportedInEveryCompression(_ compressor: String) async throws {
        write(dockerArchive(image, tags: ["busybox:1", "reg.test/x:2"]).finished(), to: directory / "plain")
        try run(["sh", "-c", "\(compressor) < plain > images.tar"], directory: directory.path)
        let store = try store()
        let infos = try await store.importArchive(path: directory / "images.tar")
        #expect(infos.count == 1)
        #expect(infos[0].id == image.id)
        #expect(infos[0].tags == ["docker.io/library/busybox:1", "reg.test/x:2"])
        #expect(infos[0].digests == [])
        #expect(infos[0].pinned)
        #expect(try await store.lowerDirectories(imageID: image.id).map(names) == [["two"], ["one"]])
        #expect(names(directory / "store/ingest") + names(directory / "store/staging") == [])
    }

    @Test func linkedLayersAreFound() async throws {
        let same = TestImage([image.layers[0], image.layers[1]])
        var tar = TarBuilder()
        tar.file("aaa.tar", image.layers[0])
        tar.file("b/layer.tar", image.layers[1])
        tar.symlink("a/layer.tar", "../aaa.tar")
        tar.hardLink("c/layer.tar", "b/layer.tar")
        tar.file("config.json", same.document)
        tar.file(
            "manifest.json", #"[{"Config":"config.json","RepoTags":null,"Layers":["a/layer.tar","./c/layer.tar"]}]"#)
        write(tar.finished(), to: directory / "a.tar")
        let infos = try await store().importArchive(path: directory / "a.tar")
        #expect(infos.map(\.id) == [same.id])
        #expect(infos[0].tags == [])
    }

    @Test func layoutNamesComeFromAnnotations() async throws {
        let other = TestImage(files: ["other"])
        let third = TestImage(files: ["third"])
        let tar = layout([
            (image, ["io.containerd.image.name": "docker.io/library/one:1", "org.opencontainers.image.ref.name": "1"]),
            (other, ["org.opencontainers.image.ref.name": "quay.io/two:2"]),
            (third, ["org.opencontainers.image.ref.name": "latest"]),
        ])
        write(tar.finished(), to: directory / "a.tar")
        let infos = try await store().importArchive(path: directory / "a.tar")
        #expect(infos.map(\.tags) == [["docker.io/library/one:1"], ["quay.io/two:2"], []])
        #expect(infos[0].digests == ["docker.io/library/one@\(image.digest)"])
    }

    @Test func platformIsChosenAndOthersMayBeMissing() async throws {
        var arm = TestImage(files: ["arm"])
        arm.architecture = "arm64"
        write(layout([(image, [:])], index: [arm, image]).finished(), to: directory / "a.tar")
        let infos = try await store().importArchive(path: directory / "a.tar")
        #expect(infos.map(\.id) == [image.id])
        #expect(infos[0].tags == ["docker.io/multi/arch:1"])
        write(layout([(arm, [:])], index: [arm]).finished(), to: directory / "arm.tar")
        let error = await failure { () throws(ImageError) in
            try await makeStore(TestDirectory(), FakeRegistry()).importArchive(path: directory / "arm.tar")
        }
        #expect(error?.code == .notFound)
        #expect(error?.message.contains("no image for platform linux/amd64") == true)
    }

    @Test func extraRegistriesGetTheTagsToo() async throws {
        write(dockerArchive(image, tags: ["rancher/x:1"]).finished(), to: directory / "a.tar")
        let infos = try await store { $0.extraRegistries = ["mirror.test", "docker.io"] }.importArchive(
            path: directory / "a.tar")
        #expect(infos[0].tags == ["docker.io/rancher/x:1", "mirror.test/rancher/x:1"])
    }

    @Test func badArchivesAreNamed() async throws {
        let store = try store()
        func message(_ bytes: [UInt8], name: String = "bad.tar") async -> String {
            write(bytes, to: directory / name)
            return await failure { () throws(ImageError) in try await store.importArchive(path: directory / name) }?
                .message ?? "accepted"
        }
        let path = directory / "bad.tar"
        #expect(
            await message(Array("no tar".utf8) + [UInt8](repeating: 9, count: 1000))
                == "failed to import \(path): invalid tar header checksum")
        #expect(await message([]).contains("neither index.json nor manifest.json"))
        var empty = TarBuilder()
        empty.file("manifest.json", "{}")
        #expect(await message(empty.finished()).contains("manifest.json: want a list of images"))
        var missing = TarBuilder()
        missing.file("manifest.json", #"[{"Config":"../../etc/passwd","Layers":[]}]"#)
        #expect(await message(missing.finished()).contains("manifest.json[0]: Config: no such file in the archive"))
        var layers = TarBuilder()
        layers.file("c", image.document)
        layers.file("manifest.json", #"[{"Config":"c","Layers":["x"]}]"#)
        #expect(await message(layers.finished()).contains("want the 2 layers"))
        let good = dockerArchive(image, tags: []).finished()
        #expect(await message(Array(good[..<1700])).contains("unexpected end of archive"))
        var swapped = image
        swapped.layers = [image.layers[1], image.layers[0]]
        var tar = TarBuilder()
        tar.file("c", image.document)
        for (index, layer) in swapped.layers.enumerated() { tar.file("\(index)", layer) }
        tar.file("manifest.json", #"[{"Config":"c","Layers":["0","1"]}]"#)
        #expect(await message(tar.finished()).contains("wrong diff id"))
        #expect(await store.images() == [])
        var blob = layout([(image, [:])])
        blob.file("blobs/sha256/" + image.id.dropFirst(7), image.document + [0x20])
        #expect(await message(blob.finished()).contains("unexpected digest"))
        let gone = await failure { () throws(ImageError) in try await store.importArchive(path: directory / "none.tar")
        }
        #expect(gone?.message == "failed to import open \(directory / "none.tar"): no such file or directory")
    }

    // MARK: directories

    @Test func directoryIsImportedFileByFile() async throws {
        try run(["mkdir", "-p", directory / "images/sub"])
        let other = TestImage(files: ["other"])
        write(dockerArchive(image, tags: ["a:1"]).finished(), to: directory / "images/a.tar")
        write(Array("junk".utf8), to: directory / "images/bad.tar.gz")
        write(
            layout([(other, ["io.containerd.image.name": "docker.io/library/b:1"])]).finished(),
            to: directory / "images/sub/b.tgz")
        write([], to: directory / "images/readme.md")
        let listed = TestImage(files: ["listed"])
        let registry = FakeRegistry()
        registry.add(listed, "reg.test", "listed", tag: "1")
        write(Array("# comment\n\n  reg.test/listed:1  \r\n".utf8), to: directory / "images/list.txt")
        let store = try makeStore(directory, registry)
        let report = await store.importDirectory(directory / "images")
        #expect(Set(report.imported.map(\.id)) == [image.id, other.id, listed.id])
        #expect(report.errors.count == 1)
        #expect(report.errors[0].message.contains(directory / "images/bad.tar.gz"))
        #expect(await store.images().allSatisfy(\.pinned))

        let second = await store.importDirectory(directory / "images")
        #expect(second.imported.isEmpty && second.unchanged.count == 3 && second.errors.count == 1)

        // A removed image comes back, as its file is still there; a removed file unpins.
        try await store.remove("a:1")
        try run(["rm", directory / "images/sub/b.tgz"])
        let third = await store.importDirectory(directory / "images")
        #expect(third.imported.map(\.id) == [image.id])
        #expect(await store.image(other.id)?.pinned == false)
        #expect(await store.image(image.id)?.pinned == true)
        #expect(await store.image(listed.id)?.pinned == true)
    }

    @Test func changedFilesAreImportedAgain() async throws {
        try run(["mkdir", directory / "images"])
        write(dockerArchive(image, tags: ["a:1"]).finished(), to: directory / "images/a.tar")
        let store = try store()
        _ = await store.importDirectory(directory / "images")
        let newer = TestImage(files: ["newer", "layers", "here"])
        write(dockerArchive(newer, tags: ["a:1"]).finished(), to: directory / "images/a.tar")
        let report = await store.importDirectory(directory / "images")
        #expect(report.imported.map(\.id) == [newer.id])
        #expect(await store.image("a:1")?.id == newer.id)
        #expect(await store.image(image.id)?.pinned == false)
    }

    @Test func usersCacheFileKeepsRemovedImagesAway() async throws {
        try run(["mkdir", directory / "images"])
        write(dockerArchive(image, tags: ["a:1"]).finished(), to: directory / "images/a.tar")
        write([], to: directory / "images/.cache.json")
        let store = try store()
        #expect(await store.importDirectory(directory / "images").imported.count == 1)
        #expect(text(directory / "images/.cache.json")?.contains(image.id) == true)
        try await store.remove("a:1")
        let report = await store.importDirectory(directory / "images")
        #expect(report.imported.isEmpty && report.unchanged == [directory / "images/a.tar"])
        #expect(await store.images() == [])
    }

    @Test func missingDirectoryIsEmpty() async throws {
        let report = try await store().importDirectory(directory / "none")
        #expect(report.imported.isEmpty && report.errors.isEmpty)
    }
}

@Suite struct ImageDirectoryWatchTests {
    @Test(.timeLimit(.minutes(2)))
    func filesAreImportedWhenTheyAppear() async throws {
        let directory = TestDirectory()
        let registry = FakeRegistry()
        let names = ["first", "second"]
        let images = names.map { TestImage(files: [$0]) }
        for (name, image) in zip(names, images) { registry.add(image, "reg.test", name, tag: "1") }
        let store = try makeStore(directory, registry)
        let watch = Task { try await store.watchDirectory(directory / "images", settle: .milliseconds(50)) }
        while info(directory / "images") == nil { try await Task.sleep(for: .milliseconds(5)) }
        try run(["mkdir", directory / "images/sub"])
        for (path, (name, image)) in zip(["images/a.txt", "images/sub/b.txt"], zip(names, images)) {
            // Written again until it is seen: the watch may not be there yet.
            while await store.image(image.id) == nil {
                write(Array("reg.test/\(name):1\n".utf8), to: directory / path)
                try await Task.sleep(for: .milliseconds(300))
            }
        }
        #expect(await store.image(images[0].id)?.pinned == true)
        try run(["rm", directory / "images/a.txt"])
        while await store.image(images[0].id)?.pinned == true { try await Task.sleep(for: .milliseconds(20)) }
        watch.cancel()
        try await watch.value
    }
}
