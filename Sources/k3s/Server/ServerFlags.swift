/// The flags of `k3s server` that have an effect now. Names, aliases, variables and defaults are k3s's.
enum ServerFlags {
    static let all: [Flag] = [
        Flag("debug", .bool, environment: "K3S_DEBUG", group: "logging", "Turn on debug logs"),
        Flag("bind-address", defaultText: "0.0.0.0", group: "listener", "k3s bind address"),
        Flag("https-listen-port", defaultText: "6443", group: "listener", "HTTPS listen port"),
        Flag(
            "advertise-address", defaultText: "node-ip", group: "listener",
            "IPv4 address that the apiserver advertises to members of the cluster"),
        Flag(
            "tls-san", .list, group: "listener",
            "Additional hostnames or IPv4/IPv6 addresses as Subject Alternative Names on the server TLS cert"),
        Flag(
            "data-dir", alias: "d", environment: "K3S_DATA_DIR", defaultText: "/var/lib/rancher/k3s", group: "data",
            "Folder to hold state"),
        Flag(
            "cluster-cidr", .list, defaultText: "10.42.0.0/16", group: "networking",
            "IPv4/IPv6 network CIDRs to use for pod IPs"),
        Flag(
            "service-cidr", .list, defaultText: "10.43.0.0/16", group: "networking",
            "IPv4/IPv6 network CIDRs to use for service IPs"),
        Flag(
            "service-node-port-range", defaultText: "30000-32767", group: "networking",
            "Port range to reserve for services with NodePort visibility"),
        Flag(
            "cluster-dns", .list, defaultText: "10.43.0.10", group: "networking",
            "IPv4 Cluster IP for the cluster DNS service. Should be in your service-cidr range"),
        Flag("cluster-domain", defaultText: "cluster.local", group: "networking", "Cluster Domain"),
        Flag(
            "write-kubeconfig", alias: "o", environment: "K3S_KUBECONFIG_OUTPUT",
            defaultText: "/etc/rancher/k3s/k3s.yaml", group: "client",
            "Write kubeconfig for admin client to this file"),
        Flag(
            "write-kubeconfig-mode", environment: "K3S_KUBECONFIG_MODE", defaultText: "0600", group: "client",
            "Write kubeconfig with this mode"),
        Flag(
            "token", alias: "t", environment: "K3S_TOKEN", group: "cluster",
            "Shared secret used to join a server or agent to a cluster"),
        Flag(
            "disable", .list, group: "components",
            "Do not deploy packaged components and delete any deployed components (valid items: coredns, servicelb, traefik, local-storage, metrics-server, runtimes)"
        ),
        Flag("disable-agent", .bool, group: "agent/node", "Run the control plane without a node on this machine"),
        Flag("node-name", environment: "K3S_NODE_NAME", group: "agent/node", "Node name"),
        Flag("node-ip", .list, alias: "i", group: "agent/networking", "IPv4/IPv6 addresses to advertise for node"),
        Flag(
            "node-label", .list, group: "agent/node", "Registering and starting kubelet with set of labels"),
        Flag(
            "private-registry", defaultText: "/etc/rancher/k3s/registries.yaml", group: "agent/runtime",
            "Private registry configuration file"),
        Flag(
            "disable-default-registry-endpoint", .bool, group: "agent/runtime",
            "Disables containerd's fallback default registry endpoint when a mirror is configured for that registry"),
        Flag(
            "resolv-conf", environment: "K3S_RESOLV_CONF", group: "agent/networking",
            "Kubelet resolv.conf file"),
        Flag(
            "kubelet-root-dir", environment: "K3S_KUBELET_ROOT_DIR", defaultText: "/var/lib/kubelet",
            group: "agent/node",
            "Folder for the pods' volumes (not a flag of the original, which has kubelet-arg=root-dir)"),
        Flag(
            "pod-log-dir", environment: "K3S_POD_LOG_DIR", defaultText: "/var/log/pods", group: "agent/node",
            "Folder for the pods' logs"),
        Flag(
            "state-dir", environment: "K3S_STATE_DIR", defaultText: "/run/k3s", group: "agent/runtime",
            "Folder for sockets and namespaces of running pods"),
        Flag(
            "cgroup-root", environment: "K3S_CGROUP_ROOT", defaultText: "/", group: "agent/runtime",
            "Cgroup below which the pods' cgroups are made"),
        Flag(
            "kubelet-port", defaultText: "10250", group: "agent/node", "Port that the node's own API listens on"),
    ]
}
