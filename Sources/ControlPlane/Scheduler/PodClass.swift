internal import Codecs
internal import KubeAPI

/// Labels in the order of their keys: compact, compared and looked through without hashing.
struct LabelSet: Sendable, Hashable {
    struct Label: Sendable, Hashable {
        var key: String
        var value: String
    }
    private(set) var labels: [Label] = []

    init() {}
    init(_ json: JSON) {
        guard let object = json.object else { return }
        labels.reserveCapacity(object.count)
        for (key, value) in object {
            if case .string(let text) = value { labels.append(Label(key: key, value: text)) }
        }
        labels.sort { $0.key < $1.key }
    }

    subscript(key: String) -> String? {
        for label in labels where label.key == key { return label.value }
        return nil
    }
    func matches(_ selector: LabelSelector) -> Bool { selector.matches { self[$0] } }
}

/// A pod's UID in 16 bytes.
struct PodID: Sendable, Hashable {
    private let high: UInt64
    private let low: UInt64

    init(_ uid: String) {
        var (high, low): (UInt64, UInt64) = (0, 0)
        var digits = 0
        for byte in uid.utf8 where byte != UInt8(ascii: "-") {
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
            default: digit = 255
            }
            guard digit < 16, digits < 32 else {
                digits = 0
                break
            }
            high = high << 4 | low >> 60
            low = low << 4 | UInt64(digit)
            digits += 1
        }
        if digits == 32 {
            (self.high, self.low) = (high, low)
        } else {
            // Not a UUID: what a mirror of somebody else's pod may have.
            (self.high, self.low) = (Self.hash(uid), Self.hash(uid, seed: 0x9E37_79B9_7F4A_7C15))
        }
    }

    /// FNV-1a.
    static func hash(_ text: String, seed: UInt64 = 0xCBF2_9CE4_8422_2325) -> UInt64 {
        text.utf8.reduce(seed) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }
}

/// What pods of one template have in common and the placing of others depends on.
struct PodClass: Sendable, Hashable {
    var namespace = ""
    var labels = LabelSet()
    var demand = PodDemand()
    /// `spec.affinity`'s parts about pods as text: what equality is decided by.
    private(set) var affinityText = ""
    private(set) var affinity = PodAffinity()
    /// Volumes that others may collide with; see `VolumeUse`.
    var volumes: [VolumeUse] = []

    init() {}
    init(_ pod: KubeObject) {
        namespace = pod.namespace
        labels = LabelSet(pod.metadata["labels"])
        demand = PodDemand(pod)
        let affinity = pod.spec["affinity"]
        if !affinity["podAffinity"].isNull || !affinity["podAntiAffinity"].isNull {
            self.affinity = PodAffinity(affinity, namespace: namespace, labels: labels)
            affinityText = affinity["podAffinity"].text + affinity["podAntiAffinity"].text
        }
        volumes = VolumeUse.list(pod)
    }

    static func == (a: Self, b: Self) -> Bool {
        a.namespace == b.namespace && a.labels == b.labels && a.demand == b.demand && a.affinityText == b.affinityText
            && a.volumes == b.volumes
    }
    func hash(into hasher: inout Hasher) {
        hasher.combine(namespace)
        hasher.combine(labels)
        hasher.combine(demand.requests.milliCPU)
    }
}

/// The classes of the pods that are placed, by number.
struct PodClasses: Sendable {
    private var list: [PodClass] = []
    private var counts: [Int32] = []
    private var numbers: [PodClass: Int32] = [:]
    private var free: [Int32] = []
    /// Those whose pods have something to say about other pods: empty in most clusters.
    private(set) var withAffinity: [Int32] = []

    var count: Int { list.count }
    subscript(number: Int32) -> PodClass {
        _read { yield list[Int(number)] }
    }
    func isUsed(_ number: Int) -> Bool { counts[number] > 0 }

    mutating func enter(_ podClass: PodClass) -> Int32 {
        if let number = numbers[podClass] {
            counts[Int(number)] += 1
            return number
        }
        let number = free.popLast() ?? Int32(list.count)
        if Int(number) == list.count {
            list.append(podClass)
            counts.append(1)
        } else {
            list[Int(number)] = podClass
            counts[Int(number)] = 1
        }
        numbers[podClass] = number
        if !podClass.affinity.isEmpty { withAffinity.append(number) }
        return number
    }

    mutating func leave(_ number: Int32) {
        counts[Int(number)] -= 1
        guard counts[Int(number)] == 0 else { return }
        let podClass = list[Int(number)]
        numbers[podClass] = nil
        if !podClass.affinity.isEmpty { withAffinity.removeAll { $0 == number } }
        list[Int(number)] = PodClass()
        free.append(number)
    }
}
