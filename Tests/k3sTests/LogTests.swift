import Linux
import Logging
import Testing

@testable import k3s

@Suite struct LogTests {
    private func settings(_ arguments: String...) throws -> LogSettings {
        try LogSettings(FlagParser(flags: ServerFlags.all).parse(arguments, environment: { _ in nil }))
    }

    @Test func verbosityMakesDebug() throws {
        #expect(try !settings("-v", "3").isDebug)
        #expect(try settings("--v=4").isDebug)
        #expect(try settings("--debug").isDebug)
    }

    @Test(arguments: [["-v", "much"], ["--v=-1"], ["--vmodule", "x"], ["--vmodule", "a=b"], ["--vmodule==1"]])
    func whatCannotBeIsNamed(_ arguments: [String]) throws {
        let values = try FlagParser(flags: ServerFlags.all).parse(arguments, environment: { _ in nil })
        let error = #expect(throws: UsageError.self) { try LogSettings(values) }
        #expect(error?.description.hasPrefix("--v") == true)
    }

    @Test func filesHaveVerbositiesOfTheirOwn() throws {
        let some = try settings("--vmodule", "Supervis*=4,Store?ore=5")
        #expect(some.wants(.debug, file: "ControlPlane/Supervisor.swift"))
        #expect(some.wants(.debug, file: "Store/StoreCore.swift"))
        #expect(!some.wants(.debug, file: "Store/LogStore.swift"))
        #expect(some.wants(.info, file: "Store/LogStore.swift"))
        let all = try settings("--debug", "--vmodule", "Supervisor=0")
        #expect(!all.wants(.debug, file: "ControlPlane/Supervisor.swift"))
        #expect(all.wants(.debug, file: "Store/LogStore.swift"))
    }

    @Test func theJournalIsKnownByItsStream() throws {
        var status = stat()
        var ends: [Int32] = [-1, -1]
        #expect(pipe(&ends) == 0)
        defer { ends.forEach { close($0) } }
        #expect(fstat(ends[1], &status) == 0)
        #expect(LogSettings.isJournal("\(status.st_dev):\(status.st_ino)", descriptor: ends[1]))
        #expect(!LogSettings.isJournal("\(status.st_dev):1", descriptor: ends[1]))
        #expect(!LogSettings.isJournal(nil, descriptor: ends[1]) && !LogSettings.isJournal("", descriptor: ends[1]))
    }

    @Test func aLineSaysItsImportanceToTheJournal() {
        #expect(LineLogHandler.priority(.critical) == "<2>")
        #expect(LineLogHandler.priority(.error) == "<3>" && LineLogHandler.priority(.warning) == "<4>")
        #expect(LineLogHandler.priority(.info) == "<6>" && LineLogHandler.priority(.debug) == "<7>")
    }

    /// A descriptor in place of standard error.
    private func target() throws -> Int32 { open("/dev/null", O_WRONLY | O_CLOEXEC) }

    @Test func aFullFileIsMovedAwayAndCompressed() async throws {
        let folder = "/tmp/k3s-log-\(UInt64.random(in: 0...UInt64.max))"
        defer { try? Directories.removeTree(folder) }
        let target = try target()
        defer { close(target) }
        let file = try LogFile(folder + "/sub/k3s.log", keepsStandardError: false, limit: 100, target: target)
        for i in 0..<12 {
            file.write("line \(i) " + String(repeating: "x", count: 50) + "\n")
            // Names of files before are times in thousandths of a second.
            try await Task.sleep(for: .milliseconds(5))
        }
        #expect(try Files.status(folder + "/sub/k3s.log").st_mode & 0o777 == 0o600)
        #expect(try Files.readString(folder + "/sub/k3s.log").hasPrefix("line 11 "))
        var names: [String] = []
        for _ in 0..<600 {
            names = try Directories.list(folder + "/sub").map(\.name)
            if names.count <= 4, names.filter({ $0.hasSuffix(".log.gz") }).count == 3 { break }
            try await Task.sleep(for: .milliseconds(100))
        }
        #expect(names.count == 4 && names.contains("k3s.log"))
        #expect(names.filter { $0.hasPrefix("k3s-20") && $0.hasSuffix(".log.gz") }.count == 3)
    }

    @Test func whatIsThereIsAppendedToAndOthersWritesLandThereToo() throws {
        let folder = "/tmp/k3s-log-\(UInt64.random(in: 0...UInt64.max))"
        defer { try? Directories.removeTree(folder) }
        try Directories.make(folder, mode: 0o700)
        try Files.write(folder + "/k3s.log", Array("before\n".utf8))
        let target = try target()
        defer { close(target) }
        let file = try LogFile(folder + "/k3s.log", keepsStandardError: false, target: target)
        file.write("mine\n")
        Terminal.write("a crash\n", to: target)
        #expect(try Files.readString(folder + "/k3s.log") == "before\nmine\na crash\n")
    }

    @Test func standardErrorHasItTooIfItIsWanted() throws {
        let folder = "/tmp/k3s-log-\(UInt64.random(in: 0...UInt64.max))"
        defer { try? Directories.removeTree(folder) }
        try Directories.make(folder, mode: 0o700)
        let target = open(folder + "/terminal", O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        defer { close(target) }
        let file = try LogFile(folder + "/k3s.log", keepsStandardError: true, target: target)
        file.write("both\n")
        #expect(try Files.readString(folder + "/k3s.log") == "both\n")
        #expect(try Files.readString(folder + "/terminal") == "both\n")
    }

    @Test func oldFilesGo() throws {
        let folder = "/tmp/k3s-log-\(UInt64.random(in: 0...UInt64.max))"
        defer { try? Directories.removeTree(folder) }
        let target = try target()
        defer { close(target) }
        let file = try LogFile(folder + "/k3s.log", keepsStandardError: false, target: target)
        for name in ["k3s-2026-01-01T00-00-00.000.log", "other-2026.log"] {
            try Files.write(folder + "/" + name, [10])
        }
        let now = WallClock.now()
        file.tidy(folder + "/k3s-2026-01-01T00-00-00.000.log", now: now)
        #expect(Files.exists(folder + "/k3s-2026-01-01T00-00-00.000.log.gz"))
        file.tidy(folder + "/none.log", now: now + 29 * 86_400 * 1_000_000_000)
        #expect(try Directories.list(folder).map(\.name) == ["k3s.log", "other-2026.log"])
    }
}
