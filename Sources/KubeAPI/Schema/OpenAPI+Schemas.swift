internal import Codecs

/// Types as OpenAPI schemas.
struct OpenAPISchemaWriter: Sendable {
    let schema: Schema
    let isV3: Bool

    private static let meta = "io.k8s.apimachinery.pkg.apis.meta.v1."

    /// Types that are not structs in JSON: name, schema of OpenAPI 3, schema of OpenAPI 2.
    static let specials: [(String, JSON, JSON)] = [
        (meta + "Time", ["type": "string", "format": "date-time"], ["type": "string", "format": "date-time"]),
        (meta + "MicroTime", ["type": "string", "format": "date-time"], ["type": "string", "format": "date-time"]),
        (meta + "Duration", ["type": "string"], ["type": "string"]),
        (meta + "FieldsV1", ["type": "object"], ["type": "object"]),
        (meta + "Patch", ["type": "object"], ["type": "object"]),
        (
            "io.k8s.apimachinery.pkg.api.resource.Quantity", ["oneOf": [["type": "string"], ["type": "number"]]],
            ["type": "string"]
        ),
        (
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
            ["format": "int-or-string", "oneOf": [["type": "integer"], ["type": "string"]]],
            ["type": "string", "format": "int-or-string"]
        ),
        ("io.k8s.apimachinery.pkg.runtime.RawExtension", ["type": "object"], ["type": "object"]),
    ]

    /// "io.k8s.api.core.v1.Container"
    func modelName(_ id: TypeID) -> String {
        let type = schema.type(id)
        return (schema.package(named: type.package)?.model ?? type.package) + "." + type.name
    }

    func reference(_ name: String) -> JSON {
        ["$ref": .string((isV3 ? "#/components/schemas/" : "#/definitions/") + name)]
    }

    /// The model of a kind, built in or custom.
    func reference(kind gvk: GroupVersionKind) -> JSON {
        if let type = schema.kind(gvk) { return reference(modelName(type.id)) }
        return reference(Self.customName(gvk.groupVersion, gvk.kind))
    }

    func definition(_ id: TypeID, _ kinds: OpenAPIKinds) -> JSON {
        let type = schema.type(id)
        var result = JSONObject()
        if let text = Descriptions.text(type.fullName) { result.append("description", .string(text)) }
        result.append("type", "object")
        let required = type.fields.filter(\.isRequired).map(\.name)
        if !required.isEmpty { result.append("required", .strings(required.sorted())) }
        var properties = JSONObject()
        for field in type.fields { properties.append(field.name, property(field, of: type)) }
        if !properties.isEmpty { result.append("properties", .object(properties)) }
        let gvks = kinds.of(type)
        if !gvks.isEmpty { result.append("x-kubernetes-group-version-kind", .array(gvks)) }
        return .object(result)
    }

    private func property(_ field: FieldSchema, of type: TypeSchema) -> JSON {
        var result = JSONObject()
        let text =
            Descriptions.text("\(type.fullName)#\(field.name)")
            ?? (type.package == "meta/v1" ? nil : Descriptions.common(field.name))
        if let text { result.append("description", .string(text)) }
        let value = shape(field.type)
        // A reference may not have neighbours in OpenAPI 3.0, hence allOf.
        if value["$ref"].isNull {
            for (key, member) in value.object ?? [:] { result.append(key, member) }
        } else if isV3 {
            result.append("allOf", [value])
        } else {
            result.append("$ref", value["$ref"])
        }
        // The empty string is the default of some enumerations without being one of their values.
        if let value = field.defaultValue, value != "" || result["enum"] == nil {
            result.append("default", value)
        }
        if case .array = field.type {
            let kind =
                field.flags.contains(.mapList)
                ? "map" : field.flags.contains(.setList) ? "set" : field.flags.contains(.atomicList) ? "atomic" : ""
            if !kind.isEmpty { result.append("x-kubernetes-list-type", .string(kind)) }
            if !field.listMapKeys.isEmpty { result.append("x-kubernetes-list-map-keys", .strings(field.listMapKeys)) }
        } else if field.flags.contains(.atomicMap) {
            result.append("x-kubernetes-map-type", "atomic")
        }
        if let key = field.mergeKey { result.append("x-kubernetes-patch-merge-key", .string(key)) }
        var strategy: [String] = []
        if field.flags.contains(.patchMerge) { strategy.append("merge") }
        if field.flags.contains(.patchRetainKeys) { strategy.append("retainKeys") }
        if field.flags.contains(.patchReplace) { strategy.append("replace") }
        if !strategy.isEmpty { result.append("x-kubernetes-patch-strategy", .string(strategy.joined(separator: ","))) }
        return .object(result)
    }

