package import Linux

/// Mounts that volumes need; tests without root put directories in their place.
package protocol VolumeMounter: Sendable {
    func mountTmpfs(_ path: String, sizeBytes: Int64?, mode: UInt32) throws(SysError)
    /// `source` may be /proc/self/fd/N.
    func bind(_ source: String, to target: String, readOnly: Bool) throws(SysError)
    /// Not mounted is success.
    func unmount(_ path: String) throws(SysError)
    /// Mount points at and below `path`, deepest first.
    func mounts(below path: String) -> [String]
}

package struct KernelMounter: VolumeMounter {
    package init() {}

    package func mountTmpfs(_ path: String, sizeBytes: Int64?, mode: UInt32) throws(SysError) {
        var options = "mode=0" + String(mode, radix: 8)
        if let sizeBytes, sizeBytes > 0 { options += ",size=\(sizeBytes)" }
        let data = options
        try syscall("mount", path) {
            data.withCString { mount("tmpfs", path, "tmpfs", 0, UnsafeRawPointer($0)) }
        }
    }

    package func bind(_ source: String, to target: String, readOnly: Bool) throws(SysError) {
        let bind = UInt(4096)
        let recursive = UInt(16384)
        try syscall("mount", target) { mount(source, target, nil, bind | recursive, nil) }
        guard readOnly else { return }
        let remount = UInt(32)
        let readOnlyFlag = UInt(1)
        try syscall("mount", target) { mount(nil, target, nil, bind | remount | readOnlyFlag, nil) }
    }

    package func unmount(_ path: String) throws(SysError) {
        let detach = Int32(2)
        let noFollow = Int32(8)
        if umount2(path, detach | noFollow) == 0 || errno == EINVAL || errno == ENOENT { return }
        throw SysError(errno, "umount", path: path)
    }

    package func mounts(below path: String) -> [String] {
        guard let table = Files.text("/proc/self/mountinfo", limit: 16 << 20) else { return [] }
        var found: [String] = []
        for line in table.split(separator: "\n") {
            let fields = line.split(separator: " ", maxSplits: 5)
            guard fields.count > 4 else { continue }
            let point = Self.unescaped(fields[4])
            if point == path || point.hasPrefix(path + "/") { found.append(point) }
        }
        return found.reversed().sorted { $0.utf8.count > $1.utf8.count }
    }

    /// mountinfo writes blanks and backslashes as \ooo.
    private static func unescaped(_ text: Substring) -> String {
        guard text.contains("\\") else { return String(text) }
        let bytes = Array(text.utf8)
        var out: [UInt8] = []
        var at = 0
        while at < bytes.count {
            if bytes[at] == UInt8(ascii: "\\"), at + 3 < bytes.count,
                let code = UInt8(String(decoding: bytes[at + 1...at + 3], as: UTF8.self), radix: 8)
            {
                out.append(code)
                at += 4
            } else {
                out.append(bytes[at])
                at += 1
            }
        }
        return String(decoding: out, as: UTF8.self)
    }
}
