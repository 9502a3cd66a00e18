import Codecs
import KubeAPI
import Linux
import Synchronization
import Transport

enum PortForwardCommands {
    static let all: [Command] = [
        Command(
            "port-forward", "TYPE/NAME [options] [LOCAL_PORT:]REMOTE_PORT [...[LOCAL_PORT_N:]REMOTE_PORT_N]",
            "Forward one or more local ports to a pod",
            "|address|l||Addresses to listen on (comma separated).\n|pod-running-timeout|s|1m0s|The length of time to wait until at least one pod is running\n",
            run)
    ]

    private static func run(_ session: Session) throws {
        guard session.arguments.count > 1, let word = session.arguments.first else {
            throw CommandError.usage("TYPE/NAME and list of ports are required for port-forward", "port-forward")
        }
        let found = try session.findAll(word.utf8.contains(UInt8(ascii: "/")) ? [word] : ["pods", word])[0]
        let pod = try session.pod(word, waiting: try session.options.seconds("pod-running-timeout"))
        let phase = pod["status"]["phase"].string ?? ""
        guard phase == "Running" else {
            throw CommandError("unable to forward port because pod is not running. Current status=\(phase)")
        }
        var pairs: [(local: Int, remote: Int)] = []
        for text in session.arguments.dropFirst() {
            let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
            guard parts.count < 3, let last = parts.last, !last.isEmpty else {
                throw CommandError("invalid port format '\(text)'")
            }
            let remote = try port(last, found, pod)
            let local: Int? = parts.count == 1 ? Int(last) ?? remote : parts[0].isEmpty ? 0 : Int(parts[0])
            guard let local, (0...65535).contains(local) else {
                throw CommandError("error parsing local port '\(parts[0])': an integer from 0 to 65535 is expected")
            }
            pairs.append((local, remote))
        }
        var addresses = session.options.isSet("address") ? session.options.list("address") : ["localhost"]
        if let i = addresses.firstIndex(of: "localhost") {
            addresses.replaceSubrange(i...i, with: ["127.0.0.1", "::1"])
        }
        let forwarder = Forwarder(api: try session.api, path: RemoteStream.path(pod, "portforward"))
        var listening = 0
        for (local, remote) in pairs {
            var chosen = local
            for address in addresses {
                guard let (listener, number) = forwarder.listen(address, chosen) else { continue }
                chosen = number
                listening += 1
                let shown = address.utf8.contains(UInt8(ascii: ":")) ? "[\(address)]" : address
                Terminal.line("Forwarding from \(shown):\(number) -> \(remote)")
                forwarder.serve(listener, number, remote)
            }
        }
        guard listening > 0 else {
            throw CommandError(
                "unable to listen on any of the requested ports: \(pairs.map { "{\($0.local) \($0.remote)}" })")
        }
        // Until a signal ends the program, or the pod's streams cannot be opened any more.
        throw CommandError(forwarder.waitForFailure())
    }

    /// A number, or a name of the service's or a container's.
    private static func port(_ text: String, _ found: Session.Found, _ pod: JSON) throws -> Int {
        let containers = pod["spec"]["containers"].elements + pod["spec"]["initContainers"].elements
        func named(_ name: String) -> Int? {
            containers.flatMap { $0["ports"].elements }.first { $0["name"].string == name }?["containerPort"].int
                .map { Int($0) }
        }
        if found.resource.qualified == "services" {
            for entry in found.object["spec"]["ports"].elements
            where entry["name"].string == text || entry["port"].int.map({ String($0) }) == text {
                if found.object["spec"]["clusterIP"].string == "None", let port = entry["port"].int { return Int(port) }
                if let number = entry["targetPort"].int { return Int(number) }
                if let number = entry["targetPort"].string.flatMap(named) { return number }
                return Int(entry["port"].int ?? 0)
            }
            throw CommandError("Service \(found.name) does not have a service port \(text)")
        }
        if let number = Int(text) {
            guard (1...65535).contains(number) else { throw CommandError("remote port must be > 0") }
            return number
        }
        guard let number = named(text) else {
            throw CommandError("Pod '\(pod["metadata"]["name"].string ?? "")' does not have a named port '\(text)'")
        }
        return number
    }
}

/// Accepts connections and carries each over a WebSocket of its own: channel 0 is its bytes, channel 1 what went wrong.
private final class Forwarder: Sendable {
    private let api: Connection
    private let path: String
    private let failure = Mutex<String?>(nil)

    init(api: Connection, path: String) { (self.api, self.path) = (api, path) }

    func listen(_ address: String, _ port: Int) -> (Int32, Int)? {
        do throws(SysError) {
            let listener = try TCPListener(address, UInt16(clamping: port))
            let number = Int(listener.port)
            return (listener.take().take(), number)
        } catch {
            // Without the family there is nothing to say.
            if error.code != EINVAL, error.code != EAFNOSUPPORT {
                Terminal.error(
                    "Unable to listen on port \(port): Listeners failed to create with the following errors: [unable to create listener: Error listen tcp \(address):\(port): \(SysError.text(error.code))]"
                )
            }
            return nil
        }
    }

    func serve(_ listener: Int32, _ local: Int, _ remote: Int) {
        PosixThread.start(name: "listener") { [self] in
            while true {
                let fd = accept(listener, nil, nil)
                if fd < 0 {
                    if errno == EINTR || errno == ECONNABORTED { continue }
                    return
                }
                Terminal.line("Handling connection for \(local)")
                PosixThread.start(name: "forward") { [self] in
                    carry(fd, local, remote)
                    close(fd)
                }
            }
        }
    }

    private func carry(_ fd: Int32, _ local: Int, _ remote: Int) {
        let (http, headers, url) = (api.http, api.headers, api.url(path, [("ports", String(remote))]))
        do {
            let opened = try Terminal.wait {
                try await WebSocketHandshake.connect(http, url, headers: headers, protocols: ["v4.channel.k8s.io"])
            }
            guard let socket = opened.socket else {
                let error = try Connection.failure(opened.response)
                failure.withLock { $0 = "\(error)" }
                return
            }
            PosixThread.start(name: "send") {
                var chunk = [UInt8](repeating: 0, count: 32768)
                while true {
                    let n = read(fd, &chunk, chunk.count)
                    if n < 0, errno == EINTR { continue }
                    guard n > 0 else { break }
                    let bytes = Array(chunk[..<n])
                    guard (try? Terminal.wait { try await socket.send(binary: bytes, prefix: [0]) }) != nil else {
                        break
                    }
                }
                // There is no half close: what the pod still says is on its way.
                _ = try? Terminal.wait { await socket.close(seconds: 30) }
            }
            var seen: Set<UInt8> = []
            while let message = try Terminal.wait({ try await socket.receive() }) {
                guard let channel = message.bytes.first else { continue }
                // The first message of a channel is its port.
                if seen.insert(channel).inserted { continue }
                let payload = Array(message.bytes.dropFirst())
                if channel == 0 {
                    Terminal.write(payload, to: fd)
                } else if !payload.isEmpty {
                    Terminal.error(
                        "error: an error occurred forwarding \(local) -> \(remote): \(String(decoding: payload, as: UTF8.self))"
                    )
                    break
                }
            }
            shutdown(fd, Int32(SHUT_RDWR))
        } catch {
            Terminal.error("error: \(local) -> \(remote): \(error)")
            shutdown(fd, Int32(SHUT_RDWR))
        }
    }

    func waitForFailure() -> String {
        while true {
            if let text = failure.withLock({ $0 }) { return text }
            Terminal.sleep(0.2)
        }
    }
}
