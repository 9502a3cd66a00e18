import Netlink

/// What k3s needs of the kernel's nf_tables, and whether it is there. iptables alone is not enough: its rules are walked one
/// by one and replaced as a whole.
package enum KernelSupport {
    package struct Need: Sendable, Equatable {
        package var title: String
        /// Of the kernel's configuration.
        package var options: [String]
        package var hook: NFHook
        package var expressions: [NFExpression]
    }

    package struct Missing: Error, Sendable, Equatable, CustomStringConvertible {
        package var needs: [Need]
        package var description: String {
            let options = needs.flatMap(\.options).map { "CONFIG_" + $0 }
            return
                "the kernel lacks nf_tables or parts of it: \(needs.map(\.title).joined(separator: ", ")). Services, "
                + "host ports and network policies need \(options.joined(separator: ", ")) (built in or as modules that can be "
                + "loaded); iptables alone is not enough. \"k3s check-config\" says more"
        }
    }

    private static let filter = NFHook(.filter, .input, priority: 0)

    package static let needs: [Need] = [
        Need(
            title: "tables and chains", options: ["NETFILTER_NETLINK", "NF_TABLES", "NF_TABLES_IPV4"], hook: filter,
            expressions: []),
        Need(
            title: "NAT chains", options: ["NF_NAT", "NFT_NAT"], hook: NFHook(.nat, .prerouting, priority: -100),
            expressions: []),
        Need(
            title: "masquerade", options: ["NFT_MASQ"], hook: NFHook(.nat, .postrouting, priority: 100),
            expressions: [.masquerade(fullyRandom: true)]),
        Need(
            title: "connection tracking", options: ["NF_CONNTRACK", "NFT_CT"], hook: filter,
            expressions: [.conntrack(.state, into: NFRegister(0))]),
        Need(
            title: "address types (fib)", options: ["NFT_FIB_INET", "NFT_FIB_IPV4"], hook: filter,
            expressions: [.addressType(ofSource: false, into: NFRegister(0))]),
        Need(
            title: "random numbers (numgen)", options: ["NFT_NUMGEN"], hook: filter,
            expressions: [.numberGenerator(random: true, modulus: 2, into: NFRegister(0))]),
        Need(
            title: "reject", options: ["NFT_REJECT", "NFT_REJECT_IPV4"], hook: filter,
            expressions: [
                // A TCP reset answers TCP only.
                .meta(.transportProtocol, into: NFRegister(0)), .compare(NFRegister(0), .equal, [6]),
                .reject(.tcpReset),
            ]),
    ]

    /// Makes and removes a table in one transaction: all at once where all is there, which costs less than a millisecond.
    /// - Throws: `Missing`, or what else the kernel said (no permission).
    package static func check(_ backend: any RulesetBackend) throws {
        do throws(NetlinkError) {
            try attempt(needs, backend)
        } catch {
            guard isMissing(error) else { throw error }
            var missing: [Need] = []
            for need in needs {
                do throws(NetlinkError) { try attempt([need], backend) } catch {
                    guard isMissing(error) else { throw error }
                    missing.append(need)
                }
            }
            // Nothing alone: then it was not for want of anything.
            if missing.isEmpty { throw error }
            throw Missing(needs: missing)
        }
    }

    package static func attempt(_ needs: [Need], _ backend: any RulesetBackend) throws(NetlinkError) {
        let table = NFTable(.ip, "k3s-probe")
        var commands: [NFCommand] = [.addTable(table)]
        for (index, need) in needs.enumerated() {
            let chain = NFChain("probe-\(index)", hook: need.hook)
            commands.append(.addChain(table, chain))
            if !need.expressions.isEmpty {
                commands.append(.addRule(table, chain: chain.name, NFRule(need.expressions)))
            }
        }
        try backend.commit(commands + [.deleteTable(table)], purpose: "look for nf_tables")
    }

    private static func isMissing(_ error: NetlinkError) -> Bool {
        // An expression or chain type that is not there is ENOENT, a family EOPNOTSUPP or EAFNOSUPPORT, all of it EINVAL.
        error.isUnsupported || error.isNotFound || error.code == 22
    }
}
