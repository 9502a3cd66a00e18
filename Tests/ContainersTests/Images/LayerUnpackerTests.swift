import CShims
@testable import Containers
import Linux
import Testing

private let isRoot: Bool = geteuid() == 0

/// Needs root: owners, devices and overlayfs's xattrs.
@Suite(.enabled(if: isRoot, "needs root for devices, owners and trusted xattrs"))
struct LayerUnpackerTests {
    let directory = TestDirectory()

    /// Unpacks into a directory inside of another one, so that an escape shows.
    @discardableResult
    func unpack(
        _ tar: TarBuilder, below: [String] = [], into name: String = "root", limits: LayerLimits = LayerLimits()
    ) throws(ImageError) -> LayerUnpacker {
        let path = directory / name
        try ImageFS.makeDirectory(path, 0o755)
        let root = try ImageFile.open(path, O_RDONLY | O_DIRECTORY)
        var lower: [ImageFile] = []
        for name in below { lower.append(try ImageFile.open(directory / name, O_RDONLY | O_DIRECTORY)) }
        let unpacker = LayerUnpacker(root: root, below: LowerLayers(lower), limits: limits, name: "layer x")
        let source = MeteredSource(ArraySource(tar.finished()), hash: nil, limit: limits.bytes, name: "layer x")
        try unpacker.apply(TarReader(source, name: "layer x", maxEntries: limits.entries))
        return unpacker
    }

    func message(_ tar: TarBuilder, limits: LayerLimits = LayerLimits()) -> String {
        do throws(ImageError) {
            try unpack(tar, limits: limits)
            return "accepted"
        } catch {
            return error.message
        }
    }

