package import Codecs
package import KubeAPI
import Synchronization

/// All of the node's timers (probes, back-offs, deadlines, token rotation) in one heap with one sleeping task, so that an
/// idle node wakes up only when something is due. Deadlines of periodic work are put on a grid (`aligned`), so that many
/// probes wake the processor once.
package final class TimerQueue: Sendable {
    package struct ID: Hashable, Sendable { fileprivate let value: UInt64 }

    fileprivate struct Entry {
        let deadline: Timestamp
        let id: UInt64
    }
    fileprivate struct State {
        var heap: [Entry] = []
        var actions: [UInt64: @Sendable () -> Void] = [:]
        var nextID: UInt64 = 0
        var sleeper: Task<Void, Never>?
        /// Of the sleeper that counts: one that was replaced while it woke up does nothing.
        var generation: UInt64 = 0
        var stopped = false
    }

    package let clock: any KubeClock
    private let state = Mutex(State())

    package init(clock: any KubeClock) { self.clock = clock }

    /// Calls `action` once at `deadline`; it must be short.
    @discardableResult
    package func schedule(at deadline: Timestamp, _ action: @escaping @Sendable () -> Void) -> ID {
        let (id, restart) = state.withLock { state -> (UInt64, Task<Void, Never>?) in
            state.nextID += 1
            let id = state.nextID
            let first = state.heap.first.map { deadline < $0.deadline } ?? true
            state.actions[id] = action
            state.push(Entry(deadline: deadline, id: id))
            guard first, !state.stopped else { return (id, nil) }
            let old = state.sleeper
            state.generation += 1
            state.sleeper = start(until: deadline, state.generation)
            return (id, old)
        }
        restart?.cancel()
        return ID(value: id)
    }

    @discardableResult
    package func schedule(after delay: Duration, _ action: @escaping @Sendable () -> Void) -> ID {
        schedule(at: clock.now().advanced(by: delay), action)
    }

    package func cancel(_ id: ID) {
        // The entry stays in the heap until its time; it holds 16 bytes and no closure.
        state.withLock { state in
            state.actions[id.value] = nil
            if state.heap.count > 64, state.heap.count > 4 * state.actions.count { state.compact() }
        }
    }

    package func stop() {
        let sleeper = state.withLock { state -> Task<Void, Never>? in
            state.stopped = true
            state.heap = []
            state.actions = [:]
            defer { state.sleeper = nil }
            return state.sleeper
        }
        sleeper?.cancel()
    }

    /// `deadline`, moved up to the next quarter of a second.
    package static func aligned(_ deadline: Timestamp, grid: Int64 = 250_000_000) -> Timestamp {
        let rest = deadline.nanoseconds % grid
        return rest == 0 ? deadline : Timestamp(nanoseconds: deadline.nanoseconds + grid - rest)
    }

    private func start(until deadline: Timestamp, _ generation: UInt64) -> Task<Void, Never> {
        let delay = deadline.duration(since: clock.now())
        return Task { [weak self, clock] in
            if delay > .zero { await clock.sleep(for: delay) }
            if Task.isCancelled { return }
            self?.fire(generation)
        }
    }

    private func fire(_ generation: UInt64) {
        let now = clock.now()
        let due = state.withLock { state -> [@Sendable () -> Void] in
            var due: [@Sendable () -> Void] = []
            guard generation == state.generation, !state.stopped else { return due }
            while let first = state.heap.first {
                guard let action = state.actions[first.id] else {
                    state.pop()
                    continue
                }
                guard first.deadline <= now else { break }
                state.pop()
                state.actions[first.id] = nil
                due.append(action)
            }
            state.generation += 1
            state.sleeper = state.heap.first.map { start(until: $0.deadline, state.generation) }
            return due
        }
        for action in due { action() }
    }
}

extension TimerQueue.State {
    private static func before(_ a: TimerQueue.Entry, _ b: TimerQueue.Entry) -> Bool {
        (a.deadline, a.id) < (b.deadline, b.id)
    }

    fileprivate mutating func push(_ entry: TimerQueue.Entry) {
        heap.append(entry)
        var i = heap.count - 1
        while i > 0, Self.before(heap[i], heap[(i - 1) / 2]) {
            heap.swapAt(i, (i - 1) / 2)
            i = (i - 1) / 2
        }
    }

    fileprivate mutating func pop() {
        guard let last = heap.popLast(), !heap.isEmpty else { return }
        heap[0] = last
        var i = 0
        while true {
            var least = i
            for child in [2 * i + 1, 2 * i + 2] where child < heap.count && Self.before(heap[child], heap[least]) {
                least = child
            }
            if least == i { return }
            heap.swapAt(i, least)
            i = least
        }
    }

    fileprivate mutating func compact() {
        let live = heap.filter { actions[$0.id] != nil }
        heap = []
        for entry in live { push(entry) }
    }
}
