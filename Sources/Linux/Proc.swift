/// Facts from /proc.
package enum Proc {
    package struct Memory: Sendable, Equatable {
        /// Bytes.
        package var resident: Int64 = 0
        /// Resident, shared pages divided by the number of their users.
        package var proportional: Int64 = 0
        package var anonymous: Int64 = 0
        package var privateDirty: Int64 = 0
    }

    /// Memory of a process by smaps_rollup.
    package static func memory(pid: Int32 = getpid()) throws(SysError) -> Memory {
        let text = try Files.readString("/proc/\(pid)/smaps_rollup")
        var memory = Memory()
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count >= 2, let kilobytes = Int64(fields[1]) else { continue }
            switch fields[0] {
            case "Rss:": memory.resident = kilobytes << 10
            case "Pss:": memory.proportional = kilobytes << 10
            case "Anonymous:": memory.anonymous = kilobytes << 10
            case "Private_Dirty:": memory.privateDirty = kilobytes << 10
            default: break
            }
        }
        return memory
    }

    /// A field of /proc/PID/status without its name and surrounding space; nil when there is none.
    package static func status(_ field: String, pid: Int32) throws(SysError) -> String? {
        for line in try Files.readString("/proc/\(pid)/status").split(separator: "\n") where line.hasPrefix(field + ":")
        {
            return String(line.dropFirst(field.count + 1).drop(while: { $0 == "\t" || $0 == " " }))
        }
        return nil
    }

    /// Path of the running program.
    package static func executable() throws(SysError) -> String { try Files.readLink("/proc/self/exe") }

    /// Number of open descriptors of this process.
    package static func openDescriptors() throws(SysError) -> Int {
        try Directories.list("/proc/self/fd").count - 1
    }
}
