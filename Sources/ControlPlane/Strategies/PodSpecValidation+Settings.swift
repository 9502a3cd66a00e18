internal import Codecs
internal import KubeAPI

/// What holds for all containers of a pod: names, users, kernel settings, gates.
/// Source: validatePodDNSConfig, validatePodSpecSecurityContext, validatePodResourceClaims and their neighbours in
/// pkg/apis/core/validation.
extension PodSpecValidation {
    private static let addressText = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"

    func checkDNS(_ check: inout Validation) {
        let (dns, place) = (spec["dnsConfig"], "\(path).dnsConfig")
        let (servers, searches) = (dns["nameservers"].elements, dns["searches"].elements)
        if servers.count > 3 {
            check.add(.invalid("\(place).nameservers", dns["nameservers"], "must not have more than 3 nameservers"))
        }
        for (i, server) in servers.enumerated() where IPAddress(server.string ?? "") == nil {
            check.add(.invalid("\(place).nameservers[\(i)]", server, Self.addressText))
        }
        if searches.count > 32 {
            check.add(.invalid("\(place).searches", dns["searches"], "must not have more than 32 search paths"))
        }
        if searches.compactMap(\.string).joined(separator: " ").utf8.count > 2048 {
            check.add(
                .invalid(
                    "\(place).searches", dns["searches"],
                    "must not have more than 2048 characters (including spaces) in the search list"))
        }
        for (i, search) in searches.enumerated() where search != "." {
            var text = search.string ?? ""
            if text.hasSuffix(".") { text.removeLast() }
            // Labels with underscores are common in search lists.
            if let problem = LabelSyntax.subdomainProblem(String(text.map { $0 == "_" ? "a" : $0 })) {
                check.add(.invalid("\(place).searches[\(i)]", search, problem))
            }
        }
        for (i, option) in dns["options"].elements.enumerated() where (option["name"].string ?? "").isEmpty {
            check.add(.required("\(place).options[\(i)]", "must not be empty"))
        }
        for (i, alias) in spec["hostAliases"].elements.enumerated() {
            let ip = alias["ip"].string ?? ""
            if IPAddress(ip) == nil {
                check.add(.invalid("\(path).hostAliases[\(i)].ip", .string(ip), Self.addressText))
            }
            for name in alias["hostnames"].elements {
                if let problem = LabelSyntax.subdomainProblem(name.string ?? "") {
                    check.add(.invalid("\(path).hostAliases[\(i)].hostnames", name, problem))
                }
            }
        }
    }

    func checkGates(_ check: inout Validation) {
        for (i, gate) in spec["readinessGates"].elements.enumerated() {
            if let problem = LabelSyntax.keyProblem(gate["conditionType"].string ?? "") {
                check.add(
                    .invalid("\(path).readinessGates[\(i)].conditionType", gate["conditionType"], problem))
            }
        }
        var seen: Set<String> = []
        for (i, gate) in spec["schedulingGates"].elements.enumerated() {
            let name = gate["name"].string ?? ""
            if let problem = LabelSyntax.keyProblem(name) {
                check.add(.invalid("\(path).schedulingGates[\(i)]", .string(name), problem))
            }
            if !seen.insert(name).inserted {
                check.add(.duplicate("\(path).schedulingGates[\(i)]", .string(name)))
            }
        }
        check.oneOf(spec["preemptionPolicy"], ["Never", "PreemptLowerPriority"], "\(path).preemptionPolicy")
        let os = spec["os"]
        if !os.isNull {
            let name = os["name"].string ?? ""
            if name.isEmpty {
                check.add(.required("\(path).os.name", "cannot be empty"))
            } else if !["linux", "windows"].contains(name) {
                check.add(.notSupported("\(path).os", .string(name), ["linux", "windows"]))
            }
        }
        checkClaims(&check)
    }

