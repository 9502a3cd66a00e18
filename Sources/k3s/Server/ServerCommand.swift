import CShims
import Linux
import Logging
import Synchronization

/// `k3s server`: the control plane and, unless it is disabled, the node on this machine.
enum ServerCommand {
    static func run(_ arguments: [String]) -> Int32 {
        let parser = FlagParser(flags: ServerFlags.all)
        let environment: (String) -> String? = { name in getenv(name).map { String(cString: $0) } }
        let configuration: ServerConfiguration
        let logger: Logger
        var notes: [String] = []
        do {
            let path = ConfigurationFile.path(arguments, environment: environment)
            let file = try ConfigurationFile(path: path, flags: parser.flags)
            notes = file.unknown.map { "Unknown flag --\($0) found in config.yaml, skipping" }
            let flags = try parser.parse(file.arguments + arguments, environment: environment)
            if flags.wantsHelp {
                print(
                    "NAME:\n   k3s server - Run management server\n\nUSAGE:\n   k3s server [OPTIONS]\n\n"
                        + parser.help())
                return 0
            }
            notes += try parser.withoutEffect(flags).map { "--\($0) is accepted, but has no effect yet" }
            var checked = try ServerConfiguration(
                flags, environment: environment, isRoot: geteuid() == 0, hostname: hostname())
            if checked.hasNodeID {
                checked.nodeName += try "-" + NodeIdentity.id(besidePassword: checked.nodePasswordFile)
            }
            let hasNamespaces = checked.isRootless && !checked.disableAgent
            if hasNamespaces, !RootlessNode.isInside(environment) {
                try RootlessLaunch.becomeParent(checked, environment: environment)
            }
            logger = try checked.logging.logger()
            // Its file is read again by the node; here, before anything is made.
            if !checked.disableAgent {
                _ = try checked.network.backendConfiguration(stateDirectory: checked.stateDirectory)
            }
            if hasNamespaces {
                checked.rootless = try RootlessNode(checked, environment: environment, logger: logger)
            }
            configuration = checked
        } catch {
            Terminal.error("Error: \(error)")
            return 1
        }
        for note in notes { logger.warning("\(note)") }
        configuration.installTools(logger)
        k3s_tune_malloc()
        return Foreground.run(logger: logger) {
            try await Server(configuration: configuration, logger: logger).run()
        }
    }

    static func hostname() -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        gethostname(&buffer, buffer.count - 1)
        return String(cString: buffer)
    }
}

/// What made a start impossible: one line.
struct StartupError: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// Runs a long-lived task in the foreground: the main thread waits for signals, SIGTERM and SIGINT cancel the task; while
/// there are none, it looks after the process's memory.
enum Foreground {
    static func run(logger: Logger, _ body: @escaping @Sendable () async throws -> Void) -> Int32 {
        Signals.ignoreBrokenPipe()
        var waited = sigset_t()
        sigemptyset(&waited)
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGUSR2] { sigaddset(&waited, signal) }
        // Threads that start from here on inherit the mask, so that only this one sees these signals.
        pthread_sigmask(SIG_BLOCK, &waited, nil)
        let outcome = Outcome()
        let main = getpid()
        // Not the priority of the main thread: that would give the process a second set of pool threads.
        let task = Task(priority: .medium) {
            do {
                try await body()
                outcome.set(nil)
            } catch is CancellationError {
                outcome.set(nil)
            } catch {
                outcome.set("\(error)")
            }
            kill(main, SIGUSR2)
        }
        var stopping = false
        var memory = IdleMemory()
        while true {
            var interval = timespec(tv_sec: .init(IdleMemory.interval), tv_nsec: 0)
            let signal = sigtimedwait(&waited, nil, &interval)
            switch signal {
            case -1:
                if errno == EAGAIN { memory.look() }
            case SIGUSR2:
                guard outcome.isDone else { continue }
                if let error = outcome.error {
                    logger.critical("\(error)")
                    return 1
                }
                return 0
            case SIGHUP: continue
            default:
                // The second time is meant.
                if stopping { return 130 }
                stopping = true
                logger.info("Shutdown request received: \(signal == SIGTERM ? "terminated" : "interrupt")")
                task.cancel()
            }
        }
    }

    private final class Outcome: Sendable {
        private let state = Mutex<(done: Bool, error: String?)>((false, nil))
        func set(_ error: String?) { state.withLock { $0 = (true, error) } }
        var isDone: Bool { state.withLock { $0.done } }
        var error: String? { state.withLock { $0.error } }
    }
}
