/// In the place of cgroups where this process has none of its own (rootless without delegation): what would be a cgroup is an
/// empty directory, so that it is known what there is; nothing is limited, counted or killed by it.
package struct NoCgroups: Cgroups {
    /// Of the directories.
    private let root: String
    package let version = 0
    package let problems: [String]

    package init(root: String, problem: String) {
        self.root = root
        problems = [problem]
    }

    private func directory(_ path: String) -> String { root + "/" + path }

    package func create(_ path: String) throws(SysError) { try Directories.make(directory(path), mode: 0o755) }
    package func createRefuge(_ path: String) throws(SysError) -> [String] { [] }
    package func apply(_ limits: CgroupLimits, to path: String) {}
    package func restrictDevices(_ rules: [DeviceRule], of path: String) {}
    package func killTogether(_ path: String) {}
    package func processes(_ path: String) -> [Int32] { [] }
    package func stats(_ path: String) -> CgroupStats { CgroupStats() }
    package func freeze(_ path: String, _ frozen: Bool) throws(SysError) {
        throw SysError(ENOTSUP, call: "freeze without cgroups", path: path)
    }
    package func kill(_ path: String) {}
    package func remove(_ path: String) throws(SysError) { try Directories.removeTree(directory(path)) }
    package func exists(_ path: String) -> Bool { Files.exists(directory(path)) }
    package func children(_ path: String) throws(SysError) -> [String] { try CgroupTree.children(directory(path)) }
    package func joinFiles(_ path: String) -> [String] { [] }
    package func cloneDirectory(_ path: String) -> String? { nil }
    package func oomFile(_ path: String) -> String { "" }
    package func killFile(_ path: String) -> String { "" }
    package var containerMounts: [CgroupMount] { [] }
}
