import Codecs
import Linux
import Testing

@testable import KubeAPI

/// Our encoder against bytes that Google's wrote, and against our decoder for every kind.
@Suite struct ProtobufEncodingTests {
    struct Fixture: Sendable, CustomTestStringConvertible {
        let gvk: GroupVersionKind
        let message: [UInt8]
        var testDescription: String { "\(gvk)" }
    }

    /// Tests/Fixtures/protobuf/objects.tsv; make.py there made it.
    static let fixtures: [Fixture] = {
        let parts = #filePath.split(separator: "/").dropLast(3)
        let path = "/" + parts.joined(separator: "/") + "/Fixtures/protobuf/objects.tsv"
        guard let bytes = try? Files.read(path) else { return [] }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").compactMap { line in
            let columns = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            guard columns.count == 3, let gv = GroupVersion(columns[0]), let raw = Base64.decode(columns[2]) else {
                return nil
            }
            return Fixture(gvk: GroupVersionKind(gv, columns[1]), message: raw)
        }
    }()

    @Test func fixturesAreThere() { #expect(Self.fixtures.count > 60) }

    /// What another encoder wrote comes back: the same fields in the same order; ours has zeros beside them.
    @Test(arguments: fixtures) func foreignBytesComeBack(fixture: Fixture) throws {
        let schema = Schema.shared
        let envelope = Schema.envelope(fixture.gvk.groupVersion.description, fixture.gvk.kind, fixture.message)
        let json = try schema.decodeProtobuf(envelope, expecting: fixture.gvk)
        #expect(json["kind"].string == fixture.gvk.kind)
        let mine = try #require(schema.encodeProtobufMessage(json, as: fixture.gvk))
        try Wire.expectSame(fixture.message[...], mine[...], fixture.gvk.kind)
        // As the API takes it in and gives it out.
        let decoded = try schema.decode(json, as: fixture.gvk).json
        let again = try #require(schema.encodeProtobuf(decoded))
        let back = try schema.decode(try schema.decodeProtobuf(again, expecting: fixture.gvk), as: fixture.gvk).json
        #expect(back == decoded)
    }

    /// JSON with every field of a kind set, there and back.
    @Test func everyKindSurvivesBothWays() throws {
        let schema = Schema.shared
        var kinds = 0
        for row in schema.resources {
            guard let name = row.typeName, let type = schema.type(named: name), !name.hasPrefix("metrics") else {
                continue
            }
            var object = Self.sample(type, schema, inside: [])
            object["kind"] = .string(row.kind)
            object["apiVersion"] = .string(row.gvr.groupVersion.description)
            let decoded = try schema.decode(object, as: row.gvk).json
            guard let bytes = schema.encodeProtobuf(decoded) else { continue }
            let json = try schema.decodeProtobuf(bytes, expecting: row.gvk)
            let back = try schema.decode(json, as: row.gvk).json
            if Self.withoutEmbeddedKinds(back) != Self.withoutEmbeddedKinds(decoded) {
                Issue.record("\(row.gvk) came back as another object")
            }
            kinds += 1
        }
        #expect(kinds > 60)
    }

    /// Objects in objects have no kind in protobuf.
    private static func withoutEmbeddedKinds(_ json: JSON, isRoot: Bool = true) -> JSON {
        switch json {
        case .array(let list): .array(list.map { withoutEmbeddedKinds($0, isRoot: false) })
        case .object(let object):
            .object(
                JSONObject(
                    members: object.members.filter {
                        isRoot || !($0.key == "kind" || $0.key == "apiVersion") || object["metadata"] == nil
                    }.map { (key: $0.key, value: withoutEmbeddedKinds($0.value, isRoot: false)) }))
        default: json
        }
    }

    /// Every field set; a type that holds itself is not entered again.
    private static func sample(_ type: TypeSchema, _ schema: Schema, inside: [TypeID]) -> JSON {
        var object = JSONObject()
        for field in type.fields {
            if let value = sample(field.type, schema, inside: inside + [type.id], salt: field.name) {
                object[field.name] = value
            }
        }
        return .object(object)
    }

    private static func sample(_ type: ValueType, _ schema: Schema, inside: [TypeID], salt: String) -> JSON? {
        switch type {
        case .string, .named: return .string(salt)
        case .bool: return true
        case .int32, .int64: return .int(Int64(salt.utf8.count) * 7)
        case .double: return 2.5
        case .bytes: return "AQID"
        case .time: return "2024-05-06T07:08:09Z"
        case .microTime: return "2024-05-06T07:08:09.123456Z"
        case .duration: return "1h30m0s"
        case .quantity: return "150Mi"
        case .intOrString: return "25%"
        case .rawExtension, .fieldsV1, .any: return ["f:x": [:]]
        case .schemaOrBool: return true
        case .schemaOrArray, .schemaOrStrings: return nil
        case .object(let id):
            return inside.contains(id) ? JSON?.none : sample(schema.type(id), schema, inside: inside)
        case .array(let element):
            return sample(element, schema, inside: inside, salt: salt).map { .array([$0]) }
        case .map(let element):
            return sample(element, schema, inside: inside, salt: salt).map { ["a": $0, "b": $0] }
        }
    }

    @Test func goldenConfigMap() throws {
        let object: JSON = [
            "kind": "ConfigMap", "apiVersion": "v1", "metadata": ["name": "a", "creationTimestamp": nil],
            "data": ["k": "v"],
        ]
        let bytes = try #require(Schema.shared.encodeProtobuf(object))
        // Magic; type; raw: metadata with its plain fields, empty or not, then data.
        #expect(
            bytes == [
                0x6B, 0x38, 0x73, 0x00, 0x0A, 0x0F, 0x0A, 0x02, 0x76, 0x31, 0x12, 0x09, 0x43, 0x6F, 0x6E, 0x66, 0x69,
                0x67, 0x4D, 0x61, 0x70, 0x12, 0x1B, 0x0A, 0x11, 0x0A, 0x01, 0x61, 0x12, 0x00, 0x1A, 0x00, 0x22, 0x00,
                0x2A, 0x00, 0x32, 0x00, 0x38, 0x00, 0x42, 0x00, 0x12, 0x06, 0x0A, 0x01, 0x6B, 0x12, 0x01, 0x76, 0x1A,
                0x00, 0x22, 0x00,
            ])
    }

    @Test func listsAreTheirPiecesPutTogether() throws {
        let gvk = GroupVersionKind("", "v1", "ConfigMap")
        let item: JSON = ["metadata": ["name": "a"], "data": ["k": "v"]]
        let piece = try #require(Schema.shared.encodeProtobufItem(item, as: gvk))
        let (head, tail) = try #require(
            Schema.shared.encodeProtobufListFrame(
                gvk, listKind: "ConfigMapList", metadata: ["resourceVersion": "7"], itemBytes: piece.count * 2))
        let json = try Schema.shared.decodeProtobuf(head + piece + piece + tail, expecting: gvk)
        #expect(json["kind"] == "ConfigMapList" && json["metadata"]["resourceVersion"] == "7")
        #expect(json["items"].elements.map { $0["data"] } == [["k": "v"], ["k": "v"]])
    }
}

