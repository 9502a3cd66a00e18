import Linux
import Synchronization

/// The one thread that writes to the log. It sleeps until there is something to write; while it waits for the disk the
/// next group gathers.
final class LogWriter: Sendable {
    private struct Control: Sendable {
        var stopping = false
        var stopped = false
        var waiters: [UnsafeContinuation<Void, Never>] = []
    }

    private let hub: StoreHub
    private let log: any CommitLog
    private let options: StoreOptions
    private let signal = Signal()
    private let control = Mutex(Control())

    init(hub: StoreHub, log: any CommitLog, options: StoreOptions) throws(StoreError) {
        self.hub = hub
        self.log = log
        self.options = options
        let code = startThread(name: "k3s-store") { [self] in run() }
        guard code == 0 else {
            throw .unavailable("cannot start the store's writer thread: \(SysError.text(code))")
        }
    }

    func wake() { signal.post() }

    /// Has the thread write out everything and end; `continuation` is resumed when it has.
    func stop(_ continuation: UnsafeContinuation<Void, Never>?) {
        let wakeups = hub.state.withLock { $0.close() }
        for wakeup in wakeups { wakeup.resume() }
        let stopped = control.withLock { control in
            if control.stopped { return true }
            control.stopping = true
            if let continuation { control.waiters.append(continuation) }
            return false
        }
        if stopped { continuation?.resume() } else { signal.post() }
    }

    private func run() {
        var deadline: ContinuousClock.Instant?
        var troubled = false
        var gaveUp = false
        var companions = 0
        var worked = 0
        while true {
            let stopping = control.withLock { $0.stopping }
            if !stopping { awaitCompanions(companions) }
            let expired = deadline.map { $0 <= .now } ?? false
            if (stopping && !gaveUp) || expired { hub.state.withLock { $0.forceDeferred() } }
            if let batch = hub.state.withLock({ $0.takeBatch() }) {
                companions = hub.state.withLock { $0.queue.inHand?.tickets.count ?? 0 }
                worked += batch.rows.count
                let failure = commit(batch)
                report(failure, troubled: &troubled)
                gaveUp = stopping && failure != nil
            } else if stopping {
                return finish()
            }
            let (idle, hasDeferred) = hub.state.withLock { ($0.queue.isIdle, !$0.queue.deferred.isEmpty) }
            if !hasDeferred {
                deadline = nil
            } else if deadline == nil || expired {
                deadline = .now + options.deferredDelay
            }
            guard idle, !control.withLock({ $0.stopping }) else { continue }
            guard worked >= options.restRows else {
                signal.wait(until: deadline)
                continue
            }
            let rest = ContinuousClock.now + options.restDelay
            if !signal.wait(until: min(rest, deadline ?? rest)), rest <= .now {
                worked = 0
                hub.state.withLock { $0.core.rest() }
                log.rest()
                RestingMemory.releaseThreadCache()
            }
        }
    }

    /// Writers that were answered together come back together: for those the group waits a moment, which is less than
    /// the sync that it saves. Who writes alone never waits.
    private func awaitCompanions(_ count: Int) {
        guard count > 1 else { return }
        let gathered = hub.state.withLock { $0.queue.gathering.tickets.count }
        if gathered > 0, gathered < count { usleep(50) }
    }

    private func commit(_ batch: LogBatch) -> StoreError? {
        do throws(StoreError) {
            if !batch.isEmpty { try log.append(batch) }
        } catch {
            let replies = hub.state.withLock { $0.failBatch(error) }
            for reply in replies { reply.resume() }
            return error
        }
        let (wakeups, replies) = hub.state.withLock { $0.finishBatch(batch) }
        for wakeup in wakeups { wakeup.resume() }
        for reply in replies { reply.resume() }
        return nil
    }

    private func report(_ failure: StoreError?, troubled: inout Bool) {
        guard (failure != nil) != troubled else { return }
        troubled = failure != nil
        guard let report = options.onDiskTrouble else { return }
        if case .unavailable(let line)? = failure { report(line) } else { report("the datastore can be written again") }
    }

    private func finish() {
        log.close(
            hub.state.withLock { state in
                var marks = state.queue.marks
                // Deferred keys that could not be written keep their reservation: their revisions have been seen.
                if state.queue.deferred.isEmpty { marks.reserved = state.core.revision }
                return marks
            })
        let waiters = control.withLock { control in
            control.stopped = true
            defer { control.waiters = [] }
            return control.waiters
        }
        for waiter in waiters { waiter.resume() }
    }
}

extension StoreHub.State {
    /// Has the deferred keys written by the next batch, which there will be.
    mutating func forceDeferred() {
        if !queue.deferred.isEmpty { queue.force() }
    }

    /// The next transaction: the gathered writes, the deferred keys, and the garbage once there is enough of it.
    mutating func takeBatch() -> LogBatch? {
        guard let group = queue.takeInHand() else { return nil }
        var batch = LogBatch(marks: queue.marks)
        batch.rows.reserveCapacity(group.writes.count + queue.deferred.count)
        var replaced: Set<ByteKey> = []
        for write in group.writes {
            switch write {
            case .put(let entry, _):
                batch.rows.append(LogRow(entry))
            case .delete(let entry, let revision, let final):
                batch.rows.append(LogRow(revision: revision, key: entry.key, created: nil, value: final))
            }
            if !queue.deferred.isEmpty { replaced.insert(ByteKey(write.key)) }
        }
        for key in queue.deferred.keys where !replaced.contains(key) {
            if let entry = core.entries[key.string] { batch.rows.append(LogRow(entry)) }
        }
        if group.forced || core.garbage.count >= core.options.garbageRows {
            batch.garbage = core.garbage
            batch.marks.compacted = core.history.compacted
        }
        let block = core.options.reservedRevisions
        if core.nextRevision + block / 4 > batch.marks.reserved { batch.marks.reserved = core.nextRevision + block }
        return batch
    }

    mutating func finishBatch(_ batch: LogBatch) -> (wakeups: [Wakeup], replies: [CommitReply]) {
        guard let group = queue.finish() else { return ([], []) }
        // Nothing can have been deferred since the batch was taken: the queue was not idle.
        queue.deferred.removeAll(keepingCapacity: true)
        if !batch.isEmpty { queue.marks = batch.marks }
        if !batch.garbage.isEmpty { core.garbage.removeFirst(batch.garbage.count) }
        let wakeups = publish(group.writes)
        return (wakeups, group.tickets.map { reply(to: $0) })
    }

    mutating func failBatch(_ error: StoreError) -> [CommitReply] {
        let tickets = queue.abandon()
        core.abandon()
        return tickets.map { CommitReply(continuation: $0.continuation, outcome: .failure(error)) }
    }

    /// A conflict tells the entry that is visible now, not one that was on its way.
    private func reply(to ticket: CommitQueue.Ticket) -> CommitReply {
        var outcome = ticket.outcome
        if case .failure(.conflict(let key, _)) = outcome {
            outcome = .failure(.conflict(key, current: core.entries[key]))
        }
        return CommitReply(continuation: ticket.continuation, outcome: outcome)
    }
}

extension LogRow {
    init(_ entry: StoreEntry) {
        self.init(
            revision: entry.modRevision, key: entry.key, created: entry.createRevision, value: entry.value)
    }
}
