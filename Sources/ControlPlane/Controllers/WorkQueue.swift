internal import Codecs
package import KubeAPI
import Synchronization

/// Keys that wait to be worked on: each at most once, never two workers on one key, and a key that is added while it is
/// worked on comes again afterwards. Bounded by the number of distinct keys.
/// Source of the semantics: k8s.io/client-go/util/workqueue.
package final class WorkQueue: Sendable {
    private struct State {
        var ready: [ObjectKey] = []
        var head = 0
        var waiting: Set<ObjectKey> = []
        var processing: Set<ObjectKey> = []
        var again: Set<ObjectKey> = []
        var due: [ObjectKey: Timestamp] = [:]
        var failures: [ObjectKey: Int] = [:]
        var takers: [UInt64: CheckedContinuation<ObjectKey?, Never>] = [:]
        var nextTaker: UInt64 = 0
        var closed = false
        var held = false
        var adds: Int64 = 0
        var retries: Int64 = 0

        mutating func take() -> ObjectKey? {
            guard head < ready.count else { return nil }
            let key = ready[head]
            head += 1
            if head > 64, head * 2 > ready.count {
                ready.removeFirst(head)
                head = 0
            }
            waiting.remove(key)
            processing.insert(key)
            return key
        }
    }

    private let state = Mutex(State())
    private let clock: any KubeClock

    /// - Parameter held: keys gather, but none is handed out before `release`.
    package init(clock: any KubeClock, held: Bool = false) {
        self.clock = clock
        state.withLock { $0.held = held }
    }

    package func add(_ key: ObjectKey) {
        let taker = state.withLock { state -> CheckedContinuation<ObjectKey?, Never>? in
            guard !state.closed, !state.waiting.contains(key) else { return nil }
            state.adds += 1
            if state.processing.contains(key) {
                state.again.insert(key)
                return nil
            }
            if !state.held, let (id, taker) = state.takers.first {
                state.takers[id] = nil
                state.processing.insert(key)
                return taker
            }
            state.waiting.insert(key)
            state.ready.append(key)
            return nil
        }
        taker?.resume(returning: key)
    }

    /// An earlier time that is already set wins.
    package func add(_ key: ObjectKey, after delay: Duration) {
        guard delay > .zero else { return add(key) }
        let when = clock.now().advanced(by: delay)
        let isNew = state.withLock { state -> Bool in
            if state.closed { return false }
            if let due = state.due[key], due <= when { return false }
            state.due[key] = when
            return true
        }
        guard isNew else { return }
        Task { [weak self, clock] in
            await clock.sleep(for: delay)
            guard let self else { return }
            let isCurrent = self.state.withLock { state -> Bool in
                guard state.due[key] == when else { return false }
                state.due[key] = nil
                return true
            }
            if isCurrent { self.add(key) }
        }
    }

    /// The next key; nil when the queue is closed or the task cancelled. Follow with `done`.
    package func next() async -> ObjectKey? {
        let id = state.withLock { state in
            state.nextTaker += 1
            return state.nextTaker
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                var found: ObjectKey?
                let resume = state.withLock { state -> Bool in
                    if state.closed || Task.isCancelled { return true }
                    if !state.held, let key = state.take() {
                        found = key
                        return true
                    }
                    state.takers[id] = continuation
                    return false
                }
                if resume { continuation.resume(returning: found) }
            }
        } onCancel: {
            let taker = state.withLock { $0.takers.removeValue(forKey: id) }
            taker?.resume(returning: nil)
        }
    }

    package func done(_ key: ObjectKey) {
        let again = state.withLock { state -> Bool in
            state.processing.remove(key)
            return state.again.remove(key) != nil
        }
        if again { add(key) }
    }

    /// Comes again after 10 ms, 20 ms, 40 ms ... at most a minute.
    package func retry(_ key: ObjectKey) {
        let failures = state.withLock { state -> Int in
            let n = state.failures[key, default: 0]
            state.failures[key] = n + 1
            state.retries += 1
            return n
        }
        add(key, after: min(.seconds(60), .milliseconds(10 * Int64(1 << min(failures, 13)))))
    }

    package func forget(_ key: ObjectKey) { state.withLock { _ = $0.failures.removeValue(forKey: key) } }

    /// From now on keys are handed out.
    package func release() {
        let handed = state.withLock { state -> [(CheckedContinuation<ObjectKey?, Never>, ObjectKey)] in
            state.held = false
            var handed: [(CheckedContinuation<ObjectKey?, Never>, ObjectKey)] = []
            while let (id, taker) = state.takers.first, let key = state.take() {
                state.takers[id] = nil
                handed.append((taker, key))
            }
            return handed
        }
        for (taker, key) in handed { taker.resume(returning: key) }
    }

    package func close() {
        let takers = state.withLock { state in
            state.closed = true
            defer { state.takers = [:] }
            return Array(state.takers.values)
        }
        for taker in takers { taker.resume(returning: nil) }
    }

    /// For metrics: how many keys wait, came, and came again after a failure.
    var counts: (depth: Int, adds: Int64, retries: Int64) {
        state.withLock { ($0.ready.count - $0.head, $0.adds, $0.retries) }
    }

    /// Nothing waits and nothing is worked on (delayed keys do not count): for tests.
    package var isIdle: Bool {
        state.withLock { $0.head == $0.ready.count && $0.processing.isEmpty && $0.again.isEmpty }
    }
}
