internal import Codecs
package import Iptables
internal import KubeAPI
internal import Linux
internal import Logging
internal import Netlink
import Synchronization

/// What enforces network policies.
package protocol PolicyEnforcing: Sendable {
    /// After a failure the next call makes good for it, also one without changes.
    func update(_ changes: PolicyChanges) async throws
    /// No policies any more: no rules, nothing kept.
    func unload() async throws
    /// Compares with what was loaded and repairs it; what was found if it was not as it should be.
    func verify() async throws -> String?
}

/// The nf_tables enforcer, off the cooperative pool: netlink calls block.
package struct KernelPolicyEnforcer: PolicyEnforcing {
    let enforcer: PolicyEnforcer
    package init(_ enforcer: PolicyEnforcer) { self.enforcer = enforcer }

    package func update(_ changes: PolicyChanges) async throws {
        try await BlockingPool.shared.run { () throws(NetlinkError) in _ = try enforcer.update(changes) }
    }
    package func unload() async throws {
        try await BlockingPool.shared.run { () throws(NetlinkError) in try enforcer.unload() }
    }
    package func verify() async throws -> String? {
        try await BlockingPool.shared.run { () throws(NetlinkError) in try enforcer.verify() }
    }
}

/// Follows network policies; as long as there is one, also the pods and namespaces of the whole cluster. Without policies a
/// watch that never says anything is all that this costs.
final class PolicyFollower: Sendable {
    private struct State {
        /// Policies, namespaces and pods that were told; nil: not listed yet.
        var policies: Set<String>?
        var namespaces: Set<String>?
        var pods: Set<String>?
        var pending = Pending()
        /// Pods and namespaces are followed, and the rules looked after.
        var peers: Task<Void, Never>?
        /// Of the follower of pods and namespaces; what an earlier one still says counts no more.
        var epoch = 0
        var isLoaded = false
    }
    /// What has to be told, the newest only.
    private struct Pending {
        var pods: [String: PolicyPod?] = [:]
        var namespaces: [String: [String: String]?] = [:]
        var policies: [String: NetworkPolicy?] = [:]

        mutating func take() -> PolicyChanges {
            var out = PolicyChanges()
            for (id, pod) in pods { if let pod { out.pods.append(pod) } else { out.removedPods.append(id) } }
            for (name, labels) in namespaces {
                if let labels { out.namespaces[name] = labels } else { out.removedNamespaces.append(name) }
            }
            for (id, policy) in policies {
                if let policy { out.policies.append(policy) } else { out.removedPolicies.append(id) }
            }
            self = Pending()
            return out
        }
    }

    private let context: NodeContext
    private let enforcer: any PolicyEnforcing
    private let state = Mutex(State())
    private let news: AsyncStream<Void>
    private let poke: AsyncStream<Void>.Continuation

