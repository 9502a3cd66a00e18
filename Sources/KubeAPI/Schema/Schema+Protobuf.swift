package import Codecs

/// Kubernetes' protobuf form, turned into the JSON that the same object has: what client-go's typed clients send.
/// Everything after this (validation, defaults) knows JSON only.
/// Source: k8s.io/apimachinery/pkg/runtime/serializer/protobuf (the envelope) and the field numbers of the schema.
extension Schema {
    package static let protobufType = "application/vnd.kubernetes.protobuf"
    /// "k8s\0", before the envelope.
    package static let magic: [UInt8] = [0x6B, 0x38, 0x73, 0x00]

    /// `kind`: what the body is, if its envelope does not say so.
    package func decodeProtobuf(_ bytes: [UInt8], expecting kind: GroupVersionKind) throws(ProtobufError) -> JSON {
        guard bytes.starts(with: Self.magic) else {
            throw ProtobufError(
                "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
        }
        var envelope = ProtobufReader(bytes[Self.magic.count...])
        var apiVersion = ""
        var kindName = ""
        var raw: ArraySlice<UInt8> = []
        while let (number, value) = try envelope.next() {
            guard case .bytes(let slice) = value else { continue }
            switch number {
            case 1:
                var meta = ProtobufReader(slice)
                while let (number, value) = try meta.next() {
                    guard case .bytes(let slice) = value else { continue }
                    if number == 1 { apiVersion = String(decoding: slice, as: UTF8.self) }
                    if number == 2 { kindName = String(decoding: slice, as: UTF8.self) }
                }
            case 2: raw = slice
            default: break
            }
        }
        let gv = GroupVersion(apiVersion) ?? kind.groupVersion
        let gvk = GroupVersionKind(gv, kindName.isEmpty ? kind.kind : kindName)
        guard let type = self.kind(gvk) ?? type(named: "meta/v1." + gvk.kind) else {
            throw ProtobufError("no kind \"\(gvk.kind)\" is registered for version \"\(gvk.groupVersion)\"")
        }
        let decoder = ProtobufDecoder(schema: self)
        var json = try decoder.message(raw, type, depth: 0)
        json.withObject { object in
            var members: [JSONObject.Member] = [
                ("kind", .string(gvk.kind)), ("apiVersion", .string(gvk.groupVersion.description)),
            ]
            members += object.members.filter { $0.key != "kind" && $0.key != "apiVersion" }
            object = JSONObject(members: members)
        }
        return json
    }
}

private struct ProtobufDecoder {
    let schema: Schema

    func message(
        _ bytes: ArraySlice<UInt8>, _ type: TypeSchema, wrapper: UInt16 = 0, depth: Int
    ) throws(ProtobufError) -> JSON {
        var object = JSONObject()
        try read(bytes, type, wrapper: wrapper, into: &object, depth: depth)
        object.mapValues { name, value in
            guard case .map = type.field(name)?.type, case .object(let map) = value else { return value }
            return .object(Self.lastOfEachKey(map))
        }
        return .object(object)
    }

    /// Of entries with the same key the last counts, in the place of the first.
    private static func lastOfEachKey(_ map: JSONObject) -> JSONObject {
        var places = [String: Int](minimumCapacity: map.count)
        var members: [JSONObject.Member] = []
        members.reserveCapacity(map.count)
        for member in map.members {
            if let at = places[member.key] {
                members[at].value = member.value
            } else {
                places[member.key] = members.count
                members.append(member)
            }
        }
        return JSONObject(members: members)
    }

    /// `wrapper`: only the fields that lie in the message of this number (what Go embeds, protobuf nests).
    private func read(
        _ bytes: ArraySlice<UInt8>, _ type: TypeSchema, wrapper: UInt16, into object: inout JSONObject, depth: Int
    ) throws(ProtobufError) {
        guard depth < 100 else { throw ProtobufError("proto: message nested too deeply") }
        var reader = ProtobufReader(bytes)
        while let (number, value) = try reader.next() {
            // The last: kind and apiVersion come first in the table, with numbers of a message that is never sent (what
            // they say is in the envelope).
            if let field = type.fields.last(where: { Int($0.number) == number && $0.wrapper == wrapper }) {
                try set(field, value, in: &object, depth: depth)
            } else if wrapper < 256, number < 256, case .bytes(let inner) = value {
                let nested = wrapper == 0 ? UInt16(number) : wrapper | UInt16(number) << 8
                let mask: UInt16 = wrapper == 0 ? 0xFF : 0xFFFF
                if type.fields.contains(where: { $0.wrapper & mask == nested }) {
                    try read(inner, type, wrapper: nested, into: &object, depth: depth + 1)
                }
            }
        }
    }

