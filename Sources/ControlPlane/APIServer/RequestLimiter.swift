internal import KubeAPI
import Synchronization

/// How many requests may be under way at once: in all, and per client, so that a noisy one cannot take the place of the
/// others. Nodes and the cluster's own components have seats that nobody else can take; administrators are not counted.
/// Watches, logs, exec and the like are not counted either: they hold a connection, not the server.
///
/// A small stand-in for API priority and fairness: levels and a bound per user, no queues. Who finds no seat is told to
/// come again in a second (429, Retry-After). Source: k8s.io/apiserver/pkg/server/filters/maxinflight.go, KEP-1040.
package final class RequestLimiter: Sendable {
    package struct Limits: Sendable {
        /// kube-apiserver's 400 reads and 200 changes.
        package var requests = 600
        /// One client's part of them.
        package var perUser = 200
        /// Seats for nodes and components, beside the others.
        package var system = 200
        package init() {}
    }

    enum Level: Sendable {
        case exempt, system, ordinary
    }

    /// A request under way; give it back with `leave`.
    struct Seat: Sendable {
        let level: Level
        let user: String
        let changes: Bool
    }

    private struct State {
        var ordinary = 0
        var system = 0
        var byUser: [String: Int] = [:]
        var reading: Int64 = 0
        var changing: Int64 = 0
        var refused: Int64 = 0
    }

    private let limits: Limits
    private let state = Mutex(State())

    init(_ limits: Limits = Limits()) { self.limits = limits }

    static func level(of user: UserInfo) -> Level {
        if user.groups.contains("system:masters") { return .exempt }
        if user.groups.contains("system:nodes") || user.name.hasPrefix("system:kube-") { return .system }
        return .ordinary
    }

    /// Whether a request goes on for as long as its client likes.
    static func isLongRunning(_ info: RequestInfo, follows: Bool) -> Bool {
        if info.verb == "watch" { return true }
        switch info.subresource {
        case "exec", "attach", "portforward", "proxy": return true
        case "log": return follows
        default: return false
        }
    }

    /// nil: no seat.
    func enter(_ user: UserInfo, verb: String) -> Seat? {
        let seat = Seat(
            level: Self.level(of: user), user: user.name, changes: !["get", "list"].contains(verb))
        let isIn = state.withLock { state in
            switch seat.level {
            case .exempt: break
            case .system:
                guard state.system < limits.system else { return refuse(&state) }
                state.system += 1
            case .ordinary:
                let mine = state.byUser[seat.user] ?? 0
                guard state.ordinary < limits.requests, mine < limits.perUser else { return refuse(&state) }
                state.ordinary += 1
                state.byUser[seat.user] = mine + 1
            }
            if seat.changes { state.changing += 1 } else { state.reading += 1 }
            return true
        }
        return isIn ? seat : nil
    }

    private func refuse(_ state: inout State) -> Bool {
        state.refused += 1
        return false
    }

    func leave(_ seat: Seat) {
        state.withLock { state in
            switch seat.level {
            case .exempt: break
            case .system: state.system -= 1
            case .ordinary:
                state.ordinary -= 1
                if let mine = state.byUser[seat.user] { state.byUser[seat.user] = mine > 1 ? mine - 1 : nil }
            }
            if seat.changes { state.changing -= 1 } else { state.reading -= 1 }
        }
    }

    static var refusal: APIError {
        .tooManyRequests("Too many requests, please try again later.", retryAfter: 1)
    }

    /// Under way and refused, for /metrics.
    var counts: (reading: Int64, changing: Int64, refused: Int64) {
        state.withLock { ($0.reading, $0.changing, $0.refused) }
    }
}
