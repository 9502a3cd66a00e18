import Codecs
import Linux
import NIOCore
import NIOPosix
import Transport

/// The API server of a kubeconfig, for commands that ask it something.
struct KubeconfigFile {
    let server: HTTPURL
    /// PEM.
    let ca: [UInt8]
    private let client: HTTPClient

    /// `--kubeconfig`, else the administrator's.
    static func path(_ given: String?, environment: (String) -> String?) -> String {
        if let given, !given.isEmpty { return given }
        let system = "/etc/rancher/k3s/k3s.yaml"
        guard access(system, R_OK) != 0, let home = environment("HOME") else { return system }
        let own = home + "/.kube/k3s.yaml"
        return access(own, R_OK) == 0 ? own : system
    }

    init(path: String, group: any EventLoopGroup) throws {
        let text: [UInt8]
        do throws(SysError) { text = try Files.read(path, limit: 1 << 20) } catch {
            throw UsageError("kubeconfig: \(error); give the file with --kubeconfig")
        }
        let config: JSON
        do throws(YAMLError) { config = try YAML.parse(text) } catch {
            throw UsageError("kubeconfig \(path): \(error)")
        }
        func named(_ list: String, _ name: String?) -> JSON {
            config[list].elements.first { $0["name"].string == name } ?? config[list][0]
        }
        let context = named("contexts", config["current-context"].string)["context"]
        let cluster = named("clusters", context["cluster"].string)["cluster"]
        let user = named("users", context["user"].string)["user"]
        func bytes(_ object: JSON, _ data: String, _ file: String) throws -> [UInt8] {
            if let text = object[data].string, let decoded = Base64.decode(text) { return decoded }
            if let name = object[file].string { return try Files.read(name, limit: 1 << 20) }
            throw UsageError("kubeconfig \(path): \(data) or \(file) is expected")
        }
        guard let address = cluster["server"].string else {
            throw UsageError("kubeconfig \(path): clusters[].cluster.server is missing")
        }
        server = try HTTPURL(address)
        ca = try bytes(cluster, "certificate-authority-data", "certificate-authority")
        var tls = TLSClientConfiguration(trust: .authorities(pem: ca))
        tls.certificate = TLSCertificate(
            chainPEM: try bytes(user, "client-certificate-data", "client-certificate"),
            keyPEM: try bytes(user, "client-key-data", "client-key"))
        client = HTTPClient(group: group, tls: try TLSClientContext(tls))
    }

    /// - Throws: `APIFailure` with the server's text for an answer that is not 2xx.
    func call(_ method: String, _ target: String, _ body: JSON? = nil) async throws -> JSON {
        var url = server
        url.target = target
        var request = HTTPClientRequest(method, url, body: body?.encode() ?? [])
        request.headers = ["Accept": "application/json", "Content-Type": "application/json", "User-Agent": "k3s"]
        request.headerTimeout = 30
        let response = try await client.execute(request)
        let json = (try? JSON.parse(try await response.body.collect(upTo: 64 << 20))) ?? .null
        guard (200..<300).contains(response.status) else {
            throw APIFailure(status: response.status, message: json["message"].string ?? "status \(response.status)")
        }
        return json
    }
}

struct APIFailure: Error, CustomStringConvertible {
    var status: Int
    var message: String
    var description: String { message }
}

/// Runs the asynchronous part of a short command and waits for it.
enum CommandTask {
    static func run(_ body: @escaping @Sendable (any EventLoopGroup) async throws -> Void) throws {
        try waitWithLoops(body)
    }

    /// With an event loop for what speaks HTTP.
    static func waitWithLoops<T: Sendable>(
        _ body: @escaping @Sendable (any EventLoopGroup) async throws -> T
    ) throws -> T {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        return try wait { try await body(group) }
    }

    static func wait<T: Sendable>(_ body: @escaping @Sendable () async throws -> T) throws -> T {
        Signals.ignoreBrokenPipe()
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw SysError(errno, "pipe") }
        let (reading, writing) = (ends[0], ends[1])
        let outcome = Outcome<T>()
        Task {
            do { outcome.result = .success(try await body()) } catch { outcome.result = .failure(error) }
            close(writing)
        }
        var byte: UInt8 = 0
        while read(reading, &byte, 1) < 0, errno == EINTR {}
        close(reading)
        guard let result = outcome.result else { throw CancellationError() }
        return try result.get()
    }

    /// Written before the pipe is closed, read after.
    private final class Outcome<T: Sendable>: @unchecked Sendable {
        var result: Result<T, any Error>?
    }
}
