import Linux

/// Requests of SIOCETHTOOL (linux/ethtool.h): flat structures of 32-bit words, read and written in place.
struct EthtoolRequest {
    enum Command: UInt32 {
        case driver = 0x03, link = 0x0a, strings = 0x1b, statistics = 0x1d, setInfo = 0x37
        case features = 0x3a, setFeatures = 0x3b, linkSettings = 0x4c
    }

    /// ETH_SS_STATS and ETH_SS_FEATURES.
    enum StringSet: UInt32 { case statistics = 1, features = 4 }

    let interface: String

    /// Sends `words`, which begin with the command's own fields; what the kernel made of them. Room for `size` bytes.
    func send(_ command: Command, _ fields: [UInt32] = [], size: Int) throws(SysError) -> [UInt8] {
        var words = [UInt32](repeating: 0, count: max((size + 3) / 4, fields.count + 1))
        words[0] = command.rawValue
        for (index, field) in fields.enumerated() { words[index + 1] = field }
        let code = words.withUnsafeMutableBytes { k3s_tool_ethtool(interface, $0.baseAddress) }
        if code < 0 { throw SysError(code, "ioctl", path: interface) }
        return words.withUnsafeBytes { Array($0) }
    }

    static func word(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
        guard offset >= 0, offset + 4 <= bytes.count else { return 0 }
        return bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: UInt32.self) }
    }

    static func long(_ bytes: [UInt8], _ offset: Int) -> UInt64 {
        guard offset >= 0, offset + 8 <= bytes.count else { return 0 }
        return bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: UInt64.self) }
    }

    /// A text of at most `size` bytes, ended by a zero.
    static func text(_ bytes: [UInt8], _ offset: Int, _ size: Int) -> String {
        guard offset >= 0, offset < bytes.count else { return "" }
        return String(decoding: bytes[offset..<min(offset + size, bytes.count)].prefix { $0 != 0 }, as: UTF8.self)
    }

    /// The kernel's names of statistics or features, in the order of their numbers.
    func names(_ set: StringSet) throws(SysError) -> [String] {
        // struct ethtool_sset_info: cmd, reserved, sset_mask (64 bits), data[]
        let mask = UInt64(1) << UInt64(set.rawValue)
        let info = try send(.setInfo, [0, UInt32(truncatingIfNeeded: mask), UInt32(mask >> 32), 0], size: 20)
        guard EthtoolRequest.long(info, 8) == mask else { return [] }
        let count = Int(min(EthtoolRequest.word(info, 16), 4096))
        if count == 0 { return [] }
        // struct ethtool_gstrings: cmd, string_set, len, data of 32 bytes each
        let answer = try send(.strings, [set.rawValue, UInt32(count)], size: 12 + count * 32)
        return (0..<count).map { EthtoolRequest.text(answer, 12 + $0 * 32, 32) }
    }
}
