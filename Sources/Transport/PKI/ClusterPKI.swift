import Codecs
import Linux

/// What the certificates of a server depend on.
package struct ClusterPKIParameters: Sendable {
    package var nodeName: String
    /// Node IPs and external IPs.
    package var nodeAddresses: [String] = []
    /// `--tls-san`: names and addresses.
    package var extraNames: [String] = []
    /// The first address of each service network: what the service `kubernetes` has.
    package var serviceAddresses: [String] = ["10.43.0.1"]
    package var advertiseAddress: String?
    package var clusterDomain = "cluster.local"
    /// Of what is not an authority's, in seconds.
    package var lifetime = CertificateProfile.year
    /// Seconds since 1970.
    package var now: Int64 = WallClock.now() / 1_000_000_000

    package init(nodeName: String) { self.nodeName = nodeName }
}

/// The authorities of a cluster.
package enum ClusterAuthority: String, CaseIterable, Sendable {
    case client = "client-ca"
    case server = "server-ca"
    case requestHeader = "request-header-ca"
    case etcdServer = "etcd/server-ca"
    case etcdPeer = "etcd/peer-ca"

    fileprivate func commonName(now: Int64) -> String {
        switch self {
        case .client, .server, .requestHeader: "k3s-\(rawValue)@\(now)"
        case .etcdServer: "etcd-server-ca@\(now)"
        case .etcdPeer: "etcd-peer-ca@\(now)"
        }
    }
}

/// The directory `server/tls`: all the keys and certificates of a server, with the names, subjects, lifetimes and modes
/// that k3s gives them. What is missing, runs out or no longer fits is made when the server starts; what the
/// administrator has put there (own authorities, a service account key) is used.
package struct ClusterPKI: Sendable {
    /// A certificate with fewer days left is replaced at the start.
    package static let renewalDays: Int64 = 120

    package let directory: String
    package let parameters: ClusterPKIParameters
    package let client: CertificateAuthority
    package let server: CertificateAuthority
    package let requestHeader: CertificateAuthority
    package let etcdServer: CertificateAuthority
    package let etcdPeer: CertificateAuthority
    /// Signs service account tokens.
    package let serviceSigningKey: PrivateKey
    /// Verify service account tokens: the signing key and its predecessors.
    package let serviceKeys: [PublicKey]
    /// The files that were made or replaced, relative to the directory.
    package let written: [String]

    /// Loads the directory, and makes what is missing or no longer good.
    /// - Throws: an error that names the file. Authorities are never replaced: half of one is an error.
    package static func prepare(
        directory: String, parameters: ClusterPKIParameters
    ) throws(PKIError) -> ClusterPKI {
        var files = PKIDirectory(path: directory)
        for folder in ["", "etcd", "kube-scheduler", "kube-controller-manager", "temporary-certs"] {
            try files.makeDirectory(folder)
        }
        let client = try files.authority(.client, parameters)
        let server = try files.authority(.server, parameters)
        let requestHeader = try files.authority(.requestHeader, parameters)
        let etcdServer = try files.authority(.etcdServer, parameters)
        let etcdPeer = try files.authority(.etcdPeer, parameters)
        try files.write("client-ca.nochain.crt", client.certificate.pem, mode: 0o644)
        try files.write("server-ca.nochain.crt", server.certificate.pem, mode: 0o644)
        let service = try files.serviceKeys()
        for var leaf in ClusterLeaf.all(parameters) {
            leaf.profile.lifetime = parameters.lifetime
            let authority =
                switch leaf.authority {
                case .client: client
                case .server: server
                case .requestHeader: requestHeader
                case .etcdServer: etcdServer
                case .etcdPeer: etcdPeer
                }
            try files.leaf(leaf, authority, now: parameters.now)
        }
        for name in ["client-kubelet", "serving-kubelet", "client-kube-proxy", "client-k3s-controller"] {
            try files.bareKey(name + ".key")
        }
        for name in ["client-kube-proxy.crt", "client-k3s-controller.crt"] { try files.remove(name) }
        try files.synchronize()
        return ClusterPKI(
            directory: directory, parameters: parameters, client: client, server: server,
            requestHeader: requestHeader, etcdServer: etcdServer, etcdPeer: etcdPeer,
            serviceSigningKey: service.signing, serviceKeys: service.verifying, written: files.written)
    }

    package func path(_ name: String) -> String { directory + "/" + name }

    /// The text of `k3s.yaml`.
    package func adminKubeconfig(server url: String) throws(PKIError) -> String {
        Kubeconfig.embedded(
            server: url, ca: server.pem, certificate: try readFile(path("client-admin.crt")),
            key: try readFile(path("client-admin.key")))
    }

    /// Writes the configurations of the components into `server/cred`.
    package func writeKubeconfigs(credentials: String, server url: String) throws(PKIError) {
        var files = PKIDirectory(path: credentials)
        try files.makeDirectory("")
        let components = [
            "admin": "client-admin", "supervisor": "client-supervisor", "controller": "client-controller",
            "scheduler": "client-scheduler", "api-server": "client-kube-apiserver",
            "cloud-controller": "client-k3s-cloud-controller",
        ]
        for (name, certificate) in components {
            let text = Kubeconfig.referring(
                server: url, caFile: path("server-ca.crt"), certificateFile: path(certificate + ".crt"),
                keyFile: path(certificate + ".key"))
            try files.write(name + ".kubeconfig", Array(text.utf8), mode: 0o600)
        }
    }

    // MARK: Certificates for nodes

    /// What a node asks for in the join protocol. The answer is the certificate and its authority's chain, PEM.
    package enum NodeCertificate: Sendable {
        case kubeletClient(nodeName: String)
        case kubeletServing(nodeName: String, addresses: [String])
        case kubeProxyClient
        case controllerClient
    }

    package func issue(_ kind: NodeCertificate, for key: PublicKey, now: Int64? = nil) throws(PKIError) -> [UInt8] {
        var profile: CertificateProfile
        var authority = client
        switch kind {
        case .kubeletClient(let node):
            profile = CertificateProfile(
                subject: DistinguishedName(commonName: "system:node:" + node, organizations: ["system:nodes"]),
                usages: [.clientAuth])
        case .kubeletServing(let node, let addresses):
            authority = server
            profile = CertificateProfile(
                subject: DistinguishedName(commonName: node),
                names: AlternativeNames([node, "localhost", "127.0.0.1", "::1"] + addresses), usages: [.serverAuth])
        case .kubeProxyClient:
            profile = CertificateProfile(
                subject: DistinguishedName(commonName: "system:kube-proxy"), usages: [.clientAuth])
        case .controllerClient:
            profile = CertificateProfile(
                subject: DistinguishedName(commonName: "system:k3s-controller"), usages: [.clientAuth])
        }
        profile.lifetime = parameters.lifetime
        let now = now ?? WallClock.now() / 1_000_000_000
        return try authority.issue(profile, for: key, now: now).pem + authority.pem
    }
}

