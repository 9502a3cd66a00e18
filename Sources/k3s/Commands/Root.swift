import CShims
import KubeAPI
import Kubectl
import Linux

/// What `k3s` does with its first argument. Helpers of the runtime come before anything else is set up.
enum Root {
    static let version = "k3s version \(Version.git) (\(String(cString: k3s_commit())))"

    static let help = """
        NAME:
           k3s - Kubernetes, but small and simple

        USAGE:
           k3s [global options] command [command options] [arguments...]

        VERSION:
           \(Version.git) (\(String(cString: k3s_commit())))

        COMMANDS:
           server           Run management server
           agent            Run node agent
           check-config     Run config check
           kubectl          Run kubectl
           crictl           Run crictl
           ctr              Run ctr
           token            Manage tokens
           certificate      Manage K3s certificates
           secrets-encrypt  Control secrets encryption and keys rotation
           completion       Install shell completion script
           help, h          Shows a list of commands or help for one command

        GLOBAL OPTIONS:
           --help, -h     show help
           --version, -v  print the version
        """

    static func run(_ arguments: [String]) -> Int32 {
        if arguments.last == CompletionCommand.flag {
            for word in CompletionCommand.candidates(arguments.dropLast()) { print(word) }
            return 0
        }
        guard let command = arguments.first else {
            print(help)
            return 0
        }
        switch command {
        case "server": return ServerCommand.run(Array(arguments.dropFirst()))
        case "agent": return AgentCommand.run(Array(arguments.dropFirst()))
        case "kubectl": return Kubectl.run(Array(arguments.dropFirst()))
        case "crictl": return CrictlCommand.run(Array(arguments.dropFirst()))
        case "ctr": return CtrCommand.run(Array(arguments.dropFirst()))
        case "token": return TokenCommand.run(Array(arguments.dropFirst()))
        case "certificate": return CertificateCommand.run(Array(arguments.dropFirst()))
        case "completion": return CompletionCommand.run(Array(arguments.dropFirst()))
        case "secrets-encrypt": return SecretsEncryptCommand.run(Array(arguments.dropFirst()))
        case "check-config":
            return CheckConfigCommand.run(
                Array(arguments.dropFirst()), environment: { name in getenv(name).map { String(cString: $0) } })
        case "help", "h":
            if let topic = arguments.dropFirst().first,
                [
                    "server", "agent", "check-config", "kubectl", "crictl", "ctr", "token", "certificate",
                    "secrets-encrypt",
                ]
                .contains(topic)
            {
                return run([topic, "--help"])
            }
            print(help)
            return 0
        case "--help", "-h", "-help":
            print(help)
            return 0
        case "--version", "-v", "-version":
            print(version)
            return 0
        default:
            let what =
                command.hasPrefix("-") ? "flag provided but not defined: \(command)" : "No help topic for '\(command)'"
            Terminal.error(command.hasPrefix("-") ? "Incorrect Usage: \(what)\n\n\(help)" : what)
            return 1
        }
    }
}
