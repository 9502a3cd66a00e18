import Linux

/// The tokens of a server and the files that hold them, below `server/`: `token`, `node-token`, `agent-token`,
/// `cred/passwd`, `cred/ipsec.psk`.
package struct ClusterCredentials: Sendable, CustomStringConvertible {
    /// Joins servers, and agents unless there is an agent token.
    package let serverToken: ClusterToken
    /// Joins agents.
    package let agentToken: ClusterToken
    /// 48 random bytes in hexadecimal, shared by all the nodes.
    package let sharedKey: String

    package var description: String { "ClusterCredentials" }

    /// Loads the credentials, and makes what is missing.
    /// - Parameters:
    ///   - serverDirectory: `<data-dir>/server`.
    ///   - token: `--token` in any form, nil if it is not set.
    ///   - agentToken: `--agent-token`.
    ///   - ca: the PEM bytes of the server CA as they are served.
    /// - Throws: when `token` is not the one that the cluster was made with.
    package static func prepare(
        serverDirectory: String, token: String?, agentToken: String?, ca: [UInt8]
    ) throws(PKIError) -> ClusterCredentials {
        var files = PKIDirectory(path: serverDirectory)
        try files.makeDirectory("")
        try files.makeDirectory("cred")
        let known = try Passwords(parsing: files.read("cred/passwd") ?? [], what: files.full("cred/passwd"))
        let given = try token.map { text throws(PKIError) in try Self.password(text, "--token") }
        if let given, let stored = known.server, !constantTimeEqual(given, stored) {
            throw .malformed(
                what: "--token",
                reason: "the cluster was made with a different token; use that one, or change it with k3s token rotate")
        }
        let serverPassword: String
        if let password = given ?? known.server {
            serverPassword = password
        } else {
            serverPassword = try ClusterToken.newPassword()
        }
        let agentPassword =
            try agentToken.map { text throws(PKIError) in try Self.password(text, "--agent-token") } ?? serverPassword
        let passwords = Passwords(node: agentPassword, server: serverPassword)
        try files.write("cred/passwd", passwords.encoded, mode: 0o600, precious: true)
        let shared: String
        if let stored = try files.read("cred/ipsec.psk") {
            shared = String(decoding: stored, as: UTF8.self)
        } else {
            shared = hex(try SecureRandom.bytes(48))
            try files.write("cred/ipsec.psk", Array(shared.utf8), mode: 0o600, precious: true)
        }
        return try written(passwords, sharedKey: shared, ca: ca, &files)
    }

    /// Gives the cluster another server token, and the agents too unless they have one of their own.
    /// - Parameter newToken: in any form; empty: a random password.
    package static func rotate(
        serverDirectory: String, newToken: String, keepsAgentToken: Bool, ca: [UInt8]
    ) throws(PKIError) -> ClusterCredentials {
        var files = PKIDirectory(path: serverDirectory)
        let known = try Passwords(parsing: files.read("cred/passwd") ?? [], what: files.full("cred/passwd"))
        guard let old = known.server, let shared = try files.read("cred/ipsec.psk") else {
            throw .malformed(what: files.full("cred/passwd"), reason: "no server token was found")
        }
        let new = newToken.isEmpty ? try ClusterToken.newPassword() : try Self.password(newToken, "new token")
        let node = known.node.flatMap { keepsAgentToken || $0 != old ? $0 : nil } ?? new
        let passwords = Passwords(node: node, server: new)
        try files.write("cred/passwd", passwords.encoded, mode: 0o600, precious: true)
        return try written(passwords, sharedKey: String(decoding: shared, as: UTF8.self), ca: ca, &files)
    }

    /// Writes the files that follow from the passwords.
    private static func written(
        _ passwords: Passwords, sharedKey: String, ca: [UInt8], _ files: inout PKIDirectory
    ) throws(PKIError) -> ClusterCredentials {
        let (agent, server) = (passwords.node ?? "", passwords.server ?? "")
        let hash = try ClusterToken.hash(ofCA: ca)
        let result = ClusterCredentials(
            serverToken: ClusterToken(caHash: hash, credentials: .password(user: "server", password: server)),
            agentToken: ClusterToken(caHash: hash, credentials: .password(user: "node", password: agent)),
            sharedKey: sharedKey)
        try files.write("token", Array((result.serverToken.text + "\n").utf8), mode: 0o600)
        try files.link("node-token", to: "token")
        if agent == server {
            try files.link("agent-token", to: "token")
        } else {
            try files.removeLink("agent-token")
            try files.write("agent-token", Array((result.agentToken.text + "\n").utf8), mode: 0o600)
        }
        try files.synchronize()
        return result
    }

    /// The groups of a user with that password (HTTP Basic of the join protocol); nil if they are wrong. Users are
    /// `server` and `node`, whatever the token text says.
    package func groups(user: String, password: String) -> [String]? {
        switch user {
        case "server": Self.matches(serverToken, password) ? ["k3s:server"] : nil
        case "node": Self.matches(agentToken, password) ? ["k3s:agent"] : nil
        default: nil
        }
    }

    private static func matches(_ token: ClusterToken, _ password: String) -> Bool {
        guard case .password(_, let expected) = token.credentials else { return false }
        return constantTimeEqual(expected, password)
    }

    private static func password(_ text: String, _ option: String) throws(PKIError) -> String {
        switch try ClusterToken(parsing: text).credentials {
        case .password(_, let password):
            guard !password.utf8.contains(where: { $0 < 0x20 }) else {
                throw .malformed(what: option, reason: "has control characters")
            }
            return password
        case .bootstrap(let id, let secret):
            return "\(id).\(secret)"
        }
    }
}

