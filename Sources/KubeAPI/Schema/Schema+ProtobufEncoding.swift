package import Codecs

/// Objects in Kubernetes' protobuf form, as Go's encoder writes them: fields by number, plain fields even where they are
/// zero, what JSON has inlined in messages of its own.
/// Source: k8s.io/apimachinery/pkg/runtime/serializer/protobuf, generated.proto (proto2 with gogoproto's nullable=false).
extension Schema {
    /// With the envelope that says what it is; nil where the kind has no protobuf form (tables, custom resources).
    package func encodeProtobuf(_ object: JSON) -> [UInt8]? {
        let version = object["apiVersion"].string ?? ""
        let kind = object["kind"].string ?? ""
        guard let gv = GroupVersion(version), let raw = encodeProtobufMessage(object, as: GroupVersionKind(gv, kind))
        else { return nil }
        return Self.envelope(version, kind, raw)
    }

    package static func envelope(_ apiVersion: String, _ kind: String, _ raw: [UInt8]) -> [UInt8] {
        var out = ProtobufWriter()
        out.message(1) { meta in
            meta.element(1, apiVersion)
            meta.element(2, kind)
        }
        out.bytes(2, raw)
        out.element(3, "")
        out.element(4, "")
        return magic + out.bytes
    }

    /// The message alone, as lists hold it.
    package func encodeProtobufMessage(_ object: JSON, as gvk: GroupVersionKind) -> [UInt8]? {
        guard let type = kind(gvk) ?? (gvk.group == "meta.k8s.io" ? self.type(named: "meta/v1." + gvk.kind) : nil),
            type.name != "Table",
            type.fields.contains(where: { $0.number != 0 && $0.name != "kind" && $0.name != "apiVersion" })
        else { return nil }
        var out = ProtobufWriter()
        ProtobufEncoder(schema: self).write(object.object ?? JSONObject(), type, to: &out, depth: 0)
        return out.bytes
    }

    /// An item as it lies in a list.
    package func encodeProtobufItem(_ object: JSON, as kind: GroupVersionKind) -> [UInt8]? {
        guard let raw = encodeProtobufMessage(object, as: kind) else { return nil }
        var piece = ProtobufWriter()
        piece.bytes(2, raw)
        return piece.bytes
    }

    /// What stands before and behind the items of a list. nil where the kind has no protobuf form.
    package func encodeProtobufListFrame(
        _ kind: GroupVersionKind, listKind: String, metadata: JSON, itemBytes: Int
    ) -> (head: [UInt8], tail: [UInt8])? {
        let list: JSON = ["metadata": metadata]
        guard
            let head = encodeProtobufMessage(
                list, as: GroupVersionKind(kind.groupVersion, listKind))
        else { return nil }
        let empty = Self.envelope(kind.groupVersion.description, listKind, [])
        // The envelope of nothing, with the length of what comes.
        var length = ProtobufWriter()
        length.head(2, length: head.count + itemBytes)
        let tail = [0x1A, 0, 0x22, 0] as [UInt8]
        return (Array(empty.dropLast(tail.count + 2)) + length.bytes + head, tail)
    }

    /// A frame of a watch: a length of four bytes, then the event with the object in its envelope.
    package static func watchFrame(type: String, _ object: [UInt8]) -> [UInt8] {
        var event = ProtobufWriter()
        event.element(1, type)
        event.message(2) { $0.bytes(1, object) }
        let count = UInt32(event.bytes.count)
        return [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: count >> $0) } + event.bytes
    }
}

private struct ProtobufEncoder {
    let schema: Schema
    private static let maximumDepth = 200

    func write(_ object: JSONObject, _ type: TypeSchema, to out: inout ProtobufWriter, depth: Int) {
        guard depth < Self.maximumDepth else { return }
        // kind and apiVersion of an object are in the envelope.
        let named = type.fields.count > 1 && type.fields[0].name == "kind" && type.fields[1].name == "apiVersion"
        write(object, type, type.fields[(named ? 2 : 0)...], wrapper: 0, to: &out, depth: depth)
    }

    /// The fields of one message: those that lie in it, and the messages in which JSON's inlined ones lie.
    private func write(
        _ object: JSONObject, _ type: TypeSchema, _ fields: ArraySlice<FieldSchema>, wrapper: UInt16,
        to out: inout ProtobufWriter, depth: Int
    ) {
        var wrappers: [UInt16] = []
        var plan: [(number: UInt16, field: FieldSchema?)] = []
        plan.reserveCapacity(fields.count)
        for field in fields where field.number != 0 {
            let inner = wrapper == 0 ? field.wrapper & 0xFF : field.wrapper >> 8
            if field.wrapper == wrapper {
                plan.append((field.number, field))
            } else if !wrappers.contains(inner) {
                wrappers.append(inner)
                plan.append((inner, nil))
            }
        }
        plan.sort { $0.number < $1.number }
        for (number, field) in plan {
            if let field {
                write(field, object[field.name], to: &out, depth: depth)
            } else {
                let nested = wrapper == 0 ? number : wrapper | number << 8
                let mask: UInt16 = wrapper == 0 ? 0xFF : 0xFFFF
                out.message(UInt32(number)) { inner in
                    let inside = fields.filter { $0.wrapper & mask == nested }
                    write(object, type, inside[...], wrapper: nested, to: &inner, depth: depth)
                }
            }
        }
    }

