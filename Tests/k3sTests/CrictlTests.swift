import Codecs
import GRPC
import Linux
import Testing

@testable import k3s

@Suite struct CrictlTests {
    @Test(arguments: [
        (0, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (179, "2 minutes"),
        (3600, "About an hour"), (7200, "2 hours"), (47 * 3600, "47 hours"), (48 * 3600, "2 days"),
        (14 * 86400, "2 weeks"), (70 * 86400, "2 months"), (800 * 86400, "2 years"), (-5, "Less than a second"),
    ])
    func agesAreInDockersWords(_ seconds: Int, _ text: String) {
        #expect(CrictlText.duration(seconds: Int64(seconds)) == text)
    }

    @Test func sizesHaveSoManyDigits() {
        #expect(CrictlText.size(0) == "0B" && CrictlText.size(999) == "999B" && CrictlText.size(1000) == "1kB")
        #expect(CrictlText.size(1_234_567) == "1.235MB" && CrictlText.size(1_234_567, digits: 3) == "1.23MB")
        #expect(
            CrictlText.size(12_345_678, digits: 3) == "12.3MB" && CrictlText.size(123_456_789, digits: 3) == "123MB")
        #expect(CrictlText.size(2_500_000_000) == "2.5GB" && CrictlText.size(999_600, digits: 3) == "1e+03kB")
        #expect(CrictlText.twoPlaces(0) == "0.00" && CrictlText.twoPlaces(12.345) == "12.35")
    }

    @Test func namesAndTagsOfImages() {
        let pairs = CrictlText.tags(["docker.io/library/a:1", "localhost:5000/b:x"], repository: "c")
        #expect(pairs.map(\.name) == ["docker.io/library/a", "localhost:5000/b"] && pairs.map(\.tag) == ["1", "x"])
        #expect(CrictlText.tags([], repository: "c").first?.tag == "<none>")
        #expect(CrictlText.repository(digests: ["a@sha256:1"]) == ("a", "sha256:1"))
        #expect(CrictlText.repository(digests: []) == ("<none>", "<none>"))
        #expect(CrictlText.short("sha256:0123456789abcdef") == "0123456789abc")
    }

    @Test func whatTheRuntimeSaysStandsBesideTheStatus() {
        let merged = CrictlInspect.merged(
            ["b": 1, "a": 2], ["info": "{\"pid\":7}", "version": "\"v1\"", "list": "[1]"])
        #expect(
            String(decoding: merged.encode(), as: UTF8.self)
                == #"{"info":{"pid":7},"list":"[1]","status":{"a":2,"b":1},"version":"v1"}"#)
    }

    @Test func momentsHaveNoZerosAtTheirEnd() {
        #expect(Timestamp(nanoseconds: 1_500_000_000).trimmedNano == "1970-01-01T00:00:01.5Z")
        #expect(Timestamp(nanoseconds: 1_000_000_000).trimmedNano == "1970-01-01T00:00:01Z")
    }

    @Test func portsAreLocalAndRemote() throws {
        #expect(try CrictlStreams.ports("80") == (80, 80) && CrictlStreams.ports("8080:80") == (8080, 80))
        #expect(try CrictlStreams.ports(":80") == (0, 80))
        for text in ["", "x", "0", "1:2:3", "x:80", "70000", "80:"] {
            #expect(throws: UsageError.self) { _ = try CrictlStreams.ports(text) }
        }
    }

    @Test func theLastLinesOfALogAreFoundFromItsEnd() throws {
        let path = "/tmp/crictl-log-\(getpid())"
        defer { unlink(path) }
        func start(_ text: String, _ lines: Int) throws -> Int64 {
            try Files.write(path, Array(text.utf8))
            return try CrictlLogs.start(of: try FileDescriptor.open(path, O_RDONLY), lines: lines)
        }
        #expect(try start("one\ntwo\nthree\n", 1) == 8 && start("one\ntwo\nthree\n", 2) == 4)
        #expect(try start("one\ntwo\nthree\n", 3) == 0 && start("one\ntwo\nthree\n", 9) == 0)
        #expect(try start("one\ntwo", 1) == 4 && start("one\n", 0) == 4 && start("", 5) == 0)
        let long = String(repeating: "x", count: 70_000)
        #expect(try start("a\n\(long)\nb\n", 2) == 2)
    }

    @Test func verbsAreCrictls() throws {
        for name in [
            "attach", "create", "exec", "images", "imagefsinfo", "info", "inspect", "inspecti", "inspectp", "logs",
            "pods",
            "port-forward", "ps", "pull", "rm", "rmi", "rmp", "run", "runp", "start", "stats", "statsp", "stop",
            "stopp",
            "update", "version", "runtime-config",
        ] {
            let verb = try #require(CrictlCommand.verbs.first { $0.names.contains(name) }, "\(name)")
            #expect(verb.help.contains("crictl \(verb.names[0])"))
            #expect(Set(verb.flags.map(\.name)).count == verb.flags.count)
            let letters = verb.flags.compactMap(\.alias)
            #expect(Set(letters).count == letters.count, "\(name)")
        }
    }

    @Test func flagsOfOneLetterMayStandTogether() throws {
        let exec = try #require(CrictlCommand.verbs.first { $0.names.contains("exec") })
        var parser = FlagParser(flags: exec.flags)
        (parser.clusters, parser.argumentsEndFlags) = (true, true)
        let values = try parser.parse(["-it", "abc", "ls", "-l", "--name", "x"], environment: { _ in nil })
        #expect(values.bool("interactive") && values.bool("tty") && !values.isSet("latest") && !values.isSet("name"))
        #expect(values.arguments == ["abc", "ls", "-l", "--name", "x"])
        let last = try parser.parse(["-qn", "3", "ls"], environment: { _ in nil })
        #expect(last.bool("quiet") && last.string("last") == "3" && last.arguments == ["ls"])
        #expect(throws: UsageError.self) { _ = try parser.parse(["-iz", "a"], environment: { _ in nil }) }
        parser.clusters = false
        #expect(throws: UsageError.self) { _ = try parser.parse(["-it", "a"], environment: { _ in nil }) }
    }
}
