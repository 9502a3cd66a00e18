import Containers
import Linux

/// A kernel's build configuration: the lines `CONFIG_NAME=y`, `=m` or a value.
struct KernelConfig: Sendable {
    enum Value: Sendable, Equatable { case builtIn, module, missing }

    var path: String
    private var values: [String: Value] = [:]
    var isEmpty: Bool { values.isEmpty }

    init(path: String, text: String) {
        self.path = path
        for line in text.split(separator: "\n") where line.hasPrefix("CONFIG_") {
            guard let equals = line.firstIndex(of: "=") else { continue }
            let name = String(line[..<equals].dropFirst("CONFIG_".count))
            switch line[line.index(after: equals)...] {
            case "n", "": continue
            case "m": values[name] = .module
            default: values[name] = .builtIn
            }
        }
    }

    subscript(name: String) -> Value { values[name] ?? .missing }

    /// Where a configuration may be, as the original looks for it.
    static func candidates(release: String) -> [String] {
        let flavour = release.split(separator: "-").last.map(String.init) ?? release
        return [
            "/proc/config.gz", "/boot/config-\(release)", "/boot/config-\(flavour)",
            "/usr/src/linux-\(release)/.config", "/usr/src/linux/.config",
        ]
    }

    /// The file named, or the first of the usual ones that is there.
    static func load(_ path: String?, release: String) throws -> KernelConfig {
        let paths = path.map { [$0] } ?? candidates(release: release)
        for candidate in paths where Files.exists(candidate) {
            do throws(SysError) {
                let bytes = try DecompressedFile.read(candidate, limit: 8 << 20)
                let config = KernelConfig(path: candidate, text: String(decoding: bytes, as: UTF8.self))
                guard !config.isEmpty else { throw SysError(EINVAL, "find a line CONFIG_...=", path: candidate) }
                return config
            } catch {
                throw UsageError("error: cannot read the kernel config: \(error)")
            }
        }
        throw UsageError(
            path.map { "error: cannot find kernel config \($0)" }
                ?? "error: cannot find kernel config\n  try running this script again, specifying the kernel config:\n"
                + "    CONFIG=/path/to/kernel/.config k3s check-config or k3s check-config /path/to/kernel/.config")
    }
}

/// A kernel's version, as far as it decides about options.
struct KernelVersion: Comparable, Sendable {
    var major: Int
    var minor: Int

    init(_ major: Int, _ minor: Int) { (self.major, self.minor) = (major, minor) }

    /// The start of `uname -r`; what is no number counts as 0.
    init(release: String) {
        let parts = release.split { !$0.isNumber }.prefix(2).map { Int($0) ?? 0 }
        (major, minor) = (parts.first ?? 0, parts.count > 1 ? parts[1] : 0)
    }

    static func < (a: Self, b: Self) -> Bool { (a.major, a.minor) < (b.major, b.minor) }
}
