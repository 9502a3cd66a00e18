@testable import Containers
import Testing

@Suite struct ImageReferenceTests {
    static let hex = String(repeating: "0123456789abcdef", count: 4)

    @Test(arguments: [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("rancher/klipper-lb:v0.4.9", "docker.io/rancher/klipper-lb:v0.4.9"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/library/busybox:1", "docker.io/library/busybox:1"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("localhost:5000/a/b-c_d__e.f/g:T_1.x-y", "localhost:5000/a/b-c_d__e.f/g:T_1.x-y"),
        ("[::1]:5000/app:1", "[::1]:5000/app:1"),
        ("ghcr.io/a/b", "ghcr.io/a/b:latest"),
        ("Registry.Example/a", "Registry.Example/a:latest"),
        ("a---b", "docker.io/library/a---b:latest"),
        ("busybox@sha256:\(hex)", "docker.io/library/busybox@sha256:\(hex)"),
        ("quay.io/x/y:v1@sha256:\(hex)", "quay.io/x/y:v1@sha256:\(hex)"),
    ])
    func isNormalised(_ text: String, _ normalised: String) throws {
        #expect(try ImageReference(text).description == normalised)
    }

    @Test(arguments: [
        ("", "repository name must have at least one component"),
        ("Busybox", "repository name (Busybox) must be lowercase"),
        ("a/B/c", "must be lowercase"),
        ("a:b:c", "invalid reference format"),
        ("a:", "invalid reference format"),
        (":a", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("a/", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a___b", "invalid reference format"),
        ("a..b", "invalid reference format"),
        ("host:99999/a", "invalid reference format"),
        ("a b", "invalid reference format"),
        ("a\u{0}", "invalid reference format"),
        ("ä", "invalid reference format"),
        ("a@sha256:12", "invalid reference format"),
        ("a@sha512:\(hex)\(hex)", "unsupported digest algorithm"),
        ("a@", "invalid reference format"),
        ("a:-tag", "invalid reference format"),
        ("a:" + String(repeating: "t", count: 129), "invalid reference format"),
        (hex, "cannot specify 64-byte hexadecimal strings"),
        (String(repeating: "a", count: 250), "must not be more than 255 characters"),
        ("../../etc/passwd", "invalid reference format"),
    ])
    func isRefusedWithAReason(_ text: String, _ reason: String) {
        do throws(ImageError) {
            let reference = try ImageReference(text)
            Issue.record("\(text) was read as \(reference)")
        } catch {
            #expect(error.code == .invalidReference)
            #expect(error.message.hasPrefix("failed to parse image reference"))
            #expect(error.message.contains(reason), "\(error.message)")
        }
    }

    @Test func digestDecidesWhatIsAskedFor() throws {
        let reference = try ImageReference("a/b:tag@sha256:\(Self.hex)")
        #expect(reference.object == "sha256:" + Self.hex)
        #expect(reference.tagged == nil)
        #expect(try ImageReference("a/b:tag").tagged == "docker.io/a/b:tag")
        #expect(try ImageReference("a/b@sha256:\(Self.hex)").tagged == nil)
    }
}

@Suite struct DigestTests {
    @Test func testHashIsSHA256() {
        #expect(
            TestSHA256.digest(Array("abc".utf8))
                == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(
            TestSHA256.digest([UInt8](repeating: 0x61, count: 1_000_000))
                == "sha256:cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
    }

    @Test(arguments: ["", "sha256", "sha256:", "sha256:AB", "sha256:" + String(repeating: "A", count: 64), "md5:abc"])
    func badOnesAreRefused(_ text: String) {
        #expect(throws: ImageError.self) { try Digest(text) }
    }
}

@Suite struct PlatformTests {
    private func choose(_ host: Platform, _ offered: [Platform?]) -> Int? {
        let list = offered.enumerated().map { index, platform in
            Descriptor(
                mediaType: MediaType.ociManifest, digest: Digest(hash: [UInt8](repeating: UInt8(index), count: 32)),
                size: 1, platform: platform)
        }
        return ManifestDocument.choose(list, for: host).flatMap { list.firstIndex(of: $0) }
    }

    @Test func bestVariantWins() {
        let v5 = Platform(architecture: "arm", variant: "v5")
        let v6 = Platform(architecture: "arm", variant: "v6")
        let v7 = Platform(architecture: "arm", variant: "v7")
        let arm64 = Platform(architecture: "arm64", variant: "v8")
        let amd64 = Platform(architecture: "amd64")
        #expect(choose(v7, [amd64, v5, v6, v7, arm64]) == 3)
        #expect(choose(v7, [v5, v6]) == 1)
        #expect(choose(v6, [v7, v5]) == 1)
        #expect(choose(v6, [v7]) == nil)
        #expect(choose(arm64, [v7, Platform(architecture: "arm64")]) == 1)
        #expect(choose(arm64, [v6, v7]) == 1)
        #expect(choose(amd64, [arm64, v7]) == nil)
        #expect(choose(amd64, [Platform(os: "windows", architecture: "amd64"), amd64]) == 1)
        #expect(choose(amd64, [Platform(os: "unknown", architecture: "unknown")]) == nil)
        #expect(choose(amd64, [nil, amd64]) == 1)
        #expect(choose(amd64, [nil]) == 0)
        #expect(choose(v7, [Platform(architecture: "arm")]) == 0)
    }

    @Test func hostIsKnown() { #expect(Platform.host.architecture != "unknown") }
}
