/// One change of a transaction.
package enum NFCommand: Sendable, Equatable {
    /// No error if it exists.
    case addTable(NFTable)
    /// With everything in it.
    case deleteTable(NFTable)
    case addChain(NFTable, NFChain)
    /// An empty chain that nothing refers to.
    case deleteChain(NFTable, String)
    /// Deletes the chain's rules.
    case flushChain(NFTable, String)
    case addRule(NFTable, chain: String, NFRule)
    case addSet(NFTable, NFSet)
    case deleteSet(NFTable, String)
    case flushSet(NFTable, String)
    case addElements(NFTable, NFSet, NFElements)
    case deleteElements(NFTable, NFSet, NFElements)

    package var table: NFTable {
        switch self {
        case .addTable(let table), .deleteTable(let table), .addChain(let table, _), .deleteChain(let table, _),
            .flushChain(let table, _), .addRule(let table, _, _), .addSet(let table, _), .deleteSet(let table, _),
            .flushSet(let table, _), .addElements(let table, _, _), .deleteElements(let table, _, _):
            table
        }
    }

    /// For error texts.
    package var summary: String {
        switch self {
        case .addTable(let table): "add table \(table)"
        case .deleteTable(let table): "delete table \(table)"
        case .addChain(let table, let chain): "add chain \(table) \(chain.name)"
        case .deleteChain(let table, let chain): "delete chain \(table) \(chain)"
        case .flushChain(let table, let chain): "flush chain \(table) \(chain)"
        case .addRule(let table, let chain, let rule):
            "add rule \(table) \(chain)\(rule.comment.map { " (\($0))" } ?? "")"
        case .addSet(let table, let set): "add set \(table) \(set.name)"
        case .deleteSet(let table, let set): "delete set \(table) \(set)"
        case .flushSet(let table, let set): "flush set \(table) \(set)"
        case .addElements(let table, let set, let elements): "add \(elements.count) elements to \(table) \(set.name)"
        case .deleteElements(let table, let set, let elements):
            "delete \(elements.count) elements of \(table) \(set.name)"
        }
    }
}

/// NFT_MSG_*.
enum NFMessage: UInt16 {
    case newTable = 0, getTable, deleteTable, newChain, getChain, deleteChain, newRule, getRule, deleteRule
    case newSet, getSet, deleteSet, newElements, getElements, deleteElements, newGeneration, getGeneration
    /// NFNL_SUBSYS_NFTABLES in the high byte.
    var type: UInt16 { 10 << 8 | rawValue }
}

extension NFCommand {
    /// One or more messages; a command with many elements is cut at the 64 KiB an attribute can hold.
    func encode(into batch: inout MessageBuffer, setIdentifier: UInt32) {
        let family = table.family
        func message(_ type: NFMessage, _ flags: MessageFlags, _ body: (inout MessageBuffer) -> Void) {
            batch.message(type: type.type, flags: flags.union(.request)) { message in
                message.appendNetfilterHeader(family: family.rawValue)
                message.attribute(1, string: table.name)
                body(&message)
            }
        }
        switch self {
        case .addTable: message(.newTable, .create) { $0.attribute(2, big: UInt32(0)) }
        case .deleteTable: message(.deleteTable, []) { _ in }
        case .addChain(_, let chain):
            message(.newChain, .create) { message in
                message.attribute(3, string: chain.name)
                guard let hook = chain.hook else { return }
                message.nested(4) {
                    $0.attribute(1, big: hook.point.rawValue); $0.attribute(2, big: hook.priority)
                }
                message.attribute(5, big: UInt32(hook.dropsByDefault ? 0 : 1))
                message.attribute(7, string: hook.kind.rawValue)
            }
        case .deleteChain(_, let chain): message(.deleteChain, []) { $0.attribute(3, string: chain) }
        case .flushChain(_, let chain): message(.deleteRule, []) { $0.attribute(2, string: chain) }
        case .addRule(_, let chain, let rule):
            message(.newRule, [.create, .append]) { message in
                message.attribute(2, string: chain)
                message.nested(4) { list in for expression in rule.expressions { expression.encode(into: &list) } }
                if let comment = rule.comment {
                    // libnftnl's user data: type 0 (comment), length, text with its NUL.
                    let text = Array(comment.utf8.prefix(127)) + [0]
                    message.attribute(7, bytes: [0, UInt8(text.count)] + text)
                }
            }
        case .addSet(_, let set): message(.newSet, .create) { set.encode(into: &$0, identifier: setIdentifier) }
        case .deleteSet(_, let name): message(.deleteSet, []) { $0.attribute(2, string: name) }
        case .flushSet(_, let name): message(.deleteElements, []) { $0.attribute(2, string: name) }
        case .addElements(_, let set, let elements):
            elements.encode(.newElements, .create, table, set, into: &batch)
        case .deleteElements(_, let set, let elements):
            elements.encode(.deleteElements, [], table, set, into: &batch)
        }
    }
}