/// Protobuf messages compared without a schema.
enum Wire {
    private static func fields(_ bytes: ArraySlice<UInt8>) -> [(number: Int, value: ProtobufReader.Value)]? {
        var reader = ProtobufReader(bytes)
        var out: [(Int, ProtobufReader.Value)] = []
        do {
            while let (number, value) = try reader.next() {
                guard number > 0 else { return nil }
                out.append((number, value))
            }
        } catch {
            return nil
        }
        return out
    }

    private static func isZero(_ value: ProtobufReader.Value) -> Bool {
        switch value {
        case .varint(let n): return n == 0
        case .fixed64(let n): return n == 0
        case .bytes(let bytes):
            // A quantity's zero is a text.
            if bytes.elementsEqual([0x30]) { return true }
            guard let inner = fields(bytes) else { return false }
            return inner.allSatisfy { isZero($0.value) }
        default: return false
        }
    }

    /// Every field of `theirs` is in `mine`, in its order; what `mine` has beside them is zero.
    static func expectSame(_ theirs: ArraySlice<UInt8>, _ mine: ArraySlice<UInt8>, _ path: String) throws {
        if theirs.elementsEqual(mine) { return }
        let expected = try #require(fields(theirs), "\(path)")
        let found = try #require(fields(mine), "\(path)")
        var i = 0
        for (number, value) in expected {
            while i < found.count, found[i].number != number {
                #expect(isZero(found[i].value), "\(path): field \(found[i].number) came out of nothing")
                i += 1
            }
            guard i < found.count else {
                Issue.record("\(path): field \(number) is lost")
                return
            }
            switch (value, found[i].value) {
            case (.varint(let a), .varint(let b)): #expect(a == b, "\(path).\(number)")
            case (.fixed64(let a), .fixed64(let b)): #expect(a == b, "\(path).\(number)")
            case (.bytes(let a), .bytes(let b)): try expectSame(a, b, "\(path).\(number)")
            default: Issue.record("\(path).\(number): another wire type")
            }
            i += 1
        }
        for rest in found[i...] { #expect(isZero(rest.value), "\(path): field \(rest.number) came out of nothing") }
    }
}
