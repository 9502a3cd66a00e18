import Codecs
import KubeAPI

/// Pods and templates of pods.
extension DescribeText {
    mutating func pod(_ pod: JSON) {
        let (spec, status, metadata) = (pod["spec"], pod["status"], pod["metadata"])
        head(pod)
        if !spec["priority"].isNull { field("Priority", spec["priority"].shown) }
        if let name = spec["priorityClassName"].string { field("Priority Class Name", name) }
        if let name = spec["runtimeClassName"].string { field("Runtime Class Name", name) }
        field("Service Account", spec["serviceAccountName"].shown)
        field("Node", spec["nodeName"].string.map { "\($0)/\(status["hostIP"].shown)" } ?? "<none>")
        if !status["startTime"].isNull { field("Start Time", Self.time(status["startTime"])) }
        marks(pod)
        if !metadata["deletionTimestamp"].isNull {
            field("Status", "Terminating (lasts \(Age.text(metadata["deletionTimestamp"])))")
            field("Termination Grace Period", "\(metadata["deletionGracePeriodSeconds"].shown)s")
        } else {
            field("Status", status["phase"].shown)
        }
        if let reason = status["reason"].string { field("Reason", reason) }
        if let message = status["message"].string { field("Message", message) }
        if let type = spec["securityContext"]["seccompProfile"]["type"].string { field("SeccompProfile", type) }
        field("IP", status["podIP"].shown)
        let addresses = status["podIPs"].elements
        if addresses.isEmpty {
            field("IPs", "<none>")
        } else {
            line(0, "IPs:")
            for address in addresses { field("IP", address["ip"].shown, level: 1) }
        }
        controller(pod)
        if let node = status["nominatedNodeName"].string { field("NominatedNodeName", node) }
        let inits = spec["initContainers"].elements
        if !inits.isEmpty { containers("Init Containers", inits, status["initContainerStatuses"].elements, pod) }
        containers("Containers", spec["containers"].elements, status["containerStatuses"].elements, pod)
        let others = spec["ephemeralContainers"].elements
        if !others.isEmpty {
            containers("Ephemeral Containers", others, status["ephemeralContainerStatuses"].elements, pod)
        }
        let gates = spec["readinessGates"].elements
        if !gates.isEmpty {
            line(0, "Readiness Gates:\n  Type\tStatus")
            for gate in gates {
                let found = status["conditions"].elements.first { $0["type"] == gate["conditionType"] }
                line(0, "  \(gate["conditionType"].shown) \t\(found?["status"].shown ?? "<none>") ")
            }
        }
        let conditions = status["conditions"].elements
        if !conditions.isEmpty {
            line(0, "Conditions:\n  Type\tStatus")
            for entry in conditions { line(0, "  \(entry["type"].shown) \t\(entry["status"].shown) ") }
        }
        volumes(spec["volumes"].elements, space: "")
        if let quality = status["qosClass"].string { field("QoS Class", quality) }
        labels("Node-Selectors", spec["nodeSelector"])
        tolerations(spec["tolerations"].elements)
    }

    mutating func controller(_ object: JSON) {
        for owner in object["metadata"]["ownerReferences"].elements where owner["controller"].bool == true {
            field("Controlled By", "\(owner["kind"].shown)/\(owner["name"].shown)")
        }
    }

    mutating func tolerations(_ list: [JSON], space: String = "") {
        let title = space + "Tolerations"
        guard !list.isEmpty else { return field(title, "<none>") }
        for (i, entry) in list.enumerated() {
            var text = entry["key"].shown
            if let value = entry["value"].string, !value.isEmpty { text += "=\(value)" }
            if let effect = entry["effect"].string, !effect.isEmpty { text += ":\(effect)" }
            if entry["operator"].string == "Exists", (entry["value"].string ?? "").isEmpty {
                text += text.isEmpty ? "op=Exists" : " op=Exists"
            }
            if let seconds = entry["tolerationSeconds"].int { text += " for \(seconds)s" }
            line(0, "\(i == 0 ? title + ":" : "")\t\(text)")
        }
    }

    mutating func template(_ template: JSON) {
        line(0, "Pod Template:")
        var inner = DescribeText()
        inner.labels("  Labels", template["metadata"]["labels"])
        if template["metadata"]["annotations"].object?.isEmpty == .some(false) {
            inner.annotations(template["metadata"]["annotations"], title: "  Annotations")
        }
        text += inner.text
        let spec = template["spec"]
        if let name = spec["serviceAccountName"].string { line(0, "  Service Account:\t\(name)") }
        if !spec["initContainers"].elements.isEmpty {
            containers("Init Containers", spec["initContainers"].elements, [], .null, space: "  ")
        }
        containers("Containers", spec["containers"].elements, [], .null, space: "  ")
        volumes(spec["volumes"].elements, space: "  ")
        if let name = spec["priorityClassName"].string { line(0, "  Priority Class Name:\t\(name)") }
        labels("  Node-Selectors", spec["nodeSelector"])
        tolerations(spec["tolerations"].elements, space: "  ")
    }

    // MARK: - Containers

