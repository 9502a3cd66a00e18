import Codecs
import ControlPlane
import KubeAPI
import Synchronization
import Testing
import Transport

/// What client-go's typed clients ask for and get.
@Suite struct ProtobufResponseTests {
    static let maps = "/api/v1/namespaces/default/configmaps"
    static let accept: HTTPHeaderFields = ["Accept": "application/vnd.kubernetes.protobuf,application/json"]
    static let gvk = GroupVersionKind("", "v1", "ConfigMap")

    private func decode(_ answer: Cluster.Answer) throws -> JSON {
        #expect(answer.headers["Content-Type"] == "application/vnd.kubernetes.protobuf")
        return try Schema.shared.decodeProtobuf(answer.bytes, expecting: Self.gvk)
    }

    @Test func objectsAndListsBothWays() async throws {
        let cluster = try await Cluster()
        let object: JSON = [
            "kind": "ConfigMap", "apiVersion": "v1", "metadata": ["name": "a"], "data": ["k": "v"],
        ]
        let body = try #require(Schema.shared.encodeProtobuf(object))
        let made = try await cluster.send("POST", Self.maps, body, type: Schema.protobufType, headers: Self.accept)
        #expect(made.code == 201)
        let json = try decode(made)
        #expect(json["data"] == ["k": "v"] && json["metadata"]["name"] == "a")
        let plain = try await cluster.call("GET", Self.maps + "/a").json
        #expect(json["metadata"]["uid"] == plain["metadata"]["uid"])
        #expect(json["metadata"]["managedFields"][0]["fieldsV1"] == plain["metadata"]["managedFields"][0]["fieldsV1"])
        let list = try decode(try await cluster.call("GET", Self.maps, headers: Self.accept))
        #expect(list["kind"] == "ConfigMapList" && list["items"].elements.count == 1)
        #expect(list["items"][0]["data"] == ["k": "v"])
        #expect(list["metadata"]["resourceVersion"].string.flatMap { Int64($0) } ?? 0 > 0)
        let partial = try decode(
            try await cluster.call(
                "GET", Self.maps + "/a",
                headers: ["Accept": "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"]))
        #expect(partial["kind"] == "PartialObjectMetadata" && partial["metadata"]["name"] == "a")
        #expect(partial["data"].isNull)
    }

    @Test func failuresAreStatusMessages() async throws {
        let cluster = try await Cluster()
        let answer = try await cluster.call("GET", Self.maps + "/none", headers: Self.accept)
        #expect(answer.code == 404)
        let status = try decode(answer)
        #expect(status["kind"] == "Status" && status["reason"] == "NotFound" && status["code"] == 404)
        #expect(status["details"]["name"] == "none")
        let deleted = try await cluster.call("POST", Self.maps, ["metadata": ["name": "a"]])
        #expect(deleted.code == 201)
        let gone = try decode(try await cluster.call("DELETE", Self.maps + "/a", headers: Self.accept))
        #expect(gone["kind"] == "Status" && gone["status"] == "Success")
    }

    @Test func tablesFallBackToJSON() async throws {
        let cluster = try await Cluster()
        let answer = try await cluster.call(
            "GET", Self.maps,
            headers: [
                "Accept":
                    "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1;g=meta.k8s.io"
            ])
        #expect(answer.code == 200 && answer.json["kind"] == "Table")
        let refused = try await cluster.call(
            "GET", Self.maps, headers: ["Accept": "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io"])
        #expect(refused.code == 406)
        #expect(
            refused.message
                == "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"
        )
        let cbor = try await cluster.call("GET", Self.maps, headers: ["Accept": "application/cbor"])
        #expect(cbor.code == 406)
    }

    @Test func watchesAreFramesWithTheirLength() async throws {
        let cluster = try await Cluster()
        _ = try await cluster.call("POST", Self.maps, ["metadata": ["name": "a"], "data": ["k": "v"]])
        let request = try HTTPRequest(
            method: "GET", target: Self.maps + "?watch=true&timeoutSeconds=1", headers: Self.accept)
        let response = await cluster.server.handler(request)
        #expect(response.headers["Content-Type"] == "application/vnd.kubernetes.protobuf;stream=watch")
        guard case .stream(_, let run) = response.body else {
            Issue.record("no stream")
            return
        }
        let (stream, continuation) = AsyncStream<[UInt8]>.makeStream()
        let task = Task { try await run(HTTPBodyWriter { bytes in continuation.yield(Array(bytes)) }) }
        defer { task.cancel() }
        var iterator = stream.makeAsyncIterator()
        let frame = try #require(await iterator.next())
        let length = frame[..<4].reduce(0) { $0 << 8 | Int($1) }
        #expect(length == frame.count - 4)
        var event = ProtobufReader(frame[4...])
        var type = ""
        var object: [UInt8] = []
        while let (number, value) = try event.next() {
            guard case .bytes(let bytes) = value else { continue }
            if number == 1 { type = String(decoding: bytes, as: UTF8.self) }
            if number == 2 {
                var raw = ProtobufReader(bytes)
                while let (inner, value) = try raw.next() {
                    if inner == 1, case .bytes(let bytes) = value { object = Array(bytes) }
                }
            }
        }
        #expect(type == "ADDED")
        let json = try Schema.shared.decodeProtobuf(object, expecting: Self.gvk)
        #expect(json["kind"] == "ConfigMap" && json["data"] == ["k": "v"])
        let yaml = try await cluster.call("GET", Self.maps + "?watch=true", headers: ["Accept": "application/yaml"])
        #expect(yaml.code == 406)
    }
}
