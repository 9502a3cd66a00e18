import Linux

/// A column of findmnt.
enum FindmntColumn: String, CaseIterable {
    case available = "AVAIL"
    case frequency = "FREQ"
    case root = "FSROOT"
    case type = "FSTYPE"
    case filesystemOptions = "FS-OPTIONS"
    case id = "ID"
    case label = "LABEL"
    case device = "MAJ:MIN"
    case options = "OPTIONS"
    case fields = "OPT-FIELDS"
    case parent = "PARENT"
    case partitionLabel = "PARTLABEL"
    case partitionUUID = "PARTUUID"
    case pass = "PASSNO"
    case propagation = "PROPAGATION"
    case size = "SIZE"
    case source = "SOURCE"
    case sources = "SOURCES"
    case target = "TARGET"
    case task = "TID"
    case used = "USED"
    case usedPercent = "USE%"
    case uuid = "UUID"
    case mountOptions = "VFS-OPTIONS"
    case action = "ACTION"
    case oldOptions = "OLD-OPTIONS"
    case oldTarget = "OLD-TARGET"

    static var names: [String] {
        allCases.filter { $0 != .action && $0 != .oldOptions && $0 != .oldTarget }.map(\.rawValue)
    }

    init?(_ name: String) {
        guard let column = FindmntColumn(rawValue: name.uppercased()) else { return nil }
        self = column
    }

    var isRight: Bool {
        switch self {
        case .available, .size, .used, .usedPercent, .id, .parent, .task: true
        default: false
        }
    }

    /// As a variable of a shell: USE_PCT, MAJ_MIN.
    var variable: String {
        let text = rawValue.utf8.map { byte -> UInt8 in
            (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte : UInt8(ascii: "_")
        }
        return String(decoding: text, as: UTF8.self) + (rawValue.hasSuffix("%") ? "PCT" : "")
    }

    var isNumber: Bool { self == .id || self == .parent || self == .task }
}

/// Rows as a table, a tree, pairs, raw or JSON, in the forms of libsmartcols. Into a pipe nothing is cut.
struct FindmntPrinter {
    var columns: [FindmntColumn]
    var form: Findmnt.Form
    var bytes: Bool
    var headings: Bool
    var showsRoot: Bool
    var isForShell: Bool
    var isASCII: Bool
    var speaksUTF8: Bool

    private var unicode: Bool { speaksUTF8 && !isASCII }

    func print(_ rows: [FindmntRow], _ call: ToolCall) {
        switch form {
        case .json:
            call.write("{\n   \"filesystems\": [\n")
            json(rows, indent: 6, call)
            call.write("\n   ]\n}\n")
        case .pairs:
            for row in rows {
                call.line(
                    columns.map {
                        let name = isForShell ? $0.variable : $0.rawValue
                        return "\(name)=\"\(escaped(cell($0, row.mount) ?? "", isRaw: false))\""
                    }
                    .joined(separator: " "))
            }
        case .raw:
            if headings {
                call.line(columns.map { isForShell ? $0.variable : $0.rawValue }.joined(separator: " "))
            }
            for row in rows {
                call.line(columns.map { escaped(cell($0, row.mount) ?? "", isRaw: true) }.joined(separator: " "))
            }
        case .tree, .list: table(rows, call)
        }
    }

    // MARK: Tables

    private func table(_ rows: [FindmntRow], _ call: ToolCall) {
        var lines: [[String]] = []
        // The tree is drawn in front of the mount point.
        let treeColumn = columns.firstIndex(of: .target)
        func add(_ row: FindmntRow, _ lead: String, _ below: String) {
            lines.append(
                columns.indices.map { index in
                    let text = printable(cell(columns[index], row.mount) ?? "")
                    return index == treeColumn ? lead + text : text
                })
            for (index, child) in row.children.enumerated() {
                let isLast = index == row.children.count - 1
                let branch = unicode ? (isLast ? "└─" : "├─") : (isLast ? "`-" : "|-")
                add(child, below + branch, below + (isLast ? "  " : unicode ? "│ " : "| "))
            }
        }
        for row in rows { add(row, "", "") }
        if headings { lines.insert(columns.map(\.rawValue), at: 0) }
        var widths = columns.map { _ in 0 }
        // Without headings their width counts all the same.
        for line in lines + [columns.map(\.rawValue)] {
            for (index, text) in line.enumerated() { widths[index] = max(widths[index], text.unicodeScalars.count) }
        }
        for line in lines {
            var text = ""
            for (index, word) in line.enumerated() {
                let space = String(repeating: " ", count: max(0, widths[index] - word.unicodeScalars.count))
                let isLast = index == line.count - 1
                text += columns[index].isRight ? space + word : isLast ? word : word + space
                if !isLast { text += " " }
            }
            call.line(text)
        }
    }

    private func printable(_ text: String) -> String {
        FindmntPrinter.escaped(text) { $0 < 32 || $0 == 127 || ($0 > 127 && !speaksUTF8) }
    }

    private static func escaped(_ text: String, _ isSpecial: (UInt8) -> Bool) -> String {
        guard text.utf8.contains(where: isSpecial) else { return text }
        var result: [UInt8] = []
        for byte in text.utf8 {
            if isSpecial(byte) { result += hex(byte) } else { result.append(byte) }
        }
        return String(decoding: result, as: UTF8.self)
    }

