internal import Codecs
package import KubeAPI
internal import Store

extension AdmissionPlugin {
    /// The Pod Security Standards, by the labels of a namespace and by a configuration file.
    /// Source: KEP-2579, k8s.io/pod-security-admission.
    package static func podSecurity(_ configuration: PodSecurityConfiguration) -> AdmissionPlugin {
        let security = PodSecurity(configuration: configuration)
        return AdmissionPlugin(
            "PodSecurity", operations: [.create, .update],
            validate: { request, registry throws(APIError) in
                if request.resource == .namespaces {
                    try security.check(namespace: request, registry)
                } else if request.resource == .pods {
                    try security.check(pod: request, registry)
                } else if let path = PodSecurity.templates[request.resource.groupResource] {
                    security.check(template: request, path, registry)
                }
            })
    }
}

struct PodSecurity: Sendable {
    static let prefix = "pod-security.kubernetes.io/"
    /// How many pods are looked at when a namespace's level rises.
    private static let podLimit = 3000

    let configuration: PodSecurityConfiguration

    /// Where the pod template of a workload is.
    static let templates: [String: [String]] = [
        "deployments.apps": ["spec", "template"], "daemonsets.apps": ["spec", "template"],
        "statefulsets.apps": ["spec", "template"], "replicasets.apps": ["spec", "template"],
        "replicationcontrollers": ["spec", "template"], "jobs.batch": ["spec", "template"],
        "cronjobs.batch": ["spec", "jobTemplate", "spec", "template"], "podtemplates": ["template"],
    ]

    struct Policy: Equatable, Sendable {
        var level = PodSecurityLevel.privileged
        var version = "latest"
        var text: String { "\(level.rawValue):\(version)" }
        /// Of the standard's version; a version that is still to come is the latest.
        var minor: Int { Int(version.dropFirst(3)) ?? .max }

        func violations(_ spec: JSON, _ annotations: [String: String]) -> String {
            PodSecurityChecks.violations(spec, annotations: annotations, level, minor: minor)
        }
    }

    private func policy(_ mode: String, _ label: (String) -> String?) -> Policy {
        var policy = configuration.defaults[mode] ?? Policy()
        // A level that nobody knows is taken for the strictest.
        if let level = label(Self.prefix + mode) {
            policy.level = PodSecurityLevel(rawValue: level) ?? .restricted
        }
        if let version = label(Self.prefix + mode + "-version") {
            policy.version = Self.isVersion(version) ? version : "latest"
        }
        return policy
    }

    private func policy(_ mode: String, of namespace: String, _ registry: Registry) -> Policy {
        guard let entry = registry.store.get("/registry/namespaces/" + namespace) else {
            return configuration.defaults[mode] ?? Policy()
        }
        return policy(mode) { RawJSON.text(of: ["metadata", "labels", $0], in: entry.value) }
    }

    /// Whose pods are not looked at.
    private func isExempt(_ request: AdmissionRequest, _ spec: JSON) -> Bool {
        var why = ""
        if configuration.namespaces.contains(request.namespace) { why = "namespace" }
        if configuration.usernames.contains(request.scope.user.name) { why = "user" }
        if let name = spec["runtimeClassName"].string, configuration.runtimeClasses.contains(name) {
            why = "runtimeClass"
        }
        if why.isEmpty { return false }
        request.scope.annotate(Self.prefix + "exempt", why)
        return true
    }

    // MARK: - Pods

    func check(pod request: AdmissionRequest, _ registry: Registry) throws(APIError) {
        guard request.subresource.isEmpty || request.subresource == "ephemeralcontainers" else { return }
        if let old = request.old, !Self.matters(request.object, old) { return }
        let (spec, annotations) = (request.object.spec, request.object.annotations)
        if isExempt(request, spec) { return }
        let enforced = policy("enforce", of: request.namespace, registry)
        request.scope.annotate(Self.prefix + "enforce-policy", enforced.text)
        let broken = enforced.violations(spec, annotations)
        note(request, spec, annotations, registry, warns: broken.isEmpty)
        if !broken.isEmpty { throw request.forbidden("violates PodSecurity \"\(enforced.text)\": \(broken)") }
    }

