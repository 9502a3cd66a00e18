import Netlink

/// The bytes of a kernel structure. Reads past the end are 0 and writes there are dropped: what the kernel sends may be shorter than
/// expected.
struct Blob: Equatable, Sendable {
    var bytes: [UInt8]

    /// Host order (all our architectures are little-endian).
    func number(_ offset: Int, _ width: Int) -> UInt64 {
        guard offset >= 0, offset + width <= bytes.count else { return 0 }
        return (0..<width).reduce(0) { $0 | UInt64(bytes[offset + $1]) << UInt64(8 * $1) }
    }
    func u8(_ offset: Int) -> UInt8 { UInt8(truncatingIfNeeded: number(offset, 1)) }
    func u16(_ offset: Int) -> UInt16 { UInt16(truncatingIfNeeded: number(offset, 2)) }
    func u32(_ offset: Int) -> UInt32 { UInt32(truncatingIfNeeded: number(offset, 4)) }
    func big16(_ offset: Int) -> UInt16 { u16(offset).byteSwapped }

    mutating func set(_ offset: Int, _ width: Int, _ value: UInt64) {
        guard offset >= 0, offset + width <= bytes.count else { return }
        for index in 0..<width { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index)) }
    }
    mutating func set16(_ offset: Int, _ value: UInt16) { set(offset, 2, UInt64(value)) }
    mutating func set32(_ offset: Int, _ value: UInt32) { set(offset, 4, UInt64(value)) }
    mutating func setBig16(_ offset: Int, _ value: UInt16) { set(offset, 2, UInt64(value.byteSwapped)) }

    func slice(_ offset: Int, _ count: Int) -> [UInt8] {
        guard offset >= 0, offset < bytes.count else { return [] }
        return Array(bytes[offset..<min(bytes.count, offset + count)])
    }
    mutating func put(_ offset: Int, _ value: [UInt8]) {
        for (index, byte) in value.enumerated() where offset + index < bytes.count { bytes[offset + index] = byte }
    }

    /// Up to the first NUL.
    func string(_ offset: Int, _ limit: Int) -> String {
        String(decoding: slice(offset, limit).prefix { $0 != 0 }, as: UTF8.self)
    }

    func address(_ offset: Int, _ family: AddressFamily) -> IPAddress {
        IPAddress(bytes: slice(offset, family.byteCount)) ?? (family == .ipv4 ? .v4(0) : .v6(0, 0))
    }
}
