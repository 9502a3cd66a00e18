/// One step of a rule, on the sixteen 32-bit registers of the nf_tables machine (linux/netfilter/nf_tables.h). Keys and
/// data longer than a register use the following ones.
package enum NFExpression: Hashable, Sendable {
    case meta(MetaKey, into: NFRegister)
    case setMark(from: NFRegister)
    case payload(Base, offset: UInt32, length: UInt32, into: NFRegister)
    case compare(NFRegister, CompareOperator, [UInt8])
    case range(NFRegister, inverted: Bool, first: [UInt8], last: [UInt8])
    /// Ends the rule if the key is not in the set (or is, when inverted).
    case lookup(String, key: NFRegister, inverted: Bool = false)
    /// Loads the map's data; ends the rule if the key is not in it.
    case map(String, key: NFRegister, into: NFRegister)
    case verdictMap(String, key: NFRegister)
    case immediate([UInt8], into: NFRegister)
    case verdict(NFVerdict)
    /// `(register & mask) ^ xor`
    case bitwise(NFRegister, into: NFRegister, mask: [UInt8], xor: [UInt8])
    case conntrack(ConntrackKey, into: NFRegister)
    /// Of the connection's first packet as it was sent, before translation.
    case conntrackOriginal(OriginalKey, into: NFRegister)
    /// A number from `offset` to `offset + modulus - 1`.
    case numberGenerator(random: Bool, modulus: UInt32, offset: UInt32 = 0, into: NFRegister)
    case destinationNAT(AddressFamily, address: NFRegister, port: NFRegister)
    case sourceNAT(AddressFamily, address: NFRegister)
    /// `fullyRandom` picks source ports at random, which avoids clashes between CPUs.
    case masquerade(fullyRandom: Bool)
    case counter
    case reject(RejectKind)
    /// Type (RTN_*) of the packet's source or destination address.
    case addressType(ofSource: Bool, into: NFRegister)
    /// Adds the key (and data) or renews its timeout.
    case updateSet(String, key: NFRegister, data: NFRegister? = nil, timeoutMilliseconds: UInt64?)

    package enum Base: UInt32, Sendable { case link = 0, network, transport }
    package enum CompareOperator: UInt32, Sendable {
        case equal = 0, notEqual, less, lessOrEqual, greater, greaterOrEqual
    }
    package enum MetaKey: UInt32, Sendable {
        case mark = 3, inputInterface = 4, outputInterface = 5, inputName = 6, outputName = 7
        case family = 15, transportProtocol = 16
    }
    package enum ConntrackKey: UInt32, Sendable { case state = 0, direction = 1, status = 2, mark = 3 }
    package enum OriginalKey: UInt32, Sendable { case destinationPort = 12, destinationIPv4 = 20, destinationIPv6 = 22 }
    package enum RejectKind: Hashable, Sendable {
        case tcpReset
        /// ICMP or ICMPv6 by family of the table: the numbers differ.
        case portUnreachable(AddressFamily)
    }
}

/// A 32-bit register, numbered from 0 to 15.
package struct NFRegister: Hashable, Sendable {
    package var word: UInt32
    package init(_ word: Int) { self.word = UInt32(clamping: word) }

    /// NFT_REG_1...4 name 16 bytes each, NFT_REG32_00... (8 and up) 4 bytes; whichever starts at the word, the wide name first.
    var number: UInt32 { word % 4 == 0 ? 1 + word / 4 : 8 + word }
}

package struct NFRule: Hashable, Sendable {
    package var expressions: [NFExpression]
    /// Printed by nft; at most 127 bytes.
    package var comment: String?
    package init(_ expressions: [NFExpression], comment: String? = nil) {
        (self.expressions, self.comment) = (expressions, comment)
    }
}

extension NFExpression {
    /// The kernel's name of the expression type.
    package var name: String {
        switch self {
        case .meta, .setMark: "meta"
        case .payload: "payload"
        case .compare: "cmp"
        case .range: "range"
        case .lookup, .map, .verdictMap: "lookup"
        case .immediate, .verdict: "immediate"
        case .bitwise: "bitwise"
        case .conntrack, .conntrackOriginal: "ct"
        case .numberGenerator: "numgen"
        case .destinationNAT, .sourceNAT: "nat"
        case .masquerade: "masq"
        case .counter: "counter"
        case .reject: "reject"
        case .addressType: "fib"
        case .updateSet: "dynset"
        }
    }

