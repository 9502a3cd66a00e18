internal import Codecs
package import KubeAPI
internal import Store

extension AdmissionPlugin {
    /// The Pod Security Standards, by the labels of a namespace. Source: KEP-2579, k8s.io/pod-security-admission.
    package static let podSecurity = AdmissionPlugin(
        "PodSecurity", operations: [.create, .update],
        validate: { request, registry throws(APIError) in
            if request.resource == .namespaces {
                try PodSecurity.check(namespace: request, registry)
            } else if request.resource == .pods {
                try PodSecurity.check(pod: request, registry)
            } else if let path = PodSecurity.templates[request.resource.groupResource] {
                PodSecurity.check(template: request, path, registry)
            }
        })
}

enum PodSecurity {
    static let prefix = "pod-security.kubernetes.io/"
    /// How many pods are looked at when a namespace's level rises.
    private static let podLimit = 3000

    /// Where the pod template of a workload is.
    static let templates: [String: [String]] = [
        "deployments.apps": ["spec", "template"], "daemonsets.apps": ["spec", "template"],
        "statefulsets.apps": ["spec", "template"], "replicasets.apps": ["spec", "template"],
        "replicationcontrollers": ["spec", "template"], "jobs.batch": ["spec", "template"],
        "cronjobs.batch": ["spec", "jobTemplate", "spec", "template"], "podtemplates": ["template"],
    ]

    struct Policy: Equatable {
        var level = PodSecurityLevel.privileged
        var version = "latest"
        var text: String { "\(level.rawValue):\(version)" }
    }

    private static func policy(_ mode: String, _ label: (String) -> String?) -> Policy {
        // A level that nobody knows is taken for the strictest.
        let level = label(prefix + mode).map { PodSecurityLevel(rawValue: $0) ?? .restricted } ?? .privileged
        return Policy(level: level, version: label(prefix + mode + "-version") ?? "latest")
    }

    private static func policy(_ mode: String, of namespace: String, _ registry: Registry) -> Policy {
        guard let entry = registry.store.get("/registry/namespaces/" + namespace) else { return Policy() }
        return policy(mode) { RawJSON.text(of: ["metadata", "labels", $0], in: entry.value) }
    }

    // MARK: - Pods

    static func check(pod request: AdmissionRequest, _ registry: Registry) throws(APIError) {
        guard request.subresource.isEmpty || request.subresource == "ephemeralcontainers" else { return }
        if let old = request.old, old.spec == request.object.spec { return }
        let (spec, annotations) = (request.object.spec, request.object.annotations)
        let enforced = policy("enforce", of: request.namespace, registry)
        if enforced.level > .privileged {
            let broken = PodSecurityChecks.violations(spec, annotations: annotations, enforced.level)
            if !broken.isEmpty {
                throw request.forbidden("violates PodSecurity \"\(enforced.text)\": \(broken)")
            }
        }
        warn(request, spec, annotations, registry)
    }

    static func check(template request: AdmissionRequest, _ path: [String], _ registry: Registry) {
        guard request.subresource.isEmpty else { return }
        let template = path.reduce(request.object.json) { $0[$1] }
        warn(request, template["spec"], template["metadata"]["annotations"].stringMap, registry)
    }

    private static func warn(
        _ request: AdmissionRequest, _ spec: JSON, _ annotations: [String: String], _ registry: Registry
    ) {
        let policy = policy("warn", of: request.namespace, registry)
        guard policy.level > .privileged else { return }
        let broken = PodSecurityChecks.violations(spec, annotations: annotations, policy.level)
        if !broken.isEmpty { request.scope.warn("would violate PodSecurity \"\(policy.text)\": \(broken)") }
    }

    // MARK: - Namespaces

    static func check(namespace request: AdmissionRequest, _ registry: Registry) throws(APIError) {
        guard request.subresource.isEmpty else { return }
        let labels = request.object.labels
        var errors: [FieldError] = []
        for mode in ["audit", "enforce", "warn"] {
            if let level = labels[prefix + mode], PodSecurityLevel(rawValue: level) == nil {
                errors.append(
                    .invalid(
                        "metadata.labels[\(prefix)\(mode)]", .string(level),
                        "must be one of privileged, baseline, restricted"))
            }
            let key = prefix + mode + "-version"
            if let version = labels[key], !isVersion(version) {
                errors.append(
                    .invalid("metadata.labels[\(key)]", .string(version), "must be \"latest\" or \"v1.x\""))
            }
        }
        // What was wrong already does not stop the change of something else.
        if !errors.isEmpty,
            request.old.map({ old in
                labels.filter { $0.key.hasPrefix(prefix) } != old.labels.filter { $0.key.hasPrefix(prefix) }
            }) ?? true
        {
            throw .invalid(request.kind, request.name, errors)
        }
        guard let old = request.old else { return }
        let new = policy("enforce") { labels[$0] }
        let before = policy("enforce") { old.labels[$0] }
        guard new.level > before.level else { return }
        try warnOfPods(request, new, registry)
    }

    private static func isVersion(_ text: String) -> Bool {
        if text == "latest" { return true }
        guard text.hasPrefix("v1.") else { return false }
        let minor = text.utf8.dropFirst(3)
        return !minor.isEmpty && minor.count < 5 && minor.allSatisfy { $0 &- 48 < 10 }
            && (minor.first != UInt8(ascii: "0") || minor.count == 1)
    }

    private static func warnOfPods(
        _ request: AdmissionRequest, _ policy: Policy, _ registry: Registry
    ) throws(APIError) {
        let row = try registry.resource(.pods)
        var parameters = ListParameters()
        parameters.limit = podLimit
        var found: [String: [String]] = [:]
        for item in try registry.list(row, namespace: request.object.name, parameters).items {
            let pod = try item.decode()
            let broken = PodSecurityChecks.violations(pod.spec, annotations: pod.annotations, policy.level)
            if !broken.isEmpty { found[reasons(broken), default: []].append(pod.name) }
        }
        guard !found.isEmpty else { return }
        request.scope.warn(
            "existing pods in namespace \"\(request.object.name)\" violate the new PodSecurity enforce level "
                + "\"\(policy.text)\"")
        for (reasons, pods) in found.sorted(by: { $0.value[0] < $1.value[0] }) {
            let first = pods.sorted()[0]
            let others = pods.count - 1
            let text = others == 0 ? first : "\(first) (and \(others) other pod\(others == 1 ? "" : "s"))"
            request.scope.warn("\(text): \(reasons)")
        }
    }

    /// The reasons without what stands in brackets behind them.
    private static func reasons(_ text: String) -> String {
        var out = ""
        var depth = 0
        for character in text {
            if character == "(" { depth += 1 }
            if depth == 0 { out.append(character) }
            if character == ")" { depth -= 1 }
        }
        return out.split(separator: ",").map { part in
            let trimmed = part.drop { $0 == " " }
            return String(trimmed.hasSuffix(" ") ? trimmed.dropLast() : trimmed)
        }.joined(separator: ", ")
    }
}
