package import Codecs

/// What happens to fields that the schema does not know and to members given twice (the `fieldValidation` parameter).
package enum FieldValidation: String, Sendable {
    case ignore = "Ignore"
    case warn = "Warn"
    case strict = "Strict"
}

/// An object in the form in which it is stored and sent.
package struct DecodedObject: Sendable {
    package var json: JSON
    /// For `Warning` headers: `unknown field "spec.foo"`.
    package var warnings: [String]
}

extension Schema {
    /// Brings a document into the form that the Go types would give it: unknown fields and nulls dropped, empty values that
    /// Go omits omitted, empty structs that Go writes written, fields in the schema's order, maps sorted, quantities,
    /// times and base64 in canonical text; with `defaults` also every unset field that has a default.
    ///
    /// - Parameter duplicates: paths of members given twice, as `JSON.parse` reports them.
    /// - Parameter yamlDuplicates: what `YAML.parse` reports.
    /// - Throws: BadRequest in kube-apiserver's words, for a value of a wrong type or (strict) for unknown and duplicate fields.
    package func decode(
        _ json: JSON, as gvk: GroupVersionKind, validation: FieldValidation = .ignore, duplicates: [String] = [],
        yamlDuplicates: [String] = [], defaults: Bool = false, clock: any KubeClock = SystemClock()
    ) throws(APIError) -> DecodedObject {
        guard let type = kind(gvk) else {
            throw .badRequest("no kind \"\(gvk.kind)\" is registered for version \"\(gvk.groupVersion)\"")
        }
        let prefix = "\(gvk.kind) in version \"\(gvk.version)\" cannot be handled as a \(gvk.kind): "
        var walk = SchemaWalk(schema: self, defaults: defaults, tracksUnknown: validation != .ignore, clock: clock)
        if validation != .ignore { walk.duplicates = Set(duplicates) }
        let object: JSONObject
        do throws(DecodingFailure) {
            guard case .object(let input) = json else {
                throw walk.mismatch(json, type.goName)
            }
            object = try walk.object(input, type)
        } catch {
            throw .badRequest(prefix + error.message)
        }
        guard validation != .ignore else { return DecodedObject(json: .object(object), warnings: []) }
        guard validation == .strict, !walk.problems.isEmpty || !yamlDuplicates.isEmpty else {
            return DecodedObject(json: .object(object), warnings: yamlDuplicates + walk.problems)
        }
        let yaml = yamlDuplicates.isEmpty ? [] : [YAML.message(duplicates: yamlDuplicates)]
        let problems = yaml + walk.problems
        throw .badRequest(prefix + "strict decoding error: " + problems.joined(separator: ", "))
    }

    /// An object that decoded before, with its defaults. What does not decode comes back as it is.
    package func applyDefaults(
        _ json: JSON, as gvk: GroupVersionKind, clock: any KubeClock = SystemClock()
    ) -> JSON {
        guard let type = kind(gvk), case .object(let input) = json else { return json }
        var walk = SchemaWalk(schema: self, defaults: true, tracksUnknown: false, clock: clock)
        do throws(DecodingFailure) {
            return .object(try walk.object(input, type))
        } catch {
            return json
        }
    }
}

struct DecodingFailure: Error {
    var message: String
}

/// One pass over a document along its schema.
struct SchemaWalk {
    enum Step {
        case field(String)
        case key(String)
        case index(Int)
    }

    let schema: Schema
    let defaults: Bool
    let tracksUnknown: Bool
    let clock: any KubeClock
    /// Unknown fields and those given twice, in the document's order. What is both is only unknown, as upstream.
    private(set) var problems: [String] = []
    /// Paths of members given twice, which have not been come by yet.
    var duplicates: Set<String> = []
    private var path: [Step] = []
    /// The innermost struct, which errors name.
    private var current: TypeSchema?
    private var depth = 0
    private static let maximumProblems = 100
    private static let maximumDepth = 200

    init(schema: Schema, defaults: Bool, tracksUnknown: Bool, clock: any KubeClock) {
        (self.schema, self.defaults, self.tracksUnknown, self.clock) = (schema, defaults, tracksUnknown, clock)
    }

    mutating func object(_ input: JSONObject, _ type: TypeSchema) throws(DecodingFailure) -> JSONObject {
        // Only types that hold themselves (JSONSchemaProps) can go deep.
        depth += 1
        guard depth < Self.maximumDepth else { throw DecodingFailure(message: "json: exceeded max depth") }
        let outer = current
        current = type
        var slots = FieldSlots(type: type)
        for (key, value) in input.members {
            guard let index = type.index(of: key) else {
                if tracksUnknown { note("unknown", .field(key)) }
                continue
            }
            if !duplicates.isEmpty { noteDuplicate(.field(key)) }
            // Plain values are most of a document: no call and no path for them.
            let field = type.fields[index]
            switch (value, field.type) {
            case (.null, _): continue
            case (.string, .string), (.string, .named), (.bool, .bool), (.string, .intOrString):
                slots.values[index] = value
                continue
            case (.int(let i), .int32) where Int32(exactly: i) != nil:
                slots.values[index] = value
                continue
            default: break
            }
            path.append(.field(field.name))
            slots.values[index] = try self.value(value, field.type, goName: field.extras?.goName)
            path.removeLast()
        }
        for index in type.alwaysWritten where slots.values[Int(index)] == nil {
            slots.values[Int(index)] = try zero(type.fields[Int(index)])
        }
        if defaults, type.defaulter != nil || !type.defaulted.isEmpty { applyDefaults(&slots) }
        current = outer
        depth -= 1
        return slots.object()
    }

