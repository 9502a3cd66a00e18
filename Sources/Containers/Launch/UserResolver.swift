/// Whom a container's process runs as: ids of the pod's security context, or of the image, looked up in the image's
/// /etc/passwd and /etc/group.
package struct ResolvedUser: Sendable, Equatable {
    package var uid: UInt32 = 0
    package var gid: UInt32 = 0
    /// Supplementary groups, each once.
    package var groups: [UInt32] = []
    package var home = "/"
    package init(uid: UInt32 = 0, gid: UInt32 = 0, groups: [UInt32] = [], home: String = "/") {
        (self.uid, self.gid, self.groups, self.home) = (uid, gid, groups, home)
    }
}

package struct UserResolver: Sendable {
    private struct Account {
        var name: Substring
        var uid: UInt32
        var gid: UInt32
        var home: Substring
    }

    private struct Group {
        var name: Substring
        var gid: UInt32
        var members: [Substring]
    }

    private let accounts: [Account]
    private let groups: [Group]

    /// Lines that do not have the documented form are skipped, as libc does.
    package init(passwd: String, group: String) {
        accounts = passwd.split(whereSeparator: \.isNewline).compactMap { line in
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            guard fields.count >= 4, let uid = UInt32(fields[2]), let gid = UInt32(fields[3]) else { return nil }
            return Account(name: fields[0], uid: uid, gid: gid, home: fields.count > 5 ? fields[5] : "")
        }
        groups = group.split(whereSeparator: \.isNewline).compactMap { line in
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            guard fields.count >= 3, let gid = UInt32(fields[2]) else { return nil }
            return Group(name: fields[0], gid: gid, members: fields.count > 3 ? fields[3].split(separator: ",") : [])
        }
    }

    /// `image`: "", "uid", "name", "uid:gid", "name:group".
    package func resolve(image: String, security: ContainerSecurity) throws(RuntimeError) -> ResolvedUser {
        var user = image.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        var group: Substring? = user.count > 1 && !user[1].isEmpty ? user[1] : nil
        if user.isEmpty { user = [""] }
        var name = user[0]
        if let uid = security.runAsUser {
            (name, group) = (Substring(String(uid)), nil)
        }
        if let gid = security.runAsGroup { group = Substring(String(gid)) }
        let (account, uid) = try account(name)
        var result = ResolvedUser(uid: uid, gid: account?.gid ?? 0)
        if let group { result.gid = try self.group(group) }
        if let home = account?.home, !home.isEmpty { result.home = String(home) }
        // As containerd: the primary group and what /etc/group says of the user come first.
        var supplementary = [result.gid]
        if let account, !security.strictSupplementalGroups {
            supplementary += groups.filter { $0.members.contains(account.name) }.map(\.gid)
        }
        for gid in security.supplementalGroups { supplementary.append(try id(gid, "supplementalGroups")) }
        for gid in supplementary where !result.groups.contains(gid) { result.groups.append(gid) }
        return result
    }

    private func id(_ value: Int64, _ field: String) throws(RuntimeError) -> UInt32 {
        guard let id = UInt32(exactly: value), id != .max else {
            throw RuntimeError(.invalid, "\(field): \(value) is not a user or group id (0 to 4294967294)")
        }
        return id
    }

    private func account(_ name: Substring) throws(RuntimeError) -> (Account?, UInt32) {
        if name.isEmpty { return (accounts.first { $0.uid == 0 }, 0) }
        if let number = Int64(name) {
            let uid = try id(number, "user")
            return (accounts.first { $0.uid == uid }, uid)
        }
        guard let account = accounts.first(where: { $0.name == name }) else {
            throw RuntimeError(.createFailed, "unable to find user \(name): no matching entries in passwd file")
        }
        return (account, account.uid)
    }

    private func group(_ name: Substring) throws(RuntimeError) -> UInt32 {
        if let number = Int64(name) { return try id(number, "group") }
        guard let group = groups.first(where: { $0.name == name }) else {
            throw RuntimeError(.createFailed, "unable to find group \(name): no matching entries in group file")
        }
        return group.gid
    }
}
