import CShims
import Codecs
@testable import Containers
import Linux
import Testing

@Suite struct ImageExportTests {
    /// Everything that a layer can hold.
    private func image() -> TestImage {
        var lower = TarBuilder()
        lower.directory("etc/", mode: 0o750, uid: 7, gid: 8, mtime: 1_600_000_000)
        lower.pax([("uid", "3000000")])
        lower.file("etc/name", "base\n", mode: 0o4755, mtime: 1_500_000_000)
        lower.symlink("etc/link", String(repeating: "long/", count: 40) + "target")
        lower.file("gone", "g")
        lower.pax([("mtime", "-1.25")])
        lower.file("old", "before the epoch")
        lower.directory("dir/")
        lower.file("dir/old", "o")
        let deep = String(repeating: "folder/", count: 30)
        lower.directory(deep)
        lower.file(deep + "ü", "deep")
        lower.hardLink("second", "etc/name")
        var upper = TarBuilder()
        upper.whiteout(".wh.gone")
        upper.directory("dir/")
        upper.whiteout("dir/.wh..wh..opq")
        upper.file("dir/new", "n")
        return TestImage([lower.finished(), upper.finished()])
    }

    @Test(.enabled(if: geteuid() == 0, "needs root for owners and whiteouts"))
    func anExportedImageIsImportedAsItWas() async throws {
        let source = try TestStore()
        source.registry.add(image(), "reg.test", "app", tag: "1")
        let old = try await source.pull("reg.test/app:1")
        let archive = source.directory / "out.tar"
        try await source.store.export(["reg.test/app:1", old.id], to: archive)
        #expect(try await source.leftovers() == [])

        let target = try TestStore()
        let found = try await target.store.importArchive(path: archive)
        #expect(found.map(\.tags) == [["reg.test/app:1"]])
        #expect(found[0].config == old.config)
        let before = try await source.store.lowerDirectories(imageID: old.id)
        let after = try await target.store.lowerDirectories(imageID: found[0].id)
        #expect(before.count == after.count && before.count == 2)
        // Names, kinds, modes, owners, times, link targets, attributes and content, by other people's tools.
        for (a, b) in zip(before, after) {
            func listing(_ directory: String) throws -> String {
                try run([
                    "sh", "-c",
                    "cd \(directory) && find . -mindepth 1 -type c -print; find . -mindepth 1 ! -type c -printf '%p %y %m %U:%G %T@ %n %l\\n' | sort; find . -type f -exec md5sum {} + | sort; getfattr -Rdm - . 2>/dev/null || true",
                ])
            }
            #expect(try listing(a) == listing(b))
        }
        #expect(info(after[0] + "/gone")?.isWhiteout == true)
        #expect(info(after[1] + "/second")?.links == 2)
        #expect(info(after[1] + "/etc/name")?.uid == 3_000_000)
        // Packing the same files twice gives the same bytes.
        let again = source.directory / "again.tar"
        try await source.store.export(["reg.test/app:1"], to: again)
        #expect(contents(archive) == contents(again))
    }

    /// Layers that images share are in the archive once; other people's tools read it.
    @Test(.enabled(if: geteuid() == 0, "needs root for owners and whiteouts"))
    func otherToolsReadTheArchive() async throws {
        let source = try TestStore()
        let base = image()
        source.registry.add(base, "reg.test", "app", tag: "1")
        source.registry.add(image(), "reg.test", "twin", tag: "2")
        for name in ["app:1", "twin:2"] { _ = try await source.pull("reg.test/" + name) }
        let archive = source.directory / "two.tar"
        try await source.store.export(
            ["reg.test/app:1", "reg.test/twin:2"], to: archive, platform: Platform.host.description)
        let members = try run(["tar", "-tf", archive]).split(separator: "\n")
        #expect(Set(members).count == members.count)
        #expect(members.contains("index.json") && members.contains("oci-layout") && members.contains("manifest.json"))
        let listed = try run(["tar", "-xOf", archive, "manifest.json"])
        #expect(listed.contains("reg.test/app:1") && listed.contains("reg.test/twin:2"))
        guard Files.exists("/usr/bin/skopeo") else { return }
        let docker = try run(["skopeo", "inspect", "docker-archive:\(archive):reg.test/app:1"])
        #expect(docker.contains("\"Architecture\": \"\(Platform.host.architecture)\""))
        let single = source.directory / "one.tar"
        try await source.store.export(["reg.test/app:1"], to: single)
        let oci = try run(["skopeo", "inspect", "oci-archive:\(single)"])
        #expect(oci.contains("\"Layers\"") && oci.contains("\"Architecture\": \"\(Platform.host.architecture)\""))
    }

    @Test func anotherPlatformIsNotHere() async throws {
        let source = try TestStore()
        for (platform, code) in [("linux/s390x", ImageError.Code.notFound), ("a//b", .invalidReference)] {
            let error = await failure { () throws(ImageError) in
                try await source.store.export(["reg.test/app:1"], to: source.directory / "x.tar", platform: platform)
            }
            #expect(error?.code == code && error?.message.contains(platform) == true)
        }
    }

    @Test func nothingIsLeftOfAnExportThatFails() async throws {
        let source = try TestStore()
        source.registry.add(image(), "reg.test", "app", tag: "1")
        if geteuid() == 0 { _ = try await source.pull("reg.test/app:1") }
        let path = source.directory / "no/such/folder.tar"
        let missing = await failure { () throws(ImageError) in try await source.store.export(["none:1"], to: path) }
        #expect(missing?.code == .notFound)
        let empty = await failure { () throws(ImageError) in try await source.store.export([], to: path) }
        #expect(empty?.code == .invalidReference)
        let failed = await failure { () throws(ImageError) in
            try await source.store.export(["reg.test/app:1"], to: path)
        }
        #expect(failed?.message.contains("no/such/folder.tar") == true || failed?.code == .notFound)
        #expect(try await source.leftovers() == [])
    }
}
