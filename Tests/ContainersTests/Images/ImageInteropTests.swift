import CShims
import Codecs
@testable import Containers
import Linux
import Testing

private func exists(_ program: String) -> Bool { access(program, X_OK) == 0 }
private let canRun =
    geteuid() == 0 && exists("/usr/bin/skopeo") && exists("/usr/bin/docker-registry") && exists("/usr/bin/busybox")

/// Images and registries made by other people's tools.
@Suite(.enabled(if: canRun, "needs root, skopeo, docker-registry and busybox"), .serialized)
struct ImageInteropTests {
    let directory = TestDirectory()

    /// A busybox image as a docker archive, with layers by GNU tar.
    private func makeArchive() throws -> TestImage {
        try run(
            [
                "sh", "-ec",
                """
                mkdir -p base/bin base/etc base/tmp top/etc
                cp /usr/bin/busybox base/bin/busybox
                for name in sh ls cat; do ln -s busybox base/bin/$name; done
                ln base/bin/busybox base/bin/hard
                echo old > base/etc/gone; echo base > base/etc/name; chmod 1777 base/tmp
                echo top > top/etc/name; touch top/etc/.wh.gone
                tar --sort=name --mtime=@1700000000 --owner=0 --group=0 -cf base.tar -C base .
                tar --sort=name --mtime=@1700000000 --owner=0 --group=0 -cf top.tar -C top .
                """,
            ], directory: directory.path)
        let image = TestImage([contents(directory / "base.tar") ?? [], contents(directory / "top.tar") ?? []])
        write(image.document, to: directory / "config.json")
        write(
            Array(#"[{"Config":"config.json","RepoTags":["test/busybox:1"],"Layers":["base.tar","top.tar"]}]"#.utf8),
            to: directory / "manifest.json")
        try run(
            ["tar", "-cf", "docker.tar", "config.json", "manifest.json", "base.tar", "top.tar"],
            directory: directory.path)
        return image
    }

    private func check(_ store: ImageStore, _ found: ImageInfo, _ image: TestImage) async throws {
        #expect(found.config.entrypoint == ["/bin/app"])
        let stack = try await store.lowerDirectories(imageID: found.id)
        #expect(stack.count == 2)
        #expect(text(stack[0] + "/etc/name") == "top\n")
        #expect(info(stack[0] + "/etc/gone")?.isWhiteout == true)
        #expect(contents(stack[1] + "/bin/busybox") == contents("/usr/bin/busybox"))
        #expect(try run(["readlink", stack[1] + "/bin/sh"]) == "busybox\n")
        #expect(info(stack[1] + "/tmp")?.mode == FileKind.directory | 0o1777)
        #expect(info(stack[1] + "/bin/busybox")?.mtime_sec == 1_700_000_000)
    }

    @Test func skopeosArchivesAreImported() async throws {
        let image = try makeArchive()
        try run(
            [
                "skopeo", "copy", "--insecure-policy", "docker-archive:docker.tar",
                "oci-archive:oci.tar:reg.test/busybox:1",
            ], directory: directory.path)
        try run(
            ["skopeo", "copy", "--insecure-policy", "oci-archive:oci.tar", "docker-archive:again.tar:test/busybox:2"],
            directory: directory.path)
        for (file, tag) in [
            ("docker.tar", "docker.io/test/busybox:1"), ("oci.tar", "reg.test/busybox:1"),
            ("again.tar", "docker.io/test/busybox:2"),
        ] {
            let place = TestDirectory()
            let store = try makeStore(place, FakeRegistry())
            let infos = try await store.importArchive(path: directory / file)
            #expect(infos.map(\.tags) == [[tag]], "\(file)")
            try await check(store, infos[0], image)
        }
    }

    @Test func realRegistryIsPulledFrom() async throws {
        let image = try makeArchive()
        let port = UInt16.random(in: 20_000...29_000)
        write(
            Array(
                """
                version: 0.1
                log: {level: error, accesslog: {disabled: true}}
                storage: {filesystem: {rootdirectory: \(directory / "registry")}, delete: {enabled: true}}
                http: {addr: "127.0.0.1:\(port)"}
                """.utf8), to: directory / "registry.yml")
        var pid: pid_t = 0
        let arguments = ["docker-registry", "serve", directory / "registry.yml"]
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { for case let pointer? in argv { free(pointer) } }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        try #require(posix_spawnp(&pid, "docker-registry", &actions, nil, &argv, environ) == 0)
        defer {
            kill(pid, SIGKILL)
            waitpid(pid, nil, 0)
        }
        let name = "127.0.0.1:\(port)/test/busybox"
        var pushed = false
        for _ in 0..<50 where !pushed {
            pushed =
                (try? run(
                    [
                        "skopeo", "copy", "--insecure-policy", "--dest-tls-verify=false", "docker-archive:docker.tar",
                        "docker://\(name):1",
                    ],
                    directory: directory.path)) != nil
            if !pushed { try await Task.sleep(for: .milliseconds(100)) }
        }
        try #require(pushed)
        try run(
            [
                "skopeo", "copy", "--insecure-policy", "--dest-tls-verify=false", "--format", "oci",
                "--dest-compress-format", "zstd",
                "docker-archive:docker.tar", "docker://\(name):zstd",
            ], directory: directory.path)

        let store = try makeStore(directory, SocketTransport()) {
            $0.timing.responseTimeout = .seconds(20)
            $0.timing.stallTimeout = .seconds(20)
        }
        let docker = try await store.pull("\(name):1", credentials: nil)
        try await check(store, docker, image)
        let digest = try run([
            "skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", "docker://\(name):1",
        ])
        #expect(docker.digests == ["\(name)@\(digest.filter { !$0.isWhitespace })"])
        let zstd = try await store.pull("\(name):zstd", credentials: nil)
        try await check(store, zstd, image)
        // Other manifest, same layers.
        #expect(try ImageFS.names(directory / "store/snapshots").count == 2)
        let again = try await store.pull("\(name)@\(digest.filter { !$0.isWhitespace })", credentials: nil)
        #expect(again.id == docker.id)
        let missing = await failure { () throws(ImageError) in try await store.pull("\(name):none", credentials: nil) }
        #expect(missing?.code == .notFound)
        #expect(missing?.message.hasSuffix("\(name):none: not found") == true)
    }
}
