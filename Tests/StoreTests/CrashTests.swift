import Glibc
import Testing

@testable import Store

/// `kill -9` and full disks.
@Suite(.serialized) struct CrashTests {
    /// A hundred times: a process writes with eight tasks until it is killed; nothing that it was told to be durable may
    /// be missing afterwards, and no revision may come twice. Every third time this process opens the store and looks;
    /// the other times the next writer finds it as the kill has left it.
    @Test func killedWriterLosesNothingAcknowledged() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/state.db"
        var story = Story()
        for round in 1...100 {
            try kill9(path, after: .random(in: 0..<40_000), &story)
            guard round % 3 == 1 else { continue }
            let store = try LogStore.sqlite(path: path)
            story.check(store)
            await store.close()
        }
        #expect(story.acknowledged > 1_000)
        #expect(story.deferred > 0)
    }

    /// Runs the writer, kills it that many microseconds after its first write, and reads what it told.
    private func kill9(_ path: String, after delay: UInt32, _ story: inout Story) throws {
        var pipe: [Int32] = [0, 0]
        #expect(Glibc.pipe(&pipe) == 0)
        for end in pipe { #expect(fcntl(end, F_SETFD, FD_CLOEXEC) == 0) }
        let writer = try spawn([try Self.writerPath(), "write", path], output: pipe[1])
        close(pipe[1])
        defer { close(pipe[0]) }
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        var killed = false
        while true {
            let count = read(pipe[0], &buffer, buffer.count)
            if count <= 0 { break }
            text += buffer[..<count]
            // "open" and a first write: the load is on.
            if !killed, text.count(where: { $0 == UInt8(ascii: "\n") }) > 1 {
                usleep(delay)
                #expect(kill(writer, SIGKILL) == 0)
                killed = true
            }
        }
        #expect(wait(for: writer) == nil)
        for line in text.split(separator: UInt8(ascii: "\n")) { story.take(String(decoding: line, as: UTF8.self)) }
    }

    /// Beside the test bundle, where the build puts it.
    private static func writerPath() throws -> String {
        var buffer = [CChar](repeating: 0, count: 4_096)
        for candidate in ["/proc/self/exe"] + CommandLine.arguments {
            let count = readlink(candidate, &buffer, buffer.count)
            let link = buffer.prefix(max(0, count)).map { UInt8(bitPattern: $0) }
            let file = count > 0 ? String(decoding: link, as: UTF8.self) : candidate
            guard let slash = file.lastIndex(of: "/") else { continue }
            let path = file[..<slash] + "/store-exerciser"
            if access(String(path), X_OK) == 0 { return String(path) }
        }
        throw StoreError.unavailable("store-exerciser is not built")
    }

    // MARK: Full disk

    /// In a file system of 1 MB.
    @Test(.enabled(if: getuid() == 0, "mounting a tmpfs needs root"))
    func fullDiskFailsWritesClearlyAndPasses() async throws {
        let directory = try TemporaryDirectory()
        guard mount("tmpfs", directory.path, "tmpfs", 0, "size=1m") == 0 else {
            Issue.record("mount: errno \(errno)")
            return
        }
        defer { umount2(directory.path, Int32(MNT_DETACH)) }
        let ballast = directory.path + "/ballast"
        let file = open(ballast, O_RDWR | O_CREAT, 0o600)
        #expect(posix_fallocate(file, 0, 400 << 10) == 0)
        close(file)
        let path = directory.path + "/state.db"
        let store = try LogStore.sqlite(path: path)
        let value = String(repeating: "v", count: 6_000)
        var written: [String] = []
        var failure: StoreError?
        while failure == nil, written.count < 1_000 {
            let key = "/a/\(written.count)"
            failure = await error { try await store.put(key, value) }
            if failure == nil { written.append(key) }
        }
        #expect(failure == .unavailable("cannot write to the datastore \(path): no space is left on the disk"))
        #expect(store.get("/a/\(written.count)") == nil)
        #expect(store.count(prefix: "/a/") == Int64(written.count))
        let revision = store.revision
        // Still full: a second attempt fails as clearly.
        #expect(await error { try await store.put("/a/more", value) } == failure)
        #expect(store.revision == revision)
        unlink(ballast)
        for number in 0..<5 { try await store.put("/b/\(number)", value) }
        #expect(store.revision > revision)
        await store.close()
        let again = try LogStore.sqlite(path: path)
        #expect(try again.keys("/a/") == written.sorted { KeyOrder.compare($0, $1) < 0 })
        #expect(again.count(prefix: "/b/") == 5)
        await again.close()
    }
}

/// What writers have told, over all their lives.
private struct Story {
    private struct Key {
        var revision: Int64 = 0
        var deleted = false
        /// A deletion was asked for after that.
        var dropping = false
    }

    private var keys: [String: Key] = [:]
    private var highest: Int64 = 0
    private var seen: Set<Int64> = []
    private(set) var acknowledged = 0
    private(set) var deferred = 0

    mutating func take(_ line: String) {
        let words = line.split(separator: " ").map(String.init)
        switch words[0] {
        case "open":
            #expect((words.last.flatMap { Int64($0) } ?? -1) >= highest, "the revision went back: \(line)")
        case "drop":
            keys[words[1], default: Key()].dropping = true
        default:
            guard words.count == 3, let revision = Int64(words[2]) else {
                Issue.record("cannot read \(line)")
                return
            }
            #expect(seen.insert(revision).inserted, "revision \(revision) came twice")
            highest = max(highest, revision)
            if words[0] == "soft" {
                deferred += 1
            } else {
                acknowledged += 1
                keys[words[1]] = Key(revision: revision, deleted: words[0] == "del")
            }
        }
    }

    /// A write that was under way at the kill may be there or not.
    func check(_ store: LogStore) {
        #expect(store.revision >= highest)
        for (key, told) in keys {
            let entry = store.get(key)
            if told.deleted {
                #expect(entry.map { $0.createRevision > told.revision } ?? true, "\(key) is there again: \(told)")
            } else {
                #expect((entry?.modRevision ?? 0) >= told.revision || told.dropping, "\(key) is lost: \(told)")
            }
        }
        for entry in (try? store.range(prefix: "").entries) ?? [] {
            #expect(entry.text.hasPrefix("\(entry.key)@\(entry.modRevision)"), "\(entry.key) has the wrong value")
            #expect(entry.text.drop { $0 != "@" }.dropFirst().drop { $0 != "." }.allSatisfy { $0 == "." })
        }
    }
}
