import Testing

@testable import Linux

@Suite struct NoCgroupsTests {
    @Test func whatIsMadeIsThereUntilItIsRemoved() throws {
        try withTemporaryDirectory { directory in
            let cgroups = NoCgroups(root: directory, problem: "none")
            try cgroups.create("kubepods/burstable/pod1/c")
            #expect(cgroups.exists("kubepods/burstable/pod1"))
            #expect(try cgroups.children("kubepods/burstable") == ["pod1"])
            #expect(try cgroups.children("kubepods/other") == [])
            cgroups.apply(CgroupLimits(), to: "kubepods")
            try cgroups.remove("kubepods/burstable/pod1")
            #expect(!cgroups.exists("kubepods/burstable/pod1"))
            try cgroups.remove("kubepods/burstable/pod1")
            #expect(cgroups.joinFiles("kubepods") == [] && cgroups.cloneDirectory("kubepods") == nil)
        }
    }

    @Test func aProcessTreeIsCounted() {
        let stats = ProcessTree.stats(of: [getpid()])
        #expect(stats.processes >= 1)
        #expect(stats.memoryWorkingSet > 1 << 20)
        #expect(ProcessTree.stats(of: [0, -1, .max]).processes == 0)
    }

    @Test func namesOfProcessesMayContainAnything() throws {
        let times = try #require(
            ProcessTree.Times("12 (a) b (c)) S 1 12 12 0 -1 4194560 100 7 3 8 50 20 5 6 20 0 1 0 99 1000 200"))
        #expect(times.user == 55 && times.system == 26 && times.minorFaults == 100 && times.majorFaults == 3)
        #expect(ProcessTree.Times("12 (a) S 1 2") == nil)
        #expect(ProcessTree.Times("") == nil)
    }
}
