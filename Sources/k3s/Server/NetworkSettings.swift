import Codecs
import Linux
import Netlink
import PodNetwork

/// What the flags say about the networks of pods, services and nodes. Lists have at most one entry per address family; the
/// first of the pod networks is that of the primary addresses.
struct NetworkSettings: Sendable {
    var clusterCIDRs: [String]
    var serviceCIDRs: [String]
    var clusterDNS: [String]
    /// `--node-ip`; empty: the addresses of the interface with the default route.
    var nodeIPs: [String]
    var externalIPs: [String]
    /// Prefix lengths of a node's part of the pod networks: `--kube-controller-manager-arg=node-cidr-mask-size-ipv4=...`.
    var nodeMasks: (ipv4: Int, ipv6: Int) = (24, 64)
    var backend: BackendKind
    var masqueradesIPv6: Bool
    /// Other nodes send to this node's external addresses.
    var usesExternalIPs: Bool
    var interface: String?
    /// Files in place of flannel's net-conf.json and of its CNI configuration.
    var flannelConfiguration: String?
    var cniConfiguration: String?

    init(_ flags: FlagValues) throws {
        func networks(_ flag: String, _ standard: String) throws -> [String] {
            let given = flags.commaList(flag)
            return try (given.isEmpty ? [standard] : given).map { try ServerConfiguration.cidr($0, flag) }
        }
        clusterCIDRs = try networks("cluster-cidr", "10.42.0.0/16")
        let isIPv6 = IPPrefix(clusterCIDRs[0])?.family == .ipv6
        serviceCIDRs = try networks("service-cidr", isIPv6 ? "fd00:43::/112" : "10.43.0.0/16")
        let servers = try flags.commaList("cluster-dns").map { try ServerConfiguration.address($0, "cluster-dns") }
        clusterDNS = servers.isEmpty ? serviceCIDRs.map { ServerConfiguration.hostAddress(10, of: $0) } : servers
        nodeIPs = try flags.commaList("node-ip").map { try ServerConfiguration.address($0, "node-ip") }
        externalIPs = try flags.commaList("node-external-ip").map {
            try ServerConfiguration.address($0, "node-external-ip")
        }
        let name = flags.string("flannel-backend") ?? "vxlan"
        guard let kind = BackendKind(rawValue: name) else {
            let removed =
                ["wireguard", "ipsec", "tailscale"].contains(name) ? " (\"\(name)\" is not in k3s any more)" : ""
            throw UsageError(
                "--flannel-backend: \"\(name)\": expected none, vxlan, host-gw or wireguard-native\(removed)")
        }
        backend = kind
        masqueradesIPv6 = flags.bool("flannel-ipv6-masq")
        usesExternalIPs = flags.bool("flannel-external-ip")
        func text(_ flag: String) -> String? { flags.string(flag).flatMap { $0.isEmpty ? nil : $0 } }
        interface = text("flannel-iface")
        flannelConfiguration = text("flannel-conf")
        cniConfiguration = text("flannel-cni-conf")
        try readMasks(flags.list("kube-controller-manager-arg"))
        try check()
    }

    private mutating func readMasks(_ arguments: [String]) throws {
        for argument in arguments {
            let pair = argument.drop { $0 == "-" }.split(separator: "=", maxSplits: 1)
            guard pair.count == 2, pair[0].hasPrefix("node-cidr-mask-size") else { continue }
            guard let bits = Int(pair[1]), (8...128).contains(bits) else {
                throw UsageError(
                    "--kube-controller-manager-arg: \"\(argument)\": expected a prefix length such as 24")
            }
            switch pair[0] {
            case "node-cidr-mask-size": nodeMasks = (bits, bits)
            case "node-cidr-mask-size-ipv4": nodeMasks.ipv4 = bits
            case "node-cidr-mask-size-ipv6": nodeMasks.ipv6 = bits
            default: throw UsageError("--kube-controller-manager-arg: there is no argument \"\(pair[0])\"")
            }
        }
    }

