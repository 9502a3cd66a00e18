// What the node agent asks of a container runtime. The real one is `Runtime` (launch plans, the shim, overlayfs);
// `FakeRuntime` keeps everything in memory, for the node's tests. The shapes follow CRI v1
// (k8s.io/cri-api/pkg/apis/runtime/v1) without its wire form, so that a socket can be put in front later.

package protocol ContainerRuntime: Sendable {
    /// Makes the pod's namespaces and cgroup. The network namespace is up but holds only `lo`.
    func runSandbox(_ config: SandboxConfig) async throws(RuntimeError) -> SandboxStatus
    /// Kills what runs in the sandbox and lets its namespaces go. Idempotent.
    func stopSandbox(_ id: String) async throws(RuntimeError)
    /// Removes a stopped sandbox with its containers. Idempotent.
    func removeSandbox(_ id: String) async throws(RuntimeError)
    func sandboxes() async -> [SandboxStatus]

    /// Prepares rootfs and files of a container; the image must be present. Returns the container's id.
    func createContainer(_ config: ContainerConfig, sandbox: String) async throws(RuntimeError) -> String
    /// Starts a created container; returns when exec has happened, or throws with the reason and the errno's text.
    func startContainer(_ id: String) async throws(RuntimeError)
    /// Sends `signal` (nil: the image's stop signal or SIGTERM), waits up to `grace`, then kills. Idempotent.
    func stopContainer(_ id: String, signal: Int32?, grace: Duration) async throws(RuntimeError)
    /// Removes an exited or created container, not its log files. Idempotent.
    func removeContainer(_ id: String) async throws(RuntimeError)
    func container(_ id: String) async throws(RuntimeError) -> ContainerStatus
    func containers() async -> [ContainerStatus]
    /// Live limits (in-place resize).
    func updateResources(_ id: String, _ resources: ContainerResources) async throws(RuntimeError)

    /// Limits of a cgroup above the pods' ("kubepods", "kubepods/burstable"), which is made when it is missing.
    func updateCgroup(_ path: String, _ resources: ContainerResources) async throws(RuntimeError)
    /// What a container has on the disk of its own: its writable layer, the image's volumes and its logs.
    func diskUsage(_ id: String) async throws(RuntimeError) -> ContainerDiskUsage
    /// Live limits of the pod as a whole.
    func updateSandboxResources(_ id: String, _ resources: ContainerResources) async throws(RuntimeError)
    /// Usage of the pod's cgroup: all containers, the finished ones' CPU time included.
    func sandboxStats(_ id: String) async throws(RuntimeError) -> ContainerStats

    /// Counters of the interfaces of the pod's network namespace, `lo` left out.
    func networkStats(sandbox: String) async throws(RuntimeError) -> [InterfaceStats]

    /// Every exit from now on, and every one that happened since the last call of a previous process.
    func events() -> AsyncStream<ContainerEvent>

    /// Runs a command in a running container with streams attached.
    func exec(_ id: String, _ request: ExecRequest) async throws(RuntimeError) -> any ContainerProcess
    /// Runs a command to its end; output is bounded at 16 KiB per stream; kills it after `timeout`.
    func execSync(_ id: String, command: [String], timeout: Duration) async throws(RuntimeError) -> ExecResult
    /// The main process's streams, from now on (the log has what came before).
    func attach(_ id: String, _ request: AttachRequest) async throws(RuntimeError) -> any ContainerProcess
    func stats(_ id: String) async throws(RuntimeError) -> ContainerStats

    /// Path through which files of the pod's network namespace can be opened (a bind mount below the state directory,
    /// or /proc/PID/ns/net); valid until the sandbox is stopped.
    func networkNamespacePath(sandbox: String) async throws(RuntimeError) -> String
    /// Connects to a TCP port on localhost inside the pod's network namespace (port-forward). Blocking descriptor, owned by the caller.
    func dial(sandbox: String, port: UInt16) async throws(RuntimeError) -> Int32

    /// Mounts an image that is present read-only at a directory (image volumes), which is made; again is fine. It is in
    /// use until it is unmounted.
    func mountImage(_ id: String, at path: String) async throws(RuntimeError)

    /// nil: pods can be run; else why not (the message of the node's Ready condition).
    func notReadyReason() async -> String?
    /// false: the sandbox has died by itself.
    func isReady(sandbox: String) async -> Bool

    var images: any ImageService { get }
}

extension ContainerRuntime {
    package func notReadyReason() async -> String? { nil }
    package func isReady(sandbox: String) async -> Bool { true }
}

