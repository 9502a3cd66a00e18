import Linux
import Testing

@testable import k3s

/// Every flag of the original, and the document that lists ours.
@Suite struct FlagTableTests {
    /// name|alias|environment|kind|default, as k3s 1.36 has them; "*": made up at the start, not a text.
    private static let server = """
        config|c|K3S_CONFIG_FILE|s|/etc/rancher/k3s/config.yaml
        debug||K3S_DEBUG|b|
        v|||s|0
        vmodule|||s|
        log|l||s|
        alsologtostderr|||b|
        bind-address|||s|0.0.0.0
        https-listen-port|||s|6443
        supervisor-port||K3S_SUPERVISOR_PORT|s|0
        apiserver-port||K3S_APISERVER_PORT|s|0
        apiserver-bind-address||K3S_APISERVER_BIND_ADDRESS|s|*
        advertise-address|||s|*
        advertise-port|||s|https-listen-port
        tls-san|||l|
        tls-san-security|||b|true
        data-dir|d|K3S_DATA_DIR|s|/var/lib/rancher/k3s
        cluster-cidr|||l|10.42.0.0/16
        service-cidr|||l|10.43.0.0/16
        service-node-port-range|||s|30000-32767
        cluster-dns|||l|10.43.0.10
        cluster-domain|||s|cluster.local
        flannel-backend|||s|vxlan
        flannel-ipv6-masq|||b|
        flannel-external-ip|||b|
        egress-selector-mode|||s|agent
        servicelb-namespace|||s|kube-system
        write-kubeconfig|o|K3S_KUBECONFIG_OUTPUT|s|/etc/rancher/k3s/k3s.yaml
        write-kubeconfig-mode||K3S_KUBECONFIG_MODE|s|0600
        write-kubeconfig-group||K3S_KUBECONFIG_GROUP|s|
        write-kubeconfig-name||K3S_KUBECONFIG_NAME|s|default
        helm-job-image|||s|*
        token|t|K3S_TOKEN|s|*
        token-file||K3S_TOKEN_FILE|s|
        agent-token||K3S_AGENT_TOKEN|s|*
        agent-token-file||K3S_AGENT_TOKEN_FILE|s|
        server|s|K3S_URL|s|
        cluster-init||K3S_CLUSTER_INIT|b|
        cluster-reset||K3S_CLUSTER_RESET|b|
        cluster-reset-restore-path|||s|
        kube-apiserver-arg|||l|
        etcd-arg|||l|
        kube-controller-manager-arg|||l|
        kube-scheduler-arg|||l|
        helm-controller-arg|||l|
        kube-cloud-controller-manager-arg|||l|
        kine-tls|||b|
        datastore-endpoint||K3S_DATASTORE_ENDPOINT|s|*
        datastore-cafile||K3S_DATASTORE_CAFILE|s|
        datastore-certfile||K3S_DATASTORE_CERTFILE|s|
        datastore-keyfile||K3S_DATASTORE_KEYFILE|s|
        etcd-expose-metrics|||b|
        etcd-disable-snapshots|||b|
        etcd-snapshot-name|||s|etcd-snapshot
        etcd-snapshot-schedule-cron|||s|0 */12 * * *
        etcd-snapshot-reconcile-interval|||s|10m0s
        etcd-snapshot-retention|||s|5
        etcd-snapshot-dir|||s|${data-dir}/server/db/snapshots
        etcd-snapshot-compress|||b|
        etcd-s3|||b|
        etcd-s3-endpoint|||s|s3.amazonaws.com
        etcd-s3-endpoint-ca|||s|
        etcd-s3-skip-ssl-verify|||b|
        etcd-s3-access-key||AWS_ACCESS_KEY_ID|s|
        etcd-s3-secret-key||AWS_SECRET_ACCESS_KEY|s|
        etcd-s3-session-token||AWS_SESSION_TOKEN|s|
        etcd-s3-bucket|||s|
        etcd-s3-bucket-lookup-type|||s|auto
        etcd-s3-region|||s|us-east-1
        etcd-s3-folder|||s|
        etcd-s3-retention|||s|5
        etcd-s3-proxy|||s|
        etcd-s3-config-secret|||s|
        etcd-s3-insecure|||b|
        etcd-s3-timeout|||s|5m0s
        default-local-storage-path|||s|${data-dir}/storage
        disable|||l|
        disable-scheduler|||b|
        disable-cloud-controller|||b|
        disable-kube-proxy|||b|
        disable-network-policy|||b|
        disable-helm-controller|||b|
        disable-apiserver|||b|
        disable-controller-manager|||b|
        disable-etcd|||b|
        embedded-registry|||b|
        supervisor-metrics|||b|
        node-name||K3S_NODE_NAME|s|*
        with-node-id|||b|
        node-label|||l|
        node-taint|||l|
        image-credential-provider-bin-dir|||s|/var/lib/rancher/credentialprovider/bin
        image-credential-provider-config|||s|/var/lib/rancher/credentialprovider/config.yaml
        docker|||b|
        container-runtime-endpoint|||s|
        default-runtime|||s|
        image-service-endpoint|||s|*
        disable-default-registry-endpoint|||b|
        nonroot-devices|||b|
        pause-image|||s|rancher/mirrored-pause:3.10.2
        snapshotter|||s|overlayfs
        private-registry|||s|/etc/rancher/k3s/registries.yaml
        system-default-registry||K3S_SYSTEM_DEFAULT_REGISTRY|s|
        airgap-extra-registry|||l|
        node-ip|i||l|*
        node-external-ip|||l|
        node-internal-dns|||l|
        node-external-dns|||l|
        resolv-conf||K3S_RESOLV_CONF|s|
        flannel-iface|||s|*
        flannel-conf|||s|
        flannel-cni-conf|||s|
        vpn-auth||K3S_VPN_AUTH|s|
        vpn-auth-file||K3S_VPN_AUTH_FILE|s|
        kubelet-arg|||l|
        kube-proxy-arg|||l|
        protect-kernel-defaults|||b|
        secrets-encryption|||b|
        enable-pprof|||b|
        rootless|||b|
        secrets-encryption-provider|||s|aescbc
        prefer-bundled-bin|||b|
        selinux||K3S_SELINUX|b|
        lb-server-port||K3S_LB_SERVER_PORT|s|6444
        disable-agent|||b|
        """

