/// What both versions do with directories of cgroups.
enum CgroupTree {
    /// Processes at and below `directory`; none when it is not there.
    static func processes(_ directory: String) throws(SysError) -> [Int32] {
        let own: [UInt8]
        do throws(SysError) { own = try Files.readIfPresent(directory + "/cgroup.procs") ?? [] } catch {
            // Removed by somebody else between open and read.
            if error.code == ENODEV { return [] }
            throw error
        }
        var result = String(decoding: own, as: UTF8.self).split(separator: "\n").compactMap { Int32($0) }
        for child in try children(directory) { result += try processes(directory + "/" + child) }
        return result
    }

    static func children(_ directory: String) throws(SysError) -> [String] {
        do throws(SysError) {
            return try Directories.list(directory).filter { $0.kind == .directory }.map(\.name)
        } catch {
            if error.code == ENOENT { return [] }
            throw error
        }
    }

    /// SIGKILL until nothing is left; processes in uninterruptible sleep may outlive the time.
    static func killAll(_ directory: String, milliseconds: Int64 = 2000) throws(SysError) {
        let deadline = MonotonicClock.now() + milliseconds * 1_000_000
        var pause: UInt32 = 500
        while true {
            let pids = try processes(directory)
            if pids.isEmpty { return }
            for pid in pids where pid > 1 { _ = Glibc.kill(pid, SIGKILL) }
            if MonotonicClock.now() > deadline { throw SysError(EBUSY, "kill cgroup", path: directory) }
            usleep(pause)
            pause = min(pause * 2, 20_000)
        }
    }

    /// rmdir from the leaves up. A process that is just exiting keeps its cgroup busy for a moment.
    static func remove(_ directory: String) throws(SysError) {
        for child in try children(directory) { try remove(directory + "/" + child) }
        let deadline = MonotonicClock.now() + 2_000_000_000
        while rmdir(directory) != 0 {
            let code = errno
            if code == ENOENT { return }
            if code != EBUSY || MonotonicClock.now() > deadline { throw SysError(code, "rmdir", path: directory) }
            usleep(1000)
        }
    }

    /// Value of a "name value" line; 0 when there is none.
    static func field(_ name: String, in text: String) -> UInt64 {
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2, words[0] == name { return UInt64(words[1]) ?? 0 }
        }
        return 0
    }

    /// Sums over all devices of lines "8:0 Read 4096".
    static func traffic(v1 text: String) -> (reads: UInt64, writes: UInt64) {
        var (reads, writes): (UInt64, UInt64) = (0, 0)
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count == 3, let value = UInt64(words[2]) else { continue }
            if words[1] == "Read" { reads += value }
            if words[1] == "Write" { writes += value }
        }
        return (reads, writes)
    }

    /// Sum over all devices of one value of lines "8:0 rbytes=1 wbytes=2 rios=3 wios=4".
    static func traffic(v2 text: String, _ name: String) -> UInt64 {
        var sum: UInt64 = 0
        for word in text.split(whereSeparator: \.isWhitespace) where word.hasPrefix(name + "=") {
            sum += UInt64(word.dropFirst(name.utf8.count + 1)) ?? 0
        }
        return sum
    }
}
