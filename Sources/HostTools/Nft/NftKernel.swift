import Linux
import Netlink

/// What nf_tables has, as the kernel says it (linux/netfilter/nf_tables.h).
struct NftTable: Equatable {
    var family: UInt8
    var name: String
    var flags: UInt32 = 0
    var handle: UInt64 = 0
    var comment: String?
}

struct NftChain {
    struct Hook: Equatable {
        var kind: String
        var number: UInt32
        var priority: Int32
        var device: String?
        /// nil: the kernel has none, as for chains of netdev's.
        var accepts: Bool?
    }

    var name: String
    var handle: UInt64 = 0
    var hook: Hook?
    var comment: String?
}

struct NftSet {
    static let anonymous: UInt32 = 1, constant: UInt32 = 2, interval: UInt32 = 4, map: UInt32 = 8, timeout: UInt32 = 16
    static let dynamic: UInt32 = 32, object: UInt32 = 64

    var name: String
    var handle: UInt64 = 0
    var flags: UInt32 = 0
    var key: NftType
    var keyLength = 0
    var data = NftType.verdict
    var dataLength = 0
    /// NFT_SET_POL_MEMORY.
    var savesMemory = false
    var size: UInt32 = 0
    /// Milliseconds.
    var timeout: UInt64 = 0
    /// Milliseconds.
    var collection: UInt32 = 0
    var comment: String?
    var merges = false
    /// Keys that are plain numbers are in the machine's byte order (libnftables' note).
    var hasHostNumbers = false

    func has(_ flag: UInt32) -> Bool { flags & flag != 0 }
    /// Of one field: starts and ends of ranges are elements of their own.
    var hasSimpleRanges: Bool { has(NftSet.interval) && !key.isConcatenation }
}

struct NftElement {
    enum Value: Equatable {
        case nothing
        case verdict(String)
        case data([UInt8])
        case object(String)
    }

    var key: [UInt8]
    /// The last key of a range, inclusive.
    var end: [UInt8]?
    var value = Value.nothing
    /// Milliseconds.
    var timeout: UInt64?
    var expires: UInt64?
    var comment: String?
    var isRangeEnd = false
    /// "*": everything that is not named.
    var isCatchAll = false
}

struct NftRule {
    var chain: String
    var handle: UInt64
    var expressions: [UInt8]
    var comment: String?
}

/// Reads over one netlink socket. Each dump is whole in itself; two of them may see different rulesets.
struct NftKernel {
    private let socket: NetlinkSocket

    init() throws(NetlinkError) { socket = try NetlinkSocket(.netfilter) }

    /// Messages of NFNL_SUBSYS_NFTABLES: family and attributes.
    private func dump<T>(
        _ number: UInt16, _ family: UInt8, _ operation: String, names: [(UInt16, String)] = [],
        _ parse: (UInt8, ByteView) -> T?
    ) throws(NetlinkError) -> [T] {
        var buffer = MessageBuffer(capacity: 256)
        buffer.message(type: 10 << 8 | number, flags: [.request, .dump]) { message in
            message.appendNetfilterHeader(family: family)
            for (attribute, name) in names { message.attribute(attribute, string: name) }
        }
        return try socket.dump(&buffer, operation) { message in
            parse(message.payload.load(0) ?? 0, message.payload.dropFirst(4))
        }
    }

    func tables(_ family: UInt8) throws(NetlinkError) -> [NftTable] {
        try dump(1, family, "list tables") { family, attributes in
            guard let name = attributes.attribute(1)?.string else { return nil }
            return NftTable(
                family: family, name: name, flags: attributes.attribute(2)?.big() ?? 0,
                handle: attributes.attribute(4)?.big() ?? 0,
                comment: NftKernel.comment(attributes.attribute(6), type: 0))
        }
    }

