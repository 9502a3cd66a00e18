internal import Linux

/// Reads what eviction looks at. One statvfs per file system and a line of /proc each: nothing to speak of.
struct EvictionSources: Sendable {
    let proc: String
    let pods: String
    let images: String?

    func observe(_ signals: Set<EvictionSignal>) -> [EvictionSignal: EvictionObservation] {
        var observations: [EvictionSignal: EvictionObservation] = [:]
        if signals.contains(.memoryAvailable) { observations[.memoryAvailable] = memory() }
        if signals.contains(.pidAvailable) { observations[.pidAvailable] = processes() }
        for (bytes, files, path) in [
            (EvictionSignal.nodeFSAvailable, EvictionSignal.nodeFSInodesFree, pods),
            (.imageFSAvailable, .imageFSInodesFree, images ?? pods),
        ] where signals.contains(bytes) || signals.contains(files) {
            guard let space = HostFacts.fileSystem(path) else { continue }
            observations[bytes] = space.bytes
            // btrfs and others have no number of files.
            if space.files.capacity > 0 { observations[files] = space.files }
        }
        return observations.filter { signals.contains($0.key) }
    }

    /// Capacity without the working set, which is what is not free and not inactive page cache: cadvisor's view of the
    /// root cgroup.
    private func memory() -> EvictionObservation? {
        var (total, free, inactive): (Int64?, Int64?, Int64?)
        for line in (Files.text(proc + "/meminfo") ?? "").split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count >= 2, let amount = Int64(words[1]) else { continue }
            switch words[0] {
            case "MemTotal:": total = amount * 1024
            case "MemFree:": free = amount * 1024
            case "Inactive(file):": inactive = amount * 1024
            default: break
            }
        }
        guard let total, let free else { return nil }
        return EvictionObservation(available: min(free + (inactive ?? 0), total), capacity: total)
    }

    /// Threads there may be and are: the lesser of the limits on numbers and on threads.
    private func processes() -> EvictionObservation? {
        let limits = ["/sys/kernel/pid_max", "/sys/kernel/threads-max"].compactMap {
            Files.line(proc + $0).flatMap { Int64($0) }
        }
        // "0.20 0.18 0.12 1/80 11206": the fourth has running and all threads.
        guard let limit = limits.min(),
            let all = Files.line(proc + "/loadavg")?.split(separator: " ").dropFirst(3).first?
                .split(separator: "/").last.flatMap({ Int64($0) })
        else { return nil }
        return EvictionObservation(available: max(limit - all, 0), capacity: limit)
    }

    /// Images have a file system of their own.
    var areImagesApart: Bool {
        guard let images, let a = try? Files.status(pods), let b = try? Files.status(images) else { return false }
        return a.st_dev != b.st_dev
    }
}

extension HostFacts {
    /// Of the file system behind `path`, or its nearest parent that exists: bytes and files.
    static func fileSystem(_ path: String) -> (bytes: EvictionObservation, files: EvictionObservation)? {
        var at = path
        while !Files.exists(at), at != "/", at != "." { at = Path.parent(at) }
        var info = statvfs()
        guard statvfs(at, &info) == 0 else { return nil }
        let block = Int64(clamping: info.f_frsize)
        return (
            EvictionObservation(
                available: Int64(clamping: info.f_bavail) * block, capacity: Int64(clamping: info.f_blocks) * block),
            EvictionObservation(
                available: Int64(clamping: info.f_favail), capacity: Int64(clamping: info.f_files))
        )
    }
}
