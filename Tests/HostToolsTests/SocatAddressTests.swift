import Linux
import Testing

@testable import HostTools

@Suite struct SocatAddressTests {
    private func one(_ text: String) throws -> SocatAddress {
        let addresses = try SocatAddress.parse(text)
        #expect(addresses.count == 1)
        return try #require(addresses.first).checked()
    }

    @Test(arguments: [
        ("TCP4-LISTEN:80,fork,reuseaddr", "TCP4-LISTEN", ["80"]), ("tcp-l:80", "TCP-LISTEN", ["80"]),
        ("TCP:localhost:80", "TCP", ["localhost", "80"]), ("tcp-connect:[::1]:80", "TCP", ["[::1]", "80"]),
        ("UDP4-RECVFROM:53,fork", "UDP4-RECVFROM", ["53"]), ("UNIX:/a/b", "UNIX-CLIENT", ["/a/b"]),
        ("-", "STDIO", []), ("/tmp/x:y", "GOPEN", ["/tmp/x:y"]), ("3", "FD", ["3"]), ("FILE:a,append", "OPEN", ["a"]),
        ("EXEC:'sh -c \"a:b, c\"'", "EXEC", ["sh -c \"a:b, c\""]), ("SYSTEM:echo a\\,b", "SYSTEM", ["echo a,b"]),
    ])
    func types(_ text: String, _ type: String, _ parameters: [String]) throws {
        let address = try one(text)
        #expect(address.type == type && address.parameters == parameters)
    }

    @Test func optionsHaveOtherNames() throws {
        let address = try one("TCP-LISTEN:1,so-reuseaddr,perm=600,sp=5,range=10.0.0.0/8,backlog=010")
        #expect(address.options.map(\.name) == ["reuseaddr", "mode", "sourceport", "range", "backlog"])
        #expect(try address.mode("mode") == 0o600)
        #expect(try address.number("backlog") == 8)
        #expect(address.has("reuseaddr") && !address.has("fork"))
    }

    @Test func twoHalvesAreOneForEachWay() throws {
        let addresses = try SocatAddress.parse("OPEN:in!!CREATE:out")
        #expect(addresses.map(\.type) == ["OPEN", "CREATE"])
    }

    @Test(arguments: [
        "", "NOSUCH:1", "TCP", "TCP:a", "TCP:a:1:2", "STDIO:1", "TCP:[::1:80", "EXEC:'a", "EXEC:\"a", ",", ":", "!!",
        "TCP:a:1,nosuch", "TCP:a:1,crnl", "99999999999999999999", "TCP-LISTEN:1,max-children=x",
    ])
    func nonsenseIsAnError(_ text: String) {
        #expect(throws: SocatAddress.Failure.self) {
            for address in try SocatAddress.parse(text) {
                let checked = try address.checked()
                _ = try checked.number("max-children")
            }
        }
    }

    @Test(arguments: [
        ("cat -n", ["cat", "-n"]), (" a  b ", ["a", "b"]), ("a 'b c'\"d\"", ["a", "b cd"]), ("''", [""]),
    ])
    func wordsOfACommand(_ text: String, _ words: [String]) { #expect(SocatOpener.words(text) == words) }

    @Test func ranges() throws {
        let address = try #require(
            InternetAddress.resolve("10.1.2.3", "80", family: AF_INET, kind: 1, isPassive: false).first)
        #expect(address.isInside("10.0.0.0/8") == true && address.isInside("10.2.0.0/16") == false)
        #expect(address.isInside("10.1.0.0:255.255.0.0") == true && address.isInside("nonsense") == nil)
        #expect(address.hostForPrograms == "10.1.2.3" && address.port == 80)
        let six = try #require(
            InternetAddress.resolve("[fd00::1]", "1", family: AF_INET6, kind: 1, isPassive: false).first)
        #expect(six.hostForPrograms == "[fd00:0000:0000:0000:0000:0000:0000:0001]")
    }

    @Test func dumps() {
        let bytes = Array("hello\0w".utf8)[...]
        #expect(SocatTransfer.dumped(bytes, text: true, hex: false) == "hello.w")
        #expect(SocatTransfer.dumped(bytes, text: false, hex: true) == " 68 65 6c 6c 6f 00 77\n")
        #expect(
            SocatTransfer.dumped(bytes, text: true, hex: true)
                == " 68 65 6c 6c 6f 00 77" + String(repeating: " ", count: 29) + "hello.w\n--\n")
    }
}
