extension CgroupsV2 {
    package func apply(_ limits: CgroupLimits, to path: String) throws(SysError) {
        let directory = directory(path)
        try applyCPU(limits, directory)
        try applyMemory(limits, directory)
        if let pids = limits.pids { try Files.overwrite(directory + "/pids.max", pids <= 0 ? "max" : "\(pids)") }
        if let cpus = limits.cpusetCPUs { try Files.overwrite(directory + "/cpuset.cpus", cpus) }
        if let nodes = limits.cpusetMemoryNodes { try Files.overwrite(directory + "/cpuset.mems", nodes) }
        for (size, bytes) in limits.hugePages.sorted(by: { $0.key < $1.key }) {
            let value = bytes < 0 ? "max" : "\(bytes)"
            // Reservations count when they are made, so that a process fails at mmap and not by SIGBUS later.
            let reserved = directory + "/hugetlb.\(size).rsvd.max"
            if Files.exists(reserved) { try Files.overwrite(reserved, value) }
            try Files.overwrite(directory + "/hugetlb.\(size).max", value)
        }
        try applyIO(limits.io, directory)
    }

    private func applyCPU(_ limits: CgroupLimits, _ directory: String) throws(SysError) {
        if let shares = limits.cpuShares {
            try Files.overwrite(directory + "/cpu.weight", "\(Self.weight(shares: shares))")
        }
        let burst = directory + "/cpu.max.burst"
        if limits.cpuQuota != nil, limits.cpuBurst != nil, Files.exists(burst) { try Files.overwrite(burst, "0") }
        if limits.cpuQuota != nil || limits.cpuPeriod != nil {
            let current = try words(directory + "/cpu.max")
            var (quota, period) = (current.first ?? "max", current.dropFirst().first ?? "100000")
            if let wanted = limits.cpuQuota { quota = wanted <= 0 ? "max" : "\(wanted)" }
            if let wanted = limits.cpuPeriod { period = "\(wanted)" }
            try Files.overwrite(directory + "/cpu.max", "\(quota) \(period)")
        }
        if let value = limits.cpuBurst, value > 0 || Files.exists(burst) { try Files.overwrite(burst, "\(value)") }
    }

    private func applyMemory(_ limits: CgroupLimits, _ directory: String) throws(SysError) {
        func text(_ bytes: Int64, none: String) -> String { bytes <= 0 ? none : "\(bytes)" }
        if limits.memory != nil || limits.swap != nil {
            // Kubernetes does not swap by default; kernels without swap accounting do not have the file.
            let file = directory + "/memory.swap.max"
            if Files.exists(file) {
                let swap = limits.swap ?? (limits.memory ?? 0 <= 0 ? -1 : 0)
                try Files.overwrite(file, swap < 0 ? "max" : "\(swap)")
            }
        }
        // The protections may not exceed what the kernel can keep, but it says so by reclaiming: any order will do.
        if let min = limits.memoryMin { try Files.overwrite(directory + "/memory.min", text(min, none: "0")) }
        if let low = limits.memoryLow { try Files.overwrite(directory + "/memory.low", text(low, none: "0")) }
        if let high = limits.memoryHigh { try Files.overwrite(directory + "/memory.high", text(high, none: "max")) }
        if let memory = limits.memory { try Files.overwrite(directory + "/memory.max", text(memory, none: "max")) }
    }

    private func applyIO(_ io: IOLimits, _ directory: String) throws(SysError) {
        let bfq = directory + "/io.bfq.weight"
        let useBFQ = Files.exists(bfq)
        func write(_ weight: UInt64, _ target: String) throws(SysError) {
            // BFQ has version 1's scale; io.weight goes from 1 to 10000.
            let value = useBFQ ? weight : Self.weight(blkio: weight)
            try Files.overwrite(useBFQ ? bfq : directory + "/io.weight", "\(target) \(value)")
        }
        if let weight = io.weight { try write(weight, "default") }
        for (device, weight) in io.deviceWeights.sorted(by: { $0.key.text < $1.key.text }) {
            try write(weight, device.text)
        }
        for throttle in io.throttles {
            func text(_ value: UInt64) -> String { value == 0 ? "max" : "\(value)" }
            try Files.overwrite(
                directory + "/io.max",
                "\(throttle.device.text) rbps=\(text(throttle.readBytes)) wbps=\(text(throttle.writeBytes)) "
                    + "riops=\(text(throttle.reads)) wiops=\(text(throttle.writes))")
        }
    }

    /// Shares 2, 1024, 262144 become weights 1, 100, 10000 on a curve through these three points, as current container
    /// runtimes convert (the straight line of former years gave 1024 shares a weight of 39).
    package static func weight(shares: UInt64) -> UInt64 {
        if shares == 0 { return 0 }
        if shares <= 2 { return 1 }
        if shares >= 262144 { return 10000 }
        let l = log2(Double(shares))
        let exponent = (l * l + 125 * l) / 612.0 - 7.0 / 34.0
        return min(10000, max(1, UInt64(pow(10, exponent).rounded(.up))))
    }

    /// 10...1000 to 1...10000, linear, as runc and crun convert.
    package static func weight(blkio: UInt64) -> UInt64 {
        if blkio == 0 { return 0 }
        let weight = min(1000, max(10, blkio))
        return 1 + (weight - 10) * 9999 / 990
    }

    package func stats(_ path: String) throws(SysError) -> CgroupStats {
        let directory = directory(path)
        var stats = CgroupStats()
        let cpu = try Files.readString(directory + "/cpu.stat")
        stats.cpuNanoseconds = CgroupTree.field("usage_usec", in: cpu) * 1000
        stats.cpuUserNanoseconds = CgroupTree.field("user_usec", in: cpu) * 1000
        stats.cpuSystemNanoseconds = CgroupTree.field("system_usec", in: cpu) * 1000
        stats.cpuPeriods = CgroupTree.field("nr_periods", in: cpu)
        stats.cpuThrottledPeriods = CgroupTree.field("nr_throttled", in: cpu)
        stats.cpuThrottledNanoseconds = CgroupTree.field("throttled_usec", in: cpu) * 1000
        stats.memoryUsage = try number(directory + "/memory.current")
        let memory = try Files.readString(directory + "/memory.stat")
        let inactive = CgroupTree.field("inactive_file", in: memory)
        stats.memoryWorkingSet = stats.memoryUsage > inactive ? stats.memoryUsage - inactive : 0
        stats.memoryRSS = CgroupTree.field("anon", in: memory)
        stats.memoryCache = CgroupTree.field("file", in: memory)
        stats.memoryMappedFile = CgroupTree.field("file_mapped", in: memory)
        stats.pageFaults = CgroupTree.field("pgfault", in: memory)
        stats.majorPageFaults = CgroupTree.field("pgmajfault", in: memory)
        func optional(_ name: String) throws(SysError) -> String {
            String(decoding: try Files.readIfPresent(directory + "/" + name) ?? [], as: UTF8.self)
        }
        stats.memorySwap = UInt64(try optional("memory.swap.current").filter(\.isNumber)) ?? 0
        stats.oomKills = CgroupTree.field("oom_kill", in: try optional("memory.events"))
        stats.processes = try number(directory + "/pids.current")
        let io = try optional("io.stat")
        stats.readBytes = CgroupTree.traffic(v2: io, "rbytes")
        stats.writtenBytes = CgroupTree.traffic(v2: io, "wbytes")
        stats.reads = CgroupTree.traffic(v2: io, "rios")
        stats.writes = CgroupTree.traffic(v2: io, "wios")
        return stats
    }
}
