internal import Codecs
internal import KubeAPI
import Synchronization

/// What a pod and its parts may take of the node's disk, in bytes.
/// Source: localStorageEviction of pkg/kubelet/eviction/eviction_manager.go.
struct StorageLimits: Sendable, Equatable {
    /// Of emptyDir volumes on the disk (the kernel limits those in memory), by name.
    var volumes: [String: Int64] = [:]
    var containers: [String: Int64] = [:]
    /// nil: no container says anything.
    var pod: Int64?

    init(_ pod: Pod) {
        for volume in pod.volumes {
            guard let name = volume["name"].string, (volume["emptyDir"]["medium"].string ?? "").isEmpty,
                let limit = volume["emptyDir"]["sizeLimit"].string.flatMap({ Quantity($0) }), limit > .zero
            else { continue }
            volumes[name] = limit.value
        }
        for container in pod.containers + pod.initContainers {
            if let limit = container.limit("ephemeral-storage"), limit > .zero {
                containers[container.name] = limit.value
            }
        }
        let total = (pod.containers + pod.initContainers.filter(\.isSidecar)).compactMap { containers[$0.name] }
        if !total.isEmpty { self.pod = total.reduce(0) { $0 &+ $1 } }
    }

    var isSet: Bool { !volumes.isEmpty || !containers.isEmpty }

    /// nil: within its limits.
    func violation(volumes used: [String: Int64], containers disk: [String: Int64]) -> String? {
        func text(_ amount: Int64) -> String { Quantity(amount, format: .binarySI).description }
        for (name, limit) in volumes.sorted(by: { $0.key < $1.key }) where used[name, default: 0] > limit {
            return "Usage of EmptyDir volume \"\(name)\" exceeds the limit \"\(text(limit))\". "
        }
        let total = used.values.reduce(0, +) + disk.values.reduce(0, +)
        if let pod, total > pod {
            return "Pod ephemeral local storage usage exceeds the total limit of containers \(text(pod)). "
        }
        for (name, limit) in containers.sorted(by: { $0.key < $1.key }) where disk[name, default: 0] > limit {
            return "Container \(name) exceeded its local ephemeral storage limit \"\(text(limit))\". "
        }
        return nil
    }
}

/// The pods that have such limits: without any nothing is measured.
final class StorageWatch: Sendable {
    private let uids = Mutex<Set<String>>([])
    func watch(_ uid: String) { uids.withLock { _ = $0.insert(uid) } }
    func forget(_ uid: String) { uids.withLock { _ = $0.remove(uid) } }
    var watched: [String] { uids.withLock { Array($0) } }
}
