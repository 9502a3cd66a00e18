@testable import Containers
import Codecs
import Linux
import Testing

@Suite struct TarReaderTests {
    private func read(_ bytes: [UInt8], maxEntries: Int = 1000) throws(ImageError) -> [(TarEntry, [UInt8])] {
        let reader = TarReader(ArraySource(bytes), name: "t", maxEntries: maxEntries)
        var result: [(TarEntry, [UInt8])] = []
        while let entry = try reader.next() {
            var data: [UInt8] = []
            while try reader.withData({ (raw: UnsafeRawBufferPointer) throws(ImageError) -> Int in
                data += raw
                return raw.count
            }) > 0 {}
            result.append((entry, data))
        }
        return result
    }

    private func message(_ bytes: [UInt8], maxEntries: Int = 1000) -> String {
        do throws(ImageError) {
            _ = try read(bytes, maxEntries: maxEntries)
            return "accepted"
        } catch {
            return error.message
        }
    }

    @Test func ustarFieldsAreRead() throws {
        var tar = TarBuilder()
        tar.header(
            "name", type: "0", size: 3, mode: 0o4755, uid: 1000, gid: 100, mtime: 1_700_000_000, prefix: "some/prefix")
        tar.data(Array("abc".utf8))
        tar.header("dev", type: "3", mode: 0o600, major: 1, minor: 3)
        tar.symlink("l", "../target")
        let entries = try read(tar.finished())
        #expect(entries.count == 3)
        #expect(entries[0].0.name == "some/prefix/name")
        #expect(entries[0].0.mode == 0o4755 && entries[0].0.uid == 1000 && entries[0].0.gid == 100)
        #expect(entries[0].0.modified == 1_700_000_000)
        #expect(entries[0].1 == Array("abc".utf8))
        #expect(entries[1].0.kind == .characterDevice && entries[1].0.deviceMajor == 1 && entries[1].0.deviceMinor == 3)
        #expect(entries[2].0.kind == .symlink && entries[2].0.link == Array("../target".utf8))
    }

    @Test func paxOverridesTheHeader() throws {
        var tar = TarBuilder()
        let long = String(repeating: "d/", count: 150) + "file"
        tar.pax([
            ("path", long), ("uid", "3000000"), ("gid", "3000001"), ("mtime", "1350244992.023960108"),
            ("SCHILY.xattr.user.a", "v=1"), ("comment", "ignored"),
        ])
        tar.file("short", "x")
        let entry = try read(tar.finished())[0].0
        #expect(entry.name == long)
        #expect(entry.uid == 3_000_000 && entry.gid == 3_000_001)
        #expect(entry.modified == 1_350_244_992 && entry.modifiedNanoseconds == 23_960_108)
        #expect(entry.xattrs.count == 1 && entry.xattrs[0].name == Array("user.a".utf8))
        #expect(entry.xattrs[0].value == Array("v=1".utf8))
    }

    @Test func paxAppliesToOneEntryOnly() throws {
        var tar = TarBuilder()
        tar.pax([("uid", "5")])
        tar.file("a", "")
        tar.file("b", "")
        let entries = try read(tar.finished())
        #expect(entries[0].0.uid == 5 && entries[1].0.uid == 0)
    }

    @Test func negativeTimesHaveAPositiveFraction() {
        let time = TarReader.time("-1.25")
        #expect(time?.seconds == -2 && time?.nanoseconds == 750_000_000)
        #expect(TarReader.time("1.x") == nil && TarReader.time("") == nil)
    }

    @Test func gnuLongNamesAreJoined() throws {
        var tar = TarBuilder()
        let long = String(repeating: "n", count: 300)
        tar.header("././@LongLink", type: "L", size: 301)
        tar.data(Array(long.utf8) + [0])
        tar.header("././@LongLink", type: "K", size: 201)
        tar.data(Array(String(repeating: "k", count: 200).utf8) + [0])
        tar.symlink("short", "short")
        let entry = try read(tar.finished())[0].0
        #expect(entry.name == long)
        #expect(entry.link.count == 200)
    }

