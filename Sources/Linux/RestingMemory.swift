import CShims
import Synchronization

/// Memory that only work needs, given back when the process rests. Who keeps such memory says here how it lets go of it;
/// the program's foreground loop says when.
///
/// A few hundred blocks of a kilobyte, left over from a burst and scattered over the heap, keep a few megabytes of pages:
/// what counts is how many there are, more than their size.
package enum RestingMemory {
    private static let holders = Mutex<[@Sendable () -> Bool]>([])

    /// `release` is called on the thread that looks after memory whenever the process has come to rest; false: there is
    /// nothing to be released any more, do not call again.
    package static func onRest(_ release: @escaping @Sendable () -> Bool) {
        holders.withLock { $0.append(release) }
    }

    /// Has everybody let go. Some do it on a thread of their own, a moment later.
    package static func release() {
        let asked = holders.withLock { $0 }
        let gone = asked.indices.filter { !asked[$0]() }
        guard !gone.isEmpty else { return }
        // Those that came meanwhile stand behind the ones that were asked.
        holders.withLock { holders in
            for index in gone.reversed() { holders.remove(at: index) }
        }
    }

    /// Gives the free blocks that the allocator keeps for the calling thread back to the common heap, where they can join
    /// their neighbours. For threads that live on: one that ends does so by itself.
    package static func releaseThreadCache() { k3s_release_thread_cache() }
}
