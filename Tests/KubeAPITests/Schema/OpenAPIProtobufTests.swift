import Codecs
import Testing

@testable import KubeAPI

@Suite struct OpenAPIProtobufTests {
    /// A message's fields by number, in the order in which they stand.
    struct Message {
        var fields: [(Int, ArraySlice<UInt8>)] = []
        var numbers: [(Int, UInt64)] = []

        init(_ bytes: ArraySlice<UInt8>) throws {
            var reader = ProtobufReader(bytes)
            while let (number, value) = try reader.next() {
                switch value {
                case .bytes(let slice): fields.append((number, slice))
                case .varint(let n), .fixed64(let n): numbers.append((number, n))
                case .fixed32(let n): numbers.append((number, UInt64(n)))
                }
            }
        }

        func texts(_ number: Int) -> [String] {
            fields.filter { $0.0 == number }.map { String(decoding: $0.1, as: UTF8.self) }
        }
        func text(_ number: Int) -> String? { texts(number).last }
        func messages(_ number: Int) throws -> [Message] {
            try fields.filter { $0.0 == number }.map { try Message($0.1) }
        }
        func message(_ number: Int) throws -> Message { try #require(try messages(number).last) }

        /// NamedAny's of a field, their YAML parsed.
        func extensions(_ number: Int) throws -> [String: JSON] {
            var found: [String: JSON] = [:]
            for named in try messages(number) {
                let text = try #require(try named.message(2).text(2))
                found[try #require(named.text(1))] = try YAML.parse(Array(text.utf8))
            }
            return found
        }
    }

    private func document(_ schema: Schema = .shared) throws -> Message {
        let chunks = try #require(OpenAPI(schema, version: "v1.36.0").document(.v2, as: .protobuf))
        var bytes: [UInt8] = []
        for chunk in chunks {
            #expect(chunk.count < 96 * 1024)
            bytes += chunk
        }
        return try Message(bytes[...])
    }

    private func definitions(_ document: Message) throws -> [String: Message] {
        var found: [String: Message] = [:]
        for part in try document.messages(9) {
            for named in try part.messages(1) { found[try #require(named.text(1))] = try named.message(2) }
        }
        return found
    }

    private func paths(_ document: Message) throws -> [String: Message] {
        var found: [String: Message] = [:]
        for part in try document.messages(8) {
            for named in try part.messages(2) { found[try #require(named.text(1))] = try named.message(2) }
        }
        return found
    }

    @Test func documentSaysWhatItIs() throws {
        let document = try document()
        #expect(document.text(1) == "2.0")
        #expect(try document.message(2).text(1) == "Kubernetes")
        #expect(try document.message(2).text(2) == "v1.36.0")
        let key = try document.message(13).message(1).message(2).message(2)
        #expect((1...3).map { key.text($0) } == ["apiKey", "authorization", "header"])
    }

    @Test func kindsAreInVendorExtensions() throws {
        let deployment = try #require(try definitions(document())["io.k8s.api.apps.v1.Deployment"])
        #expect(
            try deployment.extensions(31)["x-kubernetes-group-version-kind"] == [
                ["group": "apps", "kind": "Deployment", "version": "v1"]
            ])
        #expect(try deployment.message(22).texts(1) == ["object"])
    }

    @Test func everyDefinitionAndPropertyOfTheJSONFormIsThere() throws {
        let chunks = try #require(OpenAPI(version: "v1.36.0").document(.v2))
        let json = try JSON.parse(chunks.reduce(into: []) { $0 += $1 })
        let found = try definitions(document())
        let wanted = json["definitions"].object ?? [:]
        #expect(Set(found.keys) == Set(wanted.keys))
        for (name, schema) in wanted {
            let message = try #require(found[name])
            let properties = try message.messages(25).first?.messages(1) ?? []
            #expect(properties.compactMap { $0.text(1) } == schema["properties"].object?.keys ?? [], "\(name)")
            #expect(message.texts(19) == schema["required"].elements.compactMap(\.string), "\(name)")
            for property in properties {
                let key = try #require(property.text(1))
                let value = try property.message(2)
                let other = schema["properties"][key]
                #expect(value.text(1) == other["$ref"].string, "\(name).\(key)")
                #expect(try value.messages(22).first?.text(1) == other["type"].string, "\(name).\(key)")
                #expect(try value.messages(23).count == (other["items"].isNull ? 0 : 1), "\(name).\(key)")
                let extensions = (other.object ?? [:]).filter { $0.key.hasPrefix("x-") }
                #expect(
                    try value.extensions(31) == Dictionary(extensions.map { ($0.key, $0.value) }) { $1 },
                    "\(name).\(key)")
            }
        }
        #expect(Set(try paths(document()).keys) == Set(json["paths"].object?.keys ?? []))
    }

    @Test func mapsListsAndDefaultsHaveTheirForms() throws {
        let all = try definitions(document())
        func property(_ type: String, _ name: String) throws -> Message {
            let named = try #require(all[type]).message(25).messages(1).first { $0.text(1) == name }
            return try #require(named).message(2)
        }
        let data = try property("io.k8s.api.core.v1.Secret", "data")
        let value = try data.message(21).message(1)
        #expect(try value.message(22).text(1) == "string")
        #expect(value.text(2) == "byte")
        let containers = try property("io.k8s.api.core.v1.PodSpec", "containers")
        #expect(try containers.message(23).message(1).text(1) == "#/definitions/io.k8s.api.core.v1.Container")
        #expect(try containers.extensions(31)["x-kubernetes-patch-merge-key"] == "name")
        #expect(try containers.extensions(31)["x-kubernetes-patch-strategy"] == "merge")
        let `protocol` = try property("io.k8s.api.core.v1.ContainerPort", "protocol")
        #expect(try `protocol`.message(5).text(2) == "TCP\n")
        #expect(try `protocol`.messages(20).compactMap { $0.text(2) } == ["SCTP\n", "TCP\n", "UDP\n"])
    }

    /// What kubectl looks for to know whether the server validates fields.
    @Test func patchHasItsKindAndTheFieldValidationParameter() throws {
        let path = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
        let item = try #require(try paths(document())[path])
        let patch = try item.message(8)
        #expect(
            try patch.extensions(13)["x-kubernetes-group-version-kind"] == [
                "group": "apps", "kind": "Deployment", "version": "v1",
            ])
        let query = try patch.messages(8).compactMap { try $0.message(1).messages(2).first?.messages(3).first }
        #expect(query.contains { $0.text(4) == "fieldValidation" && $0.text(2) == "query" && $0.text(6) == "string" })
        let body = try patch.messages(8).compactMap { try $0.message(1).messages(1).first }
        #expect(
            try body.map { try $0.message(5).text(1) } == ["#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.Patch"])
        let answer = try patch.message(9).message(1)
        #expect(answer.text(1) == "200")
        #expect(
            try answer.message(2).message(1).message(2).message(1).text(1)
                == "#/definitions/io.k8s.api.apps.v1.Deployment")
        let own = try item.messages(9).compactMap { try $0.message(1).messages(2).first?.messages(4).first }
        #expect(own.map { $0.text(4) } == ["name", "namespace"])
    }