    @Test func base256NumbersAreRead() {
        let max = [UInt8](arrayLiteral: 0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
        #expect(TarHeader.number(max[...]) == Int64.max)
        #expect(TarHeader.number([0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0][...]) == nil)
        #expect(TarHeader.number([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe][...]) == -2)
        #expect(TarHeader.number([0x80, 0, 0, 0, 0, 0, 1, 0][...]) == 256)
        #expect(TarHeader.number(Array("0000644\0".utf8)[...]) == 0o644)
        #expect(TarHeader.number(Array("  644 \0\0".utf8)[...]) == 0o644)
        #expect(TarHeader.number(Array("00008\0\0\0".utf8)[...]) == nil)
        #expect(TarHeader.number([UInt8](repeating: 0, count: 8)[...]) == 0)
    }

    /// What GNU tar itself writes, in each of its formats.
    @Test(arguments: ["ustar", "gnu", "pax", "oldgnu"])
    func gnuTarIsRead(_ format: String) throws {
        let directory = TestDirectory()
        let long = String(repeating: "long-name-", count: format == "ustar" ? 8 : 20)
        try run(["mkdir", "-p", directory / "src/sub"])
        write(Array("hello".utf8), to: directory / "src/sub/\(long)")
        try run(["ln", "-s", "sub/\(long)", directory / "src/link"])
        try run(["ln", directory / "src/sub/\(long)", directory / "src/hard"])
        try run(["mkfifo", directory / "src/pipe"])
        try run(["touch", "-d", "@1700000000.5", directory / "src/sub/\(long)"])
        try run(["tar", "--format=\(format)", "-cf", directory / "a.tar", "-C", directory / "src", "--sort=name", "."])
        let entries = try read(contents(directory / "a.tar") ?? [])
        let byName = Dictionary(entries.map { ($0.0.name, $0) }, uniquingKeysWith: { a, _ in a })
        #expect(byName.keys.sorted() == ["./", "./hard", "./link", "./pipe", "./sub/", "./sub/\(long)"].sorted())
        #expect(byName["./hard"]?.1 == Array("hello".utf8))
        #expect(byName["./sub/\(long)"]?.0.kind == .hardLink)
        #expect(byName["./link"]?.0.link == Array("sub/\(long)".utf8))
        #expect(byName["./pipe"]?.0.kind == .fifo)
        #expect(byName["./hard"]?.0.modified == 1_700_000_000)
        #expect(byName["./hard"]?.0.modifiedNanoseconds == (format == "pax" ? 500_000_000 : 0))
    }

    @Test func sparseFilesAreRefused() throws {
        let directory = TestDirectory()
        try run(["truncate", "-s", "10M", directory / "sparse"])
        for format in ["gnu", "pax"] {
            try run(["tar", "--format=\(format)", "-S", "-cf", directory / "a.tar", "-C", directory.path, "sparse"])
            #expect(message(contents(directory / "a.tar") ?? []).contains("sparse files are not supported"))
        }
    }

    @Test func damageIsReported() {
        var tar = TarBuilder()
        tar.file("a", "0123456789")
        let good = tar.finished()
        #expect(message(Array(good[..<700])).contains("unexpected end of archive inside a file"))
        #expect(message(Array(good[..<300])).contains("unexpected end of archive inside a header"))
        var flipped = good
        flipped[0] = 0x62
        #expect(message(flipped).contains("invalid tar header checksum"))
        #expect(
            message(Array("this is not a tar archive".utf8) + [UInt8](repeating: 1, count: 600)).contains("checksum"))
        // Without the two blocks of zeros the end is still the end (Go and GNU tar agree).
        #expect(message(Array(good[..<1024])) == "accepted")
    }

    @Test func limitsHold() {
        var many = TarBuilder()
        for index in 0..<20 { many.file("f\(index)", "") }
        #expect(message(many.finished(), maxEntries: 10) == "t: more than the limit of 10 entries")
        var huge = TarBuilder()
        huge.header("PaxHeader", type: "x", size: 5 << 20)
        #expect(message(huge.bytes).contains("extended header of"))
        var long = TarBuilder()
        long.pax([("path", String(repeating: "p", count: 5000))])
        long.file("x", "")
        #expect(message(long.finished()).contains("name of more than 4096 bytes"))
        var size = TarBuilder()
        size.pax([("size", "9223372036854775807")])
        size.file("x", "")
        #expect(message(size.finished()).contains("file of 9223372036854775807 bytes"))
    }

