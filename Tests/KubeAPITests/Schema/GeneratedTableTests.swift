import Glibc
import Testing

/// What is committed is what the generator makes.
@Suite struct GeneratedTableTests {
    private static let root = String(#filePath.dropLast("/Tests/KubeAPITests/Schema/GeneratedTableTests.swift".count))

    private static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    @Test(
        .enabled(
            if: exists(root + "/.build/gen-schema/usr/share/gocode/src") && exists("/usr/bin/python3"),
            "the Go sources are not there (make generate fetches them), or no python3"))
    func committedTableIsWhatTheGeneratorMakes() throws {
        let arguments = ["/bin/sh", Self.root + "/hack/gen-schema/generate.sh", "--check"]
        var argv = arguments.map { strdup($0) } + [nil]
        defer { for argument in argv { free(argument) } }
        var pid = pid_t()
        let failed = posix_spawn(&pid, "/bin/sh", nil, nil, &argv, environ)
        try #require(failed == 0)
        var status: Int32 = 0
        try #require(waitpid(pid, &status, 0) == pid)
        #expect(status == 0, "run make generate, and commit what it changes")
    }
}
