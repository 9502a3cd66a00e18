import Linux

/// The cgroups of pods and of their classes, for a runtime that is told where to put its containers
/// (`linux.cgroup_parent` of CRI) and leaves what is above them to the kubelet. All calls block for moments.
package struct PodCgroups: Sendable {
    /// Below which a pod's cgroup may be, by the pod's class.
    private static let parents = ["kubepods", "kubepods/burstable", "kubepods/besteffort"]

    package let cgroups: any Cgroups
    /// Put before every path; empty: the hierarchy's root.
    private let prefix: String

    package init(prefix: String, cgroups: (any Cgroups)? = nil) throws(SysError) {
        if let cgroups { self.cgroups = cgroups } else { self.cgroups = try CgroupDetection.detect() }
        self.prefix = prefix
    }

    /// The same with systemd in between, or without.
    package func made(by driver: CgroupDriver) throws(SysError) -> PodCgroups {
        let found = try CgroupDetection.detect(driver: driver, environment: [:])
        if let problem = found.problem { throw SysError(ENOTSUP, call: problem) }
        return try PodCgroups(prefix: prefix, cgroups: found.cgroups)
    }

    /// `cgroup_parent` of CRI: the pod's directory, which for systemd is that of its slice.
    package func parent(of config: SandboxConfig) -> String { "/" + cgroups.place(path(of: config)) }

    private func full(_ path: String) -> String { prefix.isEmpty ? path : prefix + "/" + path }

    /// Of a pod that is about to be made.
    package func path(of config: SandboxConfig) -> String { full(config.cgroupParent + "/pod" + config.podUID) }

    /// Of a pod that runs; nil: there is none.
    package func path(podUID: String) -> String? {
        guard !podUID.isEmpty, !podUID.contains("/") else { return nil }
        return Self.parents.map { full($0 + "/pod" + podUID) }.first { cgroups.exists($0) }
    }

    package func create(_ config: SandboxConfig) throws(SysError) {
        let path = path(of: config)
        try cgroups.create(path)
        try cgroups.apply(CgroupLimits(config.resources), to: path)
    }

    package func update(podUID: String, _ resources: ContainerResources) throws(SysError) {
        guard let path = path(podUID: podUID) else { throw SysError(ENOENT, "cgroup of the pod", path: podUID) }
        try cgroups.apply(CgroupLimits(resources), to: path)
    }

    /// One above the pods'.
    package func update(class path: String, _ resources: ContainerResources) throws(SysError) {
        try cgroups.create(full(path))
        try cgroups.apply(CgroupLimits(resources), to: full(path))
    }

    /// Ends what is left in it. Missing is fine.
    package func remove(podUID: String) throws(SysError) {
        guard let path = path(podUID: podUID) else { return }
        try cgroups.kill(path)
        try cgroups.remove(path)
    }

    /// nil: the runtime has put the container (or nothing of the pod) somewhere else.
    package func stats(podUID: String, container: String? = nil) throws(SysError) -> ContainerStats? {
        guard let pod = path(podUID: podUID) else { return nil }
        // Ours in systemd's form is containerd's as well.
        let path = container.map { pod + "/" + $0 } ?? pod
        guard cgroups.exists(path) else { return nil }
        return ContainerStats(try cgroups.stats(path))
    }
}