    private mutating func note(_ what: String, _ step: Step) {
        guard problems.count < Self.maximumProblems else { return }
        path.append(step)
        problems.append("\(what) field \"\(dottedPath())\"")
        path.removeLast()
    }

    private mutating func noteDuplicate(_ step: Step) {
        path.append(step)
        let isDuplicate = duplicates.remove(dottedPath()) != nil
        path.removeLast()
        if isDuplicate { note("duplicate", step) }
    }

    private mutating func applyDefaults(_ slots: inout FieldSlots) {
        for index in slots.type.defaulted {
            let field = slots.type.fields[Int(index)]
            let present = slots.values[Int(index)]
            if let present, !present.isNull, field.isPointer || !present.isGoZero { continue }
            slots.values[Int(index)] = field.defaultValue
        }
        slots.type.defaulter?(&slots, DefaultingContext(schema: schema, clock: clock))
    }

    /// What Go writes for a field that is unset but not omitted.
    private mutating func zero(_ field: FieldSchema) throws(DecodingFailure) -> JSON {
        field.isPointer ? .null : try zero(field.type)
    }

    private mutating func zero(_ type: ValueType) throws(DecodingFailure) -> JSON {
        switch type {
        case .string, .named: .string("")
        case .bool: .bool(false)
        case .int32, .int64, .double, .intOrString: .int(0)
        case .quantity: .string("0")
        case .duration: .string("0s")
        case .object(let id): .object(try object(JSONObject(), schema.type(id)))
        case .bytes, .time, .microTime, .rawExtension, .fieldsV1, .any, .schemaOrBool, .schemaOrArray, .schemaOrStrings,
            .array, .map:
            .null
        }
    }

    mutating func value(_ value: JSON, _ type: ValueType, goName: String? = nil) throws(DecodingFailure) -> JSON {
        switch type {
        case .string, .named:
            guard case .string = value else { throw mismatch(value, shownName(type, goName)) }
            return value
        case .bool:
            guard case .bool = value else { throw mismatch(value, "bool") }
            return value
        case .int32: return try integer(value, Int64(Int32.min)...Int64(Int32.max), "int32")
        case .int64: return try integer(value, Int64.min...Int64.max, "int64")
        case .double:
            switch value {
            case .int, .double: return value
            default: throw mismatch(value, "float64")
            }
        case .object(let id):
            let inner = schema.type(id)
            guard case .object(let input) = value else { throw mismatch(value, inner.goName) }
            return .object(try object(input, inner))
        case .array(let element):
            guard case .array(var list) = value else { throw mismatch(value, shownName(type, goName)) }
            for i in list.indices {
                path.append(.index(i))
                list[i] = list[i].isNull ? try zero(element) : try self.value(list[i], element)
                path.removeLast()
            }
            return .array(list)
        case .map(let element):
            guard case .object(let input) = value else { throw mismatch(value, shownName(type, goName)) }
            return .object(try map(input, element))
        case .any, .rawExtension, .fieldsV1: return value
        case .schemaOrBool, .schemaOrArray, .schemaOrStrings: return try schemaUnion(value, type)
        case .bytes, .time, .microTime, .duration, .quantity, .intOrString:
            return try scalar(value, type)
        }
    }

