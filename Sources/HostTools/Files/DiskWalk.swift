import Linux

/// One walk of `du`: sums of directories, each file once. Names are bytes, as the kernel has them.
struct DiskWalk {
    enum Follow { case never, operands, always }
    enum Time { case modification, access, status }

    struct Settings {
        var follow = Follow.never
        var apparent = false
        var countsInodes = false
        var countsLinks = false
        var separate = false
        var oneFileSystem = false
        var printsAll = false
        var maxDepth = Int.max
        /// Every file is remembered, not only those with several names: several operands may hold the same one.
        var remembersAll = false
        var exclude: [String] = []
        var time = Time.modification
        var threshold: Int64?
    }

    struct Sum {
        var size: UInt64 = 0
        var inodes: UInt64 = 0
        var time: (seconds: Int64, nanoseconds: Int64) = (.min, -1)

        mutating func add(_ other: Sum) {
            let (total, over) = size.addingReportingOverflow(other.size)
            size = over ? .max : total
            inodes += other.inodes
            if time.seconds < other.time.seconds
                || (time.seconds == other.time.seconds && time.nanoseconds < other.time.nanoseconds)
            {
                time = other.time
            }
        }
    }

    private struct Identity: Hashable { var device, inode: UInt64 }
    private enum Kind { case file, directory, unreadable }

    let settings: Settings
    private(set) var total = Sum()
    private(set) var failed = false
    private var seen: Set<Identity> = []
    private let print: (Sum, [UInt8]) -> Void
    private let complain: (String, [UInt8], Int32) -> Void

    /// `complain`: what could not be done ("cannot access"), with what, why.
    init(
        _ settings: Settings, print: @escaping (Sum, [UInt8]) -> Void,
        complain: @escaping (String, [UInt8], Int32) -> Void
    ) {
        (self.settings, self.print, self.complain) = (settings, print, complain)
        // A directory is open while what is below it is counted.
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
            limit.rlim_cur = limit.rlim_max
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        }
    }

    mutating func operand(_ path: [UInt8]) {
        var path = path
        while path.count > 1, path.last == UInt8(ascii: "/"), path[path.count - 2] == UInt8(ascii: "/") {
            path.removeLast()
        }
        _ = visit(AT_FDCWD, name: path, path: path, level: 0, root: nil, above: [])
    }

    /// Counts one file and what is below; nil when it does not count. `direct` is what the directory above adds to what
    /// lies right in it, `below` what is deeper.
    private mutating func visit(
        _ directory: Int32, name: [UInt8], path: [UInt8], level: Int, root: UInt64?, above: [Identity]
    ) -> (direct: Sum, below: Sum)? {
        if excluded(path) { return nil }
        let follows = settings.follow == .always || (settings.follow == .operands && level == 0)
        var status = k3s_tool_stat()
        let code = DiskWalk.withCString(name) { k3s_tool_stat(directory, $0, follows ? 1 : 0, &status) }
        if code < 0 {
            failed = true
            let isDangling =
                follows && -code == ENOENT
                && DiskWalk.withCString(name) { k3s_tool_stat(directory, $0, 0, &status) } >= 0
            complain("cannot access", path, isDangling ? 0 : -code)
            return nil
        }
        if settings.oneFileSystem, let root, root != status.device { return nil }
        let identity = Identity(device: status.device, inode: status.inode)
        let isDirectory = status.mode & S_IFMT == S_IFDIR
        if !settings.countsLinks, settings.remembersAll || (!isDirectory && status.links > 1),
            !seen.insert(identity).inserted
        {
            return nil
        }
        var own = Sum(size: 0, inodes: 1)
        own.size = UInt64(max(0, settings.apparent ? status.size : status.allocated))
        switch settings.time {
        case .modification: own.time = (status.mtime, status.mtime_nsec)
        case .access: own.time = (status.atime, status.atime_nsec)
        case .status: own.time = (status.ctime, status.ctime_nsec)
        }
        guard isDirectory else {
            finish(own, shown: own, kind: .file, path, level)
            return (own, Sum())
        }
        // Links to a directory above: only with -L and -l, everything else has seen it.
        if above.contains(identity) { return nil }
        var (inside, below) = (Sum(), Sum())
        let readable = eachName(directory, name, path) { walk, descriptor, child in
            let childPath = path.last == UInt8(ascii: "/") ? path + child : path + [UInt8(ascii: "/")] + child
            guard
                let sums = walk.visit(
                    descriptor, name: child, path: childPath, level: level + 1, root: root ?? status.device,
                    above: above + [identity])
            else { return }
            inside.add(sums.direct)
            below.add(sums.below)
        }
        var shown = own
        shown.add(inside)
        if !settings.separate { shown.add(below) }
        finish(own, shown: shown, kind: readable ? .directory : .unreadable, path, level)
        below.add(inside)
        return settings.separate ? (Sum(), below) : (own, below)
    }

    private mutating func finish(_ own: Sum, shown: Sum, kind: Kind, _ path: [UInt8], _ level: Int) {
        total.add(own)
        guard level == 0 || ((kind != .file || settings.printsAll) && level <= settings.maxDepth) else { return }
        let value = settings.countsInodes ? shown.inodes : shown.size
        if let threshold = settings.threshold {
            if threshold < 0 ? value > threshold.magnitude : value < threshold.magnitude { return }
        }
        print(shown, path)
    }

    /// Calls `body` for every name in the order of the directory. False when it cannot be read.
    private mutating func eachName(
        _ directory: Int32, _ name: [UInt8], _ path: [UInt8], _ body: (inout DiskWalk, Int32, [UInt8]) -> Void
    ) -> Bool {
        let descriptor = DiskWalk.withCString(name) {
            k3s_openat(directory, $0, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK, 0)
        }
        guard descriptor >= 0 else {
            failed = true
            complain("cannot read directory", path, -descriptor)
            return false
        }
        guard let stream = fdopendir(descriptor) else {
            failed = true
            complain("cannot read directory", path, errno)
            close(descriptor)
            return false
        }
        defer { closedir(stream) }
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                let code = errno
                if code == 0 { return true }
                failed = true
                complain("cannot read directory", path, code)
                return false
            }
            let child = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: UInt8.self, capacity: 256) {
                    Array(
                        UnsafeBufferPointer(
                            start: $0, count: strlen(UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))))
                }
            }
            if child == [UInt8(ascii: ".")] || child == [UInt8(ascii: "."), UInt8(ascii: ".")] { continue }
            body(&self, descriptor, child)
        }
    }

    /// A pattern (fnmatch(3)) may match the whole path or any end of it that begins a name.
    private func excluded(_ path: [UInt8]) -> Bool {
        if settings.exclude.isEmpty { return false }
        var starts = [0]
        for index in path.indices.dropLast()
        where path[index] == UInt8(ascii: "/") && path[index + 1] != UInt8(ascii: "/") {
            starts.append(index + 1)
        }
        return settings.exclude.contains { pattern in
            starts.contains { start in DiskWalk.withCString(Array(path[start...])) { fnmatch(pattern, $0, 0) == 0 } }
        }
    }

    static func withCString<R>(_ bytes: [UInt8], _ body: (UnsafePointer<CChar>) -> R) -> R {
        (bytes + [0]).withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return "".withCString(body) }
            return base.withMemoryRebound(to: CChar.self, capacity: buffer.count, body)
        }
    }
}
