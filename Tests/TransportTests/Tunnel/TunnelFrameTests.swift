import Testing

@testable import Transport

@Suite struct TunnelFrameTests {
    /// Made by hand from the rules of Go's varints: n becomes 2n, seven bits a byte, lowest first; 15000 is B0 EA 01.
    private static let golden: [(TunnelFrame, [UInt8])] = [
        (
            TunnelFrame(id: 1, connection: 2, kind: .data, payload: Array("hi".utf8)),
            [0x02, 0x04, 0x02, 0xB0, 0xEA, 0x01, 0x68, 0x69]
        ),
        (
            TunnelFrame(id: 300, connection: 1, kind: .connect, payload: Array("tcp/h:1".utf8)),
            [0xD8, 0x04, 0x02, 0x04, 0xB0, 0xEA, 0x01, 0x74, 0x63, 0x70, 0x2F, 0x68, 0x3A, 0x31]
        ),
        (
            TunnelFrame(id: 64, connection: 63, kind: .error, payload: Array("EOF".utf8)),
            [0x80, 0x01, 0x7E, 0x06, 0x45, 0x4F, 0x46]
        ),
        (TunnelFrame(id: -1, connection: 5, kind: .pause), [0x01, 0x0A, 0x0C]),
        (TunnelFrame(id: 2, connection: 5, kind: .resume), [0x04, 0x0A, 0x0E]),
        (
            .sync(id: 7, connections: [1, 258]),
            [0x0E, 0x00, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0]
        ),
        (
            TunnelFrame(id: .max, connection: .min, kind: .resume),
            [0xFE] + [UInt8](repeating: 0xFF, count: 8) + [0x01] + [UInt8](repeating: 0xFF, count: 9) + [0x01, 0x0E]
        ),
    ]

    @Test func bytesAreThoseOfTheSpecification() throws {
        for (frame, bytes) in Self.golden {
            #expect(frame.encoded == bytes)
            #expect(try TunnelFrame(decoding: bytes) == frame)
        }
        #expect(try TunnelFrame(decoding: Self.golden[5].1).connections == [1, 258])
    }

    @Test func everyTruncationOfTheHeaderIsRefused() {
        for (frame, bytes) in Self.golden {
            for count in 0..<frame.header.count {
                #expect(throws: TunnelError.self) { try TunnelFrame(decoding: Array(bytes.prefix(count))) }
            }
        }
    }

    @Test func malformedFramesAreRefused() {
        let eleven = [UInt8](repeating: 0x80, count: 10) + [0]
        let tooLarge = [UInt8](repeating: 0xFF, count: 9) + [2]
        for bytes in [eleven, tooLarge, [2, 2, 0x10, 1, 2, 3]] {
            #expect(throws: TunnelError.self) { try TunnelFrame(decoding: bytes) }
        }
        #expect(throws: TunnelError.unknownType(9)) { try TunnelFrame(decoding: [2, 2, 18]) }
        #expect(throws: TunnelError.unknownType(0)) { try TunnelFrame(decoding: [2, 2, 0]) }
        let long = TunnelFrame(id: 1, connection: 1, kind: .connect, payload: [UInt8](repeating: 97, count: 267))
        #expect(throws: TunnelError.self) { try TunnelFrame(decoding: long.encoded) }
    }

    @Test func longErrorTextIsCut() throws {
        let long = TunnelFrame(id: 1, connection: 1, kind: .error, payload: [UInt8](repeating: 97, count: 300))
        #expect(try TunnelFrame(decoding: long.encoded).payload.count == 100)
    }

    @Test func randomBytesNeverTrap() {
        var understood = 0
        for _ in 0..<50_000 {
            var bytes = (0..<Int.random(in: 0...40)).map { _ in UInt8.random(in: 0...255) }
            // Half of them begin as frames do.
            if Bool.random() { bytes = [2, 2, UInt8.random(in: 0...9) * 2] + bytes }
            guard let frame = try? TunnelFrame(decoding: bytes) else { continue }
            understood += 1
            #expect((try? TunnelFrame(decoding: frame.encoded)) == frame)
            if frame.kind == .connect { _ = try? TunnelAddress(decoding: frame.payload) }
        }
        #expect(understood > 100)
    }

    @Test func addresses() throws {
        #expect(
            try TunnelAddress(decoding: Array("tcp/127.0.0.1:10250".utf8))
                == TunnelAddress(host: "127.0.0.1", port: 10250))
        let six = try TunnelAddress(network: "tcp", address: "[fd00::1]:80")
        #expect(six.host == "fd00::1" && six.description == "tcp/[fd00::1]:80")
        for bad in ["", "tcp", "tcp/", "tcp/host", "tcp/host:", "tcp/host:99999", "tcp/fd00::1:80", "tcp/h:-1"] {
            #expect(throws: TunnelError.self) { try TunnelAddress(decoding: Array(bad.utf8)) }
        }
        #expect(throws: TunnelError.self) { try TunnelAddress(decoding: [0xFF, 0x2F, 0x3A, 0x31]) }
    }
}
