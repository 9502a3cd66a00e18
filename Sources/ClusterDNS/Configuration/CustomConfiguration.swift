/// The ConfigMap kube-system/coredns-custom: `*.override` are directives for the cluster's own server block, `*.server`
/// are server blocks of their own. Supported are forward, hosts and rewrite; directives about CoreDNS's own workings are
/// accepted and have no effect; a file with anything else is left out as a whole and named in `problems`.
package struct CustomConfiguration: Sendable, Equatable {
    /// What the overrides add to the cluster's own block.
    package var base = ServerBlock(.root)
    package var blocks: [ServerBlock] = []
    /// One line each: file, line, what is wrong.
    package var problems: [String] = []

    package init() {}

    package init(_ data: [String: String]) {
        for (file, text) in data.sorted(by: { $0.key < $1.key }) {
            do throws(CorefileError) {
                var parser = try CorefileParser(text)
                if file.hasSuffix(".override") {
                    var block = base
                    try parser.directives(into: &block, until: nil)
                    base = block
                } else if file.hasSuffix(".server") {
                    blocks += try parser.serverBlocks()
                } else {
                    problems.append("\(file): the name must end in .override or .server")
                }
            } catch {
                problems.append("\(file), line \(error.line): \(error.what)")
            }
        }
    }
}

struct CorefileError: Error {
    var line: Int
    var what: String
}

/// Words, lines and blocks of a Corefile, and the directives that are supported.
struct CorefileParser {
    private struct Word {
        var text: String
        var line: Int
    }
    private var words: [Word] = []
    private var index = 0

    /// No effect here: they tune or show CoreDNS itself, or say what is always done.
    private static let withoutEffect: Set<String> = [
        "errors", "log", "cache", "loop", "reload", "loadbalance", "ready", "health", "prometheus", "bufsize",
        "minimal",
        "debug", "nsid", "any", "whoami",
    ]
    private static let forwardOptions: Set<String> = [
        "policy", "max_fails", "expire", "health_check", "prefer_udp", "max_concurrent", "max_idle_conns",
        "failfast_all_unhealthy_upstreams", "max_age",
    ]

    init(_ text: String) throws(CorefileError) {
        var line = 1
        var word = ""
        var (inWord, inQuotes, inComment) = (false, false, false)
        func finished(_ words: inout [Word]) {
            if inWord { words.append(Word(text: word, line: line)) }
            (word, inWord) = ("", false)
        }
        for character in text {
            if inComment, !character.isNewline { continue }
            if inQuotes {
                if character == "\"" { inQuotes = false } else { word.append(character) }
            } else if character == "\"" {
                (inQuotes, inWord) = (true, true)
            } else if character == "#", !inWord {
                inComment = true
                continue
            } else if character.isWhitespace {
                finished(&words)
            } else {
                inWord = true
                word.append(character)
            }
            if character.isNewline {
                inComment = false
                line += 1
            }
        }
        if inQuotes { throw CorefileError(line: line, what: "a quoted word does not end") }
        finished(&words)
    }

    private var line: Int { words.isEmpty ? 1 : words[min(index, words.count - 1)].line }
    private func fail(_ what: String) -> CorefileError { CorefileError(line: line, what: what) }

    /// The words from here to the end of the line, without the brace that opens a block.
    private mutating func restOfLine() -> (arguments: [String], opensBlock: Bool) {
        var out: [String] = []
        guard index > 0 else { return (out, false) }
        let line = words[index - 1].line
        while index < words.count, words[index].line == line, words[index].text != "}" {
            index += 1
            if words[index - 1].text == "{" { return (out, true) }
            out.append(words[index - 1].text)
        }
        return (out, false)
    }

    mutating func serverBlocks() throws(CorefileError) -> [ServerBlock] {
        var blocks: [ServerBlock] = []
        while index < words.count {
            var zones: [DNSName] = []
            while index < words.count, words[index].text != "{" {
                for key in words[index].text.split(separator: ",") { zones.append(try zone(String(key))) }
                index += 1
            }
            guard index < words.count else { throw fail("\"{\" is expected after the zones of a server block") }
            guard !zones.isEmpty else { throw fail("a server block has no zone") }
            index += 1
            var block = ServerBlock(.root)
            try directives(into: &block, until: "}")
            for zone in zones {
                block.zone = zone
                blocks.append(block)
            }
        }
        return blocks
    }

    private func zone(_ key: String) throws(CorefileError) -> DNSName {
        var text = key
        for scheme in ["tls://", "https://", "grpc://", "quic://"] where text.hasPrefix(scheme) {
            throw fail("server block \"\(key)\": only plain DNS is served")
        }
        if text.hasPrefix("dns://") { text = String(text.dropFirst(6)) }
        if let colon = text.lastIndex(of: ":") {
            guard text[text.index(after: colon)...] == "53" else {
                throw fail("server block \"\(key)\": only port 53 is served")
            }
            text = String(text[..<colon])
        }
        guard let name = DNSName(text) else { throw fail("server block \"\(key)\": not a zone") }
        return name
    }