    mutating func containers(_ title: String, _ list: [JSON], _ statuses: [JSON], _ pod: JSON, space: String = "") {
        line(0, "\(space)\(title):\(list.isEmpty ? " <none>" : "")")
        for container in list {
            let status = statuses.first { $0["name"] == container["name"] }
            line(1, "\(space.isEmpty ? "" : " ")\(container["name"].shown):")
            if let status { field("Container ID", status["containerID"].shown, level: 2) }
            field("Image", container["image"].shown, level: 2)
            if let status { field("Image ID", status["imageID"].shown, level: 2) }
            let ports = container["ports"].elements
            func told(_ key: String) -> String {
                ports.map {
                    "\($0[key].int ?? 0)/\($0["protocol"].string ?? "TCP")"
                        + ($0["name"].string.map { " (\($0))" } ?? "")
                }
                .joined(separator: ", ")
            }
            field(ports.count > 1 ? "Ports" : "Port", ports.isEmpty ? "<none>" : told("containerPort"), level: 2)
            field(ports.count > 1 ? "Host Ports" : "Host Port", ports.isEmpty ? "<none>" : told("hostPort"), level: 2)
            if let type = container["securityContext"]["seccompProfile"]["type"].string {
                field("SeccompProfile", type, level: 2)
            }
            for (title, key) in [("Command", "command"), ("Args", "args")] where !container[key].elements.isEmpty {
                line(2, "\(title):")
                for word in container[key].texts {
                    for part in word.split(separator: "\n", omittingEmptySubsequences: false) { line(3, String(part)) }
                }
            }
            if let status {
                state("State", status["state"])
                if !status["lastState"]["terminated"].isNull { state("Last State", status["lastState"]) }
                field("Ready", status["ready"].bool == true ? "True" : "False", level: 2)
                field("Restart Count", "\(status["restartCount"].int ?? 0)", level: 2)
            }
            quantities("Limits", container["resources"]["limits"], level: 2)
            quantities("Requests", container["resources"]["requests"], level: 2)
            for (title, key) in [
                ("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe"),
            ]
            where !container[key].isNull { field(title, Self.probe(container[key]), level: 2) }
            environment(container, pod)
            let mounts = container["volumeMounts"].elements.sorted { $0["mountPath"].shown < $1["mountPath"].shown }
            line(2, "Mounts:\(mounts.isEmpty ? "\t<none>" : "")")
            for mount in mounts {
                var flags = [mount["readOnly"].bool == true ? "ro" : "rw"]
                if let path = mount["subPath"].string { flags.append("path=\(GoText.quoted(path))") }
                line(3, "\(mount["mountPath"].shown) from \(mount["name"].shown) (\(flags.joined(separator: ",")))")
            }
        }
    }

    private mutating func state(_ title: String, _ state: JSON) {
        if let running = state.object?["running"] {
            field(title, "Running", level: 2)
            field("Started", Self.time(running["startedAt"]), level: 3)
        } else if let ended = state.object?["terminated"] {
            field(title, "Terminated", level: 2)
            if let reason = ended["reason"].string { field("Reason", reason, level: 3) }
            if let message = ended["message"].string { field("Message", message, level: 3) }
            field("Exit Code", "\(ended["exitCode"].int ?? 0)", level: 3)
            if let signal = ended["signal"].int, signal > 0 { field("Signal", "\(signal)", level: 3) }
            field("Started", Self.time(ended["startedAt"]), level: 3)
            field("Finished", Self.time(ended["finishedAt"]), level: 3)
        } else {
            field(title, "Waiting", level: 2)
            if let reason = state["waiting"]["reason"].string { field("Reason", reason, level: 3) }
        }
    }

    static func probe(_ probe: JSON) -> String {
        func number(_ key: String) -> String { "\(probe[key].int ?? 0)" }
        let attributes =
            "delay=\(number("initialDelaySeconds"))s timeout=\(number("timeoutSeconds"))s period=\(number("periodSeconds"))s #success=\(number("successThreshold")) #failure=\(number("failureThreshold"))"
        if let exec = probe.object?["exec"] {
            return "exec [\(exec["command"].texts.joined(separator: " "))] \(attributes)"
        }
        if let get = probe.object?["httpGet"] {
            let scheme = (get["scheme"].string ?? "HTTP").lowercased()
            return "http-get \(scheme)://\(get["host"].shown):\(get["port"].shown)\(get["path"].shown) \(attributes)"
        }
        if let socket = probe.object?["tcpSocket"] {
            return "tcp-socket \(socket["host"].shown):\(socket["port"].shown) \(attributes)"
        }
        if let call = probe.object?["grpc"] {
            return "grpc <pod>:\(call["port"].shown) \(call["service"].shown) \(attributes)"
        }
        return "unknown \(attributes)"
    }

