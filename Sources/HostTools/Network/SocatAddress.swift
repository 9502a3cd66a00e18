import Linux

/// One address of socat's command line: `TYPE:parameter:parameter,option=value,...`, two of them joined by `!!`.
struct SocatAddress: Equatable {
    /// In capitals, without its aliases: "TCP-LISTEN".
    var type: String
    var parameters: [String]
    var options: [Option]

    struct Option: Equatable {
        var name: String
        var value: String?
    }

    struct Failure: Error, Equatable {
        /// Empty: there is nothing to say, or it has been said.
        var text: String
        var code: Int32
        init(_ text: String, code: Int32 = 1) { (self.text, self.code) = (text, code) }
    }

    /// What each type takes: how many parameters (at least, at most).
    private static let types: [(name: String, parameters: ClosedRange<Int>)] = [
        ("TCP", 2...2), ("TCP4", 2...2), ("TCP6", 2...2), ("TCP-LISTEN", 1...1), ("TCP4-LISTEN", 1...1),
        ("TCP6-LISTEN", 1...1), ("UDP", 2...2), ("UDP4", 2...2), ("UDP6", 2...2), ("UDP-LISTEN", 1...1),
        ("UDP4-LISTEN", 1...1), ("UDP6-LISTEN", 1...1), ("UDP-RECVFROM", 1...1), ("UDP4-RECVFROM", 1...1),
        ("UDP6-RECVFROM", 1...1), ("UDP-RECV", 1...1), ("UDP4-RECV", 1...1), ("UDP6-RECV", 1...1),
        ("UDP-SENDTO", 2...2), ("UDP4-SENDTO", 2...2), ("UDP6-SENDTO", 2...2), ("UNIX-CLIENT", 1...1),
        ("UNIX-CONNECT", 1...1), ("UNIX-LISTEN", 1...1), ("ABSTRACT-CONNECT", 1...1), ("ABSTRACT-CLIENT", 1...1),
        ("ABSTRACT-LISTEN", 1...1), ("STDIO", 0...0), ("STDIN", 0...0), ("STDOUT", 0...0), ("STDERR", 0...0),
        ("OPEN", 1...1), ("GOPEN", 1...1), ("CREATE", 1...1), ("PIPE", 0...1), ("FD", 1...1), ("EXEC", 1...1),
        ("SYSTEM", 1...1),
    ]

    private static func plain(_ name: String) -> String {
        var name = name.uppercased()
        if name.hasPrefix("INET") { name = "TCP" + name.dropFirst(4) }
        if name.hasPrefix("LOCAL") { name = "UNIX" + name.dropFirst(5) }
        switch name {
        case "TCP-CONNECT", "TCP4-CONNECT", "TCP6-CONNECT", "UDP-CONNECT", "UDP4-CONNECT", "UDP6-CONNECT":
            return String(name.dropLast(8))
        case "UNIX": return "UNIX-CLIENT"
        case "FILE": return "OPEN"
        case "CREAT": return "CREATE"
        case "FIFO": return "PIPE"
        case "ABSTRACT": return "ABSTRACT-CLIENT"
        default: return name.hasSuffix("-L") ? name + "ISTEN" : name
        }
    }

    /// The halves of a dual address, or the one that there is.
    static func parse(_ text: String) throws(Failure) -> [SocatAddress] {
        let bytes = Array(text.utf8)
        var parts: [[UInt8]] = [[]]
        var index = 0
        while index < bytes.count {
            if bytes[index] == UInt8(ascii: "!"), index + 1 < bytes.count, bytes[index + 1] == UInt8(ascii: "!"),
                parts.count == 1
            {
                parts.append([])
                index += 2
            } else {
                parts[parts.count - 1].append(bytes[index])
                index += 1
            }
        }
        var result: [SocatAddress] = []
        for part in parts { result.append(try one(part)) }
        return result
    }

    private static func one(_ bytes: [UInt8]) throws(Failure) -> SocatAddress {
        let words = try split(bytes)
        guard let head = words.first else { throw Failure("unknown device/address \"\"") }
        let options = words.dropFirst().filter { !$0.isEmpty }.map { word -> Option in
            // An option's value begins at the first "=".
            let text = word.map { $0.text }.joined(separator: ":")
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return Option(name: String(parts[0]), value: parts.count > 1 ? String(parts[1]) : nil)
        }
        let name = head[0].text
        if name == "-" { return SocatAddress(type: "STDIO", parameters: [], options: options) }
        if !head[0].isQuoted, let number = UInt32(name), head.count == 1 {
            return SocatAddress(type: "FD", parameters: ["\(number)"], options: options)
        }
        if name.utf8.contains(UInt8(ascii: "/")) {
            return SocatAddress(
                type: "GOPEN", parameters: [head.map { $0.text }.joined(separator: ":")], options: options)
        }
        let type = plain(name)
        guard let row = types.first(where: { $0.name == type }) else {
            throw Failure("unknown device/address \"\(name)\"")
        }
        var parameters = head.dropFirst().map { $0.text }
        // Commands and file names may have colons of their own.
        if ["EXEC", "SYSTEM", "OPEN", "GOPEN", "CREATE", "UNIX-CLIENT", "UNIX-CONNECT", "UNIX-LISTEN", "PIPE"]
            .contains(type), parameters.count > 1
        {
            parameters = [parameters.joined(separator: ":")]
        }
        guard row.parameters.contains(parameters.count) else {
            throw Failure(
                "\(name): wrong number of parameters (\(parameters.count) instead of \(row.parameters.upperBound))")
        }
        return SocatAddress(type: type, parameters: Array(parameters), options: options)
    }

