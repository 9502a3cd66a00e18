import Linux

/// Mount options as mount(8) writes them, taken apart into what mount(2) wants.
struct MountOptions {
    /// MS_* of the mount itself.
    var flags: UInt = 0
    /// MS_PRIVATE and its like, with MS_REC; each is a call of its own.
    var propagation: [UInt] = []
    /// What the file system understands, joined by commas.
    var data: [String] = []
    /// What only mount(8) understands: loop, nofail, noauto, x-...
    var own: [String] = []
    /// "rw" was asked for by name.
    var explicitlyWritable = false

    /// name, MS_* to set, MS_* to clear. Numbers of linux/mount.h.
    private static let table: [(name: String, set: UInt, clear: UInt)] = [
        ("ro", 1, 0), ("rw", 0, 1), ("nosuid", 2, 0), ("suid", 0, 2), ("nodev", 4, 0), ("dev", 0, 4),
        ("noexec", 8, 0), ("exec", 0, 8), ("sync", 16, 0), ("async", 0, 16), ("remount", 32, 0),
        ("mand", 64, 0), ("nomand", 0, 64), ("dirsync", 128, 0), ("nosymfollow", 256, 0), ("symfollow", 0, 256),
        ("noatime", 1024, 0), ("atime", 0, 1024), ("nodiratime", 2048, 0), ("diratime", 0, 2048),
        ("bind", 4096, 0), ("rbind", 4096 | 16384, 0), ("move", 8192, 0),
        ("silent", 32768, 0), ("loud", 0, 32768), ("relatime", 1 << 21, 0), ("norelatime", 0, 1 << 21),
        ("iversion", 1 << 23, 0), ("noiversion", 0, 1 << 23), ("strictatime", 1 << 24, 0),
        ("nostrictatime", 0, 1 << 24), ("lazytime", 1 << 25, 0), ("nolazytime", 0, 1 << 25),
    ]

    static let propagations: [(name: String, flag: UInt)] = [
        ("unbindable", 1 << 17), ("private", 1 << 18), ("slave", 1 << 19), ("shared", 1 << 20),
    ]

    static let ownNames: Set<String> = [
        "defaults", "auto", "noauto", "user", "users", "nouser", "owner", "group", "nofail", "_netdev", "loop",
        "offset",
        "sizelimit", "helper", "uhelper", "comment",
    ]

    /// Options behind each other, the last one counts. Commas inside double quotes do not separate.
    mutating func add(_ text: String) {
        for option in MountOptions.split(text) {
            if let row = MountOptions.table.first(where: { $0.name == option }) {
                flags = flags & ~row.clear | row.set
                if option == "rw" { explicitlyWritable = true }
                if option == "ro" { explicitlyWritable = false }
                continue
            }
            if let flag = MountOptions.propagation(option) {
                propagation.append(flag)
                continue
            }
            let name = option.split(separator: "=", maxSplits: 1).first.map(String.init) ?? option
            if MountOptions.ownNames.contains(name) || name.hasPrefix("x-") || name.hasPrefix("X-") {
                own.append(option)
                if name == "user" || name == "users" || name == "owner" || name == "group" {
                    // What these stand for.
                    flags |= name.hasPrefix("user") ? 2 | 4 | 8 : 2 | 4
                }
            } else {
                data.append(option)
            }
        }
    }

    /// "rshared" and its like.
    static func propagation(_ name: String) -> UInt? {
        if let row = propagations.first(where: { $0.name == name }) { return row.flag }
        guard name.hasPrefix("r"), let row = propagations.first(where: { $0.name == name.dropFirst() }) else {
            return nil
        }
        return row.flag | UInt(MS_REC)
    }

    func value(_ name: String) -> String? {
        for option in own.reversed() where option == name || option.hasPrefix(name + "=") {
            return String(option.dropFirst(name.utf8.count + 1))
        }
        return nil
    }

    func has(_ name: String) -> Bool { value(name) != nil }

    var isBind: Bool { flags & UInt(MS_BIND) != 0 }
    var isMove: Bool { flags & UInt(MS_MOVE) != 0 }
    var isRemount: Bool { flags & UInt(MS_REMOUNT) != 0 }
    /// Nothing but propagation: what is mounted there stays as it is.
    var isPropagationOnly: Bool { flags & ~UInt(MS_SILENT) == 0 && !propagation.isEmpty && data.isEmpty }

    static func split(_ text: String) -> [String] {
        var result: [String] = []
        var word: [UInt8] = []
        var isQuoted = false
        for byte in text.utf8 {
            if byte == UInt8(ascii: "\"") { isQuoted.toggle() }
            if byte == UInt8(ascii: ","), !isQuoted {
                if !word.isEmpty { result.append(String(decoding: word, as: UTF8.self)) }
                word = []
            } else {
                word.append(byte)
            }
        }
        if !word.isEmpty { result.append(String(decoding: word, as: UTF8.self)) }
        return result
    }

    /// One list of the options of a mount and those of its file system, as mount(8) and findmnt(8) show them.
    static func merged(_ mount: [String], _ filesystem: [String]) -> [String] {
        if mount == filesystem || filesystem.isEmpty { return mount }
        let isReadOnly =
            !(mount.contains("rw") && filesystem.contains("rw"))
            && (mount.contains("ro") || filesystem.contains("ro"))
        let rest = (mount + filesystem).filter { $0 != "rw" && $0 != "ro" && !$0.isEmpty }
        return [isReadOnly ? "ro" : "rw"] + rest
    }
}

/// A line of fstab(5).
struct FstabEntry {
    var source: String
    var target: String
    var type: String
    var options: String

    static func parse(_ text: String) -> [FstabEntry] {
        text.split(separator: "\n").compactMap { line in
            let fields = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            guard fields.count >= 3, fields[0].first != "#" else { return nil }
            return FstabEntry(
                source: MountInfo.unescape(fields[0]), target: MountInfo.unescape(fields[1]), type: String(fields[2]),
                options: fields.count > 3 ? MountInfo.unescape(fields[3]) : "defaults")
        }
    }
}

/// `-t ext4,xfs` or `-t noproc,sysfs`, and the same of options: what a file system may be.
struct TypeFilter {
    private let names: [String]
    private let isNegative: Bool

    init(_ text: String) {
        var list = text.split(separator: ",").map(String.init)
        let isNegative = list.first?.hasPrefix("no") ?? false
        if isNegative { list = list.map { $0.hasPrefix("no") ? String($0.dropFirst(2)) : $0 } }
        (names, self.isNegative) = (list, isNegative)
    }

    func matches(_ type: String) -> Bool {
        let known = names.contains { $0 == type || ($0.hasSuffix(".") && type.hasPrefix($0)) }
        return known != isNegative
    }
}
