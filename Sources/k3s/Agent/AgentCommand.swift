import CShims
import Linux
import Logging
import Synchronization

/// `k3s agent`: the node on this machine, joined to a cluster.
enum AgentCommand {
    static func run(_ arguments: [String]) -> Int32 {
        let parser = FlagParser(flags: AgentFlags.all)
        let environment: (String) -> String? = { name in getenv(name).map { String(cString: $0) } }
        let configuration: AgentConfiguration
        var notes: [String] = []
        do {
            let path = ConfigurationFile.path(arguments, environment: environment)
            let file = try ConfigurationFile(path: path, flags: parser.flags)
            // Unlike a server, as in k3s: what only servers know does not belong in an agent's file.
            if let name = file.unknown.first { throw UsageError("flag provided but not defined: -\(name)") }
            let flags = try parser.parse(file.arguments + arguments, environment: environment)
            if flags.wantsHelp {
                print(
                    "NAME:\n   k3s agent - Run node agent\n\nUSAGE:\n   k3s agent [OPTIONS]\n\n" + parser.help())
                return 0
            }
            notes += try parser.withoutEffect(flags).map { "--\($0) is accepted, but has no effect yet" }
            configuration = try AgentConfiguration(
                flags, environment: environment, isRoot: geteuid() == 0, hostname: ServerCommand.hostname())
        } catch {
            Terminal.error("Error: \(error)")
            return 1
        }
        let logger: Logger
        do { logger = try configuration.node.logging.logger() } catch {
            Terminal.error("Error: \(error)")
            return 1
        }
        for note in notes { logger.warning("\(note)") }
        configuration.node.installTools(logger)
        k3s_tune_malloc()
        let restarts = Mutex(false)
        let code = Foreground.run(logger: logger) {
            do {
                try await Agent(configuration: configuration, logger: logger).run()
            } catch is RestartRequest {
                restarts.withLock { $0 = true }
            }
        }
        guard restarts.withLock({ $0 }) else { return code }
        logger.info("Certificates are to be renewed: starting again")
        var words = CommandLine.arguments.map { strdup($0) } + [nil]
        execv("/proc/self/exe", &words)
        logger.critical("exec: \(SysError(errno, "execv"))")
        return 1
    }
}
