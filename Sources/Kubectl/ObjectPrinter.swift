import Codecs
import KubeAPI
import Linux

/// The forms of `-o` that show whole objects.
final class ObjectPrinter {
    enum Form {
        case json, yaml, name
        case path(JSONPath, String)
        case pathJSON(JSONPath)
        case columns([(title: String, path: JSONPath)], headers: Bool)
    }

    let form: Form
    private let showsManagedFields: Bool
    private var printed = 0
    private var rows: [[String]] = []

    init(_ options: Options) throws {
        form = try Self.form(options)
        showsManagedFields = options.bool("show-managed-fields")
    }

    /// Whether `-o` says something that the server's tables cannot show.
    static func isWanted(_ output: String) -> Bool { !output.isEmpty && output != "wide" }

    private static let allowed =
        "custom-columns,custom-columns-file,go-template,go-template-file,json,jsonpath,jsonpath-as-json,jsonpath-file,kyaml,name,template,templatefile,wide,yaml"

    private static func form(_ options: Options) throws -> Form {
        let output = options.given("output") ?? ""
        let parts = output.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let name = parts.first ?? ""
        func argument() throws -> String {
            if parts.count == 2, !parts[1].isEmpty { return parts[1] }
            if let template = options.given("template"), !template.isEmpty { return template }
            throw CommandError("template format specified but no template given")
        }
        func file(_ path: String) throws -> String {
            do throws(SysError) { return try Files.readString(path, limit: 1 << 20) } catch {
                throw CommandError("error reading --template \(path), open \(path): \(SysError.text(error.code))\n")
            }
        }
        switch name {
        case "json": return .json
        case "yaml": return .yaml
        case "name": return .name
        case "jsonpath": return .path(try JSONPath(try argument()), try argument())
        case "jsonpath-file": return .path(try JSONPath(try file(try argument()).trimmed), try argument())
        case "jsonpath-as-json": return .pathJSON(try JSONPath(try argument()))
        case "custom-columns":
            guard parts.count == 2, !parts[1].isEmpty else {
                throw CommandError("custom-columns format specified but no custom columns given")
            }
            return .columns(try columns(parts[1]), headers: !options.bool("no-headers"))
        case "custom-columns-file":
            let lines = try file(try argument()).split(separator: "\n").map { line in
                line.split { $0.isWhitespace }.map(String.init)
            }
            guard lines.count == 2, lines[0].count == lines[1].count else {
                throw CommandError(
                    "incorrect number of lines in the template: a line of headers and a line of paths are expected")
            }
            return .columns(
                try zip(lines[0], lines[1]).map { ($0, try JSONPath(relaxed: $1)) },
                headers: !options.bool("no-headers"))
        case "go-template", "go-template-file", "template", "templatefile", "kyaml":
            throw CommandError(
                "-o \(name) is not supported by this kubectl: use -o jsonpath=TEMPLATE or -o custom-columns=SPEC")
        default:
            throw CommandError(
                "unable to match a printer suitable for the output format \(GoText.quoted(output)), allowed formats are: \(allowed)"
            )
        }
    }

    private static func columns(_ spec: String) throws -> [(title: String, path: JSONPath)] {
        try spec.split(separator: ",", omittingEmptySubsequences: false).map { part in
            let pair = part.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard pair.count == 2 else {
                throw CommandError(
                    "unexpected custom-columns spec: \(part), expected <header>:<json-path-expr>")
            }
            return (pair[0], try JSONPath(relaxed: pair[1]))
        }
    }

    static func name(_ object: JSON) -> String {
        let api = object["apiVersion"].string ?? ""
        let kind = (object["kind"].string ?? "").lowercased()
        let group = api.utf8.contains(UInt8(ascii: "/")) ? "." + api.prefix { $0 != "/" } : ""
        return "\(kind)\(group)/\(object["metadata"]["name"].string ?? "")"
    }

    func shownObject(_ object: JSON) -> JSON {
        if showsManagedFields { return object }
        var object = object
        if !object["metadata"]["managedFields"].isNull { object["metadata"]["managedFields"] = .null }
        if case .array(let items) = object["items"] { object["items"] = .array(items.map(shownObject)) }
        return object
    }

    func print(_ given: JSON) throws {
        let object = shownObject(given)
        switch form {
        case .json: Terminal.out(Self.pretty(object.sorted, 0) + "\n")
        case .yaml:
            if printed > 0 { Terminal.out("---\n") }
            Terminal.write(YAML.encode(object), to: STDOUT_FILENO)
        case .name:
            if (object["kind"].string ?? "").hasSuffix("List"), case .array(let items) = object["items"] {
                for item in items { Terminal.line(Self.name(item)) }
            } else {
                Terminal.line(Self.name(object))
            }
        case .path(let path, let template):
            do { Terminal.out(try path.text(object)) } catch {
                throw CommandError(
                    "error executing jsonpath \(GoText.quoted(template)): Error executing template: \(error)")
            }
        case .pathJSON(let path): Terminal.out(Self.pretty(.array(try path.values(object)).sorted, 0) + "\n")
        case .columns(let columns, let headers):
            if headers, printed == 0 { rows.append(columns.map(\.title)) }
            let items = object["items"].array ?? [object]
            for item in items {
                rows.append(
                    try columns.map { column in
                        let found = try column.path.values(item).filter { !$0.isNull }
                        return found.isEmpty ? "<none>" : found.map(\.goText).joined(separator: ",")
                    })
            }
        }
        printed += 1
    }

    /// What waits for its columns' widths.
    func finish() {
        if !rows.isEmpty { Terminal.out(TabText.table(rows)) }
        rows = []
    }

    /// Indented by four spaces.
    static func pretty(_ value: JSON, _ depth: Int) -> String {
        let pad = String(repeating: "    ", count: depth + 1)
        let end = String(repeating: "    ", count: depth)
        switch value {
        case .array(let list) where !list.isEmpty:
            return "[\n" + list.map { pad + pretty($0, depth + 1) }.joined(separator: ",\n") + "\n\(end)]"
        case .object(let object) where !object.isEmpty:
            return "{\n"
                + object.members.map { pad + JSON.string($0.key).text + ": " + pretty($0.value, depth + 1) }.joined(
                    separator: ",\n") + "\n\(end)}"
        default: return value.text
        }
    }
}
