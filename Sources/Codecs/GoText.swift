/// Texts as Go prints them, where users see them in upstream's messages and files.
package enum GoText {
    /// In quotation marks, with escapes (fmt's %q).
    package static func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\r": out += "\\r"
            case "\t": out += "\\t"
            default:
                if scalar.value < 0x20 || scalar.value == 0x7F {
                    let hex = String(scalar.value, radix: 16)
                    out += "\\x" + (hex.count == 1 ? "0" + hex : hex)
                } else {
                    out.unicodeScalars.append(scalar)
                }
            }
        }
        return out + "\""
    }
}

extension JSON {
    /// As Go's %v prints it: map[a:1 b:[x y]].
    package var goText: String {
        switch self {
        case .null: "<nil>"
        case .string(let s): s
        case .array(let list): "[" + list.map(\.goText).joined(separator: " ") + "]"
        case .object(let object):
            "map["
                + object.members.sorted { $0.key < $1.key }.map { "\($0.key):\($0.value.goText)" }.joined(
                    separator: " ") + "]"
        default: text
        }
    }
}