    private static let agent = """
        config debug v vmodule log alsologtostderr token token-file server data-dir node-name with-node-id
        node-label node-taint image-credential-provider-bin-dir image-credential-provider-config selinux
        lb-server-port protect-kernel-defaults container-runtime-endpoint default-runtime image-service-endpoint
        pause-image snapshotter private-registry disable-default-registry-endpoint nonroot-devices
        airgap-extra-registry node-ip bind-address node-external-ip node-internal-dns node-external-dns resolv-conf
        flannel-iface flannel-conf flannel-cni-conf kubelet-arg kube-proxy-arg enable-pprof rootless
        prefer-bundled-bin docker vpn-auth vpn-auth-file disable-apiserver-lb
        """

    private static func words(_ text: String) -> [String] { text.split { " \n".contains($0) }.map(String.init) }

    /// What only we have: places that tests and other machines need.
    private static let own: Set<String> = [
        "state-dir", "cgroup-root", "kubelet-root-dir", "pod-log-dir", "kubelet-port",
    ]

    private static func kind(_ flag: Flag) -> String {
        switch flag.kind {
        case .bool: "b"
        case .string: "s"
        case .list: "l"
        }
    }

    @Test func theServerHasEveryFlagWithItsAliasVariableAndDefault() throws {
        var names: Set<String> = []
        for line in Self.server.split(separator: "\n") {
            let row = line.split(separator: "|", maxSplits: 4, omittingEmptySubsequences: false).map(String.init)
            names.insert(row[0])
            let flag = try #require(ServerFlags.all.first { $0.name == row[0] }, "--\(row[0])")
            #expect(flag.alias ?? "" == row[1] || row[1].isEmpty, "--\(row[0])")
            #expect(flag.environment == (row[2].isEmpty ? [] : [row[2]]), "--\(row[0])")
            #expect(Self.kind(flag) == row[3], "--\(row[0])")
            #expect(flag.defaultText == row[4] || row[4] == "*", "--\(row[0])")
        }
        #expect(names.count == 124)
        #expect(Set(ServerFlags.all.map(\.name)).subtracting(names) == Self.own)
    }

