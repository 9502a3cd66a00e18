/// Mirrors and credentials of registries: k3s's registries.yaml.
///
/// Rules (docs.k3s.io, "Private Registry Configuration"; k3s pkg/agent/containerd/config.go): the endpoints of a mirror
/// are tried in order, then the registry itself, unless default endpoints are switched off; "*" stands for registries
/// without an entry; an endpoint without a scheme is https, but http on localhost with a port other than 443; a path
/// other than "", "/" and "/v2" is taken literally; rewrites apply to mirrors only.
package struct RegistriesConfig: Sendable {
    package struct Mirror: Sendable {
        package var endpoints: [String] = []
        /// In the order of their patterns: of several that match, the first that changes the name counts.
        package var rewrites: [RepositoryRewrite] = []
        package init() {}
    }

    package struct Host: Sendable {
        package var credentials: RegistryCredentials?
        package var tls: RegistryTLS?
        package init() {}
    }

    package var mirrors: [String: Mirror] = [:]
    package var hosts: [String: Host] = [:]
    /// --disable-default-registry-endpoint: registries with a mirror entry are asked at their mirrors only.
    package var disableDefaultEndpoint = false

    package init() {}

    /// Where to look for images of `registry`, in order. `credentials` (an image pull secret) go to the registry itself.
    func endpoints(for registry: String, credentials: RegistryCredentials?) -> [RegistryEndpoint] {
        let mirror = mirrors[registry] ?? mirrors["*"]
        var result: [RegistryEndpoint] = []
        for text in mirror?.endpoints ?? [] {
            guard let (name, base) = Self.normalize(text) else { continue }
            var endpoint = RegistryEndpoint(base: base)
            endpoint.tls = host(name)?.tls ?? RegistryTLS()
            endpoint.credentials = host(name)?.credentials
            let own = name == registry
            if own, let credentials { endpoint.credentials = credentials }
            endpoint.rewrites = mirror?.rewrites ?? []
            endpoint.namespace = own ? nil : registry
            if result.contains(where: { $0.base == base }) { continue }
            result.append(endpoint)
        }
        if disableDefaultEndpoint, mirror != nil { return result }
        guard var (_, base) = Self.normalize(registry) else { return result }
        // Who gives certificates for a registry on localhost means https.
        if host(registry)?.tls != nil { base.scheme = "https" }
        // Listed as the last mirror: that entry is the default, without rewrites. Listed before: tried there only.
        if let listed = result.firstIndex(where: { $0.base == base }) {
            if listed == result.count - 1 { result[listed].rewrites = [] }
            return result
        }
        var endpoint = RegistryEndpoint(base: base)
        endpoint.tls = host(registry)?.tls ?? RegistryTLS()
        endpoint.credentials = credentials ?? host(registry)?.credentials
        result.append(endpoint)
        return result
    }

    /// Settings under the registry's name or its real host's; "*" for those without any.
    private func host(_ name: String) -> Host? {
        if name == "docker.io", let real = hosts["registry-1.docker.io"] ?? hosts["index.docker.io"] { return real }
        return hosts[name] ?? hosts["*"]
    }

    /// The registry's name and the URL up to "/v2"; nil: not an endpoint.
    static func normalize(_ text: String) -> (name: String, base: RegistryURL)? {
        let full: String
        if text.range(ofASCII: "://") != nil {
            full = text
        } else {
            let authority = text.prefix { $0 != "/" }
            guard let (host, port) = RegistryURL.authority(authority) else { return nil }
            let plain = RegistryURL.isLocalhost(host) && port != nil && port != 443
            full = (plain ? "http://" : "https://") + text
        }
        guard var url = RegistryURL(full), url.query.isEmpty else { return nil }
        if url.host == "docker.io" || url.host == "index.docker.io" { url.host = "registry-1.docker.io" }
        if ["/", "/v2", "/v2/"].contains(url.path) { url.path = "/v2" }
        while url.path.count > 1, url.path.hasSuffix("/") { url.path.removeLast() }
        let name = url.host == "registry-1.docker.io" && url.port == nil ? "docker.io" : url.hostAndPort
        return (name, url)
    }
}
