package import Linux
internal import Netlink

/// Which resolv.conf pods with dnsPolicy Default get: one whose servers can be reached from a network namespace of its own.
/// A stub on the node's loopback (systemd-resolved, dnsmasq) cannot. Source: k3s, pkg/agent/config.
package enum ResolvConfChoice {
    package static let candidates = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"]
    static let fallback = "nameserver 8.8.8.8\nnameserver 2001:4860:4860::8888\n"

    /// The first usable candidate; where there is none, `generated`, which is written with public servers.
    package static func path(
        candidates: [String] = Self.candidates, generated: String
    ) throws(SysError) -> String {
        for path in candidates {
            if let text = Files.text(path), isUsable(text) { return path }
        }
        try Directories.make(Path.parent(generated), mode: 0o755)
        try Files.writeAtomically(generated, Array(fallback.utf8), mode: 0o644)
        return generated
    }

    static func isUsable(_ text: String) -> Bool {
        let servers = HostFiles.Resolver(parsing: text).servers
        return !servers.isEmpty
            && servers.allSatisfy { server in
                guard let address = IPAddress(server) else { return false }
                // The metadata service of clouds resolves names, too.
                if server == "169.254.169.254" { return true }
                return !address.isLoopback && !address.isLinkLocal && !address.isUnspecified && !isMulticast(address)
            }
    }

    private static func isMulticast(_ address: IPAddress) -> Bool {
        switch address {
        case .v4(let value): value >> 28 == 0xe
        case .v6(let high, _): high >> 56 == 0xff
        }
    }
}
