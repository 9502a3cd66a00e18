package import Codecs
package import KubeAPI
internal import Linux

package struct SettingsError: Error, Sendable, Equatable, CustomStringConvertible {
    package var message: String
    package var description: String { message }
    package init(_ message: String) { self.message = message }
}

/// The kubelet's own settings: `--kubelet-arg=name=value`, and KubeletConfiguration files named by its arguments
/// `config` and `config-dir`. Flags count more than drop-ins, drop-ins more than the file, as with the kubelet.
/// Source: k8s.io/kubelet/config/v1beta1.KubeletConfiguration, cmd/kubelet/app/options.
package struct KubeletSettings {
    /// What was asked for and has no effect here, for the log.
    package private(set) var notes: [String] = []
    private var configuration: NodeConfiguration

    /// `configuration` with what `arguments` ask for.
    package static func apply(
        _ arguments: [String], to configuration: inout NodeConfiguration
    ) throws(SettingsError) -> [String] {
        var settings = KubeletSettings(configuration: configuration)
        var flags: [(name: String, value: String)] = []
        var (file, folder): (String?, String?)
        for argument in arguments {
            var text = argument[...]
            while text.hasPrefix("-") { text = text.dropFirst() }
            let pair = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let (name, value) = (String(pair[0]), pair.count > 1 ? String(pair[1]) : "true")
            switch name {
            case "config": file = value
            case "config-dir": folder = value
            default: flags.append((name, value))
            }
        }
        if let file { try settings.load(file) }
        if let folder {
            let names: [String]
            do throws(SysError) { names = try Directories.list(folder).map(\.name) } catch {
                throw SettingsError("config-dir: \(error.description)")
            }
            // As the kubelet has it: only files of this name, in order.
            for name in names.sorted() where name.hasSuffix(".conf") { try settings.load(Path.join(folder, name)) }
        }
        for flag in flags { try settings.set(flag: flag.name, flag.value) }
        _ = try settings.configuration.eviction.thresholds()
        configuration = settings.configuration
        return settings.notes
    }

    private init(configuration: NodeConfiguration) { self.configuration = configuration }

    // MARK: Where settings stand

    private mutating func load(_ path: String) throws(SettingsError) {
        let bytes: [UInt8]
        do throws(SysError) { bytes = try Files.read(path, limit: 1 << 20) } catch {
            throw SettingsError("\(path): \(error.description)")
        }
        let document: JSON
        do throws(YAMLError) { document = try YAML.parse(bytes) } catch {
            throw SettingsError("\(path): \(error.description)")
        }
        guard document["kind"].string == "KubeletConfiguration" else {
            throw SettingsError(
                "\(path): expected kind KubeletConfiguration, found \"\(document["kind"].string ?? "")\"")
        }
        for (key, value) in document.object?.members ?? [] where key != "kind" && key != "apiVersion" {
            guard !value.isNull else { continue }
            guard let option = Self.options.first(where: { $0.field == key }) else {
                notes.append("\(path): \(key) has no effect")
                continue
            }
            do throws(SettingsError) { try option.apply(&configuration, Value(value)) } catch {
                throw SettingsError("\(path): \(key): \(error.message)")
            }
        }
    }

    private mutating func set(flag name: String, _ text: String) throws(SettingsError) {
        guard let option = Self.options.first(where: { $0.flag == name }) else {
            if name != "v" { notes.append("--kubelet-arg: \(name) has no effect") }
            return
        }
        do throws(SettingsError) { try option.apply(&configuration, Value(.string(text))) } catch {
            throw SettingsError("\(name): \(error.message)")
        }
    }

    /// A value of a file, or the text of a flag.
    struct Value {
        let json: JSON
        init(_ json: JSON) { self.json = json }

        func number(_ range: ClosedRange<Int64>) throws(SettingsError) -> Int64 {
            guard let number = json.int ?? json.string.flatMap({ Int64($0) }), range.contains(number) else {
                throw SettingsError("\(shown) is not a number from \(range.lowerBound) to \(range.upperBound)")
            }
            return number
        }
        func flag() throws(SettingsError) -> Bool {
            if let flag = json.bool { return flag }
            switch json.string {
            case "true", "1", "t", "T", "TRUE", "True": return true
            case "false", "0", "f", "F", "FALSE", "False": return false
            default: throw SettingsError("\(shown) is not true or false")
            }
        }
        func text() throws(SettingsError) -> String {
            guard let text = json.string else { throw SettingsError("\(shown) is not a text") }
            return text
        }
        func duration() throws(SettingsError) -> Duration {
            guard let duration = json.string.flatMap({ GoDuration.parse($0) }).map({ Duration.nanoseconds($0) }),
                duration >= .zero
            else {
                throw SettingsError("\(shown) is not a duration such as 1m30s")
            }
            return duration
        }
        func list() throws(SettingsError) -> [String] {
            if let text = json.string { return text.split(separator: ",").map { $0.trimmingSpaces() } }
            let list = json.elements.compactMap(\.string)
            guard list.count == json.elements.count, json.object == nil else {
                throw SettingsError("\(shown) is not a list of texts")
            }
            return list
        }
        /// An object of texts, or "a=1,b=2" ("a<1,b<2" for thresholds).
        func map(separator: Character = "=") throws(SettingsError) -> [String: String] {
            if let members = json.object?.members {
                var map: [String: String] = [:]
                for (key, value) in members {
                    map[key] = value.string ?? value.int.map { String($0) }
                    if map[key] == nil { throw SettingsError("\(key): a text is expected") }
                }
                return map
            }
            var map: [String: String] = [:]
            for part in try text().split(separator: ",") {
                let pair = part.split(separator: separator, maxSplits: 1)
                guard pair.count == 2 else {
                    throw SettingsError("\"\(part)\" is not of the form name\(separator)value")
                }
                map[pair[0].trimmingSpaces()] = pair[1].trimmingSpaces()
            }
            return map
        }
        func quantities() throws(SettingsError) -> [String: Quantity] {
            var quantities: [String: Quantity] = [:]
            for (name, text) in try map() {
                guard ["cpu", "memory", "ephemeral-storage", "pid"].contains(name) else {
                    throw SettingsError("\"\(name)\" is not cpu, memory, ephemeral-storage or pid")
                }
                guard let amount = Quantity(text), amount >= .zero else {
                    throw SettingsError("\(name): \"\(text)\" is not an amount")
                }
                quantities[name] = amount
            }
            return quantities
        }
        private var shown: String { json.text }
    }

    struct Option {
        let flag: String
        let field: String
        let apply: @Sendable (inout NodeConfiguration, Value) throws(SettingsError) -> Void
        init(
            _ flag: String, _ field: String,
            _ apply: @escaping @Sendable (inout NodeConfiguration, Value) throws(SettingsError) -> Void
        ) {
            (self.flag, self.field, self.apply) = (flag, field, apply)
        }
    }
}