    mutating func directives(into block: inout ServerBlock, until end: String?) throws(CorefileError) {
        while index < words.count {
            let word = words[index].text
            if let end, word == end {
                index += 1
                return
            }
            index += 1
            switch word {
            case "forward": try forward(&block)
            case "hosts": try hosts(&block)
            case "rewrite": try rewrite(&block)
            case let name where CorefileParser.withoutEffect.contains(name):
                if restOfLine().opensBlock { try skipBlock() }
            case "{", "}": throw fail("\"\(word)\" is not expected here")
            default:
                index -= 1
                throw fail(
                    "plugin \"\(word)\" is not supported; supported are forward, hosts and rewrite name")
            }
        }
        if let end { throw fail("\"\(end)\" is missing at the end of a block") }
    }

    private mutating func skipBlock() throws(CorefileError) {
        var depth = 1
        while index < words.count {
            if words[index].text == "{" { depth += 1 }
            if words[index].text == "}" { depth -= 1 }
            index += 1
            if depth == 0 { return }
        }
        throw fail("\"}\" is missing at the end of a block")
    }

    /// The lines of a block, each as words; the reader is behind its end then.
    private mutating func lines() throws(CorefileError) -> [[String]] {
        var out: [[String]] = []
        while index < words.count {
            index += 1
            if words[index - 1].text == "}" { return out }
            let first = words[index - 1].text
            let (rest, opens) = restOfLine()
            if opens { throw fail("a block inside of \"\(first)\" is not supported") }
            out.append([first] + rest)
        }
        throw fail("\"}\" is missing at the end of a block")
    }

    private mutating func forward(_ block: inout ServerBlock) throws(CorefileError) {
        let (arguments, opens) = restOfLine()
        guard arguments.count >= 2, let zone = DNSName(arguments[0]) else {
            throw fail("forward: a zone and at least one server are expected")
        }
        var servers: [Upstream] = []
        for text in arguments.dropFirst() {
            // The node's own resolv.conf: what the cluster's block has anyway.
            if text.hasPrefix("/") {
                guard text == "/etc/resolv.conf" else { throw fail("forward: file \"\(text)\" is not supported") }
                continue
            }
            guard let server = Upstream(text) else {
                throw fail("forward: \"\(text)\" is not an IP address with an optional port (tls:// is not supported)")
            }
            servers.append(server)
        }
        if opens {
            for line in try lines() where !CorefileParser.forwardOptions.contains(line[0]) {
                throw fail("forward: option \"\(line[0])\" is not supported")
            }
        }
        block.forwards.append(ServerBlock.Forward(zone: zone, servers: servers))
    }

    private mutating func hosts(_ block: inout ServerBlock) throws(CorefileError) {
        let (arguments, opens) = restOfLine()
        if let file = arguments.first, file.hasPrefix("/"), file != "/etc/coredns/NodeHosts" {
            throw fail("hosts: file \"\(file)\" is not supported; write the entries into the block")
        }
        var table = block.hosts ?? HostsTable()
        if opens {
            for words in try lines() {
                switch words[0] {
                case "fallthrough": block.hostsFallThrough = true
                case "ttl":
                    guard words.count == 2, let ttl = UInt32(words[1]), ttl > 0 else {
                        throw fail("hosts: ttl: a number of seconds is expected")
                    }
                    table.ttl = ttl
                case "no_reverse", "reload": break
                default:
                    guard table.add(words) else {
                        throw fail("hosts: \"\(words[0])\": an address and names are expected")
                    }
                }
            }
        }
        block.hosts = table
    }

    private mutating func rewrite(_ block: inout ServerBlock) throws(CorefileError) {
        var (arguments, opens) = restOfLine()
        var stops = true
        if let first = arguments.first, first == "stop" || first == "continue" {
            stops = first == "stop"
            arguments.removeFirst()
        }
        guard opens else {
            block.rewrites.append(try rule(arguments, stops))
            return
        }
        guard arguments.isEmpty else { throw fail("rewrite: \"name\" is expected inside of the block") }
        for line in try lines() {
            // Names in answers are always given back as they were asked.
            if line[0] == "answer" { continue }
            block.rewrites.append(try rule(line, stops))
        }
    }

    private func rule(_ words: [String], _ stops: Bool) throws(CorefileError) -> RewriteRule {
        guard words.first == "name" else {
            throw fail("rewrite: only \"name\" is supported, not \"\(words.first ?? "")\"")
        }
        var rest = Array(words.dropFirst())
        if let answer = rest.firstIndex(of: "answer") { rest = Array(rest[..<answer]) }
        var match = RewriteRule.Match.exact
        if rest.count == 3 {
            guard let kind = RewriteRule.Match(rawValue: rest[0]) else {
                throw fail(
                    "rewrite name: \"\(rest[0])\" is not supported; supported are exact, prefix, suffix, substring")
            }
            match = kind
            rest.removeFirst()
        }
        guard rest.count == 2 else { throw fail("rewrite name: two names are expected") }
        return RewriteRule(match, from: rest[0], to: rest[1], stops: stops)
    }
}
