import Codecs

/// Messages as people and other programs see them: the JSON mapping of protocol buffers, with every field that is not a
/// message or is set, 64-bit numbers as strings and enumerations by name. What the table does not say of its numbers is
/// said here.
///
/// Source: protobuf.dev/programming-guides/json; protojson of Go with EmitDefaultValues.
package struct ProtobufJSON: Sendable {
    package let table: ProtobufTable
    /// Names of the values from 0 on, by "Message.field".
    private var enumerations: [String: [String]] = [:]
    /// "Message.field" of numbers with 32 bits.
    private let narrow: Set<String>
    private let names: [Int: String]

    /// - Parameters:
    ///   - enumerations: an enumeration a line: "Message.field,Message.field NAME NAME ..."
    ///   - narrow: separated by spaces.
    package init(_ table: ProtobufTable, enumerations: String, narrow: String) {
        self.table = table
        self.narrow = Set(narrow.split(separator: " ").map(String.init))
        names = Dictionary(uniqueKeysWithValues: table.numbers.map { ($0.value, $0.key) })
        for line in enumerations.split(separator: "\n") {
            let words = line.split(separator: " ").map(String.init)
            for field in (words.first ?? "").split(separator: ",") {
                self.enumerations[String(field)] = Array(words.dropFirst())
            }
        }
    }

    package func encode(_ message: String, _ value: JSON) -> JSON {
        table.numbers[message].map { encode($0, value) } ?? .null
    }

    private func encode(_ message: Int, _ value: JSON) -> JSON {
        var object = JSONObject()
        for field in table.messages[message] {
            let member = value[field.name]
            let name = Self.name(field.name)
            if field.kind == .map {
                object.append(name, .map(member.stringMap))
            } else if field.repeated {
                object.append(name, .array(member.elements.map { scalar($0, field, message) }))
            } else if case .message = field.kind {
                if member.object != nil { object.append(name, scalar(member, field, message)) }
            } else {
                object.append(name, scalar(member, field, message))
            }
        }
        return .object(object)
    }

    private func scalar(_ value: JSON, _ field: ProtobufTable.Field, _ message: Int) -> JSON {
        switch field.kind {
        case .message(let inner): return encode(inner, value)
        case .string, .bytes, .map: return .string(value.string ?? "")
        case .bool: return .bool(value.bool ?? false)
        case .double: return .double(value.double ?? 0)
        case .int, .uint:
            let number = value.int ?? 0
            let place = (names[message] ?? "") + "." + field.name
            if let names = enumerations[place] {
                return Int(exactly: number).flatMap { names.indices.contains($0) ? .string(names[$0]) : nil }
                    ?? .int(number)
            }
            return narrow.contains(place) ? .int(number) : .string(String(number))
        }
    }

    /// "log_path" is logPath, "CDI_devices" CDIDevices.
    package static func name(_ field: String) -> String {
        var result = ""
        var isNext = false
        for character in field {
            if character == "_" {
                isNext = true
            } else {
                result += isNext ? character.uppercased() : String(character)
                isNext = false
            }
        }
        return result
    }
}

extension ProtobufTable {
    /// The members of a document that the message has, by the table's names whatever their case: as Go reads JSON.
    package func known(_ message: String, _ value: JSON) -> JSON {
        numbers[message].map { known($0, value) } ?? .null
    }

    private func known(_ message: Int, _ value: JSON) -> JSON {
        guard let given = value.object else { return value }
        var object = JSONObject()
        for field in messages[message] {
            let wanted = field.name.lowercased()
            guard
                let member = given[field.name] ?? given.members.first(where: { $0.key.lowercased() == wanted })?.value
            else { continue }
            guard case .message(let inner) = field.kind else {
                object.append(field.name, member)
                continue
            }
            object.append(
                field.name, field.repeated ? .array(member.elements.map { known(inner, $0) }) : known(inner, member))
        }
        return .object(object)
    }
}
