import Codecs
import Linux

/// k3s's configuration file and the files of its `.d` folder, as command-line arguments: `key: value` becomes
/// `--key=value`, a list a repeated flag, `key+` appends to what an earlier file said, otherwise the later file wins.
struct ConfigurationFile {
    static let defaultPath = "/etc/rancher/k3s/config.yaml"

    /// Keys that the command does not know; they are left out.
    private(set) var unknown: [String] = []
    /// To stand before the arguments of the command line, which so have the last word.
    private(set) var arguments: [String] = []

    /// `K3S_CONFIG_FILE`, else `--config`, else the default.
    static func path(_ arguments: [String], environment: (String) -> String?) -> String {
        if let path = environment("K3S_CONFIG_FILE"), !path.isEmpty { return path }
        for (index, argument) in arguments.enumerated() {
            for name in ["--config", "-config", "-c", "--c"] {
                if argument == name, index + 1 < arguments.count { return arguments[index + 1] }
                if argument.hasPrefix(name + "=") { return String(argument.dropFirst(name.count + 1)) }
            }
        }
        return defaultPath
    }

    /// A file that is not there says nothing; one that cannot be read or understood is an error.
    init(path: String, flags: [Flag]) throws {
        if path.hasPrefix("http://") || path.hasPrefix("https://") {
            throw UsageError("configuration file \(path): only local files are supported")
        }
        var order: [String] = []
        var values: [String: [String]] = [:]
        for file in try Self.files(path) {
            guard let bytes = try Self.read(file) else { continue }
            for (key, list) in try Self.entries(bytes, file) {
                let appends = key.hasSuffix("+")
                let name = appends ? String(key.dropLast()) : key
                if values[name] == nil { order.append(name) }
                // An earlier value is kept only as long as each later one asks for it.
                values[name] = (appends ? values[name] ?? [] : []) + list
            }
        }
        let names = Set(flags.flatMap { [$0.name] + ($0.alias.map { [$0] } ?? []) })
        for name in order {
            guard names.contains(name) else {
                unknown.append(name)
                continue
            }
            let dashes = name.count == 1 ? "-" : "--"
            arguments += (values[name] ?? []).map { "\(dashes)\(name)=\($0)" }
        }
    }

    private static func files(_ path: String) throws -> [String] {
        let folder = path + ".d"
        let entries: [Directories.Entry]
        do throws(SysError) { entries = try Directories.list(folder) } catch {
            if error.code == ENOENT || error.code == ENOTDIR { return [path] }
            throw UsageError("configuration folder \(folder): \(error)")
        }
        let dropIns = entries.filter { entry in
            let name = entry.name.lowercased()
            return entry.kind != .directory && (name.hasSuffix(".yaml") || name.hasSuffix(".yml"))
        }
        return [path] + dropIns.map { folder + "/" + $0.name }
    }

    private static func read(_ file: String) throws -> [UInt8]? {
        do throws(SysError) { return try Files.readIfPresent(file, limit: 1 << 20) } catch {
            throw UsageError("configuration file \(file): \(error)")
        }
    }

    private static func entries(_ bytes: [UInt8], _ file: String) throws -> [(String, [String])] {
        let document: JSON
        do throws(YAMLError) { document = try YAML.parse(bytes) } catch {
            throw UsageError("configuration file \(file): \(error)")
        }
        if document.isNull { return [] }
        guard case .object(let object) = document else {
            throw UsageError("configuration file \(file): a mapping of flags to values is expected")
        }
        return try object.members.map { member in
            switch member.value {
            case .array(let list):
                return (member.key, try list.map { try text($0, member.key, file) })
            default: return (member.key, [try text(member.value, member.key, file)])
            }
        }
    }

    private static func text(_ value: JSON, _ key: String, _ file: String) throws -> String {
        switch value {
        case .string(let text): return text
        case .bool, .int, .double: return value.text
        case .null: return ""
        case .array, .object:
            throw UsageError("configuration file \(file): \(key): a value or a list of values is expected")
        }
    }
}
