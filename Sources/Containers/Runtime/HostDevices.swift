import Linux

/// Device nodes of the host that a container gets.
enum HostDevices {
    /// Nodes to make and rules for the cgroup.
    static func resolve(_ config: ContainerConfig) throws(RuntimeError) -> (nodes: [DeviceNode], rules: [DeviceRule]) {
        if config.security.privileged { return (all(), DeviceRule.everything) }
        var nodes: [DeviceNode] = [], rules = DeviceRule.containerDefault
        for entry in config.devices {
            let parts = entry.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
            let path = parts[0]
            let target = parts.count > 1 && !parts[1].isEmpty ? parts[1] : path
            let access = parts.count > 2 && !parts[2].isEmpty ? parts[2] : "rwm"
            guard path.hasPrefix("/"), target.hasPrefix("/"), access.allSatisfy({ "rwm".contains($0) }) else {
                throw RuntimeError(.invalid, "devices: expected HOST[:CONTAINER[:rwm]], got \"\(entry)\"")
            }
            guard var node = node(path) else {
                throw RuntimeError(.startFailed, "devices: \(path) is not a device of this node")
            }
            let kind: DeviceRule.Kind = node.mode & UInt32(S_IFMT) == UInt32(S_IFBLK) ? .block : .char
            rules.append(DeviceRule(kind, node.major, node.minor, access: access))
            (node.source, node.path) = (path, Path.normalized(target))
            nodes.append(node)
        }
        return (nodes, rules)
    }

    private static func node(_ path: String) -> DeviceNode? {
        guard let status = try? Files.status(path) else { return nil }
        let type = status.st_mode & S_IFMT
        guard type == S_IFCHR || type == S_IFBLK else { return nil }
        return DeviceNode(
            path: path, mode: UInt32(status.st_mode), major: k3s_major(UInt64(status.st_rdev)),
            minor: k3s_minor(UInt64(status.st_rdev)), gid: min(UInt32(status.st_gid), 0xffff))
    }

    /// Everything below /dev, for privileged containers; not what a container has of its own.
    private static func all() -> [DeviceNode] {
        var nodes: [DeviceNode] = []
        collect("/dev", &nodes, depth: 0)
        return nodes
    }

    private static let skipped: Set<String> = [
        "/dev/pts", "/dev/shm", "/dev/fd", "/dev/mqueue", "/dev/console", "/dev/ptmx",
    ]

    private static func collect(_ directory: String, _ nodes: inout [DeviceNode], depth: Int) {
        // Plans are bounded; no machine has that many device nodes.
        guard depth < 8, nodes.count < 2048, let entries = try? Directories.list(directory) else { return }
        for entry in entries {
            let path = directory + "/" + entry.name
            if skipped.contains(path) { continue }
            switch entry.kind {
            case .directory: collect(path, &nodes, depth: depth + 1)
            case .other: if let node = node(path) { nodes.append(node) }
            case .file, .symbolicLink: break
            }
        }
    }
}