package struct RuntimeError: Error, Sendable, CustomStringConvertible {
    package enum Code: Sendable, Equatable {
        case notFound, alreadyExists, invalid, imageNotPresent
        /// The container could not be created or its process not started (reason CreateContainerError / RunContainerError / StartError).
        case createFailed, startFailed
        case unavailable, timedOut, io
    }
    package var code: Code
    /// One line that names the object, what failed, and the errno's text.
    package var message: String
    package var description: String { message }
    package init(_ code: Code, _ message: String) { (self.code, self.message) = (code, message) }
}

package struct SandboxConfig: Sendable, Equatable {
    package enum NamespaceMode: Sendable, Equatable { case pod, container, node, target(String) }
    package var podUID = ""
    package var name = ""
    package var namespace = ""
    package var attempt: UInt32 = 0
    package var hostname = ""
    /// Directory of the pod's logs, e.g. /var/log/pods/<ns>_<name>_<uid>.
    package var logDirectory = ""
    package var labels: [String: String] = [:]
    package var annotations: [String: String] = [:]
    package var network: NamespaceMode = .pod
    package var pid: NamespaceMode = .container
    package var ipc: NamespaceMode = .pod
    /// A user namespace of the pod's own (hostUsers: false).
    package var privateUsers = false
    /// Host id of the root of that namespace, which has 65536 ids; chosen by the runtime.
    package var idBase: UInt32 = 0
    package var sysctls: [String: String] = [:]
    /// For runtimes that make the pod's network themselves.
    package var hostPorts: [HostPort] = []
    /// Content of /etc/resolv.conf for containers that mount none of their own; nil: the node's.
    package var dns: SandboxDNS?
    /// Below the QoS parent: "kubepods", "kubepods/burstable" or "kubepods/besteffort"; the pod's directory is pod<uid>.
    package var cgroupParent = "kubepods"
    /// Limits of the pod as a whole; nil fields are not limited.
    package var resources = ContainerResources()
    package init() {}
}

extension SandboxConfig {
    package struct HostPort: Sendable, Equatable {
        package var hostIP: String
        package var hostPort: UInt16
        package var containerPort: UInt16
        /// "TCP", "UDP", "SCTP"
        package var transport: String
        package init(hostIP: String, hostPort: UInt16, containerPort: UInt16, transport: String) {
            (self.hostIP, self.hostPort) = (hostIP, hostPort)
            (self.containerPort, self.transport) = (containerPort, transport)
        }
    }
}

package struct SandboxDNS: Sendable, Equatable {
    package var servers: [String] = []
    package var searches: [String] = []
    package var options: [String] = []
    package init(servers: [String] = [], searches: [String] = [], options: [String] = []) {
        (self.servers, self.searches, self.options) = (servers, searches, options)
    }
}

package struct SandboxStatus: Sendable, Equatable {
    package enum State: Sendable { case ready, notReady }
    package var id = ""
    package var config = SandboxConfig()
    package var state: State = .ready
    /// Nanoseconds since the epoch.
    package var createdAt: Int64 = 0
    package init() {}
}

package struct ContainerResources: Sendable, Equatable, Codable {
    package var cpuShares: UInt64?
    package var cpuQuotaMicroseconds: Int64?
    package var cpuPeriodMicroseconds: UInt64?
    package var cpuBurstMicroseconds: UInt64?
    package var memoryLimitBytes: Int64?
    /// Swap beside the memory; nil: none where memory is limited.
    package var swapLimitBytes: Int64?
    /// Version 2 only, but for `memoryLow`.
    package var memoryMinBytes: Int64?
    package var memoryLowBytes: Int64?
    package var memoryHighBytes: Int64?
    package var pidsLimit: Int64?
    package var cpusetCPUs: String?
    package var cpusetMemoryNodes: String?
    /// Bytes by the kernel's name of the page size ("2MB").
    package var hugePages: [String: Int64]?
    /// 10...1000.
    package var ioWeight: UInt64?
    package var oomScoreAdj: Int?
    package init() {}
}

package struct ContainerMount: Sendable, Equatable {
    package enum Propagation: Sendable { case privateMount, hostToContainer, bidirectional }
    /// Absolute host path; what it names is bind mounted (file or directory).
    package var hostPath: String
    package var containerPath: String
    package var readOnly = false
    /// What is mounted below is read-only as well.
    package var recursiveReadOnly = false
    package var propagation: Propagation = .privateMount
    package init(hostPath: String, containerPath: String, readOnly: Bool = false) {
        (self.hostPath, self.containerPath, self.readOnly) = (hostPath, containerPath, readOnly)
    }
}