    private func shape(_ type: ValueType) -> JSON {
        switch type {
        case .string: return ["type": "string"]
        case .bool: return ["type": "boolean"]
        case .int32: return ["type": "integer", "format": "int32"]
        case .int64: return ["type": "integer", "format": "int64"]
        case .double: return ["type": "number", "format": "double"]
        case .bytes: return ["type": "string", "format": "byte"]
        case .time: return reference(Self.meta + "Time")
        case .microTime: return reference(Self.meta + "MicroTime")
        case .duration: return reference(Self.meta + "Duration")
        case .fieldsV1: return reference(Self.meta + "FieldsV1")
        case .quantity: return reference("io.k8s.apimachinery.pkg.api.resource.Quantity")
        case .intOrString: return reference("io.k8s.apimachinery.pkg.util.intstr.IntOrString")
        case .rawExtension: return reference("io.k8s.apimachinery.pkg.runtime.RawExtension")
        case .any, .schemaOrBool, .schemaOrArray, .schemaOrStrings: return [:]
        case .object(let id): return reference(modelName(id))
        case .array(let element): return ["type": "array", "items": shape(element)]
        case .map(let element): return ["type": "object", "additionalProperties": shape(element)]
        case .named(let id):
            let values = schema.type(id).enumValues
            return values.isEmpty ? ["type": "string"] : ["type": "string", "enum": .strings(values)]
        }
    }

    // MARK: - Custom resources

    /// "com.example.v1.Widget"
    static func customName(_ gv: GroupVersion, _ kind: String) -> String {
        (gv.group.split(separator: ".").reversed().map(String.init) + [gv.version, kind]).joined(separator: ".")
    }

    /// The kind and its list, encoded.
    func custom(_ row: ResourceInfo) -> [(String, [UInt8])] {
        let name = Self.customName(row.gvr.groupVersion, row.kind)
        let gvk = OpenAPIKinds.json(row.gvk)
        let open: JSON = [
            "type": "object", "x-kubernetes-preserve-unknown-fields": true, "x-kubernetes-group-version-kind": [gvk],
        ]
        let list: JSON = [
            "type": "object", "required": ["items"],
            "properties": [
                "apiVersion": ["type": "string"], "kind": ["type": "string"],
                "metadata": reference(Self.meta + "ListMeta"),
                "items": ["type": "array", "items": reference(name)],
            ],
            "x-kubernetes-group-version-kind": [OpenAPIKinds.json(.init(row.gvr.groupVersion, row.listKind))],
        ]
        return [(name, row.openAPISchema ?? open.encode()), (name + "List", list.encode())]
    }
}

/// Which kinds a type is known as.
struct OpenAPIKinds: Sendable {
    let schema: Schema

    func of(_ type: TypeSchema) -> [JSON] {
        guard type.fields.first?.name == "kind", type.fields.count > 1, type.fields[1].name == "apiVersion",
            let package = schema.package(named: type.package)
        else { return [] }
        guard type.package == "meta/v1" else {
            return [Self.json(.init(package.group, package.version, type.name))]
        }
        // Served in every group version.
        guard type.name == "DeleteOptions" || type.name == "WatchEvent" else {
            return [Self.json(.init("", "v1", type.name))]
        }
        return Discovery(schema).groupVersions.map { Self.json(.init($0, type.name)) }
    }

    static func json(_ gvk: GroupVersionKind) -> JSON {
        ["group": .string(gvk.group), "kind": .string(gvk.kind), "version": .string(gvk.version)]
    }
}

/// What `kubectl explain` says about types and fields, in our own words (hack/gen-schema/descriptions.tsv).
enum Descriptions {
    private static let lines: [Range<Int32>] = SchemaTable.descriptions.bytes.lineRanges()

    /// - Parameter key: "core/v1.Pod" or "core/v1.Pod#spec"
    static func text(_ key: String) -> String? {
        let bytes = SchemaTable.descriptions.bytes
        var key = key
        return key.withUTF8 { wanted in
            var low = 0
            var high = lines.count
            while low < high {
                let middle = (low + high) / 2
                let line = lines[middle]
                let content = UnsafeBufferPointer(rebasing: bytes[Int(line.lowerBound)..<Int(line.upperBound)])
                let name = content.prefix { $0 != UInt8(ascii: "\t") }
                if name.elementsEqual(wanted) { return content.text(name.count + 1..<content.count) }
                if name.lexicographicallyPrecedes(wanted) { low = middle + 1 } else { high = middle }
            }
            return nil
        }
    }

    /// The fields that every kind has.
    static func common(_ field: String) -> String? {
        switch field {
        case "apiVersion": "The API group and version that the object is written in."
        case "kind": "The kind of the object."
        case "metadata": "Name, namespace, labels, annotations and what else every object has."
        case "spec": "What is wanted."
        case "status": "What was last observed; set by the system."
        default: nil
        }
    }
}
