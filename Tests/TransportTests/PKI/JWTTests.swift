import Codecs
import Linux
import Testing

@testable import Transport

@Suite struct JWTTests {
    private let claims = Array(#"{"sub":"system:serviceaccount:default:x"}"#.utf8)

    @Test func signedTokenVerifies() throws {
        let key = try PrivateKey.generate()
        let token = try JWT.sign(claims: claims, key: key)
        let other = try PrivateKey.generate().publicKey
        #expect(try JWTVerifier(keys: [other, key.publicKey]).verify(token) == claims)
        let header = try #require(Base64.decodeURL(token.prefix { $0 != "." }))
        #expect(
            String(decoding: header, as: UTF8.self) == #"{"alg":"ES256","kid":"\#(key.publicKey.keyID)"}"#)
        #expect(throws: JWTError.untrusted("the signature is of none of the 1 keys")) {
            try JWTVerifier(keys: [other]).verify(token)
        }
    }

    /// Signatures with leading zeros in r or s come up once in 128; all must have 64 bytes.
    @Test func signaturesHaveFixedWidth() throws {
        let key = try PrivateKey.generate()
        let verifier = JWTVerifier(keys: [key.publicKey])
        for number in 0..<600 {
            let token = try JWT.sign(claims: Array(#"{"n":\#(number)}"#.utf8), key: key)
            let signature = try #require(Base64.decodeURL(token.split(separator: ".")[2]))
            #expect(signature.count == 64)
            #expect(try verifier.verify(token) == Array(#"{"n":\#(number)}"#.utf8))
        }
    }

    @Test func keyIDSettlesTheKey() throws {
        let key = try PrivateKey.generate()
        let other = try PrivateKey.generate()
        let verifier = JWTVerifier(keys: [key.publicKey, other.publicKey])
        // Claims the id of `other`, signed by `key`.
        let header = Base64.encodeURL(#"{"alg":"ES256","kid":"\#(other.publicKey.keyID)"}"#.utf8)
        let parts = try JWT.sign(claims: claims, key: key).split(separator: ".")
        #expect(throws: JWTError.self) { try verifier.verify("\(header).\(parts[1]).\(parts[2])") }
    }

    @Test func algorithmOfTheHeaderDoesNotDecide() throws {
        let key = try PrivateKey.generate()
        let verifier = JWTVerifier(keys: [key.publicKey])
        let parts = try JWT.sign(claims: claims, key: key).split(separator: ".")
        for header in [#"{"alg":"none"}"#, #"{"alg":"HS256"}"#, #"{"alg":"RS256"}"#, #"{"alg":"ES256","crit":["x"]}"#] {
            #expect(throws: JWTError.self) {
                try verifier.verify("\(Base64.encodeURL(header.utf8)).\(parts[1]).\(parts[2])")
            }
        }
        let unsigned = Base64.encodeURL(#"{"alg":"none"}"#.utf8)
        #expect(throws: JWTError.self) { try verifier.verify("\(unsigned).\(parts[1]).") }
    }

    @Test func rsaAndWiderCurvesWork() throws {
        let directory = try PKITestDirectory()
        let file = directory.path + "/key"
        for (arguments, name) in [
            (["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], "RS256"),
            (["ecparam", "-name", "secp384r1", "-genkey", "-noout"], "ES384"),
            (["ecparam", "-name", "secp521r1", "-genkey", "-noout"], "ES512"),
        ] {
            #expect(try runTool(["openssl"] + arguments + ["-out", file]).status == 0)
            let key = try PrivateKey.load(file)
            let token = try JWT.sign(claims: claims, key: key)
            let header = try #require(Base64.decodeURL(token.prefix { $0 != "." }))
            #expect(String(decoding: header, as: UTF8.self).hasPrefix(#"{"alg":"\#(name)""#))
            #expect(try JWTVerifier(keys: [key.publicKey]).verify(token) == claims)
        }
    }

    /// RFC 7515, appendix A.3: a token and key of somebody else.
    @Test func tokenOfTheStandardVerifies() throws {
        let x = try #require(Base64.decodeURL("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"))
        let y = try #require(Base64.decodeURL("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"))
        let algorithm = DER.sequence([
            DER.objectIdentifier([0x2A, 0x86, 0x48, 0xCE, 0x3D, 2, 1]),
            DER.objectIdentifier([0x2A, 0x86, 0x48, 0xCE, 0x3D, 3, 1, 7]),
        ])
        let key = try PublicKey(
            der: DER.sequence([algorithm, DER.value(0x03, [0, 4] + x + y)]), what: "RFC 7515")
        let token =
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290"
            + "Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
        let claims = try JWTVerifier(keys: [key]).verify(token)
        #expect(String(decoding: claims, as: UTF8.self).hasPrefix(#"{"iss":"joe""#))
        let jwk = Dictionary(uniqueKeysWithValues: key.jwk.map { ($0.name, $0.value) })
        #expect(jwk["x"] == "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU" && jwk["crv"] == "P-256")
        #expect(jwk["y"] == "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" && jwk["kty"] == "EC")
    }

    @Test func damagedTokensAreRefused() throws {
        var generator = PKITestGenerator(seed: 3)
        let key = try PrivateKey.generate()
        let verifier = JWTVerifier(keys: [key.publicKey])
        let token = try JWT.sign(claims: claims, key: key)
        for _ in 0..<5_000 {
            let text = String(decoding: damaged(Array(token.utf8), using: &generator), as: UTF8.self)
            // The last characters' spare bits do not count, as in Go; the claims can never be others.
            if let read = try? verifier.verify(text) { #expect(read == claims) }
        }
        for text in ["", ".", "..", "...", "a.b.c", String(repeating: "A", count: 20_000)] {
            #expect(throws: JWTError.self) { try verifier.verify(text) }
        }
    }
}
