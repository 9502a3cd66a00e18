internal import Codecs

/// What a configuration must be like to be applied: fields that exist, of their kind, each element of a list once.
extension FieldWalk {
    private static let maximumProblems = 20

    /// The problems, in structured-merge-diff's words.
    func problems(in value: JSON, _ shape: FieldShape) -> [String] {
        var found: [String] = []
        check(value, shape, "", &found)
        return found
    }

    private func check(_ value: JSON, _ shape: FieldShape, _ path: String, _ found: inout [String]) {
        guard found.count < Self.maximumProblems else { return }
        switch (shape.form, value) {
        case (_, .null): return
        case (.object(let id), .object(let object)):
            let type = schema.type(id)
            for (key, member) in object {
                guard let field = type.field(key) else {
                    found.append("\(path).\(key): field not declared in schema")
                    continue
                }
                checkKind(member, field.type, FieldShape(field), "\(path).\(key)", &found)
            }
        case (.map(let type), .object(let object)):
            for (key, member) in object {
                checkKind(member, type, FieldShape(element: type), "\(path).\(key)", &found)
            }
        case (.keyedList(let keys, let type), .array(let list)):
            checkElements(list, shape, path, &found) { item in
                guard case .object = item else { return "associative list with keys has non-map element" }
                return "associative list with keys has an element that omits key field \"\(keys.first ?? "")\" "
                    + "(and doesn't have default value)"
            }
            for item in list {
                let step = shape.step(to: item, schema)?.shown ?? ""
                checkKind(item, type, FieldShape(element: type), path + step, &found)
            }
        case (.setList(let type), .array(let list)):
            checkElements(list, shape, path, &found) { _ in "" }
            for item in list {
                checkKind(item, type, FieldShape(element: type), path + PathElement.value(item).shown, &found)
            }
        default: return
        }
    }

    private func checkElements(
        _ list: [JSON], _ shape: FieldShape, _ path: String, _ found: inout [String], _ why: (JSON) -> String
    ) {
        var seen: Set<PathElement> = []
        for (i, item) in list.enumerated() {
            guard let element = shape.step(to: item, schema) else {
                found.append("\(path): element \(i): \(why(item))")
                continue
            }
            if !seen.insert(element).inserted { found.append("\(path): duplicate entries for key \(element.shown)") }
        }
    }

    private func checkKind(
        _ value: JSON, _ type: ValueType, _ shape: FieldShape, _ path: String, _ found: inout [String]
    ) {
        let expected: String?
        switch (type, value) {
        case (_, .null), (.object, .object), (.map, .object), (.array, .array): expected = nil
        case (.object, _), (.map, _): expected = "map"
        case (.array, _): expected = "list"
        case (.string, .string), (.named, .string), (.bytes, .string): expected = nil
        case (.string, _), (.named, _), (.bytes, _): expected = "string"
        case (.bool, .bool): expected = nil
        case (.bool, _): expected = "boolean"
        case (.int32, .int), (.int64, .int), (.int32, .double), (.int64, .double): expected = nil
        case (.int32, _), (.int64, _): expected = "numeric (int or float)"
        default: expected = nil
        }
        if let expected {
            found.append("\(path): expected \(expected), got \(Self.goValue(value))")
            return
        }
        // What is owned as a whole is looked into all the same.
        var inner = shape
        if case .leaf = shape.form {
            switch type {
            case .object(let id): inner = FieldShape(.object(id))
            case .map(let element): inner = FieldShape(.map(element))
            case .array(let element):
                if case .array(let list) = value {
                    for (i, item) in list.enumerated() {
                        checkKind(item, element, FieldShape(element: element), "\(path)[\(i)]", &found)
                    }
                }
                return
            default: return
            }
        }
        check(value, inner, path, &found)
    }

    private static func goValue(_ value: JSON) -> String {
        let shown: String
        switch value {
        case .string(let text): shown = JSON.string(text).text
        case .object: shown = value.goText
        case .array: shown = value.goText
        default: shown = value.text
        }
        return "&value.valueUnstructured{Value:\(shown)}"
    }
}
