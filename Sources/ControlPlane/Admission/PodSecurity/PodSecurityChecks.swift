internal import Codecs
internal import KubeAPI

/// The Pod Security Standards as checks of a pod's spec, in the order and with the words of
/// k8s.io/pod-security-admission/policy.
enum PodSecurityLevel: String, Sendable, Comparable {
    case privileged, baseline, restricted

    private var rank: Int { self == .privileged ? 0 : self == .baseline ? 1 : 2 }
    static func < (a: Self, b: Self) -> Bool { a.rank < b.rank }
}

/// What a pod breaks, as "reason (detail), reason (detail)".
struct PodSecurityChecks {
    private let pod: JSON
    private let annotations: [String: String]
    private let containers: [JSON]
    /// The standard as it was in this minor version of Kubernetes.
    private let minor: Int
    private var found: [String] = []

    /// - Parameters:
    ///   - spec: of a pod or of a template. "": nothing is broken.
    ///   - minor: of the version by whose standard it is judged.
    static func violations(
        _ spec: JSON, annotations: [String: String], _ level: PodSecurityLevel, minor: Int = .max
    ) -> String {
        var checks = PodSecurityChecks(spec, annotations, minor)
        guard level > .privileged else { return "" }
        checks.baseline(level)
        if level == .restricted { checks.restricted() }
        return checks.found.joined(separator: ", ")
    }

    private init(_ spec: JSON, _ annotations: [String: String], _ minor: Int) {
        (pod, self.annotations, self.minor) = (spec, annotations, minor)
        containers = ["initContainers", "containers", "ephemeralContainers"].flatMap { spec[$0].elements }
    }

    // MARK: - Words

    private static func plural(_ word: String, _ names: [String]) -> String {
        (names.count == 1 ? word : word + "s") + " " + names.map { "\"\($0)\"" }.joined(separator: ", ")
    }

    private static func set(_ values: some Sequence<String>) -> String {
        Set(values).sorted().map { "\"\($0)\"" }.joined(separator: ", ")
    }

    private func names(where broken: (JSON) -> Bool) -> [String] {
        containers.filter(broken).map { $0["name"].string ?? "" }
    }

    private mutating func report(_ reason: String, _ details: [String]) {
        if !details.isEmpty { found.append("\(reason) (\(details.joined(separator: "; ")))") }
    }

    private mutating func report(_ reason: String, _ text: String, where broken: (JSON) -> Bool) {
        let names = names(where: broken)
        if !names.isEmpty { report(reason, ["\(Self.plural("container", names)) \(text)"]) }
    }

    // MARK: - Baseline

