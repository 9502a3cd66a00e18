import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct WorkQueueTests {
    let clock = VirtualClock()
    let a = ObjectKey(name: "a")
    let b = ObjectKey(name: "b")

    @Test func aKeyWaitsOnlyOnce() async {
        let queue = WorkQueue(clock: clock)
        for key in [a, b, a, a] { queue.add(key) }
        #expect(await queue.next() == a)
        #expect(await queue.next() == b)
        queue.done(a)
        queue.done(b)
        #expect(queue.isIdle)
    }

    @Test func aKeyAddedWhileItIsWorkedOnComesAgainAfterwards() async {
        let queue = WorkQueue(clock: clock)
        queue.add(a)
        #expect(await queue.next() == a)
        queue.add(a)
        queue.add(b)
        // Not a, although it was added first: nobody else may have it now.
        #expect(await queue.next() == b)
        #expect(!queue.isIdle)
        queue.done(a)
        #expect(await queue.next() == a)
    }

    @Test func failuresBackOffTwiceAsLongUpToAMinute() async {
        let queue = WorkQueue(clock: clock)
        for (failure, milliseconds) in [10, 20, 40, 80, 160, 320].enumerated() {
            queue.retry(a)
            await until { clock.sleeping == 1 }
            clock.advance(by: .milliseconds(milliseconds - 1))
            #expect(queue.isIdle, "failure \(failure) came back early")
            clock.advance(by: .milliseconds(1))
            #expect(await queue.next() == a)
            queue.done(a)
        }
        for _ in 0..<20 { queue.retry(a) }
        await until { clock.sleeping >= 1 }
        clock.advance(by: .seconds(60))
        #expect(await queue.next() == a)
        queue.done(a)
        queue.forget(a)
        queue.retry(a)
        await until { clock.sleeping >= 1 }
        clock.advance(by: .milliseconds(10))
        #expect(await queue.next() == a)
    }

    @Test func theEarlierOfTwoDelaysWins() async {
        let queue = WorkQueue(clock: clock)
        queue.add(a, after: .seconds(60))
        queue.add(a, after: .seconds(5))
        queue.add(a, after: .seconds(30))
        await until { clock.sleeping == 2 }
        clock.advance(by: .seconds(5))
        #expect(await queue.next() == a)
        queue.done(a)
        clock.advance(by: .seconds(100))
        for _ in 0..<20 { await Task.yield() }
        #expect(queue.isIdle, "the longer delays were replaced, not added")
    }

    @Test func aHeldQueueHandsNothingOutBeforeItsRelease() async {
        let queue = WorkQueue(clock: clock, held: true)
        let waiter = Task { await queue.next() }
        queue.add(a)
        for _ in 0..<20 { await Task.yield() }
        #expect(!queue.isIdle, "the key is still waiting")
        queue.release()
        #expect(await waiter.value == a)
        queue.add(b)
        #expect(await queue.next() == b)
    }

    @Test func closingAndCancellingEndTheWait() async {
        let queue = WorkQueue(clock: clock)
        let waiter = Task { await queue.next() }
        waiter.cancel()
        #expect(await waiter.value == nil)
        let other = Task { await queue.next() }
        queue.close()
        #expect(await other.value == nil)
        queue.add(a)
        #expect(await queue.next() == nil)
    }
}

/// Lets other tasks run until something is so.
func until(
    _ what: () -> Bool, sourceLocation: SourceLocation = #_sourceLocation
) async {
    for _ in 0..<100_000 {
        if what() { return }
        await Task.yield()
    }
    Issue.record("it did not come to that", sourceLocation: sourceLocation)
}
