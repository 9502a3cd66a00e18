import Containers
import Linux
import Testing

@Suite struct LaunchPlanTests {
    private func launch() -> ContainerLaunch {
        var launch = ContainerLaunch()
        launch.config.command = ["sleep"]
        launch.config.args = ["1"]
        launch.config.environment = [("NAME", "value")]
        launch.hostname = "pod"
        launch.lower = ["/layers/2", "/layers/1"]
        (launch.upper, launch.work, launch.rootMountPoint) = ("/c/upper", "/c/work", "/run/rootfs")
        launch.networkNamespace = "/ns/net"
        launch.utsNamespace = "/ns/uts"
        launch.ipcNamespace = "/ns/ipc"
        launch.sharedMemory = "/ns/shm"
        launch.cgroupJoinFiles = ["/cg/memory/x/cgroup.procs"]
        launch.cgroupMounts = [CgroupMount(type: "cgroup2", name: "", options: "")]
        launch.files = [ContainerMount(hostPath: "/s/hosts", containerPath: "/etc/hosts")]
        launch.availableCapabilities = CapabilitySet(rawValue: (1 << 41) - 1)
        launch.config.resources.oomScoreAdj = 1000
        return launch
    }

    private static let defaults =
        "CAP_CHOWN,CAP_DAC_OVERRIDE,CAP_FOWNER,CAP_FSETID,CAP_KILL,CAP_SETGID,CAP_SETUID,CAP_SETPCAP,"
        + "CAP_NET_BIND_SERVICE,CAP_NET_RAW,CAP_SYS_CHROOT,CAP_MKNOD,CAP_AUDIT_WRITE,CAP_SETFCAP"

    @Test func aPodsOwnSharedMemoryReplacesTheSandboxs() throws {
        var launch = launch()
        launch.config.mounts.append(ContainerMount(hostPath: "/v/shm", containerPath: "/dev/shm/"))
        let lines = try launch.plan().description.split(separator: "\n").filter { $0.contains(" /dev/shm") }
        #expect(lines == ["bind /v/shm /dev/shm private"])
    }

