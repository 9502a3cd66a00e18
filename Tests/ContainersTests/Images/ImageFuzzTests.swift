import Codecs
@testable import Containers
import Linux
import Testing

/// A small generator, seeded: a failure can be run again.
private struct Generator: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

/// Mutated input must end in an error or a result: no trap, no endless loop, nothing written outside.
@Suite struct ImageFuzzTests {
    private func mutate(_ bytes: [UInt8], _ random: inout Generator) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<Int.random(in: 1...6, using: &random) {
            guard !bytes.isEmpty else { return bytes }
            let at = Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0..<7, using: &random) {
            case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
            case 1: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 2: bytes = Array(bytes[..<at])
            case 3: bytes.insert(contentsOf: [0, 0xff, 0x80, 0x2f, 0x2e].shuffled(using: &random), at: at)
            case 4: bytes.removeSubrange(at..<min(bytes.count, at + Int.random(in: 1...600, using: &random)))
            case 5:
                let from = Int.random(in: 0..<bytes.count, using: &random)
                let count = min(512, bytes.count - max(at, from))
                bytes.replaceSubrange(at..<at + count, with: Array(bytes[from..<from + count]))
            default:
                for index in at..<min(bytes.count, at + 12) { bytes[index] = UInt8(ascii: "7") }
            }
        }
        return bytes
    }

    /// Makes header checksums right again, so that damage gets past the first check.
    private func repaired(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        var at = 0
        while at + 512 <= bytes.count {
            if bytes[(at + 257)..<(at + 262)].elementsEqual(Array("ustar".utf8)) {
                for index in 148..<156 { bytes[at + index] = 0x20 }
                let sum = bytes[at..<at + 512].reduce(0) { $0 + Int($1) }
                let digits = String(sum, radix: 8)
                let text = String(repeating: "0", count: max(0, 6 - digits.count)) + digits
                for (index, byte) in text.utf8.prefix(6).enumerated() { bytes[at + 148 + index] = byte }
                bytes[at + 154] = 0
            }
            at += 512
        }
        return bytes
    }

    private var seedTar: [UInt8] {
        var tar = TarBuilder()
        tar.directory("dir/", mode: 0o755)
        tar.file("dir/file", "some content")
        tar.symlink("dir/up", "../..")
        tar.symlink("abs", "/tmp")
        tar.file("dir/up/through", "1")
        tar.hardLink("hard", "dir/file")
        tar.pax([
            ("path", "dir/long/\(String(repeating: "n", count: 120))"), ("mtime", "1.5"), ("SCHILY.xattr.user.x", "y"),
        ])
        tar.file("short", "2")
        tar.header("././@LongLink", type: "L", size: 120)
        tar.data(Array(String(repeating: "g", count: 119).utf8) + [0])
        tar.file("g", "3")
        tar.whiteout("dir/.wh.gone")
        tar.file("opq/.wh..wh..opq", "")
        tar.header("pipe", type: "6")
        tar.file("../out", "4")
        tar.file("/tmp/k3s-images-fuzz-escape", "5")
        return tar.finished()
    }

    @Test(.enabled(if: geteuid() == 0, "needs root for devices and trusted xattrs"), .timeLimit(.minutes(5)))
    func mutatedLayersNeverEscapeOrTrap() throws {
        let directory = TestDirectory()
        write(Array("victim".utf8), to: directory / "victim")
        var random = Generator(state: 0x6b33_7331)
        let seed = seedTar
        var limits = LayerLimits()
        limits.bytes = 1 << 20
        var accepted = 0
        for round in 0..<6000 {
            let mutated = mutate(seed, &random)
            let bytes = round % 4 == 0 ? mutated : repaired(mutated)
            let path = directory / "root"
            mkdir(path, 0o755)
            do throws(ImageError) {
                let root = try ImageFile.open(path, O_RDONLY | O_DIRECTORY)
                let unpacker = LayerUnpacker(root: root, below: LowerLayers([]), limits: limits, name: "layer")
                let source = MeteredSource(ArraySource(bytes), hash: nil, limit: limits.bytes, name: "layer")
                try unpacker.apply(TarReader(source, name: "layer", maxEntries: 1000))
                accepted += 1
            } catch {
                #expect(!error.message.isEmpty)
            }
            try ImageFS.removeTree(path)
            guard try ImageFS.names(directory.path) == ["victim"], text(directory / "victim") == "victim",
                !ImageFS.exists("/tmp/k3s-images-fuzz-escape"), !ImageFS.exists("/tmp/through")
            else {
                Issue.record("round \(round) wrote outside of its root")
                return
            }
        }
        // Repaired headers let a good part through: the unpacker was really exercised.
        #expect(accepted > 300)
    }

    @Test(.timeLimit(.minutes(5)))
    func mutatedDocumentsNeverTrap() {
        var random = Generator(state: 0x6f63_6931)
        let image = TestImage(files: ["a", "b"])
        let seeds = [image.manifest, image.document, TestImage.index([image, image])]
        var accepted = 0
        for round in 0..<6000 {
            let bytes = mutate(seeds[round % 3], &random)
            do throws(ImageError) {
                switch round % 3 {
                case 1: _ = try ImageDocument(bytes, name: "config")
                default:
                    let document = try ManifestDocument(bytes, mediaType: nil, name: "manifest")
                    if case .index(let list) = document { _ = ManifestDocument.choose(list, for: .host) }
                }
                accepted += 1
            } catch {
                #expect(!error.message.isEmpty)
            }
        }
        #expect(accepted > 50)
    }

    @Test(.timeLimit(.minutes(5)))
    func mutatedCompressedStreamsEnd() throws {
        let directory = TestDirectory()
        var random = Generator(state: 7)
        write(seedTar, to: directory / "in")
        for tool in ["gzip", "zstd"] {
            try run(["sh", "-c", "\(tool) < in > out"], directory: directory.path)
            let seed = contents(directory / "out") ?? []
            for _ in 0..<500 {
                write(mutate(seed, &random), to: directory / "blob")
                do throws(ImageError) {
                    let region = try ImageFile.open(directory / "blob", O_RDONLY).region()
                    let stream = MeteredSource(
                        try region.decompressed(zstdWindowLog: 23, name: "b"), hash: nil, limit: 1 << 20, name: "b")
                    let tar = TarReader(stream, name: "b", maxEntries: 1000)
                    while try tar.next() != nil {}
                    try stream.drain()
                } catch {
                    #expect(!error.message.isEmpty)
                }
            }
        }
    }

    @Test func mutatedReferencesNeverTrap() {
        var random = Generator(state: 11)
        let seeds = [
            "docker.io/library/busybox:1.36@sha256:" + String(repeating: "0", count: 64), "[::1]:5000/a/b_c__d:tag",
            "localhost/x",
        ]
        for round in 0..<5000 {
            let text = String(decoding: mutate(Array(seeds[round % 3].utf8), &random), as: UTF8.self)
            guard let reference = try? ImageReference(text) else { continue }
            // What is accepted is stable: its own text means the same.
            #expect((try? ImageReference(reference.description)) == reference, "\(text)")
        }
    }
}
