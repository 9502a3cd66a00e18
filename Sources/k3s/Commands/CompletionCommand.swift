import Codecs
import Linux

/// `k3s completion`: scripts for bash and zsh, and what they ask: the words that may come next.
///
/// The scripts call `k3s WORDS... CURRENT --generate-bash-completion`, as those of urfave/cli do.
enum CompletionCommand {
    static let flag = "--generate-bash-completion"

    static let help = """
        NAME:
           k3s completion - Install shell completion script

        USAGE:
           k3s completion [SHELL] (valid shells: bash, zsh)

        OPTIONS:
           -i          Install source line to rc file
           --help, -h  show help
        """

    static func run(_ arguments: [String]) -> Int32 {
        let words = arguments.filter { $0 != "-i" && $0 != "--i" }
        guard let shell = words.first, !["--help", "-h"].contains(shell) else {
            if words.isEmpty {
                Terminal.error("Error: must provide a valid SHELL argument")
                return 1
            }
            print(help)
            return 0
        }
        guard let script = script(shell) else {
            Terminal.error("Error: unknown shell: \(shell) (bash and zsh are known)")
            return 1
        }
        guard words.count < arguments.count else {
            print(script)
            return 0
        }
        guard let home = getenv("HOME").map({ String(cString: $0) }), !home.isEmpty else {
            Terminal.error("Error: HOME is not set")
            return 1
        }
        do throws(SysError) {
            let file = try install(shell, home: home)
            print("Autocomplete for \(shell) added to: \(file)")
            return 0
        } catch {
            Terminal.error("Error: \(error)")
            return 1
        }
    }

    /// Appends to the shell's file what loads the script, once.
    static func install(_ shell: String, home: String) throws(SysError) -> String {
        let file = home + "/.\(shell)rc"
        let mark = "# >> k3s command completion (start)"
        var text = (try Files.readIfPresent(file, limit: 16 << 20)).map { String(decoding: $0, as: UTF8.self) } ?? ""
        if text.contains(mark) { return file }
        if !text.isEmpty, !text.hasSuffix("\n") { text += "\n" }
        text += "\(mark)\nsource <(k3s completion \(shell))\n# >> k3s command completion (end)\n"
        let mode = (try? Files.status(file)).map { UInt32($0.st_mode & 0o777) } ?? 0o644
        // A link to a file elsewhere stays one.
        if Files.exists(file) {
            try Files.write(file, Array(text.utf8), mode: mode)
        } else {
            try Files.writeAtomically(file, Array(text.utf8), mode: mode)
        }
        return file
    }

    static func script(_ shell: String) -> String? {
        switch shell {
        case "bash":
            """
            _k3s_complete() {
                local cur=${COMP_WORDS[COMP_CWORD]}
                COMPREPLY=($(compgen -W "$("${COMP_WORDS[@]:0:COMP_CWORD}" "$cur" \(flag) 2>/dev/null)" -- "$cur"))
            }
            complete -o bashdefault -o default -F _k3s_complete k3s
            """
        case "zsh":
            """
            #compdef k3s
            _k3s_complete() {
                local -a candidates
                candidates=("${(@f)$("${(@)words[1,CURRENT-1]}" "${words[CURRENT]}" \(flag) 2>/dev/null)}")
                if [[ -n ${candidates[1]} ]]; then
                    compadd -a candidates
                else
                    _files
                fi
            }
            compdef _k3s_complete k3s
            """
        default: nil
        }
    }

    // MARK: - Candidates

    /// Commands with what follows them.
    private static let verbs: [(command: String, verbs: [String])] = [
        ("server", []), ("agent", []), ("check-config", []), ("kubectl", []), ("crictl", []), ("ctr", []),
        ("token", ["create", "delete", "generate", "list", "rotate"]),
        ("certificate", ["check", "rotate", "rotate-ca"]),
        (
            "secrets-encrypt", ["status", "enable", "disable", "prepare", "rotate", "reencrypt", "rotate-keys"]
        ), ("completion", ["bash", "zsh"]), ("help", []),
    ]

    private static func flags(_ command: String, _ verb: String?) -> [Flag] {
        switch (command, verb) {
        case ("server", _): return ServerFlags.all
        case ("agent", _): return AgentFlags.all
        case ("token", "create"): return TokenCommand.commonFlags + TokenCommand.createFlags
        case ("token", "list"): return TokenCommand.commonFlags + TokenCommand.listFlags
        case ("token", "rotate"): return TokenCommand.commonFlags + TokenCommand.rotateFlags
        case ("token", .some): return TokenCommand.commonFlags
        case ("certificate", "check"): return CertificateCommand.commonFlags + CertificateCommand.checkFlags
        case ("certificate", "rotate"): return CertificateCommand.commonFlags
        case ("certificate", "rotate-ca"): return SupervisorRequest.flags + CertificateCommand.authorityFlags
        case ("secrets-encrypt", let verb?): return SecretsEncryptCommand.flags(verb)
        default: return []
        }
    }

    /// What may come next.
    /// - Parameter words: what was written, without the program's name; the last one is still being written.
    static func candidates(_ words: [String]) -> [String] {
        let current = words.last ?? ""
        let before = words.dropLast()
        guard let command = before.first else {
            return current.hasPrefix("-") ? ["--help", "--version"] : verbs.map(\.command)
        }
        let known = verbs.first { $0.command == command }?.verbs ?? []
        let verb = known.isEmpty ? nil : before.dropFirst().first
        if !known.isEmpty, verb == nil { return current.hasPrefix("-") ? ["--help"] : known }
        let flags = flags(command, verb)
        // After a flag that has a value: a file, or whatever the shell offers.
        if let last = before.last, last.hasPrefix("-"), !last.contains("="),
            case let name = last.drop(while: { $0 == "-" }),
            let flag = flags.first(where: { $0.name == name || $0.alias == String(name) })
        {
            if case .bool = flag.kind {} else { return [] }
        }
        guard current.hasPrefix("-") else { return [] }
        return flags.filter { $0.state != .hidden }.map { "--" + $0.name } + ["--help"]
    }
}