    /// Whether an update may break what the pod did not break before: another image, other containers, other profiles.
    private static func matters(_ pod: KubeObject, _ old: KubeObject) -> Bool {
        for key in ["containers", "initContainers", "ephemeralContainers"] {
            func images(_ pod: KubeObject) -> [JSON] { pod.spec[key].elements.flatMap { [$0["name"], $0["image"]] } }
            if images(pod) != images(old) { return true }
        }
        func profiles(_ pod: KubeObject) -> [String: String] {
            pod.annotations.filter { $0.key.hasPrefix("container.apparmor.security.beta.kubernetes.io/") }
        }
        return profiles(pod) != profiles(old)
    }

    func check(template request: AdmissionRequest, _ path: [String], _ registry: Registry) {
        guard request.subresource.isEmpty else { return }
        let template = path.reduce(request.object.json) { $0[$1] }
        guard !template["spec"].isNull, !isExempt(request, template["spec"]) else { return }
        note(request, template["spec"], template["metadata"]["annotations"].stringMap, registry, warns: true)
    }

    /// For the audit log, and for whoever asked.
    private func note(
        _ request: AdmissionRequest, _ spec: JSON, _ annotations: [String: String], _ registry: Registry, warns: Bool
    ) {
        for mode in warns ? ["audit", "warn"] : ["audit"] {
            let policy = policy(mode, of: request.namespace, registry)
            let broken = policy.violations(spec, annotations)
            if broken.isEmpty { continue }
            let text = "would violate PodSecurity \"\(policy.text)\": \(broken)"
            if mode == "audit" {
                request.scope.annotate(Self.prefix + "audit-violations", text)
            } else {
                request.scope.warn(text)
            }
        }
    }

    // MARK: - Namespaces

    func check(namespace request: AdmissionRequest, _ registry: Registry) throws(APIError) {
        guard request.subresource.isEmpty else { return }
        let labels = request.object.labels
        var errors: [FieldError] = []
        for mode in ["audit", "enforce", "warn"] {
            if let level = labels[Self.prefix + mode], PodSecurityLevel(rawValue: level) == nil {
                errors.append(
                    .invalid(
                        "metadata.labels[\(Self.prefix)\(mode)]", .string(level),
                        "must be one of privileged, baseline, restricted"))
            }
            let key = Self.prefix + mode + "-version"
            if let version = labels[key], !Self.isVersion(version) {
                errors.append(
                    .invalid("metadata.labels[\(key)]", .string(version), "must be \"latest\" or \"v1.x\""))
            }
        }
        // What was wrong already does not stop the change of something else.
        if !errors.isEmpty,
            request.old.map({ old in
                labels.filter { $0.key.hasPrefix(Self.prefix) }
                    != old.labels.filter { $0.key.hasPrefix(Self.prefix) }
            }) ?? true
        {
            throw .invalid(request.kind, request.name, errors)
        }
        guard let old = request.old else { return }
        let new = policy("enforce") { labels[$0] }
        let before = policy("enforce") { old.labels[$0] }
        guard new.level > before.level || new.level == before.level && new.minor > before.minor,
            !configuration.namespaces.contains(request.object.name)
        else { return }
        try warnOfPods(request, new, registry)
    }

    static func isVersion(_ text: String) -> Bool {
        if text == "latest" { return true }
        guard text.hasPrefix("v1.") else { return false }
        let minor = text.utf8.dropFirst(3)
        return !minor.isEmpty && minor.count < 5 && minor.allSatisfy { $0 &- 48 < 10 }
            && (minor.first != UInt8(ascii: "0") || minor.count == 1)
    }

    private func warnOfPods(
        _ request: AdmissionRequest, _ policy: Policy, _ registry: Registry
    ) throws(APIError) {
        let row = try registry.resource(.pods)
        var parameters = ListParameters()
        parameters.limit = Self.podLimit
        var found: [String: [String]] = [:]
        for item in try registry.list(row, namespace: request.object.name, parameters).items {
            let pod = try item.decode()
            let broken = policy.violations(pod.spec, pod.annotations)
            if !broken.isEmpty { found[Self.reasons(broken), default: []].append(pod.name) }
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
