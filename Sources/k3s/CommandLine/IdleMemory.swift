import CShims
import Linux

/// Gives memory back when the process has become quiet after work: the heap's free pages, and the pages of the program that
/// only that work needed (`ProgramPages`).
///
/// Looked at every `interval` by a thread that has nothing else to do. A process that is never busy is left alone, and so
/// is one that never rests: giving back costs a walk over the heap and a few hundred minor faults.
struct IdleMemory {
    static let interval = 20
    /// Nanoseconds of CPU time in an interval that still count as rest: 5 % of a core.
    static let rest = Int64(interval) * 50_000_000
    /// Nanoseconds of CPU time since the last time that make it worth while.
    static let work: Int64 = 100_000_000

    private var seen: Int64 = 0
    /// The first rest is after the start, which is always work.
    private var released: Int64 = -work

    /// Whether now is the time, by the CPU time that the process has used so far, in nanoseconds.
    mutating func isDue(cpu: Int64) -> Bool {
        defer { seen = cpu }
        guard cpu - seen <= Self.rest, cpu - released >= Self.work else { return false }
        released = cpu
        return true
    }

    /// After each interval of waiting.
    mutating func look() {
        guard isDue(cpu: ProcessClock.now()) else { return }
        RestingMemory.release()
        // For those that let go on threads of their own.
        usleep(50_000)
        RestingMemory.releaseThreadCache()
        k3s_trim_malloc()
        // Without /proc there is nothing to win, and nothing lost.
        try? ProgramPages.release()
    }
}