    @Test func theAgentHasEveryFlag() {
        let names = Set(AgentFlags.all.map(\.name))
        #expect(names.subtracting(Self.own) == Set(Self.words(Self.agent)))
        for flag in AgentFlags.all {
            guard let same = ServerFlags.all.first(where: { $0.name == flag.name }) else { continue }
            #expect(flag.alias == same.alias && flag.environment == same.environment, "--\(flag.name)")
        }
    }

    @Test func namesAreUnambiguous() {
        for flags in [ServerFlags.all, AgentFlags.all] {
            let names = flags.flatMap { [$0.name] + ($0.alias.map { [$0] } ?? []) }
            #expect(Set(names).count == names.count)
        }
    }

    /// A value of each kind goes through the parser, from the command line and from the environment.
    @Test func everyFlagIsUnderstood() throws {
        for flags in [ServerFlags.all, AgentFlags.all] {
            let parser = FlagParser(flags: flags)
            for flag in flags {
                let value = Self.kind(flag) == "b" ? "true" : "x"
                for name in ["--" + flag.name] + (flag.alias.map { ["-" + $0] } ?? []) {
                    let values = try parser.parse([name + "=" + value], environment: { _ in nil })
                    #expect(values.string(flag.name) == value, "\(name)")
                }
                for variable in flag.environment {
                    let values = try parser.parse([], environment: { $0 == variable ? value : nil })
                    #expect(values.string(flag.name) == value, "\(variable)")
                }
            }
        }
    }

    // MARK: - Document

    private static func section(_ title: String, _ flags: [Flag]) -> String {
        var text = "## \(title)\n"
        var group = ""
        for flag in flags.filter({ $0.state != .hidden }) {
            if flag.group != group {
                group = flag.group
                text += "\n### \(group)\n\n| flag | variable | default | what it does |\n|---|---|---|---|\n"
            }
            let short = flag.alias.map { ", `\($0.count == 1 ? "-" : "--")\($0)`" } ?? ""
            let state: String =
                switch flag.state {
                case .later: " (accepted, no effect yet)"
                case .refused: " (not supported yet: refused)"
                default: ""
                }
            func code(_ text: String) -> String { text.isEmpty ? "" : "`\(text)`" }
            let help = flag.help.split(separator: "|").joined(separator: "\\|")
            text += "| `--\(flag.name)`\(short) | \(code(flag.environment.joined(separator: ", ")))"
            text +=
                " | \(code(flag.defaultText)) | \(help)\(Self.kind(flag) == "l" ? "; may be repeated" : "")\(state) |\n"
        }
        return text
    }

    /// `K3S_WRITE_DOCS=1 swift test --filter FlagTableTests` writes it.
    @Test func theDocumentIsInStep() throws {
        let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let path = "/\(root)/docs/command-line.md"
        let text =
            "# Flags of `k3s server` and `k3s agent`\n\n"
            + "Each is also a key of `/etc/rancher/k3s/config.yaml` and of the files in `config.yaml.d`. The command line comes\n"
            + "before the files, these before the variables. Made from the flag tables by `FlagTableTests`.\n\n"
            + Self.section("k3s server", ServerFlags.all) + "\n" + Self.section("k3s agent", AgentFlags.all)
        if getenv("K3S_WRITE_DOCS") != nil { try Files.write(path, Array(text.utf8)) }
        #expect(try Files.readString(path) == text, "K3S_WRITE_DOCS=1 writes docs/command-line.md anew")
    }
}
