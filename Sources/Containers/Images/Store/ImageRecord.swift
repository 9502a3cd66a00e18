import Codecs

/// What the image database keeps of one image: a small JSON file `images/<hex of the id>.json`.
struct ImageRecord: Sendable, Equatable {
    var id: Digest
    /// Sorted, normalised: "docker.io/library/busybox:1.36".
    var tags: [String] = []
    var digests: [String] = []
    var pinned = false
    var sizeBytes: Int64 = 0
    /// Chain ids of the layers, lowest first.
    var layers: [Digest] = []
    /// Index, manifest and configuration in the content store.
    var blobs: [Digest] = []
    var config = ImageConfig()

    init(id: Digest) { self.id = id }

    var info: ImageInfo {
        var info = ImageInfo()
        info.id = id.description
        info.tags = tags
        info.digests = digests
        info.sizeBytes = sizeBytes
        info.config = config
        info.pinned = pinned
        return info
    }

    func encode() -> [UInt8] {
        let document: JSON = [
            "version": 1,
            "id": .string(id.description),
            "tags": .strings(tags),
            "digests": .strings(digests),
            "pinned": .bool(pinned),
            "size": .int(sizeBytes),
            "layers": .strings(layers.map(\.description)),
            "blobs": .strings(blobs.map(\.description)),
            "config": [
                "entrypoint": .strings(config.entrypoint),
                "cmd": .strings(config.cmd),
                "environment": .strings(config.environment),
                "workingDirectory": .string(config.workingDirectory),
                "user": .string(config.user),
                "stopSignal": .string(config.stopSignal),
                "volumes": .strings(config.volumes),
                "labels": .map(config.labels),
            ],
        ]
        return document.encode()
    }

    init(_ bytes: [UInt8], file: String) throws(ImageError) {
        let json = try ManifestDocument.parse(bytes, file)
        guard json["version"].int == 1 else { throw invalidManifest("\(file): version", "want 1") }
        func strings(_ value: JSON) -> [String] { value.elements.compactMap(\.string) }
        func digests(_ value: JSON, _ name: String) throws(ImageError) -> [Digest] {
            var result: [Digest] = []
            for text in strings(value) { result.append(try Digest(text, in: "\(file): \(name)")) }
            return result
        }
        id = try Digest(json["id"].string ?? "", in: "\(file): id")
        tags = strings(json["tags"])
        self.digests = strings(json["digests"])
        pinned = json["pinned"].bool ?? false
        sizeBytes = json["size"].int ?? 0
        layers = try digests(json["layers"], "layers")
        blobs = try digests(json["blobs"], "blobs")
        let section = json["config"]
        config.entrypoint = strings(section["entrypoint"])
        config.cmd = strings(section["cmd"])
        config.environment = strings(section["environment"])
        config.workingDirectory = section["workingDirectory"].string ?? ""
        config.user = section["user"].string ?? ""
        config.stopSignal = section["stopSignal"].string ?? ""
        config.volumes = strings(section["volumes"])
        config.labels = section["labels"].stringMap
    }
}

/// What is known of an unpacked layer: `snapshots/<name>/layer.json`, renamed into place with the files it describes.
struct LayerRecord: Sendable, Equatable {
    var chain: Digest
    var diffID: Digest
    /// Bytes of file data on disk.
    var diskBytes: Int64
    /// The layers below do not show through at all.
    var hidesBelow: Bool

    /// Directory below `snapshots/`: short, because all layers of an image have to fit into the 4096 bytes of mount
    /// options. The full chain id inside is compared when the layer is used.
    static func directoryName(_ chain: Digest) -> String { String(chain.hex.prefix(24)) }

    func encode() -> [UInt8] {
        let document: JSON = [
            "version": 1, "chain": .string(chain.description), "diffID": .string(diffID.description),
            "diskBytes": .int(diskBytes), "hidesBelow": .bool(hidesBelow),
        ]
        return document.encode()
    }

    init(chain: Digest, diffID: Digest, diskBytes: Int64, hidesBelow: Bool) {
        (self.chain, self.diffID, self.diskBytes, self.hidesBelow) = (chain, diffID, diskBytes, hidesBelow)
    }

    init(_ bytes: [UInt8], file: String) throws(ImageError) {
        let json = try ManifestDocument.parse(bytes, file)
        guard json["version"].int == 1, let size = json["diskBytes"].int else {
            throw invalidManifest(file, "want version 1 with diskBytes")
        }
        self.init(
            chain: try Digest(json["chain"].string ?? "", in: "\(file): chain"),
            diffID: try Digest(json["diffID"].string ?? "", in: "\(file): diffID"), diskBytes: size,
            hidesBelow: json["hidesBelow"].bool ?? false)
    }
}