    private func set(
        _ field: FieldSchema, _ value: ProtobufReader.Value, in object: inout JSONObject, depth: Int
    ) throws(ProtobufError) {
        switch field.type {
        case .array(let element):
            var list = object[field.name]?.array ?? []
            object[field.name] = .null  // the only reference to the list, so that appending does not copy it
            if case .bytes(let packed) = value, element.isVarint {
                list += try Self.packed(packed, element)
            } else {
                list.append(try single(element, value, depth: depth))
            }
            object[field.name] = .array(list)
        case .map(let element):
            guard case .bytes(let entry) = value else { throw Self.wrong(field) }
            var reader = ProtobufReader(entry)
            var key = ""
            var member: JSON?
            while let (number, value) = try reader.next() {
                if number == 1, case .bytes(let text) = value { key = String(decoding: text, as: UTF8.self) }
                if number == 2 { member = try single(element, value, depth: depth) }
            }
            var map = object[field.name]?.object ?? JSONObject()
            object[field.name] = .null
            // Keys are compared when all are there: one by one would take the square of their number.
            map.append(key, member ?? Self.zero(element))
            object[field.name] = .object(map)
        default:
            let json = try single(field.type, value, depth: depth)
            if json.isNull || !field.isPointer && field.flags.contains(.omitEmpty) && Self.isZero(json) { return }
            object[field.name] = json
        }
    }

    private static func wrong(_ field: FieldSchema) -> ProtobufError {
        ProtobufError("proto: wrong wireType for field \(field.name)")
    }

    /// Numbers without tags.
    private static func packed(_ bytes: ArraySlice<UInt8>, _ element: ValueType) throws(ProtobufError) -> [JSON] {
        var list: [JSON] = []
        var rest = bytes
        while !rest.isEmpty {
            guard let end = rest.firstIndex(where: { $0 & 0x80 == 0 }) else { throw ProtobufError("unexpected EOF") }
            var one = ProtobufReader([8] + rest[...end])
            guard case .varint(let value)? = try one.next()?.value else { break }
            list.append(element == .bool ? .bool(value != 0) : .int(Int64(bitPattern: value)))
            rest = rest[(end + 1)...]
        }
        return list
    }

    private static func zero(_ type: ValueType) -> JSON {
        switch type {
        case .string, .named, .bytes: ""
        case .bool: false
        case .int32, .int64, .double: 0
        case .quantity: "0"
        case .array: []
        default: [:]
        }
    }

    private static func isZero(_ json: JSON) -> Bool {
        switch json {
        case .string(let text): text.isEmpty
        case .bool(let flag): !flag
        case .int(let number): number == 0
        case .double(let number): number == 0
        default: false
        }
    }

    private func single(
        _ type: ValueType, _ value: ProtobufReader.Value, depth: Int
    ) throws(ProtobufError) -> JSON {
        switch (type, value) {
        case (.string, .bytes(let text)), (.named, .bytes(let text)):
            return .string(String(decoding: text, as: UTF8.self))
        case (.bytes, .bytes(let data)): return .string(Base64.encode(data))
        case (.bool, .varint(let n)): return .bool(n != 0)
        case (.int32, .varint(let n)): return .int(Int64(Int32(truncatingIfNeeded: n)))
        case (.int64, .varint(let n)): return .int(Int64(bitPattern: n))
        case (.double, .fixed64(let bits)): return .double(Double(bitPattern: bits))
        case (.object(let id), .bytes(let inner)): return try message(inner, schema.type(id), depth: depth + 1)
        case (.array(let element), .bytes(let inner)):
            // A list type of its own is a message with its items in field 1.
            var reader = ProtobufReader(inner)
            var list: [JSON] = []
            while let (number, value) = try reader.next() {
                if number == 1 { list.append(try single(element, value, depth: depth + 1)) }
            }
            return .array(list)
        case (.time, .bytes(let inner)), (.microTime, .bytes(let inner)):
            var (seconds, nanos): (Int64, Int64) = (0, 0)
            var reader = ProtobufReader(inner)
            var isSet = false
            while let (number, value) = try reader.next() {
                guard case .varint(let n) = value else { continue }
                if number == 1 { (seconds, isSet) = (Int64(bitPattern: n), true) }
                if number == 2 { nanos = Int64(Int32(truncatingIfNeeded: n)) }
            }
            // Go's zero time is the year 1: not set.
            guard isSet, seconds > -62_135_596_800, abs(seconds) < 9_200_000_000 else { return .null }
            let time = Timestamp(nanoseconds: seconds * 1_000_000_000 + nanos)
            return .string(type == .time ? time.rfc3339 : time.rfc3339Micro)
        case (.duration, .bytes(let inner)):
            var reader = ProtobufReader(inner)
            var nanos: Int64 = 0
            while let (number, value) = try reader.next() {
                if number == 1, case .varint(let n) = value { nanos = Int64(bitPattern: n) }
            }
            return .string(Self.goDuration(nanos))
        case (.quantity, .bytes(let inner)):
            var reader = ProtobufReader(inner)
            while let (number, value) = try reader.next() {
                if number == 1, case .bytes(let text) = value { return .string(String(decoding: text, as: UTF8.self)) }
            }
            return "0"
        case (.intOrString, .bytes(let inner)):
            var reader = ProtobufReader(inner)
            var (isText, number, text): (Bool, Int64, String) = (false, 0, "")
            while let (field, value) = try reader.next() {
                switch (field, value) {
                case (1, .varint(let n)): isText = n == 1
                case (2, .varint(let n)): number = Int64(Int32(truncatingIfNeeded: n))
                case (3, .bytes(let slice)): text = String(decoding: slice, as: UTF8.self)
                default: break
                }
            }
            return isText ? .string(text) : .int(number)
        case (.rawExtension, .bytes(let inner)), (.fieldsV1, .bytes(let inner)), (.any, .bytes(let inner)):
            var reader = ProtobufReader(inner)
            while let (number, value) = try reader.next() {
                guard number == 1, case .bytes(let raw) = value else { continue }
                do throws(JSONError) {
                    return try JSON.parse(Array(raw))
                } catch {
                    throw ProtobufError("embedded object: \(error.message)")
                }
            }
            return .null
        case (.schemaOrBool, .bytes(let inner)), (.schemaOrArray, .bytes(let inner)),
            (.schemaOrStrings, .bytes(let inner)):
            return try union(type, inner, depth: depth)
        default: throw ProtobufError("proto: wrong wireType")
        }
    }

