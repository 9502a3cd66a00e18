import Codecs
import Testing

@testable import ControlPlane

@Suite struct OpenAPIHandlerTests {
    private static let type = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    private static let oldType = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"

    @Test func goClientsGetProtobufUnderItsNewName() async throws {
        let cluster = try await Cluster()
        for accept in [Self.type, Self.oldType, Self.oldType + ", application/json"] {
            let answer = try await cluster.call("GET", "/openapi/v2", headers: ["Accept": accept])
            #expect(answer.code == 200, "\(accept)")
            #expect(answer.headers["Content-Type"] == Self.type)
            // Document.swagger: "2.0"
            #expect(answer.text.utf8.starts(with: [0x0A, 0x03, 0x32, 0x2E, 0x30]))
        }
        let json = try await cluster.call("GET", "/openapi/v2", headers: ["Accept": "application/json, " + Self.type])
        #expect(json.code == 200 && json.headers["Content-Type"] == "application/json")
    }

    @Test func eachFormHasItsETag() async throws {
        let cluster = try await Cluster()
        let json = try await cluster.call("GET", "/openapi/v2")
        let protobuf = try await cluster.call("GET", "/openapi/v2", headers: ["Accept": Self.oldType])
        let tag = try #require(protobuf.headers["ETag"])
        #expect(tag != json.headers["ETag"])
        let same = try await cluster.call(
            "GET", "/openapi/v2", headers: ["Accept": Self.oldType, "If-None-Match": tag])
        #expect(same.code == 304 && same.text.isEmpty)
        let other = try await cluster.call("GET", "/openapi/v2", headers: ["If-None-Match": tag])
        #expect(other.code == 200)
    }

    @Test func openAPI3AndUnknownFormsAreNotAcceptable() async throws {
        let cluster = try await Cluster()
        #expect(try await cluster.call("GET", "/openapi/v3/api/v1", headers: ["Accept": Self.type]).code == 406)
        #expect(try await cluster.call("GET", "/openapi/v2", headers: ["Accept": "text/html"]).code == 406)
    }
}
