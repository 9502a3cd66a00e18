/// The flags of `k3s server`, in the order of its help. Names, aliases, variables and defaults are k3s's. A flag that has no
/// effect yet is accepted and said at start; one that would be dangerous to ignore is refused.
enum ServerFlags {
    static let all: [Flag] = Flag.table(table)

    /// A line is `state|name|alias|environment|kind|default|group|help`. State: `+` has its effect, `-` has none yet, `h` as `-`
    /// and not in help, `x` is refused. Kind: `b` boolean, `s` value, `l` may be given several times.
    private static let table: StaticString = """
        +|config|c|K3S_CONFIG_FILE|s|/etc/rancher/k3s/config.yaml|config|Load configuration from FILE
        +|debug||K3S_DEBUG|b||logging|Turn on debug logs
        +|v|||s|0|logging|Number for the log level verbosity
        +|vmodule|||s||logging|Comma-separated list of FILE_PATTERN=LOG_LEVEL settings for file-filtered logging
        +|log|l||s||logging|Log to file
        +|alsologtostderr|||b||logging|Log to standard error as well as file (if set)
        +|bind-address|||s|0.0.0.0|listener|k3s bind address
        +|https-listen-port|||s|6443|listener|HTTPS listen port
        h|supervisor-port||K3S_SUPERVISOR_PORT|s|0|listener|Supervisor listen port
        h|apiserver-port||K3S_APISERVER_PORT|s|0|listener|apiserver internal listen port
        h|apiserver-bind-address||K3S_APISERVER_BIND_ADDRESS|s||listener|apiserver internal bind address
        +|advertise-address|||s|node-ip|listener|IPv4 address that the apiserver advertises to members of the cluster
        -|advertise-port|||s|https-listen-port|listener|Port that the apiserver advertises to members of the cluster
        +|tls-san|||l||listener|Additional hostnames or IPv4/IPv6 addresses as Subject Alternative Names on the server TLS cert
        -|tls-san-security|||b|true|listener|Protect the server TLS cert by refusing to add names that are not known
        +|data-dir|d|K3S_DATA_DIR|s|/var/lib/rancher/k3s|data|Folder to hold state
        +|cluster-cidr|||l|10.42.0.0/16|networking|IPv4/IPv6 network CIDRs to use for pod IPs
        +|service-cidr|||l|10.43.0.0/16|networking|IPv4/IPv6 network CIDRs to use for service IPs
        +|service-node-port-range|||s|30000-32767|networking|Port range to reserve for services with NodePort visibility
        +|cluster-dns|||l|10.43.0.10|networking|IPv4 Cluster IP for the cluster DNS service. Should be in your service-cidr range
        +|cluster-domain|||s|cluster.local|networking|Cluster Domain
        +|flannel-backend|||s|vxlan|networking|Backend (valid values: 'none', 'vxlan', 'host-gw', 'wireguard-native')
        +|flannel-ipv6-masq|||b||networking|Enable IPv6 masquerading for pods
        +|flannel-external-ip|||b||networking|Use node external IP addresses for Flannel traffic
        +|egress-selector-mode|||s|agent|networking|One of 'agent', 'cluster', 'pod', 'disabled'
        -|servicelb-namespace|||s|kube-system|networking|Namespace of the pods for the servicelb component
        +|write-kubeconfig|o|K3S_KUBECONFIG_OUTPUT|s|/etc/rancher/k3s/k3s.yaml|client|Write kubeconfig for admin client to this file
        +|write-kubeconfig-mode||K3S_KUBECONFIG_MODE|s|0600|client|Write kubeconfig with this mode
        +|write-kubeconfig-group||K3S_KUBECONFIG_GROUP|s||client|Write kubeconfig with this group
        -|write-kubeconfig-name||K3S_KUBECONFIG_NAME|s|default|client|Name of cluster, user and context in the kubeconfig
        -|helm-job-image|||s||helm|Default image to use for helm jobs
        +|token|t|K3S_TOKEN|s||cluster|Shared secret used to join a server or agent to a cluster
        +|token-file||K3S_TOKEN_FILE|s||cluster|File containing the token
        +|agent-token||K3S_AGENT_TOKEN|s||cluster|Shared secret used to join agents to the cluster, but not servers
        +|agent-token-file||K3S_AGENT_TOKEN_FILE|s||cluster|File containing the agent secret
        x|server|s|K3S_URL|s||cluster|Server to connect to, used to join a cluster
        -|cluster-init||K3S_CLUSTER_INIT|b||cluster|Initialize a new cluster using embedded Etcd
        x|cluster-reset||K3S_CLUSTER_RESET|b||cluster|Forget all peers and become sole member of a new cluster
        x|cluster-reset-restore-path|||s||db|Path to snapshot file to be restored
        +|kube-apiserver-arg|||l||flags|Customized flag for kube-apiserver process
        -|etcd-arg|||l||flags|Customized flag for etcd process
        -|kube-controller-manager-arg|kube-controller-arg||l||flags|Customized flag for kube-controller-manager process
        +|kube-scheduler-arg|||l||flags|Customized flag for kube-scheduler process
        -|helm-controller-arg|||l||flags|Customized flag for the helm controller
        -|kube-cloud-controller-manager-arg|kube-cloud-controller-arg||l||flags|Customized flag for kube-cloud-controller-manager process
        h|kine-tls|||b||db|Enable TLS on the kine etcd server socket
        x|datastore-endpoint||K3S_DATASTORE_ENDPOINT|s||db|Specify etcd, NATS, MySQL, Postgres, or SQLite (default) data source name
        -|datastore-cafile||K3S_DATASTORE_CAFILE|s||db|TLS Certificate Authority file used to secure datastore backend communication
        -|datastore-certfile||K3S_DATASTORE_CERTFILE|s||db|TLS certification file used to secure datastore backend communication
        -|datastore-keyfile||K3S_DATASTORE_KEYFILE|s||db|TLS key file used to secure datastore backend communication
        -|etcd-expose-metrics|||b||db|Expose etcd metrics to client interface
        -|etcd-disable-snapshots|||b||db|Disable automatic etcd snapshots
        -|etcd-snapshot-name|||s|etcd-snapshot|db|Set the base name of etcd snapshots
        -|etcd-snapshot-schedule-cron|||s|0 */12 * * *|db|Snapshot interval time in cron spec
        -|etcd-snapshot-reconcile-interval|||s|10m0s|db|Snapshot reconcile interval
        -|etcd-snapshot-retention|||s|5|db|Number of snapshots to retain
        -|etcd-snapshot-dir|||s|${data-dir}/server/db/snapshots|db|Directory to save db snapshots
        -|etcd-snapshot-compress|||b||db|Compress etcd snapshot
        -|etcd-s3|||b||db|Enable backup to S3
        -|etcd-s3-endpoint|||s|s3.amazonaws.com|db|S3 endpoint url
        -|etcd-s3-endpoint-ca|||s||db|S3 custom CA cert to connect to S3 endpoint
        -|etcd-s3-skip-ssl-verify|||b||db|Disables S3 SSL certificate validation
        -|etcd-s3-access-key||AWS_ACCESS_KEY_ID|s||db|S3 access key
        -|etcd-s3-secret-key||AWS_SECRET_ACCESS_KEY|s||db|S3 secret key
        -|etcd-s3-session-token||AWS_SESSION_TOKEN|s||db|S3 session token
        -|etcd-s3-bucket|||s||db|S3 bucket name
        -|etcd-s3-bucket-lookup-type|||s|auto|db|S3 bucket lookup type, one of 'auto', 'dns', 'path'
        -|etcd-s3-region|||s|us-east-1|db|S3 region / bucket location
        -|etcd-s3-folder|||s||db|S3 folder
        -|etcd-s3-retention|||s|5|db|Number of snapshots in S3 to retain
        -|etcd-s3-proxy|||s||db|Proxy server to use when connecting to S3
        -|etcd-s3-config-secret|||s||db|Name of secret in the kube-system namespace used to configure S3
        -|etcd-s3-insecure|||b||db|Disables S3 over HTTPS
        -|etcd-s3-timeout|||s|5m0s|db|S3 timeout
        -|default-local-storage-path|||s|${data-dir}/storage|storage|Default local storage path for local provisioner storage class
        +|disable|||l||components|Do not deploy packaged components and delete any deployed components (valid items: coredns, servicelb, traefik, local-storage, metrics-server, runtimes)
        x|disable-scheduler|||b||components|Disable Kubernetes default scheduler
        -|disable-cloud-controller|||b||components|Disable k3s default cloud controller manager
        -|disable-kube-proxy|||b||components|Disable running kube-proxy
        +|disable-network-policy|||b||components|Disable k3s default network policy controller
        -|disable-helm-controller|||b||components|Disable Helm controller
        x|disable-apiserver|||b||components|Disable running api server
        x|disable-controller-manager|||b||components|Disable running kube-controller-manager
        x|disable-etcd|||b||components|Disable running etcd
        -|embedded-registry|||b||components|Enable embedded distributed container registry
        -|supervisor-metrics|||b||components|Enable serving k3s internal metrics on the supervisor port
        +|disable-agent|||b||agent/node|Run the control plane without a node on this machine
        +|node-name||K3S_NODE_NAME|s||agent/node|Node name
        +|with-node-id|||b||agent/node|Append id to node name
        +|node-label|||l||agent/node|Registering and starting kubelet with set of labels
        +|node-taint|||l||agent/node|Registering kubelet with set of taints
        -|image-credential-provider-bin-dir|||s|/var/lib/rancher/credentialprovider/bin|agent/node|The path to the directory where credential provider plugin binaries are located
        -|image-credential-provider-config|||s|/var/lib/rancher/credentialprovider/config.yaml|agent/node|The path to the credential provider plugin config file
        x|docker|||b||agent/runtime|Use cri-dockerd instead of containerd
        +|container-runtime-endpoint|||s||agent/runtime|Disable embedded containerd and use the CRI socket at the given path
        -|default-runtime|||s||agent/runtime|Set the default runtime in containerd
        +|image-service-endpoint|||s||agent/runtime|Disable embedded containerd image service and use remote image service socket at the given path
        +|disable-default-registry-endpoint|||b||agent/runtime|Disables containerd's fallback default registry endpoint when a mirror is configured for that registry
        -|nonroot-devices|||b||agent/runtime|Allows non-root pods to access devices
        -|pause-image|||s|rancher/mirrored-pause:3.10.2|agent/runtime|Customized pause image for containerd or docker sandbox
        -|snapshotter|||s|overlayfs|agent/runtime|Override default containerd snapshotter
        +|private-registry|||s|/etc/rancher/k3s/registries.yaml|agent/runtime|Private registry configuration file
        -|system-default-registry||K3S_SYSTEM_DEFAULT_REGISTRY|s||agent/runtime|Private registry to be used for all system images
        h|airgap-extra-registry|||l||agent/runtime|Additional registry to tag airgap images as being sourced from
        +|state-dir||K3S_STATE_DIR|s|/run/k3s|agent/runtime|Folder for sockets and namespaces of running pods
        +|cgroup-root||K3S_CGROUP_ROOT|s|/|agent/runtime|Cgroup below which the pods' cgroups are made
        +|node-ip|i||l||agent/networking|IPv4/IPv6 addresses to advertise for node
        +|node-external-ip|||l||agent/networking|IPv4/IPv6 external IP addresses to advertise for node
        -|node-internal-dns|||l||agent/networking|internal DNS addresses to advertise for node
        -|node-external-dns|||l||agent/networking|external DNS addresses to advertise for node
        +|resolv-conf||K3S_RESOLV_CONF|s||agent/networking|Kubelet resolv.conf file
        +|flannel-iface|||s||agent/networking|Override default flannel interface
        +|flannel-conf|||s||agent/networking|Override default flannel config file
        +|flannel-cni-conf|||s||agent/networking|Override default flannel cni config file
        x|vpn-auth||K3S_VPN_AUTH|s||agent/networking|Credentials for the VPN provider
        x|vpn-auth-file||K3S_VPN_AUTH_FILE|s||agent/networking|File containing credentials for the VPN provider
        +|kubelet-arg|||l||agent/flags|Customized flag for kubelet process
        -|kube-proxy-arg|||l||agent/flags|Customized flag for kube-proxy process
        +|kubelet-root-dir||K3S_KUBELET_ROOT_DIR|s|/var/lib/kubelet|agent/node|Folder for the pods' volumes
        +|pod-log-dir||K3S_POD_LOG_DIR|s|/var/log/pods|agent/node|Folder for the pods' logs
        +|kubelet-port|||s|10250|agent/node|Port that the node's own API listens on
        -|protect-kernel-defaults|||b||agent/node|Kernel tuning behavior. If set, error if kernel tunables are different than kubelet defaults
        +|secrets-encryption|||b||experimental|Enable secret encryption at rest
        +|secrets-encryption-provider|||s|aescbc|experimental|Encryption provider (valid values: 'aescbc', 'secretbox')
        -|enable-pprof|||b||experimental|Enable pprof endpoint on supervisor port
        +|rootless|||b||experimental|Run rootless
        +|prefer-bundled-bin|||b||experimental|Prefer bundled userspace binaries over host binaries
        -|selinux||K3S_SELINUX|b||agent/node|Enable SELinux in containerd
        -|lb-server-port||K3S_LB_SERVER_PORT|s|6444|agent/node|Local port for supervisor client load-balancer
        """
}