    init(context: NodeContext, enforcer: any PolicyEnforcing) {
        (self.context, self.enforcer) = (context, enforcer)
        (news, poke) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Until the task is cancelled; the rules stay.
    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.follow(.networkPolicies) { self.policyChanged($0) } }
            group.addTask { await self.apply() }
            await group.waitForAll()
        }
        state.withLock { $0.peers }?.cancel()
    }

    private func follow(_ resource: GroupVersionResource, _ handle: @Sendable (Follower.Change) -> Void) async {
        await context.follow(resource, as: context.clusterClient, handle)
    }

    // MARK: what happens

    /// Notes what a change of a resource means. `value` nil: the object does not count (any more).
    private static func note<Value>(
        _ change: Follower.Change, _ known: inout Set<String>?, _ pending: inout [String: Value?],
        id: (KubeObject) -> String, value: (KubeObject) -> Value?
    ) {
        var ids = known ?? []
        func take(_ object: KubeObject) {
            let id = id(object)
            if let value = value(object) {
                pending[id] = value
                ids.insert(id)
            } else if ids.remove(id) != nil {
                pending[id] = .some(nil)
            }
        }
        switch change {
        case .reset(let items):
            let before = ids
            ids = []
            for object in items.compactMap({ try? $0.decode() }) { take(object) }
            for id in before.subtracting(ids) { pending[id] = .some(nil) }
        case .changed(let encoded):
            guard let object = try? encoded.decode() else { return }
            take(object)
        case .removed(let encoded):
            guard let object = try? encoded.decode() else { return }
            let id = id(object)
            if ids.remove(id) != nil { pending[id] = .some(nil) }
        }
        known = ids
    }

    private func policyChanged(_ change: Follower.Change) {
        state.withLock { state in
            Self.note(
                change, &state.policies, &state.pending.policies, id: \.key.description, value: PolicyMapping.policy)
        }
        poke.yield()
    }

    private func namespaceChanged(_ change: Follower.Change, _ epoch: Int) {
        state.withLock { state in
            guard state.epoch == epoch else { return }
            Self.note(change, &state.namespaces, &state.pending.namespaces, id: \.name, value: \.labels)
        }
        poke.yield()
    }

    private func podChanged(_ change: Follower.Change, _ epoch: Int) {
        let node = context.configuration.name
        state.withLock { state in
            guard state.epoch == epoch else { return }
            Self.note(change, &state.pods, &state.pending.pods, id: \.key.description) {
                PolicyMapping.pod($0, node: node)
            }
        }
        poke.yield()
    }

    // MARK: what follows

    /// Starts to follow pods and namespaces with the first policy and stops with the last.
    /// Returns how many policies there are; nil: not known yet.
    private func followPeers() -> Int? {
        let (count, epoch, old) = state.withLock { state -> (Int?, Int?, Task<Void, Never>?) in
            guard let count = state.policies?.count else { return (nil, nil, nil) }
            let wanted = count > 0
            if wanted == (state.peers != nil) { return (count, nil, nil) }
            state.epoch += 1
            let old = state.peers
            state.peers = nil
            if !wanted { (state.namespaces, state.pods, state.isLoaded, state.pending) = (nil, nil, false, Pending()) }
            return (count, wanted ? state.epoch : nil, old)
        }
        old?.cancel()
        guard let epoch else { return count }
        let task = Task {
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await self.follow(.namespaces) { self.namespaceChanged($0, epoch) } }
                group.addTask { await self.follow(.pods) { self.podChanged($0, epoch) } }
                group.addTask { await self.verify() }
                await group.waitForAll()
            }
        }
        state.withLock { state in
            state.peers = task
            if let names = context.names {
                let server = PolicyMapping.nameServer([names.address])
                state.pending.pods[server.id] = server
            }
        }
        return count
    }

    private func apply() async {
        var delay: Duration = .seconds(1)
        // What an earlier process left is in force until it is known what shall be.
        var isEmpty = false
        for await _ in news {
            if Task.isCancelled { return }
            guard let count = followPeers() else { continue }
            do {
                if count == 0 {
                    if !isEmpty { try await enforcer.unload() }
                    isEmpty = true
                    continue
                }
                isEmpty = false
                let changes = state.withLock { state -> PolicyChanges? in
                    guard state.namespaces != nil, state.pods != nil else { return nil }
                    defer { state.isLoaded = true }
                    return state.pending.take()
                }
                guard let changes else { continue }
                try await enforcer.update(changes)
                delay = .seconds(1)
                await context.clock.sleep(for: .milliseconds(20))
            } catch {
                context.logger.error("network policy: \(error); again in \(delay)")
                await context.clock.sleep(for: delay)
                delay = min(delay * 2, .seconds(30))
                poke.yield()
            }
        }
    }

    /// As the service proxy's: microseconds unless somebody changed something. Runs only while there are policies.
    private func verify() async {
        while !Task.isCancelled {
            await context.clock.sleep(for: .seconds(30))
            guard state.withLock({ $0.isLoaded }) else { continue }
            do {
                if let reason = try await enforcer.verify() {
                    context.logger.warning(
                        "network policy: the rules were changed by others (\(reason)) and loaded again")
                }
            } catch {
                context.logger.error("network policy: check: \(error)")
            }
        }
    }
}
