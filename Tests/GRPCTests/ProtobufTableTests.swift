import Codecs
import Testing

@testable import GRPC

@Suite struct ProtobufTableTests {
    private static let text = """
        Node id=1i name=2s children=3*:Node tags=4m flags=5b numbers=6*i words=7*s raw=8y ratio=9d limit=10u meta=11:Meta
        Meta attempt=4u
        """

    private func table() throws -> ProtobufTable { try ProtobufTable(Self.text) }
    private func encode(_ value: JSON) throws -> [UInt8] { try table().encode("Node", value) }
    private func decode(_ bytes: [UInt8]) throws -> JSON { try table().decode("Node", bytes) }

    @Test func bytesAreThoseOfTheSpecification() throws {
        // The examples of protobuf.dev: 150 in field 1, "testing" in field 2.
        let bytes = try encode(["id": 150, "name": "testing"])
        #expect(bytes == [0x08, 0x96, 0x01, 0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67])
        // Packed [3, 270, 86942] in field 6.
        #expect(try encode(["numbers": [3, 270, 86942]]) == [0x32, 6, 3, 0x8e, 2, 0x9e, 0xa7, 5])
        #expect(try encode(["id": -1]) == [0x08] + Array(repeating: 0xFF, count: 9) + [1])
    }

    @Test func everyTypeComesBack() throws {
        let value: JSON = [
            "id": -7, "name": "ü", "children": [["id": 1], [:], ["name": "x"]], "tags": ["a": "1", "b": ""],
            "flags": true, "numbers": [1, -1, 300], "words": ["", "two"], "raw": .string(Base64.encode([0, 255])),
            "ratio": 0.5, "limit": 9_000_000_000, "meta": ["attempt": 3],
        ]
        let back = try decode(encode(value))
        #expect(back == value)
    }

    @Test func whatIsEmptyIsNotWrittenButMessagesAre() throws {
        #expect(try encode(["id": 0, "name": "", "flags": false, "words": [], "tags": [:]]) == [])
        #expect(try encode(["meta": [:]]) == [0x5A, 0])
        #expect(try decode([0x5A, 0])["meta"].object != nil)
    }

    @Test func unpackedNumbersAndUnknownFieldsAreRead() throws {
        let value = try decode([0x30, 3, 0x30, 4, 0xA2, 6, 1, 0, 0x08, 5])
        #expect(value["numbers"] == [3, 4])
        #expect(value["id"] == 5)
    }

    @Test(arguments: [[0x12, 5, 1], [0x12, 1, 0xFF], [0x10, 1], [0x32, 1, 0x80], [0x5A, 2, 0x12, 9]])
    func damagedMessagesAreAnError(_ bytes: [UInt8]) throws {
        let table = try table()
        #expect(throws: ProtobufError.self) { _ = try table.decode("Node", bytes) }
    }

    @Test func depthIsBounded() throws {
        var bytes: [UInt8] = []
        for _ in 0..<200 {
            var writer = ProtobufWriter()
            writer.bytes(3, bytes)
            bytes = writer.bytes
        }
        let table = try table()
        #expect(throws: ProtobufError.self) { _ = try table.decode("Node", bytes) }
    }

    @Test func memoryIsBounded() throws {
        // Two bytes each on the wire.
        let bytes = Array(repeatElement([0x1A, 0] as [UInt8], count: 1_100_000).joined())
        let table = try table()
        #expect(throws: ProtobufError.self) { _ = try table.decode("Node", bytes) }
    }

    @Test func aMemberThatNoFieldHasIsAnError() throws {
        let table = try table()
        #expect(throws: ProtobufError.self) { _ = try table.encode("Node", ["nmae": "x"]) }
        #expect(throws: ProtobufError.self) { _ = try table.encode("Node", ["name": 5]) }
        #expect(throws: ProtobufError.self) { try ProtobufTable("Node id=1z") }
        #expect(throws: ProtobufError.self) { try ProtobufTable("Node id=1:Missing") }
    }
}
