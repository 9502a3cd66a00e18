import Linux

/// Keys compare by their UTF-8 bytes. `String`'s own order and equality follow Unicode canonical equivalence, by which
/// two keys that differ in bytes can be the same.
enum KeyOrder {
    /// Negative, zero or positive as `memcmp` answers.
    static func compare(_ left: String, _ right: String) -> Int {
        let fast = left.utf8.withContiguousStorageIfAvailable { leftBytes in
            right.utf8.withContiguousStorageIfAvailable { rightBytes in compare(leftBytes, rightBytes) }
        }
        if let result = fast.flatMap({ $0 }) { return result }
        return Array(left.utf8).withUnsafeBufferPointer { leftBytes in
            Array(right.utf8).withUnsafeBufferPointer { rightBytes in compare(leftBytes, rightBytes) }
        }
    }

    /// The same with the bytes of the right key, for who compares many with one.
    static func compare(_ left: String, _ right: UnsafeBufferPointer<UInt8>) -> Int {
        left.utf8.withContiguousStorageIfAvailable { compare($0, right) }
            ?? Array(left.utf8).withUnsafeBufferPointer { compare($0, right) }
    }

    static func hasPrefix(_ key: String, _ prefix: String) -> Bool {
        let fast = key.utf8.withContiguousStorageIfAvailable { keyBytes in
            prefix.utf8.withContiguousStorageIfAvailable { prefixBytes in
                keyBytes.count >= prefixBytes.count && equal(keyBytes, prefixBytes, count: prefixBytes.count)
            }
        }
        return fast.flatMap { $0 } ?? key.utf8.starts(with: prefix.utf8)
    }

    private static func compare(_ left: UnsafeBufferPointer<UInt8>, _ right: UnsafeBufferPointer<UInt8>) -> Int {
        let shared = min(left.count, right.count)
        if shared > 0, let leftBase = left.baseAddress, let rightBase = right.baseAddress {
            let order = memcmp(leftBase, rightBase, shared)
            if order != 0 { return Int(order) }
        }
        return left.count - right.count
    }

    private static func equal(
        _ left: UnsafeBufferPointer<UInt8>, _ right: UnsafeBufferPointer<UInt8>, count: Int
    ) -> Bool {
        guard count > 0, let leftBase = left.baseAddress, let rightBase = right.baseAddress else { return count == 0 }
        return memcmp(leftBase, rightBase, count) == 0
    }
}

/// A key in a dictionary or set, equal by bytes.
struct ByteKey: Hashable {
    let string: String

    init(_ string: String) { self.string = string }

    static func == (left: ByteKey, right: ByteKey) -> Bool { KeyOrder.compare(left.string, right.string) == 0 }

    func hash(into hasher: inout Hasher) {
        var string = string
        string.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}
