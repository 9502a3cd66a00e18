import Testing

@testable import k3s

@Suite("FlagParser") struct FlagParserTests {
    let parser = FlagParser(flags: ServerFlags.all)
    func parse(_ arguments: String..., environment: [String: String] = [:]) throws -> FlagValues {
        try parser.parse(arguments, environment: { environment[$0] })
    }

    @Test func valuesComeBehindASpaceOrAnEqualsSign() throws {
        let values = try parse("--data-dir", "/x", "-t=secret", "--tls-san=a", "--tls-san", "b,c")
        #expect(values.string("data-dir") == "/x")
        #expect(values.string("token") == "secret")
        #expect(values.commaList("tls-san") == ["a", "b", "c"])
    }

    @Test func theCommandLineBeatsTheEnvironment() throws {
        let environment = ["K3S_DATA_DIR": "/env", "K3S_TOKEN": "t"]
        #expect(try parse("-d", "/line", environment: environment).string("data-dir") == "/line")
        #expect(try parse(environment: environment).string("data-dir") == "/env")
    }

    @Test func booleansNeedNoValue() throws {
        #expect(try parse("--disable-agent").bool("disable-agent"))
        #expect(try !parse("--disable-agent=false").bool("disable-agent"))
        #expect(try !parse().bool("disable-agent"))
    }

    @Test(arguments: [["--nope"], ["--data-dir"], ["--disable-agent=maybe"]])
    func whatIsWrongIsSaid(_ arguments: [String]) {
        #expect(throws: UsageError.self) { try parser.parse(arguments, environment: { _ in nil }) }
    }

    @Test func aDashDashEndsTheFlags() throws { #expect(try parse("--", "--nope").arguments == ["--nope"]) }
}
