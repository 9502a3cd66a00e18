internal import Codecs
internal import KubeAPI

/// What a container has to be like. Source: validateContainerCommon and what it calls.
struct ContainerValidation {
    let container: JSON
    let path: String
    let volumes: Set<String>
    let isInit: Bool
    /// Whether the pod's users are the node's.
    var hasHostUsers = true
    /// Seconds that the pod has to end.
    var grace: Int64 = 30

    func run(_ check: inout Validation) {
        let name = container["name"].string ?? ""
        if name.isEmpty {
            check.add(.required("\(path).name"))
        } else if let problem = LabelSyntax.labelProblem(name) {
            check.add(.invalid("\(path).name", .string(name), problem))
        }
        let image = container["image"].string ?? ""
        if image.isEmpty {
            check.add(.required("\(path).image"))
        } else if image.utf8.first == 0x20 || image.utf8.last == 0x20 || image.utf8.last == 0x0A {
            check.add(.invalid("\(path).image", .string(image), "must not have leading or trailing whitespace"))
        }
        check.oneOf(
            container["imagePullPolicy"], ["Always", "IfNotPresent", "Never"], "\(path).imagePullPolicy", required: true
        )
        check.oneOf(
            container["terminationMessagePolicy"], ["FallbackToLogsOnError", "File"],
            "\(path).terminationMessagePolicy",
            required: true)
        checkPorts(&check)
        checkEnvironment(&check)
        checkMounts(&check)
        checkDevices(&check)
        ResourceRequirementsValidation.check(container["resources"], "\(path).resources", &check)
        checkProbes(&check)
        checkSecurity(&check)
        if isInit, let policy = container["restartPolicy"].string, policy != "Always" {
            check.oneOf(.string(policy), ["Always", "Never", "OnFailure"], "\(path).restartPolicy")
        }
    }

    // MARK: - Ports

    private func checkPorts(_ check: inout Validation) {
        var names: Set<String> = []
        for (i, port) in container["ports"].elements.enumerated() {
            let place = "\(path).ports[\(i)]"
            if let name = port["name"].string, !name.isEmpty {
                if let problem = Ports.nameProblem(name) {
                    check.add(.invalid("\(place).name", .string(name), problem))
                } else if !names.insert(name).inserted {
                    check.add(.duplicate("\(place).name", .string(name)))
                }
            }
            let number = port["containerPort"].int ?? 0
            if number == 0 {
                check.add(.required("\(place).containerPort"))
            } else if let problem = Ports.problem(number) {
                check.add(.invalid("\(place).containerPort", .int(number), problem))
            }
            if let host = port["hostPort"].int, host != 0, let problem = Ports.problem(host) {
                check.add(.invalid("\(place).hostPort", .int(host), problem))
            }
            check.oneOf(port["protocol"], ["SCTP", "TCP", "UDP"], "\(place).protocol", required: true)
        }
    }

    // MARK: - Environment

    private static let environmentFields = [
        "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs", "status.podIP", "status.podIPs",
    ]

    static let resourceFields = [
        "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage",
        "requests.memory",
    ]

    static func isResourceField(_ name: String) -> Bool {
        resourceFields.contains(name) || name.hasPrefix("limits.hugepages-") || name.hasPrefix("requests.hugepages-")
    }

    private static let variableText =
        "a valid environment variable name must consist only of printable ASCII characters other than '='"

    private static func isVariableName(_ name: String) -> Bool {
        !name.utf8.contains { $0 < 0x20 || $0 > 0x7E || $0 == UInt8(ascii: "=") }
    }

    private func checkEnvironment(_ check: inout Validation) {
        for (i, variable) in container["env"].elements.enumerated() {
            let place = "\(path).env[\(i)]"
            let name = variable["name"].string ?? ""
            if name.isEmpty {
                check.add(.required("\(place).name"))
            } else if !Self.isVariableName(name) {
                check.add(.invalid("\(place).name", .string(name), Self.variableText))
            }
            if !variable["valueFrom"].isNull { checkSource(variable, "\(place).valueFrom", &check) }
        }
        for (i, source) in container["envFrom"].elements.enumerated() {
            let place = "\(path).envFrom[\(i)]"
            let given = ["configMapRef", "secretRef"].filter { !source[$0].isNull }
            if given.isEmpty {
                check.add(.invalid(place, "", "must specify one of: `configMapRef` or `secretRef`"))
            } else if given.count > 1 {
                check.add(.invalid(place, "", "may not have more than one field specified at a time"))
            }
            if let prefix = source["prefix"].string, !prefix.isEmpty, !Self.isVariableName(prefix) {
                check.add(.invalid("\(place).prefix", .string(prefix), Self.variableText))
            }
            for key in given where (source[key]["name"].string ?? "").isEmpty {
                check.add(.required("\(place).\(key).name"))
            }
        }
    }

