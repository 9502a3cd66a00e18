import Codecs
import Containers

/// An image made of tar layers, as a registry serves it.
struct TestImage {
    var layers: [[UInt8]]
    /// As sent: the same, or compressed.
    var blobs: [[UInt8]]
    var architecture = "amd64"
    var variant = ""
    var config: JSON = [
        "Entrypoint": ["/bin/app"], "Cmd": ["--serve"], "Env": ["PATH=/bin"], "WorkingDir": "/srv", "User": "7:8",
    ]

    init(_ layers: [[UInt8]], blobs: [[UInt8]]? = nil) {
        self.layers = layers
        self.blobs = blobs ?? layers
    }

    /// One file per layer, named and filled after its text.
    init(files: [String]) {
        self.init(
            files.map { name in
                var tar = TarBuilder()
                tar.file(name, "content of \(name)")
                return tar.finished()
            })
    }

    var document: [UInt8] {
        var json: JSON = [
            "os": "linux", "architecture": .string(architecture), "config": config,
            "rootfs": ["type": "layers", "diff_ids": .strings(layers.map(TestSHA256.digest))],
        ]
        if !variant.isEmpty { json["variant"] = .string(variant) }
        return json.encode()
    }

    var id: String { TestSHA256.digest(document) }

    var manifest: [UInt8] {
        let json: JSON = [
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": [
                "mediaType": "application/vnd.oci.image.config.v1+json", "digest": .string(id),
                "size": .int(Int64(document.count)),
            ],
            "layers": .array(
                blobs.map { blob in
                    [
                        "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                        "digest": .string(TestSHA256.digest(blob)), "size": .int(Int64(blob.count)),
                    ]
                }),
        ]
        return json.encode()
    }

    var digest: String { TestSHA256.digest(manifest) }

    static func index(_ images: [TestImage]) -> [UInt8] {
        let json: JSON = [
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": .array(
                images.map { image in
                    [
                        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": .string(image.digest),
                        "size": .int(Int64(image.manifest.count)),
                        "platform": [
                            "os": "linux", "architecture": .string(image.architecture),
                            "variant": .string(image.variant),
                        ],
                    ]
                }),
        ]
        return json.encode()
    }
}