    private func checkClaims(_ check: inout Validation) {
        var names: Set<String> = []
        for (i, claim) in spec["resourceClaims"].elements.enumerated() {
            let place = "\(path).resourceClaims[\(i)]"
            let name = claim["name"].string ?? ""
            if name.isEmpty {
                check.add(.required("\(place).name"))
            } else if let problem = LabelSyntax.labelProblem(name) {
                check.add(.invalid("\(place).name", .string(name), problem))
            } else if !names.insert(name).inserted {
                check.add(.duplicate("\(place).name", .string(name)))
            }
            let keys = ["resourceClaimName", "resourceClaimTemplateName"]
            let given = keys.filter { !claim[$0].isNull }
            if given.count != 1 {
                check.add(
                    .invalid(
                        place, claim,
                        given.isEmpty
                            ? "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
                            : "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"))
            }
            for key in given {
                if let problem = LabelSyntax.subdomainProblem(claim[key].string ?? "") {
                    check.add(.invalid("\(place).\(key)", claim[key], problem))
                }
            }
        }
        for key in ["containers", "initContainers"] {
            for (i, container) in spec[key].elements.enumerated() {
                for (j, claim) in container["resources"]["claims"].elements.enumerated() {
                    let (name, place) = (claim["name"].string ?? "", "\(path).\(key)[\(i)].resources.claims[\(j)]")
                    if name.isEmpty {
                        check.add(.required("\(place).name"))
                    } else if !names.contains(name) {
                        check.add(
                            .init(.notFound, "\(place).name", "Not found: \(JSON.string(name).text)"))
                    }
                }
            }
        }
    }

    // MARK: - Security

    func checkSecurity(_ check: inout Validation) {
        let (security, place) = (spec["securityContext"], "\(path).securityContext")
        guard !security.isNull else { return }
        for key in ["fsGroup", "runAsUser", "runAsGroup"] {
            SecurityValidation.identity(security[key], "\(place).\(key)", &check)
        }
        for (i, group) in security["supplementalGroups"].elements.enumerated() {
            SecurityValidation.identity(group, "\(place).supplementalGroups[\(i)]", &check)
        }
        check.oneOf(security["fsGroupChangePolicy"], ["Always", "OnRootMismatch"], "\(place).fsGroupChangePolicy")
        check.oneOf(security["supplementalGroupsPolicy"], ["Merge", "Strict"], "\(place).supplementalGroupsPolicy")
        SecurityValidation.profiles(security, place, &check)
        var names: Set<String> = []
        for (i, sysctl) in security["sysctls"].elements.enumerated() {
            let place = "\(place).sysctls[\(i)].name"
            let name = sysctl["name"].string ?? ""
            // Both separators of sysctl(8) stand for one name.
            let key = String(name.map { $0 == "/" ? "." : $0 })
            if name.isEmpty {
                check.add(.required(place))
            } else if !Self.isSysctl(name) {
                check.add(
                    .invalid(
                        place, .string(name),
                        "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\.\\/])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
                    ))
            } else if !names.insert(key).inserted {
                check.add(.duplicate(place, .string(name)))
            }
            if spec["hostNetwork"].bool == true, key.hasPrefix("net.") {
                check.add(.invalid(place, .string(name), "may not be specified when `hostNetwork` is true"))
            }
        }
    }

    private static func isSysctl(_ name: String) -> Bool {
        guard name.utf8.count <= 253 else { return false }
        return name.split(omittingEmptySubsequences: false) { $0 == "." || $0 == "/" }.allSatisfy { part in
            LabelSyntax.subdomainProblem(String(part.map { $0 == "_" ? "-" : $0 })) == nil
        }
    }

