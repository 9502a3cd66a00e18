import Testing

@testable import Kubectl

@Suite struct OptionsTests {
    private let rows =
        FlagRow.table("f|filename|l||\nw|watch|b||\n|dry-run|o|unchanged|\n|tail|s|-1|\n") + Kubectl.global

    @Test func flagsMayBeAnywhereAndAttached() throws {
        let options = try Options(
            ["pods", "-nkube-system", "-wf", "a,b", "--dry-run", "x", "--tail=5"], rows: rows, command: "get")
        #expect(options.arguments == ["pods", "x"])
        #expect(options.string("namespace") == "kube-system")
        #expect(options.bool("watch"))
        #expect(options.list("filename") == ["a", "b"])
        #expect(options.given("dry-run") == "unchanged")
        #expect(try options.int("tail") == 5)
    }

    @Test func twoDashesEndTheFlags() throws {
        let options = try Options(["p", "--", "ls", "-l"], rows: rows, command: "exec")
        #expect(options.arguments == ["p", "ls", "-l"])
        #expect(options.dash == 1)
    }

    @Test func unknownFlagsAreNamed() {
        #expect(throws: CommandError.self) { try Options(["--nonsense"], rows: rows, command: "get") }
        let error = #expect(throws: CommandError.self) { try Options(["-z"], rows: rows, command: "get") }
        #expect(error?.description == "unknown shorthand flag: 'z' in -z\nSee 'kubectl get --help' for usage.")
    }
}
