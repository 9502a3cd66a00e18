/// What a process and its descendants use, from /proc: for containers without cgroups. A process that has ended and been waited
/// for is counted in its parent.
package enum ProcessTree {
    /// Longer trees are cut.
    private static let limit = 4096

    package static func stats(of roots: [Int32]) -> CgroupStats {
        var stats = CgroupStats()
        var waiting = roots.filter { $0 > 0 }
        let page = UInt64(sysconf(Int32(_SC_PAGESIZE)))
        let tick = 1_000_000_000 / UInt64(max(1, sysconf(Int32(_SC_CLK_TCK))))
        while let pid = waiting.popLast(), stats.processes < limit {
            guard let text = try? Files.readString("/proc/\(pid)/stat"), let times = Times(text) else { continue }
            stats.processes += 1
            stats.cpuUserNanoseconds += times.user * tick
            stats.cpuSystemNanoseconds += times.system * tick
            stats.pageFaults += times.minorFaults + times.majorFaults
            stats.majorPageFaults += times.majorFaults
            let sizes = ((try? Files.readString("/proc/\(pid)/statm")) ?? "").split(separator: " ")
            if sizes.count > 2, let resident = UInt64(sizes[1]), let shared = UInt64(sizes[2]) {
                stats.memoryUsage += resident * page
                stats.memoryWorkingSet += resident * page
                stats.memoryRSS += (resident - min(resident, shared)) * page
            }
            for thread in (try? Directories.list("/proc/\(pid)/task")) ?? [] {
                let children = (try? Files.readString("/proc/\(pid)/task/\(thread.name)/children")) ?? ""
                waiting += children.split(separator: " ").compactMap { Int32($0) }
            }
        }
        stats.cpuNanoseconds = stats.cpuUserNanoseconds + stats.cpuSystemNanoseconds
        return stats
    }

    /// Fields of /proc/PID/stat (proc(5)), in clock ticks; children that were waited for included.
    struct Times: Equatable {
        var user: UInt64
        var system: UInt64
        var minorFaults: UInt64
        var majorFaults: UInt64

        /// The name, in parentheses, may contain anything.
        init?(_ text: String) {
            guard let end = text.utf8.lastIndex(of: UInt8(ascii: ")")) else { return nil }
            let fields = text[end...].split(separator: " ").dropFirst().map { UInt64($0) }
            // The first of these is field 3, the state.
            func field(_ number: Int) -> UInt64? { number - 3 < fields.count ? fields[number - 3] : nil }
            guard let user = field(14), let system = field(15), let childUser = field(16), let childSystem = field(17),
                let minor = field(10), let major = field(12)
            else { return nil }
            (self.user, self.system) = (user + childUser, system + childSystem)
            (minorFaults, majorFaults) = (minor, major)
        }
    }
}
