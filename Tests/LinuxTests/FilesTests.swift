import Linux
import Testing

@Suite struct FilesTests {
    @Test func errorNamesCallPathAndReason() {
        let error = #expect(throws: SysError.self) { try Files.read("/nonexistent/file") }
        #expect(error?.description == "open /nonexistent/file: no such file or directory")
        #expect(error?.code == ENOENT)
    }

    @Test func atomicWriteReplacesContentAndSetsMode() throws {
        try withTemporaryDirectory { directory in
            let path = directory + "/key"
            try Files.writeAtomically(path, "one", mode: 0o600)
            try Files.writeAtomically(path, "two", mode: 0o600)
            #expect(try Files.readString(path) == "two")
            #expect(try Files.status(path).st_mode & 0o7777 == 0o600)
            #expect(try Directories.list(directory).map(\.name) == ["key"])
        }
    }

    @Test func failedAtomicWriteLeavesNothingBehind() throws {
        try withTemporaryDirectory { directory in
            try Directories.make(directory + "/taken/child")
            #expect(throws: SysError.self) { try Files.writeAtomically(directory + "/taken", "x") }
            #expect(try Directories.list(directory).map(\.name) == ["taken"])
        }
    }

    @Test func readsProcFilesWhoseSizeIsZero() throws {
        #expect(try Files.readString("/proc/self/status").contains("Threads:"))
    }

    @Test func readRefusesMoreThanTheLimit() throws {
        try withTemporaryDirectory { directory in
            try Files.write(directory + "/big", [UInt8](repeating: 1, count: 1000))
            let error = #expect(throws: SysError.self) { try Files.read(directory + "/big", limit: 999) }
            #expect(error?.code == EFBIG)
            #expect(try Files.read(directory + "/big", limit: 1000).count == 1000)
            #expect(try Files.readIfPresent(directory + "/none") == nil)
        }
    }

    @Test func removeTreeDoesNotFollowLinks() throws {
        try withTemporaryDirectory { directory in
            try Directories.make(directory + "/outside")
            try Files.write(directory + "/outside/kept", [1])
            try Directories.make(directory + "/tree/a/b/c")
            try Files.write(directory + "/tree/a/file", [1])
            #expect(symlink(directory + "/outside", directory + "/tree/a/link") == 0)
            #expect(symlink("..", directory + "/tree/a/b/up") == 0)
            try Directories.removeTree(directory + "/tree")
            #expect(!Files.exists(directory + "/tree"))
            #expect(Files.exists(directory + "/outside/kept"))
            try Directories.removeTree(directory + "/tree")
        }
    }

    @Test func removeTreeOfALinkRemovesTheLink() throws {
        try withTemporaryDirectory { directory in
            try Directories.make(directory + "/target")
            #expect(symlink(directory + "/target", directory + "/link") == 0)
            try Directories.removeTree(directory + "/link")
            #expect(Files.exists(directory + "/target"))
            #expect(!Files.exists(directory + "/link"))
        }
    }

    @Test func makeIsIdempotentAndSaysWhatIsInTheWay() throws {
        try withTemporaryDirectory { directory in
            try Directories.make(directory + "/a/b", mode: 0o700)
            try Directories.make(directory + "/a/b", mode: 0o700)
            #expect(try Files.status(directory + "/a/b").st_mode & 0o777 == 0o700)
            try Files.write(directory + "/file", [])
            let error = #expect(throws: SysError.self) { try Directories.make(directory + "/file") }
            #expect(error?.code == ENOTDIR)
        }
    }

    @Test func openInRootConfinesLinks() throws {
        try withTemporaryDirectory { directory in
            try Directories.make(directory + "/root/etc")
            try Files.write(directory + "/root/etc/passwd", Array("inside".utf8))
            #expect(symlink("/etc/passwd", directory + "/root/absolute") == 0)
            #expect(symlink("../../../../../etc/passwd", directory + "/root/relative") == 0)
            let root = try FileDescriptor.open(directory + "/root", O_PATH | O_DIRECTORY)
            for name in ["absolute", "/relative", "../../etc/passwd"] {
                let fd = try FileDescriptor.open(inRoot: root, name, O_RDONLY)
                #expect(try Files.read(fd) == Array("inside".utf8))
            }
        }
    }

    @Test(arguments: [
        ("/a/../b", "/b"), ("../..", "/"), ("a//b/./c/", "/a/b/c"), ("/", "/"), ("", "/"),
    ])
    func pathsAreNormalized(_ input: String, _ output: String) {
        #expect(Path.normalized(input) == output)
    }

    @Test func parentAndLast() {
        #expect(Path.parent("/a/b") == "/a")
        #expect(Path.parent("/a") == "/")
        #expect(Path.parent("a") == ".")
        #expect(Path.last("/a/b") == "b")
        #expect(Path.join("/a/", "/b") == "/a/b")
    }
}
