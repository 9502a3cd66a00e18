import Linux

/// nf_tables of one network namespace: transactions and dumps. A transaction is one datagram and takes effect as a
/// whole or not at all; packets see the old rules or the new ones.
package final class NFTablesSocket: Sendable {
    private let socket: NetlinkSocket

    package init(in namespace: NetworkNamespace? = nil) throws(NetlinkError) {
        socket = try NetlinkSocket(.netfilter, in: namespace)
    }

    /// Encodes the commands as one batch (NFNL_MSG_BATCH_BEGIN ... END).
    ///
    /// The last command's last message asks for an ack: after it all answers are in, on every kernel since 4.x (asking on
    /// the END message works only on recent ones).
    package static func encode(_ commands: [NFCommand], into batch: inout MessageBuffer) {
        batch.message(type: 16, flags: .request) { $0.appendNetfilterHeader(family: 0, resource: 10) }
        for (index, command) in commands.enumerated() { command.encode(into: &batch, setIdentifier: UInt32(index + 1)) }
        batch.message(type: 17, flags: .request) { $0.appendNetfilterHeader(family: 0, resource: 10) }
    }

    /// - Returns: bytes sent.
    @discardableResult
    package func commit(_ commands: [NFCommand], _ operation: @autoclosure () -> String) throws(NetlinkError) -> Int {
        guard !commands.isEmpty else { return 0 }
        // Elements make large batches: memory for them is taken once.
        let elements = commands.reduce(0) { $0 + $1.elementBytes }
        var batch = MessageBuffer(capacity: min(4096 + elements, 16 << 20))
        NFTablesSocket.encode(commands, into: &batch)
        batch.askForLastAnswer(before: 1)
        do { try socket.request(&batch, operation(), isBatch: true) } catch {
            throw NFTablesSocket.explain(error, commands)
        }
        return batch.count
    }

    /// Names the command that failed, and what the user can do.
    private static func explain(_ error: NetlinkError, _ commands: [NFCommand]) -> NetlinkError {
        var error = error
        var failed: NFCommand?
        // Message 0 is the batch's begin: the commit itself failed.
        if let index = error.messageIndex, index > 0 {
            var message = 1
            for command in commands {
                message += command.messageCount
                guard index < message else { continue }
                failed = command
                error.operation += ": \(command.summary)"
                break
            }
        }
        switch (error.code, failed) {
        case (EPERM, _): error.hint = "CAP_NET_ADMIN is needed"
        case (EOPNOTSUPP, _), (EPROTONOSUPPORT, _), (EINVAL, nil):
            error.hint = "the kernel lacks CONFIG_NF_TABLES (modprobe nf_tables)"
        case (ENOENT, .addRule(_, _, let rule)?):
            let names = Set(rule.expressions.map(\.name)).sorted().map { "nft_\($0)" }.joined(separator: " ")
            error.hint = "a set or chain is missing, or the kernel lacks one of: \(names)"
        case (ENOENT, .addChain(_, let chain)?):
            if chain.hook?.kind == .nat { error.hint = "the kernel lacks CONFIG_NF_NAT (modprobe nft_chain_nat)" }
        default: break
        }
        return error
    }

    // MARK: dumps

    package struct Generation: Sendable, Equatable {
        /// Counts transactions of the namespace, anybody's.
        package var number: UInt32
    }

    package func generation() throws(NetlinkError) -> Generation {
        var buffer = MessageBuffer(capacity: 64)
        buffer.message(type: NFMessage.getGeneration.type, flags: [.request, .ack]) {
            $0.appendNetfilterHeader(family: 0)
        }
        let number = try socket.query(&buffer, "read the nf_tables generation") { message -> UInt32? in
            message.payload.dropFirst(4).attribute(1)?.big()
        }
        guard let number else { throw NetlinkError(EBADMSG, "read the nf_tables generation") }
        return Generation(number: number)
    }

    package func tables() throws(NetlinkError) -> [NFTable] {
        try dump(.getTable, nil, "list tables") { message in
            guard let family = message.payload.load(0, as: UInt8.self).flatMap(NFFamily.init(rawValue:)),
                let name = message.payload.dropFirst(4).attribute(1)?.string
            else { return nil }
            return NFTable(family, name)
        }
    }

    package func chains(_ table: NFTable) throws(NetlinkError) -> [NFChain] {
        try dump(.getChain, table, "list chains of \(table)") { message in
            let attributes = message.payload.dropFirst(4)
            guard attributes.attribute(1)?.string == table.name, let name = attributes.attribute(3)?.string else {
                return nil
            }
            guard let hook = attributes.attribute(4), let point = hook.attribute(1)?.big(as: UInt32.self),
                let priority = hook.attribute(2)?.big(as: Int32.self),
                let kind = attributes.attribute(7).flatMap({ NFHook.Kind(rawValue: $0.string) }),
                let place = NFHook.Point(rawValue: point)
            else { return NFChain(name) }
            let policy = attributes.attribute(5)?.big(as: UInt32.self) ?? 1
            return NFChain(name, hook: NFHook(kind, place, priority: priority, dropsByDefault: policy == 0))
        }
    }

    package struct DumpedRule: Sendable, Equatable {
        package var chain: String
        package var handle: UInt64
        /// NFTA_RULE_EXPRESSIONS as the kernel wrote it.
        package var expressions: [UInt8]
    }

    package func rules(_ table: NFTable) throws(NetlinkError) -> [DumpedRule] {
        try dump(.getRule, table, "list rules of \(table)") { message in
            let attributes = message.payload.dropFirst(4)
            guard attributes.attribute(1)?.string == table.name, let chain = attributes.attribute(2)?.string else {
                return nil
            }
            return DumpedRule(
                chain: chain, handle: attributes.attribute(3)?.big() ?? 0,
                expressions: attributes.attribute(4)?.array ?? [])
        }
    }

    /// Names of sets and maps that have one (anonymous ones are left out).
    package func sets(_ table: NFTable) throws(NetlinkError) -> [String] {
        try dump(.getSet, table, "list sets of \(table)") { message in
            let attributes = message.payload.dropFirst(4)
            guard attributes.attribute(1)?.string == table.name,
                (attributes.attribute(3)?.big(as: UInt32.self) ?? 0) & 1 == 0
            else { return nil }
            return attributes.attribute(2)?.string
        }
    }

    /// The elements of a set, expired ones left out. While the kernel grows the set's hash table (in the background, after
    /// many elements were added) a dump can hold some elements twice and others not at all: compare again before acting.
    package func elements(_ table: NFTable, _ set: NFSet) throws(NetlinkError) -> NFElements {
        var buffer = MessageBuffer(capacity: 128)
        buffer.message(type: NFMessage.getElements.type, flags: [.request, .dump]) { message in
            message.appendNetfilterHeader(family: table.family.rawValue)
            message.attribute(1, string: table.name)
            message.attribute(2, string: set.name)
        }
        var all = NFElements(for: set)
        let chunks = try socket.dump(&buffer, "list elements of \(table) \(set.name)") { RawElements(message: $0, set) }
        if set.isInterval, set.key.count == 1 {
            // Starts and ends of ranges come as elements of their own, in any order.
            let bounds = chunks.flatMap(\.bounds).sorted { $0.key.lexicographicallyPrecedes($1.key) }
            for (index, bound) in bounds.enumerated() where !bound.isEnd {
                let next = index + 1 < bounds.count && bounds[index + 1].isEnd ? bounds[index + 1].key : nil
                let last = next.map(NFElements.predecessor(of:)) ?? [UInt8](repeating: 0xff, count: set.keyLength)
                all.append(range: bound.key, last)
            }
        } else {
            for chunk in chunks { all.append(contentsOf: chunk.elements) }
        }
        return all
    }

    private func dump<T>(
        _ type: NFMessage, _ table: NFTable?, _ operation: @autoclosure () -> String, _ parse: (MessageView) -> T?
    ) throws(NetlinkError) -> [T] {
        var buffer = MessageBuffer(capacity: 128)
        buffer.message(type: type.type, flags: [.request, .dump]) { message in
            message.appendNetfilterHeader(family: table?.family.rawValue ?? 0)
            if let table, type == .getRule { message.attribute(1, string: table.name) }
        }
        return try socket.dump(&buffer, operation(), parse)
    }
}

