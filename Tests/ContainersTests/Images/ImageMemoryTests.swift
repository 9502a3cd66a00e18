import Codecs
@testable import Containers
import Linux
import Testing

/// Peak memory of a pull and an import of a large layer. It measures the whole process, so it runs alone:
/// `K3S_MEASURE=1 swift test --filter ImageMemoryTests`.
@Suite(.enabled(if: getenv("K3S_MEASURE") != nil, "measures the process: run alone with K3S_MEASURE=1"), .serialized)
struct ImageMemoryTests {
    /// Bytes from now on; the high-water mark of VmRSS.
    private func resetPeak() {
        write(Array("5".utf8), to: "/proc/self/clear_refs")
    }
    private func status(_ key: String) -> Int {
        let line = (text("/proc/self/status") ?? "").split(separator: "\n").first { $0.hasPrefix(key) } ?? ""
        return Int(line.filter(\.isNumber)) ?? 0
    }

    @Test(arguments: ["gzip -1", "zstd -3", "zstd -19"])
    func largeLayersNeedLittleMemory(_ compressor: String) async throws {
        let directory = TestDirectory()
        // 128 MiB in 2,048 files, half of it random.
        try run(
            [
                "sh", "-ec",
                """
                mkdir src; cd src
                for i in $(seq 64); do head -c 1M /dev/urandom > r$i; head -c 1M /dev/zero | tr '\\0' 'x' > t$i; done
                for i in $(seq 2000); do echo $i > s$i; done
                cd ..; tar -cf layer.tar -C src .; rm -r src
                \(compressor) < layer.tar > layer.blob
                sha256sum layer.tar | cut -c -64 > diff; sha256sum layer.blob | cut -c -64 > digest
                """,
            ], directory: directory.path)
        let diff = "sha256:" + (text(directory / "diff") ?? "").prefix(64)
        let digest = "sha256:" + (text(directory / "digest") ?? "").prefix(64)
        let size = try #require(info(directory / "layer.blob")).size
        let document: JSON = [
            "os": "linux", "architecture": "amd64", "rootfs": ["type": "layers", "diff_ids": [.string(diff)]],
        ]
        let config = document.encode()
        let manifest: JSON = [
            "schemaVersion": 2, "mediaType": .string(MediaType.ociManifest),
            "config": [
                "mediaType": .string(MediaType.ociConfig), "digest": .string(TestSHA256.digest(config)),
                "size": .int(Int64(config.count)),
            ],
            "layers": [
                [
                    "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": .string(digest),
                    "size": .int(size),
                ]
            ],
        ]
        let registry = FileRegistry(
            blob: directory / "layer.blob", path: "/v2/big/blobs/\(digest)",
            small: [
                "/v2/big/manifests/1": manifest.encode(), "/v2/big/blobs/\(TestSHA256.digest(config))": config,
            ])
        let store = try makeStore(directory, registry)
        resetPeak()
        let before = status("VmRSS")
        _ = try await store.pull("reg.test/big:1", credentials: nil)
        let grown = status("VmHWM") - before
        print("pull, \(compressor): peak RSS +\(grown) KiB")
        #expect(grown < (compressor == "zstd -19" ? 14 << 10 : 8 << 10))
    }
}

/// Serves one blob from a file, 64 KiB at a time.
private struct FileRegistry: RegistryTransport {
    let blob: String
    let path: String
    let small: [String: [UInt8]]

    func send(_ request: RegistryRequest) async throws(RegistryTransportError) -> RegistryResponse {
        if let bytes = small[request.url.path] {
            return RegistryResponse(
                status: 200, headers: [], body: FakeBody(bytes, breakAfter: nil, stallAfter: nil, done: {}))
        }
        guard request.url.path == path else {
            return RegistryResponse(
                status: 404, headers: [], body: FakeBody([], breakAfter: nil, stallAfter: nil, done: {}))
        }
        return RegistryResponse(status: 200, headers: [], body: FileBody(blob))
    }
}

private final class FileBody: RegistryBody {
    private let fd: Int32
    init(_ path: String) { fd = open(path, O_RDONLY) }
    deinit { close(fd) }
    func next() async throws(RegistryTransportError) -> [UInt8]? {
        let bytes = [UInt8](unsafeUninitializedCapacity: 64 << 10) { buffer, count in
            count = max(0, read(fd, buffer.baseAddress, buffer.count))
        }
        return bytes.isEmpty ? nil : bytes
    }
    func cancel() async {}
}
