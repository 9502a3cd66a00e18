internal import Codecs

/// Managed fields at rest: binary, a fifth of their JSON, behind the object's text, so that whoever decodes an object for
/// its content never sees them and whoever sends it puts them in where they belong.
///
///     payload:  count, then per entry: flags, manager, version, [time], [subresource], nodes, 0
///     node:     byte (bit 0 member, bit 1 has children, bits 2-3 kind, bit 4 name by number), number or text,
///               [nodes, 0]
///     trailer:  payload, where in the text they belong (4 bytes), the length of the text (4 bytes), 1
///
/// Numbers are LEB128 in the payload, little endian in the trailer.
package enum StoredManagedFields {
    static let marker: UInt8 = 1
    package static let footer = 9
    private static let maximumDepth = 100

    // MARK: - Trailer

    package struct Trailer {
        /// The object's text.
        package let text: Int
        /// Before the brace that ends its metadata.
        package let place: Int
        package let payload: Range<Int>
    }

    /// nil: the bytes are all text.
    package static func trailer(of bytes: [UInt8]) -> Trailer? {
        guard bytes.count > footer, bytes[bytes.count - 1] == marker else { return nil }
        let place = number(bytes, bytes.count - 9)
        let text = number(bytes, bytes.count - 5)
        guard place > 0, place < text, text <= bytes.count - footer, bytes[place] == UInt8(ascii: "}") else {
            return nil
        }
        return Trailer(text: text, place: place, payload: text..<bytes.count - footer)
    }

    private static func number(_ bytes: [UInt8], _ at: Int) -> Int {
        (0..<4).reduce(0) { $0 | Int(bytes[at + $1]) << ($1 * 8) }
    }

    package static func append(payload: ArraySlice<UInt8>, text: Int, place: Int, to out: inout [UInt8]) {
        out.append(contentsOf: payload)
        for value in [place, text] {
            for shift in 0..<4 { out.append(UInt8(truncatingIfNeeded: value >> (shift * 8))) }
        }
        out.append(marker)
    }

    // MARK: - Encoding

    /// Nothing for nothing: an object that nobody owns fields of has no trailer.
    package static func encode(_ managed: ManagedFields) -> [UInt8] {
        if managed.isEmpty { return [] }
        var out: [UInt8] = []
        out.reserveCapacity(96)
        append(UInt64(managed.entries.count), to: &out)
        for entry in managed.sorted.entries {
            let manager = entry.manager
            var flags: UInt8 = manager.operation == .update ? 1 : 0
            if entry.time != nil { flags |= 2 }
            if !manager.subresource.isEmpty { flags |= 4 }
            out.append(flags)
            append(manager.name, to: &out)
            append(manager.apiVersion, to: &out)
            if let time = entry.time { append(UInt64(bitPattern: time), to: &out) }
            if !manager.subresource.isEmpty { append(manager.subresource, to: &out) }
            append(entry.fields, to: &out)
        }
        return out
    }

    private static func append(_ value: UInt64, to out: inout [UInt8]) {
        var value = value
        while value >= 0x80 {
            out.append(UInt8(truncatingIfNeeded: value) | 0x80)
            value >>= 7
        }
        out.append(UInt8(value))
    }

    private static func append(_ text: String, to out: inout [UInt8]) {
        append(UInt64(text.utf8.count), to: &out)
        out.append(contentsOf: text.utf8)
    }

    private static func append(_ set: FieldSet, to out: inout [UInt8]) {
        for node in set.nodes {
            var head: UInt8 = node.isMember ? 1 : 0
            if !node.below.isEmpty { head |= 2 }
            head |= node.element.kind.rawValue << 2
            if node.element.kind == .field, let number = FieldNames.shared.number(of: node.element.text) {
                out.append(head | 16)
                append(UInt64(number), to: &out)
            } else {
                out.append(head)
                append(node.element.text, to: &out)
            }
            if !node.below.isEmpty { append(node.below, to: &out) }
        }
        out.append(0)
    }

    // MARK: - Reading

    /// Reads a payload; whatever is wrong with it ends the reading (what it would have said is then not known).
    struct Reader {
        let bytes: UnsafeBufferPointer<UInt8>
        var at: Int
        let end: Int

        mutating func number() -> UInt64? {
            var value: UInt64 = 0
            var shift: UInt64 = 0
            while at < end, shift < 64 {
                let byte = bytes[at]
                at += 1
                value |= UInt64(byte & 0x7F) << shift
                if byte & 0x80 == 0 { return value }
                shift += 7
            }
            return nil
        }

        mutating func text() -> UnsafeBufferPointer<UInt8>? {
            guard let count = number().flatMap({ Int(exactly: $0) }), count <= end - at else { return nil }
            defer { at += count }
            return UnsafeBufferPointer(rebasing: bytes[at..<at + count])
        }

        mutating func byte() -> UInt8? {
            guard at < end else { return nil }
            defer { at += 1 }
            return bytes[at]
        }

        mutating func name(_ head: UInt8) -> UnsafeBufferPointer<UInt8>? {
            if head & 16 == 0 { return text() }
            return number().flatMap { Int(exactly: $0) }.flatMap { FieldNames.shared[$0] }
        }
    }

    private static func string(_ bytes: UnsafeBufferPointer<UInt8>) -> String { String(decoding: bytes, as: UTF8.self) }

    package static func decode(_ bytes: [UInt8], _ payload: Range<Int>) -> ManagedFields? {
        bytes.withUnsafeBufferPointer { buffer in
            var reader = Reader(bytes: buffer, at: payload.lowerBound, end: payload.upperBound)
            guard let count = reader.number(), count < 10_000 else { return nil }
            var entries: [ManagedFields.Entry] = []
            for _ in 0..<count {
                guard let flags = reader.byte(), let name = reader.text(), let version = reader.text() else {
                    return nil
                }
                var manager = ManagedFields.Manager(
                    string(name), flags & 1 == 0 ? .apply : .update, string(version))
                let time = flags & 2 == 0 ? nil : reader.number().map { Int64(bitPattern: $0) }
                if flags & 4 != 0 {
                    guard let text = reader.text() else { return nil }
                    manager.subresource = string(text)
                }
                guard let fields = set(&reader, depth: 0) else { return nil }
                entries.append(.init(manager, time: time, fields: fields))
            }
            return ManagedFields(entries)
        }
    }

    private static func set(_ reader: inout Reader, depth: Int) -> FieldSet? {
        guard depth < maximumDepth else { return nil }
        var nodes: [FieldSet.Node] = []
        while let head = reader.byte() {
            if head == 0 { return FieldSet(unsorted: nodes) }
            guard let kind = PathElement.Kind(rawValue: head >> 2 & 3), let name = reader.name(head) else { return nil }
            var below = FieldSet()
            if head & 2 != 0 {
                guard let inner = set(&reader, depth: depth + 1) else { return nil }
                below = inner
            }
            nodes.append(.init(PathElement(kind, string(name)), isMember: head & 1 != 0, below: below))
        }
        return nil
    }

    // MARK: - To JSON

    /// The object's text with its managed fields in place. One pass over both, no trees.
    static func expanded(_ bytes: [UInt8], _ trailer: Trailer) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(trailer.text + trailer.payload.count * 6 + 64)
        append(expanding: bytes, trailer, to: &out)
        return out
    }

    static func append(expanding bytes: [UInt8], _ trailer: Trailer, to out: inout [UInt8]) {
        out.append(contentsOf: bytes[..<trailer.place])
        let start = out.count
        out.append(ascii: ",\"managedFields\":")
        if !appendJSON(bytes, trailer.payload, to: &out) { out.removeSubrange(start...) }
        out.append(contentsOf: bytes[trailer.place..<trailer.text])
    }

    private static func appendJSON(_ bytes: [UInt8], _ payload: Range<Int>, to out: inout [UInt8]) -> Bool {
        bytes.withUnsafeBufferPointer { buffer in
            var reader = Reader(bytes: buffer, at: payload.lowerBound, end: payload.upperBound)
            guard let count = reader.number() else { return false }
            out.append(UInt8(ascii: "["))
            for i in 0..<count {
                if i > 0 { out.append(UInt8(ascii: ",")) }
                guard let flags = reader.byte(), let name = reader.text(), let version = reader.text() else {
                    return false
                }
                out.append(ascii: "{\"manager\":\"")
                escape(name, to: &out)
                out.append(ascii: flags & 1 == 0 ? "\",\"operation\":\"Apply\"" : "\",\"operation\":\"Update\"")
                out.append(ascii: ",\"apiVersion\":\"")
                escape(version, to: &out)
                if flags & 2 != 0 {
                    guard let time = reader.number() else { return false }
                    out.append(ascii: "\",\"time\":\"")
                    out.append(contentsOf: Timestamp(seconds: Int64(bitPattern: time)).rfc3339.utf8)
                }
                var subresource: UnsafeBufferPointer<UInt8>?
                if flags & 4 != 0 {
                    subresource = reader.text()
                    if subresource == nil { return false }
                }
                out.append(ascii: "\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{")
                guard appendNodes(&reader, includingSelf: false, to: &out, depth: 0) else { return false }
                if let subresource {
                    out.append(ascii: ",\"subresource\":\"")
                    escape(subresource, to: &out)
                    out.append(UInt8(ascii: "\""))
                }
                out.append(UInt8(ascii: "}"))
            }
            out.append(UInt8(ascii: "]"))
            return true
        }
    }

    /// The members of an object that is open, and its end.
    private static func appendNodes(
        _ reader: inout Reader, includingSelf: Bool, to out: inout [UInt8], depth: Int
    ) -> Bool {
        guard depth < maximumDepth else { return false }
        if includingSelf { out.append(ascii: "\".\":{}") }
        var isFirst = !includingSelf
        while let head = reader.byte() {
            if head == 0 {
                out.append(UInt8(ascii: "}"))
                return true
            }
            guard let kind = PathElement.Kind(rawValue: head >> 2 & 3), let name = reader.name(head) else {
                return false
            }
            if !isFirst { out.append(UInt8(ascii: ",")) }
            isFirst = false
            out.append(UInt8(ascii: "\""))
            out.append(PathElement.prefix(kind))
            out.append(UInt8(ascii: ":"))
            escape(name, to: &out)
            out.append(ascii: "\":{")
            if head & 2 == 0 {
                out.append(UInt8(ascii: "}"))
            } else if !appendNodes(&reader, includingSelf: head & 1 != 0, to: &out, depth: depth + 1) {
                return false
            }
        }
        return false
    }

    /// As within quotes.
    private static func escape(_ text: UnsafeBufferPointer<UInt8>, to out: inout [UInt8]) {
        var (isPlain, isCommon) = (true, true)
        for byte in text {
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { isPlain = false }
            if byte < 0x20 || byte == 0xE2 || byte == 0x3C || byte == 0x3E || byte == 0x26 { isCommon = false }
        }
        if !isCommon {
            var quoted: [UInt8] = []
            quoted.append(jsonString: string(text))
            out.append(contentsOf: quoted.dropFirst().dropLast())
        } else if isPlain {
            out.append(contentsOf: text)
        } else {
            for byte in text {
                if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { out.append(UInt8(ascii: "\\")) }
                out.append(byte)
            }
        }
    }
}
