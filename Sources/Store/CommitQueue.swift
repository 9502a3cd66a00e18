/// The answer to one `commit` call.
typealias CommitOutcome = Result<[StoreResult], StoreError>

/// A caller and what it gets; resumed outside the store's lock.
struct CommitReply: Sendable {
    var continuation: UnsafeContinuation<CommitOutcome, Never>
    var outcome: CommitOutcome

    func resume() { continuation.resume(returning: outcome) }
}

/// The writes between being staged and being durable: one group that gathers, and one that the writer thread has in
/// hand. Used by stores that have a log; part of the state behind the store's lock.
struct CommitQueue: Sendable {
    /// One waiting `commit` call.
    struct Ticket: Sendable {
        var continuation: UnsafeContinuation<CommitOutcome, Never>
        /// A failure here is a refusal that rests on writes of this or the group before; it is told once they are
        /// durable.
        var outcome: CommitOutcome
    }

    /// Writes that share one transaction and one sync.
    struct Group: Sendable {
        var writes: [StoreWrite] = []
        var tickets: [Ticket] = []
        var bytes = 0
        /// Write out the garbage and the deferred keys even if nothing else is to be written.
        var forced = false

        var isEmpty: Bool { tickets.isEmpty && !forced }
    }

    private(set) var gathering = Group()
    private(set) var inHand: Group?
    /// Keys whose visible entry is newer than what the disk has, with the revision of that entry.
    var deferred: [ByteKey: Int64] = [:]
    /// What the log on disk knows.
    var marks = LogMarks()

    /// Whether staged writes exist that are not visible yet.
    var isIdle: Bool { inHand == nil && gathering.isEmpty }

    var pendingBytes: Int { gathering.bytes + (inHand?.bytes ?? 0) }
    var pendingTickets: Int { gathering.tickets.count + (inHand?.tickets.count ?? 0) }

    mutating func add(_ writes: [StoreWrite], _ ticket: Ticket) {
        gathering.writes.append(contentsOf: writes)
        gathering.tickets.append(ticket)
        for write in writes { gathering.bytes += write.pendingBytes }
    }

    /// A refusal waits for the newest group that there is.
    mutating func addRefusal(_ ticket: Ticket) {
        if gathering.isEmpty, inHand != nil { inHand?.tickets.append(ticket) } else { gathering.tickets.append(ticket) }
    }

    mutating func force() { gathering.forced = true }

    mutating func takeInHand() -> Group? {
        guard inHand == nil, !gathering.isEmpty else { return nil }
        inHand = gathering
        gathering = Group()
        return inHand
    }

    mutating func finish() -> Group? {
        defer { inHand = nil }
        return inHand
    }

    /// Everything that waits, after a failure: later writes may rest on the failed ones.
    mutating func abandon() -> [Ticket] {
        defer {
            inHand = nil
            gathering = Group()
        }
        return (inHand?.tickets ?? []) + gathering.tickets
    }
}
