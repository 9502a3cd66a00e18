package import Codecs
package import KubeAPI

/// What of the node can run out. Source: k8s.io/kubernetes/pkg/kubelet/eviction/api.
package enum EvictionSignal: String, Sendable, CaseIterable {
    case memoryAvailable = "memory.available"
    case nodeFSAvailable = "nodefs.available"
    case nodeFSInodesFree = "nodefs.inodesFree"
    case imageFSAvailable = "imagefs.available"
    case imageFSInodesFree = "imagefs.inodesFree"
    case pidAvailable = "pid.available"

    /// Of which pods get less.
    package var resource: String {
        switch self {
        case .memoryAvailable: "memory"
        case .nodeFSAvailable, .imageFSAvailable: "ephemeral-storage"
        case .nodeFSInodesFree, .imageFSInodesFree: "inodes"
        case .pidAvailable: "pids"
        }
    }
    package var condition: String {
        switch self {
        case .memoryAvailable: "MemoryPressure"
        case .pidAvailable: "PIDPressure"
        default: "DiskPressure"
        }
    }
    /// Of files and processes there are numbers, of the others bytes.
    package var isCount: Bool { self == .nodeFSInodesFree || self == .imageFSInodesFree || self == .pidAvailable }
}

/// An amount, or a share of what there is.
package enum EvictionAmount: Sendable, Equatable {
    case quantity(Int64)
    /// In thousandths of a percent.
    case share(Int64)

    package func value(of capacity: Int64) -> Int64 {
        switch self {
        case .quantity(let amount): amount
        case .share(let share): Int64(clamping: Int128(capacity) * Int128(share) / 100_000)
        }
    }

    init?(_ text: String) {
        if text.hasSuffix("%") {
            guard let quantity = Quantity(String(text.dropLast())), quantity >= .zero, quantity.value <= 100 else {
                return nil
            }
            self = .share(quantity.milliValue)
        } else {
            guard let quantity = Quantity(text), quantity >= .zero else { return nil }
            self = .quantity(quantity.value)
        }
    }

    var isZero: Bool { self == .quantity(0) || self == .share(0) }
}

/// From when on the node makes room. `grace` nil: at once (hard).
package struct EvictionThreshold: Sendable, Equatable {
    package var signal: EvictionSignal
    package var amount: EvictionAmount
    package var grace: Duration?
    /// How much beyond the threshold is freed before the signal counts as resolved.
    package var minimumReclaim = EvictionAmount.quantity(0)
}

/// All that is set of eviction. The defaults are k3s's: disks only, at 5 %.
package struct EvictionSettings: Sendable, Equatable {
    /// By signal, as KubeletConfiguration has them.
    package var hard = ["imagefs.available": "5%", "nodefs.available": "5%"]
    package var soft: [String: String] = [:]
    package var softGrace: [String: String] = [:]
    package var minimumReclaim = ["imagefs.available": "10%", "nodefs.available": "10%"]
    package var transitionPeriod: Duration = .seconds(300)
    /// Seconds that pods get at most when a soft threshold is met.
    package var maximumPodGrace: Int64 = 0
    /// How often the signals are looked at.
    package var period: Duration = .seconds(10)

    package init() {}

    /// Hard ones first.
    package func thresholds() throws(SettingsError) -> [EvictionThreshold] {
        var list: [EvictionThreshold] = []
        for (name, text) in hard.sorted(by: { $0.key < $1.key }) {
            guard let one = try Self.threshold("evictionHard", name, text) else { continue }
            list.append(one)
        }
        for (name, text) in soft.sorted(by: { $0.key < $1.key }) {
            guard var one = try Self.threshold("evictionSoft", name, text) else { continue }
            guard let grace = softGrace[name].flatMap({ GoDuration.parse($0) }).map({ Duration.nanoseconds($0) }),
                grace >= .zero
            else {
                throw SettingsError("evictionSoftGracePeriod: a grace period is expected for \(name), such as 1m30s")
            }
            one.grace = grace
            list.append(one)
        }
        for (name, text) in minimumReclaim {
            guard let amount = EvictionAmount(text), EvictionSignal(rawValue: name) != nil else {
                throw SettingsError("evictionMinimumReclaim: \"\(name): \(text)\": a signal and an amount are expected")
            }
            for index in list.indices where list[index].signal.rawValue == name { list[index].minimumReclaim = amount }
        }
        return list
    }

    /// nil: switched off with 0 or 0 %.
    private static func threshold(
        _ field: String, _ name: String, _ text: String
    ) throws(SettingsError) -> EvictionThreshold? {
        guard let signal = EvictionSignal(rawValue: name) else {
            // Of the pods' cgroup: its limit is the kernel's; images have no file system of containers here.
            if ["allocatableMemory.available", "containerfs.available", "containerfs.inodesFree"].contains(name) {
                return nil
            }
            let known = EvictionSignal.allCases.map(\.rawValue).joined(separator: ", ")
            throw SettingsError("\(field): \"\(name)\" is not one of \(known)")
        }
        guard let amount = EvictionAmount(text) else {
            throw SettingsError("\(field): \(name): \"\(text)\" is not an amount such as 100Mi or 5%")
        }
        return amount.isZero || amount == .share(100_000) ? nil : EvictionThreshold(signal: signal, amount: amount)
    }

    /// What hard thresholds keep back from pods.
    func reserved(_ signal: EvictionSignal, of capacity: Int64) -> Int64 {
        let amount = hard[signal.rawValue].flatMap { EvictionAmount($0) }
        return amount.map { $0.value(of: capacity) } ?? 0
    }
}
