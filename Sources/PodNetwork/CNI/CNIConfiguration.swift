import Codecs
import Linux

/// A network configuration list of the CNI specification 1.0 (section 1): the plugins that make a pod's network, in order. A
/// `.conf` file with one plugin is a list of one.
package struct CNIConfiguration: Sendable, Equatable {
    package var name: String
    package var version: String
    package var plugins: [JSON]
    /// The file's object, for the cache.
    package var document: JSON

    /// Versions whose results and errors are understood.
    package static let versions = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]

    /// - Parameter file: for messages.
    package init(_ document: JSON, file: String) throws(PodNetworkError) {
        func refuse(_ what: String) -> PodNetworkError { PodNetworkError(.invalid, "\(file): \(what)") }
        guard document.object != nil else { throw refuse("expected an object") }
        self.document = document
        guard let name = document["name"].string, CNIConfiguration.isName(name) else {
            throw refuse("name: expected letters, digits, \"-\", \"_\" and \".\"")
        }
        self.name = name
        version = document["cniVersion"].string ?? "0.1.0"
        guard CNIConfiguration.versions.contains(version) else {
            throw refuse("cniVersion: \"\(version)\": expected \(CNIConfiguration.versions.joined(separator: ", "))")
        }
        plugins = document["plugins"].isNull ? [document] : document["plugins"].elements
        if plugins.isEmpty { throw refuse("plugins: expected at least one plugin") }
        for (index, plugin) in plugins.enumerated() {
            // A plugin is a file name in a folder of plugins, never a path.
            guard let type = plugin["type"].string, CNIConfiguration.isName(type) else {
                throw refuse("plugins[\(index)].type: expected the name of a plugin")
            }
        }
    }

    private static func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, (1...255).contains(text.utf8.count) else { return false }
        return first != UInt8(ascii: ".")
            && text.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0) || $0 == 0x2d
                    || $0 == 0x2e || $0 == 0x5f
            }
    }

    /// The first usable configuration of a folder, by file name, as containerd chooses it; nil if there is none. What is
    /// wrong with the files before it is in `problems`.
    package static func load(
        directory: String, problems: inout [String]
    ) -> (configuration: CNIConfiguration, file: String)? {
        guard let entries = try? Directories.list(directory, limit: 4096) else { return nil }
        for name in entries.filter({ $0.kind != .directory }).map(\.name).sorted() {
            guard [".conf", ".conflist", ".json"].contains(where: { name.hasSuffix($0) }) else { continue }
            let file = Path.join(directory, name)
            do throws(SysError) {
                let bytes = try Files.read(file, limit: 1 << 20)
                do throws(JSONError) {
                    let document = try JSON.parse(bytes)
                    do throws(PodNetworkError) {
                        return (try CNIConfiguration(document, file: file), file)
                    } catch { problems.append(error.message) }
                } catch { problems.append("\(file): \(error.message)") }
            } catch { problems.append("\(error)") }
        }
        return nil
    }
}

/// For which pod a plugin runs, and with what of the pod its capabilities are fed.
package struct CNIAttachment: Sendable, Equatable {
    package var container: String
    /// Empty when the namespace is gone.
    package var namespacePath: String
    package var interface = "eth0"
    /// CNI_ARGS, in order.
    package var arguments: [(key: String, value: String)] = []
    /// By capability: portMappings, bandwidth.
    package var capabilities: [String: JSON] = [:]

    package init(container: String, namespacePath: String) {
        (self.container, self.namespacePath) = (container, namespacePath)
    }

    package static func == (a: CNIAttachment, b: CNIAttachment) -> Bool {
        a.container == b.container && a.namespacePath == b.namespacePath && a.interface == b.interface
            && a.capabilities == b.capabilities
            && a.arguments.map { [$0.key, $0.value] }
                == b.arguments.map { [$0.key, $0.value] }
    }
}

/// One execution of a plugin: what it is given. A value, so that it can be tested without plugins.
package struct CNIInvocation: Sendable, Equatable {
    package enum Command: String, Sendable { case add = "ADD", delete = "DEL" }
    package var plugin: String
    package var environment: [String]
    package var input: JSON

    /// - Parameters:
    ///   - previous: the result of the plugin before (ADD), or of the whole list (DEL).
    package init(
        _ command: Command, _ plugin: JSON, of configuration: CNIConfiguration, _ attachment: CNIAttachment,
        previous: JSON?, path: [String], searchPath: String
    ) {
        self.plugin = plugin["type"].string ?? ""
        environment = [
            "CNI_COMMAND=\(command.rawValue)", "CNI_CONTAINERID=\(attachment.container)",
            "CNI_NETNS=\(attachment.namespacePath)", "CNI_IFNAME=\(attachment.interface)",
            "CNI_PATH=\(path.joined(separator: ":"))",
            "CNI_ARGS=" + attachment.arguments.map { "\($0.key)=\($0.value)" }.joined(separator: ";"),
            "PATH=\(searchPath)",
        ]
        input = plugin
        input["name"] = .string(configuration.name)
        input["cniVersion"] = .string(configuration.version)
        // Capabilities are what the plugin says it can; the values come in their place.
        var runtime = JSONObject()
        for (name, isWanted) in plugin["capabilities"].object ?? JSONObject() where isWanted.bool == true {
            if let value = attachment.capabilities[name] { runtime.append(name, value) }
        }
        input.withObject { object in
            _ = object.removeValue(forKey: "capabilities")
            _ = object.removeValue(forKey: "plugins")
        }
        if !runtime.isEmpty { input["runtimeConfig"] = .object(runtime) }
        if let previous { input["prevResult"] = previous }
    }
}

/// What ADD gave.
package enum CNIResult {
    /// Addresses inside the pod, in order, without their prefix lengths.
    package static func addresses(_ result: JSON) -> [String] {
        var addresses: [String] = []
        let interfaces = result["interfaces"].elements
        for entry in result["ips"].elements {
            if let index = entry["interface"].int, interfaces.indices.contains(Int(clamping: index)),
                (interfaces[Int(clamping: index)]["sandbox"].string ?? "").isEmpty
            {
                continue
            }
            if let text = entry["address"].string?.split(separator: "/").first { addresses.append(String(text)) }
        }
        // Before 0.3.0 there was one of each family.
        for key in ["ip4", "ip6"] where addresses.isEmpty || key == "ip6" {
            if let text = result[key]["ip"].string?.split(separator: "/").first { addresses.append(String(text)) }
        }
        return addresses
    }

    /// A plugin's own words about its failure (specification, section 5, Error).
    package static func failure(_ output: [UInt8]) -> String? {
        guard let error = try? JSON.parse(output), error.object != nil, let message = error["msg"].string else {
            return nil
        }
        let details = error["details"].string ?? ""
        return details.isEmpty ? message : "\(message); \(details)"
    }
}
