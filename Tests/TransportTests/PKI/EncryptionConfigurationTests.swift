import Codecs
import Testing

@testable import Transport

@Suite struct EncryptionConfigurationTests {
    static let key = Array(UInt8(0)..<32)
    static let message = Array(String(repeating: "The quick brown fox jumps over the lazy dog. ", count: 3).utf8)

    private func bytes(_ hex: String) -> [UInt8] {
        let digits = Array(hex.utf8).map { $0 < 58 ? $0 - 48 : $0 - 87 }
        return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }

    private func configuration(_ providers: String, resources: String = #"["secrets"]"#) throws
        -> EncryptionConfiguration
    {
        let text =
            #"{"kind":"EncryptionConfiguration","resources":[{"resources":\#(resources),"providers":[\#(providers)]}]}"#
        return try EncryptionConfiguration(Array(text.utf8), path: "test")
    }
    private func provider(_ name: String, _ key: String = "k", _ secret: [UInt8] = key) -> String {
        #"{"\#(name)":{"keys":[{"name":"\#(key)","secret":"\#(Base64.encode(secret))"}]}}"#
    }

    /// Made with PyNaCl: nonce, tag, message.
    @Test func secretboxIsNaCls() throws {
        let sealed = bytes(
            "6465666768696a6b6c6d6e6f707172737475767778797a7b382d31f4bc1f500ca4530b711b9e61d556d1fce94bc3a78adbdd41e658f3cd3858c540878ed3266bd52c2de26ff9e9fcc00ad4742e4de2c49179704c2047b500e1e1db7171ed193d718e246afbd4f11c63e13900b84f68e5cfea6dd234ab88b338f6f77e879b1465bcbbdd4f1dc694b393aa825b8dab55b06d5b19e4c47cff4d155fe56ab85d257b60f866c6c47db746c720697750e03d"
        )
        let stored = Array("k8s:enc:secretbox:v1:k:".utf8) + sealed
        #expect(try configuration(provider("secretbox")).open(stored, key: "/registry/secrets/a/b") == Self.message)
        #expect(try SecretBox.seal(Self.message[...], key: Self.key, nonce: sealed[..<24]) == Array(sealed[24...]))
    }

    /// Made with Python's cryptography: initialisation vector, message.
    @Test func aescbcIsAES256() throws {
        let sealed = bytes(
            "32333435363738393a3b3c3d3e3f4041849ba46505f593d7c5c014234a0078511f8c1cd6f197aecab70681df084707fbe5decf8aae204a1d20921e2bcf8a4d7ab4f79e7a63d4685adb7542e0c7dcbf9da924155b2cc493af5c3949d0f6c40c88780fe903751842d959d6eda02c879455edc334f3a7ba03fd79aaaf8d2f4b9f897d970113c02d6d774af3509c0388617570d11b9d209852fcc37ad28fb6f86d05"
        )
        let stored = Array("k8s:enc:aescbc:v1:k:".utf8) + sealed
        #expect(try configuration(provider("aescbc")).open(stored, key: "/registry/secrets/a/b") == Self.message)
    }

    @Test(arguments: ["aescbc", "secretbox"]) func whatIsSealedIsOpenedAndNothingElse(name: String) throws {
        let configuration = try configuration(provider(name))
        let key = "/registry/secrets/default/x"
        for length in [0, 1, 15, 16, 31, 32, 33, 64, 1000] {
            let value = [UInt8](repeating: 7, count: length)
            let sealed = try configuration.seal(value, key: key)
            #expect(String(decoding: sealed.prefix(30), as: UTF8.self).hasPrefix("k8s:enc:\(name):v1:"))
            #expect(try configuration.open(sealed, key: key) == value)
            #expect(try configuration.seal(value, key: key) != sealed)
            #expect(throws: PKIError.self) { try configuration.open(Array(sealed.dropLast()), key: key) }
        }
        #expect(try configuration.seal([1, 2], key: "/registry/configmaps/default/x") == [1, 2])
        let other = try self.configuration(provider(name, "other"))
        let sealed = try configuration.seal([1], key: key)
        #expect(throws: PKIError.self) { try other.open(sealed, key: key) }
    }

    @Test func keysRotate() throws {
        let (old, key) = (try configuration(provider("aescbc", "old")), "/registry/secrets/a/b")
        let sealed = try old.seal([1, 2, 3], key: key)
        let rotated = try configuration(
            provider("secretbox", "new", Self.key.reversed()) + "," + provider("aescbc", "old") + #",{"identity":{}}"#)
        #expect(try rotated.open(sealed, key: key) == [1, 2, 3])
        #expect(String(decoding: try rotated.seal([1], key: key).prefix(22), as: UTF8.self) == "k8s:enc:secretbox:v1:n")
        let identity = try configuration(#"{"identity":{}},"# + provider("aescbc", "old"))
        #expect(try identity.seal([1], key: key) == [1])
        #expect(try identity.open(sealed, key: key) == [1, 2, 3])
    }

    @Test func groupsAreMatched() throws {
        let configuration = try configuration(provider("aescbc"), resources: #"["deployments.apps","*.batch"]"#)
        #expect(try configuration.seal([1], key: "/registry/deployments.apps/a/b") != [1])
        #expect(try configuration.seal([1], key: "/registry/jobs.batch/a/b") != [1])
        #expect(try configuration.seal([1], key: "/registry/secrets/a/b") == [1])
    }

    @Test(arguments: [
        (#"{"kind":"Other"}"#, "test: kind: expected EncryptionConfiguration"),
        (#"{"kind":"EncryptionConfiguration"}"#, "test: resources: expected at least one"),
        (
            #"{"kind":"EncryptionConfiguration","resources":[{"resources":["a"],"providers":[{"kms":{}}]}]}"#,
            "test: resources[0].providers[0].kms: expected aescbc, secretbox or identity"
        ),
        (
            #"{"kind":"EncryptionConfiguration","resources":[{"resources":["a"],"providers":[{"aescbc":{"keys":[{"name":"x","secret":"c2hvcnQ="}]}}]}]}"#,
            "test: resources[0].providers[0].aescbc.keys[0].secret: expected base64 of 16, 24, 32 bytes"
        ),
    ])
    func whatIsWrongIsNamed(text: String, message: String) {
        let error = #expect(throws: PKIError.self) { try EncryptionConfiguration(Array(text.utf8), path: "test") }
        #expect(error?.description == message)
    }

    @Test func namesOfKeysMayHaveColons() throws {
        let configuration = try configuration(
            provider("aescbc", "key-2026-01-01T00:00:00Z", [UInt8](repeating: 1, count: 32)))
        let sealed = try configuration.seal([5], key: "/registry/secrets/a/b")
        #expect(sealed.starts(with: Array("k8s:enc:aescbc:v1:key-2026-01-01T00:00:00Z:".utf8)))
        #expect(try configuration.open(sealed, key: "/registry/secrets/a/b") == [5])
    }
}
