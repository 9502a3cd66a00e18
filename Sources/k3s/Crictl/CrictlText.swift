import Codecs
import Linux

/// Numbers and times in crictl's words. Source: github.com/docker/go-units (HumanDuration, HumanSize).
enum CrictlText {
    static func short(_ id: String) -> String {
        String((id.hasPrefix("sha256:") ? id.dropFirst(7) : id[...]).prefix(13))
    }

    /// - Parameter nanoseconds: since 1970.
    static func age(_ nanoseconds: Int64, now: Int64 = WallClock.now()) -> String {
        duration(seconds: (now - nanoseconds) / 1_000_000_000) + " ago"
    }

    static func duration(seconds: Int64) -> String {
        let minutes = seconds / 60
        let hours = (seconds + 1800) / 3600
        return switch (seconds, minutes, hours) {
        case (...0, _, _): "Less than a second"
        case (1, _, _): "1 second"
        case (..<60, _, _): "\(seconds) seconds"
        case (_, 1, _): "About a minute"
        case (_, ..<60, _): "\(minutes) minutes"
        case (_, _, 1): "About an hour"
        case (_, _, ..<48): "\(hours) hours"
        case (_, _, ..<336): "\(hours / 24) days"
        case (_, _, ..<1440): "\(hours / 24 / 7) weeks"
        case (_, _, ..<17520): "\(hours / 24 / 30) months"
        default: "\(hours / 24 / 365) years"
        }
    }

    /// In powers of ten, with so many digits.
    static func size(_ bytes: Int64, digits: Int = 4) -> String {
        var (value, unit) = (Double(max(0, bytes)), 0)
        let units = ["B", "kB", "MB", "GB", "TB", "PB"]
        while value >= 1000, unit < units.count - 1 { (value, unit) = (value / 1000, unit + 1) }
        var scale = 1.0
        var places = digits
        var power = 1.0
        while power <= value {
            power *= 10
            places -= 1
        }
        for _ in 0..<max(0, min(places, digits - 1)) { scale *= 10 }
        let rounded = (value * scale).rounded(.toNearestOrEven) / scale
        if digits == 3, rounded >= 1000 { return "1e+03" + units[unit] }
        return (rounded == rounded.rounded() ? "\(Int64(rounded))" : "\(rounded)") + units[unit]
    }

    static func twoPlaces(_ value: Double) -> String {
        let hundredths = Int64(max(0, min(value, 1e12)) * 100 + 0.5)
        return "\(hundredths / 100).\(hundredths % 100 / 10)\(hundredths % 10)"
    }

    /// A repository's name and digest: of the first that an image has.
    static func repository(digests: [String]) -> (name: String, digest: String) {
        guard let first = digests.first else { return ("<none>", "<none>") }
        let parts = first.split(separator: "@", omittingEmptySubsequences: false).map(String.init)
        return parts.count == 2 ? (parts[0], parts[1]) : ("errorName", "errorRepoDigest")
    }

    static func tags(_ tags: [String], repository: String) -> [(name: String, tag: String)] {
        guard !tags.isEmpty else { return [(repository, "<none>")] }
        return tags.map { tag in
            guard let colon = tag.lastIndex(of: ":") else { return ("errorRepoTag", "errorRepoTag") }
            return (String(tag[..<colon]), String(tag[tag.index(after: colon)...]))
        }
    }

    /// "key=value", several.
    static func labels(_ words: [String]) throws -> JSON {
        var map: [String: String] = [:]
        for word in words {
            let pair = word.split(separator: "=", omittingEmptySubsequences: false).map(String.init)
            guard pair.count == 2 else { throw UsageError("incorrectly specified label: \(word)") }
            map[pair[0]] = pair[1]
        }
        return .map(map)
    }

    /// Members in the order of their names, everywhere: as Go writes a map.
    static func sorted(_ value: JSON) -> JSON {
        switch value {
        case .array(let list): return .array(list.map(sorted))
        case .object(let object):
            var result = JSONObject()
            for member in object.members.sorted(by: { $0.key < $1.key }) {
                result.append(member.key, sorted(member.value))
            }
            return .object(result)
        default: return value
        }
    }
}

/// A pattern of `--name` and `--namespace`: matches anywhere. POSIX extended expressions stand for Go's.
struct CrictlPattern {
    private var compiled = regex_t()

    /// - Parameter text: nil or empty matches everything, and is no pattern.
    init?(_ text: String?) throws {
        guard let text, !text.isEmpty else { return nil }
        guard regcomp(&compiled, text, REG_EXTENDED | REG_NOSUB) == 0 else {
            throw UsageError("invalid regular expression \"\(text)\"")
        }
    }

    func matches(_ text: String) -> Bool {
        withUnsafePointer(to: compiled) { regexec($0, text, 0, nil, 0) == 0 }
    }
}