    private static let capabilities: Set<String> = [
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
        "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    ]
    /// Each with the minor version since which it is taken for safe.
    private static let sysctls: [String: Int] = [
        "kernel.shm_rmid_forced": 0, "net.ipv4.ip_local_port_range": 0, "net.ipv4.tcp_syncookies": 0,
        "net.ipv4.ping_group_range": 0, "net.ipv4.ip_unprivileged_port_start": 0,
        "net.ipv4.ip_local_reserved_ports": 27, "net.ipv4.tcp_keepalive_time": 29, "net.ipv4.tcp_fin_timeout": 29,
        "net.ipv4.tcp_keepalive_intvl": 29, "net.ipv4.tcp_keepalive_probes": 29, "net.ipv4.tcp_rmem": 32,
        "net.ipv4.tcp_wmem": 32,
    ]
    private static let seLinuxTypes: Set<String> = [
        "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t",
    ]

    private mutating func baseline(_ level: PodSecurityLevel) {
        appArmor()
        if level == .baseline {
            let bad = containers.flatMap { Self.added($0).filter { !Self.capabilities.contains($0) } }
            report(
                "non-default capabilities", "must not include \(Self.set(bad)) in securityContext.capabilities.add"
            ) { !Self.added($0).allSatisfy(Self.capabilities.contains) }
        }
        let shared = ["hostNetwork", "hostPID", "hostIPC"].filter { pod[$0].bool == true }.map { "\($0)=true" }
        report("host namespaces", shared.isEmpty ? [] : [shared.joined(separator: ", ")])
        if level == .baseline {
            let volumes = pod["volumes"].elements.filter { !$0["hostPath"].isNull }.map { $0["name"].string ?? "" }
            report("hostPath volumes", volumes.isEmpty ? [] : [Self.plural("volume", volumes)])
        }
        hostPorts()
        if minor >= 34 { hostProbes() }
        report("privileged", "must not set securityContext.privileged=true") {
            $0["securityContext"]["privileged"].bool == true
        }
        let mounts = containers.compactMap { $0["securityContext"]["procMount"].string }.filter { $0 != "Default" }
        report("procMount", "must not set securityContext.procMount to \(Self.set(mounts))") {
            $0["securityContext"]["procMount"].string.map { $0 != "Default" } ?? false
        }
        seLinux()
        if level == .baseline, minor >= 19 { seccompBaseline() }
        let names = pod["securityContext"]["sysctls"].elements.compactMap { $0["name"].string }
            .filter { Self.sysctls[$0].map { $0 > minor } ?? true }
        report("forbidden sysctls", names.isEmpty ? [] : [names.joined(separator: ", ")])
        windows()
    }

    private static func added(_ container: JSON) -> [String] {
        container["securityContext"]["capabilities"]["add"].elements.compactMap(\.string)
    }

    private mutating func appArmor() {
        var details: [String] = []
        if pod["securityContext"]["appArmorProfile"]["type"].string == "Unconfined" {
            details.append("pod must not set AppArmor profile type to \"Unconfined\"")
        }
        let names = names { $0["securityContext"]["appArmorProfile"]["type"].string == "Unconfined" }
        if !names.isEmpty {
            details.append("\(Self.plural("container", names)) must not set AppArmor profile type to \"Unconfined\"")
        }
        let prefix = "container.apparmor.security.beta.kubernetes.io/"
        let annotated = annotations.filter { key, value in
            key.hasPrefix(prefix) && !value.isEmpty && value != "runtime/default" && !value.hasPrefix("localhost/")
        }
        if !annotated.isEmpty {
            let list = annotated.sorted { $0.key < $1.key }.map { "\"\($0.key)=\($0.value)\"" }
            details.append((list.count == 1 ? "annotation " : "annotations ") + list.joined(separator: ", "))
        }
        report(details.count > 1 ? "forbidden AppArmor profiles" : "forbidden AppArmor profile", details)
    }

    private mutating func hostPorts() {
        let ports = containers.flatMap { $0["ports"].elements }.compactMap { $0["hostPort"].int }.filter { $0 != 0 }
        guard !ports.isEmpty else { return }
        let names = names { $0["ports"].elements.contains { $0["hostPort"].int ?? 0 != 0 } }
        let list = Set(ports).sorted().map(String.init).joined(separator: ", ")
        report(
            "hostPort",
            [
                "\(Self.plural("container", names)) \(names.count == 1 ? "uses" : "use") hostPort\(Set(ports).count == 1 ? "" : "s") \(list)"
            ])
    }

    private static func probeHosts(_ container: JSON) -> [String] {
        let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map { container[$0] }
        let hooks = ["postStart", "preStop"].map { container["lifecycle"][$0] }
        return (probes + hooks).flatMap { handler in
            ["httpGet", "tcpSocket"].compactMap { handler[$0]["host"].string }.filter { !$0.isEmpty }
        }
    }

    private mutating func hostProbes() {
        let hosts = containers.flatMap(Self.probeHosts)
        report(
            "probe or lifecycle host",
            "\(names { !Self.probeHosts($0).isEmpty }.count == 1 ? "uses" : "use") probe or lifecycle host\(Set(hosts).count == 1 ? "" : "s") \(Self.set(hosts))"
        ) { !Self.probeHosts($0).isEmpty }
    }

    private mutating func seLinux() {
        func problems(_ options: JSON) -> [String] {
            var list: [String] = []
            if let type = options["type"].string,
                !Self.seLinuxTypes.contains(type) || type == "container_engine_t" && minor < 31
            {
                list.append("type \"\(type)\"")
            }
            if !(options["user"].string ?? "").isEmpty { list.append("user may not be set") }
            if !(options["role"].string ?? "").isEmpty { list.append("role may not be set") }
            return list
        }
        var setters: [String] = []
        var all: [String] = []
        let own = problems(pod["securityContext"]["seLinuxOptions"])
        if !own.isEmpty { setters.append("pod") }
        all += own
        let names = names { !problems($0["securityContext"]["seLinuxOptions"]).isEmpty }
        if !names.isEmpty { setters.append(Self.plural("container", names)) }
        for container in containers {
            all += problems(container["securityContext"]["seLinuxOptions"]).filter { !all.contains($0) }
        }
        guard !setters.isEmpty else { return }
        report(
            "seLinuxOptions",
            [
                "\(setters.joined(separator: " and ")) set forbidden securityContext.seLinuxOptions: \(all.joined(separator: "; "))"
            ])
    }

    private mutating func seccompBaseline() {
        var details: [String] = []
        if pod["securityContext"]["seccompProfile"]["type"].string == "Unconfined" {
            details.append("pod must not set securityContext.seccompProfile.type to \"Unconfined\"")
        }
        let names = names { $0["securityContext"]["seccompProfile"]["type"].string == "Unconfined" }
        if !names.isEmpty {
            details.append(
                "\(Self.plural("container", names)) must not set securityContext.seccompProfile.type to \"Unconfined\"")
        }
        report("seccompProfile", details)
    }

    private mutating func windows() {
        func isHost(_ context: JSON) -> Bool { context["windowsOptions"]["hostProcess"].bool == true }
        var details: [String] = []
        if isHost(pod["securityContext"]) {
            details.append("pod must not set securityContext.windowsOptions.hostProcess=true")
        }
        let names = names { isHost($0["securityContext"]) }
        if !names.isEmpty {
            details.append(
                "\(Self.plural("container", names)) must not set securityContext.windowsOptions.hostProcess=true")
        }
        report("hostProcess", details)
    }

    // MARK: - Restricted

    private static let volumeTypes: Set<String> = [
        "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected",
        "secret",
    ]

    private mutating func restricted() {
        // What Linux alone has is not asked of pods for Windows.
        let isLinux = minor < 25 || pod["os"]["name"].string != "windows"
        if isLinux, minor >= 8 {
            report("allowPrivilegeEscalation != false", "must set securityContext.allowPrivilegeEscalation=false") {
                $0["securityContext"]["allowPrivilegeEscalation"].bool != false
            }
        }
        if isLinux, minor >= 22 { capabilities() }
        volumes()
        runAsNonRoot()
        if minor >= 23 { runAsUser() }
        if isLinux, minor >= 19 { seccompRestricted() }
    }

    private mutating func runAsUser() {
        var users: [String] = []
        if pod["securityContext"]["runAsUser"].int == 0 { users.append("pod must not set runAsUser=0") }
        let roots = names { $0["securityContext"]["runAsUser"].int == 0 }
        if !roots.isEmpty { users.append("\(Self.plural("container", roots)) must not set runAsUser=0") }
        report("runAsUser=0", users)
    }

    private mutating func capabilities() {
        var details: [String] = []
        let keeping = names { container in
            !container["securityContext"]["capabilities"]["drop"].elements.contains("ALL")
        }
        if !keeping.isEmpty {
            details.append("\(Self.plural("container", keeping)) must set securityContext.capabilities.drop=[\"ALL\"]")
        }
        func bad(_ container: JSON) -> [String] { Self.added(container).filter { $0 != "NET_BIND_SERVICE" } }
        let adding = names { !bad($0).isEmpty }
        if !adding.isEmpty {
            details.append(
                "\(Self.plural("container", adding)) must not include \(Self.set(containers.flatMap(bad))) in "
                    + "securityContext.capabilities.add")
        }
        report("unrestricted capabilities", details)
    }

    private mutating func volumes() {
        var names: [String] = []
        var types: [String] = []
        for volume in pod["volumes"].elements {
            let kinds = (volume.object ?? JSONObject()).keys.filter { $0 != "name" && !volume[$0].isNull }
            guard let type = kinds.first, !Self.volumeTypes.contains(type) else { continue }
            names.append(volume["name"].string ?? "")
            types.append(type)
        }
        guard !names.isEmpty else { return }
        let several = Set(types).count > 1
        report(
            "restricted volume types",
            [
                "\(Self.plural("volume", names)) \(names.count == 1 ? "uses" : "use") restricted volume "
                    + "type\(several ? "s" : "") \(Self.set(types))"
            ])
    }

    private mutating func runAsNonRoot() {
        let own = pod["securityContext"]["runAsNonRoot"].bool
        var details: [String] = []
        if own == false { details.append("pod must not set securityContext.runAsNonRoot=false") }
        let explicit = names { $0["securityContext"]["runAsNonRoot"].bool == false }
        if !explicit.isEmpty {
            details.append("\(Self.plural("container", explicit)) must not set securityContext.runAsNonRoot=false")
        }
        let silent = names { $0["securityContext"]["runAsNonRoot"].isNull }
        if own != true, own != false, explicit.isEmpty, !silent.isEmpty {
            details.append("pod or \(Self.plural("container", silent)) must set securityContext.runAsNonRoot=true")
        }
        report("runAsNonRoot != true", details)
    }

    private mutating func seccompRestricted() {
        func isGood(_ type: String) -> Bool { type == "RuntimeDefault" || type == "Localhost" }
        var details: [String] = []
        let own = pod["securityContext"]["seccompProfile"]["type"].string
        if let own, !isGood(own) {
            details.append("pod must not set securityContext.seccompProfile.type to \"\(own)\"")
        }
        func type(_ container: JSON) -> String? { container["securityContext"]["seccompProfile"]["type"].string }
        let bad = names { type($0).map { !isGood($0) } ?? false }
        if !bad.isEmpty {
            let types = containers.compactMap(type).filter { !isGood($0) }
            details.append(
                "\(Self.plural("container", bad)) must not set securityContext.seccompProfile.type to \(Self.set(types))"
            )
        }
        let silent = names { type($0) == nil }
        if own == nil, bad.isEmpty, !silent.isEmpty {
            details.append(
                "pod or \(Self.plural("container", silent)) must set securityContext.seccompProfile.type to "
                    + "\"RuntimeDefault\" or \"Localhost\"")
        }
        report("seccompProfile", details)
    }
}