/// A certificate that a server has for itself.
struct ClusterLeaf: Sendable {
    /// Without the extension.
    var name: String
    var authority: ClusterAuthority
    var profile: CertificateProfile

    static func all(_ parameters: ClusterPKIParameters) -> [ClusterLeaf] {
        func client(
            _ name: String, _ user: String, _ groups: [String] = [], _ authority: ClusterAuthority = .client
        ) -> ClusterLeaf {
            let subject = DistinguishedName(commonName: user, organizations: groups)
            return ClusterLeaf(
                name: name, authority: authority, profile: CertificateProfile(subject: subject, usages: [.clientAuth]))
        }
        func serving(
            _ name: String, _ commonName: String, _ names: [String], _ authority: ClusterAuthority = .server,
            _ usages: [ExtendedKeyUsage] = [.serverAuth]
        ) -> ClusterLeaf {
            let profile = CertificateProfile(
                subject: DistinguishedName(commonName: commonName), names: AlternativeNames(names), usages: usages)
            return ClusterLeaf(name: name, authority: authority, profile: profile)
        }
        let local = ["localhost", "127.0.0.1", "::1"]
        let node = [parameters.nodeName, String(parameters.nodeName.prefix { $0 != "." })] + parameters.nodeAddresses
        let advertised = parameters.advertiseAddress.map { [$0] } ?? []
        let service = [
            "kubernetes", "kubernetes.default", "kubernetes.default.svc",
            "kubernetes.default.svc." + parameters.clusterDomain,
        ]
        let masters = ["system:masters"]
        return [
            client("client-admin", "system:admin", masters),
            client("client-supervisor", "system:k3s-supervisor", masters),
            client("client-controller", "system:kube-controller-manager"),
            client("client-scheduler", "system:kube-scheduler"),
            client("client-kube-apiserver", "system:apiserver", masters),
            client("client-k3s-cloud-controller", "k3s-cloud-controller-manager"),
            client("client-auth-proxy", "system:auth-proxy", [], .requestHeader),
            serving(
                "serving-kube-apiserver", "kube-apiserver",
                service + local + node + parameters.extraNames + parameters.serviceAddresses + advertised),
            serving("kube-scheduler/kube-scheduler", "kube-scheduler", local),
            serving("kube-controller-manager/kube-controller-manager", "kube-controller-manager", local),
            client("etcd/client", "etcd-client", [], .etcdServer),
            serving(
                "etcd/server-client", "etcd-server", ["kine.sock"] + local + node + advertised, .etcdServer,
                [.serverAuth, .clientAuth]),
            serving(
                "etcd/peer-server-client", "etcd-peer", local + node + advertised, .etcdPeer,
                [.serverAuth, .clientAuth]),
        ]
    }
}