    private func checkSource(_ variable: JSON, _ place: String, _ check: inout Validation) {
        let source = variable["valueFrom"]
        let given = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"].filter {
            !source[$0].isNull
        }
        if given.isEmpty {
            check.add(
                .invalid(
                    place, "",
                    "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
                ))
        } else if let value = variable["value"].string, !value.isEmpty {
            check.add(.invalid(place, "", "may not be specified when `value` is not empty"))
        } else if given.count > 1 {
            check.add(.invalid(place, "", "may not have more than one field specified at a time"))
        }
        if given.contains("fieldRef") {
            Self.checkField(source["fieldRef"], "\(place).fieldRef", Self.environmentFields, &check)
        }
        if given.contains("resourceFieldRef") {
            let resource = source["resourceFieldRef"]["resource"].string ?? ""
            if resource.isEmpty {
                check.add(.required("\(place).resourceFieldRef.resource"))
            } else if !Self.isResourceField(resource) {
                check.add(
                    .notSupported(
                        "\(place).resourceFieldRef.resource", .string(resource), Self.resourceFields))
            }
        }
        for key in ["configMapKeyRef", "secretKeyRef"] where given.contains(key) {
            if (source[key]["name"].string ?? "").isEmpty { check.add(.required("\(place).\(key).name")) }
            if let name = source[key]["key"].string, !name.isEmpty {
                if let problem = ConfigData.keyProblem(name) {
                    check.add(.invalid("\(place).\(key).key", .string(name), problem))
                }
            } else {
                check.add(.required("\(place).\(key).key"))
            }
        }
    }

    private static let otherFields: Set<String> = [
        "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid",
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "status.hostIP",
        "status.hostIPs", "status.phase", "status.podIP", "status.podIPs",
    ]

    /// A field of the pod itself: one of those that can be had in this place.
    static func checkField(_ reference: JSON, _ path: String, _ fields: [String], _ check: inout Validation) {
        let field = reference["fieldPath"].string ?? ""
        if field.isEmpty {
            check.add(.required("\(path).fieldPath"))
        } else if otherFields.contains(field) {
            if !fields.contains(field) { check.add(.notSupported("\(path).fieldPath", .string(field), fields)) }
        } else if !isKeyedField(field) {
            check.add(
                .invalid(
                    "\(path).fieldPath", .string(field),
                    "error converting fieldPath: field label not supported: \(field)"))
        }
    }

    /// metadata.labels['app'], metadata.annotations['x']
    static func isKeyedField(_ field: String) -> Bool {
        (field.hasPrefix("metadata.labels['") || field.hasPrefix("metadata.annotations['")) && field.hasSuffix("']")
    }

    // MARK: - Mounts

    private func checkMounts(_ check: inout Validation) {
        var paths: Set<String> = []
        for (i, mount) in container["volumeMounts"].elements.enumerated() {
            let place = "\(path).volumeMounts[\(i)]"
            let name = mount["name"].string ?? ""
            if name.isEmpty {
                check.add(.required("\(place).name"))
            } else if !volumes.contains(name) {
                check.add(.init(.notFound, "\(place).name", "Not found: \(JSON.string(name).text)"))
            }
            let target = mount["mountPath"].string ?? ""
            if target.isEmpty {
                check.add(.required("\(place).mountPath"))
            } else if !paths.insert(target).inserted {
                check.add(.invalid("\(place).mountPath", .string(target), "must be unique"))
            }
            if let sub = mount["subPath"].string, !sub.isEmpty { Paths.checkLocal(sub, "\(place).subPath", &check) }
            if let sub = mount["subPathExpr"].string, !sub.isEmpty {
                if !(mount["subPath"].string ?? "").isEmpty {
                    check.add(
                        .invalid("\(place).subPathExpr", .string(sub), "subPathExpr and subPath are mutually exclusive")
                    )
                }
                Paths.checkLocal(sub, "\(place).subPathExpr", &check)
            }
            check.oneOf(
                mount["mountPropagation"], ["Bidirectional", "HostToContainer", "None"], "\(place).mountPropagation")
            checkRecursive(mount, "\(place).recursiveReadOnly", &check)
            if mount["mountPropagation"].string == "Bidirectional",
                container["securityContext"]["privileged"].bool != true
            {
                check.add(
                    .forbidden(
                        "\(place).mountPropagation",
                        "Bidirectional mount propagation is available only to privileged containers"))
            }
        }
    }

    private func checkRecursive(_ mount: JSON, _ path: String, _ check: inout Validation) {
        guard let mode = mount["recursiveReadOnly"].string, mode != "Disabled" else { return }
        guard ["Enabled", "IfPossible"].contains(mode) else {
            check.add(.notSupported(path, .string(mode), ["Disabled", "Enabled", "IfPossible"]))
            return
        }
        if mount["readOnly"].bool != true {
            check.add(.forbidden(path, "may only be specified when readOnly is true"))
        }
        if let propagation = mount["mountPropagation"].string, propagation != "None" {
            check.add(.forbidden(path, "may only be specified when mountPropagation is None or not specified"))
        }
    }

    // MARK: - Probes and hooks

    private func checkProbes(_ check: inout Validation) {
        for kind in ["livenessProbe", "readinessProbe", "startupProbe"] where !container[kind].isNull {
            let place = "\(path).\(kind)"
            if isInit, container["restartPolicy"].string != "Always" {
                check.add(.forbidden(place, "may not be set for init containers without restartPolicy=Always"))
                continue
            }
            let probe = container[kind]
            checkHandler(probe, place, ["exec", "httpGet", "tcpSocket", "grpc"], &check)
            for key in [
                "initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold",
            ] { check.nonNegative(probe[key], "\(place).\(key)") }
            if let seconds = probe["terminationGracePeriodSeconds"].int {
                let path = "\(place).terminationGracePeriodSeconds"
                if kind == "readinessProbe" {
                    check.add(.invalid(path, .int(seconds), "must not be set for readinessProbes"))
                } else if seconds <= 0 {
                    check.add(.invalid(path, .int(seconds), "must be greater than 0"))
                }
            }
            if kind != "readinessProbe", let threshold = probe["successThreshold"].int, threshold > 1 {
                check.add(.invalid("\(place).successThreshold", .int(threshold), "must be 1"))
            }
        }
        if isInit, container["restartPolicy"].string != "Always", !container["lifecycle"].isNull {
            check.add(
                .forbidden("\(path).lifecycle", "may not be set for init containers without restartPolicy=Always"))
            return
        }
        for hook in ["postStart", "preStop"] where !container["lifecycle"][hook].isNull {
            checkHandler(
                container["lifecycle"][hook], "\(path).lifecycle.\(hook)", ["exec", "httpGet", "tcpSocket", "sleep"],
                &check)
        }
    }

    private func checkHandler(_ handler: JSON, _ place: String, _ kinds: [String], _ check: inout Validation) {
        var given = 0
        for kind in kinds where !handler[kind].isNull {
            given += 1
            if given > 1 {
                check.add(.forbidden("\(place).\(kind)", "may not specify more than 1 handler type"))
                continue
            }
            let action = handler[kind]
            switch kind {
            case "exec":
                if action["command"].elements.isEmpty { check.add(.required("\(place).exec.command")) }
            case "httpGet":
                if (action["path"].string ?? "").isEmpty { check.add(.required("\(place).httpGet.path")) }
                for header in action["httpHeaders"].elements { checkHeader(header["name"], "\(place).httpGet", &check) }
                Ports.checkNameOrNumber(action["port"], "\(place).httpGet.port", &check)
                check.oneOf(action["scheme"], ["HTTP", "HTTPS"], "\(place).httpGet.scheme", required: true)
            case "sleep":
                let seconds = action["seconds"].int ?? 0
                if seconds < 0 || seconds > grace {
                    check.add(
                        .invalid(
                            "\(place).sleep", .int(seconds),
                            "must be non-negative and less than terminationGracePeriodSeconds (\(grace))"))
                }
            default: Ports.checkNameOrNumber(action["port"], "\(place).\(kind).port", &check)
            }
        }
        if given == 0 { check.add(.required(place, "must specify a handler type")) }
    }

    private func checkHeader(_ name: JSON, _ place: String, _ check: inout Validation) {
        let bytes = (name.string ?? "").utf8
        let isToken = bytes.allSatisfy {
            (97...122).contains($0) || (65...90).contains($0) || (48...57).contains($0) || $0 == 45
        }
        if bytes.isEmpty || !isToken {
            check.add(
                .invalid(
                    "\(place).httpHeaders", name,
                    "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')"
                ))
        }
    }

    // MARK: - Devices and resizing

    private func checkDevices(_ check: inout Validation) {
        let mounts = Set(container["volumeMounts"].elements.compactMap { $0["mountPath"].string })
        var paths: Set<String> = []
        for (i, device) in container["volumeDevices"].elements.enumerated() {
            let place = "\(path).volumeDevices[\(i)]"
            let (name, target) = (device["name"].string ?? "", device["devicePath"].string ?? "")
            if name.isEmpty {
                check.add(.required("\(place).name"))
            } else if !volumes.contains(name) {
                check.add(.init(.notFound, "\(place).name", "Not found: \(JSON.string(name).text)"))
            }
            if target.isEmpty {
                check.add(.required("\(place).devicePath"))
            } else if !paths.insert(target).inserted {
                check.add(.invalid("\(place).devicePath", .string(target), "must be unique"))
            } else if mounts.contains(target) {
                check.add(
                    .invalid(
                        "\(place).devicePath", .string(target), "must not already exist as a path in volumeMounts"))
            }
            if target.split(separator: "/").contains("..") {
                check.add(.invalid("\(place).devicePath", .string(target), "must not contain '..'"))
            }
        }
        var names: Set<String> = []
        for (i, policy) in container["resizePolicy"].elements.enumerated() {
            let place = "\(path).resizePolicy[\(i)]"
            check.oneOf(policy["resourceName"], ["cpu", "memory"], "\(place).resourceName", required: true)
            check.oneOf(
                policy["restartPolicy"], ["NotRequired", "RestartContainer"], "\(place).restartPolicy", required: true)
            let name = policy["resourceName"].string ?? ""
            if !name.isEmpty, !names.insert(name).inserted { check.add(.duplicate(place, .string(name))) }
        }
    }

    private func checkSecurity(_ check: inout Validation) {
        let security = container["securityContext"]
        for key in ["runAsUser", "runAsGroup"] {
            SecurityValidation.identity(security[key], "\(path).securityContext.\(key)", &check)
        }
        SecurityValidation.profiles(security, "\(path).securityContext", &check)
        check.oneOf(security["procMount"], ["Default", "Unmasked"], "\(path).securityContext.procMount")
        if security["procMount"] == "Unmasked", hasHostUsers {
            check.add(
                .invalid(
                    "\(path).securityContext.procMount", "Unmasked", "`hostUsers` must be false to use `Unmasked`"))
        }
        if security["allowPrivilegeEscalation"].bool == false {
            if security["privileged"].bool == true {
                check.add(
                    .invalid(
                        "\(path).securityContext", security,
                        "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"))
            }
            for name in security["capabilities"]["add"].elements where name.string == "CAP_SYS_ADMIN" {
                check.add(
                    .invalid(
                        "\(path).securityContext", security,
                        "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"))
            }
        }
    }
}

