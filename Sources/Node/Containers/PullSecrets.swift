internal import Codecs
internal import Containers
internal import KubeAPI

/// Registry credentials from the pod's imagePullSecrets (kubernetes.io/dockerconfigjson and the older dockercfg).
struct PullSecrets {
    let client: any KubeClient

    /// What to try, in order; the last is "none" (the node's own configuration counts then).
    func credentials(_ pod: Pod, image: String) async -> [RegistryCredentials?] {
        var found: [RegistryCredentials?] = []
        for reference in pod.spec["imagePullSecrets"].elements {
            guard let name = reference["name"].string, !name.isEmpty else { continue }
            // A secret that is missing is not an error: another may do.
            guard let secret = try? await client.getIfPresent(.secrets, namespace: pod.namespace, name: name) else {
                continue
            }
            found += Self.credentials(in: secret, for: image).map(Optional.some)
        }
        return found + [nil]
    }

    static func credentials(in secret: KubeObject, for image: String) -> [RegistryCredentials] {
        let data = secret["data"]
        let auths: JSON
        if let text = data[".dockerconfigjson"].string, let bytes = Base64.decode(text),
            let json = try? JSON.parse(bytes)
        {
            auths = json["auths"]
        } else if let text = data[".dockercfg"].string, let bytes = Base64.decode(text),
            let json = try? JSON.parse(bytes)
        {
            auths = json
        } else {
            return []
        }
        let target = Self.split(image)
        // The longest path wins, as in upstream's keyring.
        return (auths.object?.members ?? []).filter { Self.matches(Self.split($0.key), target) }
            .sorted { $0.key.utf8.count > $1.key.utf8.count }.map { Self.credentials($0.value) }
    }

    private static func credentials(_ entry: JSON) -> RegistryCredentials {
        var credentials = RegistryCredentials(
            username: entry["username"].string ?? "", password: entry["password"].string ?? "",
            identityToken: entry["identitytoken"].string ?? "")
        if let auth = entry["auth"].string, let bytes = Base64.decode(auth),
            let colon = bytes.firstIndex(of: UInt8(ascii: ":"))
        {
            credentials.username = String(decoding: bytes[..<colon], as: UTF8.self)
            credentials.password = String(decoding: bytes[(colon + 1)...], as: UTF8.self)
        }
        return credentials
    }

    /// Host and path of an image or of a key in the file; "docker.io" under all its names.
    static func split(_ text: String) -> (host: String, path: String) {
        var rest = text[...]
        for scheme in ["https://", "http://"] where rest.hasPrefix(scheme) { rest = rest.dropFirst(scheme.count) }
        let parts = rest.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        let first = parts.first.map(String.init) ?? ""
        let isHost = first.contains(".") || first.contains(":") || first == "localhost"
        guard isHost else { return ("docker.io", String(rest)) }
        var path = parts.count > 1 ? String(parts[1]) : ""
        for prefix in ["v1/", "v2/"] where path == prefix || path + "/" == prefix { path = "" }
        let host = ["index.docker.io", "registry-1.docker.io"].contains(first) ? "docker.io" : first
        return (host, path)
    }

    private static func matches(_ key: (host: String, path: String), _ image: (host: String, path: String)) -> Bool {
        let pattern = key.host.split(separator: ".", omittingEmptySubsequences: false)
        let host = image.host.split(separator: ".", omittingEmptySubsequences: false)
        guard pattern.count == host.count, zip(pattern, host).allSatisfy({ $0 == "*" || $0 == $1 }) else {
            return false
        }
        return key.path.isEmpty || image.path.hasPrefix(key.path)
    }
}
