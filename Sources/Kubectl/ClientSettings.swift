import Codecs
import KubeAPI
import Linux
import Transport

/// The kubeconfig files of a user, merged: the first file that says something wins.
struct Kubeconfig {
    /// k3s's own, where nothing else is named.
    static let system = "/etc/rancher/k3s/k3s.yaml"

    var paths: [String]
    var config: JSON

    static func paths(_ given: String?) -> [String] {
        if let given, !given.isEmpty { return [given] }
        if let list = Terminal.environment("KUBECONFIG") { return list.split(separator: ":").map(String.init) }
        if Files.exists(system) {
            if access(system, R_OK) == 0 { return [system] }
            Terminal.error(
                "WARN[0000] Unable to read \(system), please start server with --write-kubeconfig-mode or --write-kubeconfig-group to modify kube config permissions "
            )
            return [system]
        }
        let folder = (Terminal.environment("HOME") ?? "/root") + "/.kube/"
        // Of a rootless server.
        if Files.exists(folder + "k3s.yaml") { return [folder + "k3s.yaml"] }
        return [folder + "config"]
    }

    static func read(_ path: String) throws -> JSON? {
        guard Files.exists(path) else { return JSON?.none }
        do {
            let json = try YAML.parse(try Files.read(path, limit: 4 << 20))
            return JSON?.some(json.isNull ? [:] : json)
        } catch let error as SysError {
            throw CommandError(
                "error loading config file \(GoText.quoted(path)): open \(path): \(SysError.text(error.code).lowercased())"
            )
        } catch {
            throw CommandError("error loading config file \(GoText.quoted(path)): \(error)")
        }
    }

    init(given: String?) throws {
        paths = Self.paths(given)
        config = ["apiVersion": "v1", "kind": "Config"]
        for path in paths {
            guard let file = try Self.read(path) else {
                if let given, !given.isEmpty {
                    throw CommandError("stat \(given): no such file or directory", plain: false)
                }
                continue
            }
            let folder = Path.parent(path)
            for (list, entry) in [("clusters", "cluster"), ("users", "user"), ("contexts", "context")] {
                var known = config[list].elements
                for var item in file[list].elements
                where !known.contains(where: { $0["name"].string == item["name"].string }) {
                    // Names of files are relative to the file that has them.
                    for key in ["certificate-authority", "client-certificate", "client-key", "tokenFile"] {
                        if let name = item[entry][key].string, !name.isEmpty, !name.hasPrefix("/") {
                            item[entry][key] = .string(Path.join(folder, name))
                        }
                    }
                    known.append(item)
                }
                config[list] = .array(known)
            }
            for key in ["current-context", "preferences"] where config[key].isNull { config[key] = file[key] }
        }
    }

    func entry(_ list: String, _ name: String) -> JSON? {
        for item in config[list].elements where item["name"].string == name { return JSON?.some(item) }
        return JSON?.none
    }
}

/// Where the API server is and who asks.
struct ClientSettings {
    var server: HTTPURL
    var ca: [UInt8] = []
    var isInsecure = false
    var serverName: String?
    var certificate: TLSCertificate?
    var headers: HTTPHeaderFields = ["User-Agent": "kubectl/v\(Version.major).\(Version.minor)"]
    var namespace: String
    var namespaceIsGiven: Bool

    private static let account = "/var/run/secrets/kubernetes.io/serviceaccount/"

