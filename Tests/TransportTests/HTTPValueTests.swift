import Testing

@testable import Transport

@Suite struct HTTPTargetTests {
    @Test(arguments: [
        ("/api/v1/pods", "/api/v1/pods"), ("/", "/"), ("/a//b///c/", "/a/b/c/"), ("/a/./b/../c", "/a/c"),
        ("/a/b/..", "/a/"), ("/%61%2Fb", "/a/b"), ("/a%20b", "/a b"), ("/caf%C3%A9", "/caf\u{E9}"),
        ("http://host:1/x/y?z", "/x/y"), ("HTTPS://host", "/"), ("*", "*"), ("/a.b/..c", "/a.b/..c"),
        ("/x#fragment", "/x"), ("/healthz?verbose", "/healthz"),
    ])
    func pathIsDecodedAndResolved(_ target: String, _ path: String) throws {
        #expect(try HTTPTarget(target).path == path)
    }

    @Test(arguments: [
        "api", "", "/../x", "/a/../../x", "/%2e%2e/x", "/%zz", "/%4", "/%ff", "/a%00b", "/a%0d%0ab", "ftp://x/y",
    ])
    func badTargetIsRefused(_ target: String) {
        #expect(throws: HTTPTargetError.self) { try HTTPTarget(target) }
    }

    @Test func rawPathAndQueryAreKept() throws {
        let target = try HTTPTarget("/a%2Fb//c?x=%20&y")
        #expect(target.rawPath == "/a%2Fb//c" && target.rawQuery == "x=%20&y")
    }
}

@Suite struct HTTPQueryTests {
    @Test func orderAndRepetitionAreKept() {
        let query = HTTPQuery(parsing: "command=ls&command=-l&a=b%3Dc+d&flag&=x&bad=%zz")
        #expect(query.values("command") == ["ls", "-l"])
        #expect(query["a"] == "b=c d" && query["flag"] == "" && query[""] == "x")
        #expect(!query.contains("bad"))
    }

    @Test func encodingAndParsingAreInverse() {
        let query = HTTPQuery([("labelSelector", "a in (b,c),d!=e"), ("x", "100% & more/\u{E9}"), ("", "")])
        #expect(HTTPQuery(parsing: query.encoded[...]) == query)
    }
}

@Suite struct HTTPHeaderFieldsTests {
    @Test func namesIgnoreCase() {
        var fields: HTTPHeaderFields = ["Content-Type": "a", "X": "1", "x": "2"]
        #expect(fields["content-type"] == "a" && fields.values("X") == ["1", "2"])
        fields["X"] = "3"
        #expect(fields.values("x") == ["3"])
        fields["x"] = nil
        #expect(!fields.contains("X") && fields.count == 1)
    }

    @Test func listMembersAreSplitAndTrimmed() {
        let fields: HTTPHeaderFields = ["Connection": "keep-alive,  Upgrade ,", "connection": "x"]
        #expect(fields.listMembers("Connection") == ["keep-alive", "Upgrade", "x"])
        #expect(fields.hasMember("connection", "upgrade") && !fields.hasMember("connection", "up"))
    }

    @Test func valueCannotStartAnotherField() {
        #expect(singleLine("a\r\nSet-Cookie: b\u{0}\tc") == "a  Set-Cookie: b \tc")
    }
}

@Suite struct HTTPDateTests {
    @Test(arguments: [
        (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"), (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"), (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
        (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
    ])
    func dateText(_ seconds: Int64, _ text: String) {
        #expect(httpDateText(seconds) == text)
    }
}

@Suite struct HTTPURLTests {
    @Test func partsOfAURL() throws {
        let url = try HTTPURL("https://[fd00::1]:6443/api?x=1#f")
        #expect(url == HTTPURL(isTLS: true, host: "fd00::1", port: 6443, target: "/api?x=1"))
        #expect(url.hostField == "[fd00::1]:6443" && url.description == "https://[fd00::1]:6443/api?x=1")
        #expect(try HTTPURL("http://host").target == "/" && HTTPURL("ws://host").hostField == "host")
        #expect(try HTTPURL("http://user:secret@host?q").target == "/?q")
    }

    @Test(arguments: ["host/x", "ftp://x", "http://", "http://h:0", "http://h:99999", "http://[::1", "http://h/a b"])
    func badURLIsRefused(_ text: String) {
        #expect(throws: HTTPURLError.self) { try HTTPURL(text) }
    }
}
