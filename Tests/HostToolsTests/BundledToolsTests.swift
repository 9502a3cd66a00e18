import Linux
import Testing

@testable import HostTools

@Suite struct BundledToolsTests {
    private let own = "/d/data/cni:/d/data/current/bin"

    @Test func theHostsToolsComeFirst() {
        let path = BundledTools.searchPath(dataDirectory: "/d", inherited: "/bin:/sbin", isPreferred: false)
        #expect(path == own + ":/bin:/sbin:/d/data/current/bin/aux")
    }

    @Test func unlessTheOwnArePreferred() {
        let path = BundledTools.searchPath(dataDirectory: "/d", inherited: "/bin", isPreferred: true)
        #expect(path == own + ":/d/data/current/bin/aux:/bin")
    }

    @Test func anEarlierStartsPathDoesNotGrow() {
        let once = BundledTools.searchPath(dataDirectory: "/d", inherited: "/bin", isPreferred: true)
        #expect(BundledTools.searchPath(dataDirectory: "/d", inherited: once, isPreferred: true) == once)
        let other = BundledTools.searchPath(dataDirectory: "/d", inherited: once, isPreferred: false)
        #expect(other == own + ":/bin:/d/data/current/bin/aux")
    }

    @Test(arguments: [nil, ""]) func withoutAPathThereIsTheUsualOne(_ inherited: String?) {
        let path = BundledTools.searchPath(dataDirectory: "/d", inherited: inherited, isPreferred: false)
        #expect(path.contains(":/usr/sbin:"))
    }

    @Test func linksLeadToTheProgramThatRuns() throws {
        let data = "/tmp/k3s-bundled-test.\(getpid())"
        defer { try? Directories.removeTree(data) }
        for program in ["/usr/local/bin/k3s", "/opt/k3s"] {
            try BundledTools.install(dataDirectory: data, program: program)
            for name in HostTool.names {
                #expect(try Files.readLink("\(data)/data/current/bin/aux/\(name)") == program)
            }
            #expect(try Files.readLink("\(data)/data/current/bin/kubectl") == program)
        }
    }
}
