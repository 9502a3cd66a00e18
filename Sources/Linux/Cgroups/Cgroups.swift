/// The cgroups of the machine: version 1 or 2 behind one face. A cgroup is named by its path below the hierarchies'
/// roots, "kubepods/burstable/pod1/abc".
///
/// Sources: Documentation/admin-guide/cgroup-v1, cgroup-v2.rst.
package protocol Cgroups: Sendable {
    var version: Int { get }
    /// systemd makes them.
    var isSystemd: Bool { get }
    /// Where a path's directory is, below the root of the hierarchies.
    func place(_ path: String) -> String
    /// What Kubernetes needs and the kernel does not offer, each as a sentence for the administrator.
    var problems: [String] { get }
    /// Makes the cgroup with its ancestors. Idempotent.
    func create(_ path: String) throws(SysError)
    /// Makes the cgroup in every hierarchy there is, and returns the files by which a process leaves all of its present
    /// cgroups for it: out of a service manager's reach.
    func createRefuge(_ path: String) throws(SysError) -> [String]
    /// The cgroup that was made has a process of its own now, or never will.
    func settled(_ path: String)
    func apply(_ limits: CgroupLimits, to path: String) throws(SysError)
    /// Restricts device access of the cgroup to the rules.
    func restrictDevices(_ rules: [DeviceRule], of path: String) throws(SysError)
    /// All processes of the cgroup and of those below it are OOM killed together (v2 only).
    func killTogether(_ path: String) throws(SysError)
    func processes(_ path: String) throws(SysError) -> [Int32]
    func stats(_ path: String) throws(SysError) -> CgroupStats
    /// Stops every process at and below the cgroup where it is, or lets them go on. Returns when that is so.
    func freeze(_ path: String, _ frozen: Bool) throws(SysError)
    /// Kills everything at and below the cgroup and waits, briefly, until it is empty.
    func kill(_ path: String) throws(SysError)
    /// Removes the cgroup and those below it, which must be empty of processes. Missing is fine.
    func remove(_ path: String) throws(SysError)
    func exists(_ path: String) -> Bool
    /// Names of the cgroups directly below.
    func children(_ path: String) throws(SysError) -> [String]

    /// Files into which a process with one thread writes "0" to join. On v1 these are the "tasks" files: moving the
    /// calling thread alone spares the kernel a lock over all processes, which waits for an RCU grace period (10 ms).
    func joinFiles(_ path: String) -> [String]
    /// Directory for clone3's CLONE_INTO_CGROUP; nil on v1.
    func cloneDirectory(_ path: String) -> String?
    /// File with a line "oom_kill N".
    func oomFile(_ path: String) -> String
    /// File by which what is left of a container can be killed: cgroup.kill or a cgroup.procs.
    func killFile(_ path: String) -> String
    /// What a container sees below /sys/fs/cgroup: mount type, directory and options; plus symbolic links.
    var containerMounts: [CgroupMount] { get }
}

extension Cgroups {
    package var isSystemd: Bool { false }
    package func place(_ path: String) -> String { path }
    package func settled(_ path: String) {}
}

/// A cgroup file system as a container mounts it in its own cgroup namespace.
package struct CgroupMount: Sendable, Equatable {
    /// "cgroup" or "cgroup2"
    package var type: String
    /// Below /sys/fs/cgroup; empty for v2.
    package var name: String
    package var options: String
    package init(type: String, name: String, options: String) {
        (self.type, self.name, self.options) = (type, name, options)
    }
}

/// The hierarchies in use, from mountinfo.
package enum CgroupDetection {
    /// The unified hierarchy when it has controllers (hybrid systems mount it without), otherwise version 1.
    package static func detect() throws(SysError) -> any Cgroups {
        try detect(mounts: MountInfo.current())
    }

    package static func detect(mounts: [MountInfo]) throws(SysError) -> any Cgroups {
        if let unified = mounts.last(where: { $0.type == "cgroup2" }) {
            let controllers = try Files.readIfPresent(unified.mountPoint + "/cgroup.controllers") ?? []
            let names = String(decoding: controllers, as: UTF8.self).split(whereSeparator: \.isWhitespace)
            let v1 = mounts.contains { $0.type == "cgroup" && $0.superOptions.contains("memory") }
            if !v1 || names.contains("memory") { return CgroupsV2(root: unified.mountPoint) }
        }
        var hierarchies: [CgroupsV1.Hierarchy] = []
        for mount in mounts where mount.type == "cgroup" {
            let flags: Set<String> = ["rw", "ro", "xattr", "clone_children", "noprefix"]
            let options = mount.superOptions.filter { !flags.contains($0) && !$0.hasPrefix("release_agent=") }
            if hierarchies.contains(where: { $0.options == options }) { continue }
            hierarchies.append(.init(mountPoint: mount.mountPoint, options: options))
        }
        guard !hierarchies.isEmpty else {
            throw SysError(
                ENOENT, call: "find cgroups (neither version 1 nor version 2 is mounted: mount -t cgroup2 cgroup2)",
                path: "/sys/fs/cgroup")
        }
        return CgroupsV1(hierarchies: hierarchies)
    }
}

/// One entry of a container's device list.
package struct DeviceRule: Sendable, Equatable {
    package enum Kind: String, Sendable { case all = "a", char = "c", block = "b" }
    package var kind: Kind
    /// nil: any.
    package var major: UInt32?
    package var minor: UInt32?
    package var read = true
    package var write = true
    package var mknod = true

    package init(_ kind: Kind, _ major: UInt32?, _ minor: UInt32?, access: String = "rwm") {
        (self.kind, self.major, self.minor) = (kind, major, minor)
        (read, write, mknod) = (access.contains("r"), access.contains("w"), access.contains("m"))
    }

    /// Everything: privileged containers.
    package static let everything = [DeviceRule(.all, nil, nil)]

    /// runc's and containerd's list: any node may be made, these may be used.
    package static let containerDefault: [DeviceRule] = [
        DeviceRule(.char, nil, nil, access: "m"), DeviceRule(.block, nil, nil, access: "m"),
        DeviceRule(.char, 1, 3), DeviceRule(.char, 1, 5), DeviceRule(.char, 1, 7), DeviceRule(.char, 1, 8),
        DeviceRule(.char, 1, 9), DeviceRule(.char, 5, 0), DeviceRule(.char, 5, 1), DeviceRule(.char, 5, 2),
        DeviceRule(.char, 136, nil),
    ]

    var access: String { (read ? "r" : "") + (write ? "w" : "") + (mknod ? "m" : "") }

    /// A line of devices.allow.
    package var line: String {
        "\(kind.rawValue) \(major.map(String.init) ?? "*"):\(minor.map(String.init) ?? "*") \(access)"
    }
}