    private static func hex(_ byte: UInt8) -> [UInt8] {
        let digits = Array("0123456789abcdef".utf8)
        return Array("\\x".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
    }

    private func escaped(_ text: String, isRaw: Bool) -> String {
        let special: [UInt8] = Array(isRaw ? " \\".utf8 : "\"\\`$".utf8)
        return FindmntPrinter.escaped(text) { $0 < 32 || $0 >= 127 || special.contains($0) }
    }

    // MARK: JSON

    private func json(_ rows: [FindmntRow], indent: Int, _ call: ToolCall) {
        let space = String(repeating: " ", count: indent)
        for (index, row) in rows.enumerated() {
            call.write((index == 0 ? space : ",") + "{\n")
            var lines = columns.map { column -> String in
                let key = space + "   \"\(column.rawValue.lowercased())\": "
                guard let text = cell(column, row.mount), !text.isEmpty else { return key + "null" }
                return key + (column.isNumber ? text : "\"\(FindmntPrinter.quoted(text))\"")
            }
            if row.children.isEmpty {
                call.write(lines.joined(separator: ",\n") + "\n" + space + "}")
            } else {
                lines.append(space + "   \"children\": [\n")
                call.write(lines.joined(separator: ",\n"))
                json(row.children, indent: indent + 6, call)
                call.write("\n" + space + "   ]\n" + space + "}")
            }
        }
    }

    private static func quoted(_ text: String) -> String {
        var result: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): result += [UInt8(ascii: "\\"), byte]
            case 10: result += Array("\\n".utf8)
            case 9: result += Array("\\t".utf8)
            case 0..<32: result += Array("\\u00".utf8) + hex(byte).dropFirst(2)
            default: result.append(byte)
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    // MARK: Cells

    /// nil: there is nothing to say.
    private func cell(_ column: FindmntColumn, _ mount: MountInfo) -> String? {
        switch column {
        case .source, .sources:
            return showsRoot && mount.root != "/" ? "\(mount.source)[\(mount.root)]" : mount.source
        case .target: return mount.mountPoint
        case .type: return mount.type
        case .options: return MountOptions.merged(mount.options, mount.superOptions).joined(separator: ",")
        case .mountOptions: return mount.options.joined(separator: ",")
        case .filesystemOptions: return mount.superOptions.joined(separator: ",")
        case .root: return mount.root
        case .device: return device(mount)
        case .id: return "\(mount.id)"
        case .parent: return "\(mount.parent)"
        case .task: return "\(getpid())"
        case .fields: return mount.propagation.joined(separator: " ")
        case .propagation: return propagation(mount)
        case .size, .available, .used, .usedPercent: return size(column, mount)
        case .label: return link("by-label", mount)
        case .uuid: return link("by-uuid", mount)
        case .partitionLabel: return link("by-partlabel", mount)
        case .partitionUUID: return link("by-partuuid", mount)
        case .frequency, .pass, .action, .oldOptions, .oldTarget: return nil
        }
    }

    /// In columns both numbers have room for three digits.
    private func device(_ mount: MountInfo) -> String {
        let parts = mount.device.utf8.split(separator: UInt8(ascii: ":"))
        guard form == .tree || form == .list, parts.count == 2 else { return mount.device }
        func space(_ count: Int) -> String { String(repeating: " ", count: max(0, 3 - count)) }
        return space(parts[0].count) + mount.device + space(parts[1].count)
    }

    private func propagation(_ mount: MountInfo) -> String {
        var words: [String] = []
        if mount.propagation.contains(where: { $0.hasPrefix("shared:") }) {
            words.append("shared")
        } else {
            words.append("private")
        }
        if mount.propagation.contains(where: { $0.hasPrefix("master:") }) { words.append("slave") }
        if mount.propagation.contains("unbindable") { words.append("unbindable") }
        return words.joined(separator: ",")
    }

    private func size(_ column: FindmntColumn, _ mount: MountInfo) -> String? {
        var (total, free, available) = (UInt64(0), UInt64(0), UInt64(0))
        guard k3s_tool_statvfs(mount.mountPoint, &total, &free, &available) == 0 else { return nil }
        let used = total - min(free, total)
        switch column {
        case .usedPercent:
            if total == 0 { return "-" }
            return "\(Int((Double(used) / Double(total) * 100).rounded()))%"
        case .size: return text(total)
        case .available: return text(available)
        default: return text(used)
        }
    }

    private func text(_ amount: UInt64) -> String { bytes ? "\(amount)" : FindmntPrinter.human(amount) }

    /// util-linux's way: one digit behind the point, rounded half up, none when it is zero.
    static func human(_ amount: UInt64) -> String {
        var exponent = 0
        while exponent < 6, amount >> UInt64((exponent + 1) * 10) > 0 { exponent += 1 }
        if exponent == 0 { return "\(amount)" + (amount == 0 ? "" : "B") }
        let unit = UInt64(1) << UInt64(exponent * 10)
        var whole = amount / unit
        let rest = amount % unit
        // Thousandths, without passing 64 bits.
        let thousandths = exponent >= 6 ? (rest / 1024 * 1000) / (unit / 1024) : rest * 1000 / unit
        var tenth = (thousandths + 50) / 100
        if tenth == 10 { (whole, tenth) = (whole + 1, 0) }
        let letter = Array("KMGTPE")[exponent - 1]
        return tenth == 0 ? "\(whole)\(letter)" : "\(whole).\(tenth)\(letter)"
    }

    private func link(_ folder: String, _ mount: MountInfo) -> String? {
        guard mount.source.hasPrefix("/"), let entries = try? Directories.list("/dev/disk/" + folder) else {
            return nil
        }
        return entries.first { Tags.canonical("/dev/disk/\(folder)/\($0.name)") == mount.source }?.name
    }
}
