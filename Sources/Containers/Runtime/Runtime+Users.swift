import Linux
import Logging
import Synchronization

// User namespaces of pods (hostUsers: false). Each pod has 65536 ids of the node that no other has: what runs as root in
// the pod is nobody outside of it. Source: KEP-127.

extension Runtime {
    package static let idsPerPod: UInt32 = 65536

    func checkIDs(_ user: ResolvedUser) throws(RuntimeError) {
        if let problem = NodeIDs.problem(user: user.uid, group: user.gid) {
            throw RuntimeError(.createFailed, problem)
        }
    }

    /// The first free range. A pod that gets another sandbox keeps its own: its files may have owners from it.
    func claimIDs(podUID: String) throws(RuntimeError) -> UInt32 {
        guard IDMap.users.isInitial else {
            throw RuntimeError(.createFailed, "hostUsers: false is not possible on a rootless node")
        }
        let base = state.withLock { state -> UInt32? in
            var used = state.claimedIDs
            for record in state.sandboxes.values where record.status.config.privateUsers {
                let config = record.status.config
                if config.podUID == podUID {
                    state.claimedIDs.insert(config.idBase)
                    return config.idBase
                }
                used.insert(config.idBase)
            }
            // The first range is the node's own users'.
            var candidate = Self.idsPerPod
            while used.contains(candidate) {
                guard candidate < UInt32.max - 2 * Self.idsPerPod else { return nil }
                candidate += Self.idsPerPod
            }
            state.claimedIDs.insert(candidate)
            return candidate
        }
        guard let base else { throw RuntimeError(.createFailed, "user namespace: no range of ids is free") }
        return base
    }

    /// Namespaces can belong to a user namespace only if a process makes them inside it, and a thread cannot enter one:
    /// a process of the shim does, is given its ids, and goes when the namespaces are bound.
    func makeUserNamespaces(
        _ record: SandboxRecord, _ kinds: [NamespaceKind], _ prepare: @escaping @Sendable () throws(SysError) -> Void
    ) async throws(SysError) {
        let holder = record.status.id + "-ns"
        let base = record.status.config.idBase
        var plan = LaunchPlan()
        plan.namespaces = [.user] + kinds
        plan.add(.pause)
        let pid: Int32
        do throws(RuntimeError) { pid = try await launch(plan, id: holder, parent: "", flags: []).message.pid } catch {
            throw SysError(EPERM, call: "make a user namespace: \(error.message)")
        }
        var failure: SysError?
        do throws(SysError) {
            let map = "0 \(base) \(Self.idsPerPod)\n"
            for file in ["uid_map", "gid_map"] { try Files.overwrite("/proc/\(pid)/\(file)", map) }
            try await Namespaces.adopt(
                [.user] + kinds, of: pid, in: configuration.sandboxState(record.status.id), prepare: prepare)
        } catch { failure = error }
        _ = try? await shim().request(signalMessage(holder, SIGKILL))
        if let failure { throw failure }
    }

    /// What the container's root has to own on the node's disk.
    func giveAway(_ paths: [String], to base: UInt32) throws(SysError) {
        for path in paths { try syscall("chown", path) { lchown(path, base, base) } }
    }
}

/// The ids that there are on this node: rootless, it is in a user namespace itself, and has those that its user was given.
package enum NodeIDs {
    /// What to say of ids that are not there; nil: they are.
    package static func problem(user: UInt32?, group: UInt32?) -> String? {
        let missing: (String, UInt32)?
        if let user, !IDMap.users.contains(user) {
            missing = ("user", user)
        } else if let group, !IDMap.groups.contains(group) {
            missing = ("group", group)
        } else {
            missing = nil
        }
        return missing.map { "\($0) \($1): this node's user namespace has no such id (/etc/subuid, /etc/subgid)" }
    }
}
