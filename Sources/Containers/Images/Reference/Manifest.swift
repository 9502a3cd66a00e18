import Codecs

/// A reference to content: what kind it is, its digest and its size.
struct Descriptor: Sendable, Equatable {
    var mediaType: String
    var digest: Digest
    var size: Int64
    var platform: Platform?
    var annotations: [String: String] = [:]

    init(mediaType: String, digest: Digest, size: Int64, platform: Platform? = nil) {
        (self.mediaType, self.digest, self.size, self.platform) = (mediaType, digest, size, platform)
    }

    /// Reads a descriptor; `path` names it in errors, e.g. "manifest sha256:…: layers[2]".
    init(_ json: JSON, _ path: String) throws(ImageError) {
        guard json.object != nil else { throw invalidManifest(path, "want an object") }
        guard let type = json["mediaType"].string, !type.isEmpty else {
            throw invalidManifest(path + ".mediaType", "want a media type")
        }
        guard let text = json["digest"].string else { throw invalidManifest(path + ".digest", "want a digest") }
        guard let size = json["size"].int, size >= 0 else {
            throw invalidManifest(path + ".size", "want a number of bytes, 0 or more")
        }
        self.init(mediaType: type, digest: try Digest(text, in: path + ".digest"), size: size)
        let platform = json["platform"]
        if platform.object != nil {
            guard let os = platform["os"].string, let architecture = platform["architecture"].string else {
                throw invalidManifest(path + ".platform", "want os and architecture")
            }
            self.platform = Platform(
                os: os, architecture: architecture, variant: platform["variant"].string ?? "")
        } else if !platform.isNull {
            throw invalidManifest(path + ".platform", "want an object")
        }
        annotations = json["annotations"].stringMap
    }
}

func invalidManifest(_ path: String, _ reason: String) -> ImageError {
    ImageError(.invalidManifest, "\(path): \(reason)")
}

/// What a registry or an archive gives for a reference: one image, or a list of images by platform.
///
/// Sources: OCI image specification (manifest, image index), Docker image manifest version 2 schema 2. A document that
/// could be read as both (manifests and layers side by side), or whose mediaType disagrees with the header it came
/// with, is refused: different clients would run different images for one digest.
enum ManifestDocument: Sendable, Equatable {
    case image(ImageManifest)
    case index([Descriptor])

    /// Manifests are small; containerd's and Docker's own limit is the same.
    static let maxBytes = 4 << 20
    static let maxLayers = 500

    /// `mediaType` is what the header or descriptor said, nil if nothing did.
    init(_ bytes: [UInt8], mediaType: String?, name: String) throws(ImageError) {
        let json = try Self.parse(bytes, name)
        guard let root = json.object else { throw invalidManifest(name, "want a JSON object") }
        let declared = json["mediaType"]
        guard declared.isNull || declared.string != nil else {
            throw invalidManifest(name + ": mediaType", "want a string")
        }
        if let version = json["schemaVersion"].int, version == 1 {
            throw ImageError(
                .unsupported,
                "\(name): Docker image manifest schema 1 is not supported: rebuild or push the image again")
        }
        guard json["schemaVersion"].isNull || json["schemaVersion"].int == 2 else {
            throw invalidManifest(name + ": schemaVersion", "want 2")
        }
        let known = mediaType.flatMap { MediaType.isIndex($0) || MediaType.isManifest($0) ? $0 : nil }
        if let known, let inside = declared.string, inside != known {
            throw invalidManifest(
                name, "media type \"\(clipped(inside))\" in the document, but it was served as \"\(known)\"")
        }
        let isIndex: Bool
        if let type = declared.string ?? known {
            guard MediaType.isIndex(type) || MediaType.isManifest(type) else {
                throw ImageError(
                    .unsupported,
                    "\(name): unsupported media type \"\(clipped(type))\": want an image manifest or index")
            }
            isIndex = MediaType.isIndex(type)
        } else {
            // OCI allows to leave mediaType out; then the members decide.
            isIndex = root["manifests"] != nil
        }
        let foreign = isIndex ? ["layers", "config", "fsLayers"] : ["manifests", "fsLayers"]
        if let member = foreign.first(where: { root[$0] != nil }) {
            throw invalidManifest(
                name, "unexpected member \"\(member)\" in an image \(isIndex ? "index" : "manifest")")
        }
        if isIndex {
            guard let list = json["manifests"].array else {
                throw invalidManifest(name + ": manifests", "want a list")
            }
            guard list.count <= 1000 else { throw invalidManifest(name + ": manifests", "more than 1000 entries") }
            var manifests: [Descriptor] = []
            for (position, item) in list.enumerated() {
                manifests.append(try Descriptor(item, "\(name): manifests[\(position)]"))
            }
            self = .index(manifests)
        } else {
            self = .image(try ImageManifest(json, name))
        }
    }

    /// Strict parsing: bounded size and depth, and no key given twice.
    static func parse(_ bytes: [UInt8], _ name: String) throws(ImageError) -> JSON {
        guard bytes.count <= maxBytes else {
            throw invalidManifest(name, "larger than \(maxBytes) bytes")
        }
        var duplicates: [String] = []
        let json: JSON
        do throws(JSONError) {
            json = try JSON.parse(bytes, limits: .init(depth: 64, values: 100_000), duplicates: &duplicates)
        } catch {
            throw invalidManifest(name, "not JSON: \(error)")
        }
        if let key = duplicates.first { throw invalidManifest(name, "member \"\(clipped(key))\" is given twice") }
        return json
    }

    /// The entry for a machine of `platform`: the best match, and of equal ones the first. Entries without a platform
    /// come last, and attestations ("unknown/unknown") never.
    static func choose(_ manifests: [Descriptor], for platform: Platform) -> Descriptor? {
        var best: (rank: Int, descriptor: Descriptor)?
        for descriptor in manifests where MediaType.isManifest(descriptor.mediaType) {
            let rank: Int
            if let candidate = descriptor.platform {
                guard let match = platform.rank(candidate) else { continue }
                rank = match
            } else {
                rank = Int(Int32.max)
            }
            if rank < best?.rank ?? Int.max { best = (rank, descriptor) }
        }
        return best?.descriptor
    }
}

/// An image: its configuration and its layers, lowest first.
struct ImageManifest: Sendable, Equatable {
    var config: Descriptor
    var layers: [Descriptor]

    init(_ json: JSON, _ name: String) throws(ImageError) {
        config = try Descriptor(json["config"], "\(name): config")
        guard MediaType.isConfig(config.mediaType) else {
            throw ImageError(
                .unsupported,
                "\(name): config: unsupported media type \"\(clipped(config.mediaType))\": this is not a container image"
            )
        }
        guard config.size <= ImageDocument.maxBytes else {
            throw invalidManifest("\(name): config.size", "larger than \(ImageDocument.maxBytes) bytes")
        }
        guard let list = json["layers"].array else { throw invalidManifest("\(name): layers", "want a list") }
        guard list.count <= ManifestDocument.maxLayers else {
            throw invalidManifest("\(name): layers", "more than \(ManifestDocument.maxLayers) layers")
        }
        layers = []
        for (position, item) in list.enumerated() {
            let layer = try Descriptor(item, "\(name): layers[\(position)]")
            guard MediaType.isLayer(layer.mediaType) else {
                throw ImageError(
                    .unsupported,
                    "\(name): layers[\(position)]: unsupported media type \"\(clipped(layer.mediaType))\"")
            }
            layers.append(layer)
        }
    }
}
