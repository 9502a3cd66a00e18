package import Codecs
internal import Linux
import Synchronization

/// Time as components see it, so that tests can run a year in a second.
package protocol KubeClock: Sendable {
    func now() -> Timestamp
    /// Returns early (without an error) when the task is cancelled.
    func sleep(for duration: Duration) async
}

package struct SystemClock: KubeClock {
    package init() {}
    package func now() -> Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }
    package func sleep(for duration: Duration) async { try? await Task.sleep(for: duration) }
}

/// A clock that moves when it is told to; sleepers wake in the order of their deadlines.
package final class VirtualClock: KubeClock {
    private struct Sleeper {
        let deadline: Timestamp
        let id: UInt64
        let continuation: CheckedContinuation<Void, Never>
    }
    private struct State {
        var now: Timestamp
        var sleepers: [Sleeper] = []
        var cancelled: Set<UInt64> = []
        var nextID: UInt64 = 0
    }
    private let state: Mutex<State>

    package init(_ start: Timestamp = Timestamp("2026-01-01T00:00:00Z") ?? Timestamp(seconds: 0)) {
        state = Mutex(State(now: start))
    }

    package func now() -> Timestamp { state.withLock { $0.now } }
    package var sleeping: Int { state.withLock { $0.sleepers.count } }

    package func sleep(for duration: Duration) async {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let wake = state.withLock { state -> Bool in
                    if state.cancelled.remove(id) != nil || duration <= .zero { return true }
                    state.sleepers.append(
                        Sleeper(deadline: state.now.advanced(by: duration), id: id, continuation: continuation))
                    return false
                }
                if wake { continuation.resume() }
            }
        } onCancel: {
            let sleeper = state.withLock { state -> Sleeper? in
                guard let i = state.sleepers.firstIndex(where: { $0.id == id }) else {
                    state.cancelled.insert(id)
                    return nil
                }
                return state.sleepers.remove(at: i)
            }
            sleeper?.continuation.resume()
        }
    }

    package func advance(by duration: Duration) {
        let due = state.withLock { state -> [Sleeper] in
            state.now = state.now.advanced(by: duration)
            let now = state.now
            let due = state.sleepers.filter { $0.deadline <= now }.sorted {
                ($0.deadline, $0.id) < ($1.deadline, $1.id)
            }
            state.sleepers.removeAll { $0.deadline <= now }
            return due
        }
        for sleeper in due { sleeper.continuation.resume() }
    }
}
