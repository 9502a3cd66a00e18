import Testing

@testable import HostTools

@Suite struct CommandOptionsTests {
    private let known = "s,summarize B,block-size= b,bytes time? max-depth= n,net?"

    private func parse(_ words: String, stops: Bool = false) throws -> CommandOptions {
        try CommandOptions(words.split(separator: " ").map(String.init), known: known, stopsAtOperand: stops)
    }

    @Test func lettersStandTogether() throws {
        let options = try parse("-sbB 5 x -B7 y")
        #expect(options.given.map(\.name) == ["s", "b", "B", "B"])
        #expect(options.given.compactMap(\.value) == ["5", "7"])
        #expect(options.operands == ["x", "y"])
    }

    @Test func longNamesMayBeCutShort() throws {
        let options = try parse("--sum --bl=5 --block-size 6 --time --time=x --net=/a")
        #expect(options.given.map(\.name) == ["s", "B", "B", "time", "time", "n"])
        #expect(options.given.map(\.value) == [nil, "5", "6", nil, "x", "/a"])
    }

    @Test func anOptionalValueIsInTheSameWord() throws {
        let options = try parse("-n /a -n/b")
        #expect(options.given.map(\.value) == [nil, "/b"])
        #expect(options.operands == ["/a"])
    }

    @Test func operandsEndOptionsWhereTheyAreAProgram() throws {
        let options = try parse("-s sh -b", stops: true)
        #expect(options.given.map(\.name) == ["s"] && options.operands == ["sh", "-b"])
        #expect(try parse("-s -- -b").operands == ["-b"])
    }

    @Test(arguments: [
        ("--b", "option '--b' is ambiguous; possibilities: '--block-size' '--bytes'"),
        ("--nosuch", "unrecognized option '--nosuch'"), ("-Z", "invalid option -- 'Z'"),
        ("-B", "option requires an argument -- 'B'"), ("--max-depth", "option '--max-depth' requires an argument"),
        ("--bytes=1", "option '--bytes' doesn't allow an argument"),
    ])
    func errorsAreGetoptsOwn(_ words: String, _ text: String) {
        #expect(throws: CommandOptions.Failure(text)) { try parse(words) }
    }
}
