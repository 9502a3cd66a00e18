import Linux
import Testing

struct ProgramPagesTests {
    static let smaps = """
        00200000-005a1000 r--p 00000000 fe:00 8650772                            /opt/k3s 2
        Size:               3716 kB
        Rss:                3500 kB
        Anonymous:             0 kB
        VmFlags: rd mr mw me
        005a1000-01567000 r-xp 003a0000 fe:00 8650772                            /opt/k3s 2
        Rss:               12000 kB
        Anonymous:             0 kB
        01567000-01600000 r--p 01366000 fe:00 8650772                            /opt/k3s 2
        Rss:                 612 kB
        Anonymous:           612 kB
        01600000-01640000 rw-p 013fe000 fe:00 8650772                            /opt/k3s 2
        Anonymous:             0 kB
        01640000-01700000 r--p 00000000 00:00 0
        Anonymous:             0 kB
        7f0000000000-7f0000200000 r--s 00000000 fe:00 12                         /var/lib/rancher/k3s/server/db
        Anonymous:             0 kB
        """

    @Test func onlyWhatTheFileHasInFull() {
        let ranges = ProgramPages.ranges(smaps: Self.smaps, program: "/opt/k3s 2")
        #expect(ranges == [0x200000..<0x5a1000, 0x5a1000..<0x1567000])
        #expect(ProgramPages.ranges(smaps: Self.smaps, program: "/opt/k3s") == [])
        #expect(ProgramPages.ranges(smaps: "nonsense\n12-34\n-- r-xp\nAnonymous:\n", program: "/opt/k3s") == [])
    }

    @Test func theProgramGoesOnWithoutItsPages() throws {
        let before = try Proc.memory()
        try ProgramPages.release()
        let after = try Proc.memory()
        // Far below: the test program maps tens of megabytes, and this test needs few of them.
        #expect(after.resident < before.resident)
        #expect(after.anonymous >= before.anonymous - (4 << 20))
    }
}