    func chains(_ table: NftTable) throws(NetlinkError) -> [NftChain] {
        try dump(4, table.family, "list chains") { _, attributes in
            guard attributes.attribute(1)?.string == table.name, let name = attributes.attribute(3)?.string else {
                return nil
            }
            var chain = NftChain(name: name, handle: attributes.attribute(2)?.big() ?? 0)
            chain.comment = NftKernel.comment(attributes.attribute(12), type: 0)
            if let hook = attributes.attribute(4), let number = hook.attribute(1)?.big(as: UInt32.self) {
                chain.hook = NftChain.Hook(
                    kind: attributes.attribute(7)?.string ?? "filter", number: number,
                    priority: hook.attribute(2)?.big() ?? 0,
                    device: (hook.attribute(3) ?? hook.attribute(4)?.attribute(1))?.string,
                    accepts: attributes.attribute(5)?.big(as: UInt32.self).map { $0 != 0 })
            }
            return chain
        }
    }

    func rules(_ table: NftTable) throws(NetlinkError) -> [NftRule] {
        try dump(7, table.family, "list rules", names: [(1, table.name)]) { _, attributes in
            guard attributes.attribute(1)?.string == table.name, let chain = attributes.attribute(2)?.string else {
                return nil
            }
            return NftRule(
                chain: chain, handle: attributes.attribute(3)?.big() ?? 0,
                expressions: attributes.attribute(4)?.array ?? [],
                comment: NftKernel.comment(attributes.attribute(7), type: 0))
        }
    }

    func sets(_ table: NftTable) throws(NetlinkError) -> [NftSet] {
        try dump(10, table.family, "list sets", names: [(1, table.name)]) { _, attributes in
            guard attributes.attribute(1)?.string == table.name, let name = attributes.attribute(2)?.string else {
                return nil
            }
            func number(_ type: UInt16) -> UInt32 { attributes.attribute(type)?.big() ?? 0 }
            var set = NftSet(name: name, key: NftType(id: number(4)))
            set.flags = number(3)
            set.keyLength = Int(clamping: number(5))
            set.data = number(6) == 0xffff_ff00 ? .verdict : NftType(id: number(6))
            set.dataLength = Int(clamping: number(7))
            set.savesMemory = number(8) == 1
            set.size = attributes.attribute(9)?.attribute(1)?.big() ?? 0
            set.timeout = attributes.attribute(11)?.big() ?? 0
            set.collection = number(12)
            set.handle = attributes.attribute(16)?.big() ?? 0
            set.comment = NftKernel.comment(attributes.attribute(13), type: 7)
            set.hasHostNumbers =
                set.key == .integer && NftKernel.userData(attributes.attribute(13), type: 0)?.first == 1
            set.merges = NftKernel.userData(attributes.attribute(13), type: 2).map { $0.first == 1 } ?? false
            return set
        }
    }

    func elements(_ table: NftTable, _ set: NftSet) throws(NetlinkError) -> [NftElement] {
        let lists = try dump(13, table.family, "list elements of \(set.name)", names: [(1, table.name), (2, set.name)])
        {
            _, attributes in attributes.attribute(3).map { list in list.attributes.compactMap { NftElement($0.value) } }
        }
        var elements = lists.flatMap { $0 }
        if set.hasHostNumbers, Int(1).littleEndian == 1 {
            for index in elements.indices { elements[index].key.reverse() }
        }
        return set.inOrder(elements)
    }

    // MARK: User data

    /// libnftnl's own attributes: type, length, value, one byte each but the last.
    private static func userData(_ view: ByteView?, type: UInt8) -> [UInt8]? {
        var rest = (view?.array ?? [])[...]
        while rest.count >= 2 {
            let start = rest.startIndex
            let (kind, length) = (rest[start], Int(rest[start + 1]))
            guard rest.count >= 2 + length else { return nil }
            if kind == type { return Array(rest[(start + 2)..<(start + 2 + length)]) }
            rest = rest.dropFirst(2 + length)
        }
        return nil
    }