    private func write(_ field: FieldSchema, _ value: JSON?, to out: inout ProtobufWriter, depth: Int) {
        let number = UInt32(field.number)
        switch (field.type, value ?? .null) {
        case (.array(let element), .array(let list)):
            // A list type with a name of its own is a message.
            if field.extras?.goName == "Verbs" {
                write(.array(element), number, value ?? .null, to: &out, depth: depth)
                return
            }
            for item in list { write(element, number, item, to: &out, depth: depth) }
        case (.map(let element), .object(let map)):
            let sorted = map.members.sorted { $0.key < $1.key }
            for (key, item) in sorted {
                out.message(number) { entry in
                    entry.element(1, key)
                    write(element, 2, item, to: &entry, depth: depth)
                }
            }
        case (.array, _), (.map, _): return
        case (_, .null):
            // An unset pointer is left out, anything else has a zero that is written.
            guard !field.isPointer else { return }
            switch field.type {
            case .bytes: return
            default: write(field.type, number, .null, to: &out, depth: depth)
            }
        default: write(field.type, number, value ?? .null, to: &out, depth: depth)
        }
    }

    private func write(
        _ type: ValueType, _ number: UInt32, _ value: JSON, to out: inout ProtobufWriter, depth: Int
    ) {
        switch type {
        case .string, .named: out.element(number, value.string ?? "")
        case .bytes: out.bytes(number, value.string.flatMap { Base64.decode($0) } ?? [])
        case .bool: out.present(number, value.bool == true ? 1 : 0)
        case .int32, .int64: out.present(number, value.int ?? 0)
        case .double: out.presentDouble(number, value.double ?? 0)
        case .object(let id):
            out.message(number) {
                write(value.object ?? JSONObject(), schema.type(id), to: &$0, depth: depth + 1)
            }
        case .array(let element):
            out.message(number) { inner in
                for item in value.elements { write(element, 1, item, to: &inner, depth: depth + 1) }
            }
        case .map: return
        case .time, .microTime:
            out.message(number) { inner in
                guard let time = value.string.flatMap({ Timestamp($0) }) else { return }
                let (seconds, rest) = time.nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
                let nanos = rest < 0 ? rest + 1_000_000_000 : rest
                inner.present(1, rest < 0 ? seconds - 1 : seconds)
                inner.present(2, type == .time ? 0 : nanos / 1000 * 1000)
            }
        case .duration:
            out.message(number) { $0.present(1, value.string.flatMap { Self.nanoseconds($0) } ?? 0) }
        case .quantity: out.message(number) { $0.element(1, value.string ?? value.int.map(String.init) ?? "0") }
        case .intOrString:
            out.message(number) { inner in
                inner.present(1, value.string == nil ? 0 : 1)
                inner.present(2, value.int ?? 0)
                inner.element(3, value.string ?? "")
            }
        case .rawExtension, .fieldsV1, .any:
            out.message(number) { if !value.isNull { $0.bytes(1, value.encode()) } }
        case .schemaOrBool, .schemaOrArray, .schemaOrStrings: writeUnion(type, number, value, to: &out, depth: depth)
        }
    }

    /// JSONSchemaPropsOrBool (allows, schema), JSONSchemaPropsOrArray (schema, jSONSchemas),
    /// JSONSchemaPropsOrStringArray (schema, property).
    private func writeUnion(
        _ type: ValueType, _ number: UInt32, _ value: JSON, to out: inout ProtobufWriter, depth: Int
    ) {
        guard let id = schema.id(named: "apiextensions/v1.JSONSchemaProps") else { return }
        let props = ValueType.object(id)
        out.message(number) { inner in
            switch (type, value) {
            case (.schemaOrBool, .bool(let allows)): inner.present(1, allows ? 1 : 0)
            case (.schemaOrBool, _):
                inner.present(1, 1)
                write(props, 2, value, to: &inner, depth: depth + 1)
            case (.schemaOrArray, .array(let list)):
                for item in list { write(props, 2, item, to: &inner, depth: depth + 1) }
            case (.schemaOrStrings, .array(let list)):
                for item in list { inner.element(2, item.string ?? "") }
            default: write(props, 1, value, to: &inner, depth: depth + 1)
            }
        }
    }

    /// "1h30m0s", "1.5s", "100ms" as nanoseconds.
    static func nanoseconds(_ text: String) -> Int64? {
        var rest = Array(text.utf8)[...]
        var sign = 1.0
        if rest.first == UInt8(ascii: "-") {
            sign = -1
            rest.removeFirst()
        }
        var total = 0.0
        while !rest.isEmpty {
            let digits = rest.prefix { $0 &- 48 < 10 || $0 == UInt8(ascii: ".") }
            rest = rest.dropFirst(digits.count)
            let unit = rest.prefix { !($0 &- 48 < 10 || $0 == UInt8(ascii: ".")) }
            rest = rest.dropFirst(unit.count)
            guard let value = Double(String(decoding: digits, as: UTF8.self)) else { return nil }
            switch String(decoding: unit, as: UTF8.self) {
            case "h": total += value * 3_600_000_000_000
            case "m": total += value * 60_000_000_000
            case "s": total += value * 1_000_000_000
            case "ms": total += value * 1_000_000
            case "us", "µs", "μs": total += value * 1000
            case "ns", "": total += value
            default: return nil
            }
        }
        return Int64(exactly: (sign * total).rounded())
    }
}
