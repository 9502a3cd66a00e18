import CShims
import Linux
import Synchronization
import Testing

struct RestingMemoryTests {
    private final class Holder: Sendable {
        let asked = Atomic(0)
    }

    @Test func whoHoldsMemoryIsAskedAtEveryRest() {
        let holder = Holder()
        RestingMemory.onRest { [weak holder] in
            holder?.asked.add(1, ordering: .relaxed)
            return holder != nil
        }
        RestingMemory.release()
        RestingMemory.release()
        #expect(holder.asked.load(ordering: .relaxed) == 2)
    }

    @Test func whoIsGoneIsNotAskedAgain() {
        let asked = Holder()
        RestingMemory.onRest {
            asked.asked.add(1, ordering: .relaxed)
            return false
        }
        RestingMemory.release()
        RestingMemory.release()
        #expect(asked.asked.load(ordering: .relaxed) == 1)
    }

    /// Blocks that a thread has freed count as used as long as the thread keeps them for itself.
    @Test(.enabled(if: getenv("K3S_SANITIZED") == nil, "measures the heap, which a sanitizer replaces"))
    func freedBlocksGoBackToTheHeap() async throws {
        let kept = 7 * (16...1024).filter { $0 % 16 == 0 }.reduce(0, +)
        var best = 0
        // Other tests allocate meanwhile.
        for _ in 0..<20 where best < kept / 2 {
            let returned = try await BlockingPool.onFreshThread(name: "cache") { () throws(SysError) -> Int in
                var blocks: [UnsafeMutableRawPointer?] = []
                blocks.reserveCapacity(448)
                for size in stride(from: 8, to: 1032, by: 16) {
                    for _ in 0..<7 { blocks.append(malloc(size)) }
                }
                for block in blocks { free(block) }
                let before = Int(k3s_malloc_in_use())
                RestingMemory.releaseThreadCache()
                return before - Int(k3s_malloc_in_use())
            }
            best = max(best, returned)
        }
        #expect(best >= kept / 2, "\(best) of \(kept) bytes")
    }
}