/// `resources` of a container.
enum ResourceRequirementsValidation {
    static func check(_ resources: JSON, _ path: String, _ check: inout Validation) {
        let limits = resources["limits"]
        for kind in ["limits", "requests"] {
            for (name, value) in resources[kind].object ?? JSONObject() {
                let place = "\(path).\(kind)[\(name)]"
                checkName(name, place, &check)
                guard let text = value.string, let quantity = Quantity(text) else { continue }
                if quantity < .zero {
                    check.add(.invalid(place, value, "must be greater than or equal to 0"))
                } else if ResourceName.isExtended(name), quantity.nanos % 1_000_000_000 != 0 {
                    check.add(.invalid(place, value, "must be an integer"))
                }
            }
        }
        let names = Set(["limits", "requests"].flatMap { (resources[$0].object ?? JSONObject()).keys })
        if names.contains(where: { $0.hasPrefix("hugepages-") }), !names.contains("cpu"), !names.contains("memory") {
            check.add(.forbidden(path, "HugePages require cpu or memory"))
        }
        for (name, value) in resources["requests"].object ?? JSONObject() {
            guard let request = value.string.flatMap({ Quantity($0) }) else { continue }
            if let limit = limits[name].string.flatMap({ Quantity($0) }) {
                if isCommitted(name), request != limit {
                    check.add(
                        .invalid(
                            "\(path).requests", value, "must be equal to \(name) limit of \(limit)"))
                } else if request > limit {
                    check.add(
                        .invalid("\(path).requests", value, "must be less than or equal to \(name) limit of \(limit)"))
                }
            } else if isCommitted(name) {
                check.add(.required("\(path).limits", "Limit must be set for non overcommitable resources"))
            }
        }
    }

    /// What a node has no more of than it promises: requests and limits are one.
    private static func isCommitted(_ name: String) -> Bool {
        ResourceName.isExtended(name) || name.hasPrefix("hugepages-")
    }

    static func isStandard(_ name: String) -> Bool {
        ["cpu", "memory", "ephemeral-storage"].contains(name) || name.hasPrefix("hugepages-")
    }

    private static func checkName(_ name: String, _ place: String, _ check: inout Validation) {
        if let problem = LabelSyntax.keyProblem(name) {
            check.add(.invalid(place, .string(name), problem))
        } else if !name.contains("/"), !isStandard(name) {
            check.add(.invalid(place, .string(name), "must be a standard resource for containers"))
        }
    }
}
