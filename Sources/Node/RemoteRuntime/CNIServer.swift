internal import Codecs
internal import Containers
package import Linux
package import Logging

/// What answers the CNI plugin of k3s (`k3s` under the name "flannel"), which another runtime runs for each pod: the
/// plugin hands on what it was told, a line of JSON, and prints the answer. The built-in network does the work.
/// Source: the CNI specification 1.0, sections 2, 4 and 5.
package final class CNIServer: Sendable {
    package static let socketName = "cni.sock"
    /// The name of the plugin, as k3s's is called.
    package static let plugin = "flannel"
    /// Runtimes ask for it by themselves, to bring up "lo".
    package static let loopback = "loopback"
    private static let requestLimit = 256 << 10

    private let network: any PodNetworking
    private let socket: String
    private let logger: Logger

    /// - Parameter state: the folder of the socket: /run/k3s.
    package init(network: any PodNetworking, state: String, logger: Logger) {
        (self.network, self.logger) = (network, logger)
        socket = state + "/" + Self.socketName
    }

    /// Writes what makes a runtime run the plugin: `<agent>/etc/cni/net.d/10-flannel.conflist` and `<data>/cni/flannel`,
    /// the places of k3s.
    package func install(dataDirectory: String) throws(SysError) {
        let folder = dataDirectory + "/agent/etc/cni/net.d"
        let plugins = dataDirectory + "/data/cni"
        try Directories.make(folder, mode: 0o755)
        try Directories.make(plugins, mode: 0o755)
        for name in [Self.plugin, Self.loopback] {
            try Files.replaceLink(plugins + "/" + name, to: Proc.executable())
        }
        let list: JSON = [
            "name": "cbr0", "cniVersion": "1.0.0",
            "plugins": [
                [
                    "type": .string(Self.plugin), "socket": .string(socket),
                    "capabilities": ["portMappings": true],
                ]
            ],
        ]
        try Files.writeAtomically(folder + "/10-flannel.conflist", list.encode(), mode: 0o644)
    }

    /// Until the task is cancelled.
    package func run() async throws(SysError) {
        try Directories.make(Path.parent(socket), mode: 0o755)
        let listener = try AsyncFD(UnixSocket.listen(socket, .stream, mode: 0o600))
        defer { listener.close() }
        while !Task.isCancelled {
            let connection = try await UnixSocket.accept(listener)
            Task { await serve(connection) }
        }
    }

    private func serve(_ connection: AsyncFD) async {
        defer { connection.close() }
        var line: [UInt8] = []
        while line.last != UInt8(ascii: "\n") {
            guard line.count < Self.requestLimit, let bytes = try? await connection.read(), !bytes.isEmpty else {
                return
            }
            line += bytes
        }
        guard let request = try? JSON.parse(line) else { return }
        let answer: JSON
        do throws(CNIFailure) { answer = ["ok": try await respond(request)] } catch {
            logger.warning(
                "CNI: \(request["command"].string ?? "") \(request["container"].string ?? ""): \(error.message)")
            answer = ["ok": ["code": .int(error.code), "msg": .string(error.message), "failed": true]]
        }
        try? await connection.write(answer.encode() + [UInt8(ascii: "\n")])
    }

    /// Codes of the specification's section 5.
    private struct CNIFailure: Error {
        var code: Int64
        var message: String
    }

    private func respond(_ request: JSON) async throws(CNIFailure) -> JSON {
        let container = request["container"].string ?? ""
        guard !container.isEmpty || request["command"].string == "STATUS" else {
            throw CNIFailure(code: 4, message: "CNI_CONTAINERID is missing")
        }
        switch request["command"].string ?? "" {
        case "ADD": return try await add(request, container)
        case "DEL":
            await network.detach(sandbox: container)
            return [:]
        case "CHECK":
            guard await !network.addresses(sandbox: container).isEmpty else {
                throw CNIFailure(code: 3, message: "sandbox \(container) is not attached")
            }
            return [:]
        case "STATUS":
            if let reason = await network.notReadyReason() { throw CNIFailure(code: 50, message: reason) }
            return [:]
        case let command: throw CNIFailure(code: 4, message: "CNI_COMMAND: \"\(command)\" is unknown")
        }
    }

    private func add(_ request: JSON, _ container: String) async throws(CNIFailure) -> JSON {
        let namespace = request["netns"].string ?? ""
        guard namespace.hasPrefix("/") else { throw CNIFailure(code: 4, message: "CNI_NETNS: expected a path") }
        let interface = request["ifname"].string ?? ""
        guard interface == "eth0" else {
            throw CNIFailure(code: 4, message: "CNI_IFNAME: \"\(interface)\": expected eth0")
        }
        var arguments: [String: String] = [:]
        for pair in (request["args"].string ?? "").split(separator: ";") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            if parts.count == 2 { arguments[parts[0]] = parts[1] }
        }
        var attachment = PodAttachment(
            sandbox: container, namespacePath: namespace, podNamespace: arguments["K8S_POD_NAMESPACE"] ?? "",
            podName: arguments["K8S_POD_NAME"] ?? "", podUID: arguments["K8S_POD_UID"] ?? "")
        for port in request["config"]["runtimeConfig"]["portMappings"].elements {
            // Runtimes in Go write the names as they have them, and read any case.
            func member(_ name: String) -> JSON {
                port.object?.members.first { $0.key.lowercased() == name }?.value ?? .null
            }
            guard let host = member("hostport").int.flatMap({ UInt16(exactly: $0) }), host > 0,
                let inside = member("containerport").int.flatMap({ UInt16(exactly: $0) })
            else { continue }
            attachment.hostPorts.append(
                PodAttachment.HostPort(
                    hostIP: member("hostip").string ?? "", hostPort: host, containerPort: inside,
                    transport: (member("protocol").string ?? "tcp").uppercased()))
        }
        let addresses: [String]
        do throws(PodNetworkingError) { addresses = try await network.attach(attachment) } catch {
            throw CNIFailure(code: await network.notReadyReason() == nil ? 999 : 11, message: error.message)
        }
        let version = request["config"]["cniVersion"].string ?? "1.0.0"
        let ips = addresses.map { address -> JSON in
            let isIPv6 = address.utf8.contains(UInt8(ascii: ":"))
            // A pod's address has no prefix route: it is alone in its network.
            var ip: JSON = ["address": .string(address + (isIPv6 ? "/128" : "/32")), "interface": 0]
            // Before version 1.0 of the specification.
            if version.hasPrefix("0.") { ip["version"] = isIPv6 ? "6" : "4" }
            return ip
        }
        return [
            "cniVersion": .string(version),
            "interfaces": [["name": .string(interface), "sandbox": .string(namespace)]],
            "ips": .array(ips), "dns": [:],
        ]
    }
}
