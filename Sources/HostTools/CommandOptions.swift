import Linux

/// Options of a command line as getopt_long(3) reads them: short ones together, long ones by an unambiguous beginning,
/// operands anywhere unless `stopsAtOperand`. The errors are glibc's, so that scripts which look at them find what they know.
struct CommandOptions {
    struct Given: Equatable {
        /// The short letter, or the long name where there is none.
        var name: String
        var value: String?
        /// As in the error messages of the tools: "-B" or "--block-size".
        var spelling: String
    }

    var given: [Given] = []
    var operands: [String] = []

    struct Failure: Error, Equatable {
        var text: String
        init(_ text: String) { self.text = text }
    }

    private struct Known {
        var letter: Character?
        var long: String?
        var takes: Takes
        var name: String { letter.map { String($0) } ?? long ?? "" }
    }

    private enum Takes { case nothing, value, maybe }

    /// `known`: words as "s,summarize B,block-size= time? x"; "=" takes a value, "?" may have one behind "=" (or right after
    /// the letter). A second long name for a letter is a word of its own.
    init(_ arguments: [String], known text: String, stopsAtOperand: Bool = false) throws(Failure) {
        let known = CommandOptions.table(text)
        var index = arguments.startIndex
        while index < arguments.endIndex {
            let argument = arguments[index]
            index += 1
            if argument == "--" {
                operands += arguments[index...]
                return
            }
            if argument.hasPrefix("--") {
                try long(argument, known, arguments, &index)
            } else if argument.hasPrefix("-"), argument.utf8.count > 1 {
                try short(argument, known, arguments, &index)
            } else {
                operands.append(argument)
                if stopsAtOperand {
                    operands += arguments[index...]
                    return
                }
            }
        }
    }

    private static func table(_ text: String) -> [Known] {
        text.split(separator: " ").map { word in
            var word = word
            var takes = Takes.nothing
            if word.last == "=" || word.last == "?" { takes = word.removeLast() == "=" ? .value : .maybe }
            let parts = word.split(separator: ",").map(String.init)
            guard let first = parts.first else { return Known(letter: nil, long: nil, takes: takes) }
            if first.utf8.count > 1 { return Known(letter: nil, long: first, takes: takes) }
            return Known(letter: first.first, long: parts.count > 1 ? parts[1] : nil, takes: takes)
        }
    }

    private mutating func long(
        _ argument: String, _ known: [Known], _ arguments: [String], _ index: inout Int
    ) throws(Failure) {
        let body = argument.dropFirst(2)
        let equals = body.utf8.firstIndex(of: UInt8(ascii: "="))
        let asked = equals.map { body[..<$0] } ?? body
        let value = equals.map { String(body[body.utf8.index(after: $0)...]) }
        var matches = known.filter { $0.long.map { $0 == asked } ?? false }
        if matches.isEmpty { matches = known.filter { $0.long?.hasPrefix(asked) ?? false } }
        guard let option = matches.first, let long = option.long else {
            throw Failure("unrecognized option '--\(asked)'")
        }
        if matches.contains(where: { $0.name != option.name }) {
            let all = matches.compactMap { $0.long.map { "'--\($0)'" } }.joined(separator: " ")
            throw Failure("option '--\(asked)' is ambiguous; possibilities: \(all)")
        }
        switch option.takes {
        case .nothing:
            if value != nil { throw Failure("option '--\(long)' doesn't allow an argument") }
            given.append(Given(name: option.name, value: nil, spelling: "--" + long))
        case .maybe: given.append(Given(name: option.name, value: value, spelling: "--" + long))
        case .value:
            var value = value
            if value == nil {
                guard index < arguments.endIndex else { throw Failure("option '--\(long)' requires an argument") }
                value = arguments[index]
                index += 1
            }
            given.append(Given(name: option.name, value: value, spelling: "--" + long))
        }
    }

    private mutating func short(
        _ argument: String, _ known: [Known], _ arguments: [String], _ index: inout Int
    ) throws(Failure) {
        var rest = argument.dropFirst()
        while let letter = rest.popFirst() {
            guard let option = known.first(where: { $0.letter == letter }) else {
                throw Failure("invalid option -- '\(letter)'")
            }
            var value: String?
            if option.takes != .nothing, !rest.isEmpty {
                value = String(rest)
                rest = ""
            } else if option.takes == .value {
                guard index < arguments.endIndex else {
                    throw Failure("option requires an argument -- '\(letter)'")
                }
                value = arguments[index]
                index += 1
            }
            given.append(Given(name: option.name, value: value, spelling: "-\(letter)"))
        }
    }
}

extension ToolCall {
    /// What the originals say of a bad option.
    func usage(_ error: CommandOptions.Failure) {
        complain("\(name): \(error.text)")
        complain("Try '\(name) --help' for more information.")
    }

    func environment(_ variable: String) -> String? { getenv(variable).map { String(cString: $0) } }

    /// Whether the terminal's characters are UTF-8, as setlocale(3) finds out.
    var speaksUTF8: Bool {
        for variable in ["LC_ALL", "LC_CTYPE", "LANG"] {
            guard let value = environment(variable), !value.isEmpty else { continue }
            let lower = value.lowercased()
            return lower.hasSuffix("utf-8") || lower.hasSuffix("utf8")
        }
        return false
    }
}

/// The C library's own words for an errno ("No such file or directory").
func errorText(_ code: Int32) -> String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { buffer in
        guard let base = buffer.baseAddress else { return "" }
        return String(cString: k3s_strerror(code, base, buffer.count))
    }
}
