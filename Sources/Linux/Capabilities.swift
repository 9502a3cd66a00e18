/// A set of capabilities(7).
package struct CapabilitySet: OptionSet, Sendable, Hashable, CustomStringConvertible {
    package var rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }

    /// In the order of their numbers.
    package static let names: [String] = [
        "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
        "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
        "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
        "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
        "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
        "CHECKPOINT_RESTORE",
    ]

    /// "NET_ADMIN", "CAP_NET_ADMIN" or "net_admin"; nil when there is no such capability.
    package init?(name: String) {
        var key = name.uppercased()
        if key.hasPrefix("CAP_") { key.removeFirst(4) }
        guard let bit = Self.names.firstIndex(of: key) else { return nil }
        rawValue = 1 << UInt64(bit)
    }

    /// What containerd and Docker give to a container unless it is told otherwise.
    package static let containerDefault: CapabilitySet = {
        let names = [
            "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
            "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
        ]
        return CapabilitySet(names.compactMap { CapabilitySet(name: $0) })
    }()

    /// Everything this process could give away: its own bounding set, which is also bounded by what the kernel knows.
    package static func bounding() -> CapabilitySet {
        var set = CapabilitySet()
        for bit in 0..<64 {
            // PR_CAPBSET_READ is 23; an unknown capability is EINVAL.
            let answer = k3s_prctl(23, UInt(bit), 0)
            if answer < 0 { break }
            if answer == 1 { set.insert(CapabilitySet(rawValue: 1 << UInt64(bit))) }
        }
        return set
    }

    package static func ofThisThread() throws(SysError) -> (effective: Self, permitted: Self, inheritable: Self) {
        var sets: (UInt64, UInt64, UInt64) = (0, 0, 0)
        try checked("capget") { k3s_capget(&sets.0, &sets.1, &sets.2) }
        return (Self(rawValue: sets.0), Self(rawValue: sets.1), Self(rawValue: sets.2))
    }

    package var description: String {
        Self.names.enumerated().filter { rawValue >> UInt64($0.offset) & 1 == 1 }.map { "CAP_" + $0.element }
            .joined(separator: ",")
    }
}
