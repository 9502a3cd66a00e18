import Containers
import Linux
import Testing

@Suite(.enabled(if: canRunContainers, liveReason), .timeLimit(.minutes(3)), .serialized)
struct ContainerLiveTests {
    @Test func exitCodesAndOutput() async throws {
        try await withNode { node in
            let good = try await node.run("echo out; echo err >&2; exit 0")
            #expect(good.status.exitCode == 0)
            #expect(good.status.reason == "Completed")
            #expect(good.stdout == "out\n")
            #expect(good.stderr == "err\n")
            #expect(good.status.startedAt > good.status.createdAt)
            #expect(good.status.finishedAt >= good.status.startedAt)
            let bad = try await node.run("exit 42")
            #expect((bad.status.exitCode, bad.status.reason) == (42, "Error"))
            let killed = try await node.run("kill -9 $$; sleep 0")
            // PID 1 cannot kill itself with signals it does not handle: the shell goes on to sleep.
            #expect(killed.status.exitCode == 0)
        }
    }

    @Test func commandThatDoesNotExist() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox()
            func failure(_ command: [String]) async throws -> String {
                let id = try await node.runtime.createContainer(
                    node.container("") { $0.command = command }, sandbox: sandbox.id)
                let error = await #expect(throws: RuntimeError.self) { try await node.runtime.startContainer(id) }
                #expect(error?.code == .startFailed)
                let status = try await node.runtime.container(id)
                #expect((status.state, status.exitCode, status.reason) == (.exited, 128, "StartError"))
                #expect(status.message == error?.message)
                return String((error?.message ?? "").dropFirst("unable to start container process: ".count))
            }
            #expect(try await failure(["nosuch"]) == "exec: \"nosuch\": executable file not found in $PATH")
            #expect(try await failure(["/nosuch"]) == "exec: \"/nosuch\": stat /nosuch: no such file or directory")
            #expect(try await failure(["/bin/plain"]) == "exec: \"/bin/plain\": permission denied")
            #expect(try await failure(["/bin"]) == "exec: \"/bin\": is a directory")
            #expect(try await failure(["script"]) == "exec script: no such file or directory")
        }
    }

    @Test func environmentDirectoryAndHostname() async throws {
        try await withNode { node in
            let outcome = try await node.run(
                "env | grep -v SHLVL; pwd; hostname; cat /etc/hostname; cat /etc/resolv.conf"
            ) {
                $0.dns = SandboxDNS(servers: ["10.43.0.10"], searches: ["default.svc"], options: ["ndots:5"])
            } _: {
                $0.environment = [("A", "b c"), ("IMAGE", "no")]
                $0.workingDirectory = "/made/for/me"
            }
            let lines = outcome.stdout.split(separator: "\n").map(String.init)
            #expect(lines.contains("A=b c"))
            #expect(lines.contains("IMAGE=no"))
            #expect(lines.contains("HOME=/root"))
            #expect(lines.contains("HOSTNAME=pod-host"))
            #expect(lines.contains { $0.hasPrefix("PATH=/usr/local/sbin:") })
            #expect(
                lines.suffix(6) == [
                    "/made/for/me", "pod-host", "pod-host", "search default.svc", "nameserver 10.43.0.10",
                    "options ndots:5",
                ])
        }
    }

    @Test func userAndGroups() async throws {
        try await withNode { node in
            #expect(try await node.run("id").stdout.hasPrefix("uid=0(root) gid=0(root) groups=0(root),10(wheel)"))
            let app = try await node.run("id; echo $HOME; echo through > /dev/stdout; touch /forbidden") {
                _ in
            } _: {
                $0.security.runAsUser = 1000
                $0.security.supplementalGroups = [5000]
            }
            #expect(
                app.stdout.hasPrefix(
                    "uid=1000(app) gid=1001(app) groups=27(video),1001(app),5000\n/home/app\nthrough\n"))
            #expect(app.stderr.contains("Permission denied"))
            #expect(app.status.exitCode != 0)
        }
    }

    @Test func capabilitiesSeccompAndNoNewPrivileges() async throws {
        try await withNode { node in
            let script =
                "grep -E 'Cap(Eff|Bnd|Inh|Amb)|NoNewPrivs|Seccomp:' /proc/self/status; mount -t tmpfs x /tmp 2>/dev/null || echo refused"
            func fields(_ text: String) -> [String: String] {
                Dictionary(
                    text.split(separator: "\n").compactMap { line in
                        let parts = line.split(separator: ":")
                        guard parts.count == 2 else { return nil }
                        return (String(parts[0]), String(parts[1].filter { !$0.isWhitespace }))
                    }, uniquingKeysWith: { $1 })
            }
            let plain = try await node.run(script)
            #expect(fields(plain.stdout)["CapEff"] == "00000000a80425fb")
            #expect(fields(plain.stdout)["CapBnd"] == "00000000a80425fb")
            #expect(fields(plain.stdout)["CapInh"] == "0000000000000000")
            #expect(fields(plain.stdout)["Seccomp"] == "0")
            #expect(plain.stdout.hasSuffix("refused\n"))
            let locked = try await node.run(script) { _ in
            } _: {
                $0.security.seccomp = .runtimeDefault
                $0.security.noNewPrivileges = true
                $0.security.dropCapabilities = ["ALL"]
                $0.security.addCapabilities = ["NET_BIND_SERVICE"]
            }
            #expect(fields(locked.stdout)["CapEff"] == "0000000000000400")
            #expect(fields(locked.stdout)["NoNewPrivs"] == "1")
            #expect(fields(locked.stdout)["Seccomp"] == "2")
            let user = try await node.run(script) { _ in
            } _: {
                $0.security.runAsUser = 1000
                $0.security.seccomp = .runtimeDefault
            }
            #expect(fields(user.stdout)["CapEff"] == "0000000000000000")
            #expect(fields(user.stdout)["CapBnd"] == "00000000a80425fb")
            #expect(fields(user.stdout)["Seccomp"] == "2")
            let privileged = try await node.run(script + "; ls /dev | wc -l") { _ in
            } _: {
                $0.security.privileged = true
                $0.security.seccomp = .runtimeDefault
            }
            #expect(!privileged.stdout.contains("refused"))
            #expect(fields(privileged.stdout)["Seccomp"] == "0")
        }
    }

    @Test func fileSystemOfAContainer() async throws {
        try await withNode { node in
            let outcome = try await node.run(
                """
                head -c 9 /proc/timer_list | wc -c; ls /sys/firmware | wc -l
                echo x 2>/dev/null > /proc/sys/kernel/hostname || echo sys-readonly
                mkdir /sys/kernel/x 2>/dev/null || echo sysfs-readonly
                ls /dev | tr '\\n' ' '; echo
                stat -c '%a %t:%T' /dev/null; stat -c '%a' /dev/shm
                ls -di /dev/fd >/dev/null && cat /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/pids/cgroup.procs 2>/dev/null | head -1
                cat /proc/1/comm; ps | wc -l; echo written > /written; echo volume > /volume/file && cat /volume/file
                """)
            let lines = outcome.stdout.split(separator: "\n").map(String.init)
            try #require(lines.count == 11, "\(outcome.stdout)\(outcome.stderr)")
            #expect(lines[0] == "0")
            #expect(lines[1] == "0")
            #expect(lines[2] == "sys-readonly")
            #expect(lines[3] == "sysfs-readonly")
            #expect(lines[4] == "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero ")
            #expect(lines[5] == "666 1:3")
            #expect(lines[6] == "1777")
            #expect(lines[7] == "1")
            #expect(lines[8] == "sh")
            // Header, shell, ps, and wc if it was there before ps looked: nothing of the node's.
            #expect(["3", "4"].contains(lines[9]))
            #expect(lines[10] == "volume")
            // The image itself is untouched.
            #expect(!Files.exists(node.layers[0] + "/written") && !Files.exists(node.layers[1] + "/written"))
        }
    }

    @Test func mountsAreMadeInsideTheRoot() async throws {
        try await withNode { node in
            let host = node.directory + "/host"
            try Directories.make(host + "/data")
            try Files.write(host + "/data/file", Array("host\n".utf8))
            try Files.write(host + "/single", Array("single\n".utf8))
            // A link of the image that points outside: the mount must land inside the root.
            symlink("/tmp/../../../../../escape", node.layers[0] + "/link")
            let outcome = try await node.run(
                "cat /data/file /etc/single /link/x/file; echo no > /data/file || echo ro; echo yes > /rw/new; ls /created; cat /escape/x/file"
            ) { _ in
            } _: {
                $0.mounts = [
                    ContainerMount(hostPath: host + "/data", containerPath: "/data", readOnly: true),
                    ContainerMount(hostPath: host + "/single", containerPath: "/etc/single"),
                    ContainerMount(hostPath: host + "/data", containerPath: "/link/x"),
                    ContainerMount(hostPath: host + "/data", containerPath: "/rw"),
                    ContainerMount(hostPath: host + "/created", containerPath: "/created"),
                ]
            }
            #expect(outcome.stdout == "host\nsingle\nhost\nro\nhost\n")
            #expect(try Files.readString(host + "/data/new") == "yes\n")
            #expect(try Files.readString(host + "/data/file") == "host\n")
            #expect(Files.isDirectory(host + "/created"))
            #expect(!Files.exists("/escape"))
        }
    }

    @Test func mountOfADirectoryOnAFileIsExplained() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox()
            try Directories.make(node.directory + "/d")
            let config = node.container("true") {
                $0.mounts = [ContainerMount(hostPath: node.directory + "/d", containerPath: "/bin/plain")]
            }
            let id = try await node.runtime.createContainer(config, sandbox: sandbox.id)
            let error = await #expect(throws: RuntimeError.self) { try await node.runtime.startContainer(id) }
            #expect(
                error?.message.contains("not a directory: Are you trying to mount a directory onto a file") == true,
                "\(error?.message ?? "")")
        }
    }

    @Test func readOnlyRootAndSysctls() async throws {
        try await withNode { node in
            let outcome = try await node.run(
                "touch /x 2>/dev/null || echo readonly; touch /volume/y && echo volume; cat /proc/sys/net/core/somaxconn /proc/sys/kernel/shm_rmid_forced; ip link | grep -c 'lo.*UP'"
            ) {
                $0.sysctls = ["net.core.somaxconn": "1234", "kernel.shm_rmid_forced": "1"]
            } _: {
                $0.security.readOnlyRootFilesystem = true
            }
            #expect(outcome.stdout == "readonly\nvolume\n1234\n1\n1\n", "\(outcome.stderr)")
        }
    }

    @Test func memoryLimitKillsAndIsReported() async throws {
        try await withNode { node in
            let outcome = try await node.run("exec tail /dev/zero") { _ in
            } _: {
                $0.resources.memoryLimitBytes = 8 << 20
            }
            #expect((outcome.status.exitCode, outcome.status.reason) == (137, "OOMKilled"))
        }
    }

    @Test func limitsReachTheCgroup() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox { $0.resources.memoryLimitBytes = 64 << 20 }
            let id = try await node.start("sleep 100", in: sandbox) {
                $0.resources.memoryLimitBytes = 32 << 20
                $0.resources.cpuShares = 512
                $0.resources.cpuQuotaMicroseconds = 50_000
                $0.resources.cpuPeriodMicroseconds = 100_000
                $0.resources.pidsLimit = 50
            }
            let cgroup = "\(node.prefix)/kubepods/pod\(sandbox.config.podUID)/\(id)"
            if let v1 = try CgroupDetection.detect() as? CgroupsV1 {
                func value(_ controller: String, _ file: String) throws -> String {
                    let mount = v1.hierarchies.first { $0.options.contains(controller) }?.mountPoint ?? ""
                    return try Files.readString("\(mount)/\(cgroup)/\(file)").filter { $0 != "\n" }
                }
                #expect(try value("memory", "memory.limit_in_bytes") == "\(32 << 20)")
                #expect(try value("cpu", "cpu.shares") == "512")
                #expect(try value("cpu", "cpu.cfs_quota_us") == "50000")
                #expect(try value("pids", "pids.max") == "50")
                #expect(try value("devices", "devices.list").contains("c 1:3 rwm"))
                #expect(try !value("devices", "devices.list").contains("a *:*"))
            }
            let stats = try await node.runtime.stats(id)
            #expect(stats.processes >= 1 && stats.memoryUsageBytes > 0)
            // The pod's memory has the container's in it, which may shrink from one look to the next.
            let pod = try await node.runtime.sandboxStats(sandbox.id).memoryUsageBytes
            let later = try await node.runtime.stats(id)
            #expect(pod >= min(stats.memoryWorkingSetBytes, later.memoryWorkingSetBytes) && pod > 0)
            var bigger = ContainerResources()
            bigger.memoryLimitBytes = 48 << 20
            try await node.runtime.updateResources(id, bigger)
            try await node.runtime.stopContainer(id, signal: nil, grace: .zero)
        }
    }

    @Test func devicesAreRestricted() async throws {
        try await withNode { node in
            let outcome = try await node.run(
                "mknod /tmp/mem c 1 1 && (head -c 1 /tmp/mem >/dev/null 2>&1 || echo denied); head -c 4 /dev/zero | wc -c; ls -l /dev/extra | head -c 1"
            ) { _ in
            } _: {
                $0.devices = ["/dev/null:/dev/extra:rw"]
            }
            #expect(outcome.stdout == "denied\n4\nc", "\(outcome.stdout) \(outcome.stderr)")
        }
    }

    @Test func containersOfAPodShareNamespaces() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox()
            let first = try await node.start(
                "echo shared > /dev/shm/file; nc -l -p 8080 -e echo hello & sleep 100", in: sandbox
            ) {
                $0.name = "a"; $0.logPath = "a.log"
            }
            try await Task.sleep(for: .milliseconds(200))
            let second = try await node.start(
                "cat /dev/shm/file; nc 127.0.0.1 8080; readlink /proc/self/ns/net", in: sandbox
            ) {
                $0.name = "b"; $0.logPath = "b.log"
            }
            let status = try await node.exited(second)
            let text = try LogLine.read(status.logPath).map(\.text).joined()
            #expect(text.hasPrefix("shared\nhello\nnet:["), "\(text)")
            #expect(!text.contains(try Files.readLink("/proc/self/ns/net")))
            try await node.runtime.stopContainer(first, signal: nil, grace: .zero)
            #expect(try await node.runtime.container(first).exitCode == 137)
        }
    }

    @Test func sharedProcessNamespace() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox { $0.pid = .pod }
            let first = try await node.start("sleep 1000", in: sandbox) {
                $0.name = "a"; $0.logPath = "a.log"
            }
            let second = try await node.start("ps; cat /proc/1/comm", in: sandbox) {
                $0.name = "b"; $0.logPath = "b.log"
            }
            let text = try LogLine.read(try await node.exited(second).logPath).map(\.text).joined()
            #expect(text.contains("sleep 1000"))
            #expect(text.hasSuffix("pause\n"))
            // A container's end takes only its own processes along.
            #expect(try await node.runtime.container(first).state == .running)
            try await node.runtime.stopContainer(first, signal: nil, grace: .seconds(2))
            #expect(try await node.runtime.container(first).state == .exited)
        }
    }

    @Test func targetProcessNamespace() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox()
            let first = try await node.start("exec sleep 1234", in: sandbox) {
                $0.name = "a"; $0.logPath = "a.log"
            }
            let second = try await node.start("ps", in: sandbox) {
                $0.name = "debugger"
                $0.logPath = "b.log"
                $0.pid = .target(first)
            }
            let text = try LogLine.read(try await node.exited(second).logPath).map(\.text).joined()
            #expect(text.contains("sleep 1234"))
            #expect(try await node.runtime.container(first).state == .running)
        }
    }

    @Test func hostNamespaces() async throws {
        try await withNode { node in
            let outcome = try await node.run(
                "readlink /proc/self/ns/net; readlink /proc/self/ns/pid; readlink /proc/self/ns/ipc; sleep 1000 & exit 0"
            ) {
                $0.network = .node
                $0.pid = .node
                $0.ipc = .node
            }
            let own = try ["net", "pid", "ipc"].map { try Files.readLink("/proc/self/ns/" + $0) }
            #expect(outcome.stdout.split(separator: "\n").map(String.init) == own)
        }
    }

    @Test func stopSendsTheSignalThenKills() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox()
            let polite = try await node.start(
                "trap 'exit 5' TERM; echo ready; while true; do sleep 0.05; done", in: sandbox)
            while try LogLine.read(try await node.runtime.container(polite).logPath).isEmpty {
                try await Task.sleep(for: .milliseconds(5))
            }
            try await node.runtime.stopContainer(polite, signal: nil, grace: .seconds(20))
            #expect(try await node.runtime.container(polite).exitCode == 5)
            let stubborn = try await node.start("trap '' TERM; echo ready; while true; do sleep 1; done", in: sandbox) {
                $0.logPath = "s.log"
            }
            let clock = ContinuousClock()
            let taken = try await clock.measure {
                try await node.runtime.stopContainer(stubborn, signal: nil, grace: .milliseconds(300))
            }
            #expect(try await node.runtime.container(stubborn).exitCode == 137)
            #expect(taken >= .milliseconds(300) && taken < .seconds(10))
            // Idempotent.
            try await node.runtime.stopContainer(stubborn, signal: nil, grace: .zero)
            try await node.runtime.stopContainer("nosuch", signal: nil, grace: .zero)
        }
    }

    @Test func eventsTellStartExitAndRemoval() async throws {
        try await withNode { node in
            var events = node.runtime.events().makeAsyncIterator()
            let sandbox = try await node.sandbox()
            let id = try await node.start("exit 0", in: sandbox)
            #expect(await events.next() == ContainerEvent(.started, container: id, sandbox: sandbox.id))
            #expect(await events.next() == ContainerEvent(.exited, container: id, sandbox: sandbox.id))
            try await node.runtime.removeContainer(id)
            #expect(await events.next() == ContainerEvent(.removed, container: id, sandbox: sandbox.id))
        }
    }

    @Test func twentyContainersAtOnceAndNothingLeaks() async throws {
        try await withNode { node in
            let sandboxes = try await withThrowingTaskGroup(of: SandboxStatus.self) { group in
                for _ in 0..<20 {
                    group.addTask {
                        let sandbox = try await node.sandbox()
                        let id = try await node.start("echo $HOSTNAME; exit 3", in: sandbox)
                        let status = try await node.exited(id, seconds: 60)
                        #expect(status.exitCode == 3)
                        #expect(try LogLine.read(status.logPath).map(\.text) == ["pod-host\n"])
                        return sandbox
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            for sandbox in sandboxes { try await node.runtime.removeSandbox(sandbox.id) }
            #expect(try MountInfo.current().filter { $0.mountPoint.hasPrefix(node.directory) }.isEmpty)
            #expect(try Directories.list(node.directory + "/root/containers").isEmpty)
            #expect(try Directories.list(node.directory + "/root/sandboxes").isEmpty)
            #expect(try Directories.list(node.directory + "/state/sandboxes").isEmpty)
            let cgroups = try CgroupDetection.detect()
            #expect(try cgroups.children(node.prefix + "/kubepods") == [])
            #expect(try Directories.list("/proc/\(try await node.runtime.shimPID())/fd").count < 12)
        }
    }
}