extension PKIDirectory {
    mutating func authority(
        _ kind: ClusterAuthority, _ parameters: ClusterPKIParameters
    ) throws(PKIError) -> CertificateAuthority {
        let (certificate, key) = (kind.rawValue + ".crt", kind.rawValue + ".key")
        switch (try read(certificate), try read(key)) {
        case (let pem?, let keyPEM?):
            return try CertificateAuthority(
                key: try PrivateKey(pem: keyPEM, what: full(key)),
                chain: try Certificate.chain(pem: pem, what: full(certificate)), what: full(certificate))
        case (nil, nil):
            let authority = try CertificateAuthority.create(
                commonName: kind.commonName(now: parameters.now), now: parameters.now)
            try write(key, authority.key.pem, mode: 0o600, precious: true)
            try write(certificate, authority.pem, mode: 0o644, precious: true)
            return authority
        case (_?, nil):
            throw .malformed(what: full(key), reason: "is missing while \(certificate) is there")
        case (nil, _?):
            throw .malformed(what: full(certificate), reason: "is missing while \(key) is there")
        }
    }

    mutating func serviceKeys() throws(PKIError) -> (signing: PrivateKey, verifying: [PublicKey]) {
        let name = "service.key"
        if try read(name) == nil { try write(name, try PrivateKey.generate().pem, mode: 0o600, precious: true) }
        let pem = try read(name) ?? []
        let signing = try PrivateKey(pem: pem, what: full(name))
        guard signing.algorithm != nil else {
            throw .malformed(what: full(name), reason: "neither RSA nor on the curve P-256, P-384 or P-521")
        }
        try write("service.current.key", signing.pem, mode: 0o600)
        return (signing, try PublicKey.keys(pem: pem, what: full(name)))
    }

    /// Makes the certificate anew, with a new key, unless the one that is there is as wanted.
    mutating func leaf(_ leaf: ClusterLeaf, _ authority: CertificateAuthority, now: Int64) throws(PKIError) {
        let (certificate, key) = (leaf.name + ".crt", leaf.name + ".key")
        if let pem = try read(certificate), let keyPEM = try read(key), isGood(pem, keyPEM, leaf, authority, now) {
            return
        }
        let made = try PrivateKey.generate()
        let issued = try authority.issue(leaf.profile, for: made.publicKey, now: now)
        try write(key, made.pem, mode: 0o600)
        try write(certificate, issued.pem + authority.pem, mode: 0o644)
    }

    private func isGood(
        _ pem: [UInt8], _ keyPEM: [UInt8], _ leaf: ClusterLeaf, _ authority: CertificateAuthority, _ now: Int64
    ) -> Bool {
        // The leaf only; those after it are known.
        guard let block = try? PEM.blocks(pem, what: leaf.name).first, block.label == "CERTIFICATE",
            let first = try? Certificate(der: block.der, what: leaf.name),
            let key = try? PrivateKey(pem: keyPEM, what: leaf.name)
        else { return false }
        let names = first.alternativeNames
        return key.matches(first) && first.isIssued(by: authority.certificate)
            && first.subject == leaf.profile.subject
            && Set(names.dnsNames) == Set(leaf.profile.names.dnsNames)
            && Set(names.ipAddresses) == Set(leaf.profile.names.ipAddresses)
            && first.extendedKeyUsages == Set(leaf.profile.usages)
            && first.notBefore <= now && first.notAfter - now >= ClusterPKI.renewalDays * 86_400
    }

    mutating func bareKey(_ name: String) throws(PKIError) {
        if let pem = try read(name), (try? PrivateKey(pem: pem, what: name)) != nil { return }
        try write(name, try PrivateKey.generate().pem, mode: 0o600)
    }
}
