import Codecs
import Linux

/// `k3s check-config [-o json] [CONFIG]`: whether this machine can run a node. Exit code 0, or one more than there are
/// failures; 1 where the kernel's configuration cannot be found.
enum CheckConfigCommand {
    static let help = """
        NAME:
           k3s check-config - Run config check

        USAGE:
           k3s check-config [-o text|json] [KERNEL-CONFIG]

        The kernel's configuration is looked for in /proc/config.gz, /boot and /usr/src; $CONFIG or the argument name
        another. Colours are for terminals, and not if NO_COLOR is set.
        """

    static func run(_ arguments: [String], environment: (String) -> String?) -> Int32 {
        var path = environment("CONFIG").flatMap { $0.isEmpty ? nil : $0 }
        var asJSON = false
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            switch argument {
            case "-h", "--help":
                Terminal.write(help + "\n", to: STDOUT_FILENO)
                return 0
            case "-o", "--output":
                guard let format = rest.popFirst(), format == "json" || format == "text" else {
                    Terminal.error("k3s check-config: \(argument): text or json is expected")
                    return 1
                }
                asJSON = format == "json"
            case "-o=json", "--output=json": asJSON = true
            case "-o=text", "--output=text": asJSON = false
            default:
                guard !argument.hasPrefix("-") else {
                    Terminal.error("k3s check-config: flag provided but not defined: \(argument)")
                    return 1
                }
                path = argument
            }
        }
        let release = (try? Files.readString("/proc/sys/kernel/osrelease"))?[...].trimmingSpaces() ?? ""
        let config: KernelConfig
        do { config = try KernelConfig.load(path, release: release) } catch {
            Terminal.error("\(error)")
            return 1
        }
        var report = check(config, KernelVersion(release: release))
        if geteuid() != 0 { RootlessChecks.run(user: geteuid(), environment: environment, into: &report) }
        if asJSON {
            Terminal.write(report.json.text + "\n", to: STDOUT_FILENO)
        } else {
            let colours = isatty(STDOUT_FILENO) == 1 && environment("NO_COLOR").map(\.isEmpty) != false
            Terminal.write("info: reading kernel config from \(config.path) ...\n", to: STDOUT_FILENO)
            Terminal.write(report.text(colours: colours), to: STDOUT_FILENO)
        }
        return report.exitCode
    }

    private static func check(_ config: KernelConfig, _ version: KernelVersion) -> CheckReport {
        var report = CheckReport()
        SystemChecks().run(into: &report)
        KernelOptions.check(config, version, into: &report)
        KernelProbes.run(isRoot: geteuid() == 0, into: &report)
        return report
    }
}
