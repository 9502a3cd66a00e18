package import Codecs
internal import KubeAPI
internal import Linux
internal import Logging
package import Transport

/// `k3s certificate rotate-ca`: other authorities and service account keys, checked while the server runs, in place at its
/// next start. They wait in a directory that is there as a whole or not at all, so that a power failure at any moment
/// leaves the old ones or the new ones. Source: k3s pkg/server/handlers/cert.go.
package enum AuthorityRotation {
    /// Names of the original's bootstrap data, and files below `server/tls`.
    package static let files: [(name: String, file: String)] =
        authorities.flatMap { [($0.name, $0.file + ".crt"), ($0.name + "Key", $0.file + ".key")] }
        + [("ServiceKey", "service.key")]
    private static let authorities: [(name: String, file: String)] = [
        ("ServerCA", "server-ca"), ("ClientCA", "client-ca"), ("RequestHeaderCA", "request-header-ca"),
        ("ETCDPeerCA", "etcd/peer-ca"), ("ETCDServerCA", "etcd/server-ca"),
    ]
    static let directory = "tls-rotated"

    /// Checks what is to be the new state and puts it aside for the next start.
    /// - Parameters:
    ///   - body: name to `{"Timestamp": ..., "Content": base64}`.
    ///   - force: also those that do not follow from the old ones. What could not even be loaded is refused nevertheless:
    ///     the server would not start.
    /// - Returns: what was found wrong and is used all the same.
    static func stage(
        _ body: JSON, force: Bool, server: String, now: Int64
    ) throws(APIError) -> [String] {
        guard let members = body.object?.members, !members.isEmpty else {
            throw .badRequest("a JSON object with certificates and keys is expected")
        }
        var new: [String: [UInt8]] = [:]
        for (name, value) in members {
            guard let known = files.first(where: { $0.name == name }) else { continue }
            guard let bytes = value["Content"].string.flatMap({ Base64.decode($0) }) else {
                throw .badRequest("\(name).Content: base64 is expected")
            }
            if !bytes.isEmpty { new[known.file] = bytes }
        }
        var problems: [String] = []
        do throws(PKIError) {
            for (name, file) in authorities where new[file + ".crt"] != nil || new[file + ".key"] != nil {
                if let problem = try check(file, new, server: server, now: now) {
                    problems.append("\(name): \(problem)")
                }
            }
            if let pem = new["service.key"] {
                let keys = try PublicKey.keys(pem: pem, what: "ServiceKey")
                _ = try PrivateKey(pem: pem, what: "ServiceKey")
                let old = try PublicKey.keys(pem: try read(server + "/tls/service.key"), what: "service.key")
                if let first = old.first, !keys.contains(where: { $0.der == first.der }) {
                    problems.append("ServiceKey: old ServiceAccount signing key not in new ServiceAccount key list")
                }
            }
        } catch {
            throw .badRequest("failed to validate new CA certificates and keys: \(error)")
        }
        if let first = problems.first, !force {
            let rest = problems.dropFirst().map { ", " + $0 }.joined()
            throw .badRequest("failed to validate new CA certificates and keys: \(first)\(rest)")
        }
        do throws(SysError) { try write(new, server) } catch { throw .internalError("\(error)") }
        return problems
    }

    /// The new authority with its key; nil: it follows from the old one.
    /// - Throws: where it cannot be used at all.
    private static func check(
        _ file: String, _ new: [String: [UInt8]], server: String, now: Int64
    ) throws(PKIError) -> String? {
        let path = server + "/tls/" + file
        let (oldPEM, oldKey) = (try read(path + ".crt"), try read(path + ".key"))
        let chain = try Certificate.chain(pem: new[file + ".crt"] ?? oldPEM, what: file + ".crt")
        let key = try PrivateKey(pem: new[file + ".key"] ?? oldKey, what: file + ".key")
        _ = try CertificateAuthority(key: key, chain: chain, what: file + ".crt")
        guard new[file + ".crt"] != nil else { return nil }
        guard chain.count > 1 else {
            return
                "new CA bundle contains only a single certificate but should include root or intermediate CA certificates"
        }
        let old = try Certificate.chain(pem: oldPEM, what: path + ".crt")
        let between = old + chain.dropFirst().filter { !$0.isIssued(by: $0) }
        do throws(PKIError) {
            _ = try chain[0].verified(
                anchors: old.filter { $0.isIssued(by: $0) }, intermediates: between, usage: nil, now: now)
            return nil
        } catch {
            return "new CA cert cannot be verified using old CA chain: \(error)"
        }
    }

    private static func read(_ path: String) throws(PKIError) -> [UInt8] {
        do throws(SysError) { return try Files.read(path, limit: 1 << 20) } catch { throw .file("\(error)") }
    }

    private static func write(_ new: [String: [UInt8]], _ server: String) throws(SysError) {
        let (draft, final) = (server + "/." + directory, server + "/" + directory)
        try Directories.removeTree(draft)
        try Directories.make(draft + "/etcd", mode: 0o700)
        for (file, bytes) in new {
            try Files.writeAtomically(draft + "/" + file, bytes, mode: file.hasSuffix(".key") ? 0o600 : 0o644)
        }
        try Directories.removeTree(final)
        guard rename(draft, final) == 0 else { throw SysError(errno, "rename", path: final) }
        try Files.syncDirectory(of: final)
    }

    /// Before the server's keys are loaded: moves what was put aside into its place. May be interrupted and called again.
    /// - Returns: the files that are new.
    package static func complete(server: String) throws -> [String] {
        let staged = server + "/" + directory
        guard Files.exists(staged) else { return [] }
        var moved: [String] = []
        for (_, file) in files {
            guard let bytes = try Files.readIfPresent(staged + "/" + file, limit: 1 << 20) else { continue }
            try Files.writeAtomically(
                server + "/tls/" + file, bytes, mode: file.hasSuffix(".key") ? 0o600 : 0o644)
            moved.append(file)
        }
        try Directories.removeTree(staged)
        return moved
    }
}

extension Supervisor {
    /// `PUT /v1-k3s/cert/cacerts[?force=true]`
    func replaceAuthorities(_ request: HTTPRequest) throws(APIError) {
        guard let body = try? JSON.parse(request.body) else {
            throw .badRequest("a JSON object with certificates and keys is expected")
        }
        let force = ["1", "t", "T", "true", "TRUE", "True"].contains(request.query["force"] ?? "")
        let problems = try AuthorityRotation.stage(
            body, force: force, server: settings.directory, now: api.configuration.clock.now().seconds)
        for problem in problems {
            logger.warning(
                "certificate: Save of CA certificates and keys forced, ignoring validation errors: \(problem)")
        }
        logger.info("certificate: Cluster Certificate Authority data has been updated, k3s must be restarted.")
    }
}