    private mutating func map(_ input: JSONObject, _ element: ValueType) throws(DecodingFailure) -> JSONObject {
        var members = input.members
        var sorted = true
        for i in members.indices {
            if i > 0, members[i].key < members[i - 1].key { sorted = false }
            if !duplicates.isEmpty { noteDuplicate(.key(members[i].key)) }
            path.append(.key(members[i].key))
            members[i].value =
                members[i].value.isNull ? try zero(element) : try value(members[i].value, element)
            path.removeLast()
        }
        if !sorted { members.sort { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) } }
        return JSONObject(members: members)
    }

    private func integer(_ value: JSON, _ range: ClosedRange<Int64>, _ name: String) throws(DecodingFailure) -> JSON {
        switch value {
        case .int(let i) where range.contains(i): return value
        case .int(let i): throw mismatch("number \(i)", name)
        case .double: throw mismatch("number \(value.text)", name)
        default: throw mismatch(value, name)
        }
    }

    /// JSONSchemaProps in the three places where something else is allowed instead.
    private mutating func schemaUnion(_ value: JSON, _ type: ValueType) throws(DecodingFailure) -> JSON {
        guard let props = schema.id(named: "apiextensions/v1.JSONSchemaProps") else { return value }
        switch (value, type) {
        case (.object, _): return try self.value(value, .object(props))
        case (.bool, .schemaOrBool): return value
        case (.array, .schemaOrArray): return try self.value(value, .array(.object(props)))
        case (.array, .schemaOrStrings): return try self.value(value, .array(.string))
        default:
            switch type {
            case .schemaOrBool: throw DecodingFailure(message: "boolean or JSON schema expected")
            case .schemaOrArray: throw mismatch(value, "[]v1.JSONSchemaProps")
            default: throw mismatch(value, "[]string")
            }
        }
    }

    // MARK: - Errors

    func mismatch(_ value: JSON, _ name: String) -> DecodingFailure { mismatch(value.goKind, name) }

    private func mismatch(_ found: String, _ name: String) -> DecodingFailure {
        guard let current else {
            return .init(message: "json: cannot unmarshal \(found) into Go value of type \(name)")
        }
        // Go names the fields on the way, without list indexes and map keys.
        let fields = path.compactMap { if case .field(let name) = $0 { name } else { nil } }
        guard !fields.isEmpty else {
            return .init(message: "json: cannot unmarshal \(found) into Go value of type \(name)")
        }
        return .init(
            message: "json: cannot unmarshal \(found) into Go struct field "
                + "\(current.name).\(fields.joined(separator: ".")) of type \(name)")
    }

    private func shownName(_ type: ValueType, _ goName: String?) -> String {
        if let goName {
            return goName.contains(".") ? goName : "\(current?.goName.split(separator: ".").first ?? "v1").\(goName)"
        }
        switch type {
        case .string: return "string"
        case .bool: return "bool"
        case .int32: return "int32"
        case .int64: return "int64"
        case .double: return "float64"
        case .bytes: return "[]uint8"
        case .time: return "v1.Time"
        case .microTime: return "v1.MicroTime"
        case .duration: return "v1.Duration"
        case .quantity: return "resource.Quantity"
        case .intOrString: return "intstr.IntOrString"
        case .rawExtension: return "runtime.RawExtension"
        case .fieldsV1: return "v1.FieldsV1"
        case .any, .schemaOrBool, .schemaOrArray, .schemaOrStrings: return "v1.JSON"
        case .named(let id), .object(let id): return schema.type(id).goName
        case .array(let element): return "[]" + shownName(element, nil)
        case .map(let element): return "map[string]" + shownName(element, nil)
        }
    }

    private func dottedPath() -> String {
        var out = ""
        for step in path {
            switch step {
            case .field(let key), .key(let key): out += out.isEmpty ? key : "." + key
            case .index(let index): out += "[\(index)]"
            }
        }
        return out
    }
}

extension JSON {
    /// What Go's decoder calls the value.
    var goKind: String {
        switch self {
        case .null: "null"
        case .bool: "bool"
        case .int, .double: "number"
        case .string: "string"
        case .array: "array"
        case .object: "object"
        }
    }

    /// What `omitempty` drops where the field is no pointer and no struct.
    var isGoZero: Bool {
        switch self {
        case .null: true
        case .bool(let b): !b
        case .int(let i): i == 0
        case .double(let d): d == 0
        case .string(let s): s.isEmpty
        case .array(let list): list.isEmpty
        case .object(let object): object.isEmpty
        }
    }
}

/// A struct's values by field, while they are being set.
struct FieldSlots {
    let type: TypeSchema
    var values: [JSON?]

    init(type: TypeSchema) {
        self.type = type
        values = [JSON?](repeating: nil, count: type.fields.count)
    }

    /// `.null` where a field is unset or the type has no such field.
    subscript(_ name: String) -> JSON {
        get { type.index(of: name).flatMap { values[$0] } ?? .null }
        set {
            guard let i = type.index(of: name) else { return }
            if case .null = newValue { values[i] = .none } else { values[i] = newValue }
        }
    }

    /// Whether a field has no value: absent, null, or zero if it is no pointer.
    func isUnset(_ name: String) -> Bool {
        guard let i = type.index(of: name) else { return false }
        guard let present = values[i], !present.isNull else { return true }
        return !type.fields[i].isPointer && present.isGoZero
    }

    mutating func setDefault(_ name: String, _ value: JSON) {
        if isUnset(name) { self[name] = value }
    }

    /// The members in the schema's order, without those that Go omits.
    func object() -> JSONObject {
        var count = 0
        for value in values where value != nil { count += 1 }
        var object = JSONObject()
        object.reserveCapacity(count)
        for i in values.indices {
            guard let value = values[i] else { continue }
            let field = type.fields[i]
            if field.flags.contains(.omitEmpty), !field.isPointer, !field.type.isStruct, value.isGoZero { continue }
            object.append(field.name, value)
        }
        return object
    }
}
