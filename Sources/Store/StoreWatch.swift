/// A watch on the keys under a prefix. It holds a position in the store's shared history, not a queue of its own: a
/// watcher costs a few hundred bytes however slow it is, and one that falls behind the history window ends with
/// `.watchOverflow`. One consumer at a time.
package final class StoreWatch: Sendable {
    package let prefix: String
    let hub: StoreHub
    let id: UInt64

    init(prefix: String, hub: StoreHub, id: UInt64) {
        self.prefix = prefix
        self.hub = hub
        self.id = id
    }

    deinit { hub.endWatch(id) }

    /// The next events, at least one, in revision order; waits when there are none. Nil once the watch has been
    /// cancelled (its task too) or the store has been closed.
    /// - Throws: `.watchOverflow`, after which the watch is over.
    package func next() async throws(StoreError) -> [StoreEvent]? {
        try await hub.nextEvents(of: id)
    }

    /// Has a `.progress` event delivered after all the events up to the current revision: the source of bookmarks. It
    /// is for the caller's coalesced timer to ask; the store has no timer per watch.
    package func requestProgress() { hub.requestProgress(of: id) }

    /// Ends the watch: a waiting `next` and all later ones return nil.
    package func cancel() { hub.endWatch(id) }
}
