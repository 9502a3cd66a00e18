import Codecs
import Testing

@testable import KubeAPI

@Suite struct FieldSetTests {
    private func set(_ text: String) throws -> FieldSet {
        try #require(FieldSet(fieldsV1: try JSON.parse(text)))
    }

    @Test(arguments: [
        #"{}"#,
        #"{"f:data":{".":{},"f:a":{},"f:b":{}}}"#,
        #"{"f:spec":{"f:ports":{".":{},"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}},"k:{\"port\":443,\"protocol\":\"TCP\"}":{}}}}"#,
        #"{"f:metadata":{"f:finalizers":{".":{},"v:\"a/b\"":{}}},"f:x":{"i:0":{}}}"#,
        #"{"f:a.b/c \" \\ <&>":{}}"#,
    ])
    func wireFormIsKept(text: String) throws {
        let json = try JSON.parse(text)
        let set = try #require(FieldSet(fieldsV1: json))
        #expect(set.fieldsV1.text == json.text)
        let managed = ManagedFields([
            .init(.init("kubectl \"é\"", .update, "v1", subresource: "status"), time: 1_700_000_000, fields: set),
            .init(.init("other", .apply, "apps/v1"), time: nil, fields: set),
        ])
        let payload = StoredManagedFields.encode(managed)
        #expect(StoredManagedFields.decode(payload, payload.indices) == managed.sorted)
        // As it is put into an object's text without being decoded.
        let text = Array(#"{"metadata":{"name":"x"},"spec":{}}"#.utf8)
        var stored = text
        StoredManagedFields.append(payload: payload[...], text: text.count, place: 23, to: &stored)
        let object = EncodedObject(bytes: stored, resourceVersion: 1)
        #expect(try object.decode().json == JSON.parse(text))
        #expect(object.managedFields == managed.sorted)
        let shown = try JSON.parse(object.bytes)
        #expect(shown["metadata"]["managedFields"] == managed.json)
        #expect(shown["metadata"]["managedFields"].text == managed.json.text)
        #expect(shown["spec"] == [:])
    }

    @Test(arguments: [
        #"[]"#, #"{"x":{}}"#, #"{"f:a":1}"#, #"{"k:[]":{}}"#, #"{"v:}":{}}"#, #"{"i:x":{}}"#, #"{"k:{}":{}}"#,
    ])
    func otherFormsAreRefused(text: String) throws {
        #expect(FieldSet(fieldsV1: try JSON.parse(text)) == nil)
    }

    @Test func keysAreComparedWhateverTheirOrder() throws {
        let a = try set(#"{"k:{\"protocol\":\"TCP\",\"port\":80}":{}}"#)
        #expect(a == (try set(#"{"k:{\"port\":80,\"protocol\":\"TCP\"}":{}}"#)))
    }

    @Test func numbersInKeysSortAsNumbers() throws {
        let text = try set(#"{"k:{\"port\":443}":{},"k:{\"port\":80}":{},"k:{\"port\":8}":{}}"#).fieldsV1.text
        #expect(text == #"{"k:{\"port\":8}":{},"k:{\"port\":80}":{},"k:{\"port\":443}":{}}"#)
    }

    @Test func setsCombine() throws {
        let a = try set(#"{"f:a":{".":{},"f:x":{},"f:y":{}},"f:b":{}}"#)
        let b = try set(#"{"f:a":{"f:y":{},"f:z":{}},"f:c":{}}"#)
        #expect(a.union(b) == (try set(#"{"f:a":{".":{},"f:x":{},"f:y":{},"f:z":{}},"f:b":{},"f:c":{}}"#)))
        #expect(a.intersection(b) == (try set(#"{"f:a":{"f:y":{}}}"#)))
        #expect(a.subtracting(b) == (try set(#"{"f:a":{".":{},"f:x":{}},"f:b":{}}"#)))
        #expect(b.subtractingRecursively(FieldSet(fields: ["a"])) == (try set(#"{"f:c":{}}"#)))
        #expect(a.subtracting(a).isEmpty)
    }

    @Test func pathsAreShownAsConflictsNameThem() throws {
        let set = try set(
            #"{"f:spec":{"f:template":{"f:containers":{"k:{\"name\":\"web\"}":{"f:image":{}}}},"f:finalizers":{"v:\"a\"":{}},"f:replicas":{}}}"#
        )
        var paths: [String] = []
        set.forEach { paths.append($0.map(\.shown).joined()) }
        #expect(
            paths == [#".spec.replicas"#, #".spec.finalizers[="a"]"#, #".spec.template.containers[name="web"].image"#])
    }

    @Test func bytesCutAnywhereAreNoManagedFields() throws {
        let managed = ManagedFields([
            .init(.init("m", .update, "v1"), time: 5, fields: try set(#"{"f:data":{".":{},"f:key":{}}}"#))
        ])
        let payload = StoredManagedFields.encode(managed)
        for count in 0..<payload.count {
            #expect(StoredManagedFields.decode(Array(payload[..<count]), 0..<count) == nil)
        }
    }
}
