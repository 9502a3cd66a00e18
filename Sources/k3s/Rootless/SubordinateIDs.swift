import Linux

/// Ids that the administrator has given to a user for user namespaces: /etc/subuid and /etc/subgid (subuid(5)).
enum SubordinateIDs {
    struct Range: Equatable, Sendable {
        var start: UInt32
        var count: UInt32
    }

    /// newuidmap takes more, the kernel 340; nobody has so many.
    private static let limit = 12

    /// Lines "user:start:count", where the user is a name or a number; others are skipped.
    static func ranges(_ text: String, user: String?, id: UInt32) -> [Range] {
        var ranges: [Range] = []
        for line in text.split(whereSeparator: \.isNewline) where ranges.count < limit {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false).map { $0.trimmingSpaces() }
            guard fields.count == 3, fields[0] == String(id) || (user != nil && fields[0] == user),
                let start = UInt32(fields[1]), let count = UInt32(fields[2]), count > 0,
                !start.addingReportingOverflow(count - 1).overflow
            else { continue }
            ranges.append(Range(start: start, count: count))
        }
        return ranges
    }

    /// The map of a user namespace, as newuidmap(1) takes it: the user is root, and what he was given follows.
    static func map(own: UInt32, _ ranges: [Range]) -> String {
        var words = ["0", String(own), "1"]
        var next: UInt32 = 1
        for range in ranges {
            let count = min(range.count, UInt32.max - next)
            guard count > 0 else { break }
            words += [String(next), String(range.start), String(count)]
            next += count
        }
        return words.joined(separator: " ")
    }

    /// The name of a user, from lines of /etc/passwd.
    static func name(of id: UInt32, passwd: String) -> String? {
        for line in passwd.split(whereSeparator: \.isNewline) {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            if fields.count >= 3, fields[2] == String(id) { return String(fields[0]) }
        }
        return nil
    }
}

/// The ids that a user of this machine may have in a user namespace: all that he was given where the programs are there that may
/// give them, else his own alone.
struct OwnIDs: Sendable {
    var users: [SubordinateIDs.Range]
    var groups: [SubordinateIDs.Range]
    /// newuidmap and newgidmap, as far as they are there.
    var helpers: [String]
    var areSeveral: Bool { helpers.count == 2 && !users.isEmpty && !groups.isEmpty }

    init(user: UInt32, environment: (String) -> String?) {
        func text(_ path: String) -> String { (try? Files.readString(path, limit: 1 << 20)) ?? "" }
        let name = SubordinateIDs.name(of: user, passwd: text("/etc/passwd")) ?? environment("USER")
        users = SubordinateIDs.ranges(text("/etc/subuid"), user: name, id: user)
        groups = SubordinateIDs.ranges(text("/etc/subgid"), user: name, id: user)
        let folders = ((environment("PATH") ?? "") + ":/usr/bin:/bin").split(separator: ":")
        helpers = ["newuidmap", "newgidmap"].compactMap { program in
            folders.map { "\($0)/\(program)" }.first { $0.hasPrefix("/") && access($0, X_OK) == 0 }
        }
    }
}
