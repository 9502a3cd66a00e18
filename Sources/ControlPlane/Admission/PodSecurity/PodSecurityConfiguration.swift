package import Codecs

/// What holds for namespaces without labels, and whose pods are not looked at: the part for `PodSecurity` of kube-apiserver's
/// `--admission-control-config-file`. Source: pod-security.admission.config.k8s.io/v1, apiserver.config.k8s.io/v1.
package struct PodSecurityConfiguration: Sendable {
    /// By mode: enforce, audit, warn.
    var defaults: [String: PodSecurity.Policy] = [:]
    var usernames: Set<String> = []
    var runtimeClasses: Set<String> = []
    var namespaces: Set<String> = []

    package init() {}

    package struct Problem: Error, CustomStringConvertible {
        package let description: String
        init(_ text: String) { description = text }
    }

    /// - Parameters:
    ///   - file: an AdmissionConfiguration, as YAML or JSON.
    ///   - read: gives the content of a file that it names.
    /// - Returns: nil where the file has nothing for this plug-in.
    /// - Throws: what is wrong with the file, and plug-ins that have no configuration here.
    package static func read(
        _ file: [UInt8], path: String, _ read: (String) throws -> [UInt8]
    ) throws -> PodSecurityConfiguration? {
        let json = try parse(file, path)
        try check(json, path, "AdmissionConfiguration", ["apiserver.config.k8s.io/v1", "apiserver.k8s.io/v1alpha1"])
        var found: PodSecurityConfiguration?
        for (i, plugin) in json["plugins"].elements.enumerated() {
            let name = plugin["name"].string ?? ""
            guard name == "PodSecurity" else {
                throw Problem(
                    "\(path): plugins[\(i)]: plug-in \"\(name)\" takes no configuration here, PodSecurity does")
            }
            var inner = plugin["configuration"]
            var place = path
            if inner.isNull {
                guard let other = plugin["path"].string, !other.isEmpty else {
                    throw Problem("\(path): plugins[\(i)]: configuration or path is expected")
                }
                let directory = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
                place = other.hasPrefix("/") ? other : directory + other
                inner = try parse(try read(place), place)
            }
            found = try PodSecurityConfiguration(inner, place)
        }
        return found
    }

    private static func parse(_ bytes: [UInt8], _ path: String) throws -> JSON {
        do {
            return try YAML.parse(bytes)
        } catch {
            throw Problem("\(path): \(error.message)")
        }
    }

    private static func check(_ json: JSON, _ path: String, _ kind: String, _ versions: [String]) throws {
        guard json["kind"].string == kind, versions.contains(json["apiVersion"].string ?? "") else {
            throw Problem("\(path): kind \(kind) of \(versions[0]) is expected")
        }
    }

    private init(_ json: JSON, _ path: String) throws {
        try Self.check(
            json, path, "PodSecurityConfiguration",
            ["v1", "v1beta1", "v1alpha1"].map { "pod-security.admission.config.k8s.io/" + $0 })
        for mode in ["enforce", "audit", "warn"] {
            func text(_ key: String) -> String {
                let value = json["defaults"][key]
                // Not "": what is no text must not pass for what was left out.
                return value.isNull ? "" : value.string ?? value.text
            }
            let (level, version) = (text(mode), text(mode + "-version"))
            var policy = PodSecurity.Policy()
            if !level.isEmpty {
                guard let known = PodSecurityLevel(rawValue: level) else {
                    throw Problem(
                        "\(path): defaults.\(mode): \"\(level)\": must be one of privileged, baseline, restricted")
                }
                policy.level = known
            }
            if !version.isEmpty {
                guard PodSecurity.isVersion(version) else {
                    throw Problem("\(path): defaults.\(mode)-version: \"\(version)\": must be \"latest\" or \"v1.x\"")
                }
                policy.version = version
            }
            defaults[mode] = policy
        }
        func set(_ key: String) -> Set<String> {
            Set(json["exemptions"][key].elements.compactMap(\.string))
        }
        (usernames, runtimeClasses, namespaces) = (set("usernames"), set("runtimeClasses"), set("namespaces"))
    }
}