    /// JSONSchemaPropsOrBool (allows, schema), JSONSchemaPropsOrArray (schema, jSONSchemas),
    /// JSONSchemaPropsOrStringArray (schema, property).
    private func union(
        _ type: ValueType, _ bytes: ArraySlice<UInt8>, depth: Int
    ) throws(ProtobufError) -> JSON {
        guard let id = schema.id(named: "apiextensions/v1.JSONSchemaProps") else { return .null }
        var reader = ProtobufReader(bytes)
        var allows = false
        var whole: JSON = .null
        var list: [JSON] = []
        while let (number, value) = try reader.next() {
            switch (type, number, value) {
            case (.schemaOrBool, 1, .varint(let n)): allows = n != 0
            case (.schemaOrBool, 2, _), (.schemaOrArray, 1, _), (.schemaOrStrings, 1, _):
                whole = try single(.object(id), value, depth: depth + 1)
            case (.schemaOrArray, 2, _): list.append(try single(.object(id), value, depth: depth + 1))
            case (.schemaOrStrings, 2, .bytes(let text)): list.append(.string(String(decoding: text, as: UTF8.self)))
            default: break
            }
        }
        if !whole.isNull { return whole }
        return type == .schemaOrBool ? .bool(allows) : .array(list)
    }

    /// "1h30m0s", "1.5s", "0s": as Go prints a duration.
    static func goDuration(_ nanos: Int64) -> String {
        if nanos == 0 { return "0s" }
        let sign = nanos < 0 ? "-" : ""
        let magnitude = nanos.magnitude
        if magnitude < 1_000_000_000 {
            for (unit, name) in [(1_000_000, "ms"), (1_000, "µs")] as [(UInt64, String)] where magnitude >= unit {
                return sign + fraction(magnitude, unit) + name
            }
            return sign + "\(magnitude)ns"
        }
        let seconds = magnitude / 1_000_000_000
        let rest = seconds % 60 * 1_000_000_000 + magnitude % 1_000_000_000
        var text = sign
        if seconds >= 3600 { text += "\(seconds / 3600)h" }
        if seconds >= 60 { text += "\(seconds / 60 % 60)m" }
        return text + fraction(rest, 1_000_000_000) + "s"
    }

    private static func fraction(_ value: UInt64, _ unit: UInt64) -> String {
        let rest = value % unit
        guard rest > 0 else { return "\(value / unit)" }
        var digits = String(rest)
        let width = String(unit).count - 1
        digits = String(repeating: "0", count: width - digits.count) + digits
        while digits.hasSuffix("0") { digits.removeLast() }
        return "\(value / unit).\(digits)"
    }
}

extension ValueType {
    fileprivate var isVarint: Bool {
        switch self {
        case .bool, .int32, .int64: true
        default: false
        }
    }
}
