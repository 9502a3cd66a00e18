import CShims
import ClusterDNS
import Containers
import Iptables
import Linux
import Logging
import Netlink

/// A rootless node inside its namespaces: its mounts and network, and its ways to and from the host's network.
final class RootlessNode: Sendable {
    let settings: RootlessSettings
    let sockets: HostSockets
    let ports: PublishedPorts
    private let proxy: OutwardProxy
    private let names: [NameRelay]
    private let logger: Logger

    /// Whether this process was started by the parent, which is outside.
    static func isInside(_ environment: (String) -> String?) -> Bool { environment(K3S_ROOTLESS_ROLE) == "inside" }

    /// To be called once, before there are threads and before anything of the node is made.
    init(_ configuration: ServerConfiguration, environment: (String) -> String?, logger: Logger) throws {
        self.logger = logger
        settings = try RootlessSettings(environment: environment)
        for note in settings.notes { logger.warning("\(note)") }
        let parent = Int32(K3S_ROOTLESS_SOCKET)
        guard let run = environment(RootlessLaunch.runVariable), k3s_fcntl(parent, F_SETFD, FD_CLOEXEC) >= 0 else {
            throw StartupError("\(K3S_ROOTLESS_ROLE) is for k3s itself")
        }
        sockets = HostSockets(FileDescriptor(owning: parent))
        let bind = IPAddress(configuration.bindAddress).flatMap { $0.isIPv4 ? $0 : nil } ?? .v4(0)
        ports = PublishedPorts(sockets, node: settings.node, bind: bind, logger: logger)
        proxy = OutwardProxy(sockets, settings)

        let resolvConf = (try? Files.readString("/etc/resolv.conf", limit: 64 << 10)) ?? ""
        let servers = Array(Upstream.resolvConf(resolvConf).prefix(3))
        var relays: [NameRelay] = []
        do {
            try RootlessMounts.replaceRun(run)
            try RootlessNetwork.setUp(settings, nameServers: servers.count)
            for (index, server) in servers.enumerated() {
                relays.append(try NameRelay(sockets, address: settings.nameServer(index), to: server))
            }
            let port = try proxy.start()
            let networks = configuration.network.clusterCIDRs + configuration.network.serviceCIDRs
            let rules = RootlessNetwork.rules(settings, inside: networks.compactMap { IPPrefix($0) }, port: port)
            try KernelRuleset().commit(rules.load(), purpose: "load the rules of a rootless node")
        } catch {
            throw StartupError("--rootless: \(error)")
        }
        names = relays
        do throws(SysError) {
            try RootlessMounts.replaceResolvConf(
                RootlessMounts.resolvConf(
                    resolvConf, servers: servers.indices.map { settings.nameServer($0).description }))
        } catch {
            logger.warning("names outside of the cluster are not resolved: \(error)")
        }
        if !IDMap.users.contains(1) {
            let why = "no entry in /etc/subuid and /etc/subgid, or no newuidmap and newgidmap"
            logger.warning("this user has one id only (\(why)): containers run as root, others cannot")
        }
    }

    /// A socket of the host's network, bound.
    func listen(_ address: String, port: Int) throws(SysError) -> FileDescriptor {
        let place = IPAddress(address).flatMap { $0.isIPv4 ? $0 : nil } ?? .v4(0)
        let socket = try sockets.make(AF_INET, stream: true)
        try InternetSocket.bind(socket, place, port: UInt16(clamping: port), backlog: nil)
        return socket
    }

    /// Those that were delegated to the user, or none.
    func cgroups(stateDirectory: String) throws -> any Cgroups {
        if getenv(K3S_ROOTLESS_CGROUP) != nil {
            do throws(SysError) {
                try DelegatedCgroup.moveIn("/sys/fs/cgroup")
                return CgroupsV2(root: "/sys/fs/cgroup")
            } catch { logger.warning("cgroups: \(error)") }
        }
        return NoCgroups(
            root: stateDirectory + "/cgroups",
            problem:
                "no cgroups are delegated to this user (cgroup version 2, systemd's Delegate=yes): pods run without "
                + "limits")
    }
}