package struct ContainerSecurity: Sendable, Equatable {
    package enum Seccomp: Sendable, Equatable { case runtimeDefault, unconfined, localhost(path: String) }
    package enum AppArmor: Sendable, Equatable { case runtimeDefault, unconfined, localhost(String) }
    package var privileged = false
    /// nil: the runtime's default where the node has AppArmor and the profile is loaded.
    package var appArmor: AppArmor?
    /// Kept by a process that is not root (CRI only: Kubernetes has no field for it).
    package var ambientCapabilities: [String] = []
    package var addCapabilities: [String] = []
    package var dropCapabilities: [String] = []
    /// nil: the image's user decides.
    package var runAsUser: Int64?
    package var runAsGroup: Int64?
    package var supplementalGroups: [Int64] = []
    /// supplementalGroupsPolicy Strict: what the image's /etc/group says of the user does not count.
    package var strictSupplementalGroups = false
    package var readOnlyRootFilesystem = false
    package var noNewPrivileges = false
    package var seccomp: Seccomp = .unconfined
    /// true: procMount Unmasked.
    package var unmaskedProc = false
    /// A name from the image's /etc/passwd; only where `runAsUser` is nil (CRI only).
    package var runAsUsername = ""
    /// nil: the runtime's own lists (CRI only).
    package var maskedPaths: [String]?
    package var readOnlyPaths: [String]?
    package init() {}
}

package struct ContainerConfig: Sendable, Equatable {
    package var name = ""
    package var attempt: UInt32 = 0
    /// Reference or image id (sha256:...).
    package var image = ""
    /// Empty: the image's entrypoint (and cmd, if args are empty too).
    package var command: [String] = []
    package var args: [String] = []
    /// Empty: the image's.
    package var workingDirectory = ""
    package var environment: [(name: String, value: String)] = []
    package var mounts: [ContainerMount] = []
    package var labels: [String: String] = [:]
    package var annotations: [String: String] = [:]
    /// Relative to the sandbox's log directory, e.g. "app/0.log".
    package var logPath = ""
    package var stdin = false
    package var stdinOnce = false
    package var tty = false
    package var resources = ContainerResources()
    package var security = ContainerSecurity()
    /// "/dev/x", "/dev/x:/dev/y" or "/dev/x:/dev/y:rw" (host path, path in the container, access).
    package var devices: [String] = []
    /// "SIGUSR1"; empty: the image's.
    package var stopSignal = ""
    /// nil: as the sandbox says; `.target` joins the PID namespace of another container (ephemeral containers).
    package var pid: SandboxConfig.NamespaceMode?
    package init() {}

    package static func == (a: Self, b: Self) -> Bool {
        a.name == b.name && a.attempt == b.attempt && a.image == b.image && a.command == b.command && a.args == b.args
            && a.workingDirectory == b.workingDirectory
            && a.environment.elementsEqual(b.environment, by: { $0.name == $1.name && $0.value == $1.value })
            && a.mounts == b.mounts && a.labels == b.labels && a.annotations == b.annotations && a.logPath == b.logPath
            && a.stdin == b.stdin && a.stdinOnce == b.stdinOnce && a.tty == b.tty && a.resources == b.resources
            && a.security == b.security && a.devices == b.devices && a.pid == b.pid && a.stopSignal == b.stopSignal
    }
}

package struct ContainerStatus: Sendable, Equatable {
    package enum State: Sendable, Equatable { case created, running, exited, unknown }
    package var id = ""
    package var sandbox = ""
    package var name = ""
    package var attempt: UInt32 = 0
    package var state: State = .created
    /// As asked for, and the id of the image (sha256:...).
    package var image = ""
    package var imageID = ""
    package var pid: Int32 = 0
    /// Nanoseconds since the epoch; 0: has not happened.
    package var createdAt: Int64 = 0
    package var startedAt: Int64 = 0
    package var finishedAt: Int64 = 0
    /// 128 + signal when killed by a signal.
    package var exitCode: Int32 = 0
    /// "Completed", "Error", "OOMKilled", "StartError", "ContainerCannotRun"
    package var reason = ""
    package var message = ""
    package var logPath = ""
    package var labels: [String: String] = [:]
    package var annotations: [String: String] = [:]
    package init() {}
}

