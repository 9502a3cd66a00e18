import Synchronization

/// Runs closures that block (disk, mount, setns) on threads of their own, so that the concurrency pool, which has one
/// thread per core, never stands still. At most `limit` threads, made on demand, gone after a few idle seconds.
package final class BlockingPool: Sendable {
    package static let shared = BlockingPool(limit: 3)

    private typealias Job = @Sendable () -> Void

    private struct State {
        var queue: [Job] = []
        /// Index of the next job in `queue` (popping from the front of an array is linear).
        var head = 0
        var threads = 0
        var idle = 0
    }

    private let limit: Int
    private let state = Mutex(State())
    private let wake = DispatchlessSemaphore()

    package init(limit: Int) { self.limit = limit }

    /// Runs `body` on a pool thread. Waits for a free thread first when all are busy. Not cancellable.
    package func run<R: Sendable, E: Error>(_ body: @escaping @Sendable () throws(E) -> R) async throws(E) -> R {
        let result = await withCheckedContinuation { (continuation: CheckedContinuation<Result<R, E>, Never>) in
            submit {
                do throws(E) { continuation.resume(returning: .success(try body())) } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
        return try result.get()
    }

    /// Runs `body` on a fresh thread that ends with it: for setns and unshare, whose effect must not outlive the job.
    package static func onFreshThread<R: Sendable, E: Error>(
        name: String, _ body: @escaping @Sendable () throws(E) -> R
    ) async throws(E) -> R {
        let result = await withCheckedContinuation { (continuation: CheckedContinuation<Result<R, E>, Never>) in
            PosixThread.start(name: name) {
                do throws(E) { continuation.resume(returning: .success(try body())) } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
        return try result.get()
    }

    /// As `onFreshThread`, for callers without a task: blocks until the job is done.
    package static func waitForFreshThread<R: Sendable>(name: String, _ body: @escaping @Sendable () -> R) -> R {
        let result = Mutex<R?>(nil)
        let done = DispatchlessSemaphore()
        PosixThread.start(name: name) {
            let value = body()
            result.withLock { $0 = value }
            done.signal()
        }
        while true {
            if done.wait(seconds: 60), let value = result.withLock({ $0 }) { return value }
        }
    }

    private func submit(_ job: @escaping Job) {
        let start = state.withLock { state in
            state.queue.append(job)
            let waiting = state.queue.count - state.head
            guard waiting > state.idle, state.threads < limit else { return false }
            state.threads += 1
            return true
        }
        if start { PosixThread.start(name: "blocking") { [self] in work() } } else { wake.signal() }
    }

    private func work() {
        while true {
            let job = state.withLock { state -> Job? in
                guard state.head < state.queue.count else {
                    state.idle += 1
                    return nil
                }
                let job = state.queue[state.head]
                state.head += 1
                if state.head == state.queue.count {
                    state.queue.removeAll(keepingCapacity: state.head < 64)
                    state.head = 0
                }
                return job
            }
            if let job {
                job()
                continue
            }
            let signalled = wake.wait(seconds: 2)
            let leave = state.withLock { state in
                state.idle -= 1
                if signalled || state.head < state.queue.count { return false }
                state.threads -= 1
                return true
            }
            if leave { return }
        }
    }
}

/// A counting semaphore with a timeout (sem_t), without libdispatch.
final class DispatchlessSemaphore: @unchecked Sendable {
    // sem_t has its own synchronisation; the pointer never changes.
    private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init() { sem_init(semaphore, 0, 0) }

    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }

    func signal() { sem_post(semaphore) }

    /// false: the time is over.
    func wait(seconds: Int) -> Bool {
        var deadline = timespec()
        clock_gettime(CLOCK_REALTIME, &deadline)
        deadline.tv_sec += time_t(seconds)
        while true {
            if sem_timedwait(semaphore, &deadline) == 0 { return true }
            if errno != EINTR { return false }
        }
    }
}