extension NFCommand {
    /// About what its elements take in a message.
    fileprivate var elementBytes: Int {
        switch self {
        case .addElements(_, _, let elements): elements.count * (elements.keyLength + elements.dataLength + 40)
        case .deleteElements(_, _, let elements): elements.count * (elements.keyLength + 16)
        default: 0
        }
    }

    /// How many messages `encode` makes; only used to find the command behind an error.
    fileprivate var messageCount: Int {
        switch self {
        case .addElements, .deleteElements:
            var buffer = MessageBuffer(capacity: 4096)
            encode(into: &buffer, setIdentifier: 0)
            return buffer.messageCount
        default: return 1
        }
    }
}

/// One message of a dump of elements.
private struct RawElements {
    var elements: NFElements
    /// Of one-field ranges.
    var bounds: [(key: [UInt8], isEnd: Bool)] = []

    init?(message: MessageView, _ set: NFSet) {
        elements = NFElements(for: set)
        let length = elements.keyLength
        let isSimpleRange = set.isInterval && set.key.count == 1
        guard let list = message.payload.dropFirst(4).attribute(3) else { return nil }
        for item in list.attributes where item.type == 1 {
            guard let key = item.value.attribute(1)?.attribute(1)?.bytes, key.count == length else { continue }
            let isEnd = (item.value.attribute(3)?.big(as: UInt32.self) ?? 0) & 1 != 0
            if isSimpleRange {
                bounds.append((Array(key), isEnd))
                continue
            }
            switch set.value {
            case .none:
                if let end = item.value.attribute(10)?.attribute(1)?.array, end.count == length {
                    elements.append(range: Array(key), end)
                } else if set.isInterval {
                    elements.append(range: Array(key), Array(key))
                } else {
                    elements.append(key: key)
                }
            case .verdict:
                guard let data = item.value.attribute(2)?.attribute(2),
                    let code = data.attribute(1)?.big(as: Int32.self),
                    let verdict = NFVerdict(code: code, chain: data.attribute(2)?.string)
                else { continue }
                elements.append(key: key, verdict: verdict)
            case .data:
                guard let value = item.value.attribute(2)?.attribute(1)?.bytes, value.count == elements.dataLength
                else { continue }
                elements.append(key: key, data: value)
            }
            if set.timeoutMilliseconds != nil {
                elements.append(expirationMilliseconds: item.value.attribute(5)?.big() ?? 0)
            }
        }
    }
}
