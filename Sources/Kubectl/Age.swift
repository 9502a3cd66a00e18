import Codecs
import KubeAPI

enum Age {
    /// Since a time of the API; `<unknown>` for none.
    static func text(_ time: JSON) -> String {
        guard let text = time.string, let then = Timestamp(text) else { return "<unknown>" }
        return HumanDuration.text(seconds: (SystemClock().now().nanoseconds - then.nanoseconds) / 1_000_000_000)
    }
}
