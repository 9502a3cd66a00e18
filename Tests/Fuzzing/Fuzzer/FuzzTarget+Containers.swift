import CShims
import Codecs
import Linux

@testable import Containers

/// Bytes in memory as a stream that gives a few at a time.
private final class MemorySource: ByteSource {
    private var bytes: ArraySlice<UInt8>
    init(_ bytes: [UInt8]) { self.bytes = bytes[...] }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
        let part = bytes.prefix(min(buffer.count, 777))
        buffer.copyBytes(from: part)
        bytes = bytes.dropFirst(part.count)
        return part.count
    }
}

extension FuzzTarget {
    /// One member "a/b" of three bytes, as ustar.
    private static let tar: [UInt8] = {
        var header = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, _ at: Int) { header.replaceSubrange(at..<at + text.utf8.count, with: text.utf8) }
        put("a/b", 0)
        put("0000644", 100)
        put("0000000", 108)
        put("0000000", 116)
        put("00000000003", 124)
        put("14000000000", 136)
        put("        ", 148)
        put("0", 156)
        put("ustar", 257)
        put("00", 263)
        let octal = String(header.reduce(0) { $0 + Int($1) }, radix: 8)
        put(String(repeating: "0", count: 6 - octal.utf8.count) + octal + "\0 ", 148)
        return header + Array("abc".utf8) + [UInt8](repeating: 0, count: 509 + 1024)
    }()

    /// Tar's checksum is over every byte of the header: without a mended one nothing beyond it would ever be reached.
    private static func mended(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        guard bytes.count >= 512 else { return bytes }
        bytes.replaceSubrange(148..<156, with: Array("        ".utf8))
        let octal = Array(String(bytes[..<512].reduce(0) { $0 + Int($1) }, radix: 8).utf8)
        bytes.replaceSubrange(
            148..<155, with: [UInt8](repeating: 48, count: 6 - min(6, octal.count)) + octal.suffix(6) + [0])
        return bytes
    }

    private static let launchPlan: [UInt8] = {
        var plan = LaunchPlan()
        plan.add(.mask("/proc/kcore"))
        plan.add(.changeDirectory("/"))
        plan.add(.execute(["sh"], environment: ["A=b"]))
        return (try? plan.encode()) ?? []
    }()

    private static func digest(_ digit: String) -> String { "sha256:" + String(repeating: digit, count: 64) }

    static let containers: [FuzzTarget] = [
        FuzzTarget(
            "tar", bytes: [tar, tar + tar], words: ["ustar", "././@LongLink", "30 mtime=1.5\n", "path=", "size="]
        ) { bytes in
            let reader = TarReader(MemorySource(mended(bytes)), name: "fuzz", maxEntries: 1000)
            while (try? reader.next()) ?? nil != nil {}
        },
        FuzzTarget(
            "image-manifest",
            seeds: [
                #"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":""#
                    + digest("a")
                    + #"","size":2},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":""#
                    + digest("b") + #"","size":3}]}"#,
                #"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":""#
                    + digest("c") + #"","size":4,"platform":{"os":"linux","architecture":"arm","variant":"v7"}}]}"#,
            ], words: ["sha256:", "\"size\":", "\"layers\":", "foreign"]
        ) { bytes in
            for type in [nil, "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"] {
                _ = try? ManifestDocument(bytes, mediaType: type, name: "fuzz")
            }
        },
        FuzzTarget(
            "image-configuration",
            seeds: [
                #"{"architecture":"arm64","os":"linux","config":{"User":"1000:1000","Env":["A=b"],"Entrypoint":["/x"],"Cmd":["y"],"WorkingDir":"/","ExposedPorts":{"80/tcp":{}},"Labels":{"a":"b"},"StopSignal":"SIGTERM"},"rootfs":{"type":"layers","diff_ids":[""#
                    + digest("d") + #""]},"history":[{"created":"2026-01-01T00:00:00Z","empty_layer":true}]}"#
            ]
        ) { _ = try? ImageDocument($0, name: "fuzz") },
        FuzzTarget(
            "image-reference",
            seeds: ["docker.io/library/busybox:1@" + digest("e"), "localhost:5000/a/b", "[::1]:5000/x:y"],
            words: ["@sha256:", ":", "/", "[", "]"]
        ) {
            guard let reference = try? ImageReference($0.asText) else { return }
            require((try? ImageReference(reference.description)) != nil, "own reference does not parse: \(reference)")
        },
        FuzzTarget(
            "registries",
            seeds: [
                "mirrors:\n  \"*\":\n    endpoint: [https://m.example:5000/v2]\n    rewrite: {\"^a/(.*)\": \"b/$1\"}\nconfigs:\n  m.example:\n    auth: {username: u, password: p}\n    tls: {insecure_skip_verify: true}\n"
            ],
            words: ["rewrite:", "endpoint:", "configs:", "\"^(.*)$\": \"$1\"", "("]
        ) { bytes in
            guard let document = try? YAML.parse(bytes) else { return }
            var warnings: [String] = []
            _ = try? RegistriesConfig(document, file: "fuzz", warnings: &warnings)
        },
        FuzzTarget(
            "seccomp",
            seeds: [
                #"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,"archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],"syscalls":[{"names":["read","clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}],"includes":{"caps":["CAP_SYS_ADMIN"],"minKernel":"4.8"}}]}"#
            ], words: ["SCMP_ACT_LOG", "\"excludes\":", "SCMP_CMP_NE"]
        ) { _ = try? SeccompProfile.parse($0, path: "fuzz") },
        FuzzTarget("shim-records", seeds: ["1 256 0 1700000000000000000 1700000001000000000"], words: [" ", "1 ", "-"])
        { bytes in
            _ = ShimProcess(id: "a", record: bytes)
        },
        FuzzTarget("launch-plan", bytes: [launchPlan]) { bytes in
            // What the shim is sent before it runs any of it.
            _ = bytes.withUnsafeBytes { k3s_plan_check($0.baseAddress, $0.count) }
        },
        FuzzTarget(
            "users", seeds: ["root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/u:\n\0wheel:x:10:user,root\n"],
            words: [":", "\n", "4294967296"]
        ) {
            let (passwd, group) = $0.halves
            let resolver = UserResolver(passwd: passwd.asText, group: group.asText)
            for user in ["", "user", "1000:wheel", "4294967296"] {
                _ = try? resolver.resolve(image: user, security: .init())
            }
        },
    ]
}
