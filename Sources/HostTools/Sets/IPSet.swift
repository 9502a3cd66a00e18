import Linux
import Netlink

/// A set's header as a list tells it.
struct SetHeader {
    var name: String
    var type: String
    var revision: UInt8
    var family: UInt8
    /// The options of `create`, in the order of printing.
    var options: String
    var memory: UInt32
    var references: UInt32
    var count: UInt32

    init?(_ attributes: ByteView) {
        guard let name = attributes.attribute(2)?.string, let type = attributes.attribute(3)?.string,
            let data = attributes.attribute(7)
        else { return nil }
        (self.name, self.type) = (name, type)
        revision = attributes.attribute(4)?.load(0) ?? 0
        family = attributes.attribute(5)?.load(0) ?? 0
        memory = data.attribute(SetAttribute.memory)?.big() ?? 0
        references = data.attribute(SetAttribute.references)?.big() ?? 0
        count = data.attribute(SetAttribute.elements)?.big() ?? 0
        func number(_ attribute: UInt16) -> UInt32? { data.attribute(attribute)?.big() }
        var words: [String] = []
        if type.hasPrefix("hash:") {
            words.append("family " + (family == 10 ? "inet6" : "inet"))
            words.append("hashsize \(number(SetAttribute.hashSize) ?? 0)")
            words.append("maxelem \(number(SetAttribute.maximum) ?? 0)")
            if let netmask: UInt8 = data.attribute(SetAttribute.netmask)?.load(0) { words.append("netmask \(netmask)") }
        } else if type == "bitmap:port" {
            let first: UInt16 = data.attribute(SetAttribute.port)?.big() ?? 0
            let last: UInt16 = data.attribute(SetAttribute.portTo)?.big() ?? 0
            words.append("range \(first)-\(last)")
        } else if let size = number(SetAttribute.size) {
            words.append("size \(size)")
        }
        if let timeout = number(SetAttribute.timeout) { words.append("timeout \(timeout)") }
        let flags = number(SetAttribute.flags) ?? 0
        for (bit, word) in [(UInt32(8), "counters"), (16, "comment"), (64, "skbinfo"), (32, "forceadd")]
        where flags & bit != 0 {
            words.append(word)
        }
        if type.hasPrefix("hash:") {
            if let bucket: UInt8 = data.attribute(SetAttribute.bucketSize)?.load(0) {
                words.append("bucketsize \(bucket)")
            }
            if let initial = number(SetAttribute.initial) {
                words.append("initval 0x" + Number.hex(initial, digits: 8))
            }
        }
        options = words.joined(separator: " ")
    }
}

/// Sets of the kernel (NFNL_SUBSYS_IPSET, protocol 7).
struct IPSetKernel {
    enum Command: UInt16 {
        case create = 2, destroy, flush, rename, swap, list, save, add, delete, test, header, type
    }

    private let socket: NetlinkSocket

    init() throws(ToolError) {
        do throws(NetlinkError) { socket = try NetlinkSocket(.netfilter) } catch {
            throw ToolError(1, "Cannot open session to kernel.")
        }
    }

    private static func message(
        _ command: Command, _ flags: MessageFlags, _ buffer: inout MessageBuffer, _ body: (inout MessageBuffer) -> Void
    ) {
        buffer.message(type: 6 << 8 | command.rawValue, flags: flags.union(.request)) {
            $0.appendNetfilterHeader(family: 2)
            $0.attribute(1, UInt8(7))
            body(&$0)
        }
    }

    func run(
        _ command: Command, _ flags: MessageFlags = [], _ body: (inout MessageBuffer) -> Void
    ) throws(NetlinkError) {
        var buffer = MessageBuffer(capacity: 256)
        IPSetKernel.message(command, flags.union(.ack), &buffer, body)
        try socket.request(&buffer, "set")
    }

