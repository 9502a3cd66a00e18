import Codecs
import KubeAPI
import Linux
import Transport

/// The files below `<data-dir>/agent`, under k3s's names.
struct AgentFiles: Sendable {
    let directory: String

    init(_ dataDirectory: String) { directory = dataDirectory + "/agent" }

    subscript(_ name: String) -> String { directory + "/" + name }

    var balancerState: String { self["etc/k3s-agent-load-balancer.json"] }

    func make() throws {
        do throws(SysError) {
            try Directories.make(directory, mode: 0o755)
            try Directories.make(self["etc"], mode: 0o755)
        } catch {
            throw StartupError("--data-dir: cannot make \(directory): \(error)")
        }
    }

    func write(_ name: String, _ bytes: [UInt8]) throws {
        try Files.writeAtomically(self[name], bytes, mode: 0o600)
    }

    /// Kept from start to start.
    func key(_ name: String) throws -> PrivateKey {
        if let key = try? PrivateKey.load(self[name + ".key"]) { return key }
        let key = try PrivateKey.generate()
        try key.save(self[name + ".key"])
        return key
    }

    /// What an earlier start got, while it is good: the node joins again without a token.
    func clientCertificate(nodeName: String) -> TLSCertificate? {
        guard let chain = try? Files.read(self["client-kubelet.crt"], limit: 1 << 20),
            let leaf = try? Certificate.chain(pem: chain, what: "client-kubelet.crt").first,
            let key = try? PrivateKey.load(self["client-kubelet.key"]), key.matches(leaf),
            leaf.subject.commonName == "system:node:" + nodeName
        else { return nil }
        let now = SystemClock().now().seconds
        guard leaf.notBefore <= now, now < leaf.notAfter else { return nil }
        return TLSCertificate(chainPEM: chain, keyPEM: key.pem)
    }

    /// The servers that were known when the agent last ran against that server.
    func knownServers(of url: String) -> [String] {
        guard let bytes = try? Files.readIfPresent(balancerState, limit: 1 << 20), let json = try? JSON.parse(bytes),
            let known = json["ServerURL"].string, Self.withoutSlash(known) == Self.withoutSlash(url)
        else { return [] }
        return json["ServerAddresses"].elements.compactMap(\.string)
    }

    func keepServers(_ addresses: [String], of url: String) throws {
        let json: JSON = ["ServerURL": .string(Self.withoutSlash(url)), "ServerAddresses": .strings(addresses)]
        try Files.writeAtomically(balancerState, json.encode(), mode: 0o600)
    }

    private static func withoutSlash(_ url: String) -> String { url.hasSuffix("/") ? String(url.dropLast()) : url }
}