    private func check() throws {
        func families(_ texts: [String], _ flag: String) throws -> [AddressFamily] {
            let families = texts.compactMap { IPAddress($0)?.family ?? IPPrefix($0)?.family }
            guard Set(families).count == families.count else {
                throw UsageError(
                    "--\(flag): \(texts.joined(separator: ",")): expected at most one of each address family")
            }
            return families
        }
        let pods = try families(clusterCIDRs, "cluster-cidr")
        let services = try families(serviceCIDRs, "service-cidr")
        for (texts, flag) in [(clusterDNS, "cluster-dns"), (nodeIPs, "node-ip"), (externalIPs, "node-external-ip")] {
            _ = try families(texts, flag)
        }
        guard services.first == pods.first, Set(services).isSubset(of: pods) else {
            throw UsageError(
                "--cluster-cidr \(clusterCIDRs.joined(separator: ",")) and --service-cidr "
                    + "\(serviceCIDRs.joined(separator: ",")) must have the same address families, in the same order")
        }
        for (pod, text) in clusterCIDRs.compactMap({ text in IPPrefix(text).map { ($0, text) } }) {
            let mask = pod.family == .ipv4 ? nodeMasks.ipv4 : nodeMasks.ipv6
            guard (Int(pod.length)...Int(pod.length) + 16).contains(mask) else {
                throw UsageError(
                    "--cluster-cidr: \"\(text)\" is divided into a /\(mask) for each node: expected a network from /"
                        + "\(max(8, mask - 16)) to /\(mask)")
            }
            for other in serviceCIDRs.compactMap({ IPPrefix($0) }) where other.family == pod.family {
                guard !pod.contains(other.network), !other.contains(pod.network) else {
                    throw UsageError("--cluster-cidr: \"\(text)\" overlaps --service-cidr \(other)")
                }
            }
        }
        for text in clusterDNS {
            guard let address = IPAddress(text), services.contains(address.family) else {
                throw UsageError("--cluster-dns: \"\(text)\" has another address family than --service-cidr")
            }
        }
        if usesExternalIPs, externalIPs.isEmpty {
            throw UsageError("--flannel-external-ip: expected --node-external-ip too")
        }
    }

    /// What is listened on: with IPv6 in the cluster a socket of both families.
    var anyAddress: String { clusterCIDRs.contains { $0.utf8.contains(UInt8(ascii: ":")) } ? "::" : "0.0.0.0" }

    /// The node's addresses, one per family of the pod networks as far as there are; the primary one first.
    func nodeAddresses(primary: String) -> [String] {
        if !nodeIPs.isEmpty { return nodeIPs }
        guard let first = IPAddress(primary) else { return [primary] }
        var addresses = [primary]
        let families = clusterCIDRs.compactMap { IPPrefix($0)?.family }
        for family in families where family != first.family {
            guard let other = try? HostAddress.defaultInterfaceAddress(family) else { continue }
            addresses.append(other.description)
        }
        return addresses
    }

    /// The backend as flags and files have it.
    func backendConfiguration(stateDirectory: String) throws -> BackendConfiguration {
        var configuration = BackendConfiguration(backend, stateFile: stateDirectory + "/network.backend")
        if let file = flannelConfiguration, backend != .none {
            let document = try Self.document(file, flag: "flannel-conf")
            do throws(PodNetworkError) { try configuration.apply(flannelConfiguration: document) } catch {
                throw StartupError("--flannel-conf: \(file): \(error.message)")
            }
        }
        configuration.interface = interface
        configuration.nodeIPs = nodeIPs.compactMap { IPAddress($0) }
        if usesExternalIPs { configuration.externalIPs = externalIPs.compactMap { IPAddress($0) } }
        configuration.clusterCIDRs = clusterCIDRs.compactMap { IPPrefix($0) }
        // The variables are flannel's.
        configuration.subnetFile =
            getenv("FLANNELD_SUBNET_FILE").map { String(cString: $0) } ?? "/run/flannel/subnet.env"
        if let file = getenv("WIREGUARD_KEY_FILE") { configuration.keyFile = String(cString: file) }
        return configuration
    }

    /// As in k3s, other nodes are told the flag's backend, while this one has its file's: nodes with different ones do not
    /// reach each other's pods. What to say of that; nil: nothing.
    func backendNote(_ kind: BackendKind, isServer: Bool) -> String? {
        guard kind != backend else { return nil }
        let own = "--flannel-conf: this node's Backend.Type is \(kind.rawValue)"
        return isServer
            ? "\(own), agents are told --flannel-backend=\(backend.rawValue): say --flannel-backend=\(kind.rawValue), or "
                + "give them such a file too"
            : "\(own), the server's --flannel-backend is \(backend.rawValue): only nodes with the same one are reached"
    }

    /// The pod network as flags and files have it; the node's own ranges come later.
    func podNetwork(stateDirectory: String) throws -> PodNetworkConfiguration {
        var configuration = PodNetworkConfiguration(
            podCIDRs: [], clusterCIDRs: clusterCIDRs.compactMap { IPPrefix($0) },
            stateDirectory: stateDirectory + "/network")
        configuration.masquerades = masqueradesIPv6 ? [.ipv4, .ipv6] : [.ipv4]
        if let file = cniConfiguration, backend != .none {
            let document = try Self.document(file, flag: "flannel-cni-conf")
            do throws(PodNetworkError) { try configuration.apply(bridgeConfiguration: document) } catch {
                throw StartupError("--flannel-cni-conf: \(file): \(error.message)")
            }
        }
        return configuration
    }

    private static func document(_ file: String, flag: String) throws -> JSON {
        let bytes: [UInt8]
        do throws(SysError) { bytes = try Files.read(file, limit: 1 << 20) } catch {
            throw StartupError("--\(flag): \(error)")
        }
        do throws(JSONError) { return try JSON.parse(bytes) } catch {
            throw StartupError("--\(flag): \(file): \(error.message)")
        }
    }
}