    static func comment(_ view: ByteView?, type: UInt8) -> String? {
        userData(view, type: type).map { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}

extension NftElement {
    /// NFTA_LIST_ELEM of a set's elements.
    init?(_ view: ByteView) {
        let flags: UInt32 = view.attribute(3)?.big() ?? 0
        isCatchAll = flags & 2 != 0
        guard let key = view.attribute(1)?.attribute(1)?.array ?? (isCatchAll ? [] : nil) else { return nil }
        self.key = key
        isRangeEnd = flags & 1 != 0
        end = view.attribute(10)?.attribute(1)?.array
        if let data = view.attribute(2) {
            if let verdict = data.attribute(2) {
                value = .verdict(NftElement.verdict(verdict))
            } else if let bytes = data.attribute(1)?.array {
                value = .data(bytes)
            }
        }
        if let object = view.attribute(9) { value = .object(object.string) }
        timeout = view.attribute(4)?.big()
        expires = view.attribute(5)?.big()
        comment = NftKernel.comment(view.attribute(6), type: 0)
    }

    /// NFTA_DATA_VERDICT in words.
    static func verdict(_ view: ByteView) -> String {
        guard let code = view.attribute(1)?.big(as: Int32.self) else { return "unknown" }
        if code == -1 { return "continue" }
        if code == -2 { return "break" }
        return NFVerdict(code: code, chain: view.attribute(2)?.string)?.description ?? "unknown"
    }
}

extension NftSet {
    /// As nft lists them: ranges put together and by their keys, others by their keys' numbers, in which the bytes of a
    /// concatenation count from the last.
    func inOrder(_ elements: [NftElement]) -> [NftElement] {
        if hasSimpleRanges { return ranges(elements) }
        if has(NftSet.interval) { return elements }
        let fields = key.fields
        func isBefore(_ one: [UInt8], _ other: [UInt8]) -> Bool {
            if key.isConcatenation || key.isHostOrder || key == .interfaceName {
                let (a, b) = (unpadded(one, fields), unpadded(other, fields))
                return a.reversed().lexicographicallyPrecedes(b.reversed())
            }
            return one.lexicographicallyPrecedes(other)
        }
        return elements.enumerated().sorted { left, right in
            if isBefore(left.element.key, right.element.key) { return true }
            return isBefore(right.element.key, left.element.key) ? false : left.offset < right.offset
        }.map(\.element)
    }

    private func unpadded(_ bytes: [UInt8], _ fields: [NftType]) -> [UInt8] {
        guard fields.count > 1 else { return bytes }
        return NftSet.split(bytes, fields).flatMap { Array($0) }
    }

    /// The fields of a concatenation, each of which begins at a register of 4 bytes.
    static func split(_ bytes: [UInt8], _ fields: [NftType]) -> [ArraySlice<UInt8>] {
        if fields.count == 1 { return [bytes[...]] }
        var rest = bytes[...]
        return fields.map { field in
            let size = field.size ?? 4
            let part = rest.prefix(size)
            rest = rest.dropFirst((size + 3) & ~3)
            return part
        }
    }

    private func ranges(_ elements: [NftElement]) -> [NftElement] {
        let sorted = elements.filter { !$0.isCatchAll }.sorted { left, right in
            let (a, b) = (left.key, right.key)
            if a != b {
                return key.isHostOrder
                    ? a.reversed().lexicographicallyPrecedes(b.reversed()) : a.lexicographicallyPrecedes(b)
            }
            return left.isRangeEnd && !right.isRangeEnd
        }
        var result: [NftElement] = []
        for (index, element) in sorted.enumerated() where !element.isRangeEnd {
            var range = element
            if index + 1 < sorted.count {
                // Without an end of its own a range ends before the next.
                range.end = NftSet.predecessor(of: sorted[index + 1].key, isHostOrder: key.isHostOrder)
            } else {
                range.end = [UInt8](repeating: 0xff, count: element.key.count)
            }
            result.append(range)
        }
        return result + elements.filter(\.isCatchAll)
    }

    static func predecessor(of key: [UInt8], isHostOrder: Bool) -> [UInt8] {
        var before = key
        for index in isHostOrder ? Array(before.indices) : before.indices.reversed() {
            before[index] &-= 1
            if before[index] != 0xff { break }
        }
        return before
    }
}
