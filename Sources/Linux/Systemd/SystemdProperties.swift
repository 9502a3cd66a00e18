/// Limits as properties of units. systemd writes them into the cgroup's files, now and whenever it writes these again.
/// Source: systemd.resource-control(5), org.freedesktop.systemd1(5).
package struct SystemdProperties: Sendable, Equatable {
    package var list: [(name: String, value: DBusMessage.Value)] = []

    package static func == (a: Self, b: Self) -> Bool {
        a.list.elementsEqual(b.list) { $0.name == $1.name && $0.value == $1.value }
    }

    package init() {}

    /// Of a unit that is made: counted, with all controllers, out of the machine's early stages of shutdown (the kubelet
    /// has its own order), and forgotten when it ends, however it does.
    package init(of unit: SystemdUnit, process: UInt32?) {
        add("Description", .string("k3s: \(unit.name)"))
        add("DefaultDependencies", .bool(false))
        for name in ["CPUAccounting", "MemoryAccounting", "IOAccounting", "TasksAccounting"] { add(name, .bool(true)) }
        add("CollectMode", .string("inactive-or-failed"))
        guard unit.kind == .scope else { return }
        add("Slice", .string(unit.slice))
        add("Delegate", .bool(true))
        // Pods have limits of their own.
        add("TasksMax", .uint64(.max))
        if let process { add("PIDs", .array("u", [.uint32(process)])) }
    }

    package init(_ limits: CgroupLimits) {
        if let shares = limits.cpuShares { add("CPUWeight", .uint64(CgroupsV2.weight(shares: shares))) }
        if limits.cpuQuota != nil || limits.cpuPeriod != nil {
            let period = limits.cpuPeriod ?? 100_000
            add("CPUQuotaPeriodUSec", .uint64(period))
            add("CPUQuotaPerSecUSec", .uint64(Self.quotaPerSecond(limits.cpuQuota ?? -1, period: period)))
        }
        if let memory = limits.memory { add("MemoryMax", Self.bytes(memory)) }
        if let high = limits.memoryHigh { add("MemoryHigh", Self.bytes(high)) }
        if let low = limits.memoryLow { add("MemoryLow", .uint64(UInt64(max(low, 0)))) }
        if let min = limits.memoryMin { add("MemoryMin", .uint64(UInt64(max(min, 0)))) }
        if limits.memory != nil || limits.swap != nil {
            let swap = limits.swap ?? (limits.memory ?? 0 <= 0 ? -1 : 0)
            add("MemorySwapMax", .uint64(swap < 0 ? .max : UInt64(swap)))
        }
        if let pids = limits.pids { add("TasksMax", Self.bytes(pids)) }
        if let cpus = limits.cpusetCPUs { add("AllowedCPUs", Self.mask(cpus)) }
        if let nodes = limits.cpusetMemoryNodes { add("AllowedMemoryNodes", Self.mask(nodes)) }
        if let weight = limits.io.weight { add("IOWeight", .uint64(CgroupsV2.weight(blkio: weight))) }
    }

    private mutating func add(_ name: String, _ value: DBusMessage.Value) { list.append((name, value)) }

    /// As a message has them: an array of names with variants.
    var value: DBusMessage.Value {
        .array("(sv)", list.map { .structure([.string($0.name), .variant($0.value)]) })
    }

    private static func bytes(_ number: Int64) -> DBusMessage.Value {
        .uint64(number <= 0 ? .max : UInt64(number))
    }

    /// Microseconds of CPU time in a second. systemd counts in hundredths of a CPU and would round down: what does not
    /// fit is rounded up, so that nobody gets less than asked for.
    package static func quotaPerSecond(_ quota: Int64, period: UInt64) -> UInt64 {
        guard quota > 0, period > 0 else { return .max }
        let (product, overflow) = UInt64(quota).multipliedReportingOverflow(by: 1_000_000)
        if overflow { return .max }
        let step: UInt64 = 10_000
        let exact = product / period
        let (rounded, tooMuch) = (exact / step + (exact % step == 0 ? 0 : 1)).multipliedReportingOverflow(by: step)
        return tooMuch ? .max : rounded
    }

    /// "0-2,8" as bits, the first CPU lowest.
    package static func mask(_ list: String) -> DBusMessage.Value {
        var bytes: [UInt8] = []
        for part in list.split(separator: ",") {
            let ends = part.split(separator: "-").map { Int($0.filter { !$0.isWhitespace }) }
            guard let first = ends.first ?? nil, let last = ends.last ?? nil, (0...65_535).contains(first),
                (first...65_535).contains(last)
            else { continue }
            while bytes.count <= last / 8 { bytes.append(0) }
            for number in first...last { bytes[number / 8] |= 1 << UInt8(number % 8) }
        }
        return .array("y", bytes.map { .byte($0) })
    }
}
