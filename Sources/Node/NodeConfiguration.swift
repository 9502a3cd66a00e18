package import KubeAPI
package import Linux

/// What a node agent is told: names, addresses, directories. The defaults are k3s's.
package struct NodeConfiguration: Sendable {
    package var name: String
    /// Addresses of the node, the primary one first (one per family).
    package var internalIPs: [String]
    package var externalIPs: [String] = []
    package var hostname: String
    package var isServer = false
    /// Servers may reach this node's pods through its tunnel.
    package var offersEgress = false
    /// --node-label and --node-taint: applied when the node registers.
    package var labels: [String: String] = [:]
    package var taints: [(key: String, value: String, effect: String)] = []
    package var annotations: [String: String] = [:]

    package var rootDirectory = "/var/lib/kubelet"
    package var podLogs = "/var/log/pods"
    package var containerLogs = "/var/log/containers"
    package var clusterDNS = ["10.43.0.10"]
    package var clusterDomain = "cluster.local"
    /// The file that pods with dnsPolicy Default get.
    package var resolvConf = "/etc/resolv.conf"

    /// A folder of pods that the node runs by itself, or one file; nil: there is none.
    package var staticPodPath: String?

    /// servicelb: services of type LoadBalancer get the nodes' addresses (on a server).
    package var balancesServices = false
    /// What they get instead: where the world reaches the node (rootless: the host's loopback address).
    package var balancerAddress: String?

    package var maximumPods: Int64 = 110
    /// 0: not limited by the processors.
    package var podsPerCore: Int64 = 0
    /// Kept back from pods, by resource.
    package var kubeReserved: [String: Quantity] = [:]
    package var systemReserved: [String: Quantity] = [:]
    /// Whether the kernel holds all pods together to what is allocatable.
    package var enforcesAllocatable = true
    package var eviction = EvictionSettings()
    /// How pods end when the machine goes down.
    package var shutdown = ShutdownGroups()
    package var systemBus = "/run/dbus/system_bus_socket"
    /// Percent of the disk from which unused images are removed, and down to which.
    package var imageGCHighPercent: Int64 = 85
    package var imageGCLowPercent: Int64 = 80
    package var imageMinimumAge: Duration = .seconds(120)
    /// Where images are: another file system than the pods' perhaps.
    package var imageDirectory: String?
    package var kubeletPort: UInt16 = 10250
    package var kubernetesVersion = "v1.36.0+k3s1"
    package var runtimeVersion = "containerd://2.2.2-k3s1"
    package var runtimeName: String { String(runtimeVersion.prefix { $0 != ":" }) }
    package var instanceType = "k3s"
    /// "k3s://<name>"
    package var providerID: String { "k3s://" + name }

    /// Sysctls that are set per namespace and are no danger to others, beside upstream's safe list.
    package var allowedUnsafeSysctls = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"]
    package var cpuCFSQuota = true
    /// Who makes the cgroups; nil: systemd where it has started k3s and the machine has version 2.
    package var cgroupDriver: CgroupDriver?
    /// Burstable containers may swap by their share (LimitedSwap; cgroup version 2).
    package var limitsSwap = false
    package var podPidsLimit: Int64 = -1
    /// Where the machine's facts are read; tests point it at fixtures.
    package var proc = "/proc"
    package var sys = "/sys"
    package var etc = "/etc"
    package var leaseDurationSeconds: Int64 = 40
    package var leaseRenewal: Duration = .seconds(10)
    package var statusReport: Duration = .seconds(300)

    package init(name: String, internalIPs: [String]) {
        (self.name, self.internalIPs) = (name, internalIPs)
        hostname = name
    }
}
