import Containers
import Linux
import Testing

/// User namespaces, recursive read-only mounts, ambient capabilities, seccomp profiles of the node, on real containers.
@Suite(.enabled(if: canRunContainers, liveReason), .serialized) struct IsolationLiveTests {
    @Test func rootOfAPodWithPrivateUsersIsNobodyOutside() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox {
                $0.privateUsers = true
                $0.sysctls = ["net.ipv4.tcp_fin_timeout": "77"]
            }
            let base = try #require(await node.runtime.sandboxes().first?.config.idBase)
            #expect(base >= 65536 && base % 65536 == 0)
            let script = """
                id -u; cat /proc/self/uid_map | tr -s ' '; stat -c '%u:%g' / /bin/busybox /dev/null /dev /etc/hostname
                touch /mine && stat -c '%u' /mine; echo out >/dev/stdout; hostname; cat /proc/sys/net/ipv4/tcp_fin_timeout
                hostname other && hostname; ip link set lo down && ip link set lo up && echo network
                stat -c '%u' /volume; touch /volume/x && stat -c '%u' /volume/x
                mount -t tmpfs none /tmp 2>/dev/null || echo no-mount; echo done
                exec sleep 100
                """
            let id = try await node.start(script, in: sandbox) {
                $0.security.addCapabilities = ["SYS_ADMIN", "NET_ADMIN"]
            }
            var lines: [String] = []
            for _ in 0..<2000 {
                lines = try LogLine.read(try await node.runtime.container(id).logPath).map {
                    $0.text.filter { $0 != "\n" }
                }
                if lines.last == "done" { break }
                try await Task.sleep(for: .milliseconds(10))
            }
            let expected = [
                "0", " 0 \(base) 65536", "0:0", "0:0", "0:0", "0:0", "0:0", "0", "out", "pod-host", "77", "other",
                "network", "0", "0", "no-mount", "done",
            ]
            #expect(lines == expected, "\(lines)")
            let status = try await node.runtime.container(id)
            let uid = try Proc.status("Uid", pid: status.pid)
            #expect(uid?.split(separator: "\t").first.map(String.init) == "\(base)")
            // What it made belongs to its range on the disk.
            let upper = node.directory + "/root/containers/\(id)/upper"
            #expect(try Files.status(upper + "/mine").st_uid == base)
            // A further process is in the same namespace.
            let result = try await node.runtime.execSync(
                id, command: ["sh", "-c", "id -u; readlink /proc/self/ns/user; cat /proc/self/uid_map | wc -l"],
                timeout: .seconds(20))
            let text = String(decoding: result.stdout, as: UTF8.self).split(separator: "\n").map(String.init)
            #expect(try text == ["0", Files.readLink("/proc/\(status.pid)/ns/user"), "1"])
            #expect(try Files.readLink("/proc/\(status.pid)/ns/user") != Files.readLink("/proc/self/ns/user"))
            // Two pods never share ids.
            _ = try await node.sandbox { $0.privateUsers = true }
            let bases = await node.runtime.sandboxes().map(\.config.idBase)
            #expect(Set(bases).count == 2)
            try await node.runtime.stopContainer(id, signal: SIGKILL, grace: .zero)
        }
    }

    @Test func usersOutsideOfTheRangeAreRefused() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox { $0.privateUsers = true }
            let config = node.container("true") { $0.security.runAsUser = 70_000 }
            let error = await #expect(throws: RuntimeError.self) {
                _ = try await node.runtime.createContainer(config, sandbox: sandbox.id)
            }
            #expect(error?.message.contains("ids below 65536") == true)
            let user = try await node.start("id -u; id -g", in: sandbox) {
                ($0.security.runAsUser, $0.security.runAsGroup) = (1234, 4321)
            }
            let status = try await node.exited(user)
            #expect(try LogLine.read(status.logPath).map(\.text) == ["1234\n", "4321\n"])
        }
    }

    @Test func recursiveReadOnlyReachesMountsBelow() async throws {
        try await withNode { node in
            let host = node.directory + "/tree"
            try Directories.make(host + "/below")
            try Mounts.mountFilesystem("tmpfs", at: host + "/below")
            defer { _ = try? Mounts.unmount(host + "/below") }
            let script = "touch /data/x || echo top; touch /data/below/x || echo below"
            for (recursive, expected) in [(false, "top\n"), (true, "top\nbelow\n")] {
                let outcome = try await node.run(script) { _ in
                } _: {
                    var mount = ContainerMount(hostPath: host, containerPath: "/data", readOnly: true)
                    mount.recursiveReadOnly = recursive
                    $0.mounts = [mount]
                }
                #expect(outcome.stdout == expected, "\(outcome.stderr)")
            }
        }
    }

    @Test func ambientCapabilitiesReachAProcessThatIsNotRoot() async throws {
        try await withNode { node in
            let script = "grep -E '^Cap(Eff|Amb)' /proc/self/status | tr -d '\\t'"
            for (ambient, mask) in [([], "0000000000000000"), (["NET_BIND_SERVICE"], "0000000000000400")] {
                let outcome = try await node.run(script) { _ in
                } _: {
                    $0.security.runAsUser = 1000
                    $0.security.ambientCapabilities = ambient
                }
                #expect(outcome.stdout == "CapEff:\(mask)\nCapAmb:\(mask)\n", "\(outcome.stderr)")
            }
        }
    }

    @Test func aProfileOfTheNodeFiltersSystemCalls() async throws {
        let profile = """
            {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
             "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}
            """
        try await withNode { node in
            let file = node.directory + "/profile.json"
            try Files.write(file, Array(profile.utf8))
            let outcome = try await node.run("mkdir /x 2>&1 | sed 's/.*: //'; touch /y && echo touched") { _ in
            } _: {
                $0.security.seccomp = .localhost(path: file)
            }
            #expect(outcome.stdout.lowercased() == "operation not supported\ntouched\n", "\(outcome.stderr)")
            let sandbox = try await node.sandbox()
            let missing = node.container("true") { $0.security.seccomp = .localhost(path: file + ".missing") }
            let id = try await node.runtime.createContainer(missing, sandbox: sandbox.id)
            let error = await #expect(throws: RuntimeError.self) { try await node.runtime.startContainer(id) }
            #expect(error?.message.contains("failed to load seccomp profile") == true)
        }
    }

    @Test func anAppArmorProfileMustBeLoaded() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox()
            let config = node.container("true") { $0.security.appArmor = .localhost("k3s-no-such-profile") }
            let error = await #expect(throws: RuntimeError.self) {
                _ = try await node.runtime.createContainer(config, sandbox: sandbox.id)
            }
            #expect(error?.message.contains("k3s-no-such-profile") == true)
            let free = try await node.run("echo runs") { _ in
            } _: {
                $0.security.appArmor = .unconfined
            }
            #expect(free.stdout == "runs\n")
        }
    }

    @Test func diskUsageIsTheWritableLayerAndItsLogs() async throws {
        try await withNode { node in
            let sandbox = try await node.sandbox()
            let id = try await node.start(
                "dd if=/dev/zero of=/big bs=1024 count=300 2>/dev/null; seq 5000; exec sleep 100", in: sandbox)
            var usage = ContainerDiskUsage()
            for _ in 0..<1000 {
                usage = try await node.runtime.diskUsage(id)
                // Each part may be some walks' time behind.
                if usage.logBytes > 200_000, usage.layerBytes >= 300 << 10 { break }
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(usage.layerBytes >= 300 << 10 && usage.layerBytes < 400 << 10)
            #expect(usage.layerFiles >= 2 && usage.logFiles == 1 && usage.logBytes > 200_000)
            try await node.runtime.stopContainer(id, signal: SIGKILL, grace: .zero)
        }
    }

    @Test func cgroupsAbovePodsHaveLimits() async throws {
        try await withNode { node in
            var limits = ContainerResources()
            (limits.cpuShares, limits.memoryLimitBytes) = (2048, 1 << 30)
            try await node.runtime.updateCgroup("kubepods", limits)
            var burstable = ContainerResources()
            burstable.cpuShares = 205
            try await node.runtime.updateCgroup("kubepods/burstable", burstable)
            let cgroups = try CgroupDetection.detect()
            let path = node.prefix + "/kubepods"
            if let v2 = cgroups as? CgroupsV2 {
                #expect(try Files.readString("\(v2.root)/\(path)/memory.max") == "\(1 << 30)\n")
                #expect(try Files.readString("\(v2.root)/\(path)/burstable/cpu.weight") == "29\n")
            }
            if let v1 = cgroups as? CgroupsV1 {
                let cpu = try #require(v1.hierarchies.first { $0.options.contains("cpu") }).mountPoint
                #expect(try Files.readString("\(cpu)/\(path)/cpu.shares") == "2048\n")
                #expect(try Files.readString("\(cpu)/\(path)/burstable/cpu.shares") == "205\n")
            }
            // Pods below it as ever.
            let outcome = try await node.run("echo runs") { $0.cgroupParent = "kubepods/burstable" }
            #expect(outcome.stdout == "runs\n")
        }
    }
}
