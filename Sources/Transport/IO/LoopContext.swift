import Linux
import NIOCore
import Synchronization

/// Runs Swift tasks on an event loop, so that a request is handled on the thread that owns its connection: no hop, no
/// lock, no wake-up of another thread.
final class EventLoopTaskExecutor: TaskExecutor {
    let loop: any EventLoop

    init(loop: any EventLoop) {
        self.loop = loop
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let executor = asUnownedTaskExecutor()
        loop.execute { job.runSynchronously(on: executor) }
    }
}

/// Something with a deadline that the loop's sweep looks at; see `LoopContext.arm`.
protocol DeadlineHolder: AnyObject {
    var deadline: NIODeadline? { get }
    func deadlinePassed()
}

/// What the connections of one event loop share: executor, scratch memory, one timer for all deadlines. Everything but
/// `executor` is touched on the loop only. Contexts live as long as the process: there is one per loop thread.
final class LoopContext: @unchecked Sendable {
    let loop: any EventLoop
    let executor: EventLoopTaskExecutor

    /// Plaintext of one TLS record at most.
    static let scratchSize = 16 << 10
    let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: LoopContext.scratchSize, alignment: 16)
    /// Small pieces of one response are joined here into one record or one write.
    var staging = ByteBuffer()

    private var holders: [ObjectIdentifier: any DeadlineHolder] = [:]
    private var timer: Scheduled<Void>?
    private var timerDeadline = NIODeadline.distantFuture
    private var dateSecond: Int64 = -1
    private var dateText: [UInt8] = []

    private static let contexts = Mutex<[ObjectIdentifier: LoopContext]>([:])

    static func of(_ loop: any EventLoop) -> LoopContext {
        contexts.withLock { contexts in
            if let known = contexts[ObjectIdentifier(loop)] { return known }
            let context = LoopContext(loop: loop)
            contexts[ObjectIdentifier(loop)] = context
            return context
        }
    }

    private init(loop: any EventLoop) {
        self.loop = loop
        executor = EventLoopTaskExecutor(loop: loop)
        RestingMemory.onRest { [weak self] in
            guard let self else { return false }
            self.loop.execute { self.rest() }
            return true
        }
    }

    /// Lets go of what many connections needed.
    private func rest() {
        staging = ByteBuffer()
        RestingMemory.releaseThreadCache()
    }

    // MARK: - Deadlines

    /// Deadlines are coarse: at most one sweep per quarter of a second, none while no holder has a deadline. Holders
    /// that move their deadline later (each keep-alive request does) cost nothing.
    private static let sweepGap = TimeAmount.milliseconds(250)
    private static let lateness = TimeAmount.seconds(1)

    func register(_ holder: any DeadlineHolder) {
        holders[ObjectIdentifier(holder)] = holder
    }

    func unregister(_ holder: any DeadlineHolder) {
        holders.removeValue(forKey: ObjectIdentifier(holder))
        if holders.isEmpty {
            timer?.cancel()
            timer = nil
            timerDeadline = .distantFuture
        }
    }

    /// To be called when a holder's deadline has been set.
    func arm(_ deadline: NIODeadline) {
        guard deadline + LoopContext.sweepGap < timerDeadline else { return }
        schedule(deadline)
    }

    private func schedule(_ deadline: NIODeadline) {
        timer?.cancel()
        timerDeadline = max(deadline, .now() + LoopContext.sweepGap)
        timer = loop.scheduleTask(deadline: timerDeadline) { self.sweep() }
    }

    private func sweep() {
        timer = nil
        let now = NIODeadline.now()
        let isLate = now - timerDeadline > LoopContext.lateness
        timerDeadline = .distantFuture
        // A loop that was held up itself has not read what its peers may have sent in time: it does so first.
        if isLate { return schedule(now) }
        for holder in Array(holders.values) {
            if let deadline = holder.deadline, deadline <= now { holder.deadlinePassed() }
        }
        var next = NIODeadline.distantFuture
        for holder in holders.values {
            if let deadline = holder.deadline, deadline < next { next = deadline }
        }
        if next < .distantFuture, next < timerDeadline { schedule(next) }
    }

    // MARK: - Date

    /// The value of a `Date` field, made once a second.
    var httpDate: [UInt8] {
        let now = wallClockSeconds()
        if now != dateSecond {
            dateSecond = now
            dateText = Array(httpDateText(now).utf8)
        }
        return dateText
    }
}

// MARK: - Waiting on a loop

/// One suspended task and what it waits for, touched on one event loop only. Resuming twice, and resuming before the
/// task has suspended, are both fine: the first outcome counts.
final class LoopWaiter<Value: Sendable>: @unchecked Sendable {
    private var continuation: UnsafeContinuation<Value, any Error>?
    private var outcome: Result<Value, any Error>?

    fileprivate init() {}

    var isDone: Bool { outcome != nil }

    fileprivate func park(_ continuation: UnsafeContinuation<Value, any Error>) {
        if let outcome {
            continuation.resume(with: outcome)
        } else {
            self.continuation = continuation
        }
    }

    func resume(_ result: Result<Value, any Error>) {
        guard outcome == nil else { return }
        outcome = result
        continuation?.resume(with: result)
        continuation = nil
    }
}

extension EventLoop {
    /// Suspends the calling task until `register`'s waiter is resumed or the task is cancelled. `register` runs on the
    /// loop and is skipped if the task was cancelled before.
    func suspend<Value: Sendable>(
        _ register: @escaping @Sendable (LoopWaiter<Value>) -> Void
    ) async throws -> Value {
        let waiter = LoopWaiter<Value>()
        return try await withTaskCancellationHandler {
            try await withUnsafeThrowingContinuation { continuation in
                self.runOnLoop {
                    waiter.park(continuation)
                    if !waiter.isDone { register(waiter) }
                }
            }
        } onCancel: {
            self.execute { waiter.resume(.failure(CancellationError())) }
        }
    }

    /// At once when already on the loop, else queued in call order.
    func runOnLoop(_ body: @escaping @Sendable () -> Void) {
        if inEventLoop { body() } else { execute(body) }
    }
}
