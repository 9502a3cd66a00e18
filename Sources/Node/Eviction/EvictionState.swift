package import Codecs

/// What is there of a signal's resource and what is left of it: bytes, files or processes.
package struct EvictionObservation: Sendable, Equatable {
    package var available: Int64
    package var capacity: Int64
    package init(available: Int64, capacity: Int64) { (self.available, self.capacity) = (available, capacity) }
}

/// Which thresholds are met, since when, and what the node says of it. Observations go in, what is to be done comes out.
/// Source: k8s.io/kubernetes/pkg/kubelet/eviction (eviction_manager.go, helpers.go).
package struct EvictionState: Sendable {
    package struct Met: Sendable, Equatable {
        package var threshold: EvictionThreshold
        package var observation: EvictionObservation
    }

    private let thresholds: [EvictionThreshold]
    private let transitionPeriod: Duration
    /// By threshold: when it was met first; one that was met stays so until its minimum is reclaimed.
    private var since: [Timestamp?]
    private var lastSeen: [String: Timestamp] = [:]
    /// "MemoryPressure", ...: what is so, or was within the transition period.
    package private(set) var conditions: Set<String> = []

    package init(_ settings: EvictionSettings) throws(SettingsError) {
        thresholds = try settings.thresholds()
        transitionPeriod = settings.transitionPeriod
        since = thresholds.map { _ in nil }
    }

    package var signals: Set<EvictionSignal> { Set(thresholds.map(\.signal)) }

    /// The thresholds to act upon: met, and their grace is over. Memory first, hard before soft.
    package mutating func observe(_ observations: [EvictionSignal: EvictionObservation], now: Timestamp) -> [Met] {
        var due: [Met] = []
        for (index, threshold) in thresholds.enumerated() {
            guard let seen = observations[threshold.signal] else {
                since[index] = nil
                continue
            }
            var least = threshold.amount.value(of: seen.capacity)
            if since[index] != nil { least += threshold.minimumReclaim.value(of: seen.capacity) }
            guard seen.available < least else {
                since[index] = nil
                continue
            }
            let first = since[index] ?? now
            since[index] = first
            lastSeen[threshold.signal.condition] = now
            if now.duration(since: first) >= (threshold.grace ?? .zero) {
                due.append(Met(threshold: threshold, observation: seen))
            }
        }
        lastSeen = lastSeen.filter { now.duration(since: $0.value) <= transitionPeriod }
        conditions = Set(lastSeen.keys)
        return due.sorted { Self.order($0) < Self.order($1) }
    }

    private static func order(_ met: Met) -> (Int, Int) {
        (met.threshold.signal == .memoryAvailable ? 0 : 1, met.threshold.grace == nil ? 0 : 1)
    }
}
