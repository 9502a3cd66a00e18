/// The kernel options that matter, and how much. The original's lists, except that what it needs for iptables is only worth
/// a warning here, and what nf_tables needs is required.
enum KernelOptions {
    struct Group: Sendable {
        var title: String
        var depth: Int
        var whenMissing: CheckReport.Level
        var names: [String]
    }

    static func groups(_ version: KernelVersion) -> [Group] {
        var optional = words(
            """
            USER_NS BLK_CGROUP BLK_DEV_THROTTLING CGROUP_PERF CGROUP_HUGETLB NET_CLS_CGROUP CFS_BANDWIDTH
            FAIR_GROUP_SCHED RT_GROUP_SCHED IP_NF_TARGET_REDIRECT IP_SET IP_VS IP_VS_NFCT IP_VS_PROTO_TCP IP_VS_PROTO_UDP
            IP_VS_RR EXT4_FS EXT4_FS_POSIX_ACL EXT4_FS_SECURITY
            """)
        optional.append(version <= KernelVersion(3, 13) ? "NETPRIO_CGROUP" : "CGROUP_NET_PRIO")
        if version < KernelVersion(4, 8) { optional.append("DEVPTS_MULTIPLE_INSTANCES") }
        if version <= KernelVersion(4, 5) { optional.append("MEMCG_KMEM") }
        if version <= KernelVersion(3, 18) { optional.append("RESOURCE_COUNTERS") }
        var encrypted = words(
            "CRYPTO CRYPTO_AEAD CRYPTO_GCM CRYPTO_SEQIV CRYPTO_GHASH XFRM XFRM_USER XFRM_ALGO INET_ESP WIREGUARD")
        if version < KernelVersion(5, 2) { encrypted.append("INET_XFRM_MODE_TRANSPORT") }
        return [
            Group(
                title: "Generally Necessary:", depth: 0, whenMissing: .fail,
                names: words(
                    """
                    NAMESPACES NET_NS PID_NS IPC_NS UTS_NS CGROUPS CGROUP_PIDS CGROUP_CPUACCT CGROUP_DEVICE CGROUP_FREEZER
                    CGROUP_SCHED CPUSETS MEMCG SECCOMP SECCOMP_FILTER KEYS VETH BRIDGE BRIDGE_NETFILTER POSIX_MQUEUE
                    """)),
            Group(
                title: "Packet filter (nf_tables):", depth: 0, whenMissing: .fail,
                names: words(
                    """
                    NF_TABLES NF_TABLES_INET NF_CONNTRACK NF_NAT NFT_CT NFT_NAT NFT_MASQ NFT_REJECT NFT_NUMGEN NFT_FIB_INET
                    """)),
            Group(title: "Optional Features:", depth: 0, whenMissing: .warn, names: optional),
            Group(
                title: "For iptables of other programs:", depth: 0, whenMissing: .warn,
                names: words(
                    """
                    IP_NF_FILTER IP_NF_TARGET_MASQUERADE IP_NF_TARGET_REJECT IP_NF_NAT NFT_COMPAT NETFILTER_XT_MATCH_ADDRTYPE
                    NETFILTER_XT_MATCH_CONNTRACK NETFILTER_XT_MATCH_IPVS NETFILTER_XT_MATCH_COMMENT
                    NETFILTER_XT_MATCH_MULTIPORT NETFILTER_XT_MATCH_STATISTIC
                    """)),
            Group(title: "Network Drivers: \"overlay\":", depth: 0, whenMissing: .warn, names: ["VXLAN"]),
            Group(title: "Optional (for encrypted networks):", depth: 2, whenMissing: .warn, names: encrypted),
            Group(title: "Storage Drivers: \"overlay\":", depth: 0, whenMissing: .fail, names: ["OVERLAY_FS"]),
        ]
    }

    private static func words(_ text: String) -> [String] {
        text.split(whereSeparator: \.isWhitespace).map(String.init)
    }

    static func check(_ config: KernelConfig, _ version: KernelVersion, into report: inout CheckReport) {
        for group in groups(version) {
            report.section(group.title, depth: group.depth)
            for name in group.names {
                switch config[name] {
                case .builtIn: report.add("CONFIG_\(name)", "enabled", .good)
                case .module: report.add("CONFIG_\(name)", "enabled (as module)", .good)
                case .missing: report.add("CONFIG_\(name)", "missing", group.whenMissing)
                }
            }
        }
    }
}
