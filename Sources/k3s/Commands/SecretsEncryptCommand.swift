import Codecs
import KubeAPI
import Linux
import Logging

/// `k3s secrets-encrypt`: keys of the encryption at rest. Flags and output are the original's (pkg/cli/secretsencrypt).
enum SecretsEncryptCommand {
    static let help = """
        NAME:
           k3s secrets-encrypt - Control secrets encryption and keys rotation

        USAGE:
           k3s secrets-encrypt command [command options] [arguments...]

        COMMANDS:
           status       Print current status of secrets encryption
           enable       Enable secrets encryption
           disable      Disable secrets encryption
           prepare      Prepare for encryption keys rotation
           rotate       Rotate secrets encryption keys
           reencrypt    Reencrypt all data with new encryption key
           rotate-keys  (experimental) Dynamically rotates secrets encryption keys and re-encrypt secrets

        OPTIONS:
           --help, -h  show help
        """

    private static let force = Flag.table(
        """
        +|force|f||b||secrets-encrypt|Force this stage
        """)
    private static let skip = Flag.table(
        """
        +|skip|||b||secrets-encrypt|Skip removing old key
        """)
    private static let output = Flag.table(
        """
        +|output|o||s|text|secrets-encrypt|Status format. Options: text, json
        """)

    /// What is asked of the server, and what is said when it has done it.
    private struct Verb {
        var flags: [Flag] = []
        var request: JSON = [:]
        var answer = ""
        var seconds = 60.0
    }

    static func flags(_ name: String) -> [Flag] { SupervisorRequest.flags + (verb(name)?.flags ?? []) }

    private static func verb(_ name: String) -> Verb? {
        switch name {
        case "status": Verb(flags: output)
        case "enable": Verb(request: ["enable": true], answer: "secrets-encryption enabled", seconds: 600)
        case "disable": Verb(request: ["enable": false], answer: "secrets-encryption disabled", seconds: 600)
        case "prepare": Verb(flags: force, request: ["stage": "prepare"], answer: "prepare completed successfully")
        case "rotate": Verb(flags: force, request: ["stage": "rotate"], answer: "rotate completed successfully")
        case "reencrypt":
            Verb(flags: force + skip, request: ["stage": "reencrypt_active"], answer: "reencryption started")
        case "rotate-keys":
            Verb(request: ["stage": "rotate_keys"], answer: "keys rotated, reencryption finished", seconds: 600)
        default: nil
        }
    }

    static func run(_ arguments: [String]) -> Int32 {
        VerbCommand.run(
            "secrets-encrypt", arguments, help: help, flags: { verb($0).map { SupervisorRequest.flags + $0.flags } }
        ) { name, values, environment, _ in
            guard let verb = verb(name) else { return }
            if let extra = values.arguments.first { throw UsageError("unexpected argument: \(extra)") }
            let form = (values.string("output") ?? "text").lowercased()
            guard ["text", "json"].contains(form) else { throw UsageError("invalid output format \(form)") }
            let server = try SupervisorRequest(
                values, dataDirectory: SupervisorRequest.dataDirectory(values, environment: environment))
            do {
                if name == "status" {
                    let status = try JSON.parse(try server.send("GET", "/v1-k3s/encrypt/status"))
                    print(form == "json" ? status.encodePretty() : text(status))
                } else {
                    var request = verb.request
                    request["force"] = .bool(values.bool("force"))
                    request["skip"] = .bool(values.bool("skip"))
                    _ = try server.send("PUT", "/v1-k3s/encrypt/config", request.encode(), seconds: verb.seconds)
                    print(verb.answer)
                }
            } catch {
                throw UsageError("see server log for details: \(error)")
            }
        }
    }

    static func text(_ status: JSON) -> String {
        guard let enabled = status["enable"].bool else {
            return "Encryption Status: Disabled, no configuration file found"
        }
        let hashes =
            status["hashmatch"].bool == true ? "All hashes match" : status["hasherror"].string ?? "unknown"
        var lines = [
            "Encryption Status: \(enabled ? "Enabled" : "Disabled")",
            "Current Rotation Stage: \(status["stage"].string ?? "")", "Server Encryption Hashes: \(hashes)", "",
        ]
        var rows = [["Active", "Key Type", "Name"], ["------", "--------", "----"]]
        func row(_ mark: String, _ key: String) {
            let parts = key.split(separator: " ", maxSplits: 1).map(String.init)
            rows.append([mark, parts.first ?? "", parts.count > 1 ? parts[1] : ""])
        }
        if let active = status["activekey"].string, !active.isEmpty { row(" *", active) }
        for key in status["inactivekeys"].elements { row("", key.string ?? "") }
        let widths = (0..<2).map { column in (rows.map { $0[column].count }.max() ?? 0) + 2 }
        lines += rows.map { $0[0].padding(to: widths[0]) + $0[1].padding(to: widths[1]) + $0[2] }
        return lines.joined(separator: "\n") + "\n"
    }
}
