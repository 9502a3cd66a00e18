internal import Containers
internal import GRPC
internal import Linux
import Synchronization
internal import Transport

/// The server behind the URLs that Exec, Attach and PortForward answer: WebSocket and SPDY, as the kubelet's own. A URL is
/// good for one use within a minute. It listens, on the loopback, from the first such call until nobody needs it.
final class CRIStreams: Sendable {
    struct Options: Sendable {
        var stdin: Bool
        var stdout: Bool
        var stderr: Bool
        var tty: Bool
    }

    enum Request: Sendable {
        case exec(String, ExecRequest)
        case attach(String, Options)
        case portForward(String)

        var verb: String {
            switch self {
            case .exec: "exec"
            case .attach: "attach"
            case .portForward: "portforward"
            }
        }
    }

    private struct State {
        var server: HTTPServer?
        var port = 0
        /// By token; with the time after which it is no longer good.
        var requests: [String: (request: Request, until: ContinuousClock.Instant)] = [:]
    }

    private static let requestLimit = 1000

    private let runtime: Runtime
    private let listen: CRIServer.Listener
    private let state = Mutex(State())

    init(runtime: Runtime, listen: @escaping CRIServer.Listener) { (self.runtime, self.listen) = (runtime, listen) }

    func url(_ request: Request) async throws(GRPCStatus) -> String {
        if state.withLock({ $0.server == nil }) { try await start() }
        let token =
            String(UInt64.random(in: 0...UInt64.max), radix: 36) + String(UInt64.random(in: 0...UInt64.max), radix: 36)
        let now = ContinuousClock.now
        let port = state.withLock { state -> Int? in
            state.requests = state.requests.filter { $0.value.until > now }
            guard state.requests.count < Self.requestLimit else { return nil }
            state.requests[token] = (request, now + .seconds(60))
            return state.port
        }
        guard let port else {
            throw GRPCStatus(.resourceExhausted, "maximum number of in-flight requests exceeded")
        }
        return "http://127.0.0.1:\(port)/\(request.verb)/\(token)"
    }

    private func start() async throws(GRPCStatus) {
        let opened: (port: Int, server: HTTPServer)
        do {
            opened = try await listen { [weak self] request in
                await self?.respond(to: request) ?? .text("404 page not found\n", status: 404)
            }
        } catch { throw GRPCStatus(.unavailable, "streaming server: \(error)") }
        let surplus = state.withLock { state -> HTTPServer? in
            // Another call was faster.
            if state.server != nil { return opened.server }
            (state.server, state.port) = (opened.server, opened.port)
            return nil
        }
        await surplus?.stop()
    }

    func stop() async {
        let server = state.withLock { state in
            defer { (state.server, state.requests) = (nil, [:]) }
            return state.server
        }
        await server?.stop()
    }

    /// A client may leave gRPC and go on streaming: looks once a minute, and only until it has stopped.
    func stopWhenIdle() {
        guard state.withLock({ $0.server != nil }) else { return }
        Task { [weak self] in
            while true {
                try? await Task.sleep(for: .seconds(61))
                guard let self else { return }
                let now = ContinuousClock.now
                let (gone, idle) = state.withLock { state -> (Bool, HTTPServer?) in
                    guard let server = state.server else { return (true, nil) }
                    state.requests = state.requests.filter { $0.value.until > now }
                    guard state.requests.isEmpty, server.connectionCount == 0 else { return (false, nil) }
                    state.server = nil
                    return (true, server)
                }
                await idle?.stop()
                if gone { return }
            }
        }
    }

    private func respond(to request: HTTPRequest) async -> HTTPResponse {
        let parts = request.path.split(separator: "/").map(String.init)
        guard parts.count == 2 else { return .text("404 page not found\n", status: 404) }
        let found = state.withLock { $0.requests.removeValue(forKey: parts[1]) }
        guard let found, found.until > .now, found.request.verb == parts[0] else {
            return .text("404 page not found\n", status: 404)
        }
        let runtime = runtime
        switch found.request {
        case .exec(let id, let exec):
            let options = RemoteCommandOptions(
                stdin: exec.stdin, stdout: exec.stdout, stderr: exec.stderr, tty: exec.tty)
            return RemoteCommand.accept(request, options: options) { session in
                do throws(RuntimeError) {
                    return await KubeletServer.serve(try await runtime.exec(id, exec), session)
                } catch { return .failed("error executing command in container: \(error.message)") }
            }
        case .attach(let id, let wanted):
            let options = RemoteCommandOptions(
                stdin: wanted.stdin, stdout: wanted.stdout, stderr: wanted.stderr, tty: wanted.tty)
            var attach = AttachRequest(stdin: wanted.stdin)
            (attach.stdout, attach.stderr) = (wanted.stdout, wanted.stderr)
            let asked = attach
            return RemoteCommand.accept(request, options: options) { session in
                do throws(RuntimeError) {
                    return await KubeletServer.serve(try await runtime.attach(id, asked), session)
                } catch { return .failed("error attaching to container: \(error.message)") }
            }
        case .portForward(let sandbox):
            return PortForward.accept(request) { connection in
                do throws(RuntimeError) {
                    let descriptor = try await runtime.dial(sandbox: sandbox, port: connection.port)
                    let socket: AsyncFD
                    do throws(SysError) { socket = try AsyncFD(FileDescriptor(owning: descriptor)) } catch {
                        throw RuntimeError(.io, error.description)
                    }
                    await KubeletServer.join(connection.stream, socket)
                } catch { connection.reportError("error forwarding port \(connection.port): \(error.message)") }
            }
        }
    }
}
