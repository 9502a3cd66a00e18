import Testing

@testable import Codecs

@Suite struct ProtobufTests {
    @Test func bytesAreThoseOfTheEncodingGuide() {
        var out = ProtobufWriter()
        out.int(1, 150)
        out.string(2, "testing")
        out.message(3) { $0.int(1, 150) }
        out.bool(4, true)
        #expect(
            out.bytes == [
                0x08, 0x96, 0x01, 0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6E, 0x67, 0x1A, 0x03, 0x08, 0x96, 0x01,
                0x20, 0x01,
            ])
    }

    @Test func zerosAreLeftOutButEmptyMessagesAndElementsAreNot() {
        var out = ProtobufWriter()
        out.int(1, 0)
        out.string(2, "")
        out.string(2, nil)
        out.bool(3, false)
        out.double(4, 0)
        #expect(out.bytes.isEmpty)
        out.message(5) { _ in }
        out.element(6, "")
        #expect(out.bytes == [0x2A, 0x00, 0x32, 0x00])
    }

    @Test func lengthsOfEverySizeAreReadBack() throws {
        for count in [0, 1, 127, 128, 129, 16_383, 16_384, 70_000] {
            let text = String(repeating: "x", count: count)
            var out = ProtobufWriter()
            out.message(1) { outer in
                outer.message(2) { $0.element(3, text) }
                outer.int(4, -1)
            }
            out.double(2000, -2.5)
            var reader = ProtobufReader(out.bytes[...])
            let first = try #require(try reader.next())
            guard case (1, .bytes(let outer)) = first else {
                Issue.record("not a message: \(first)")
                return
            }
            var inner = ProtobufReader(outer)
            guard case (2, .bytes(let message))? = try inner.next() else {
                Issue.record("no inner message")
                return
            }
            var innermost = ProtobufReader(message)
            guard case (3, .bytes(let read))? = try innermost.next() else {
                Issue.record("no text")
                return
            }
            #expect(read.count == count)
            guard case (4, .varint(let n))? = try inner.next() else {
                Issue.record("no number")
                return
            }
            #expect(Int64(bitPattern: n) == -1)
            guard case (2000, .fixed64(let bits))? = try reader.next() else {
                Issue.record("no double")
                return
            }
            #expect(Double(bitPattern: bits) == -2.5)
            let end = try reader.next()
            #expect(end == nil)
        }
    }
}
