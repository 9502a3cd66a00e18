internal import Codecs
internal import KubeAPI
internal import Linux
internal import Transport

/// What is wrong with a manifest's text.
struct ManifestError: Error, CustomStringConvertible {
    var description: String
}

/// A file of `<data-dir>/server/manifests` as text and as objects.
struct AddonManifest {
    /// Bytes of a file, and documents in it.
    static let sizeLimit = 16 << 20
    static let objectLimit = 10_000

    let checksum: String
    let objects: [KubeObject]

    /// Several YAML or JSON documents; lists stand for what is in them, empty documents for nothing.
    init(_ bytes: [UInt8]) throws(ManifestError) {
        checksum = SHA256.hexDigest(bytes)
        var duplicates: [String] = []
        let documents: [JSON]
        do throws(YAMLError) {
            // As with kubectl, the last one of equal keys holds.
            documents = try YAML.parseAll(bytes, duplicates: &duplicates)
        } catch {
            throw ManifestError(description: error.message)
        }
        var objects: [KubeObject] = []
        for (index, document) in documents.enumerated() {
            guard case .object = document else {
                throw ManifestError(description: "document \(index + 1): expected an object with apiVersion and kind")
            }
            if let items = document["items"].array, document["kind"].string?.hasSuffix("List") == true {
                for item in items { objects.append(try Self.object(item)) }
            } else {
                objects.append(try Self.object(document))
            }
            guard objects.count <= Self.objectLimit else {
                throw ManifestError(description: "more than \(Self.objectLimit) objects in one file")
            }
        }
        self.objects = objects
    }

    private static func object(_ json: JSON) throws(ManifestError) -> KubeObject {
        for (key, name) in [("kind", "Kind"), ("apiVersion", "apiVersion")] {
            guard let text = json[key].string, !text.isEmpty else {
                let shown = String(decoding: json.encode().prefix(200), as: UTF8.self)
                throw ManifestError(description: "Object '\(name)' is missing in '\(shown)'")
            }
        }
        let object = KubeObject(json)
        guard object.gvk != nil else {
            throw ManifestError(description: "\(object.kind): apiVersion \"\(object.apiVersion)\" is not group/version")
        }
        guard !object.name.isEmpty else {
            throw ManifestError(description: "\(object.kind): metadata.name is missing")
        }
        return object
    }
}

/// A file below the directory of manifests.
struct AddonFile: Equatable {
    var path: String
    /// Its folders below the directory, and its name.
    var components: [String]
    /// Nanoseconds.
    var modified: Int64
    var size: Int64
    /// False for what a symbolic link to a directory leads to: that is somebody else's.
    var isOurs: Bool

    var name: String { components.last ?? "" }
    /// Of the Addon: the file's name up to its first dot.
    var addon: String { String(name.prefix { $0 != "." }) }

    private static let endings = [".yaml", ".yml", ".json"]
    var isManifest: Bool {
        !name.hasPrefix(".") && Self.endings.contains { name.lowercased().hasSuffix($0) }
    }

    /// By the file's name without its ending, or by a folder that it is in: "metrics-server", "a/b".
    func isDisabled(_ disabled: Set<String>) -> Bool {
        var folder = ""
        for component in components.dropLast() {
            folder += folder.isEmpty ? component : "/" + component
            if disabled.contains(folder) { return true }
        }
        guard Self.endings.contains(where: { name.lowercased().hasSuffix($0) }),
            let dot = name.lastIndex(of: ".")
        else { return false }
        return disabled.contains(String(name[..<dot]))
    }

    /// All files, sorted by path. Directories that are symbolic links are followed at the top only.
    /// - Returns: also the directories behind such links, which are to be watched too.
    static func all(_ directory: String) throws(SysError) -> (files: [AddonFile], linked: [String]) {
        var (files, linked): ([AddonFile], [String]) = ([], [])
        try walk(directory, [], isOurs: true, &files, &linked)
        files.sort { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
        return (files, linked)
    }

    private static func walk(
        _ directory: String, _ components: [String], isOurs: Bool, _ files: inout [AddonFile],
        _ linked: inout [String]
    ) throws(SysError) {
        guard components.count < 16, files.count < 10_000 else { return }
        for entry in try Directories.list(directory, limit: 10_000) {
            let path = directory + "/" + entry.name
            let inside = components + [entry.name]
            // Gone meanwhile, or a link to nowhere.
            guard let own = try? Files.status(path, followLinks: false), let target = try? Files.status(path) else {
                continue
            }
            let isLink = own.st_mode & S_IFMT == S_IFLNK
            if target.st_mode & S_IFMT == S_IFDIR {
                if isLink, !isOurs { continue }
                if isLink { linked.append(path) }
                try walk(path, inside, isOurs: isOurs && !isLink, &files, &linked)
            } else if target.st_mode & S_IFMT == S_IFREG {
                let modified = Int64(target.st_mtim.tv_sec) * 1_000_000_000 + Int64(target.st_mtim.tv_nsec)
                files.append(
                    AddonFile(
                        path: path, components: inside, modified: modified, size: Int64(target.st_size), isOurs: isOurs)
                )
            }
        }
    }
}