    /// Two containers cannot have the same port of the node.
    func checkSharedPorts(_ check: inout Validation) {
        var seen: Set<String> = []
        for key in ["containers", "initContainers"] {
            if key == "initContainers" { seen = [] }
            for (i, container) in spec[key].elements.enumerated() {
                for (j, port) in container["ports"].elements.enumerated() {
                    guard let number = port["hostPort"].int, number != 0 else { continue }
                    let text = "\(port["protocol"].string ?? "")/\(port["hostIP"].string ?? "")/\(number)"
                    if !seen.insert(text).inserted {
                        check.add(.duplicate("\(path).\(key)[\(i)].ports[\(j)].hostPort", .string(text)))
                    }
                }
                // Init containers run one after the other.
                if key == "initContainers" { seen = [] }
            }
        }
    }
}

/// What pods and containers have in common in their security contexts.
enum SecurityValidation {
    static func identity(_ value: JSON, _ path: String, _ check: inout Validation) {
        guard let id = value.int, !(0...Int64(Int32.max)).contains(id) else { return }
        check.add(.invalid(path, .int(id), "must be between 0 and 2147483647, inclusive"))
    }

    static func profiles(_ security: JSON, _ path: String, _ check: inout Validation) {
        for (key, name) in [("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor")]
        where !security[key].isNull {
            let (profile, place) = (security[key], "\(path).\(key)")
            let type = profile["type"].string ?? ""
            if type.isEmpty {
                check.add(.required("\(place).type", "type is required when \(key) is set"))
            } else {
                check.oneOf(profile["type"], ["Localhost", "RuntimeDefault", "Unconfined"], "\(place).type")
            }
            let file = profile["localhostProfile"]
            if type == "Localhost" {
                if (file.string ?? "").isEmpty {
                    check.add(.required("\(place).localhostProfile", "must be set when \(name) type is Localhost"))
                } else if key == "seccompProfile" {
                    Paths.checkLocal(file.string ?? "", "\(place).localhostProfile", &check)
                }
            } else if !file.isNull {
                check.add(
                    .invalid("\(place).localhostProfile", file, "can only be set when \(name) type is Localhost"))
            }
        }
    }
}

