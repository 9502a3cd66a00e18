/// Nanoseconds since the epoch, and back into the forms that files and logs want.
package enum WallClock {
    package static func now() -> Int64 { k3s_wall_nanoseconds() }
}

/// Nanoseconds of a clock that never jumps. `boot()` goes on while the machine is suspended.
package enum MonotonicClock {
    package static func now() -> Int64 { k3s_monotonic_nanoseconds() }
    package static func boot() -> Int64 { k3s_boot_nanoseconds() }
}

/// Nanoseconds of CPU time that this process has used, all threads together.
package enum ProcessClock {
    package static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}

extension Duration {
    /// Saturates instead of trapping: a duration of centuries is "for ever" to every caller.
    package var nanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        let (sum, overflow2) = product.addingReportingOverflow(attoseconds / 1_000_000_000)
        if overflow || overflow2 { return seconds < 0 ? .min : .max }
        return sum
    }
}