    @Test func customSchemasAreCutToWhatOpenAPI2CanSay() throws {
        let schema = Schema()
        var row = ResourceInfo(
            gvr: .init("example.com", "v1", "widgets"), kind: "Widget", singular: "widget", namespaced: true)
        row.openAPISchema = Array(
            """
            {"type":"object","properties":{"spec":{"type":"object","properties":{
            "size":{"type":"integer","minimum":1,"maximum":2.5,"maxLength":7,"oneOf":[{"minimum":3}]},
            "maybe":{"type":"string","nullable":true,"enum":["a"]},
            "port":{"x-kubernetes-int-or-string":true,"type":"string"},
            "any":{"type":"object","additionalProperties":true}}}},
            "x-kubernetes-group-version-kind":[{"group":"example.com","kind":"Widget","version":"v1"}]}
            """.utf8)
        schema.addResource(row)
        let widget = try #require(try definitions(document(schema))["com.example.v1.Widget"])
        #expect(
            try widget.extensions(31)["x-kubernetes-group-version-kind"] == [
                ["group": "example.com", "kind": "Widget", "version": "v1"]
            ])
        let spec = try widget.message(25).message(1).message(2)
        let members = try spec.message(25).messages(1)
        #expect(members.compactMap { $0.text(1) } == ["size", "maybe", "port", "any"])
        let size = try members[0].message(2)
        #expect(size.numbers.map(\.0) == [9, 7, 11])
        #expect(size.numbers.map(\.1) == [(1.0).bitPattern, (2.5).bitPattern, 7])
        #expect(size.fields.map(\.0) == [22])
        #expect(try members[1].message(2).fields.isEmpty)
        #expect(try members[2].message(2).fields.map(\.0) == [31])
        #expect(try members[3].message(2).message(21).numbers.map(\.1) == [1])
    }

    @Test func openAPI3HasNoProtobufForm() {
        #expect(OpenAPI(version: "v1.36.0").document(.v3(.core), as: .protobuf) == nil)
    }
}