/// What is accepted in pods, and better not done. Source: pkg/api/pod/warnings.go.
enum PodWarnings {
    private static let labels: [String: String] = [
        "beta.kubernetes.io/arch": "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
        "beta.kubernetes.io/os": "deprecated since v1.14; use \"kubernetes.io/os\" instead",
        "failure-domain.beta.kubernetes.io/region":
            "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
        "failure-domain.beta.kubernetes.io/zone": "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
        "beta.kubernetes.io/instance-type": "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ]

    /// Sources of volumes that are gone or going.
    private static let volumes: [String: String] = [
        "cephfs": "deprecated in v1.28, non-functional in v1.31+",
        "flocker": "deprecated in v1.22, non-functional in v1.25+",
        "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
        "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
        "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
        "quobyte": "deprecated in v1.22, non-functional in v1.25+",
        "rbd": "deprecated in v1.28, non-functional in v1.31+",
        "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
        "storageos": "deprecated in v1.22, non-functional in v1.25+",
    ]

    /// - Parameter path: of what holds the source.
    static func volume(_ volume: JSON, _ path: String) -> [String] {
        (volume.object ?? JSONObject()).members.compactMap { key, value in
            value.isNull ? nil : volumes[key].map { "\(path).\(key): \($0)" }
        }
    }

    static func annotations(_ object: KubeObject) -> [String] {
        object.annotations.keys.sorted().compactMap { key in
            let path = "metadata.annotations[\(key)]: "
            switch key {
            case "security.alpha.kubernetes.io/sysctls", "security.alpha.kubernetes.io/unsafe-sysctls":
                return path + "non-functional in v1.11+; use the \"sysctls\" field instead"
            case "scheduler.alpha.kubernetes.io/critical-pod":
                return path + "non-functional in v1.16+; use the \"priorityClassName\" field instead"
            case "seccomp.security.alpha.kubernetes.io/pod":
                return path + "non-functional in v1.27+; use the \"seccompProfile\" field instead"
            case _ where key.hasPrefix("container.seccomp.security.alpha.kubernetes.io/"):
                return path + "non-functional in v1.27+; use the \"seccompProfile\" field instead"
            case _ where key.hasPrefix("container.apparmor.security.beta.kubernetes.io/"):
                return path + "deprecated since v1.30; use the \"appArmorProfile\" field instead"
            default: return nil
            }
        }
    }

    private static let noSelector = ": a null labelSelector results in matching no pod"

    private static func selectors(_ spec: JSON, _ path: String) -> [String] {
        var found: [String] = []
        for (i, constraint) in spec["topologySpreadConstraints"].elements.enumerated()
        where constraint["labelSelector"].isNull {
            found.append("\(path).topologySpreadConstraints[\(i)].labelSelector" + noSelector)
        }
        let (required, preferred) = (
            "requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"
        )
        for kind in ["podAffinity", "podAntiAffinity"] {
            let place = "\(path).affinity.\(kind)"
            for (i, term) in spec["affinity"][kind][required].elements.enumerated() where term["labelSelector"].isNull {
                found.append("\(place).\(required)[\(i)].labelSelector" + noSelector)
            }
            for (i, term) in spec["affinity"][kind][preferred].elements.enumerated()
            where term["podAffinityTerm"]["labelSelector"].isNull {
                found.append("\(place).\(preferred)[\(i)].podAffinityTerm.labelSelector" + noSelector)
            }
        }
        return found
    }

    /// - Parameter path: of the spec.
    static func of(_ spec: JSON, _ path: String) -> [String] {
        var found = selectors(spec, path)
        for (i, volume) in spec["volumes"].elements.enumerated() {
            found += self.volume(volume, "\(path).volumes[\(i)]")
        }
        for key in (spec["nodeSelector"].object ?? JSONObject()).keys.sorted() {
            if let text = labels[key] { found.append("\(path).nodeSelector[\(key)]: \(text)") }
        }
        if (spec["terminationGracePeriodSeconds"].int ?? 0) < 0 {
            found.append(
                "\(path).terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
            )
        }
        for (i, secret) in spec["imagePullSecrets"].elements.enumerated() where (secret["name"].string ?? "").isEmpty {
            found.append("\(path).imagePullSecrets[\(i)].name: invalid empty name \"\"")
        }
        for key in ["initContainers", "containers"] {
            for (i, container) in spec[key].elements.enumerated() {
                let place = "\(path).\(key)[\(i)]"
                names(container, place, &found)
                for list in ["requests", "limits"] {
                    for name in ["memory", "ephemeral-storage"] {
                        guard let text = container["resources"][list][name].string, text.hasSuffix("m") else {
                            continue
                        }
                        found.append(
                            "\(place).resources.\(list)[\(name)]: fractional byte value \"\(text)\" is invalid, must be an integer"
                        )
                    }
                }
            }
        }
        return found
    }

    private static func names(_ container: JSON, _ place: String, _ found: inout [String]) {
        var (variables, ports): (Set<String>, [String: Int]) = ([], [:])
        for (i, variable) in container["env"].elements.enumerated() {
            let name = variable["name"].string ?? ""
            // A variable that is built from its former self is meant.
            if !variables.insert(name).inserted, !(variable["value"].string ?? "").contains("$(\(name))") {
                found.append(
                    "\(place).env[\(i)]: hides previous definition of \"\(name)\", which may be dropped when using apply"
                )
            }
        }
        for (i, port) in container["ports"].elements.enumerated() {
            let key =
                "\(port["protocol"].string ?? "")/\(port["containerPort"].int ?? 0)/\(port["hostPort"].int ?? 0)/"
                + (port["hostIP"].string ?? "")
            if let first = ports[key] {
                found.append("\(place).ports[\(i)]: duplicate port definition with \(place).ports[\(first)]")
            } else {
                ports[key] = i
            }
        }
    }
}
