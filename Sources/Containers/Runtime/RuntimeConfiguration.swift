import Linux
import Logging

/// Where a runtime keeps its things and what it starts.
package struct RuntimeConfiguration: Sendable {
    /// Records and writable layers, on a disk that overlayfs can write to: <data-dir>/agent/containerd.
    package var root: String
    /// Namespaces and the shim's socket, gone after a reboot: /run/k3s/containerd.
    package var state: String
    /// Put before every cgroup path; lets several nodes share a machine. Empty: the hierarchy's root.
    package var cgroupPrefix = ""
    /// Program and arguments before "--directory".
    package var shimCommand: [String] = ["/proc/self/exe", ShimMain.role]
    /// Where relative localhost seccomp profiles are looked up: <kubelet root>/seccomp.
    package var seccompProfileRoot = "/var/lib/kubelet/seccomp"
    package var logMaxBytes: UInt32 = 10 << 20
    package var logMaxFiles: UInt32 = 5
    package var logger = Logger(label: "containers")

    package init(root: String, state: String) { (self.root, self.state) = (root, state) }

    func sandboxRoot(_ id: String) -> String { root + "/sandboxes/" + id }
    func sandboxState(_ id: String) -> String { state + "/sandboxes/" + id }
    func containerRoot(_ id: String) -> String { root + "/containers/" + id }
    /// Empty directory on which containers mount their roots, each in its own mount namespace.
    var rootMountPoint: String { state + "/rootfs" }

    /// A path in the cgroup hierarchies.
    func cgroup(_ path: String) -> String { cgroupPrefix.isEmpty ? path : cgroupPrefix + "/" + path }
    func cgroup(of sandbox: SandboxConfig) -> String {
        cgroup(sandbox.cgroupParent + "/pod" + sandbox.podUID)
    }
    var shimCgroup: String { cgroup("k3s-shim") }
}
