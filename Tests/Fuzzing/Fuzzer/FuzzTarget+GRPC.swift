import Codecs
import Linux

@testable import GRPC

extension FuzzTarget {
    private static let callHeaders = [
        GRPCHeader(":method", "POST"), GRPCHeader(":scheme", "http"), GRPCHeader(":path", "/a.B/C"),
        GRPCHeader(":authority", "localhost"), GRPCHeader("content-type", "application/grpc"),
    ]

    /// What a client says first, and what a server says to it.
    private static let conversation: (client: [UInt8], server: [UInt8]) = {
        let client = HTTP2Session(server: false)
        let server = HTTP2Session(server: true)
        if let stream = client.request(callHeaders) {
            _ = client.enqueue(stream, [[0, 0, 0, 0, 3, 8, 1, 16]])
            client.finish(stream, trailers: nil)
        }
        let said = client.output()
        for event in (try? server.receive(said)) ?? [] {
            guard case .headers(let number, _, _) = event else { continue }
            server.respond(number, GRPCStream.answer)
            _ = server.enqueue(number, [[0, 0, 0, 0, 1, 9]])
            server.finish(number, trailers: GRPCStatus.ok.trailers)
        }
        return (said, server.output())
    }()

    /// Nothing goes over it.
    private static let idle: GRPCConnection? = {
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0 else { return nil }
        return (try? AsyncFD(FileDescriptor(owning: ends[0]))).map { GRPCConnection($0, accept: nil) }
    }()

    private static let table = try? ProtobufTable(
        "A text=1s flag=2b count=3i size=4u ratio=5d bytes=6y map=7m one=8:A many=9*:A texts=10*s counts=11*i flags=12*b"
    )

    private static func answer(_ session: HTTP2Session, _ bytes: [UInt8]) {
        // In pieces: a frame may be cut anywhere.
        for piece in [bytes.prefix(bytes.count / 2), bytes.dropFirst(bytes.count / 2)] {
            guard let events = try? session.receive(Array(piece)) else { break }
            for event in events + session.takeEvents() {
                if case .data(let number, let data) = event { session.consumed(number, data.count) }
                if case .headers(let number, let fields, _) = event, fields.value(":path") != nil {
                    session.respondOnly(number, GRPCStatus(.unimplemented, "no").trailers + GRPCStream.answer)
                }
            }
            _ = session.output()
        }
    }

    static let grpc: [FuzzTarget] = [
        FuzzTarget("http2-server", bytes: [conversation.client]) { answer(HTTP2Session(server: true), $0) },
        FuzzTarget("http2-client", bytes: [conversation.server]) { bytes in
            let session = HTTP2Session(server: false)
            _ = session.request(callHeaders)
            _ = session.output()
            answer(session, bytes)
        },
        FuzzTarget("grpc-messages", bytes: [[0, 0, 0, 0, 2, 1, 2, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0]]) { bytes in
            guard let connection = idle else { return }
            let stream = GRPCStream(1, connection, request: [], ended: false)
            var (rest, given, allowed) = (bytes[...], 0, 0)
            while !rest.isEmpty, stream.refusal == nil {
                let piece = Array(rest.prefix(7))
                rest = rest.dropFirst(piece.count)
                given += piece.count
                allowed += stream.dataArrived(piece).1
                while let (_, more) = stream.takeMessage() { allowed += more }
            }
            require(allowed <= given, "a window of \(allowed) bytes for \(given)")
        },
        FuzzTarget(
            "grpc-status", seeds: ["5\u{0}not%20found%0A", "x\u{0}%zz%", "0\u{0}"], words: ["%", "%FF", "\u{0}"]
        ) { bytes in
            let (code, message) = bytes.halves
            let headers = [GRPCHeader("grpc-status", code.asText), GRPCHeader("grpc-message", message.asText)]
            guard let status = GRPCStatus(headers) else { return }
            require(
                GRPCStatus.percentDecoded(GRPCStatus.percentEncoded(status.message)).utf8.count <= 8192 * 3,
                "a message that grows")
            _ = GRPCTimeout.parse(code.asText)
        },
        FuzzTarget(
            "protobuf-table",
            bytes: [
                [0x0a, 1, 0x61, 0x10, 1, 0x18, 0x96, 1, 0x20, 2, 0x29, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x32, 1, 0xff],
                [0x3a, 6, 0x0a, 1, 0x6b, 0x12, 1, 0x76, 0x42, 2, 0x10, 1, 0x4a, 0, 0x4a, 0, 0x52, 1, 0x7a],
                [0x5a, 3, 1, 2, 3, 0x62, 2, 1, 0],
            ]
        ) { bytes in
            guard let table, let value = try? table.decode("A", bytes) else { return }
            guard let again = try? table.encode("A", value) else { fatalError("its own value cannot be written") }
            // A size beyond 63 bits is the largest one that JSON has.
            guard let second = try? table.decode("A", again) else { fatalError("its own bytes cannot be read") }
            require((try? table.encode("A", second)) == again, "another message the second time")
        },
    ]
}
