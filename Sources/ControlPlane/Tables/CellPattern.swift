internal import Codecs
internal import KubeAPI

/// A row of cells that are fields as they stand, for the many kinds whose rows are nothing else:
/// "name", "age", "text:PATH", "text:PATH:ABSENT", "int:PATH", "bool:PATH", "count:PATH" (of a list).
struct CellPattern: Sendable {
    private enum Cell: Sendable {
        case name, age
        case text([String], absent: String)
        case int([String])
        case bool([String], absent: JSON)
        case count([String])
    }
    private let cells: [Cell]

    init(_ patterns: [String]) {
        cells = patterns.map { pattern in
            let parts = pattern.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
            let path = parts.count > 1 ? parts[1].split(separator: ".").map(String.init) : []
            switch parts[0] {
            case "name": return .name
            case "age": return .age
            case "int": return .int(path)
            case "bool": return .bool(path, absent: parts.count > 2 ? .string(parts[2]) : false)
            case "count": return .count(path)
            default: return .text(path, absent: parts.count > 2 ? parts[2] : "")
            }
        }
    }

    func row(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        cells.map { cell in
            func value(_ path: [String]) -> JSON { path.reduce(object.json) { $0[$1] } }
            switch cell {
            case .name: return .string(object.name)
            case .age: return .string(object.age(now))
            case .text(let path, let absent):
                let value = value(path)
                let text = value.string ?? (value.isNull ? "" : value.text)
                return .string(text.isEmpty ? absent : text)
            case .int(let path): return .int(value(path).int ?? 0)
            case .bool(let path, let absent): return value(path).isNull ? absent : .bool(value(path).bool ?? false)
            case .count(let path): return .int(Int64(value(path).elements.count))
            }
        }
    }
}

extension TableCells {
    init(_ patterns: String...) {
        let pattern = CellPattern(patterns)
        self.init { pattern.row($0, $1) }
    }
}
