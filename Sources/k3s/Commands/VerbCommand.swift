import Linux
import Logging

/// The frame of commands that have verbs, such as `k3s token create`: help, the verb's flags, and an error as the last line.
enum VerbCommand {
    typealias Environment = (String) -> String?

    /// - Parameters:
    ///   - help: without a verb.
    ///   - usage: what stands for the flags in the help of a verb.
    ///   - flags: of a verb; nil: there is no such verb.
    ///   - body: may put another logger in the place of the one that errors are told with.
    /// - Returns: the exit code.
    static func run(
        _ command: String, _ arguments: [String], help: String, usage: String = "[OPTIONS]",
        flags: (String) -> [Flag]?,
        _ body: (_ verb: String, FlagValues, Environment, inout Logger) throws -> Void
    ) -> Int32 {
        let environment: Environment = { name in getenv(name).map { String(cString: $0) } }
        guard let verb = arguments.first, !["--help", "-h", "help", "h"].contains(verb) else {
            print(help)
            return 0
        }
        guard let flags = flags(verb) else {
            Terminal.error("No help topic for '\(verb)'")
            return 1
        }
        var logger = Logger(label: "k3s") { _ in LineLogHandler(level: .info) }
        do {
            let parser = FlagParser(flags: flags)
            let values = try parser.parse(Array(arguments.dropFirst()), environment: environment)
            if values.wantsHelp {
                let name = "k3s \(command) \(verb)"
                print("NAME:\n   \(name)\n\nUSAGE:\n   \(name) \(usage)\n\n" + parser.help())
                return 0
            }
            try body(verb, values, environment, &logger)
            return 0
        } catch {
            logger.critical("\(error)")
            return 1
        }
    }
}
