import Codecs

/// An image's configuration document (application/vnd.oci.image.config.v1+json and Docker's twin): what to run, and the
/// digests of the uncompressed layers, lowest first. Source: OCI image specification, config.md.
struct ImageDocument: Sendable, Equatable {
    static let maxBytes: Int64 = 4 << 20

    var platform: Platform
    var config = ImageConfig()
    var diffIDs: [Digest]

    init(_ bytes: [UInt8], name: String) throws(ImageError) {
        let json = try ManifestDocument.parse(bytes, name)
        guard json.object != nil else { throw invalidManifest(name, "want a JSON object") }
        platform = Platform(
            os: json["os"].string ?? "", architecture: json["architecture"].string ?? "",
            variant: json["variant"].string ?? "")
        let rootfs = json["rootfs"]
        guard rootfs["type"].isNull || rootfs["type"].string == "layers" else {
            throw invalidManifest("\(name): rootfs.type", "want \"layers\"")
        }
        guard let list = rootfs["diff_ids"].array ?? (rootfs["diff_ids"].isNull ? [] : nil) else {
            throw invalidManifest("\(name): rootfs.diff_ids", "want a list")
        }
        diffIDs = []
        for (position, item) in list.enumerated() {
            let path = "\(name): rootfs.diff_ids[\(position)]"
            guard let text = item.string else { throw invalidManifest(path, "want a digest") }
            diffIDs.append(try Digest(text, in: path))
        }
        let section = json["config"]
        guard section.isNull || section.object != nil else {
            throw invalidManifest("\(name): config", "want an object")
        }
        config.entrypoint = try Self.strings(section["Entrypoint"], "\(name): config.Entrypoint")
        config.cmd = try Self.strings(section["Cmd"], "\(name): config.Cmd")
        config.environment = try Self.strings(section["Env"], "\(name): config.Env")
        config.workingDirectory = try Self.string(section["WorkingDir"], "\(name): config.WorkingDir")
        config.user = try Self.string(section["User"], "\(name): config.User")
        config.stopSignal = try Self.string(section["StopSignal"], "\(name): config.StopSignal")
        config.volumes = (section["Volumes"].object?.keys ?? []).sorted()
        config.labels = section["Labels"].stringMap
    }

    private static func strings(_ json: JSON, _ path: String) throws(ImageError) -> [String] {
        if json.isNull { return [] }
        guard let list = json.array else { throw invalidManifest(path, "want a list of strings") }
        var result: [String] = []
        for item in list {
            guard let text = item.string, !text.utf8.contains(0) else {
                throw invalidManifest(path, "want a list of strings")
            }
            result.append(text)
        }
        return result
    }

    private static func string(_ json: JSON, _ path: String) throws(ImageError) -> String {
        if json.isNull { return "" }
        guard let text = json.string, !text.utf8.contains(0) else { throw invalidManifest(path, "want a string") }
        return text
    }

    /// Identities of the stacks of layers 0…i: the first is its diff id, each next the hash of "<below> <diff id>"
    /// (OCI image specification, "Layer ChainID").
    func chainIDs(_ sha256: SHA256Factory) -> [Digest] {
        var chain: [Digest] = []
        for diffID in diffIDs {
            guard let below = chain.last else {
                chain.append(diffID)
                continue
            }
            chain.append(Digest.of(Array("\(below) \(diffID)".utf8), sha256))
        }
        return chain
    }
}