    @Test func badPaxRecordsAreRefused() {
        for body in [
            "5 a=b\n", "x a=b\n", "6 ab\n\n", "99 a=b\n", "-1 a=b\n", "6 a=bc", "7 uid=x\n", "10 uid=-5\n",
            "12 size=-12\n",
        ] {
            var tar = TarBuilder()
            tar.header("PaxHeader", type: "x", size: body.utf8.count)
            tar.data(Array(body.utf8))
            tar.file("x", "")
            #expect(message(tar.finished()).contains("invalid PAX"), "\(body)")
        }
        var nul = TarBuilder()
        nul.pax([("path", "a\u{0}b")])
        nul.file("x", "")
        #expect(message(nul.finished()).contains("NUL byte in a name"))
        var dangling = TarBuilder()
        dangling.pax([("path", "a")])
        #expect(message(dangling.finished()).contains("ends after an extended header"))
    }

    @Test func unknownTypesAreRefused() {
        var tar = TarBuilder()
        tar.header("x", type: "V")
        #expect(message(tar.finished()).contains("unsupported tar entry type 'V'"))
    }
}

@Suite struct DecompressionTests {
    private func decompress(_ bytes: [UInt8], windowLog: Int32 = 25) throws -> [UInt8] {
        let directory = TestDirectory()
        write(bytes, to: directory / "blob")
        let region = try ImageFile.open(directory / "blob", O_RDONLY).region()
        let source = try region.decompressed(zstdWindowLog: windowLog, name: "b")
        var result: [UInt8] = []
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 10_000, alignment: 16)
        defer { buffer.deallocate() }
        while true {
            let n = try source.read(into: buffer)
            if n == 0 { return result }
            result += buffer[..<n]
        }
    }

    private func compressed(_ bytes: [UInt8], _ command: [String]) throws -> [UInt8] {
        let directory = TestDirectory()
        write(bytes, to: directory / "in")
        try run(["sh", "-c", command.joined(separator: " ") + " < in > out"], directory: directory.path)
        return contents(directory / "out") ?? []
    }

    private let sample = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 7) }

    @Test(arguments: [["gzip", "-9"], ["zstd", "-3"], ["zstd", "-19"], ["cat"]])
    func bytesComeBack(_ command: [String]) throws {
        #expect(try decompress(compressed(sample, command)) == sample)
        #expect(try decompress(compressed([], command)) == [])
    }

    @Test func membersAndFramesAreJoined() throws {
        for command in [["gzip"], ["zstd"]] {
            let one = try compressed(Array("one".utf8), command)
            let two = try compressed(Array("two".utf8), command)
            #expect(try decompress(one + two) == Array("onetwo".utf8))
        }
        let padded = try compressed(sample, ["gzip"]) + [UInt8](repeating: 0, count: 70_000)
        #expect(try decompress(padded) == sample)
    }

    @Test func truncationIsAnError() throws {
        for command in [["gzip"], ["zstd"]] {
            let bytes = try compressed(sample, command)
            let error = #expect(throws: ImageError.self) { try decompress(Array(bytes.dropLast(10))) }
            #expect(error?.message.contains("unexpected EOF") == true)
        }
    }

    @Test func garbageIsAnError() throws {
        var bytes = try compressed(sample, ["gzip"])
        bytes[bytes.count / 2] ^= 0x55
        #expect(throws: ImageError.self) { try decompress(bytes) }
        let trailing = try compressed(sample, ["gzip"]) + Array("garbage".utf8)
        #expect(throws: ImageError.self) { try decompress(trailing) }
    }

    @Test func largeWindowsAreRefused() throws {
        let bytes = try compressed(sample + sample, ["zstd", "--long=27", "--no-check", "-19", "--single-thread"])
        // From a pipe zstd cannot know the size, so the frame asks for the whole window.
        let error = #expect(throws: ImageError.self) { try decompress(bytes, windowLog: 20) }
        #expect(error?.code == .unsupported)
        #expect(error?.message.contains("window above 1048576 bytes") == true)
    }

    @Test func otherCompressionsAreNamed() throws {
        for (magic, name) in [("BZh91AY", "bzip2"), ("\u{4}\"M\u{18}xxxx", "lz4")] {
            let error = #expect(throws: ImageError.self) { try decompress(Array(magic.utf8)) }
            #expect(error?.message.contains("\(name) compression is not supported") == true)
        }
    }
}