    func encode(into list: inout MessageBuffer) {
        switch self {
        case .meta(let key, let register):
            list.expression("meta") {
                $0.attribute(1, big: register.number); $0.attribute(2, big: key.rawValue)
            }
        case .setMark(let register):
            list.expression("meta") {
                $0.attribute(2, big: MetaKey.mark.rawValue); $0.attribute(3, big: register.number)
            }
        case .payload(let base, let offset, let length, let register):
            list.expression("payload") {
                $0.attribute(1, big: register.number)
                $0.attribute(2, big: base.rawValue)
                $0.attribute(3, big: offset)
                $0.attribute(4, big: length)
            }
        case .compare(let register, let op, let value):
            list.expression("cmp") {
                $0.attribute(1, big: register.number)
                $0.attribute(2, big: op.rawValue)
                $0.data(3, value)
            }
        case .range(let register, let inverted, let first, let last):
            list.expression("range") {
                $0.attribute(1, big: register.number)
                $0.attribute(2, big: UInt32(inverted ? 1 : 0))
                $0.data(3, first)
                $0.data(4, last)
            }
        case .lookup(let set, let key, let inverted):
            list.expression("lookup") {
                $0.attribute(1, string: set)
                $0.attribute(2, big: key.number)
                if inverted { $0.attribute(5, big: UInt32(1)) }
            }
        case .map(let set, let key, let register): list.lookup(set, key, into: register.number)
        case .verdictMap(let set, let key): list.lookup(set, key, into: 0)
        case .immediate(let value, let register):
            list.expression("immediate") {
                $0.attribute(1, big: register.number); $0.data(2, value)
            }
        case .verdict(let verdict):
            list.expression("immediate") { expression in
                expression.attribute(1, big: UInt32(0))
                expression.nested(2) { $0.verdict(verdict) }
            }
        case .bitwise(let source, let register, let mask, let xor):
            list.expression("bitwise") {
                $0.attribute(1, big: source.number)
                $0.attribute(2, big: register.number)
                $0.attribute(3, big: UInt32(mask.count))
                $0.data(4, mask)
                $0.data(5, xor)
            }
        case .conntrack(let key, let register):
            list.expression("ct") {
                $0.attribute(1, big: register.number); $0.attribute(2, big: key.rawValue)
            }
        case .conntrackOriginal(let key, let register):
            list.expression("ct") {
                $0.attribute(1, big: register.number)
                $0.attribute(2, big: key.rawValue)
                $0.attribute(3, UInt8(0))
            }
        case .numberGenerator(let random, let modulus, let offset, let register):
            list.expression("numgen") {
                $0.attribute(1, big: register.number)
                $0.attribute(2, big: modulus)
                $0.attribute(3, big: UInt32(random ? 1 : 0))
                $0.attribute(4, big: offset)
            }
        case .destinationNAT(let family, let address, let port):
            list.expression("nat") {
                $0.attribute(1, big: UInt32(1))
                $0.attribute(2, big: UInt32(NFFamily(family).rawValue))
                $0.attribute(3, big: address.number)
                $0.attribute(5, big: port.number)
            }
        case .sourceNAT(let family, let address):
            list.expression("nat") {
                $0.attribute(1, big: UInt32(0))
                $0.attribute(2, big: UInt32(NFFamily(family).rawValue))
                $0.attribute(3, big: address.number)
            }
        case .masquerade(let fullyRandom):
            // NF_NAT_RANGE_PROTO_RANDOM_FULLY
            list.expression("masq") { if fullyRandom { $0.attribute(1, big: UInt32(0x10)) } }
        case .counter:
            list.expression("counter") {
                $0.attribute(1, big: UInt64(0)); $0.attribute(2, big: UInt64(0))
            }
        case .reject(let kind):
            list.expression("reject") { expression in
                switch kind {
                case .tcpReset:
                    expression.attribute(1, big: UInt32(1))
                    expression.attribute(2, UInt8(0))
                case .portUnreachable(let family):
                    expression.attribute(1, big: UInt32(0))
                    expression.attribute(2, UInt8(family == .ipv4 ? 3 : 4))
                }
            }
        case .addressType(let ofSource, let register):
            list.expression("fib") {
                $0.attribute(1, big: register.number)
                $0.attribute(2, big: UInt32(3))
                $0.attribute(3, big: UInt32(ofSource ? 1 : 2))
            }
        case .updateSet(let set, let key, let data, let timeout):
            list.expression("dynset") {
                $0.attribute(1, string: set)
                $0.attribute(3, big: UInt32(1))
                $0.attribute(4, big: key.number)
                if let data { $0.attribute(5, big: data.number) }
                if let timeout { $0.attribute(6, big: timeout) }
            }
        }
    }
}

extension MessageBuffer {
    /// NFTA_LIST_ELEM: an expression's name and data.
    package mutating func expression(_ name: String, _ body: (inout MessageBuffer) -> Void) {
        nested(1) { element in
            element.attribute(1, string: name)
            element.nested(2, body)
        }
    }

    fileprivate mutating func lookup(_ set: String, _ key: NFRegister, into register: UInt32) {
        expression("lookup") {
            $0.attribute(1, string: set)
            $0.attribute(2, big: key.number)
            $0.attribute(3, big: register)
        }
    }

    fileprivate mutating func data(_ type: UInt16, _ value: [UInt8]) { nested(type) { $0.attribute(1, bytes: value) } }

    /// NFTA_DATA_VERDICT.
    package mutating func verdict(_ verdict: NFVerdict) {
        nested(2) { inner in
            inner.attribute(1, big: verdict.code)
            if let chain = verdict.chain { inner.attribute(2, string: chain) }
        }
    }
}
