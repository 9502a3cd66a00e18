import Containers
import Linux
import NIOCore
import Synchronization
import Transport

/// The image store's way to registries: Transport's HTTP client behind the protocol that Containers defines.
final class RegistryClientBridge: RegistryTransport {
    private let client: HTTPClient
    /// TLS settings are read from files once each.
    private let contexts = Mutex<[RegistryTLS: TLSClientContext]>([:])

    init(group: any EventLoopGroup) { client = HTTPClient(group: group) }

    func send(_ request: RegistryRequest) async throws(RegistryTransportError) -> RegistryResponse {
        let url = request.url
        let isTLS = url.scheme == "https"
        var host = url.host
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        let port = url.port.map(Int.init) ?? (isTLS ? 443 : 80)
        let target = HTTPURL(
            isTLS: isTLS, host: host, port: port, target: url.query.isEmpty ? url.path : url.path + "?" + url.query)
        var outgoing = HTTPClientRequest(request.method, target, body: request.body)
        for (name, value) in request.headers { outgoing.headers.add(name, value) }
        outgoing.headerTimeout = 60
        outgoing.bodyPauseTimeout = 60
        if isTLS {
            do throws(TLSError) {
                outgoing.tls = try context(request.tls)
            } catch {
                throw RegistryTransportError(.tls, "\(error)")
            }
        }
        do {
            let response = try await client.execute(outgoing)
            return RegistryResponse(
                status: response.status, headers: response.headers.fields.map { ($0.name, $0.value) },
                body: Body(body: response.body))
        } catch {
            throw Self.translated(error)
        }
    }

    private func context(_ tls: RegistryTLS) throws(TLSError) -> TLSClientContext {
        if let known = contexts.withLock({ $0[tls] }) { return known }
        func file(_ path: String) throws(TLSError) -> [UInt8] {
            do throws(SysError) {
                return try Files.read(path, limit: 1 << 20)
            } catch {
                throw .badInput(what: path, reason: "\(error)")
            }
        }
        var configuration = TLSClientConfiguration(trust: .system)
        if tls.insecureSkipVerify {
            configuration.trust = .insecure
        } else if !tls.caFile.isEmpty {
            configuration.trust = .authorities(pem: try file(tls.caFile))
        }
        if !tls.certFile.isEmpty {
            configuration.certificate = TLSCertificate(chainPEM: try file(tls.certFile), keyPEM: try file(tls.keyFile))
        }
        let made = try TLSClientContext(configuration)
        contexts.withLock { $0[tls] = made }
        return made
    }

    private static func translated(_ error: any Error) -> RegistryTransportError {
        switch error {
        case let error as HTTPClientError:
            switch error {
            case .connectTimedOut, .headerTimedOut, .bodyTimedOut: RegistryTransportError(.timedOut, "\(error)")
            case .connectFailed: RegistryTransportError(.connect, "\(error)")
            case .closedBeforeResponse, .bodyCutShort: RegistryTransportError(.closed, "\(error)")
            case .badResponse, .bodyTooLarge: RegistryTransportError(.protocolViolation, "\(error)")
            }
        case let error as TLSError: RegistryTransportError(.tls, "\(error)")
        case is CancellationError: RegistryTransportError(.closed, "cancelled")
        default: RegistryTransportError(.closed, "\(error)")
        }
    }

    private struct Body: RegistryBody {
        let body: HTTPClientBody

        func next() async throws(RegistryTransportError) -> [UInt8]? {
            do {
                return try await body.next()
            } catch {
                throw RegistryClientBridge.translated(error)
            }
        }
        // Letting the body go closes the connection.
        func cancel() async {}
    }
}

/// OpenSSL's SHA-256 behind the protocol of Containers.
final class RegistryDigest: SHA256Hashing, @unchecked Sendable {
    // Fed by one download at a time.
    private var hash = SHA256()
    func update(_ bytes: UnsafeRawBufferPointer) { hash.update(bytes) }
    func finish() -> [UInt8] { hash.finish() }
}
