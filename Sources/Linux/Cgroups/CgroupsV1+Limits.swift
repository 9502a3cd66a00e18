extension CgroupsV1 {
    package func apply(_ limits: CgroupLimits, to path: String) throws(SysError) {
        try applyCPU(limits, path)
        if limits.memory != nil || limits.swap != nil { try applyMemory(limits, path) }
        if let low = limits.memoryLow {
            try write("memory", path, "memory.soft_limit_in_bytes", low <= 0 ? "-1" : "\(low)")
        }
        if let pids = limits.pids { try write("pids", path, "pids.max", pids <= 0 ? "max" : "\(pids)") }
        if let cpus = limits.cpusetCPUs { try write("cpuset", path, "cpuset.cpus", cpus) }
        if let nodes = limits.cpusetMemoryNodes { try write("cpuset", path, "cpuset.mems", nodes) }
        if !limits.hugePages.isEmpty {
            try createOnDemand("hugetlb", path)
            for (size, bytes) in limits.hugePages.sorted(by: { $0.key < $1.key }) {
                try write("hugetlb", path, "hugetlb.\(size).limit_in_bytes", bytes < 0 ? "-1" : "\(bytes)")
            }
        }
        if !limits.io.isEmpty { try applyIO(limits.io, path) }
    }

    /// The kernel refuses a pair of period and quota that exceeds the parent's, and sees one file at a time: when the
    /// period is refused beside the old quota, the quota goes first.
    private func applyCPU(_ limits: CgroupLimits, _ path: String) throws(SysError) {
        if let shares = limits.cpuShares { try write("cpu", path, "cpu.shares", "\(max(2, shares))") }
        let burst = try file("cpu", path, "cpu.cfs_burst_us")
        if limits.cpuQuota != nil, limits.cpuBurst != nil, Files.exists(burst) { try Files.overwrite(burst, "0") }
        let quota = limits.cpuQuota.map { $0 <= 0 ? "-1" : "\($0)" }
        var quotaIsSet = false
        if let period = limits.cpuPeriod {
            do throws(SysError) { try write("cpu", path, "cpu.cfs_period_us", "\(period)") } catch {
                guard error.code == EINVAL, let quota else { throw error }
                try write("cpu", path, "cpu.cfs_quota_us", quota)
                quotaIsSet = true
                try write("cpu", path, "cpu.cfs_period_us", "\(period)")
            }
        }
        if let quota, !quotaIsSet { try write("cpu", path, "cpu.cfs_quota_us", quota) }
        // Kernels before 5.14 have no burst.
        if let value = limits.cpuBurst, value > 0 || Files.exists(burst) { try Files.overwrite(burst, "\(value)") }
    }

    /// memory + swap may never be below memory: which of the two is written first depends on the direction.
    private func applyMemory(_ limits: CgroupLimits, _ path: String) throws(SysError) {
        var memory = limits.memory ?? 0
        if limits.memory == nil { memory = Int64(clamping: try number("memory", path, "memory.limit_in_bytes")) }
        let value = memory <= 0 ? "-1" : "\(memory)"
        let swap = try file("memory", path, "memory.memsw.limit_in_bytes")
        guard Files.exists(swap) else {
            if limits.memory != nil { try write("memory", path, "memory.limit_in_bytes", value) }
            return
        }
        let extra = limits.swap ?? 0
        let sum = memory <= 0 || extra < 0 ? -1 : memory.addingReportingOverflow(extra).partialValue
        let both = sum <= 0 ? "-1" : "\(sum)"
        let current = try number("memory", path, "memory.memsw.limit_in_bytes")
        let growing = sum <= 0 || UInt64(sum) > current
        if growing { try Files.overwrite(swap, both) }
        if limits.memory != nil { try write("memory", path, "memory.limit_in_bytes", value) }
        if !growing { try Files.overwrite(swap, both) }
    }

    private func applyIO(_ io: IOLimits, _ path: String) throws(SysError) {
        try createOnDemand("blkio", path)
        // BFQ is the one scheduler that knows weights on current kernels; CFQ had them before 5.0.
        func weightFile(_ suffix: String) throws(SysError) -> String {
            let bfq = try file("blkio", path, "blkio.bfq.weight" + suffix)
            return Files.exists(bfq) ? bfq : try file("blkio", path, "blkio.weight" + suffix)
        }
        if let weight = io.weight { try Files.overwrite(weightFile(""), "\(weight)") }
        for (device, weight) in io.deviceWeights.sorted(by: { $0.key.text < $1.key.text }) {
            try Files.overwrite(weightFile("_device"), "\(device.text) \(weight)")
        }
        for throttle in io.throttles {
            let device = throttle.device.text
            for (name, value) in [
                ("read_bps", throttle.readBytes), ("write_bps", throttle.writeBytes), ("read_iops", throttle.reads),
                ("write_iops", throttle.writes),
            ] { try write("blkio", path, "blkio.throttle.\(name)_device", "\(device) \(value)") }
        }
    }

    package func stats(_ path: String) throws(SysError) -> CgroupStats {
        var stats = CgroupStats()
        stats.cpuNanoseconds = try number("cpuacct", path, "cpuacct.usage")
        // In ticks of 10 ms.
        let accounting = try text("cpuacct", path, "cpuacct.stat")
        stats.cpuUserNanoseconds = CgroupTree.field("user", in: accounting) * 10_000_000
        stats.cpuSystemNanoseconds = CgroupTree.field("system", in: accounting) * 10_000_000
        let bandwidth = try text("cpu", path, "cpu.stat")
        stats.cpuPeriods = CgroupTree.field("nr_periods", in: bandwidth)
        stats.cpuThrottledPeriods = CgroupTree.field("nr_throttled", in: bandwidth)
        stats.cpuThrottledNanoseconds = CgroupTree.field("throttled_time", in: bandwidth)
        stats.memoryUsage = try number("memory", path, "memory.usage_in_bytes")
        let memory = try Files.readString(file("memory", path, "memory.stat"))
        let inactive = CgroupTree.field("total_inactive_file", in: memory)
        stats.memoryWorkingSet = stats.memoryUsage > inactive ? stats.memoryUsage - inactive : 0
        stats.memoryRSS = CgroupTree.field("total_rss", in: memory)
        stats.memoryCache = CgroupTree.field("total_cache", in: memory)
        stats.memoryMappedFile = CgroupTree.field("total_mapped_file", in: memory)
        stats.memorySwap = CgroupTree.field("total_swap", in: memory)
        stats.pageFaults = CgroupTree.field("total_pgfault", in: memory)
        stats.majorPageFaults = CgroupTree.field("total_pgmajfault", in: memory)
        stats.oomKills = CgroupTree.field("oom_kill", in: try text("memory", path, "memory.oom_control"))
        stats.processes = try number("pids", path, "pids.current")
        if let blkio = directory("blkio", path), Files.isDirectory(blkio) {
            for (name, bytes) in [("io_service_bytes", true), ("io_serviced", false)] {
                let table = try text("blkio", path, "blkio.throttle.\(name)_recursive")
                let (reads, writes) = CgroupTree.traffic(v1: table)
                if bytes { (stats.readBytes, stats.writtenBytes) = (reads, writes) }
                if !bytes { (stats.reads, stats.writes) = (reads, writes) }
            }
        }
        return stats
    }

    /// Empty where the kernel does not have the file.
    private func text(_ controller: String, _ path: String, _ name: String) throws(SysError) -> String {
        guard let directory = directory(controller, path) else { return "" }
        return String(decoding: try Files.readIfPresent(directory + "/" + name) ?? [], as: UTF8.self)
    }
}