extension NFSet {
    fileprivate func encode(into message: inout MessageBuffer, identifier: UInt32) {
        message.attribute(2, string: name)
        message.attribute(3, big: flags)
        message.attribute(4, big: key.identifier)
        message.attribute(5, big: UInt32(key.keyLength))
        switch value {
        case .none: break
        case .verdict:
            message.attribute(6, big: 0xffff_ff00 as UInt32)
            message.attribute(7, big: UInt32(0))
        case .data(let types):
            message.attribute(6, big: types.identifier)
            message.attribute(7, big: UInt32(types.keyLength))
        }
        let fields = isInterval && key.count > 1 ? key : []
        if size != nil || !fields.isEmpty {
            message.nested(9) { description in
                if let size { description.attribute(1, big: size) }
                guard !fields.isEmpty else { return }
                description.nested(2) { list in
                    for field in fields { list.nested(1) { $0.attribute(1, big: UInt32(field.byteCount)) } }
                }
            }
        }
        message.attribute(10, big: identifier)
        if let timeoutMilliseconds, timeoutMilliseconds > 0 { message.attribute(11, big: timeoutMilliseconds) }
    }
}

extension NFElements {
    /// Bytes of elements per message, well below the 65,535 of the list attribute.
    private static let chunkBytes = 60_000

    fileprivate func encode(
        _ type: NFMessage, _ flags: MessageFlags, _ table: NFTable, _ set: NFSet, into batch: inout MessageBuffer
    ) {
        let elementCount = count
        var index = 0
        // The elements of a set differ in their bytes only, those of a verdict map with one verdict too: the first is written
        // part by part, the others are copies of it with other bytes.
        let isUniform = !(set.isInterval && set.key.count == 1) && expirations.isEmpty
        var written = [(offset: Int, length: Int)?](repeating: nil, count: max(1, verdicts.count))
        while index < elementCount {
            batch.begin(type: type.type, flags: flags.union(.request))
            batch.appendNetfilterHeader(family: table.family.rawValue)
            batch.attribute(1, string: table.name)
            batch.attribute(2, string: set.name)
            let list = batch.beginNested(3)
            let start = batch.count
            while index < elementCount, batch.count - start < NFElements.chunkBytes {
                let form = verdictIndexes.isEmpty ? 0 : Int(verdictIndexes[index])
                if isUniform, let (offset, length) = written[form] {
                    copy(element: index, from: offset, length, withValue: type == .newElements, into: &batch)
                } else {
                    let offset = batch.count
                    encode(element: index, withValue: type == .newElements, set, into: &batch)
                    written[form] = (offset, batch.count - offset)
                }
                index += 1
            }
            batch.endNested(list, 3)
            batch.end()
            if batch.failure != nil { return }
        }
    }

    /// As `encode(element:)` writes it: NFTA_LIST_ELEM, then NFTA_SET_ELEM_KEY or _KEY_END or _DATA with NFTA_DATA_VALUE, each
    /// behind a header of 4 bytes and filled up to 4.
    private func copy(
        element index: Int, from offset: Int, _ length: Int, withValue: Bool, into batch: inout MessageBuffer
    ) {
        let start = batch.count
        batch.appendCopy(of: offset, length)
        var position = start + 12
        batch.overwrite(keys, index * keyLength, keyLength, at: position)
        position += (keyLength + 3) & ~3
        if !ends.isEmpty {
            batch.overwrite(ends, index * keyLength, keyLength, at: position + 8)
            position += 8 + (keyLength + 3) & ~3
        }
        if withValue, dataLength > 0 { batch.overwrite(data, index * dataLength, dataLength, at: position + 8) }
    }

    private func encode(element index: Int, withValue: Bool, _ set: NFSet, into batch: inout MessageBuffer) {
        let simpleRange = set.isInterval && set.key.count == 1
        let element = batch.beginNested(1)
        batch.value(1, keys, index, keyLength)
        if !ends.isEmpty, !simpleRange { batch.value(10, ends, index, keyLength) }
        if withValue {
            if !verdictIndexes.isEmpty {
                let data = batch.beginNested(2)
                batch.verdict(verdicts[Int(verdictIndexes[index])])
                batch.endNested(data, 2)
            } else if dataLength > 0 {
                batch.value(2, data, index, dataLength)
            }
            if index < expirations.count { batch.attribute(4, big: expirations[index]) }
        }
        batch.endNested(element, 1)
        // A range of a one-field set is two elements: its start, and the first key after it, marked as an end. A range up to
        // the highest key has no end.
        if simpleRange, let after = NFElements.successor(of: end(index) ?? key(index)) {
            let element = batch.beginNested(1)
            batch.attribute(3, big: UInt32(1))
            batch.value(1, after, 0, keyLength)
            batch.endNested(element, 1)
        }
    }

    static func successor(of key: ArraySlice<UInt8>) -> [UInt8]? {
        var next = Array(key)
        for index in next.indices.reversed() {
            next[index] &+= 1
            if next[index] != 0 { return next }
        }
        return nil
    }
}

extension NFElements {
    static func predecessor(of key: [UInt8]) -> [UInt8] {
        var before = key
        for index in before.indices.reversed() {
            before[index] &-= 1
            if before[index] != 0xff { break }
        }
        return before
    }
}

extension MessageBuffer {
    /// struct nfgenmsg.
    package mutating func appendNetfilterHeader(family: UInt8, resource: UInt16 = 0) {
        append(family)
        append(UInt8(0))
        append(resource.bigEndian)
    }

    /// NFTA_DATA_VALUE inside `type`, record `index` of `records`.
    fileprivate mutating func value(_ type: UInt16, _ records: [UInt8], _ index: Int, _ length: Int) {
        let start = beginNested(type)
        records.withUnsafeBytes {
            attribute(1, bytes: UnsafeRawBufferPointer(rebasing: $0[index * length..<(index + 1) * length]))
        }
        endNested(start, type)
    }
}
