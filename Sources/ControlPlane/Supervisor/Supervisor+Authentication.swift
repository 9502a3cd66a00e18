internal import Codecs
internal import KubeAPI
import Synchronization
internal import Transport

extension Supervisor {
    /// By client certificate, by password (HTTP Basic, users `node` and `server`), by bootstrap token (Bearer). The first
    /// good one counts.
    func caller(_ request: HTTPRequest) -> SupervisorCaller {
        if let peer = request.peer {
            return .user(UserInfo(peer.commonName, groups: peer.organizations))
        }
        if let header = request.headers["Authorization"] {
            let parts = header.split(separator: " ", maxSplits: 1)
            switch parts.first?.lowercased() {
            case "basic" where parts.count == 2:
                guard let (user, password) = Self.basic(String(parts[1])),
                    let groups = credentials.withLock({ $0.groups(user: user, password: password) })
                else { return .refused("invalid username/password combination: is the token that of this cluster?") }
                return .user(UserInfo(user, groups: groups))
            case "bearer" where parts.count == 2:
                let now = api.configuration.clock.now()
                guard let user = BootstrapToken.authenticate(String(parts[1]), api.registry, now: now) else {
                    return .refused("invalid bearer token: it is unknown or has expired")
                }
                return .user(user)
            default: return .refused("credentials of another kind than Basic and Bearer")
            }
        }
        return request.peerCertificateError.map { .refused("client certificate: \($0)") } ?? .nobody
    }

    private static func basic(_ text: String) -> (user: String, password: String)? {
        guard let bytes = Base64.decode(text), let decoded = String(validating: bytes, as: UTF8.self),
            let colon = decoded.firstIndex(of: ":")
        else { return nil }
        return (String(decoded[..<colon]), String(decoded[decoded.index(after: colon)...]))
    }

    /// The name in a node's certificate.
    static func node(of user: UserInfo) -> String? {
        let prefix = "system:node:"
        guard user.groups.contains("system:nodes"), user.name.hasPrefix(prefix),
            user.name.utf8.count > prefix.utf8.count
        else { return nil }
        return String(user.name.dropFirst(prefix.count))
    }
}
