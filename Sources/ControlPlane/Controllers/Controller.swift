internal import Codecs
package import KubeAPI

/// A controller: brings the objects behind one key to the state that their spec asks for.
///
/// Level-triggered: a reconcile reads what it needs through the client and does not know which event woke it. It may run
/// at any time, twice, or after a crash half way; keys of one controller are reconciled one at a time, so it needs no
/// locks. Throwing means "again, after a back-off". Nothing is remembered between calls but what makes them cheaper.
package protocol Controller: Sendable {
    /// As in log lines and user agents: "deployment-controller".
    var name: String { get }
    var sources: [WatchSource] { get }
    /// How many keys may be reconciled at the same time.
    var concurrency: Int { get }
    /// Returns after which time to look again even without an event.
    func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration?
}

extension Controller {
    package var concurrency: Int { 1 }
}

/// Which events concern a controller, and whom they wake.
package struct WatchSource: Sendable {
    package let resource: GroupVersionResource
    /// Keys to reconcile because of this object. An object's last state comes with `.deleted`.
    package let keys: @Sendable (KubeObject, WatchEvent.Kind) -> [ObjectKey]
    /// A new list follows: deletions may have been missed. For those who keep an index.
    package let relisting: @Sendable () -> Void

    package init(
        _ resource: GroupVersionResource, relisting: @escaping @Sendable () -> Void = {},
        keys: @escaping @Sendable (KubeObject, WatchEvent.Kind) -> [ObjectKey]
    ) {
        (self.resource, self.relisting, self.keys) = (resource, relisting, keys)
    }

    /// The object itself.
    package static func own(_ resource: GroupVersionResource) -> WatchSource {
        WatchSource(resource) { object, _ in [object.key] }
    }

    /// The controller that owns the object, if it is of this kind.
    package static func owner(_ kind: String, of resource: GroupVersionResource) -> WatchSource {
        WatchSource(resource) { object, _ in
            guard let owner = object.controller, owner.kind == kind else { return [] }
            return [ObjectKey(namespace: object.namespace, name: owner.name)]
        }
    }
}
