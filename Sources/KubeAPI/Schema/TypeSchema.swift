package import Codecs

/// The number of a type in its schema.
package struct TypeID: Sendable, Hashable {
    package let rawValue: UInt16
}

/// What a field holds.
package indirect enum ValueType: Sendable, Equatable {
    case string, bool, int32, int64, double
    /// base64 in JSON
    case bytes
    /// metav1.Time, RFC 3339 in seconds; metav1.MicroTime with six digits; metav1.Duration ("1h30m")
    case time, microTime, duration
    case quantity, intOrString
    /// any object (runtime.RawExtension), managed fields, any value at all
    case rawExtension, fieldsV1, any
    /// JSONSchemaProps or a boolean, a list of them, a list of strings
    case schemaOrBool, schemaOrArray, schemaOrStrings
    /// A named string type, perhaps an enumeration.
    case named(TypeID)
    case object(TypeID)
    case array(ValueType)
    /// string keys
    case map(ValueType)
}

/// One field of a type, as JSON has it.
package struct FieldSchema: Sendable {
    package struct Flags: OptionSet, Sendable {
        package let rawValue: UInt16
        package init(rawValue: UInt16) { self.rawValue = rawValue }
        /// Must be given (OpenAPI's `required`).
        package static let required = Flags(rawValue: 1)
        package static let omitEmpty = Flags(rawValue: 2)
        package static let omitZero = Flags(rawValue: 4)
        /// A Go pointer: being unset differs from being zero.
        package static let pointer = Flags(rawValue: 8)
        package static let atomicList = Flags(rawValue: 16)
        package static let setList = Flags(rawValue: 32)
        package static let mapList = Flags(rawValue: 64)
        package static let atomicMap = Flags(rawValue: 128)
        package static let patchMerge = Flags(rawValue: 256)
        package static let patchRetainKeys = Flags(rawValue: 512)
        package static let patchReplace = Flags(rawValue: 1024)
    }

    /// What few fields have.
    package final class Extras: Sendable {
        package let listMapKeys: [String]
        package let mergeKey: String?
        /// The Go name of a list, map or string type with a name of its own: "ResourceList", "types.UID".
        package let goName: String?
        package let defaultValue: JSON?

        init(listMapKeys: [String], mergeKey: String?, goName: String?, defaultValue: JSON?) {
            (self.listMapKeys, self.mergeKey, self.goName) = (listMapKeys, mergeKey, goName)
            self.defaultValue = defaultValue
        }
    }

    package let name: String
    package let type: ValueType
    /// Protobuf: the field's number, and the number of the message that holds it where JSON has it inlined (0: none; the
    /// upper byte has that of a message in this message).
    package let number: UInt16
    package let wrapper: UInt16
    package let flags: Flags
    package let extras: Extras?

    package var listMapKeys: [String] { extras?.listMapKeys ?? [] }
    package var mergeKey: String? { extras?.mergeKey }
    package var defaultValue: JSON? { extras?.defaultValue }
    package var isPointer: Bool { flags.contains(.pointer) }
    package var isRequired: Bool { flags.contains(.required) }

    /// Whether Go writes the field even where it is unset: no `omitempty`, or a struct, which `omitempty` does not drop.
    var isAlwaysWritten: Bool {
        if flags.contains(.omitZero) { return false }
        return !flags.contains(.omitEmpty) || (!isPointer && type.isStruct)
    }
}

extension ValueType {
    /// What is a struct in Go, so that `omitempty` has no effect on it.
    var isStruct: Bool {
        switch self {
        case .object, .time, .microTime, .duration, .quantity, .intOrString, .rawExtension, .schemaOrBool,
            .schemaOrArray,
            .schemaOrStrings:
            true
        default: false
        }
    }
}

/// A type of the API: its fields in the order in which they are written.
package final class TypeSchema: Sendable {
    package let id: TypeID
    /// "core/v1"
    package let package: String
    /// "Container"
    package let name: String
    package let fields: [FieldSchema]
    /// The values of an enumeration; empty for other types.
    package let enumValues: [String]
    /// A named string rather than a struct.
    package let isString: Bool
    /// Indexes of the fields that are written even when unset, and of those with a default.
    let alwaysWritten: [UInt8]
    let defaulted: [UInt8]
    /// Applied when the fields are known; see Defaults.swift.
    let defaulter: Defaulter?
    /// Open addressing over the fields' names; 255: free.
    private let slots: [UInt8]

    init(
        id: TypeID, package: String, name: String, fields: [FieldSchema], enumValues: [String] = [],
        isString: Bool = false, defaulter: Defaulter? = nil
    ) {
        (self.id, self.package, self.name) = (id, package, name)
        (self.fields, self.enumValues, self.isString) = (fields, enumValues, isString)
        self.defaulter = defaulter
        let indexes = fields.indices.prefix(254)
        alwaysWritten = indexes.filter { fields[$0].isAlwaysWritten }.map(UInt8.init)
        defaulted = indexes.filter { fields[$0].defaultValue != nil }.map(UInt8.init)
        var size = 4
        while size < fields.count * 2 { size *= 2 }
        var slots = [UInt8](repeating: 255, count: size)
        for i in indexes {
            var at = Self.hash(fields[i].name) & (size - 1)
            while slots[at] != 255 { at = (at + 1) & (size - 1) }
            slots[at] = UInt8(i)
        }
        self.slots = slots
    }

    /// "core/v1.Container"
    package var fullName: String { package + "." + name }
    /// As Go prints it: "v1.Container"
    package var goName: String { (package.split(separator: "/").last.map(String.init) ?? package) + "." + name }

    package func index(of key: String) -> Int? {
        let mask = slots.count - 1
        var at = Self.hash(key) & mask
        while slots[at] != 255 {
            let i = Int(slots[at])
            if fields[i].name == key { return i }
            at = (at + 1) & mask
        }
        return nil
    }

    package func field(_ key: String) -> FieldSchema? { index(of: key).map { fields[$0] } }

    private static func hash(_ key: String) -> Int {
        var key = key
        return key.withUTF8 { bytes in
            var h: UInt32 = 2_166_136_261
            for byte in bytes { h = (h ^ UInt32(byte)) &* 16_777_619 }
            return Int(truncatingIfNeeded: (h ^ h >> 15) & 0x7FFF_FFFF)
        }
    }

    /// Puts a member where the schema's order has it (replacing one of the same name).
    package func set(_ key: String, to value: JSON, in object: inout JSONObject) {
        if object.index(of: key) != nil {
            object[key] = value
            return
        }
        guard let mine = index(of: key) else {
            object.append(key, value)
            return
        }
        var members = object.members
        let at = members.firstIndex { index(of: $0.key).map { $0 > mine } ?? true } ?? members.count
        members.insert((key, value), at: at)
        object = JSONObject(members: members)
    }
}
