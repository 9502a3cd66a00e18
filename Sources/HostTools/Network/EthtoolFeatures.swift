import Linux

/// Offloads of an interface, as `ethtool -k` and `-K` name them.
struct EthtoolFeatures {
    /// Names of old, which stand for one or several of the kernel's.
    static let groups: [(short: String, long: String, pattern: String)] = [
        ("rx", "rx-checksumming", "rx-checksum"), ("tx", "tx-checksumming", "tx-checksum-*"),
        ("sg", "scatter-gather", "tx-scatter-gather*"), ("tso", "tcp-segmentation-offload", "tx-tcp*-segmentation"),
        ("ufo", "udp-fragmentation-offload", "tx-udp-fragmentation"),
        ("gso", "generic-segmentation-offload", "tx-generic-segmentation"),
        ("gro", "generic-receive-offload", "rx-gro"), ("lro", "large-receive-offload", "rx-lro"),
        ("rxvlan", "rx-vlan-offload", "rx-vlan-hw-parse"), ("txvlan", "tx-vlan-offload", "tx-vlan-hw-insert"),
        ("ntuple", "ntuple-filters", "rx-ntuple-filter"), ("rxhash", "receive-hashing", "rx-hashing"),
    ]

    struct Block: Equatable { var available, requested, active, neverChanged: UInt32 }

    var names: [String]
    var blocks: [Block]

    static func read(_ request: EthtoolRequest) throws(SysError) -> EthtoolFeatures {
        let names = try request.names(.features)
        let count = (names.count + 31) / 32
        let answer = try request.send(.features, [UInt32(count)], size: 8 + count * 16)
        let blocks = (0..<count).map { index -> Block in
            func field(_ number: Int) -> UInt32 { EthtoolRequest.word(answer, 8 + index * 16 + number * 4) }
            return Block(available: field(0), requested: field(1), active: field(2), neverChanged: field(3))
        }
        return EthtoolFeatures(names: names, blocks: blocks)
    }

    private func bit(_ path: KeyPath<Block, UInt32>, _ index: Int) -> Bool {
        blocks.indices.contains(index / 32) && blocks[index / 32][keyPath: path] >> UInt32(index % 32) & 1 == 1
    }

    func isActive(_ index: Int) -> Bool { bit(\.active, index) }

    private func line(_ index: Int, _ name: String) -> String {
        var suffix = ""
        if !bit(\.available, index) || bit(\.neverChanged, index) {
            suffix = " [fixed]"
        } else if bit(\.requested, index) != isActive(index) {
            suffix = bit(\.requested, index) ? " [requested on]" : " [requested off]"
        }
        return "\(name): \(EthtoolFeatures.word(isActive(index)))\(suffix)"
    }

    static func word(_ isOn: Bool) -> String { isOn ? "on" : "off" }

    /// The lines of `-k`.
    var lines: [String] {
        var result: [String] = []
        var rest = Set(names.indices)
        for group in EthtoolFeatures.groups {
            let members = names.indices.filter { fnmatch(group.pattern, names[$0], 0) == 0 }
            rest.subtract(members)
            if members.isEmpty { continue }
            if members.count == 1 {
                result.append(line(members[0], group.long))
            } else {
                result.append("\(group.long): \(EthtoolFeatures.word(members.contains { isActive($0) }))")
                result += members.map { "\t" + line($0, names[$0]) }
            }
        }
        for index in names.indices where rest.contains(index) && !names[index].isEmpty {
            result.append(line(index, names[index]))
        }
        return result
    }

    /// The kernel's features behind a name, which may be one of old.
    func members(_ name: String) -> [Int] {
        if let group = EthtoolFeatures.groups.first(where: { $0.short == name || $0.long == name }) {
            return names.indices.filter { fnmatch(group.pattern, names[$0], 0) == 0 }
        }
        return names.indices.filter { names[$0] == name && !name.isEmpty }
    }

    /// What a change has done that was not asked for, and what it has not done; empty when all is as wanted.
    static func changes(_ before: EthtoolFeatures, _ after: EthtoolFeatures, wanted: [Int: Bool]) -> [String] {
        var lines: [String] = []
        var isSurprising = false
        for index in before.names.indices {
            let hasChanged = before.isActive(index) != after.isActive(index)
            let name = before.names[index]
            if let wish = wanted[index], wish != after.isActive(index) {
                isSurprising = true
                lines.append("\(name): \(word(after.isActive(index))) [requested \(word(wish))]")
            } else if hasChanged {
                if wanted[index] == nil { isSurprising = true }
                lines.append(
                    "\(name): \(word(after.isActive(index)))" + (wanted[index] == nil ? " [not requested]" : ""))
            }
        }
        return isSurprising ? lines : []
    }
}