    @Test func ordinaryContainer() throws {
        let plan = try launch().plan()
        #expect(
            plan.description == """
                clone mnt pid
                write /proc/self/oom_score_adj 1000 ?
                join-cgroup /cg/memory/x/cgroup.procs
                enter net /ns/net
                enter ipc /ns/ipc
                enter uts /ns/uts
                unshare cgroup
                slave /
                overlay /layers/2:/layers/1 upper=/c/upper work=/c/work at /run/rootfs
                mount proc /proc nosuid,nodev,noexec
                mount tmpfs /dev mode=755,size=65536k nosuid
                mount devpts /dev/pts newinstance,ptmxmode=0666,mode=0620,gid=5 nosuid,noexec
                mount mqueue /dev/mqueue nosuid,nodev,noexec
                bind /ns/shm /dev/shm private
                mount sysfs /sys ro,nosuid,nodev,noexec
                mount cgroup2 /sys/fs/cgroup ro,nosuid,nodev,noexec ?
                device /dev/null c 1:3 666
                device /dev/zero c 1:5 666
                device /dev/full c 1:7 666
                device /dev/random c 1:8 666
                device /dev/urandom c 1:9 666
                device /dev/tty c 5:0 666
                symlink /dev/fd -> /proc/self/fd
                symlink /dev/stdin -> /proc/self/fd/0
                symlink /dev/stdout -> /proc/self/fd/1
                symlink /dev/stderr -> /proc/self/fd/2
                symlink /dev/ptmx -> pts/ptmx
                symlink /dev/core -> /proc/kcore
                bind /s/hosts /etc/hosts private
                mkdir / 755
                readonly /proc/bus
                readonly /proc/fs
                readonly /proc/irq
                readonly /proc/sys
                readonly /proc/sysrq-trigger
                mask /proc/acpi
                mask /proc/asound
                mask /proc/interrupts
                mask /proc/kcore
                mask /proc/keys
                mask /proc/latency_stats
                mask /proc/timer_list
                mask /proc/timer_stats
                mask /proc/sched_debug
                mask /sys/firmware
                mask /sys/devices/virtual/powercap
                mask /proc/scsi
                pivot
                limit 7 1048576 ?
                limit 6 18446744073709551615 ?
                limit 4 18446744073709551615 ?
                bounding \(Self.defaults)
                identity 0:0 []
                capabilities \(Self.defaults)
                cd /
                exec sleep 1 env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
                HOSTNAME=pod NAME=value HOME=/
                """)
    }

    @Test func privilegedContainerSeesTheHost() throws {
        var launch = launch()
        launch.config.security.privileged = true
        let text = try launch.plan().description
        #expect(text.contains("\nmount sysfs /sys nosuid,nodev,noexec\n"))
        #expect(text.contains("\nmount cgroup2 /sys/fs/cgroup nosuid,nodev,noexec ?\n"))
        #expect(!text.contains("mask "))
        #expect(!text.contains("readonly "))
        #expect(!text.contains("unshare cgroup"))
        #expect(text.contains("CAP_SYS_ADMIN"))
    }

    @Test func hostNamespacesAreNotEntered() throws {
        var launch = launch()
        (launch.networkNamespace, launch.utsNamespace, launch.ipcNamespace) = (nil, nil, nil)
        launch.pid = .host
        let plan = try launch.plan()
        #expect(plan.namespaces == [.mnt])
        #expect(!plan.description.contains("enter "))
    }

    @Test func seccompIsLoadedBeforeCapabilitiesGoUnlessNoNewPrivileges() throws {
        var launch = launch()
        launch.seccomp = [UInt8](repeating: 0, count: 16)
        let before = try launch.plan().description
        #expect(before.contains("seccomp 2 instructions\nbounding"))
        launch.config.security.noNewPrivileges = true
        let after = try launch.plan().description
        #expect(after.contains("no-new-privileges\nbounding"))
        #expect(after.contains("seccomp 2 instructions\ncd /"))
    }

    @Test func mountsAreOrderedByDepthAndReplaceImplicitOnes() throws {
        var launch = launch()
        launch.volumes = [ContainerMount(hostPath: "/c/volumes/0", containerPath: "/data")]
        launch.config.mounts = [
            ContainerMount(hostPath: "/h/sub", containerPath: "/data/sub", readOnly: true),
            ContainerMount(hostPath: "/h/data", containerPath: "/data/"),
            ContainerMount(hostPath: "/h/hosts", containerPath: "/etc/hosts"),
        ]
        let binds = try launch.plan().description.split(separator: "\n").filter {
            $0.hasPrefix("bind /h") || $0.hasPrefix("bind /c") || $0.hasPrefix("bind /s")
        }
        #expect(
            binds == [
                "bind /h/data /data private", "bind /h/sub /data/sub ro private", "bind /h/hosts /etc/hosts private",
            ])
    }

    @Test func propagationOfMounts() throws {
        var launch = launch()
        launch.config.mounts = [
            ContainerMount(hostPath: "/a", containerPath: "/a"), ContainerMount(hostPath: "/b", containerPath: "/b"),
        ]
        launch.config.mounts[0].propagation = .bidirectional
        launch.config.mounts[1].propagation = .hostToContainer
        let text = try launch.plan().description
        #expect(text.contains("open-tree /a #0\n"))
        #expect(text.contains("bind /a#0 /a\n"))
        #expect(text.contains("bind /b /b slave\n"))
    }

    @Test func commandAndArgumentsReplaceTheImages() throws {
        var launch = launch()
        launch.image.entrypoint = ["entry"]
        launch.image.cmd = ["cmd"]
        func arguments(_ command: [String], _ args: [String]) throws -> [String] {
            (launch.config.command, launch.config.args) = (command, args)
            return try launch.arguments
        }
        #expect(try arguments([], []) == ["entry", "cmd"])
        #expect(try arguments([], ["a"]) == ["entry", "a"])
        #expect(try arguments(["c"], []) == ["c"])
        #expect(try arguments(["c"], ["a"]) == ["c", "a"])
        launch.image = ImageConfig()
        let error = #expect(throws: RuntimeError.self) { try arguments([], []) }
        #expect(error?.message == "no command specified")
    }

    @Test func environmentOfTheContainerReplacesTheImages() {
        var launch = launch()
        launch.image.environment = ["PATH=/image", "NAME=image", "broken"]
        launch.user.home = "/home/x"
        #expect(launch.environment == ["PATH=/image", "HOSTNAME=pod", "NAME=value", "HOME=/home/x"])
        launch.config.tty = true
        #expect(launch.environment.contains("TERM=xterm"))
    }

    @Test func execJoinsTheContainer() throws {
        var launch = launch()
        launch.config.workingDirectory = "/work"
        let plan = try launch.execPlan(ExecRequest(["ls", "-l"]))
        #expect(
            plan.description.hasPrefix(
                """
                clone 
                write /proc/self/oom_score_adj 1000 ?
                join-cgroup /cg/memory/x/cgroup.procs
                enter-target mnt uts ipc net cgroup
                limit 7 1048576 ?
                limit 6 18446744073709551615 ?
                limit 4 18446744073709551615 ?
                bounding
                """))
        #expect(plan.description.contains("\ncd /work\nexec ls -l env PATH="))
        #expect(throws: RuntimeError.self) { try launch.execPlan(ExecRequest([])) }
    }

    @Test func encodedPlansPassTheInterpretersCheck() throws {
        var launch = launch()
        launch.config.tty = true
        launch.seccomp = [UInt8](repeating: 0, count: 8 * 100)
        launch.user.groups = [1, 2, 3]
        launch.config.mounts = [ContainerMount(hostPath: "/a", containerPath: "/a")]
        launch.config.mounts[0].propagation = .bidirectional
        for plan in [
            try launch.plan(), try launch.execPlan(ExecRequest(["true"])),
            ContainerLaunch.pausePlan(cgroupJoinFiles: ["/x"], cgroupDirectory: "/y"),
        ] {
            let bytes = try plan.encode()
            #expect(bytes.withUnsafeBytes { k3s_plan_check($0.baseAddress, $0.count) } == 0)
        }
    }

    @Test func damagedPlansAreRefused() throws {
        let bytes = try launch().plan().encode()
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<20_000 {
            // Whatever a bit flip does to offsets and counts: the check reads inside the plan only.
            var damaged = bytes
            let position = Int.random(in: 0..<damaged.count, using: &generator)
            damaged[position] = UInt8.random(in: 0...255, using: &generator)
            _ = damaged.withUnsafeBytes { k3s_plan_check($0.baseAddress, $0.count) }
        }
        for size in [0, 10, 63, 64, bytes.count - 1] {
            #expect(bytes.withUnsafeBytes { k3s_plan_check($0.baseAddress, size) } == -EINVAL)
        }
    }

    @Test func failuresReadLikeRunc() throws {
        var launch = launch()
        launch.config.command = ["nosuch"]
        launch.config.args = []
        let plan = try launch.plan()
        let last = plan.steps.count - 1
        func text(_ code: Int32, _ detail: k3s_detail) -> String {
            plan.failure(step: last, errno: code, detail: Int32(detail.rawValue))
        }
        #expect(
            text(ENOENT, K3S_DETAIL_NOT_IN_PATH)
                == "unable to start container process: exec: \"nosuch\": executable file not found in $PATH")
        #expect(
            text(ENOENT, K3S_DETAIL_LOOKUP)
                == "unable to start container process: exec: \"nosuch\": stat nosuch: no such file or directory")
        #expect(
            text(EACCES, K3S_DETAIL_LOOKUP) == "unable to start container process: exec: \"nosuch\": permission denied")
        #expect(text(ENOEXEC, K3S_DETAIL_EXEC) == "unable to start container process: exec nosuch: exec format error")
    }

    @Test func aContainerWithPrivateUsersEntersThemBeforeItsIdentity() throws {
        var launch = launch()
        (launch.userNamespace, launch.idBase) = ("/ns/user", 131072)
        launch.appArmor = "profile"
        launch.config.mounts = [ContainerMount(hostPath: "/data", containerPath: "/data", readOnly: true)]
        launch.config.mounts[0].recursiveReadOnly = true
        let lines = try launch.plan().description.split(separator: "\n").map(String.init)
        #expect(lines[1] == "root-is 131072")
        func position(_ line: String) -> Int { lines.firstIndex(of: line) ?? -1 }
        #expect(position("open-users /ns/user") < position("slave /") && position("open-users /ns/user") > 0)
        #expect(lines.contains("mount tmpfs /dev mode=755,size=65536k,uid=131072,gid=131072 nosuid"))
        #expect(lines.contains("mount devpts /dev/pts newinstance,ptmxmode=0666,mode=0620,gid=131077 nosuid,noexec"))
        #expect(lines.contains("bind /data /data ro,recursive,mapped private"))
        #expect(lines.contains("bind /s/hosts /etc/hosts mapped private"))
        // A file system of the pod's own keeps what it is told.
        #expect(lines.contains("bind /ns/shm /dev/shm private"))
        let order = ["pivot", "write /proc/self/attr/apparmor/exec exec profile", "enter-users", "identity 0:0 []"]
        #expect(order.map(position) == order.map(position).sorted() && !order.map(position).contains(-1), "\(lines)")
        let exec = try launch.execPlan(ExecRequest(["true"])).description
        #expect(exec.contains("enter-target mnt uts ipc net cgroup") && exec.contains("enter-users"))
        let pause = ContainerLaunch.pausePlan(cgroupJoinFiles: [], cgroupDirectory: nil, idBase: 131072)
        #expect(pause.description.contains("identity 196607:196607 []"))
        // What the interpreter gets is well-formed.
        let bytes = try launch.plan().encode()
        #expect(bytes.withUnsafeBytes { k3s_plan_check($0.baseAddress, $0.count) } == 0)
    }

    @Test func capabilitiesAreAddedAndDropped() throws {
        let all = CapabilitySet(rawValue: (1 << 41) - 1)
        func set(_ add: [String], _ drop: [String]) throws -> CapabilitySet {
            var security = ContainerSecurity()
            (security.addCapabilities, security.dropCapabilities) = (add, drop)
            return try ContainerLaunch.capabilities(security, available: all)
        }
        #expect(try set(["NET_ADMIN"], ["ALL"]).description == "CAP_NET_ADMIN")
        #expect(try set(["ALL"], ["CAP_SYS_ADMIN"]) == all.subtracting(CapabilitySet(name: "SYS_ADMIN") ?? []))
        #expect(try set([], ["all"]) == [])
        #expect(try set([], []) == .containerDefault)
        let error = #expect(throws: RuntimeError.self) { try set(["NOPE"], []) }
        #expect(error?.message == "capabilities.add: unknown capability \"NOPE\"")
    }
}
