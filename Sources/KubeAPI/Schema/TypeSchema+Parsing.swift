internal import Codecs

/// Reads lines of the schema table, without making strings of what is only looked at. The table is part of the program, so
/// that a mistake in it is a bug: it traps, and a test reads all of it.
struct TypeLineParser {
    typealias Bytes = Slice<UnsafeBufferPointer<UInt8>>

    let schema: Schema
    let package: String
    let text: UnsafeBufferPointer<UInt8>

    func parse(_ range: Range<Int>, id: TypeID) -> TypeSchema {
        let line = text[range]
        let name = string(line.prefix { $0 != UInt8(ascii: " ") })
        let rest = line.dropFirst(name.utf8.count + 1)
        if rest.first == UInt8(ascii: "=") {
            let values = rest.dropFirst().split(separator: UInt8(ascii: ",")).map(string)
            return TypeSchema(id: id, package: package, name: name, fields: [], enumValues: values, isString: true)
        }
        var fields: [FieldSchema] = []
        for token in rest.split(separator: UInt8(ascii: " ")) {
            let field = parseField(token)
            guard field.name == "^" else {
                fields.append(field)
                continue
            }
            guard case .object(let inlined) = field.type else {
                preconditionFailure("\(package).\(name) inlines a scalar")
            }
            for inner in schema.type(inlined).fields {
                fields.append(
                    FieldSchema(
                        name: inner.name, type: inner.type, number: inner.number,
                        wrapper: field.number | inner.wrapper << 8,
                        flags: inner.flags, extras: inner.extras))
            }
        }
        return TypeSchema(
            id: id, package: package, name: name, fields: fields, defaulter: Defaulters.function(for: package, name))
    }

    private func string(_ bytes: Bytes) -> String {
        String(decoding: UnsafeBufferPointer(rebasing: bytes), as: UTF8.self)
    }

    private func number(_ bytes: Bytes) -> UInt16 { bytes.reduce(0) { $0 * 10 + UInt16($1 - UInt8(ascii: "0")) } }

    private func parseField(_ token: Bytes) -> FieldSchema {
        let parts = token.split(separator: UInt8(ascii: ":"), maxSplits: 4, omittingEmptySubsequences: false)
        precondition(parts.count >= 4, "field of the schema table: \(string(token))")
        var flags: FieldSchema.Flags = []
        for letter in parts[3] {
            switch letter {
            case UInt8(ascii: "r"): flags.insert(.required)
            case UInt8(ascii: "o"): flags.insert(.omitEmpty)
            case UInt8(ascii: "z"): flags.insert(.omitZero)
            case UInt8(ascii: "p"): flags.insert(.pointer)
            case UInt8(ascii: "A"): flags.insert(.atomicList)
            case UInt8(ascii: "S"): flags.insert(.setList)
            case UInt8(ascii: "M"): flags.insert(.mapList)
            case UInt8(ascii: "X"): flags.insert(.atomicMap)
            case UInt8(ascii: "+"): flags.insert(.patchMerge)
            case UInt8(ascii: "R"): flags.insert(.patchRetainKeys)
            case UInt8(ascii: "!"): flags.insert(.patchReplace)
            default: preconditionFailure("flag of the schema table: \(string(token))")
            }
        }
        return FieldSchema(
            name: string(parts[0]), type: parseType(parts[1]), number: number(parts[2]), wrapper: 0, flags: flags,
            extras: parts.count > 4 ? parseExtras(parts[4]) : nil)
    }

    private func parseExtras(_ bytes: Bytes) -> FieldSchema.Extras {
        var keys: [String] = []
        var mergeKey: String?
        var goName: String?
        var value: JSON?
        for part in bytes.split(separator: UInt8(ascii: ";")) {
            let content = part.dropFirst(2)
            switch part.first {
            case UInt8(ascii: "k"): keys = content.split(separator: UInt8(ascii: ",")).map(string)
            case UInt8(ascii: "g"): mergeKey = string(content)
            case UInt8(ascii: "n"): goName = string(content)
            case UInt8(ascii: "d"):
                value = try? JSON.parse(Array(content))
                precondition(value != nil, "default of the schema table: \(string(bytes))")
            default: preconditionFailure("extra of the schema table: \(string(bytes))")
            }
        }
        return FieldSchema.Extras(listMapKeys: keys, mergeKey: mergeKey, goName: goName, defaultValue: value)
    }

    private func parseType(_ code: Bytes) -> ValueType {
        switch code.first {
        case UInt8(ascii: "["): return .array(parseType(code.dropFirst()))
        case UInt8(ascii: "{"): return .map(parseType(code.dropFirst()))
        case UInt8(ascii: "="): return .named(reference(code.dropFirst()))
        default: break
        }
        guard code.count == 1, let letter = code.first else { return .object(reference(code)) }
        switch letter {
        case UInt8(ascii: "s"): return .string
        case UInt8(ascii: "b"): return .bool
        case UInt8(ascii: "i"): return .int32
        case UInt8(ascii: "l"): return .int64
        case UInt8(ascii: "f"): return .double
        case UInt8(ascii: "y"): return .bytes
        case UInt8(ascii: "t"): return .time
        case UInt8(ascii: "m"): return .microTime
        case UInt8(ascii: "d"): return .duration
        case UInt8(ascii: "q"): return .quantity
        case UInt8(ascii: "x"): return .intOrString
        case UInt8(ascii: "r"): return .rawExtension
        case UInt8(ascii: "v"): return .fieldsV1
        case UInt8(ascii: "j"): return .any
        case UInt8(ascii: "B"): return .schemaOrBool
        case UInt8(ascii: "A"): return .schemaOrArray
        case UInt8(ascii: "G"): return .schemaOrStrings
        default: preconditionFailure("type of the schema table: \(string(code))")
        }
    }

    private func reference(_ name: Bytes) -> TypeID {
        let full = name.contains(UInt8(ascii: "/")) ? string(name) : package + "." + string(name)
        guard let id = schema.id(named: full) else { preconditionFailure("the schema table has no type \(full)") }
        return id
    }
}