    init(_ options: Options) throws {
        let file = try Kubeconfig(given: options.given("kubeconfig"))
        let contextName = options.shared("context") ?? file.config["current-context"].string ?? ""
        var context: JSON = [:]
        if let found = file.entry("contexts", contextName) {
            context = found["context"]
        } else if options.shared("context") != nil {
            throw CommandError("context \(GoText.quoted(contextName)) does not exist")
        }
        let clusterName = options.shared("cluster") ?? context["cluster"].string ?? ""
        let userName = options.shared("user") ?? context["user"].string ?? ""
        let cluster = file.entry("clusters", clusterName)?["cluster"] ?? [:]
        let user = file.entry("users", userName)?["user"] ?? [:]
        if options.shared("cluster") != nil, file.entry("clusters", clusterName) == nil {
            throw CommandError("cluster \(GoText.quoted(clusterName)) does not exist")
        }
        if options.shared("user") != nil, file.entry("users", userName) == nil {
            throw CommandError("auth info \(GoText.quoted(userName)) does not exist")
        }

        func bytes(_ object: JSON, _ data: String, _ file: String, flag: String) throws -> [UInt8]? {
            if let name = options.given(flag) { return try Files.read(name, limit: 1 << 20) }
            if let text = object[data].string, !text.isEmpty {
                guard let decoded = Base64.decode(text) else {
                    throw CommandError("kubeconfig: \(data): base64 is expected")
                }
                return decoded
            }
            if let name = object[file].string, !name.isEmpty { return try Files.read(name, limit: 1 << 20) }
            return nil
        }

        var address = options.shared("server") ?? cluster["server"].string
        var token = options.shared("token") ?? user["token"].string
        var ca = try bytes(
            cluster, "certificate-authority-data", "certificate-authority", flag: "certificate-authority")
        var inPod: String?
        if address == nil, let host = Terminal.environment("KUBERNETES_SERVICE_HOST"),
            Files.exists(Self.account + "token")
        {
            let port = Terminal.environment("KUBERNETES_SERVICE_PORT") ?? "443"
            address = "https://" + (host.contains(":") ? "[\(host)]" : host) + ":" + port
            if token == nil { token = try Files.readString(Self.account + "token", limit: 1 << 20) }
            if ca == nil { ca = try Files.read(Self.account + "ca.crt", limit: 1 << 20) }
            inPod = try? Files.readString(Self.account + "namespace", limit: 4096)
        }
        var text = address ?? "http://localhost:8080"
        if !text.contains("://") { text = "http://" + text }
        server = try HTTPURL(text)
        self.ca = ca ?? []
        isInsecure =
            options.isSet("insecure-skip-tls-verify")
            ? options.bool("insecure-skip-tls-verify") : cluster["insecure-skip-tls-verify"].bool ?? false
        serverName = options.given("tls-server-name") ?? cluster["tls-server-name"].string
        if let chain = try bytes(user, "client-certificate-data", "client-certificate", flag: "client-certificate"),
            let key = try bytes(user, "client-key-data", "client-key", flag: "client-key"),
            options.shared("token") == nil
        {
            certificate = TLSCertificate(chainPEM: chain, keyPEM: key)
        }
        if token == nil, let name = user["tokenFile"].string, !name.isEmpty {
            token = try Files.readString(name, limit: 1 << 20)
        }
        if let token, !token.isEmpty {
            headers.add("Authorization", "Bearer " + token[...].trimmed)
        } else if let name = options.shared("username") ?? user["username"].string {
            let password = options.shared("password") ?? user["password"].string ?? ""
            headers.add("Authorization", "Basic " + Base64.encode(Array("\(name):\(password)".utf8)))
        } else if certificate == nil, !user["exec"].isNull {
            throw CommandError(
                "users[].user.exec of the kubeconfig (credential plugins) is not supported by this kubectl")
        }
        if let name = options.given("as") ?? user["as"].string, !name.isEmpty {
            headers.add("Impersonate-User", name)
            for group in options.isSet("as-group")
                ? options.list("as-group") : user["as-groups"].elements.compactMap(\.string)
            {
                headers.add("Impersonate-Group", group)
            }
            if let uid = options.given("as-uid") { headers.add("Impersonate-Uid", uid) }
        }
        let named = options.given("namespace")
        namespaceIsGiven = named != nil
        namespace = named ?? context["namespace"].string ?? inPod ?? "default"
        if namespace.isEmpty { namespace = "default" }
    }
}

extension StringProtocol {
    var trimmed: String {
        var text = Substring(self)
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return String(text)
    }
}
