import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct StaticTokenTests {
    private func read(_ text: String) throws(APIError) -> StaticTokens {
        try StaticTokens(Array(text.utf8), path: "tokens.csv")
    }

    @Test func aLineIsTokenUserUIDAndGroups() throws {
        let tokens = try read("t1,jane,1\r\n\nt2,boss,2,\"dev,ops\"\n\"t\"\"3\",x,3,one\n")
        #expect(tokens.authenticate("t1") == UserInfo("jane", uid: "1"))
        #expect(tokens.authenticate("t2") == UserInfo("boss", uid: "2", groups: ["dev", "ops"]))
        #expect(tokens.authenticate("t\"3") == UserInfo("x", uid: "3", groups: ["one"]))
        for unknown in ["", "t", "t1 ", "T1", "jane"] { #expect(tokens.authenticate(unknown) == nil) }
        #expect(tokens.warnings.isEmpty)
    }

    @Test func emptyAndRepeatedTokensAreWarnings() throws {
        let tokens = try read(",nobody,0\nt1,jane,1\nt1,john,2\n")
        #expect(tokens.authenticate("") == nil)
        #expect(tokens.authenticate("t1")?.name == "john", "the last one counts, as upstream")
        #expect(
            tokens.warnings == ["tokens.csv: line 1: empty token", "tokens.csv: line 3: the token was there before"])
    }

    @Test(arguments: [
        ("t1,jane", "line 1: expected at least 3 columns (token, user name, user uid), found 2"),
        ("t1,jane,1\nt2,\"x,2", "line 2: a quote is out of place, or the closing one is missing"),
        ("t1,ja\"ne,1", "line 1: a quote is out of place, or the closing one is missing"),
        ("t1,\"ja\"ne,1", "line 1: a quote is out of place, or the closing one is missing"),
    ])
    func whatIsWrongIsNamed(_ text: String, _ message: String) {
        let error = #expect(throws: APIError.self) { try read(text) }
        #expect(error?.message == "tokens.csv: " + message)
    }
}
