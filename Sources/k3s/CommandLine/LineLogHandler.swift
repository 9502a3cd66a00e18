import Codecs
import KubeAPI
import Linux
import Logging

/// Log lines as k3s writes them (logrus text): `time="..." level=info msg="..." key=value`, one write each, to stderr.
struct LineLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level
    private let clock = SystemClock()

    init(level: Logger.Level) { logLevel = level }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let level =
            switch event.level {
            case .trace, .debug: "debug"
            case .info, .notice: "info"
            case .warning: "warning"
            case .error: "error"
            case .critical: "fatal"
            }
        var line = "time=\"\(clock.now().rfc3339)\" level=\(level) msg=\(Self.quoted(event.message.description))"
        var all = metadata
        if let more = event.metadata { all.merge(more) { $1 } }
        for (key, value) in all.sorted(by: { $0.key < $1.key }) { line += " \(key)=\(Self.quoted("\(value)"))" }
        Terminal.error(line)
    }

    private static func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\t": out += "\\t"
            case "\u{0}"..<" ": out += "\\x" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }
}
