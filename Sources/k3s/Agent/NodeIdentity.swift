import Linux
import Transport

/// Who a machine is to its cluster: a password that is made once, so that no other machine can take the node's name, and
/// an id for `--with-node-id`. Both outlive the data directory.
enum NodeIdentity {
    /// 16 random bytes, hexadecimal.
    static func password(_ file: String) throws -> String {
        try kept(file) { try ClusterToken.newPassword() }
    }

    /// Eight hexadecimal digits, in `id` beside the password.
    static func id(besidePassword file: String) throws -> String {
        let folder = file.lastIndex(of: "/").map { String(file[..<$0]) } ?? "."
        return try kept(folder + "/id") { String(try ClusterToken.newPassword().prefix(8)) }
    }

    private static func kept(_ path: String, _ make: () throws -> String) throws -> String {
        do throws(SysError) {
            if let bytes = try Files.readIfPresent(path, limit: 4 << 10) {
                let text = String(decoding: bytes, as: UTF8.self)[...].trimmingSpaces()
                if !text.isEmpty { return text }
            }
        } catch {
            throw StartupError("\(path): \(error)")
        }
        let text = try make()
        do throws(SysError) {
            if let slash = path.lastIndex(of: "/"), slash != path.startIndex {
                try Directories.make(String(path[..<slash]), mode: 0o755)
            }
            try Files.writeAtomically(path, Array((text + "\n").utf8), mode: 0o600)
        } catch {
            throw StartupError("\(path): \(error)")
        }
        return text
    }
}
