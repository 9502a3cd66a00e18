/// The limits of a store. Every buffer in it is bounded by one of these.
package struct StoreOptions: Sendable {
    /// How many bytes of superseded and deleted versions are kept for watches that resume and for lists that continue;
    /// an eighth of the live data, if that is more, so that a busy big store does not outrun its watchers.
    package var historyBytes: Int64 = 1 << 20
    /// The most events of the history, however small.
    package var historyEvents = 10_000
    /// How many of them are kept once the store rests, if it had to forget some before: nothing has been written for
    /// `restDelay` after `restRows` rows.
    package var restingHistoryBytes: Int64 = 32 << 10
    package var restDelay: Duration = .seconds(10)
    package var restRows = 256
    /// The most bytes of one key and value (etcd's default request limit, which users know).
    package var entryBytes = 3 << 19
    /// The most writes and bytes on their way to the disk; further ones are `.unavailable`.
    package var pendingWrites = 4_096
    package var pendingBytes = 16 << 20
    /// How long a deferred write may stay in memory only.
    package var deferredDelay: Duration = .seconds(300)
    /// How many superseded rows gather before they are deleted from the disk together with a write.
    package var garbageRows = 256
    /// How many revisions are reserved on disk ahead of use, for deferred writes.
    package var reservedRevisions: Int64 = 1_000
    /// Called, from the writer thread, when a group of writes failed and when writing works again: one line each.
    package var onDiskTrouble: (@Sendable (String) -> Void)?

    /// A number by which entries can be told apart without reading their values (`Store.tagged`); 0: none. Worked out once
    /// for each value, under the store's lock.
    package var tag: (@Sendable (_ value: [UInt8]) -> UInt32)?

    /// Encryption at rest.
    package var cipher: (any ValueCipher)?

    package init() {}
}