    private struct Word {
        var text: String
        var isQuoted: Bool
    }

    /// Words between commas, each cut at its colons; quotes, brackets and backslashes protect what is inside.
    private static func split(_ bytes: [UInt8]) throws(Failure) -> [[Word]] {
        var words: [[Word]] = []
        var parts: [Word] = []
        var part: [UInt8] = []
        var isQuoted = false
        var closing: [UInt8] = []
        var index = 0
        func end(_ part: inout [UInt8], _ parts: inout [Word], _ isQuoted: inout Bool) {
            parts.append(Word(text: String(decoding: part, as: UTF8.self), isQuoted: isQuoted))
            part = []
            isQuoted = false
        }
        while index < bytes.count {
            let byte = bytes[index]
            index += 1
            if byte == UInt8(ascii: "\\"), index < bytes.count, closing.last != UInt8(ascii: "'") {
                let next = bytes[index]
                index += 1
                let known: [UInt8: UInt8] = [
                    UInt8(ascii: "n"): 10, UInt8(ascii: "r"): 13, UInt8(ascii: "t"): 9, UInt8(ascii: "0"): 0,
                ]
                part.append(known[next] ?? next)
                continue
            }
            if let last = closing.last {
                if byte == last { closing.removeLast() }
                // Quotes go, brackets stay.
                if byte == last, last == UInt8(ascii: "\"") || last == UInt8(ascii: "'") { continue }
                part.append(byte)
                continue
            }
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "'"):
                closing.append(byte)
                isQuoted = true
            case UInt8(ascii: "["), UInt8(ascii: "("), UInt8(ascii: "{"):
                closing.append(
                    byte == UInt8(ascii: "[")
                        ? UInt8(ascii: "]") : byte == UInt8(ascii: "(") ? UInt8(ascii: ")") : UInt8(ascii: "}"))
                part.append(byte)
            case UInt8(ascii: ":"): end(&part, &parts, &isQuoted)
            case UInt8(ascii: ","):
                end(&part, &parts, &isQuoted)
                words.append(parts)
                parts = []
            default: part.append(byte)
            }
        }
        if !closing.isEmpty { throw Failure("syntax error in \"\(String(decoding: bytes, as: UTF8.self))\"") }
        end(&part, &parts, &isQuoted)
        words.append(parts)
        return words
    }

    // MARK: Options

    /// The options that are there, each with its other names.
    private static let aliases: [[String]] = [
        ["fork"], ["reuseaddr", "so-reuseaddr"], ["reuseport", "so-reuseport"], ["bind"], ["backlog"], ["range"],
        ["max-children"], ["keepalive", "so-keepalive"], ["nodelay", "tcp-nodelay"],
        ["pf", "protocol-family"], ["ipv6only", "ipv6-v6only"], ["retry"], ["interval"], ["forever"],
        ["connect-timeout"], ["accept-timeout"], ["sourceport", "sp"], ["broadcast", "so-broadcast"],
        ["rcvbuf", "so-rcvbuf"], ["sndbuf", "so-sndbuf"],
        ["mode", "perm"], ["user", "uid", "owner"], ["group", "gid"], ["unlink-early"], ["unlink-close"], ["unlink"],
        ["creat", "create"], ["append"], ["trunc"], ["rdonly"], ["wronly"], ["rdwr"], ["excl"], ["nonblock"],
        ["ignoreeof"], ["shut-none"], ["shut-down"], ["shut-close"], ["shut-null"], ["null-eof"], ["cool-write"],
        ["end-close"], ["crnl", "crlf"], ["cr"], ["stderr"], ["setsid"], ["pipes"], ["nofork"], ["su"], ["umask"],
        ["chdir", "cd"], ["fdin"], ["fdout"], ["cloexec"], ["escape"], ["readbytes"],
    ]
    /// Known to the original, not there.
    private static let missing: Set<String> = ["crnl", "cr", "su", "escape", "readbytes", "null-eof", "nofork"]

    func checked() throws(Failure) -> SocatAddress {
        var copy = self
        for index in copy.options.indices {
            let name = copy.options[index].name.lowercased()
            guard let row = SocatAddress.aliases.first(where: { $0.contains(name) }) else {
                throw Failure("parseopts_table(): unknown option \"\(copy.options[index].name)\"")
            }
            if SocatAddress.missing.contains(row[0]) {
                throw Failure("option \"\(copy.options[index].name)\" is not supported here")
            }
            copy.options[index].name = row[0]
        }
        return copy
    }

    func has(_ name: String) -> Bool { options.contains { $0.name == name && $0.value != "0" } }
    func value(_ name: String) -> String? { options.last { $0.name == name }?.value }

    func number(_ name: String) throws(Failure) -> Int64? {
        guard let text = value(name) else { return nil }
        guard let number = text.hasPrefix("0") && text.utf8.count > 1 ? Int64(text, radix: 8) : Int64(text) else {
            throw Failure("option \"\(name)\": \"\(text)\" is not a number")
        }
        return number
    }

    /// Permissions, written in octal digits.
    func mode(_ name: String) throws(Failure) -> UInt32? {
        guard let text = value(name) else { return nil }
        guard let number = UInt32(text, radix: 8), number <= 0o7777 else {
            throw Failure("option \"\(name)\": \"\(text)\" is not a mode")
        }
        return number
    }
}
