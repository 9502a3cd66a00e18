import Linux
import Logging

/// `--debug`, `--v`, `--vmodule`, `--log`, `--alsologtostderr`: what is logged, and where to.
struct LogSettings: Sendable {
    /// Kubernetes' components say at this level of `--v` what others say at debug.
    private static let debugVerbosity = 4

    var isDebug: Bool
    /// Files by pattern ("Supervisor*", without ending), and the verbosity in them.
    var modules: [(pattern: String, verbosity: Int)] = []
    var file: String?
    var alsoToStandardError: Bool

    init(_ flags: FlagValues) throws {
        let text = flags.string("v") ?? "0"
        guard let verbosity = Int32(text), verbosity >= 0 else {
            throw UsageError("--v: \"\(text)\": expected a number from 0 on")
        }
        isDebug = flags.bool("debug") || verbosity >= Self.debugVerbosity
        for item in flags.commaList("vmodule") {
            guard let equals = item.lastIndex(of: "="), equals != item.startIndex,
                let verbosity = Int32(item[item.index(after: equals)...]), verbosity >= 0
            else { throw UsageError("--vmodule: \"\(item)\": expected PATTERN=LEVEL") }
            modules.append((String(item[..<equals]), Int(verbosity)))
        }
        file = try flags.string("log").flatMap { $0.isEmpty ? nil : try ServerConfiguration.absolute($0, "log") }
        alsoToStandardError = flags.bool("alsologtostderr")
    }

    /// Opens the file, if there is one, in place of standard error: what others write there lands in it, too.
    func logger() throws -> Logger {
        if let file {
            do throws(SysError) {
                try LogFile.open(file, keepsStandardError: alsoToStandardError)
            } catch {
                throw StartupError("--log: cannot write \(file): \(error)")
            }
        }
        let handler = LineLogHandler(self)
        return Logger(label: "k3s") { _ in handler }
    }

    /// Whether a line of that file (`Module/File.swift`) is wanted.
    func wants(_ level: Logger.Level, file: String) -> Bool {
        if level > .debug { return true }
        guard !modules.isEmpty else { return isDebug }
        let name = Path.last(file).prefix { $0 != "." }
        guard let module = modules.first(where: { Self.matches(name[...], $0.pattern[...]) }) else { return isDebug }
        return module.verbosity >= Self.debugVerbosity
    }

    /// As file names are matched: "*" for any text, "?" for one character.
    static func matches(_ text: Substring, _ pattern: Substring) -> Bool {
        guard let first = pattern.first else { return text.isEmpty }
        let rest = pattern.dropFirst()
        switch first {
        case "*":
            return text.indices.contains { matches(text[$0...], rest) } || matches(text[text.endIndex...], rest)
        case "?": return !text.isEmpty && matches(text.dropFirst(), rest)
        default: return text.first == first && matches(text.dropFirst(), rest)
        }
    }

    /// systemd's journal reads standard error: it wants to know how important a line is (sd-daemon(3)).
    static func isJournal(_ stream: String?, descriptor: Int32 = STDERR_FILENO) -> Bool {
        guard let stream, !stream.isEmpty else { return false }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return false }
        return stream == "\(status.st_dev):\(status.st_ino)"
    }
}
