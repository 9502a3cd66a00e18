/// Elements of one set, packed: fixed-size records in byte arrays, so that 100,000 of them are three allocations and a
/// few megabytes. Keys and data are as the kernel has them: network order, each field of a concatenation padded to 4 bytes.
package struct NFElements: Sendable, Equatable {
    package let keyLength: Int
    package let dataLength: Int
    package private(set) var keys: [UInt8] = []
    /// Last keys of ranges (inclusive); as long as `keys` for interval sets, else empty.
    package private(set) var ends: [UInt8] = []
    package private(set) var data: [UInt8] = []
    /// Index into `verdicts`, one per element of a verdict map.
    package private(set) var verdictIndexes: [UInt16] = []
    package private(set) var verdicts: [NFVerdict] = []
    /// Remaining lifetime in milliseconds, where elements have one.
    package private(set) var expirations: [UInt64] = []
    private var verdictNumbers: [NFVerdict: UInt16] = [:]

    package init(for set: NFSet) { (keyLength, dataLength) = (set.keyLength, set.dataLength) }

    package var count: Int { keyLength == 0 ? 0 : keys.count / keyLength }
    package var isEmpty: Bool { keys.isEmpty }
    package var hasRanges: Bool { !ends.isEmpty }

    package mutating func append(key: some Sequence<UInt8>) { append(keyBytes: key) }

    package mutating func append(key: some Sequence<UInt8>, data value: some Sequence<UInt8>) {
        append(keyBytes: key)
        data.append(contentsOf: value)
        precondition(data.count == count * dataLength, "data length of an element does not fit its map")
    }

    package mutating func append(key: some Sequence<UInt8>, verdict: NFVerdict) {
        append(keyBytes: key)
        append(verdict)
    }

    /// Without an array in between: the closure appends the bytes of the key.
    package mutating func append(key writeKey: (inout [UInt8]) -> Void, verdict: NFVerdict) {
        append(key: writeKey)
        append(verdict)
    }

    package mutating func append(key writeKey: (inout [UInt8]) -> Void) {
        let before = keys.count
        writeKey(&keys)
        precondition(keys.count == before + keyLength, "key length of an element does not fit its set")
    }

    private mutating func append(_ verdict: NFVerdict) {
        // Many in a row have the same.
        if let last = verdictIndexes.last, verdicts[Int(last)] == verdict {
            verdictIndexes.append(last)
        } else if let number = verdictNumbers[verdict] {
            verdictIndexes.append(number)
        } else {
            let number = UInt16(clamping: verdicts.count)
            verdicts.append(verdict)
            verdictNumbers[verdict] = number
            verdictIndexes.append(number)
        }
    }

    /// Without arrays in between: the closures append the bytes of one key and of its data.
    package mutating func append(key writeKey: (inout [UInt8]) -> Void, data writeData: (inout [UInt8]) -> Void) {
        writeKey(&keys)
        writeData(&data)
        precondition(
            keys.count == count * keyLength && data.count == count * dataLength,
            "lengths of an element do not fit its map")
    }

    package mutating func append(range first: [UInt8], _ last: [UInt8]) {
        append(keyBytes: first)
        ends.append(contentsOf: last)
        precondition(ends.count == keys.count, "a range's ends must be as long as its set's key")
    }

    package mutating func append(expirationMilliseconds: UInt64) { expirations.append(expirationMilliseconds) }

    private mutating func append(keyBytes: some Sequence<UInt8>) {
        let before = keys.count
        keys.append(contentsOf: keyBytes)
        precondition(keys.count == before + keyLength, "key length of an element does not fit its set")
    }

    package func key(_ index: Int) -> ArraySlice<UInt8> { keys[index * keyLength..<(index + 1) * keyLength] }
    package func end(_ index: Int) -> ArraySlice<UInt8>? {
        ends.isEmpty ? nil : ends[index * keyLength..<(index + 1) * keyLength]
    }
    package func value(_ index: Int) -> ArraySlice<UInt8>? {
        data.isEmpty ? nil : data[index * dataLength..<(index + 1) * dataLength]
    }
    package func verdict(_ index: Int) -> NFVerdict? {
        verdictIndexes.isEmpty ? nil : verdicts[Int(verdictIndexes[index])]
    }

    package mutating func append(contentsOf other: NFElements) {
        for index in 0..<other.count {
            if let verdict = other.verdict(index) {
                append(key: other.key(index), verdict: verdict)
            } else if let value = other.value(index) {
                append(key: other.key(index), data: value)
            } else if let end = other.end(index) {
                append(range: Array(other.key(index)), Array(end))
            } else {
                append(key: other.key(index))
            }
        }
        expirations.append(contentsOf: other.expirations)
    }

    /// Sum over the elements of a 64-bit hash of key and value: equal for equal contents in any order, and adding or
    /// removing elements adds or subtracts theirs.
    package var digest: UInt64 {
        var sum: UInt64 = 0
        let verdictHashes = verdicts.map { verdict in
            var hash = FNV64()
            hash.combine(UInt64(bitPattern: Int64(verdict.code)))
            for byte in (verdict.chain ?? "").utf8 { hash.combine(byte) }
            return hash.value
        }
        for index in 0..<count {
            var hash = FNV64()
            hash.combine(keys, index * keyLength, keyLength)
            if !ends.isEmpty { hash.combine(ends, index * keyLength, keyLength) }
            if !data.isEmpty { hash.combine(data, index * dataLength, dataLength) }
            if !verdictIndexes.isEmpty { hash.combine(verdictHashes[Int(verdictIndexes[index])]) }
            sum &+= hash.value
        }
        return sum
    }
}

/// FNV-1a, 64 bits: stable between runs, which Swift's Hasher is not.
package struct FNV64 {
    package private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325
    package init() {}
    package mutating func combine(_ byte: UInt8) { value = (value ^ UInt64(byte)) &* 0x100_0000_01b3 }
    package mutating func combine(_ word: UInt64) {
        for shift in stride(from: UInt64(0), to: 64, by: 8) { combine(UInt8(truncatingIfNeeded: word >> shift)) }
    }
    package mutating func combine(_ bytes: UnsafeRawBufferPointer) {
        var hash = value
        for index in 0..<bytes.count { hash = (hash ^ UInt64(bytes[index])) &* 0x100_0000_01b3 }
        value = hash
    }
    fileprivate mutating func combine(_ bytes: [UInt8], _ start: Int, _ count: Int) {
        var hash = value
        for index in start..<start + count { hash = (hash ^ UInt64(bytes[index])) &* 0x100_0000_01b3 }
        value = hash
    }
    package mutating func combine(_ text: String) { for byte in text.utf8 { combine(byte) } }
}
