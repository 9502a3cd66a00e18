import Codecs
import ControlPlane
import KubeAPI
import Linux
import Logging
import Transport

/// `k3s certificate`: what the certificates of this machine are like, and new ones. Flags and output are the original's
/// (pkg/cli/cert).
struct CertificateCommand {
    static let help = """
        NAME:
           k3s certificate - Manage K3s certificates

        USAGE:
           k3s certificate command [command options] [arguments...]

        COMMANDS:
           check      Check K3s component certificates on disk
           rotate     Rotate K3s component certificates on disk
           rotate-ca  Write updated K3s CA certificates to the datastore

        OPTIONS:
           --help, -h  show help
        """

    static let commonFlags = Flag.table(
        """
        +|debug||K3S_DEBUG|b||logging|Turn on debug logs
        -|config|c|K3S_CONFIG_FILE|s|/etc/rancher/k3s/config.yaml|config|Load configuration from FILE
        +|log|l||s||logging|Log to file
        +|alsologtostderr|||b||logging|Log to standard error as well as file (if set)
        +|data-dir|d|K3S_DATA_DIR|s||data|Folder to hold state
        +|service|s||l||certificate|List of services to manage certificates for. Options include (admin, api-server, controller-manager, scheduler, supervisor, k3s-controller, k3s-server, cloud-controller, etcd, auth-proxy, kubelet, kube-proxy)
        """)
    static let checkFlags = Flag.table(
        """
        +|output|o||s|text|certificate|Format output. Options: text, table, json, yaml
        """)
    static let authorityFlags = Flag.table(
        """
        +|path|||s||certificate|Path to directory containing new CA certificates
        +|force|||b||certificate|Force certificate replacement, even if consistency checks fail
        """)

    let values: FlagValues
    let files: ServiceCertificates
    let logger: Logger

    static func run(_ arguments: [String]) -> Int32 {
        VerbCommand.run("certificate", arguments, help: help, flags: flags) { verb, values, environment, logger in
            logger = try LogSettings(values).logger()
            let directory = SupervisorRequest.dataDirectory(values, environment: environment)
            let command = CertificateCommand(
                values: values, files: ServiceCertificates(dataDirectory: directory), logger: logger)
            switch verb {
            case "check": try command.check()
            case "rotate": try command.rotate(now: SystemClock().now())
            default: try command.rotateAuthorities(SupervisorRequest(values, dataDirectory: directory))
            }
        }
    }

    private static func flags(_ verb: String) -> [Flag]? {
        switch verb {
        case "check": commonFlags + checkFlags
        case "rotate": commonFlags
        case "rotate-ca": SupervisorRequest.flags + authorityFlags
        default: nil
        }
    }

    /// Those that were asked for; all that this machine has, where none were.
    private func services(_ doing: String) throws -> [String] {
        let given = values.commaList("service")
        for service in given where !(ServiceCertificates.server + ServiceCertificates.agent).contains(service) {
            throw UsageError("service \(service) is not recognized")
        }
        if !given.isEmpty { return given }
        logger.info(
            files.isServer
                ? "Server detected, \(doing) agent and server certificates"
                : "Agent detected, \(doing) agent certificates")
        return files.services
    }

    // MARK: - check

    private func check() throws {
        let output = values.string("output") ?? "text"
        guard ["text", "table", "json", "yaml"].contains(output) else {
            throw UsageError("invalid output format \(output)")
        }
        let reports = try CertificateReport.read(
            files, services: try services("checking"), now: SystemClock().now())
        switch output {
        case "table": print("\n" + CertificateReport.table(reports))
        case "json": print(JSON.object(["Certificates": .array(reports.map { $0.json() })]).encode().utf8Text)
        case "yaml":
            let document: JSON = ["certificates": .array(reports.map { $0.yaml() })]
            print(YAML.encode(document, sortKeys: false).utf8Text, terminator: "")
        default:
            for report in reports {
                let who =
                    "\(report.file): certificate \(report.subject.commonName) "
                    + "(\(report.usages.joined(separator: ",")))"
                switch (report.problem(who, days: ClusterPKI.renewalDays), report.status) {
                case (nil, _): logger.info("\(who) is ok, expires at \(report.notAfter.rfc3339)")
                case (let text?, .warning): logger.warning("\(text)")
                case (let text?, _): logger.error("\(text)")
                }
            }
        }
    }

    // MARK: - rotate

    /// Puts copies aside and deletes the files: the next start makes new ones.
    func rotate(now: Timestamp) throws {
        let services = try services("rotating")
        let own = try services.flatMap { try files.files($0) }
        let source = files.serverDirectory + "/tls"
        let hasServer = Files.exists(source)
        let backup = (hasServer ? files.serverDirectory : files.agentDirectory) + "/tls-\(now.seconds)"
        if hasServer {
            try Self.copy(source, to: backup)
        } else {
            try Directories.make(backup, mode: 0o700)
        }
        for path in own where path.hasPrefix(files.agentDirectory + "/") {
            for file in [path + ".crt", path + ".key"] {
                guard let bytes = try Files.readIfPresent(file, limit: 1 << 20) else { continue }
                try Files.writeAtomically(backup + "/" + Path.last(file), bytes, mode: 0o600)
            }
        }
        if services.contains("k3s-server"), hasServer {
            try Files.writeAtomically(source + "/dynamic-cert-regenerate", [], mode: 0o600)
            logger.info("Rotating dynamic listener certificate")
        }
        for service in services where service != "k3s-server" {
            logger.info("Rotating certificates for \(service)")
            for path in try files.files(service) {
                for file in [path + ".crt", path + ".key"] where Files.exists(file) {
                    try Files.remove(file)
                    logger.debug("file \(file) is deleted")
                }
            }
        }
        logger.info(
            "Successfully backed up certificates to \(backup), please restart k3s server or agent to rotate certificates"
        )
    }

    /// A directory of small files, with their modes.
    private static func copy(_ source: String, to target: String, depth: Int = 0) throws {
        try Directories.make(target, mode: 0o700)
        for entry in try Directories.list(source, limit: 1000) {
            let (from, to) = (source + "/" + entry.name, target + "/" + entry.name)
            if entry.kind == .directory {
                if depth < 4 { try copy(from, to: to, depth: depth + 1) }
            } else {
                let mode = UInt32(try Files.status(from).st_mode & 0o777)
                try Files.writeAtomically(to, try Files.read(from, limit: 1 << 20), mode: mode)
            }
        }
    }

    // MARK: - rotate-ca

    private func rotateAuthorities(_ server: SupervisorRequest) throws {
        guard let path = values.string("path"), !path.isEmpty else {
            throw UsageError("Required flag \"path\" not set")
        }
        var body = JSONObject()
        for (name, file) in AuthorityRotation.files {
            let full = path + "/tls/" + file
            guard let bytes = try Files.readIfPresent(full, limit: 1 << 20) else {
                logger.warning("\(full) not found; current data will be used")
                continue
            }
            let modified = Timestamp(seconds: Int64(try Files.status(full).st_mtim.tv_sec))
            body.append(
                name, ["Timestamp": .string(modified.rfc3339), "Content": .string(Base64.encode(bytes))])
        }
        guard !body.isEmpty else { throw UsageError("--path: there are no certificates in \(path)/tls") }
        do {
            _ = try server.send(
                "PUT", "/v1-k3s/cert/cacerts?force=\(values.bool("force"))", JSON.object(body).encode())
        } catch {
            throw UsageError("see server log for details: \(error)")
        }
        print("certificates saved to datastore")
    }
}

extension [UInt8] {
    var utf8Text: String { String(decoding: self, as: UTF8.self) }
}