    @Test func everyKindOfEntryIsMade() throws {
        var tar = TarBuilder()
        tar.directory("bin/", mode: 0o1777, uid: 5, gid: 6, mtime: 1_000_000_000)
        tar.file("bin/su", "elf", mode: 0o4755, uid: 1, gid: 2, mtime: 1_100_000_000)
        tar.symlink("bin/sh", "su")
        tar.hardLink("bin/hard", "bin/su")
        tar.header("null", type: "3", mode: 0o666, major: 1, minor: 3)
        tar.header("disk", type: "4", mode: 0o660, gid: 6, major: 8, minor: 0)
        tar.header("pipe", type: "6", mode: 0o600)
        tar.pax([("SCHILY.xattr.user.note", "hi"), ("SCHILY.xattr.trusted.overlay.opaque", "y")])
        tar.file("bin/later", "x")
        try unpack(tar)
        #expect(info(directory / "root/bin")?.mode == FileKind.directory | 0o1777)
        #expect(info(directory / "root/bin")?.uid == 5 && info(directory / "root/bin")?.gid == 6)
        // The file that came later did not change the directory's time.
        #expect(info(directory / "root/bin")?.mtime_sec == 1_000_000_000)
        let su = try #require(info(directory / "root/bin/su"))
        #expect(su.mode == FileKind.regular | 0o4755 && su.uid == 1 && su.gid == 2 && su.mtime_sec == 1_100_000_000)
        #expect(text(directory / "root/bin/hard") == "elf")
        #expect(try run(["readlink", directory / "root/bin/sh"]) == "su\n")
        let null = try #require(info(directory / "root/null"))
        #expect(
            null.kind == FileKind.character && null.rdev_major == 1 && null.rdev_minor == 3
                && null.mode & 0o777 == 0o666)
        #expect(info(directory / "root/disk")?.kind == FileKind.block)
        #expect(info(directory / "root/pipe")?.kind == FileKind.fifo)
        #expect(xattr(directory / "root/bin/later", "user.note") == Array("hi".utf8))
        #expect(xattr(directory / "root/bin/later", "trusted.overlay.opaque") == nil)
    }

    @Test func fileCapabilitiesAreKept() throws {
        // VFS_CAP_REVISION_2, effective, cap_net_raw permitted.
        let value: [UInt8] = [1, 0, 0, 2, 0, 0x20, 0, 0] + [UInt8](repeating: 0, count: 12)
        var tar = TarBuilder()
        tar.pax([("SCHILY.xattr.security.capability", String(decoding: value, as: UTF8.self))])
        tar.file("ping", "elf", mode: 0o755, uid: 3)
        try unpack(tar)
        #expect(xattr(directory / "root/ping", "security.capability") == value)
    }

    @Test func whiteoutsAndOpaqueDirectoriesTakeOverlayForm() throws {
        var tar = TarBuilder()
        tar.whiteout("etc/.wh.gone")
        tar.directory("var/")
        tar.file("var/.wh..wh..opq", "")
        tar.file("var/new", "n")
        tar.file(".wh..wh.plnk", "aufs")
        let unpacker = try unpack(tar)
        let gone = try #require(info(directory / "root/etc/gone"))
        #expect(gone.isWhiteout)
        #expect(xattr(directory / "root/var", "trusted.overlay.opaque") == Array("y".utf8))
        #expect(text(directory / "root/var/new") == "n")
        #expect(!unpacker.hidesBelow)
        #expect(names(directory / "root") == ["etc", "etc/gone", "var", "var/new"])
    }

    @Test func whiteoutOfWhatTheLayerItselfHasHidesOnlyBelow() throws {
        var tar = TarBuilder()
        tar.file("dir/mine", "m")
        tar.whiteout(".wh.dir")
        tar.file("f", "kept")
        tar.whiteout(".wh.f")
        try unpack(tar)
        #expect(xattr(directory / "root/dir", "trusted.overlay.opaque") == Array("y".utf8))
        #expect(text(directory / "root/dir/mine") == "m")
        #expect(text(directory / "root/f") == "kept")
    }

    @Test func directoryAfterItsWhiteoutIsOpaque() throws {
        var tar = TarBuilder()
        tar.whiteout(".wh.a")
        tar.directory("a/")
        tar.whiteout(".wh.b")
        tar.file("b/inside", "i")
        try unpack(tar)
        #expect(xattr(directory / "root/a", "trusted.overlay.opaque") == Array("y".utf8))
        #expect(xattr(directory / "root/b", "trusted.overlay.opaque") == Array("y".utf8))
        #expect(text(directory / "root/b/inside") == "i")
    }

    @Test func opaqueRootHidesAllBelow() throws {
        var tar = TarBuilder()
        tar.file(".wh..wh..opq", "")
        #expect(try unpack(tar).hidesBelow)
    }

    @Test func laterEntriesReplaceEarlierOnes() throws {
        var tar = TarBuilder()
        tar.file("a", "1")
        tar.file("a", "22")
        tar.file("d/x/y", "deep")
        tar.file("d", "now a file")
        tar.symlink("l", "a")
        tar.file("l", "not through the link")
        tar.file("e", "file")
        tar.directory("e/", mode: 0o700)
        tar.header("a", type: "6")
        try unpack(tar)
        #expect(info(directory / "root/a")?.kind == FileKind.fifo)
        #expect(text(directory / "root/d") == "now a file")
        #expect(text(directory / "root/l") == "not through the link")
        #expect(info(directory / "root/e")?.isDirectory == true)
    }

    @Test func missingParentsTakeAttributesFromBelow() throws {
        var base = TarBuilder()
        base.directory("tmp/", mode: 0o1777, uid: 9)
        base.symlink("lib", "usr/lib")
        base.directory("usr/lib/", mode: 0o750)
        base.directory("hidden/", mode: 0o700)
        try unpack(base, into: "base")
        var middle = TarBuilder()
        middle.whiteout(".wh.hidden")
        try unpack(middle, into: "middle")
        var tar = TarBuilder()
        tar.file("tmp/f", "1")
        tar.file("lib/libc.so", "2")
        tar.file("hidden/f", "3")
        tar.file("fresh/f", "4")
        try unpack(tar, below: ["middle", "base"])
        #expect(info(directory / "root/tmp")?.mode == FileKind.directory | 0o1777)
        #expect(info(directory / "root/tmp")?.uid == 9)
        // Written where the merged file system has it, so that the link below stays.
        #expect(text(directory / "root/usr/lib/libc.so") == "2")
        #expect(info(directory / "root/lib") == nil)
        #expect(info(directory / "root/usr/lib")?.mode == FileKind.directory | 0o750)
        #expect(info(directory / "root/hidden")?.mode == FileKind.directory | 0o755)
        #expect(info(directory / "root/fresh")?.mode == FileKind.directory | 0o755)
    }

    @Test func zerosBecomeHoles() throws {
        var tar = TarBuilder()
        tar.file("log", [UInt8](repeating: 0, count: 1 << 20) + [1] + [UInt8](repeating: 0, count: 1 << 20))
        tar.file("zero", [UInt8](repeating: 0, count: 300_000))
        try unpack(tar)
        #expect(contents(directory / "root/log")?.count == (2 << 20) + 1)
        #expect(contents(directory / "root/log")?[1 << 20] == 1)
        #expect(try #require(info(directory / "root/log")).allocated < 1 << 20)
        #expect(contents(directory / "root/zero") == [UInt8](repeating: 0, count: 300_000))
    }

    // MARK: hostile archives

    @Test func dotsStopAtTheTop() throws {
        var tar = TarBuilder()
        tar.file("../escape", "1")
        tar.file("/absolute", "2")
        tar.file("a/../../../b", "3")
        tar.file("./c/./d", "4")
        tar.hardLink("link", "../../../../escape")
        try unpack(tar)
        #expect(names(directory / "root") == ["absolute", "b", "c", "c/d", "escape", "link"])
        #expect(names(directory.path).filter { !$0.hasPrefix("root") } == [])
    }

    @Test func symlinksCannotLeadOut() throws {
        write(Array("outside".utf8), to: directory / "victim")
        for target in [directory.path, "..", "../../..", "/", "/../..", "/proc/self/cwd"] {
            var tar = TarBuilder()
            tar.symlink("out", target)
            tar.file("out/victim", "overwritten")
            tar.file("out/new", "new")
            tar.whiteout("out/.wh.victim")
            tar.directory("out/etc/", mode: 0o777)
            try unpack(tar, into: "jail/\(TestSHA256.digest(Array(target.utf8)))")
            #expect(text(directory / "victim") == "outside")
        }
        #expect(names(directory.path).filter { !$0.hasPrefix("jail") } == ["victim"])
        #expect(names(directory / "jail").filter { !$0.hasPrefix("sha256:") } == [])
    }

    @Test func symlinkAsTheLastComponentIsReplacedNotFollowed() throws {
        write(Array("outside".utf8), to: directory / "victim")
        chmod(directory / "victim", 0o600)
        var tar = TarBuilder()
        tar.symlink("f", directory / "victim")
        tar.file("f", "mine", mode: 0o777)
        tar.symlink("g", directory / "victim")
        tar.header("g", type: "5", mode: 0o777)
        try unpack(tar)
        #expect(text(directory / "victim") == "outside")
        #expect(info(directory / "victim")?.mode == FileKind.regular | 0o600)
        #expect(text(directory / "root/f") == "mine")
    }

    @Test func hardLinksCannotReachOutside() throws {
        write(Array("secret".utf8), to: directory / "victim")
        for target in ["../victim", directory / "victim", "/../victim"] {
            var tar = TarBuilder()
            tar.hardLink("h", target)
            #expect(message(tar).contains("is not in the layer"), "\(target)")
        }
        var through = TarBuilder()
        through.symlink("out", directory.path)
        through.hardLink("h", "out/victim")
        #expect(message(through).contains("is not in the layer"))
        // A hard link to a symbolic link is a second name of the link.
        var tar = TarBuilder()
        tar.symlink("s", directory / "victim")
        tar.hardLink("h", "s")
        tar.file("h", "mine")
        try unpack(tar)
        #expect(text(directory / "victim") == "secret")
    }

    @Test func hardLinkToADirectoryIsRefused() {
        var tar = TarBuilder()
        tar.directory("d/")
        tar.hardLink("h", "d")
        #expect(message(tar).contains("hard link \"h\" to a directory"))
        var root = TarBuilder()
        root.hardLink("h", "/")
        #expect(message(root).contains("to the root directory"))
    }

    @Test func hardLinkOntoItselfKeepsTheFile() throws {
        var tar = TarBuilder()
        tar.file("f", "data")
        tar.hardLink("f", "f")
        try unpack(tar)
        #expect(text(directory / "root/f") == "data")
    }

    @Test func hardLinkInPlaceOfItsTargetsDirectory() {
        var tar = TarBuilder()
        tar.file("d/f", "data")
        tar.hardLink("d", "d/f")
        // Its target goes with the directory: an error, no crash, nothing outside.
        #expect(message(tar) != "accepted")
    }

    @Test func linkLoopsEnd() {
        var tar = TarBuilder()
        tar.symlink("a", "b")
        tar.symlink("b", "a")
        tar.file("a/x", "")
        #expect(message(tar).contains("too many levels of symbolic links"))
        var growing = TarBuilder()
        growing.symlink("s", String(repeating: "s/", count: 45))
        growing.file("s/x", "")
        #expect(message(growing) != "accepted")
    }

    @Test func depthIsBounded() {
        var tar = TarBuilder()
        tar.pax([("path", String(repeating: "d/", count: 1000) + "f")])
        tar.file("x", "")
        #expect(message(tar).contains("nested deeper than"))
    }

    @Test func filesAreNoDirectories() {
        var tar = TarBuilder()
        tar.file("f", "")
        tar.file("f/x", "")
        #expect(message(tar).contains("\"f\" is not a directory"))
    }

    @Test func oddWhiteoutsAreRefused() {
        for name in [".wh.", ".wh..", ".wh..."] {
            var tar = TarBuilder()
            tar.whiteout(name)
            #expect(message(tar).contains("without a name"), "\(name)")
        }
    }

    @Test func bombsAreStopped() {
        var limits = LayerLimits()
        limits.bytes = 100_000
        var tar = TarBuilder()
        tar.file("zeros", [UInt8](repeating: 0, count: 200_000))
        #expect(message(tar, limits: limits).contains("unpacks to more than the limit of 100000 bytes"))
        limits = LayerLimits()
        limits.entries = 5
        var many = TarBuilder()
        for index in 0..<10 { many.file("\(index)", "") }
        #expect(message(many, limits: limits).contains("more than the limit of 5 entries"))
        limits = LayerLimits()
        limits.freeBytes = .max
        var big = TarBuilder()
        big.file("big", [UInt8](repeating: 7, count: 17 << 20))
        #expect(message(big, limits: limits).contains("no space left on device"))
    }
}
