package import Codecs
package import KubeAPI
import Synchronization

/// What a request carries beside its object: who asks, whether it only asks what would happen, and the warnings that
/// come up on the way (`Warning` headers).
package final class RequestScope: Sendable {
    package let user: UserInfo
    package let dryRun: Bool
    package let fieldManager: String
    package let now: Timestamp
    private let ending = Mutex<[@Sendable () -> Void]>([])
    private let collected = Mutex<[String]>([])
    /// Upstream stops adding warnings when their texts pass 4 KiB.
    private static let limit = 4 << 10

    package init(user: UserInfo, now: Timestamp, dryRun: Bool = false, fieldManager: String = "") {
        (self.user, self.now, self.dryRun, self.fieldManager) = (user, now, dryRun, fieldManager)
    }

    /// Has something done when the write under way has come to its end, whatever that is.
    func atEnd(_ body: @escaping @Sendable () -> Void) { ending.withLock { $0.append(body) } }

    func finish() {
        let bodies = ending.withLock { list in
            defer { list = [] }
            return list
        }
        for body in bodies { body() }
    }

    package func warn(_ text: String) {
        guard !text.isEmpty else { return }
        collected.withLock { warnings in
            guard !warnings.contains(text), warnings.reduce(text.utf8.count, { $0 + $1.utf8.count }) <= Self.limit
            else { return }
            warnings.append(text)
        }
    }

    /// Something for the audit log's entry of this request.
    func annotate(_ key: String, _ value: String) { AuditNotes.current?.add(key, value) }

    package var warnings: [String] { collected.withLock { $0 } }
}

/// What admission has to say for the audit log: the annotations of a request's entry. There is one per request that is
/// logged, for the time of its task.
package final class AuditNotes: Sendable {
    @TaskLocal package static var current: AuditNotes?
    private let notes = Mutex<[String: String]>([:])

    package init() {}

    func add(_ key: String, _ value: String) { notes.withLock { $0[key] = value } }
    package var all: [String: String] { notes.withLock { $0 } }
}
