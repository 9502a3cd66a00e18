import Codecs
import Linux

/// Files that every container of a pod sees unless it mounts its own: /etc/hostname, /etc/hosts, /etc/resolv.conf.
struct SandboxFiles: Sendable {
    static let names = ["hostname", "hosts", "resolv.conf"]

    let config: SandboxConfig

    init(_ config: SandboxConfig) { self.config = config }

    func write(to directory: String) throws(SysError) {
        let hostname = config.network == .node ? Self.nodeHostname() : config.hostname
        try Files.write(directory + "/hostname", Array((hostname + "\n").utf8))
        try Files.write(directory + "/hosts", try Files.readIfPresent("/etc/hosts", limit: 1 << 20) ?? [])
        try Files.write(directory + "/resolv.conf", try resolver())
    }

    private func resolver() throws(SysError) -> [UInt8] {
        guard let dns = config.dns else { return try Files.readIfPresent("/etc/resolv.conf", limit: 1 << 20) ?? [] }
        var text = ""
        if !dns.searches.isEmpty { text += "search \(dns.searches.joined(separator: " "))\n" }
        for server in dns.servers { text += "nameserver \(server)\n" }
        if !dns.options.isEmpty { text += "options \(dns.options.joined(separator: " "))\n" }
        return Array(text.utf8)
    }

    static func nodeHostname() -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// Kernel settings of a pod's namespaces.
enum Sysctls {
    struct Setting: Sendable {
        var file: String
        var value: String
        var optional = false
    }

    /// What the pod asks for, after what k3s sets for every pod with its own network: ports below 1024 and ping for
    /// everybody (containerd's enable_unprivileged_ports and enable_unprivileged_icmp).
    static func settings(_ config: SandboxConfig) throws(RuntimeError) -> [Setting] {
        var settings: [Setting] = []
        if config.network != .node {
            settings.append(Setting(file: path("net.ipv4.ip_unprivileged_port_start"), value: "0", optional: true))
            settings.append(Setting(file: path("net.ipv4.ping_group_range"), value: "0 2147483647", optional: true))
        }
        for (name, value) in config.sysctls.sorted(by: { $0.key < $1.key }) {
            let file = path(name)
            guard !name.isEmpty, !file.contains("/../") else {
                throw RuntimeError(.invalid, "sysctls: \"\(name)\" is not the name of a kernel setting")
            }
            if file.hasPrefix("/proc/sys/net/") && config.network == .node {
                throw RuntimeError(.invalid, "sysctls: \"\(name)\" not allowed with the node's network namespace")
            }
            settings.append(Setting(file: file, value: value))
        }
        return settings
    }

    /// "net.ipv4.conf.all.x" or "net/ipv4/conf/eth0.1/x": whichever separator comes first is the separator.
    static func path(_ name: String) -> String {
        let separator = name.first { $0 == "." || $0 == "/" }
        return "/proc/sys/" + (separator == "." ? String(name.map { $0 == "." ? "/" : $0 == "/" ? "." : $0 }) : name)
    }
}

extension CgroupLimits {
    init(_ resources: ContainerResources) {
        self.init()
        cpuShares = resources.cpuShares
        cpuQuota = resources.cpuQuotaMicroseconds
        cpuPeriod = resources.cpuPeriodMicroseconds
        cpuBurst = resources.cpuBurstMicroseconds
        memory = resources.memoryLimitBytes
        swap = resources.swapLimitBytes
        memoryMin = resources.memoryMinBytes
        memoryLow = resources.memoryLowBytes
        memoryHigh = resources.memoryHighBytes
        pids = resources.pidsLimit
        cpusetCPUs = resources.cpusetCPUs
        cpusetMemoryNodes = resources.cpusetMemoryNodes
        hugePages = resources.hugePages ?? [:]
        io.weight = resources.ioWeight
    }
}

extension ContainerStats {
    init(_ stats: CgroupStats) {
        self.init()
        cpuNanoseconds = stats.cpuNanoseconds
        cpuUserNanoseconds = stats.cpuUserNanoseconds
        cpuSystemNanoseconds = stats.cpuSystemNanoseconds
        cpuPeriods = stats.cpuPeriods
        cpuThrottledPeriods = stats.cpuThrottledPeriods
        cpuThrottledNanoseconds = stats.cpuThrottledNanoseconds
        memoryUsageBytes = stats.memoryUsage
        memoryWorkingSetBytes = stats.memoryWorkingSet
        memoryRSSBytes = stats.memoryRSS
        memoryCacheBytes = stats.memoryCache
        memoryMappedFileBytes = stats.memoryMappedFile
        memorySwapBytes = stats.memorySwap
        (pageFaults, majorPageFaults) = (stats.pageFaults, stats.majorPageFaults)
        oomKills = stats.oomKills
        (readBytes, writtenBytes) = (stats.readBytes, stats.writtenBytes)
        (reads, writes) = (stats.reads, stats.writes)
        processes = stats.processes
    }
}
