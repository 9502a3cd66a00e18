import Codecs
import Linux
import Node
import PodNetwork

/// `k3s` under the names of its CNI plugins: "flannel" hands what another container runtime asks for to the running k3s
/// (`CNIServer`), "loopback" brings up a pod's own interface. Source: the CNI specification 1.0, section 2.
enum CNIPlugin {
    private static let versions = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]

    /// Whether this process is one.
    static var isAsked: Bool {
        guard let name, getenv("CNI_COMMAND") != nil else { return false }
        return name == CNIServer.plugin || name == CNIServer.loopback
    }

    private static var name: String? { CommandLine.arguments.first.map(Path.last) }

    static func run() -> Int32 {
        let version: JSON = ["cniVersion": "1.0.0"]
        func variable(_ name: String) -> String { getenv(name).map { String(cString: $0) } ?? "" }
        func failed(_ code: Int64, _ message: String) -> Int32 {
            var answer = version
            (answer["code"], answer["msg"]) = (.int(code), .string(message))
            print(String(decoding: answer.encode(), as: UTF8.self))
            return 1
        }
        var input: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16 << 10)
        while input.count < 1 << 20 {
            let count = chunk.withUnsafeMutableBytes { read(0, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            if count <= 0 { break }
            input += chunk.prefix(count)
        }
        let command = variable("CNI_COMMAND")
        if command == "VERSION" {
            var answer = version
            answer["supportedVersions"] = .strings(versions)
            print(String(decoding: answer.encode(), as: UTF8.self))
            return 0
        }
        guard let config = try? JSON.parse(input), config.object != nil else {
            return failed(6, "the network configuration is not JSON")
        }
        if name == CNIServer.loopback {
            guard command == "ADD" else { return 0 }
            let namespace = variable("CNI_NETNS")
            do throws(PodNetworkError) { try PodLoopback.bringUp(namespacePath: namespace) } catch {
                return failed(999, error.message)
            }
            let answer: JSON = [
                "cniVersion": config["cniVersion"], "interfaces": [["name": "lo", "sandbox": .string(namespace)]],
            ]
            print(String(decoding: answer.encode(), as: UTF8.self))
            return 0
        }
        guard let socket = config["socket"].string, socket.hasPrefix("/") else {
            return failed(7, "socket: expected the path of k3s's socket")
        }
        // Nothing is known of what others collect.
        if command == "GC" { return 0 }
        do {
            let answer = try ControlClient(path: socket).call(
                command,
                [
                    "command": .string(command), "container": .string(variable("CNI_CONTAINERID")),
                    "netns": .string(variable("CNI_NETNS")), "ifname": .string(variable("CNI_IFNAME")),
                    "args": .string(variable("CNI_ARGS")), "config": config,
                ])
            if answer["failed"].bool == true {
                return failed(answer["code"].int ?? 999, answer["msg"].string ?? "")
            }
            if command == "ADD" { print(String(decoding: answer.encode(), as: UTF8.self)) }
            return 0
        } catch { return failed(11, "\(error)") }
    }
}