    func query<T>(
        _ command: Command, _ body: (inout MessageBuffer) -> Void, _ parse: (ByteView) -> T?
    ) throws(NetlinkError) -> T? {
        var buffer = MessageBuffer(capacity: 256)
        IPSetKernel.message(command, .ack, &buffer, body)
        return try socket.query(&buffer, "set") { parse($0.payload.dropFirst(4)) }
    }

    /// All sets or one, with their members.
    func list(_ name: String?) throws(NetlinkError) -> [(header: SetHeader, members: [SetMember])] {
        var buffer = MessageBuffer(capacity: 256)
        IPSetKernel.message(.list, [.dump, .ack], &buffer) { if let name { $0.attribute(2, string: name) } }
        let parts = try socket.dump(&buffer, "list sets") { message -> (String, SetHeader?, [SetMember])? in
            let attributes = message.payload.dropFirst(4)
            guard let name = attributes.attribute(2)?.string else { return nil }
            let members = attributes.attribute(8)?.attributes.map { SetMember($0.value) } ?? []
            return (name, SetHeader(attributes), members)
        }
        var sets: [(header: SetHeader, members: [SetMember])] = []
        for (name, header, members) in parts {
            if let last = sets.last, last.header.name == name {
                sets[sets.count - 1].members += members
            } else if let header {
                sets.append((header, members))
            }
        }
        return sets
    }

    /// The original's words for a refusal.
    static func text(_ error: NetlinkError, _ command: Command, type: String = "") -> String {
        let isHash = type.hasPrefix("hash"), isBitmap = type.hasPrefix("bitmap")
        switch (error.code, command) {
        case (ENOENT, _): return "The set with the given name does not exist"
        case (EEXIST, .create): return "Set cannot be created: set with the same name already exists"
        case (4098, _): return "Kernel error received: set type not supported"
        case (4099, _): return "Kernel error received: maximal number of sets reached, cannot create more."
        case (4100, .destroy): return "Set cannot be destroyed: it is in use by a kernel component"
        case (4108, .rename): return "Set cannot be renamed: it is in use by another system"
        case (4101, .rename): return "Set cannot be renamed: a set with the new name already exists"
        case (4101, _): return "Sets cannot be swapped: the second set does not exist"
        case (4102, _): return "The sets cannot be swapped: their type does not match"
        case (4103, .add): return "Element cannot be added to the set: it's already added"
        case (4103, .delete): return "Element cannot be deleted from the set: it's not added"
        case (4104, _): return "The value of the CIDR parameter of the IP address is invalid"
        case (4105, _): return "The value of the netmask parameter is invalid"
        case (4106, _): return "Protocol family not supported by the set type"
        case (4107, _): return "Timeout cannot be used: set was created without timeout support"
        case (4109, _): return "An IPv4 address is expected, but not received"
        case (4110, _): return "An IPv6 address is expected, but not received"
        case (4111, _): return "Packet/byte counters cannot be used: set was created without counter support"
        case (4112, _): return "Comment string is too long!"
        case (4352, _):
            return isHash
                ? "Hash is full, cannot add more elements"
                : isBitmap
                    ? "Element is out of the range of the set"
                    : "Set to be added/deleted/tested as element does not exist."
        case (4353, _):
            return isHash
                ? "Null-valued element, cannot be stored in a hash type of set"
                : isBitmap
                    ? "The range you specified exceeds the size limit of the set type"
                    : "Sets with list:set type cannot be added to the set."
        case (4354, _): return isHash ? "Invalid protocol specified" : "No reference set specified."
        case (4355, _):
            return isHash
                ? "Protocol missing, but must be specified"
                : "The set to which you referred with 'before' or 'after' does not exist."
        case (4356, _):
            return isHash
                ? "Range is not supported in the \"net\" component of the element"
                : "The set is full, more elements cannot be added."
        case (EPERM, _): return "Kernel error received: Operation not permitted"
        default:
            return "Kernel error received: " + (strerror(error.code).map { String(cString: $0) } ?? "\(error.code)")
        }
    }
}
