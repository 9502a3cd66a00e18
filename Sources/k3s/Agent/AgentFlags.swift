/// The flags of `k3s agent`, in the order of its help.
enum AgentFlags {
    static let all: [Flag] = {
        let server = ServerFlags.all
        return table.description.split(separator: "\n").flatMap { line -> [Flag] in
            if line.contains("|") { return Flag.rows(String(line)) }
            guard let flag = server.first(where: { $0.name == line }) else {
                preconditionFailure("flag table: no server flag \(line)")
            }
            return [flag]
        }
    }()

    /// A name alone is the server's flag of that name; a line as in the server's table is another one, or differs.
    private static let table: StaticString = """
        config
        debug
        v
        vmodule
        log
        alsologtostderr
        +|token|t|K3S_TOKEN|s||cluster|Token to use for authentication
        +|token-file||K3S_TOKEN_FILE|s||cluster|Token file to use for authentication
        +|server|s|K3S_URL|s||cluster|Server to connect to
        data-dir
        node-name
        with-node-id
        node-label
        node-taint
        image-credential-provider-bin-dir
        image-credential-provider-config
        selinux
        +|lb-server-port||K3S_LB_SERVER_PORT|s|6444|agent/node|Local port for supervisor client load-balancer
        protect-kernel-defaults
        docker
        container-runtime-endpoint
        default-runtime
        image-service-endpoint
        pause-image
        snapshotter
        private-registry
        disable-default-registry-endpoint
        nonroot-devices
        airgap-extra-registry
        state-dir
        cgroup-root
        kubelet-root-dir
        pod-log-dir
        kubelet-port
        node-ip
        bind-address
        node-external-ip
        node-internal-dns
        node-external-dns
        resolv-conf
        flannel-iface
        flannel-conf
        flannel-cni-conf
        kubelet-arg
        kube-proxy-arg
        enable-pprof
        x|rootless|||b||experimental|Run rootless
        prefer-bundled-bin
        vpn-auth
        vpn-auth-file
        +|disable-apiserver-lb|||b||agent/networking|Disable the agent's client-side load-balancer and connect directly to the configured server address
        """
}
