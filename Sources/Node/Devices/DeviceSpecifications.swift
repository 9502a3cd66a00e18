internal import Codecs
internal import Containers
internal import Linux

/// The Container Device Interface: files that say what a container needs to have for a device of a name
/// (`vendor.com/class=name`). Read when a container asks for one, and not kept. Hooks are refused: this runtime runs none.
/// Source: github.com/cncf-tags/container-device-interface, SPEC.md.
struct DeviceSpecifications {
    /// The later ones count more.
    var directories: [String]

    static let standard = DeviceSpecifications(directories: ["/etc/cdi", "/var/run/cdi"])

    private static let sizeLimit = 4 << 20

    /// Adds to `config` what the devices need.
    func add(_ names: [String], _ config: inout ContainerConfig) throws(ContainerConfigError) {
        let specifications = read()
        var missing: [String] = []
        var general: Set<Int> = []
        for name in names {
            guard let equals = name.firstIndex(of: "=") else {
                throw ContainerConfigError("CDI device \"\(name)\": expected VENDOR/CLASS=NAME")
            }
            let (kind, device) = (name[..<equals], name[name.index(after: equals)...])
            let found = specifications.indices.lazy.compactMap { index -> (Int, JSON)? in
                guard let own = specifications[index]["kind"].string, own == kind else { return nil }
                return specifications[index]["devices"].elements.first {
                    $0["name"].string.map { $0 == device } ?? false
                }
                .map { (index, $0) }
            }.first
            guard let (index, entry) = found else {
                missing.append(name)
                continue
            }
            // What all devices of a file need, once.
            if general.insert(index).inserted {
                try Self.apply(specifications[index]["containerEdits"], name, &config)
            }
            try Self.apply(entry["containerEdits"], name, &config)
        }
        guard missing.isEmpty else {
            throw ContainerConfigError("unresolvable CDI devices \(missing.joined(separator: ", "))")
        }
    }

    /// Those of the highest priority first.
    private func read() -> [JSON] {
        directories.reversed().flatMap { directory in
            Directories.names(directory).sorted().compactMap { file -> JSON? in
                let path = directory + "/" + file
                guard let bytes = try? Files.read(path, limit: Self.sizeLimit) else { return nil }
                if file.hasSuffix(".json") { return try? JSON.parse(bytes) }
                return file.hasSuffix(".yaml") || file.hasSuffix(".yml") ? try? YAML.parse(bytes) : nil
            }
        }
    }

    private static func apply(
        _ edits: JSON, _ name: String, _ config: inout ContainerConfig
    ) throws(ContainerConfigError) {
        guard edits["hooks"].elements.isEmpty else {
            throw ContainerConfigError("CDI device \"\(name)\" needs hooks, which are not supported")
        }
        for entry in edits["env"].elements.compactMap(\.string) {
            guard let equals = entry.firstIndex(of: "=") else { continue }
            let variable = String(entry[..<equals])
            config.environment.removeAll { $0.name == variable }
            config.environment.append((variable, String(entry[entry.index(after: equals)...])))
        }
        for node in edits["deviceNodes"].elements {
            let path = node["path"].string ?? ""
            let host = node["hostPath"].string.flatMap { $0.isEmpty ? nil : $0 } ?? path
            config.devices.append("\(host):\(path):\(node["permissions"].string ?? "rwm")")
        }
        for mount in edits["mounts"].elements {
            let options = mount["options"].elements.compactMap(\.string)
            config.mounts.append(
                ContainerMount(
                    hostPath: mount["hostPath"].string ?? "", containerPath: mount["containerPath"].string ?? "",
                    readOnly: options.contains("ro")))
        }
    }
}
