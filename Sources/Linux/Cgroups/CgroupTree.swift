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

    /// SIGKILL until nothing is left; processes in uninterruptible sleep may outlive the two seconds.
    static func killAll(_ directory: String) throws(SysError) {
        let deadline = MonotonicClock.now() + 2_000_000_000
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
}
