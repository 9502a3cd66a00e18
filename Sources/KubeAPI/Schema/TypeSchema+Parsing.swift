internal import Codecs

/// Reads lines of the schema table. The table is part of the program, so that a mistake in it is a bug: it traps, and a
/// test reads all of it.
struct TypeLineParser {
    let schema: Schema
    let package: String
    let text: UnsafeBufferPointer<UInt8>

    func parse(_ range: Range<Int>, id: TypeID) -> TypeSchema {
        let line = text.text(range)
        let parts = line.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false)
        let name = String(parts[0])
        let rest = parts.count > 1 ? parts[1] : ""
        if rest.first == "=" {
            let values = rest.dropFirst().split(separator: ",").map(String.init)
            return TypeSchema(id: id, package: package, name: name, fields: [], enumValues: values, isString: true)
        }
        var fields: [FieldSchema] = []
        for token in rest.split(separator: " ") {
            let field = parseField(token)
            guard field.name == "^" else {
                fields.append(field)
                continue
            }
            guard case .object(let inlined) = field.type else { preconditionFailure("\(package).\(name) inlines a scalar") }
            for inner in schema.type(inlined).fields {
                fields.append(
                    FieldSchema(
                        name: inner.name, type: inner.type, number: inner.number, wrapper: field.number,
                        flags: inner.flags, extras: inner.extras))
            }
        }
        return TypeSchema(
            id: id, package: package, name: name, fields: fields, defaulter: Defaulters.function(for: package, name))
    }

    private func parseField(_ token: Substring) -> FieldSchema {
        let parts = token.split(separator: ":", maxSplits: 4, omittingEmptySubsequences: false)
        precondition(parts.count >= 4, "field of the schema table: \(token)")
        var flags: FieldSchema.Flags = []
        for letter in parts[3].utf8 {
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
            default: preconditionFailure("flag of the schema table: \(token)")
            }
        }
        return FieldSchema(
            name: String(parts[0]), type: parseType(parts[1]), number: UInt16(parts[2]) ?? 0, wrapper: 0, flags: flags,
            extras: parts.count > 4 ? parseExtras(parts[4]) : nil)
    }

    private func parseExtras(_ text: Substring) -> FieldSchema.Extras {
        var keys: [String] = []
        var mergeKey: String?
        var goName: String?
        var value: JSON?
        for part in text.split(separator: ";") {
            let content = part.dropFirst(2)
            switch part.first {
            case "k": keys = content.split(separator: ",").map(String.init)
            case "g": mergeKey = String(content)
            case "n": goName = String(content)
            case "d": value = try? JSON.parse(String(content))
            default: preconditionFailure("extra of the schema table: \(text)")
            }
        }
        return FieldSchema.Extras(listMapKeys: keys, mergeKey: mergeKey, goName: goName, defaultValue: value)
    }

    private func parseType(_ code: Substring) -> ValueType {
        switch code.first {
        case "[": return .array(parseType(code.dropFirst()))
        case "{": return .map(parseType(code.dropFirst()))
        case "=": return .named(reference(code.dropFirst()))
        default: break
        }
        guard code.utf8.count == 1 else { return .object(reference(code)) }
        switch code {
        case "s": return .string
        case "b": return .bool
        case "i": return .int32
        case "l": return .int64
        case "f": return .double
        case "y": return .bytes
        case "t": return .time
        case "m": return .microTime
        case "d": return .duration
        case "q": return .quantity
        case "x": return .intOrString
        case "r": return .rawExtension
        case "v": return .fieldsV1
        case "j": return .any
        case "B": return .schemaOrBool
        case "A": return .schemaOrArray
        case "G": return .schemaOrStrings
        default: preconditionFailure("type of the schema table: \(code)")
        }
    }

    private func reference(_ name: Substring) -> TypeID {
        let full = name.utf8.contains(UInt8(ascii: "/")) ? String(name) : package + "." + name
        guard let id = schema.id(named: full) else { preconditionFailure("the schema table has no type \(full)") }
        return id
    }
}
