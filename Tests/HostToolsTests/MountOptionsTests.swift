import Linux
import Testing

@testable import HostTools

@Suite struct MountOptionsTests {
    private func options(_ text: String) -> MountOptions {
        var options = MountOptions()
        options.add(text)
        return options
    }

    @Test func flagsAreTakenOut() {
        let parsed = options("ro,nosuid,noexec,size=1m,mode=700")
        #expect(parsed.flags == UInt(MS_RDONLY) | UInt(MS_NOSUID) | UInt(MS_NOEXEC))
        #expect(parsed.data == ["size=1m", "mode=700"])
    }

    @Test func theLastWordCounts() {
        #expect(options("ro,rw").flags == 0)
        #expect(options("ro,rw").explicitlyWritable)
        #expect(options("noexec,exec,nodev").flags == UInt(MS_NODEV))
    }

    @Test func whatOnlyMountKnowsStaysBehind() {
        let parsed = options("loop,offset=4096,nofail,x-systemd.automount,user")
        #expect(parsed.data == [] && parsed.has("loop") && parsed.value("offset") == "4096")
        // "user" stands for these.
        #expect(parsed.flags == UInt(MS_NOSUID) | UInt(MS_NODEV) | UInt(MS_NOEXEC))
    }

    @Test func propagationIsACallOfItsOwn() {
        let parsed = options("rslave,bind")
        #expect(parsed.propagation == [UInt(MS_SLAVE) | UInt(MS_REC)] && parsed.isBind)
        #expect(options("private").isPropagationOnly)
        #expect(!options("private,ro").isPropagationOnly)
        #expect(MountOptions.propagation("rbogus") == nil && MountOptions.propagation("") == nil)
    }

    @Test func commasInQuotesDoNotSeparate() {
        #expect(MountOptions.split("a,context=\"b,c\",,d") == ["a", "context=\"b,c\"", "d"])
        #expect(MountOptions.split("\"a,b") == ["\"a,b"])
        #expect(MountOptions.split("") == [])
    }

    @Test func optionsOfMountAndFileSystemAreOneList() {
        #expect(MountOptions.merged(["rw", "relatime"], ["rw", "size=4k"]) == ["rw", "relatime", "size=4k"])
        #expect(MountOptions.merged(["ro", "nosuid"], ["rw"]) == ["ro", "nosuid"])
        #expect(MountOptions.merged(["rw", "nosuid"], ["ro"]) == ["ro", "nosuid"])
        #expect(MountOptions.merged(["size=1m"], []) == ["size=1m"])
    }

    @Test func linesOfFstab() {
        let entries = FstabEntry.parse("# no\n/dev/sda1\t/mnt\\040x ext4 ro,noauto 0 1\nbad line\nnone /t tmpfs\n\n")
        #expect(entries.map(\.target) == ["/mnt x", "/t"])
        #expect(entries.map(\.options) == ["ro,noauto", "defaults"])
    }

    @Test func typesMayBeRuledOut() {
        #expect(TypeFilter("ext4,xfs").matches("xfs") && !TypeFilter("ext4").matches("tmpfs"))
        #expect(!TypeFilter("noproc,sysfs").matches("sysfs") && TypeFilter("noproc").matches("ext4"))
        #expect(TypeFilter("fuse.").matches("fuse.sshfs"))
    }
}
