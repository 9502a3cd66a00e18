import Codecs

/// One place a repository can be had from: a mirror, or the registry itself.
struct RegistryEndpoint: Sendable {
    /// Up to and without the repository: "https://registry-1.docker.io/v2".
    var base: RegistryURL
    var tls = RegistryTLS()
    var credentials: RegistryCredentials?
    var rewrites: [RepositoryRewrite] = []
    /// The registry that a mirror stands for, sent as `?ns=`; nil for the registry itself.
    var namespace: String?

    func rewrite(_ repository: String) -> String {
        for rule in rewrites {
            if let changed = rule.apply(repository), changed != repository { return changed }
        }
        return repository
    }

    func url(_ repository: String, _ path: String) -> RegistryURL {
        var url = base
        url.path += (url.path.hasSuffix("/") ? "" : "/") + repository + "/" + path
        if let namespace { url.appendQuery("ns", namespace) }
        return url
    }

    var basicHeader: String? {
        guard let credentials, !credentials.username.isEmpty || !credentials.password.isEmpty else { return nil }
        return "Basic " + Base64.encode(Array("\(credentials.username):\(credentials.password)".utf8))
    }
}
