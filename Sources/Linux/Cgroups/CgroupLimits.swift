/// Limits of one cgroup; nil fields are left as they are.
///
/// Scales are those of the OCI runtime specification, which are version 1's; version 2 converts (weights) and translates
/// (swap is counted apart there).
package struct CgroupLimits: Sendable, Equatable {
    /// cgroup v1 scale, 2...262144, as Kubernetes computes it (1024 is one CPU).
    package var cpuShares: UInt64?
    /// Microseconds of CPU time per period; negative: no limit.
    package var cpuQuota: Int64?
    package var cpuPeriod: UInt64?
    /// Microseconds of unused quota that may be spent later on.
    package var cpuBurst: UInt64?
    package var cpusetCPUs: String?
    package var cpusetMemoryNodes: String?
    /// Bytes; negative: no limit. Swap is not added to it.
    package var memory: Int64?
    /// Bytes of swap beside the memory; negative: no limit; nil: none where memory is limited.
    package var swap: Int64?
    /// Never reclaimed (v2 only).
    package var memoryMin: Int64?
    /// Reclaimed last: memory.low, version 1's soft limit.
    package var memoryLow: Int64?
    /// Throttled and reclaimed above (v2 only); negative: no limit.
    package var memoryHigh: Int64?
    /// Negative: no limit.
    package var pids: Int64?
    /// Bytes by page size as the kernel names it ("2MB", "1GB"); negative: no limit.
    package var hugePages: [String: Int64] = [:]
    package var io = IOLimits()
    package init() {}
}

/// Limits of disk traffic.
package struct IOLimits: Sendable, Equatable {
    package struct Device: Sendable, Equatable, Hashable {
        package var major: UInt32
        package var minor: UInt32
        package init(_ major: UInt32, _ minor: UInt32) { (self.major, self.minor) = (major, minor) }
        var text: String { "\(major):\(minor)" }
    }

    /// Per second; 0: no limit.
    package struct Throttle: Sendable, Equatable {
        package var device: Device
        package var readBytes: UInt64 = 0
        package var writeBytes: UInt64 = 0
        package var reads: UInt64 = 0
        package var writes: UInt64 = 0
        package init(_ device: Device) { self.device = device }
    }

    /// 10...1000, version 1's scale (500 is usual).
    package var weight: UInt64?
    package var deviceWeights: [Device: UInt64] = [:]
    package var throttles: [Throttle] = []
    package init() {}
    var isEmpty: Bool { weight == nil && deviceWeights.isEmpty && throttles.isEmpty }
}

/// What a cgroup and those below it have used. Times in nanoseconds, sizes in bytes.
package struct CgroupStats: Sendable, Equatable {
    package var cpuNanoseconds: UInt64 = 0
    package var cpuUserNanoseconds: UInt64 = 0
    package var cpuSystemNanoseconds: UInt64 = 0
    /// Periods of the quota, and how many of them ended before their time.
    package var cpuPeriods: UInt64 = 0
    package var cpuThrottledPeriods: UInt64 = 0
    package var cpuThrottledNanoseconds: UInt64 = 0
    package var memoryUsage: UInt64 = 0
    /// Usage without page cache that could be dropped at once.
    package var memoryWorkingSet: UInt64 = 0
    /// Anonymous memory.
    package var memoryRSS: UInt64 = 0
    package var memoryCache: UInt64 = 0
    package var memoryMappedFile: UInt64 = 0
    package var memorySwap: UInt64 = 0
    package var pageFaults: UInt64 = 0
    package var majorPageFaults: UInt64 = 0
    /// Processes that the kernel killed for want of memory.
    package var oomKills: UInt64 = 0
    package var processes: UInt64 = 0
    package var readBytes: UInt64 = 0
    package var writtenBytes: UInt64 = 0
    package var reads: UInt64 = 0
    package var writes: UInt64 = 0
    package init() {}
}