/// `cred/passwd`: password, name, name again, role, as comma separated values.
private struct Passwords {
    var node: String?
    var server: String?

    init(node: String, server: String) {
        self.node = node
        self.server = server
    }

    init(parsing text: [UInt8], what: String) throws(PKIError) {
        for line in String(decoding: text, as: UTF8.self).split(whereSeparator: \.isNewline) {
            let fields = Self.fields(line)
            guard fields.count >= 2 else {
                throw .malformed(
                    what: what, reason: "a line has \(fields.count) columns, expected password,name,uid,role")
            }
            switch fields[1] {
            case "node": node = fields[0]
            case "server": server = fields[0]
            default: break
            }
        }
    }

    var encoded: [UInt8] {
        var text = ""
        if let node { text += "\(Self.quoted(node)),node,node,k3s:agent\n" }
        if let server { text += "\(Self.quoted(server)),server,server,k3s:server\n" }
        return Array(text.utf8)
    }

    private static func quoted(_ field: String) -> String {
        guard field.contains(where: { $0 == "," || $0 == "\"" || $0 == " " }) else { return field }
        return "\"" + field.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
    }

    private static func fields(_ line: Substring) -> [String] {
        var fields = [""]
        var isQuoted = false
        var previousQuote = false
        for character in line {
            if character == "\"" {
                if isQuoted {
                    isQuoted = false
                    previousQuote = true
                } else if previousQuote {
                    // A doubled quote within quotes is one quote.
                    fields[fields.count - 1].append(character)
                    isQuoted = true
                    previousQuote = false
                } else {
                    isQuoted = true
                }
                continue
            }
            previousQuote = false
            if character == ",", !isQuoted { fields.append("") } else { fields[fields.count - 1].append(character) }
        }
        return fields
    }
}

extension PKIDirectory {
    /// Makes a symbolic link, in place of what is there.
    fileprivate func link(_ name: String, to target: String) throws(PKIError) {
        if (try? Files.readLink(full(name))) == target { return }
        try remove(name)
        guard symlink(target, full(name)) == 0 else {
            throw .file("\(SysError(errno, "symlink", path: full(name)))")
        }
    }

    fileprivate func removeLink(_ name: String) throws(PKIError) {
        if (try? Files.readLink(full(name))) != nil { try remove(name) }
    }
}