    private mutating func environment(_ container: JSON, _ pod: JSON) {
        let sources = container["envFrom"].elements
        if !sources.isEmpty {
            line(2, "Environment Variables from:")
            for source in sources {
                let isMap = !source["configMapRef"].isNull
                let reference = source[isMap ? "configMapRef" : "secretRef"]
                let prefix = source["prefix"].string.map { " with prefix '\($0)'" } ?? ""
                line(
                    3,
                    "\(reference["name"].shown)\t\(isMap ? "ConfigMap" : "Secret")\(prefix)\tOptional: \(reference["optional"].bool ?? false)"
                )
            }
        }
        let variables = container["env"].elements
        line(2, "Environment:\(variables.isEmpty ? "\t<none>" : "")")
        for variable in variables {
            let name = variable["name"].shown
            let from = variable["valueFrom"]
            if let field = from.object?["fieldRef"] {
                let path = field["fieldPath"].shown
                let value = (try? JSONPath(relaxed: path).values(pod).first?.shown) ?? ""
                line(3, "\(name):\t\(pod.isNull ? "" : value) (\(field["apiVersion"].string ?? "v1"):\(path))")
            } else if let field = from.object?["resourceFieldRef"] {
                let key = field["resource"].shown
                let value = key.split(separator: ".").reduce(container["resources"]) { $0[String($1)] }.shown
                line(3, "\(name):\t\(value.isEmpty ? "0" : value) (\(key))")
            } else if let secret = from.object?["secretKeyRef"] {
                line(
                    3,
                    "\(name):\t<set to the key '\(secret["key"].shown)' in secret '\(secret["name"].shown)'>\tOptional: \(secret["optional"].bool ?? false)"
                )
            } else if let map = from.object?["configMapKeyRef"] {
                line(
                    3,
                    "\(name):\t<set to the key '\(map["key"].shown)' of config map '\(map["name"].shown)'>\tOptional: \(map["optional"].bool ?? false)"
                )
            } else {
                for (i, part) in variable["value"].shown.split(separator: "\n", omittingEmptySubsequences: false)
                    .enumerated()
                {
                    line(3, i == 0 ? "\(name):\t\(part)" : "\t\(part)")
                }
            }
        }
    }

    // MARK: - Volumes

    private static let volumeTypes: [(key: String, title: String, fields: [(String, String)])] = [
        ("hostPath", "HostPath (bare host directory volume)", [("Path", "path"), ("HostPathType", "type")]),
        (
            "emptyDir", "EmptyDir (a temporary directory that shares a pod's lifetime)",
            [("Medium", "medium"), ("SizeLimit", "sizeLimit")]
        ),
        (
            "secret", "Secret (a volume populated by a Secret)",
            [("SecretName", "secretName"), ("Optional", "optional")]
        ),
        ("configMap", "ConfigMap (a volume populated by a ConfigMap)", [("Name", "name"), ("Optional", "optional")]),
        (
            "persistentVolumeClaim",
            "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
            [("ClaimName", "claimName"), ("ReadOnly", "readOnly")]
        ),
        (
            "nfs", "NFS (an NFS mount that lasts the lifetime of a pod)",
            [("Server", "server"), ("Path", "path"), ("ReadOnly", "readOnly")]
        ),
    ]

    mutating func volumes(_ list: [JSON], space: String) {
        guard !list.isEmpty else { return line(0, "\(space)Volumes:\t<none>") }
        line(0, "\(space)Volumes:")
        for volume in list {
            line(1, "\(space.isEmpty ? "" : " ")\(volume["name"].shown):")
            source(volume)
        }
    }

    /// What a volume of a pod or a persistent volume is.
    mutating func source(_ volume: JSON) {
        if let projected = volume.object?["projected"] {
            field("Type", "Projected (a volume that contains injected data from multiple sources)", level: 2)
            for source in projected["sources"].elements {
                if let token = source.object?["serviceAccountToken"] {
                    field("TokenExpirationSeconds", token["expirationSeconds"].shown, level: 2)
                }
                if let map = source.object?["configMap"] {
                    field("ConfigMapName", map["name"].shown, level: 2)
                    field("Optional", "\(map["optional"].bool ?? false)", level: 2)
                }
                if let secret = source.object?["secret"] {
                    field("SecretName", secret["name"].shown, level: 2)
                    field("Optional", "\(secret["optional"].bool ?? false)", level: 2)
                }
                if source.object?["downwardAPI"] != nil { field("DownwardAPI", "true", level: 2) }
            }
            return
        }
        if let downward = volume.object?["downwardAPI"] {
            field("Type", "DownwardAPI (a volume populated by information about the pod)", level: 2)
            line(2, "Items:")
            for item in downward["items"].elements {
                line(
                    3,
                    "\(item["fieldRef"]["fieldPath"].shown)\(item["resourceFieldRef"]["resource"].shown) -> \(item["path"].shown)"
                )
            }
            return
        }
        for (key, title, fields) in Self.volumeTypes {
            guard let source = volume.object?[key] else { continue }
            field("Type", title, level: 2)
            for (name, member) in fields {
                var value = source[member].shown
                if value.isEmpty, member == "optional" || member == "readOnly" { value = "false" }
                if value.isEmpty, member == "sizeLimit" { value = "<unset>" }
                field(name, value, level: 2)
            }
            return
        }
        field("Type", "<unknown>", level: 2)
    }
}
