import Containers
import Linux
import Testing

@Suite(.enabled(if: canRunContainers, liveReason), .timeLimit(.minutes(3)), .serialized)
struct StreamLiveTests {
    private func all(_ read: () async -> [UInt8]?) async -> String {
        var bytes: [UInt8] = []
        while let chunk = await read() { bytes += chunk }
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test func logLinesAreInTheFormatOfCRI() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox()
            // 40,000 bytes in a line: three pieces, of which the last ends it; then a line without an end.
            let id = try await node.start(
                "echo first; head -c 40000 /dev/zero | tr '\\0' x; echo; printf unfinished", in: sandbox)
            let status = try await node.exited(id)
            let lines = try LogLine.read(status.logPath)
            #expect(lines.map(\.tag) == ["F", "P", "P", "F", "P"])
            #expect(lines.map(\.text.utf8.count) == [6, 16384, 16384, 40000 - 32768 + 1, 10])
            for line in lines {
                #expect(
                    line.time.utf8.count == 30 && line.time.hasSuffix("Z")
                        && Array(line.time.utf8)[10] == UInt8(ascii: "T"))
            }
            #expect(try Files.status(status.logPath).st_mode & 0o777 == 0o640)
        }
    }

    @Test func whatIsReadAtOnceIsOfOneMoment() async throws {
        try await withNode({ $0.logMaxBytes = 200 << 20 }) { node in
            let sandbox = try await node.sandbox()
            // One write of both lines; more than a pipe holds at first, over and over, so that it grows.
            let id = try await node.start(
                "printf 'a\\nb\\n'; for i in 1 2 3 4 5 6; do yes 0123456789012345678901234567890123456789 | "
                    + "dd bs=41k count=10 iflag=fullblock 2>/dev/null; done", in: sandbox)
            let lines = try LogLine.read(try await node.exited(id).logPath)
            #expect(lines.count == 2 + 6 * 10 * 1024)
            #expect(lines.dropFirst(2).allSatisfy { $0.text.utf8.count == 41 && $0.tag == "F" })
            let times = lines.prefix(2).map(\.time)
            #expect(lines[0].text == "a\n" && lines[1].text == "b\n" && times[0] == times[1])
        }
    }

    @Test func rotationLosesAndTearsNothing() async throws {
        try await withNode({
            $0.logMaxBytes = 64 << 10
            $0.logMaxFiles = 3
        }) { node in
            let sandbox = try await node.sandbox()
            let id = try await node.start("seq 1 20000", in: sandbox)
            let status = try await node.exited(id)
            let directory = Path.parent(status.logPath)
            let files = try Directories.list(directory).map(\.name)
            #expect(files.count == 3)
            #expect(files.first == "main.log")
            for name in files.dropFirst() {
                // main.log.20060102-150405
                let stamp = name.dropFirst("main.log.".count)
                #expect(stamp.count == 15 && stamp.allSatisfy { $0.isNumber || $0 == "-" }, "\(name)")
            }
            // Rotated files sort by age, the current one comes last.
            var numbers: [Int] = []
            for name in files.dropFirst() + ["main.log"] {
                #expect(try Files.status(directory + "/" + name).st_size <= 64 << 10)
                numbers += try LogLine.read(directory + "/" + name).compactMap { Int($0.text.dropLast()) }
            }
            #expect(numbers.last == 20000)
            let contiguous = numbers == Array((numbers.first ?? 0)...20000)
            #expect(contiguous, "lines are missing or out of order")
            #expect(numbers.count > 2000)
        }
    }

    @Test func execRunsInsideTheContainer() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox()
            let id = try await node.start("exec sleep 1000", in: sandbox) {
                $0.workingDirectory = "/tmp"
                $0.environment = [("FROM", "container")]
                $0.security.runAsUser = 1000
                $0.security.seccomp = .runtimeDefault
            }
            let result = try await node.runtime.execSync(
                id,
                command: [
                    "sh", "-c",
                    "echo $FROM; pwd; id -u; hostname; ps | grep -c '[s]leep 1000'; grep -c 'Seccomp:.2' /proc/self/status; echo e >&2; exit 7",
                ],
                timeout: .seconds(10))
            #expect(result.exitCode == 7)
            #expect(String(decoding: result.stdout, as: UTF8.self) == "container\n/tmp\n1000\npod-host\n1\n1\n")
            #expect(result.stderr == Array("e\n".utf8))
            // The exec'd shell is in the container's cgroup.
            let cgroup = try await node.runtime.execSync(
                id, command: ["cat", "/proc/self/cgroup"], timeout: .seconds(10))
            #expect(String(decoding: cgroup.stdout, as: UTF8.self).contains("memory:/\n") || !cgroup.stdout.isEmpty)
        }
    }

    @Test func execFailuresAreExplained() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox()
            let id = try await node.start("sleep 1000", in: sandbox)
            let missing = await #expect(throws: RuntimeError.self) {
                _ = try await node.runtime.exec(id, ExecRequest(["nosuch"]))
            }
            #expect(
                missing?.message
                    == "exec failed: unable to start container process: exec: \"nosuch\": executable file not found in $PATH"
            )
            let late = await #expect(throws: RuntimeError.self) {
                _ = try await node.runtime.execSync(id, command: ["sleep", "100"], timeout: .milliseconds(200))
            }
            #expect(late?.code == .timedOut)
            // The command is dead, too.
            try await Task.sleep(for: .milliseconds(200))
            let rest = try await node.runtime.execSync(id, command: ["ps"], timeout: .seconds(5))
            #expect(!String(decoding: rest.stdout, as: UTF8.self).contains("sleep 100\n"))
            let gone = await #expect(throws: RuntimeError.self) {
                _ = try await node.runtime.exec("nosuch", ExecRequest(["true"]))
            }
            #expect(gone?.code == .notFound)
        }
    }

    @Test func execSyncOutputIsBounded() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox()
            let id = try await node.start("sleep 1000", in: sandbox)
            let result = try await node.runtime.execSync(
                id, command: ["head", "-c", "1000000", "/dev/zero"], timeout: .seconds(10))
            #expect(result.exitCode == 0)
            #expect(result.stdout.count == 16 << 10)
        }
    }

    @Test func execStreamsStdinWithBackpressure() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox()
            let id = try await node.start("sleep 1000", in: sandbox)
            var request = ExecRequest(["cat"])
            request.stdin = true
            let process = try await node.runtime.exec(id, request)
            let sent = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 >> 4) }
            async let writing: Void = {
                try await process.writeStdin(sent)
                await process.closeStdin()
            }()
            var received: [UInt8] = []
            while let chunk = await process.readStdout() { received += chunk }
            try await writing
            #expect(received == sent)
            #expect(try await process.wait() == 0)
            await process.close()
        }
    }

    @Test func closingAnExecKillsItsProcess() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox()
            let id = try await node.start("sleep 1000", in: sandbox)
            let process = try await node.runtime.exec(id, ExecRequest(["sleep", "777"]))
            await process.close()
            #expect(try await process.wait() == 137)
        }
    }

    @Test func execOnATerminal() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox()
            let id = try await node.start("sleep 1000", in: sandbox)
            var request = ExecRequest([
                "sh", "-c", "test -t 0 && test -t 1 && echo tty; read line; echo got $line; stty size; exit 3",
            ])
            (request.stdin, request.tty) = (true, true)
            let process = try await node.runtime.exec(id, request)
            await process.resize(columns: 100, rows: 30)
            try await process.writeStdin(Array("hello\n".utf8))
            let text = await all { await process.readStdout() }
            #expect(
                text == "tty\r\nhello\r\ngot hello\r\n30 100\r\n" || text == "hello\r\ntty\r\ngot hello\r\n30 100\r\n",
                "\(text)")
            #expect(try await process.wait() == 3)
        }
    }

    @Test func containerWithATerminal() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox()
            let id = try await node.start(
                "test -t 0 && test -c /dev/console && echo tty; read line; echo got $line; sleep 0.1; exit 4",
                in: sandbox
            ) {
                ($0.tty, $0.stdin) = (true, true)
            }
            var request = AttachRequest()
            request.stdin = true
            let process = try await node.runtime.attach(id, request)
            await process.resize(columns: 90, rows: 20)
            try await process.writeStdin(Array("hello\n".utf8))
            let text = await all { await process.readStdout() }
            #expect(text.hasSuffix("got hello\r\n"))
            #expect(try await process.wait() == 4)
            let log = try LogLine.read(try await node.exited(id).logPath)
            #expect(log.first?.text == "tty\r\n" || log.first?.text == "hello\r\n")
            #expect(log.allSatisfy { $0.stream == "stdout" })
        }
    }

    @Test func attachSharesTheStreams() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox()
            let id = try await node.start(
                "while read line; do echo out $line; echo err $line >&2; done; echo end", in: sandbox
            ) {
                $0.stdin = true
                $0.stdinOnce = true
            }
            let watcher = try await node.runtime.attach(id, AttachRequest())
            var request = AttachRequest()
            request.stdin = true
            let process = try await node.runtime.attach(id, request)
            try await process.writeStdin(Array("1\n2\n".utf8))
            await process.closeStdin()
            #expect(await all { await process.readStdout() } == "out 1\nout 2\nend\n")
            #expect(await all { await process.readStderr() } == "err 1\nerr 2\n")
            #expect(await all { await watcher.readStdout() } == "out 1\nout 2\nend\n")
            #expect(try await process.wait() == 0)
            let log = try LogLine.read(try await node.exited(id).logPath).map(\.text)
            #expect(Set(log) == ["out 1\n", "out 2\n", "err 1\n", "err 2\n", "end\n"])
        }
    }

    @Test func aSlowAttachedClientLosesNothing() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox()
            let id = try await node.start("read go; seq 1 60000; echo done", in: sandbox) { $0.stdin = true }
            var request = AttachRequest()
            request.stdin = true
            let process = try await node.runtime.attach(id, request)
            try await process.writeStdin(Array("go\n".utf8))
            // The pipe holds 64 KiB; the output has 340 KB.
            try await Task.sleep(for: .milliseconds(500))
            #expect(try await node.runtime.container(id).state == .running)
            let text = await all { await process.readStdout() }
            #expect(text.split(separator: "\n").count == 60001)
            #expect(text.hasSuffix("60000\ndone\n"))
            #expect(try await process.wait() == 0)
        }
    }

    @Test func dialReachesAPortOfThePod() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox()
            _ = try await node.start("nc -l -p 9000 -e echo from-pod; sleep 1000", in: sandbox)
            var text = ""
            for _ in 0..<100 {
                guard let raw = try? await node.runtime.dial(sandbox: sandbox.id, port: 9000) else {
                    try await Task.sleep(for: .milliseconds(20))
                    continue
                }
                let fd = try AsyncFD(FileDescriptor(owning: raw))
                text = String(decoding: try await fd.read() ?? [], as: UTF8.self)
                break
            }
            #expect(text == "from-pod\n")
            let error = await #expect(throws: RuntimeError.self) {
                _ = try await node.runtime.dial(sandbox: sandbox.id, port: 1)
            }
            #expect(error?.message.contains("connection refused") == true)
        }
    }
}
