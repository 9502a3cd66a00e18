import Synchronization

/// One suspended task, resumed once, from any thread; resuming early and cancellation are both fine.
final class LockWaiter<Value: Sendable>: Sendable {
    private struct State {
        var continuation: UnsafeContinuation<Value, any Error>?
        var outcome: Result<Value, any Error>?
    }

    private let state = Mutex(State())

    func wait() async throws -> Value {
        try await withTaskCancellationHandler {
            try await withUnsafeThrowingContinuation { continuation in
                let early = state.withLock { state -> Result<Value, any Error>? in
                    if state.outcome == nil { state.continuation = continuation }
                    return state.outcome
                }
                if let early { continuation.resume(with: early) }
            }
        } onCancel: {
            _ = resume(.failure(CancellationError()))
        }
    }

    /// Whether this outcome was the first.
    @discardableResult
    func resume(_ outcome: Result<Value, any Error>) -> Bool {
        let (first, continuation) = state.withLock { state in
            guard state.outcome == nil else { return (false, nil as UnsafeContinuation<Value, any Error>?) }
            state.outcome = outcome
            defer { state.continuation = nil }
            return (true, state.continuation)
        }
        continuation?.resume(with: outcome)
        return first
    }
}

/// A bounded queue of bytes between a connection's reader and one consumer: `push` suspends while `limit` bytes wait.
final class ByteQueue: Sendable {
    private struct State {
        var bytes: [UInt8] = []
        var ended = false
        var failure: (any Error)?
        var reader: LockWaiter<[UInt8]?>?
        var writers: [LockWaiter<Void>] = []
    }

    private let limit: Int
    private let state = Mutex(State())

    init(limit: Int) {
        self.limit = limit
    }

    /// Takes the bytes at once and waits until the consumer has caught up. Dropped after `end` and `fail`.
    func push(_ bytes: [UInt8]) async throws {
        guard let waiter = append(bytes) else { return }
        try await waiter.wait()
    }

    /// Without waiting: for what is bounded elsewhere.
    func pushNow(_ bytes: [UInt8]) {
        _ = append(bytes)
    }

    private func append(_ bytes: [UInt8]) -> LockWaiter<Void>? {
        var reader: LockWaiter<[UInt8]?>?
        let writer = state.withLock { state -> LockWaiter<Void>? in
            guard !state.ended, state.failure == nil, !bytes.isEmpty else { return nil }
            if state.reader != nil {
                swap(&reader, &state.reader)
                return nil
            }
            state.bytes.append(contentsOf: bytes)
            guard state.bytes.count > limit else { return nil }
            let writer = LockWaiter<Void>()
            state.writers.append(writer)
            return writer
        }
        if let reader, !reader.resume(.success(bytes)) {
            // The reader was cancelled in the meantime: the bytes are for the next one.
            return append(bytes)
        }
        return writer
    }

    /// The next bytes, all that wait; nil at the end. One reader at a time.
    func pop() async throws -> [UInt8]? {
        let waiter = LockWaiter<[UInt8]?>()
        var released: [LockWaiter<Void>] = []
        state.withLock { state in
            if !state.bytes.isEmpty {
                waiter.resume(.success(state.bytes))
                state.bytes = []
                swap(&released, &state.writers)
            } else if let failure = state.failure {
                waiter.resume(.failure(failure))
            } else if state.ended {
                waiter.resume(.success(nil))
            } else {
                state.reader = waiter
            }
        }
        for writer in released { writer.resume(.success(())) }
        return try await waiter.wait()
    }

    /// What waits can still be read, then nil.
    func end() {
        finish { $0.ended = true }
    }

    /// What waits can still be read, then the error.
    func fail(_ error: any Error) {
        finish { state in if !state.ended { state.failure = error } }
    }

    private func finish(_ change: (inout State) -> Void) {
        var reader: LockWaiter<[UInt8]?>?
        var writers: [LockWaiter<Void>] = []
        let failure = state.withLock { state -> (any Error)? in
            change(&state)
            swap(&reader, &state.reader)
            swap(&writers, &state.writers)
            return state.failure
        }
        for writer in writers { writer.resume(.success(())) }
        if let failure { reader?.resume(.failure(failure)) } else { reader?.resume(.success(nil)) }
    }
}

/// Runs `body`; after `seconds` its task is cancelled and nil is the result.
func withTimeLimit<Value: Sendable>(
    seconds: Double, _ body: @escaping @Sendable () async -> Value
) async -> Value? {
    await withTaskGroup(of: Value?.self) { group in
        group.addTask { await body() }
        group.addTask {
            try? await Task.sleep(nanoseconds: UInt64(seconds * 1e9))
            return nil
        }
        let first = await group.next() ?? nil
        group.cancelAll()
        return first
    }
}

extension ByteStream {
    /// Finishes our side and reads away what the peer still sends, so that closing with unread bytes does not reset
    /// the connection under data that the peer has yet to read.
    func closeLingering(seconds: Double) async {
        closeWrite()
        _ = await withTimeLimit(seconds: seconds) {
            while let bytes = try? await read(), !bytes.isEmpty {}
        }
        close()
    }
}
