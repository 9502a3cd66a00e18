import Linux
import Testing

@testable import HostTools

@Suite struct FindmntTests {
    private static let table = """
        20 1 254:0 / / rw,relatime - ext4 /dev/vda rw
        21 20 0:21 / /proc rw - proc proc rw
        22 20 0:30 / /a rw shared:5 - tmpfs none rw,size=4k
        23 22 0:31 / /a/b\\040c ro - tmpfs x rw
        24 20 0:30 /sub /c rw master:5 - tmpfs none rw,size=4k

        """

    /// What the tool prints for a table.
    static func output(_ arguments: String, _ table: String) throws -> (text: String, code: Int32) {
        let folder = "/tmp/k3s-findmnt-test.\(getpid()).\(UInt64.random(in: 0 ... .max))"
        try Directories.make(folder)
        defer { try? Directories.removeTree(folder) }
        try Files.write(folder + "/table", Array(table.utf8))
        let file = try FileDescriptor.open(folder + "/out", O_RDWR | O_CREAT, mode: 0o600)
        let words = ["-F", folder + "/table"] + arguments.split(separator: " ").map(String.init)
        let call = ToolCall(name: "findmnt", arguments: words, output: file.raw, errors: file.raw)
        let code = Findmnt.run(call)
        call.flush()
        return (try Files.readString(folder + "/out"), code)
    }

    @Test func aTreeOfWhatIsMountedInWhat() throws {
        #expect(
            try Self.output("-a -n -o TARGET", Self.table).text == """
                /
                |-/proc
                |-/a
                | `-/a/b c
                `-/c

                """)
    }

    @Test func onePartOfAFileSystem() throws {
        #expect(try Self.output("-n -o SOURCE -M /c", Self.table).text == "none[/sub]\n")
        #expect(try Self.output("-n -v -o SOURCE -M /c", Self.table).text == "none\n")
    }

    @Test func nothingFoundIsAFailure() throws {
        let result = try Self.output("-S nosuch", Self.table)
        #expect(result.text == "" && result.code == 1)
    }

    @Test func rawTextHasNoBlanksInside() throws {
        #expect(try Self.output("-r -n -o TARGET -t tmpfs", Self.table).text == "/a\n/a/b\\x20c\n/c\n")
    }

    @Test func jsonHasChildren() throws {
        let text = try Self.output("-J -o TARGET -R /a", Self.table).text
        #expect(text.contains("\"children\": [") && text.contains("\"/a/b c\""))
    }

    /// A table of somebody else's may lead in circles, by parents or by places.
    @Test(arguments: [
        "1 2 0:1 / / rw - a a rw\n2 1 0:1 / / rw - a a rw\n3 2 0:1 / / rw - a a rw\n",
        "1 1 0:1 / / rw - a a rw\n1 1 0:1 / / rw - a a rw\n", "5 6 0:1 / /x rw - a a rw\n6 5 0:1 / /x rw - a a rw\n",
        "\n- - -\n", "9223372036854775807 -1 :: / \\777 rw - a a rw\n",
    ])
    func circlesEnd(_ table: String) throws {
        for arguments in ["-a", "-U -a", "-R /x", "-J", "-l -U"] { _ = try Self.output(arguments, table) }
    }

    @Test(arguments: [(0, "0"), (1, "1B"), (1023, "1023B"), (1024, "1K"), (1536, "1.5K"), (1 << 40, "1T")])
    func sizes(_ bytes: UInt64, _ text: String) { #expect(FindmntPrinter.human(bytes) == text) }
}
