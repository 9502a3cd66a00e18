import Codecs

extension RegistriesConfig {
    /// Reads a registries.yaml (default /etc/rancher/k3s/registries.yaml, --private-registry); without the file there
    /// are no mirrors and no credentials.
    package init(path: String, warnings: inout [String]) throws(ImageError) {
        guard let bytes = try ImageFS.read(path, limit: 1 << 20) else {
            self.init()
            return
        }
        let document: JSON
        do throws(YAMLError) { document = try YAML.parse(bytes) } catch {
            throw ImageError(.invalidReference, "\(path): \(error)")
        }
        try self.init(document, file: path, warnings: &warnings)
    }

    /// Reads the document of a registries.yaml. Errors name the file and the key; what is only odd (unknown keys,
    /// endpoints that are no URLs or come twice) is left out with a warning, as k3s does.
    package init(_ document: JSON, file: String, warnings: inout [String]) throws(ImageError) {
        self.init()
        if document.isNull { return }
        var reader = Reader(file: file)
        for (key, value) in try reader.members(document, "") {
            switch key {
            case "mirrors":
                for (name, entry) in try reader.members(value, "mirrors") {
                    mirrors[Self.registryName(name)] = try reader.mirror(entry, "mirrors.\(Self.quoted(name))")
                }
            case "configs":
                for (name, entry) in try reader.members(value, "configs") {
                    hosts[Self.registryName(name)] = try reader.host(entry, "configs.\(Self.quoted(name))")
                }
            default: reader.warn(key, "unknown key is ignored")
            }
        }
        warnings.append(contentsOf: reader.warnings)
    }

    private static func registryName(_ name: String) -> String {
        let lower = name.lowercased()
        return ["index.docker.io", "registry-1.docker.io"].contains(lower) ? "docker.io" : lower
    }

    private static func quoted(_ name: String) -> String { name.contains(".") ? "\"\(clipped(name))\"" : clipped(name) }

    private struct Reader {
        let file: String
        var warnings: [String] = []

        mutating func warn(_ path: String, _ text: String) { warnings.append("\(file): \(path): \(text)") }

        func bad(_ path: String, _ wanted: String) -> ImageError {
            ImageError(.invalidReference, path.isEmpty ? "\(file): \(wanted)" : "\(file): \(path): \(wanted)")
        }

        func members(_ json: JSON, _ path: String) throws(ImageError) -> [JSONObject.Member] {
            if json.isNull { return [] }
            guard let object = json.object else { throw bad(path, "want a mapping") }
            return object.members
        }

        func string(_ json: JSON, _ path: String) throws(ImageError) -> String {
            if json.isNull { return "" }
            if let text = json.string { return text }
            // An unquoted password of digits is a number to YAML.
            if let number = json.int { return String(number) }
            throw bad(path, "want a string")
        }

        mutating func mirror(_ json: JSON, _ path: String) throws(ImageError) -> Mirror {
            var mirror = Mirror()
            for (key, value) in try members(json, path) {
                let here = path + "." + key
                switch key {
                case "endpoint", "endpoints":
                    guard let list = value.array ?? (value.isNull ? [] : nil) else {
                        throw bad(here, "want a list of URLs")
                    }
                    for (position, item) in list.enumerated() {
                        let text = try string(item, "\(here)[\(position)]")
                        if RegistriesConfig.normalize(text) == nil {
                            warn("\(here)[\(position)]", "ignoring invalid endpoint URL \"\(clipped(text))\"")
                        } else if mirror.endpoints.contains(text) {
                            warn("\(here)[\(position)]", "skipping duplicate endpoint URL \"\(clipped(text))\"")
                        } else {
                            mirror.endpoints.append(text)
                        }
                    }
                case "rewrite":
                    for (pattern, replacement) in try members(value, here).sorted(by: { $0.key < $1.key }) {
                        let text = try string(replacement, "\(here).\"\(clipped(pattern))\"")
                        do throws(RepositoryRewrite.Refusal) {
                            mirror.rewrites.append(try RepositoryRewrite(pattern: pattern, replacement: text))
                        } catch {
                            throw bad(here, "invalid regular expression \"\(clipped(pattern))\": \(error.reason)")
                        }
                    }
                default: warn(here, "unknown key is ignored")
                }
            }
            return mirror
        }

        mutating func host(_ json: JSON, _ path: String) throws(ImageError) -> Host {
            var host = Host()
            for (key, value) in try members(json, path) {
                switch key {
                case "auth": host.credentials = try credentials(value, path + ".auth")
                case "tls": host.tls = try tls(value, path + ".tls")
                default: warn("\(path).\(key)", "unknown key is ignored")
                }
            }
            return host
        }

        private mutating func credentials(_ json: JSON, _ path: String) throws(ImageError) -> RegistryCredentials? {
            var result = RegistryCredentials()
            for (key, value) in try members(json, path) {
                let here = path + "." + key
                switch key {
                case "username": result.username = try string(value, here)
                case "password": result.password = try string(value, here)
                case "identity_token", "token": result.identityToken = try string(value, here)
                case "auth":
                    let encoded = try string(value, here)
                    if encoded.isEmpty { continue }
                    guard let bytes = Base64.decode(encoded), let colon = bytes.firstIndex(of: UInt8(ascii: ":")) else {
                        throw bad(here, "want base64 of user:password")
                    }
                    // Padding of NULs is docker's.
                    result.username = String(decoding: bytes[..<colon], as: UTF8.self)
                    result.password = String(decoding: bytes[(colon + 1)...].prefix { $0 != 0 }, as: UTF8.self)
                default: warn(here, "unknown key is ignored")
                }
            }
            return result == RegistryCredentials() ? nil : result
        }

        private mutating func tls(_ json: JSON, _ path: String) throws(ImageError) -> RegistryTLS {
            var result = RegistryTLS()
            for (key, value) in try members(json, path) {
                let here = path + "." + key
                switch key {
                case "ca_file": result.caFile = try string(value, here)
                case "cert_file": result.certFile = try string(value, here)
                case "key_file": result.keyFile = try string(value, here)
                case "insecure_skip_verify":
                    guard let flag = value.bool ?? (value.isNull ? false : nil) else {
                        throw bad(here, "want true or false")
                    }
                    result.insecureSkipVerify = flag
                default: warn(here, "unknown key is ignored")
                }
            }
            guard result.certFile.isEmpty == result.keyFile.isEmpty else {
                throw bad(path, "want cert_file and key_file together")
            }
            return result
        }
    }
}
