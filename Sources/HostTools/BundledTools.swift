import Linux

/// The tools as links below the data folder, at the original's places: `data/current/bin/aux` holds those that the host may
/// have as well, `data/current/bin` the clients. What the node starts (CNI plugins, mount helpers) finds them by PATH, behind
/// the host's own, or with `--prefer-bundled-bin` before them.
package enum BundledTools {
    package static let clients = ["k3s", "kubectl", "crictl", "ctr"]
    package static let standardPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    /// The original's folder is named after a digest of what it has unpacked.
    private static let folder = "k3s"

    /// Makes the links, or leads them to `program` where they are of an earlier one.
    package static func install(dataDirectory: String, program: String) throws(SysError) {
        let data = dataDirectory + "/data"
        let bin = "\(data)/\(folder)/bin"
        try Directories.make(bin + "/aux", mode: 0o755)
        for name in clients { try Files.replaceLink("\(bin)/\(name)", to: program) }
        for name in HostTool.names { try Files.replaceLink("\(bin)/aux/\(name)", to: program) }
        try Files.replaceLink(data + "/current", to: folder)
    }

    /// Whether a tool of that path is this program.
    package static func isOwn(_ path: String) -> Bool {
        guard let own = try? Files.status("/proc/self/exe"), let other = try? Files.status(path) else { return false }
        return own.st_dev == other.st_dev && own.st_ino == other.st_ino
    }

    /// PATH of what the node starts. What an earlier start of this process has put into `inherited` is left out first.
    package static func searchPath(dataDirectory: String, inherited: String?, isPreferred: Bool) -> String {
        let data = dataDirectory + "/data"
        let before = [data + "/cni", data + "/current/bin"]
        let tools = data + "/current/bin/aux"
        let given = inherited.map { $0.isEmpty ? standardPath : $0 } ?? standardPath
        let own = Set(before + [tools])
        let host = given.split(separator: ":").map(String.init).filter { !own.contains($0) }
        return (before + (isPreferred ? [tools] + host : host + [tools])).joined(separator: ":")
    }
}
