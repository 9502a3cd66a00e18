import Codecs
import KubeAPI
import Linux
import Logging

/// Log lines as k3s writes them (logrus text): `time="..." level=info msg="..." key=value`, one write each, to stderr.
struct LineLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level
    private let clock = SystemClock()

    private let settings: LogSettings?
    private let isJournal: Bool

    /// To standard error, for commands that are soon done.
    init(level: Logger.Level) { (logLevel, settings, isJournal) = (level, nil, false) }

    init(_ settings: LogSettings) {
        self.settings = settings
        logLevel = settings.isDebug || !settings.modules.isEmpty ? .debug : .info
        isJournal =
            settings.file == nil && LogSettings.isJournal(getenv("JOURNAL_STREAM").map { String(cString: $0) })
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// As syslog numbers them: what the journal reads before a line.
    static func priority(_ level: Logger.Level) -> String {
        switch level {
        case .trace, .debug: "<7>"
        case .info: "<6>"
        case .notice: "<5>"
        case .warning: "<4>"
        case .error: "<3>"
        case .critical: "<2>"
        }
    }

    func log(event: LogEvent) {
        if let settings, !settings.wants(event.level, file: event.file) { return }
        let level =
            switch event.level {
            case .trace, .debug: "debug"
            case .info, .notice: "info"
            case .warning: "warning"
            case .error: "error"
            case .critical: "fatal"
            }
        var line = "time=\"\(clock.now().rfc3339)\" level=\(level) msg=\(GoText.quoted(event.message.description))"
        var all = metadata
        if let more = event.metadata { all.merge(more) { $1 } }
        for (key, value) in all.sorted(by: { $0.key < $1.key }) { line += " \(key)=\(GoText.quoted("\(value)"))" }
        if let file = LogFile.current {
            file.write(line + "\n")
        } else {
            Terminal.error(isJournal ? Self.priority(event.level) + line : line)
        }
    }
}
