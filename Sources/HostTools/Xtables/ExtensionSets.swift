import Linux

/// The set that a rule names: the kernel's rules have its number (linux/netfilter/ipset/ip_set.h, SO_IP_SET).
extension Extension {
    private static let protocolVersion: UInt32 = 7

    /// struct ip_set_req_get_set: operation, version, and a name or a number, whichever is asked for.
    private static func ask(operation: UInt32, _ fill: (inout Blob) -> Void) -> Blob? {
        let descriptor = socket(AF_INET, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 255)
        guard descriptor >= 0 else { return nil }
        let handle = FileDescriptor(owning: descriptor)
        var request = Blob(bytes: [UInt8](repeating: 0, count: 40))
        request.set32(0, operation)
        request.set32(4, protocolVersion)
        fill(&request)
        var size = socklen_t(40)
        let number = handle.raw
        let code = request.bytes.withUnsafeMutableBytes { getsockopt(number, 0, 83, $0.baseAddress, &size) }
        return code == 0 ? request : nil
    }

    func parseSet(_ option: Option, _ value: String, _ blob: inout Blob) throws(ToolError) {
        let words = value.split(separator: " ")
        guard words.count == 2 else {
            throw ToolError(2, "\(name): Bad value for \"--\(option.names[0])\" option: \"\(value)\"")
        }
        guard words[0].utf8.count < 32 else { throw ToolError(2, "setname `\(words[0])' too long, max 31 characters.") }
        let found = Extension.ask(operation: 6) { $0.put(8, Array(words[0].utf8)) }
        guard let found else {
            throw ToolError(2, "Can't open socket to ipset.\n")
        }
        guard found.u16(8) != 0xffff else { throw ToolError(2, "Set \(words[0]) doesn't exist.\n") }
        let directions = words[1].split(separator: ",", omittingEmptySubsequences: false)
        guard directions.count <= 3 else { throw ToolError(2, "Can't be more src/dst options than 3.") }
        var flags = blob.u8(option.offset + 3)
        for (index, direction) in directions.enumerated() {
            switch direction {
            case "src": flags |= 2 << UInt8(index)
            case "dst": break
            default: throw ToolError(2, "You must specify (the comma separated list of) 'src' or 'dst'.")
            }
        }
        blob.set16(option.offset, found.u16(8))
        blob.set(option.offset + 2, 1, UInt64(directions.count))
        blob.set(option.offset + 3, 1, UInt64(flags))
    }

    func setText(_ option: Option, _ blob: Blob) -> String {
        let index = blob.u16(option.offset)
        let name = Extension.ask(operation: 7) { $0.set16(8, index) }?.string(8, 32) ?? "\(index)"
        let flags = blob.u8(option.offset + 3)
        let directions = (0..<min(3, Int(blob.u8(option.offset + 2)))).map {
            flags & 2 << UInt8($0) != 0 ? "src" : "dst"
        }
        return name + " " + directions.joined(separator: ",")
    }
}
