import Codecs

/// What `k3s check-config` has found, section by section.
struct CheckReport: Sendable {
    enum Level: String, Sendable { case good, warn, fail }

    struct Line: Sendable, Equatable {
        var label: String
        var text: String
        var level: Level
    }

    struct Section: Sendable {
        var title: String
        /// Spaces in front of the title, and of the lines two more where it is nested.
        var depth = 0
        var lines: [Line] = []
    }

    private(set) var sections: [Section] = []

    mutating func section(_ title: String, depth: Int = 0) { sections.append(Section(title: title, depth: depth)) }

    mutating func add(_ label: String, _ text: String, _ level: Level) {
        if sections.isEmpty { section("") }
        sections[sections.count - 1].lines.append(Line(label: label, text: text, level: level))
    }

    var failures: Int { sections.reduce(0) { $0 + $1.lines.count { $0.level == .fail } } }

    /// As the original's script: 0, or one more than there are failures.
    var exitCode: Int32 { failures == 0 ? 0 : Int32(min(failures + 1, 255)) }

    /// Lines as the original prints them; `colours` for a terminal.
    func text(colours: Bool) -> String {
        func paint(_ codes: String, _ text: String) -> String { colours ? "\u{1b}[\(codes)m\(text)\u{1b}[m" : text }
        var out = ""
        for section in sections {
            if !section.title.isEmpty {
                out += "\n" + String(repeating: " ", count: section.depth) + section.title + "\n"
            }
            for line in section.lines {
                out += String(repeating: " ", count: section.depth > 0 ? section.depth + 2 : 0) + "- "
                switch line.level {
                case .good: out += paint("37", line.label) + ": " + paint("32", line.text)
                case .warn: out += paint("1", line.label) + ": " + paint("33", line.text)
                case .fail: out += paint("1", line.label) + ": " + paint("31", line.text + " (fail)")
                }
                out += "\n"
            }
        }
        let status = failures == 0 ? paint("32", "pass") : paint("31", "\(failures) (fail)")
        return out + "\nSTATUS: " + status + "\n"
    }

    /// `-o json`: `{"status", "failures", "sections": [{"title", "checks": [{"label", "text", "level"}]}]}`.
    var json: JSON {
        [
            "status": .string(failures == 0 ? "pass" : "fail"), "failures": .int(Int64(failures)),
            "sections": .array(
                sections.map { section in
                    [
                        "title": .string(section.title),
                        "checks": .array(
                            section.lines.map { line in
                                [
                                    "label": .string(line.label), "text": .string(line.text),
                                    "level": .string(line.level.rawValue),
                                ]
                            }),
                    ]
                }),
        ]
    }
}
