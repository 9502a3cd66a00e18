import Codecs
@testable import Containers
import Testing

@Suite struct ManifestTests {
    private func parse(_ json: JSON, as type: String? = nil) throws(ImageError) -> ManifestDocument {
        try ManifestDocument(json.encode(), mediaType: type, name: "manifest x")
    }
    private var sound: JSON {
        get throws { try JSON.parse(TestImage(files: ["a", "b"]).manifest) }
    }
    private func error(_ json: JSON, as type: String? = nil) -> ImageError? {
        do throws(ImageError) {
            _ = try parse(json, as: type)
            return nil
        } catch {
            return error
        }
    }

    @Test func imageManifestIsRead() throws {
        guard case .image(let manifest) = try parse(try sound) else { throw CommandFailure(text: "not an image") }
        #expect(manifest.layers.count == 2)
        #expect(manifest.config.digest.description == TestImage(files: ["a", "b"]).id)
    }

    @Test func mediaTypeMayBeMissingInside() throws {
        var json = try sound
        json["mediaType"] = .null
        _ = try parse(json, as: MediaType.ociManifest)
        _ = try parse(json)
    }

    @Test func servedTypeMustAgree() throws {
        let error = error(try sound, as: MediaType.ociIndex)
        #expect(error?.code == .invalidManifest)
        #expect(error?.message.contains("but it was served as") == true)
    }

    @Test func ambiguousDocumentsAreRefused() throws {
        var json = try sound
        json["manifests"] = []
        #expect(error(json)?.message.contains("unexpected member \"manifests\"") == true)
        let index = try JSON.parse(TestImage.index([TestImage(files: ["a"])]))
        var mixed = index
        mixed["layers"] = []
        #expect(error(mixed)?.message.contains("unexpected member \"layers\"") == true)
    }

    @Test func duplicateMembersAreRefused() throws {
        let text = "{\"schemaVersion\":2,\"config\":1,\"config\":2,\"layers\":[]}"
        let error = #expect(throws: ImageError.self) {
            try ManifestDocument(Array(text.utf8), mediaType: nil, name: "m")
        }
        #expect(error?.message.contains("\"config\" is given twice") == true)
    }

    @Test func badFieldsAreNamed() throws {
        func broken(_ change: (inout JSON) -> Void) throws -> String {
            var json = try sound
            change(&json)
            return error(json)?.message ?? "accepted"
        }
        #expect(try broken { $0["layers"] = "x" }.contains("manifest x: layers: want a list"))
        #expect(try broken { $0["config"] = .null }.contains("manifest x: config: want an object"))
        #expect(try broken { $0["config"]["size"] = -1 }.contains("config.size"))
        #expect(try broken { $0["config"]["digest"] = "sha256:zz" }.contains("config.digest: invalid digest"))
        #expect(try broken { $0["config"]["digest"] = "sha512:zz" }.contains("unsupported digest algorithm"))
        #expect(
            try broken { $0["config"]["mediaType"] = "application/x-helm" }.contains("this is not a container image"))
        #expect(try broken { $0["layers"][1]["mediaType"] = "text/html" }.contains("layers[1]: unsupported media type"))
        #expect(try broken { $0["layers"][1]["size"] = "5" }.contains("layers[1].size"))
        #expect(try broken { $0["schemaVersion"] = 1 }.contains("schema 1 is not supported"))
        #expect(try broken { $0["schemaVersion"] = 3 }.contains("schemaVersion: want 2"))
        #expect(try broken { $0["mediaType"] = 3 }.contains("mediaType: want a string"))
    }

    @Test func notJSONIsAnError() {
        #expect(throws: ImageError.self) { try ManifestDocument(Array("<html>".utf8), mediaType: nil, name: "m") }
        #expect(throws: ImageError.self) { try ManifestDocument([], mediaType: nil, name: "m") }
        let deep = [UInt8](repeating: UInt8(ascii: "["), count: 100_000)
        #expect(throws: ImageError.self) { try ManifestDocument(deep, mediaType: nil, name: "m") }
    }

    @Test func configurationIsRead() throws {
        let document = try ImageDocument(TestImage(files: ["a"]).document, name: "c")
        #expect(document.config.entrypoint == ["/bin/app"])
        #expect(document.config.cmd == ["--serve"])
        #expect(document.config.environment == ["PATH=/bin"])
        #expect(document.config.workingDirectory == "/srv")
        #expect(document.config.user == "7:8")
        #expect(document.platform.description == "linux/amd64")
    }

    @Test func configurationFieldsAreChecked() {
        func message(_ json: JSON) -> String {
            do throws(ImageError) {
                _ = try ImageDocument(json.encode(), name: "c")
                return "accepted"
            } catch {
                return error.message
            }
        }
        #expect(message(["config": ["Cmd": "sh"]]) == "c: config.Cmd: want a list of strings")
        #expect(message(["config": ["Cmd": ["a\u{0}b"]]]) == "c: config.Cmd: want a list of strings")
        #expect(message(["config": ["User": 0]]) == "c: config.User: want a string")
        #expect(message(["rootfs": ["type": "other"]]) == "c: rootfs.type: want \"layers\"")
        #expect(message(["rootfs": ["diff_ids": ["x"]]]).hasPrefix("c: rootfs.diff_ids[0]: invalid digest"))
        #expect(message([]) == "c: want a JSON object")
    }

    /// Values of the OCI specification's recipe, computed by hand with sha256sum.
    @Test func chainIDHashesTheChainBelow() throws {
        let a = "sha256:" + String(repeating: "a", count: 64)
        let b = "sha256:" + String(repeating: "b", count: 64)
        let json: JSON = ["rootfs": ["diff_ids": .strings([a, b])]]
        let chain = try ImageDocument(json.encode(), name: "c").chainIDs(TestSHA256.factory)
        #expect(chain[0].description == a)
        #expect(chain[1].description == TestSHA256.digest(Array("\(a) \(b)".utf8)))
    }
}