package struct ContainerEvent: Sendable, Equatable {
    package enum Kind: Sendable { case started, exited, removed }
    package var kind: Kind
    package var container: String
    package var sandbox: String
    package init(_ kind: Kind, container: String, sandbox: String) {
        (self.kind, self.container, self.sandbox) = (kind, container, sandbox)
    }
}

package struct ExecRequest: Sendable {
    package var command: [String]
    package var stdin = false
    package var stdout = true
    /// Ignored with a tty: everything arrives on stdout.
    package var stderr = true
    package var tty = false
    package init(_ command: [String]) { self.command = command }
}

package struct AttachRequest: Sendable {
    package var stdin = false
    package var stdout = true
    package var stderr = true
    package init(stdin: Bool = false) { self.stdin = stdin }
}

package struct ExecResult: Sendable, Equatable {
    package var exitCode: Int32
    package var stdout: [UInt8]
    package var stderr: [UInt8]
    package init(exitCode: Int32, stdout: [UInt8], stderr: [UInt8]) {
        (self.exitCode, self.stdout, self.stderr) = (exitCode, stdout, stderr)
    }
}

/// A process with streams attached. Reading ends with nil; `wait` may be called once streams are drained or not.
package protocol ContainerProcess: Sendable {
    /// Backpressured; throws once the process has closed its stdin.
    func writeStdin(_ bytes: [UInt8]) async throws(RuntimeError)
    func closeStdin() async
    func readStdout() async -> [UInt8]?
    func readStderr() async -> [UInt8]?
    func resize(columns: UInt16, rows: UInt16) async
    /// Exit code (128 + signal); for an attach: of the container's main process.
    func wait() async throws(RuntimeError) -> Int32
    /// Lets the streams go; an exec'd process whose client went away gets SIGKILL (exec), an attached one lives on.
    func close() async
}

package struct ContainerDiskUsage: Sendable, Equatable {
    /// Bytes on disk and files of the writable layer.
    package var layerBytes: Int64 = 0
    package var layerFiles: Int64 = 0
    package var logBytes: Int64 = 0
    package var logFiles: Int64 = 0
    package init() {}
}

package struct InterfaceStats: Sendable, Equatable {
    package var name = ""
    package var receivedBytes: UInt64 = 0
    package var receivedPackets: UInt64 = 0
    package var receiveErrors: UInt64 = 0
    package var receiveDrops: UInt64 = 0
    package var sentBytes: UInt64 = 0
    package var sentPackets: UInt64 = 0
    package var sendErrors: UInt64 = 0
    package var sendDrops: UInt64 = 0
    package init() {}

    /// /proc/net/dev: two lines of headings, then "name: eight receive counters, eight transmit counters".
    package static func parse(_ text: String) -> [InterfaceStats] {
        text.split(separator: "\n").compactMap { line in
            guard let colon = line.firstIndex(of: ":") else { return nil }
            let values = line[line.index(after: colon)...].split(separator: " ").compactMap { UInt64($0) }
            guard values.count >= 12 else { return nil }
            var stats = InterfaceStats()
            stats.name = String(line[..<colon].drop { $0 == " " })
            (stats.receivedBytes, stats.receivedPackets) = (values[0], values[1])
            (stats.receiveErrors, stats.receiveDrops) = (values[2], values[3])
            (stats.sentBytes, stats.sentPackets) = (values[8], values[9])
            (stats.sendErrors, stats.sendDrops) = (values[10], values[11])
            return stats
        }
    }
}

package struct ContainerStats: Sendable, Equatable {
    package var cpuNanoseconds: UInt64 = 0
    package var cpuUserNanoseconds: UInt64 = 0
    package var cpuSystemNanoseconds: UInt64 = 0
    package var cpuPeriods: UInt64 = 0
    package var cpuThrottledPeriods: UInt64 = 0
    package var cpuThrottledNanoseconds: UInt64 = 0
    package var memoryUsageBytes: UInt64 = 0
    package var memoryWorkingSetBytes: UInt64 = 0
    package var memoryRSSBytes: UInt64 = 0
    package var memoryCacheBytes: UInt64 = 0
    package var memoryMappedFileBytes: UInt64 = 0
    package var memorySwapBytes: UInt64 = 0
    package var pageFaults: UInt64 = 0
    package var majorPageFaults: UInt64 = 0
    package var oomKills: UInt64 = 0
    package var processes: UInt64 = 0
    package var readBytes: UInt64 = 0
    package var writtenBytes: UInt64 = 0
    package var reads: UInt64 = 0
    package var writes: UInt64 = 0
    package init() {}
}
