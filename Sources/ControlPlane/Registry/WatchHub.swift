internal import Codecs
internal import KubeAPI
internal import Linux
internal import Store
import Synchronization

/// What the watches of a server share: the encoded frames of recent events, and one timer for all bookmarks and
/// time-outs, so that an idle watch costs a position in the store's history and a suspended task.
final class WatchHub: Sendable {
    private struct Entry {
        let watch: StoreWatch
        /// Until when the watch may run; nil: as long as the client stays.
        let deadline: Timestamp?
        var bookmark: Timestamp?
    }
    private struct State {
        var entries: [UInt64: Entry] = [:]
        var nextID: UInt64 = 0
        var timer: Task<Void, Never>?
        var wakeAt: Timestamp?
    }
    private struct Frame {
        let revision: Int64
        let kind: WatchEvent.Kind
        let prefix: String
        let isProtobuf: Bool
        let bytes: [UInt8]
    }

    static let bookmarkInterval: Duration = .seconds(60)
    private static let frameBytes = 1 << 20
    private static let frameCount = 64

    private let clock: any KubeClock
    private let state = Mutex(State())
    private let frames = Mutex<(ring: [Frame], bytes: Int)>(([], 0))

    init(clock: any KubeClock) {
        self.clock = clock
        RestingMemory.onRest { [weak self] in
            guard let self else { return false }
            frames.withLock { $0 = ([], 0) }
            return true
        }
    }

    deinit { state.withLock { $0.timer?.cancel() } }

    // MARK: - Frames

    /// The event as it is sent; made once however many watches send it.
    func frame(
        _ kind: WatchEvent.Kind, _ object: EncodedObject, of resource: ServedResource,
        _ form: WatchFrames = WatchFrames(isProtobuf: false)
    ) -> [UInt8] {
        let revision = object.resourceVersion
        let known = frames.withLock { state in
            state.ring.last {
                $0.revision == revision && $0.kind == kind && $0.prefix == resource.prefix
                    && $0.isProtobuf == form.isProtobuf
            }?.bytes
        }
        if resource.view == nil, let known { return known }
        let made = form.frame(kind.rawValue, object.bytes)
        guard resource.view == nil else { return made }
        frames.withLock { state in
            state.ring.append(
                Frame(
                    revision: revision, kind: kind, prefix: resource.prefix, isProtobuf: form.isProtobuf, bytes: made)
            )
            state.bytes += made.count
            while state.ring.count > Self.frameCount || state.bytes > Self.frameBytes, let first = state.ring.first {
                state.bytes -= first.bytes.count
                state.ring.removeFirst()
            }
        }
        return made
    }

    static func frame(_ kind: WatchEvent.Kind, _ object: [UInt8]) -> [UInt8] { frame(type: kind.rawValue, object) }

    /// `{"type":...,"object":...}` and a line end.
    static func frame(type: String, _ object: [UInt8]) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(object.count + 40)
        out.append(ascii: "{\"type\":\"")
        out.append(contentsOf: type.utf8)
        out.append(ascii: "\",\"object\":")
        out.append(contentsOf: object)
        out.append(ascii: "}\n")
        return out
    }

    // MARK: - Time

    /// Registers a watch for bookmarks and its time-out; `remove` takes it out.
    func add(_ watch: StoreWatch, bookmarks: Bool, deadline: Timestamp?) -> UInt64 {
        let now = clock.now()
        return state.withLock { state in
            state.nextID += 1
            let id = state.nextID
            let bookmark = bookmarks ? now.advanced(by: Self.bookmarkInterval) : nil
            state.entries[id] = Entry(watch: watch, deadline: deadline, bookmark: bookmark)
            if let first = [deadline, bookmark].compactMap({ $0 }).min() { arm(&state, first) }
            return id
        }
    }

    func remove(_ id: UInt64) {
        state.withLock { state in
            state.entries[id] = nil
            if state.entries.isEmpty {
                state.timer?.cancel()
                (state.timer, state.wakeAt) = (nil, nil)
            }
        }
    }

    var count: Int { state.withLock { $0.entries.count } }

    /// Sleeps until something is due, rounded up to seconds so that many watches share a wake-up.
    private func arm(_ state: inout State, _ earliest: Timestamp) {
        let wake = Timestamp(seconds: (earliest.nanoseconds + 999_999_999) / 1_000_000_000)
        if let planned = state.wakeAt, planned <= wake { return }
        state.timer?.cancel()
        state.wakeAt = wake
        let clock = self.clock
        state.timer = Task { [weak self] in
            await clock.sleep(for: wake.duration(since: clock.now()))
            if !Task.isCancelled { self?.fire(wake) }
        }
    }

    private func fire(_ planned: Timestamp) {
        let now = max(clock.now(), planned)
        var due: [StoreWatch] = []
        var over: [StoreWatch] = []
        state.withLock { state in
            for (id, entry) in state.entries {
                if let deadline = entry.deadline, deadline <= now {
                    over.append(entry.watch)
                    state.entries[id] = nil
                } else if let bookmark = entry.bookmark, bookmark <= now {
                    due.append(entry.watch)
                    state.entries[id]?.bookmark = now.advanced(by: Self.bookmarkInterval)
                }
            }
            (state.timer, state.wakeAt) = (nil, nil)
            let next = state.entries.values.flatMap { [$0.deadline, $0.bookmark] }.compactMap { $0 }.min()
            if let next { arm(&state, next) }
        }
        for watch in due { watch.requestProgress() }
        for watch in over { watch.cancel() }
    }
}
