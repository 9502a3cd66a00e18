import Synchronization

/// A store over a durable log. Reads come from memory; one writer thread takes all the writes that gathered during the
/// sync before and commits them together.
package final class LogStore: Store {
    let hub: StoreHub
    private let writer: LogWriter

    /// Loads the log and starts the writer thread.
    init(log: any CommitLog, options: StoreOptions) throws(StoreError) {
        var core = StoreCore(options: options)
        let marks = try log.load { core.load($0) }
        core.finishLoading(compacted: marks.compacted, reserved: marks.reserved)
        hub = StoreHub(core: core)
        hub.state.withLock { $0.queue.marks = marks }
        writer = try LogWriter(hub: hub, log: log, options: options)
    }

    deinit { writer.stop(nil) }

    package var revision: Int64 { hub.revision }

    package func get(_ key: String) -> StoreEntry? { hub.get(key) }

    package func count(prefix: String) -> Int64 { hub.count(prefix: prefix) }

    package func range(
        prefix: String, startAfter: String?, limit: Int, revision: Int64?
    ) throws(StoreError) -> StoreRange {
        try hub.range(prefix: prefix, startAfter: startAfter, limit: limit, revision: revision)
    }

    package func tagged(_ tag: UInt32, prefix: String) -> StoreRange { hub.tagged(tag, prefix: prefix) }

    package func watch(prefix: String, from revision: Int64?) throws(StoreError) -> StoreWatch {
        try hub.watch(prefix: prefix, from: revision)
    }

    package func commit(
        _ operations: [StoreOperation], durability: StoreDurability
    ) async throws(StoreError) -> [StoreResult] {
        guard !operations.isEmpty else { return [] }
        let outcome = await withUnsafeContinuation { (continuation: UnsafeContinuation<CommitOutcome, Never>) in
            let admission = hub.state.withLock { $0.admit(operations, durability, continuation) }
            for wakeup in admission.wakeups { wakeup.resume() }
            if let outcome = admission.outcome { continuation.resume(returning: outcome) }
            if admission.wakesWriter { writer.wake() }
        }
        return try outcome.get()
    }

    package func compact(to revision: Int64) async throws(StoreError) {
        let outcome = await withUnsafeContinuation { (continuation: UnsafeContinuation<CommitOutcome, Never>) in
            let refusal: StoreError? = hub.state.withLock { state in
                guard !state.closed else { return .unavailable("the store is closed") }
                do throws(StoreError) { try state.core.compact(to: revision) } catch { return error }
                state.queue.force()
                state.queue.add([], CommitQueue.Ticket(continuation: continuation, outcome: .success([])))
                return nil
            }
            if let refusal { continuation.resume(returning: .failure(refusal)) } else { writer.wake() }
        }
        _ = try outcome.get()
    }

    package func close() async {
        await withUnsafeContinuation { continuation in writer.stop(continuation) }
    }
}

extension StoreHub.State {
    /// What becomes of a `commit` call before the disk is asked: answered now, or queued.
    struct Admission {
        var outcome: CommitOutcome?
        var wakeups: [Wakeup] = []
        var wakesWriter = false
    }

    mutating func admit(
        _ operations: [StoreOperation], _ durability: StoreDurability,
        _ continuation: UnsafeContinuation<CommitOutcome, Never>
    ) -> Admission {
        guard !closed else { return Admission(outcome: .failure(.unavailable("the store is closed"))) }
        let limits = core.options
        guard queue.pendingTickets < limits.pendingWrites, queue.pendingBytes < limits.pendingBytes else {
            return Admission(
                outcome: .failure(.unavailable("\(queue.pendingTickets) writes are waiting for the disk already")))
        }
        let isDeferred =
            durability == .deferred && queue.isIdle
            && core.nextRevision + Int64(operations.count) - 1 <= queue.marks.reserved
            && operations.allSatisfy { if case .update = $0 { true } else { false } }
        let writes: [StoreWrite]
        do throws(StoreCore.Refusal) {
            writes = try core.stage(operations)
        } catch {
            guard error.awaitsPending, !queue.isIdle else { return Admission(outcome: .failure(error.error)) }
            queue.addRefusal(CommitQueue.Ticket(continuation: continuation, outcome: .failure(error.error)))
            return Admission(wakesWriter: true)
        }
        let results = writes.map(\.result)
        if isDeferred {
            let first = queue.deferred.isEmpty
            for write in writes { queue.deferred[ByteKey(write.key)] = write.revision }
            return Admission(outcome: .success(results), wakeups: publish(writes), wakesWriter: first)
        }
        queue.add(writes, CommitQueue.Ticket(continuation: continuation, outcome: .success(results)))
        return Admission(wakesWriter: true)
    }
}
