import Containers
import Testing

@Suite struct RecordsTests {
    @Test func containerRecordSurvivesTheDisk() throws {
        var record = ContainerRecord()
        record.config.name = "app"
        record.config.attempt = 3
        record.config.image = "busybox"
        record.config.command = ["a", "b"]
        record.config.args = ["c"]
        record.config.workingDirectory = "/w"
        record.config.environment = [("A", "1=2"), ("EMPTY", "")]
        record.config.mounts = [ContainerMount(hostPath: "/h", containerPath: "/c", readOnly: true)]
        record.config.mounts[0].propagation = .hostToContainer
        record.config.labels = ["l": "v"]
        record.config.annotations = ["a": "v"]
        record.config.logPath = "app/3.log"
        (record.config.stdin, record.config.stdinOnce, record.config.tty) = (true, true, true)
        record.config.resources.memoryLimitBytes = 5_000_000_000
        record.config.resources.cpuShares = 2
        record.config.resources.oomScoreAdj = -997
        record.config.security.runAsUser = 1
        record.config.security.seccomp = .localhost(path: "x.json")
        record.config.security.addCapabilities = ["NET_ADMIN"]
        record.config.security.supplementalGroups = [4_294_967_000]
        record.config.devices = ["/dev/null"]
        record.config.pid = .target("other")
        record.image.entrypoint = ["e"]
        record.image.volumes = ["/v"]
        record.user = ResolvedUser(uid: 1, gid: 2, groups: [3], home: "/h")
        record.lower = ["/l2", "/l1"]
        record.status.id = "id"
        record.status.sandbox = "sandbox"
        (record.status.name, record.status.attempt, record.status.image) = ("app", 3, "busybox")
        record.status.imageID = "sha256:x"
        record.status.state = .exited
        record.status.createdAt = 1
        record.status.startedAt = 2
        record.status.finishedAt = 3
        record.status.exitCode = 137
        record.status.reason = "OOMKilled"
        record.status.message = "m"
        record.status.logPath = "/log"
        record.status.labels = ["l": "v"]
        record.status.annotations = ["a": "v"]
        record.announcedStart = true
        #expect(ContainerRecord(record.encode()) == record)
    }

    @Test func sandboxRecordSurvivesTheDisk() throws {
        var record = SandboxRecord()
        record.status.id = "id"
        record.status.createdAt = 1
        record.status.state = .notReady
        record.status.config.podUID = "uid"
        record.status.config.attempt = 2
        record.status.config.network = .node
        record.status.config.pid = .pod
        record.status.config.sysctls = ["net.core.somaxconn": "5"]
        record.status.config.dns = SandboxDNS(servers: ["10.0.0.10"], searches: ["svc"], options: ["ndots:5"])
        record.status.config.resources.pidsLimit = 100
        #expect(SandboxRecord(record.encode()) == record)
        #expect(record.hasPause)
    }

    @Test(arguments: ["", "{", "{}", "null", #"{"version":2,"id":"x"}"#])
    func damagedRecordsAreRefused(_ text: String) {
        #expect(SandboxRecord(Array(text.utf8)) == nil)
        #expect(ContainerRecord(Array(text.utf8)) == nil)
    }
}
