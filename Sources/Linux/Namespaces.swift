/// Namespaces, held by bind mounts of their nsfs files.
package enum NamespaceKind: String, Sendable, CaseIterable {
    case net, ipc, uts, pid, mnt, cgroup, user

    package var cloneFlag: UInt64 {
        switch self {
        case .net: K3S_CLONE_NEWNET
        case .ipc: K3S_CLONE_NEWIPC
        case .uts: K3S_CLONE_NEWUTS
        case .pid: K3S_CLONE_NEWPID
        case .mnt: K3S_CLONE_NEWNS
        case .cgroup: K3S_CLONE_NEWCGROUP
        case .user: K3S_CLONE_NEWUSER
        }
    }
}

package enum Namespaces {
    /// Makes new namespaces on a thread of their own, runs `prepare` inside, and binds each to `directory`/<kind>,
    /// where it lives on without any process.
    package static func make(
        _ kinds: [NamespaceKind], in directory: String, prepare: @escaping @Sendable () throws(SysError) -> Void
    ) async throws(SysError) {
        try await BlockingPool.onFreshThread(name: "namespaces") { () throws(SysError) in
            let flags = kinds.reduce(0) { $0 | $1.cloneFlag }
            try checked("unshare") { k3s_unshare(flags) }
            try prepare()
            for kind in kinds {
                let target = directory + "/" + kind.rawValue
                try Files.write(target, [], mode: 0o444)
                try Mounts.bind("/proc/thread-self/ns/" + kind.rawValue, to: target)
            }
        }
    }

    /// Binds the namespaces of a process to `directory`/<kind>, after running `prepare` inside them (the user namespace
    /// excepted: what prepares is the node's root).
    package static func adopt(
        _ kinds: [NamespaceKind], of pid: Int32, in directory: String,
        prepare: @escaping @Sendable () throws(SysError) -> Void
    ) async throws(SysError) {
        try await BlockingPool.onFreshThread(name: "namespaces") { () throws(SysError) in
            for kind in kinds {
                let source = "/proc/\(pid)/ns/" + kind.rawValue
                let target = directory + "/" + kind.rawValue
                try Files.write(target, [], mode: 0o444)
                try Mounts.bind(source, to: target)
                if kind == .user { continue }
                let fd = try FileDescriptor.open(target, O_RDONLY)
                let raw = fd.raw
                try checked("setns", source) { k3s_setns(raw, Int32(truncatingIfNeeded: kind.cloneFlag)) }
            }
            try prepare()
        }
    }

    /// Runs `body` on a thread of its own inside the namespace behind `path`.
    package static func inside<R: Sendable>(
        _ kind: NamespaceKind, path: String, _ body: @escaping @Sendable () throws(SysError) -> R
    ) async throws(SysError) -> R {
        try await BlockingPool.onFreshThread(name: "in-\(kind.rawValue)") { () throws(SysError) -> R in
            let fd = try FileDescriptor.open(path, O_RDONLY)
            let raw = fd.raw
            try checked("setns", path) { k3s_setns(raw, Int32(truncatingIfNeeded: kind.cloneFlag)) }
            return try body()
        }
    }

    /// Moves the calling thread into new namespaces. For threads that end afterwards (`BlockingPool.onFreshThread`).
    package static func unshareThread(_ kinds: [NamespaceKind]) throws(SysError) {
        try checked("unshare", kinds.map(\.rawValue).joined(separator: ",")) {
            k3s_unshare(kinds.reduce(0) { $0 | $1.cloneFlag })
        }
    }
}
