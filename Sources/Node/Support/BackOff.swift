package import Codecs

/// Delay that doubles from 10 s to 5 min between attempts of one thing (a container's restart, an image's pull), and is
/// forgotten after 10 min of quiet. Source: k8s.io/client-go/util/flowcontrol, as the kubelet uses it.
package struct BackOff: Sendable, Equatable {
    package static let initial: Duration = .seconds(10)
    package static let maximum: Duration = .seconds(300)

    package private(set) var delay: Duration = .zero
    private var updated = Timestamp(nanoseconds: 0)

    package init() {}

    /// How long an attempt must still wait, counted from `event` (when the last attempt ended); nil: it may start.
    package func remaining(since event: Timestamp, now: Timestamp) -> Duration? {
        guard delay > .zero, !hasExpired(at: event) else { return nil }
        let passed = now.duration(since: event)
        return passed < delay ? delay - passed : nil
    }

    /// Counted from the last `next`: for what has no time of its own (pulls).
    package func remainingSinceUpdate(now: Timestamp) -> Duration? {
        guard delay > .zero, !hasExpired(at: now) else { return nil }
        let passed = now.duration(since: updated)
        return passed < delay ? delay - passed : nil
    }

    /// An attempt begins (restart) or has failed (pull): the next one waits longer.
    package mutating func next(since event: Timestamp, now: Timestamp) {
        if delay == .zero || hasExpired(at: event) {
            delay = Self.initial
        } else {
            delay = min(delay * 2, Self.maximum)
        }
        updated = now
    }

    private func hasExpired(at event: Timestamp) -> Bool { event.duration(since: updated) > Self.maximum * 2 }
}
