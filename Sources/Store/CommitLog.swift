/// A row of the durable log: the state that a key got at a revision.
struct LogRow: Sendable {
    var revision: Int64
    var key: String
    /// The revision that created the key; nil for a deletion.
    var created: Int64?
    /// The bytes; for a deletion the last state for watchers, or nil if that is the state before.
    var value: [UInt8]?
}

/// What the log remembers beside its rows.
struct LogMarks: Sendable, Equatable {
    /// No revision up to this one is given out again.
    var reserved: Int64 = 0
    /// Rows up to this revision have been thinned out: only current states are left.
    var compacted: Int64 = 0
}

/// One atomic change of the log.
struct LogBatch: Sendable {
    var rows: [LogRow] = []
    /// Revisions of rows to delete; they need not exist.
    var garbage: [Int64] = []
    var marks: LogMarks

    var isEmpty: Bool { rows.isEmpty && garbage.isEmpty }
}

/// The durable half of a store. It is opened and loaded by one thread and then used by the writer thread only.
protocol CommitLog: AnyObject, Sendable {
    /// Hands over all rows in revision order.
    func load(_ take: (LogRow) -> Void) throws(StoreError) -> LogMarks
    /// Makes the batch durable, wholly or not at all; after an error the log can be used again.
    func append(_ batch: LogBatch) throws(StoreError)
    /// Gives back memory that only work needs.
    func rest()
    /// Remembers the marks and releases everything. Nothing is called afterwards.
    func close(_ marks: LogMarks)
}
