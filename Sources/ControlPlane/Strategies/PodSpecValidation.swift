internal import Codecs
internal import KubeAPI

/// What a pod's spec has to be like, in a pod or in a workload's template.
/// Source: pkg/apis/core/validation/validation.go.
struct PodSpecValidation {
    let spec: JSON
    /// "spec", "spec.template.spec"
    let path: String
    private var volumes: Set<String> = []

    static func check(_ spec: JSON, _ path: String, _ check: inout Validation) {
        var validation = PodSpecValidation(spec: spec, path: path)
        validation.run(&check)
    }

    private init(spec: JSON, path: String) { (self.spec, self.path) = (spec, path) }

    private mutating func run(_ check: inout Validation) {
        VolumeValidation.check(spec["volumes"].elements, "\(path).volumes", &check)
        volumes = Set(spec["volumes"].elements.compactMap { $0["name"].string })
        let containers = spec["containers"].elements
        if containers.isEmpty { check.add(.required("\(path).containers")) }
        var names: Set<String> = []
        for (list, key) in [(containers, "containers"), (spec["initContainers"].elements, "initContainers")] {
            for (i, container) in list.enumerated() {
                let place = "\(path).\(key)[\(i)]"
                ContainerValidation(
                    container: container, path: place, volumes: volumes, isInit: key != "containers",
                    hasHostUsers: spec["hostUsers"].bool ?? true,
                    grace: spec["terminationGracePeriodSeconds"].int ?? 30
                ).run(&check)
                let name = container["name"].string ?? ""
                if !name.isEmpty, !names.insert(name).inserted {
                    check.add(.duplicate("\(place).name", .string(name)))
                }
            }
        }
        checkPolicies(&check)
        checkPlacement(&check)
        checkAffinity(&check)
        checkSpread(&check)
        checkDNS(&check)
        checkGates(&check)
        checkSecurity(&check)
        checkSharedPorts(&check)
    }

    private func checkPolicies(_ check: inout Validation) {
        let policy = spec["restartPolicy"]
        if let text = policy.string, !text.isEmpty {
            if !["Always", "OnFailure", "Never"].contains(text) {
                check.add(.notSupported("\(path).restartPolicy", policy, ["Always", "OnFailure", "Never"]))
            }
        } else {
            check.add(.required("\(path).restartPolicy"))
        }
        let dns = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]
        if let text = spec["dnsPolicy"].string, !text.isEmpty {
            if !dns.contains(text) { check.add(.notSupported("\(path).dnsPolicy", spec["dnsPolicy"], dns)) }
        } else {
            check.add(.required("\(path).dnsPolicy"))
        }
        if spec["dnsPolicy"].string == "None", spec["dnsConfig"]["nameservers"].elements.isEmpty {
            check.add(
                .required(
                    "\(path).dnsConfig.nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None"
                ))
        }
        if let seconds = spec["activeDeadlineSeconds"].int, !(1...Int64(Int32.max)).contains(seconds) {
            check.add(
                .invalid("\(path).activeDeadlineSeconds", .int(seconds), "must be between 1 and 2147483647, inclusive"))
        }
        if spec["hostPID"].bool == true, spec["shareProcessNamespace"].bool == true {
            check.add(
                .invalid(
                    "\(path).shareProcessNamespace", true, "ShareProcessNamespace and HostPID cannot both be enabled"))
        }
        if spec["hostNetwork"].bool == true { checkHostPorts(&check) }
        if spec["hostUsers"].bool == false {
            for key in ["hostNetwork", "hostPID", "hostIPC"] where spec[key].bool == true {
                check.add(.forbidden("\(path).\(key)", "when `hostUsers` is false"))
            }
        }
    }

    private func checkHostPorts(_ check: inout Validation) {
        for (i, container) in spec["containers"].elements.enumerated() {
            for (j, port) in container["ports"].elements.enumerated() {
                guard let host = port["hostPort"].int, host != port["containerPort"].int ?? 0 else { continue }
                check.add(
                    .invalid(
                        "\(path).containers[\(i)].ports[\(j)].hostPort", .int(host),
                        "must match `containerPort` when `hostNetwork` is true"))
            }
        }
    }

    private func checkPlacement(_ check: inout Validation) {
        Registry.validateLabels(spec["nodeSelector"], "\(path).nodeSelector", &check)
        for (key, rule) in [
            ("serviceAccountName", NameRule.subdomain), ("nodeName", .subdomain), ("hostname", .label),
            ("subdomain", .label), ("runtimeClassName", .subdomain), ("priorityClassName", .subdomain),
        ] {
            if let name = spec[key].string, !name.isEmpty, let problem = rule.problem(name) {
                check.add(.invalid("\(path).\(key)", .string(name), problem))
            }
        }
        Self.checkTolerations(spec["tolerations"].elements, "\(path).tolerations", &check)
    }

    static func checkTolerations(_ tolerations: [JSON], _ path: String, _ check: inout Validation) {
        for (i, toleration) in tolerations.enumerated() { checkToleration(toleration, "\(path)[\(i)]", &check) }
    }

    private static func checkToleration(_ toleration: JSON, _ path: String, _ check: inout Validation) {
        let key = toleration["key"].string ?? ""
        let op = toleration["operator"].string ?? ""
        let value = toleration["value"].string ?? ""
        if !key.isEmpty, let problem = LabelSyntax.keyProblem(key) {
            check.add(.invalid("\(path).key", .string(key), problem))
        }
        if key.isEmpty, op != "Exists" {
            check.add(
                .invalid(
                    "\(path).operator", .string(op),
                    "operator must be Exists when `key` is empty, which means \"match all values and all keys\""))
        }
        if !toleration["tolerationSeconds"].isNull, toleration["effect"].string != "NoExecute" {
            check.add(
                .invalid(
                    "\(path).effect", toleration["effect"].isNull ? "" : toleration["effect"],
                    "effect must be 'NoExecute' when `tolerationSeconds` is set"))
        }
        switch op {
        case "", "Equal":
            if let problem = LabelSyntax.valueProblem(value) {
                check.add(.invalid("\(path).operator", .string(value), problem))
            }
        case "Exists":
            if !value.isEmpty {
                check.add(
                    .invalid("\(path).operator", toleration["value"], "value must be empty when `operator` is 'Exists'")
                )
            }
        default: check.add(.notSupported("\(path).operator", .string(op), ["Equal", "Exists"]))
        }
        check.oneOf(toleration["effect"], ["NoSchedule", "PreferNoSchedule", "NoExecute"], "\(path).effect")
    }
}
