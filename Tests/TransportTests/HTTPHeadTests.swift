import NIOCore
import Testing

@testable import Transport

@Suite struct HTTPHeadTests {
    private func request(_ text: String, limit: Int = 1000) throws -> HTTPRequestHead? {
        var scanner = HTTPHeadScanner(limit: limit)
        var buffer = ByteBuffer(string: text)
        return try scanner.nextRequest(&buffer)
    }

    @Test func requestIsTheSameHoweverItIsSplit() throws {
        let text = "\r\nPATCH /a?b=c HTTP/1.1\r\nHost: x\r\nEmpty:\r\nSpaced: \t two words \t\r\n\r\nrest"
        let bytes = Array(text.utf8)
        for split in 0...bytes.count {
            var scanner = HTTPHeadScanner(limit: 1000)
            var buffer = ByteBuffer(bytes: bytes[..<split])
            var head = try scanner.nextRequest(&buffer)
            buffer.writeBytes(bytes[split...])
            if head == nil { head = try scanner.nextRequest(&buffer) }
            let found = try #require(head)
            #expect(found.method == "PATCH" && found.target == "/a?b=c" && found.minorVersion == 1)
            #expect(found.headers == ["Host": "x", "Empty": "", "Spaced": "two words"])
            #expect(String(buffer: buffer) == "rest")
        }
    }

    @Test func requestByteByByte() throws {
        var scanner = HTTPHeadScanner(limit: 100)
        var buffer = ByteBuffer()
        for byte in "GET / HTTP/1.0\nA: b\n".utf8 {
            buffer.writeInteger(byte)
            #expect(try scanner.nextRequest(&buffer) == nil)
        }
        buffer.writeInteger(UInt8(10))
        let head = try #require(try scanner.nextRequest(&buffer))
        #expect(head.minorVersion == 0 && head.headers["a"] == "b")
    }

    @Test(arguments: [
        "GET /\r\n\r\n", "GET  HTTP/1.1\r\n\r\n", " GET / HTTP/1.1\r\n\r\n", "G@T / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : x\r\n\r\n", "GET / HTTP/1.1\r\n: x\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\u{0}c\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
        "GET /a b HTTP/1.1\r\n\r\n", "GET / HTTP/11\r\n\r\n", "GET / http/1.1\r\n\r\n", "\u{16}\u{3}\u{1}\r\n\r\n",
    ])
    func malformedRequestIsRefused(_ text: String) {
        #expect(throws: HTTPParseError.self) { try request(text) }
    }

    @Test func otherVersionsAreRefusedWith505() {
        #expect(throws: HTTPParseError.version("HTTP/2.0")) { try request("PRI * HTTP/2.0\r\n\r\n") }
    }

    @Test func headerOverTheLimitIsRefusedBeforeItsEnd() {
        let long = "GET / HTTP/1.1\r\nA: " + String(repeating: "x", count: 200)
        #expect(throws: HTTPParseError.headerTooLarge(limit: 100)) { try request(long, limit: 100) }
        #expect(throws: HTTPParseError.headerTooLarge(limit: 100)) { try request(long + "\r\n\r\n", limit: 100) }
    }

    @Test func responseWithoutReasonPhrase() throws {
        for line in ["HTTP/1.1 204", "HTTP/1.1 204 ", "HTTP/1.1 204 No Content"] {
            var scanner = HTTPHeadScanner(limit: 100)
            var buffer = ByteBuffer(string: line + "\r\n\r\n")
            #expect(try scanner.nextResponse(&buffer)?.status == 204)
        }
    }

    @Test(arguments: [
        ("Transfer-Encoding: chunked\r\nContent-Length: 3", nil as HTTPBodyLength?),
        ("Transfer-Encoding: gzip, chunked", nil), ("Transfer-Encoding: identity", nil),
        ("Content-Length: 3\r\nContent-Length: 4", nil), ("Content-Length: -3", nil), ("Content-Length: +3", nil),
        ("Content-Length: 3a", nil), ("Content-Length:", nil), ("Content-Length: 9999999999999999999", nil),
        ("Content-Length: 3\r\nContent-Length: 3", .length(3)), ("Transfer-Encoding: Chunked", .chunked),
        ("Content-Length: 0", HTTPBodyLength.none), ("X: y", HTTPBodyLength.none),
        ("Content-Length: 5000000000", .length(5_000_000_000)),
    ])
    func bodyLengthOfRequests(_ fields: String, _ expected: HTTPBodyLength?) throws {
        let head = try #require(try request("POST / HTTP/1.1\r\n\(fields)\r\n\r\n"))
        #expect((try? HTTPBodyLength(request: head)) == expected)
    }

    /// Random damage to a good message must never trap and never hang.
    @Test func damagedMessagesNeverTrap() {
        let seed = Array(
            "POST /x?y=z HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\nwiki\r\n0\r\nT: u\r\n\r\n"
                .utf8)
        var generator = SystemRandomNumberGenerator()
        var accepted = 0
        for _ in 0..<20_000 {
            var bytes = seed
            for _ in 0..<Int.random(in: 0...3, using: &generator) {
                let index = Int.random(in: 0..<bytes.count, using: &generator)
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: bytes[index] = UInt8.random(in: 0...255, using: &generator)
                case 1: bytes.remove(at: index)
                default: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: index)
                }
            }
            var scanner = HTTPHeadScanner(limit: 512)
            var buffer = ByteBuffer()
            let split = Int.random(in: 0...bytes.count, using: &generator)
            do {
                buffer.writeBytes(bytes[..<split])
                var head = try scanner.nextRequest(&buffer)
                buffer.writeBytes(bytes[split...])
                if head == nil { head = try scanner.nextRequest(&buffer) }
                guard let head else { continue }
                var decoder = HTTPBodyDecoder(try HTTPBodyLength(request: head))
                var total = 0
                while case .data(let data) = try decoder.next(&buffer) { total += data.readableBytes }
                #expect(total <= bytes.count)
                accepted += 1
            } catch {
                #expect(error is HTTPParseError)
            }
        }
        #expect(accepted > 1000)
    }
}

@Suite struct HTTPBodyDecoderTests {
    private func decode(_ length: HTTPBodyLength, _ pieces: [[UInt8]]) throws -> (String, ended: Bool, rest: String) {
        var decoder = HTTPBodyDecoder(length)
        var buffer = ByteBuffer()
        var text = ""
        for piece in pieces {
            buffer.writeBytes(piece)
            loop: while true {
                switch try decoder.next(&buffer) {
                case .data(let data): text += String(buffer: data)
                case .needMore: break loop
                case .end: return (text, true, String(buffer: buffer))
                }
            }
        }
        return (text, false, String(buffer: buffer))
    }

    @Test func chunksAreTheSameHoweverTheyAreSplit() throws {
        let bytes = Array(
            "4\r\nwiki\r\n6;name=\"v\"\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n000\r\nTrailer: x\r\n\r\nNEXT".utf8)
        for split in 0...bytes.count {
            let result = try decode(.chunked, [Array(bytes[..<split]), Array(bytes[split...])])
            #expect(result.0 == "wikipedia in \r\n\r\nchunks." && result.ended)
        }
        let single = try decode(.chunked, bytes.map { [$0] })
        #expect(single.0 == "wikipedia in \r\n\r\nchunks." && single.ended)
    }

    @Test(arguments: [
        "\r\n", "x\r\n", "-1\r\n", "4\nwiki", "4\r\nwikiX", "4\r\nwiki\n", "1000000000000000\r\n", "4 \u{1}\r\n",
        "0\r\nA\nB",
    ])
    func badChunksAreRefused(_ text: String) {
        #expect(throws: HTTPParseError.self) { try decode(.chunked, [Array(text.utf8)]) }
    }

    @Test func endlessChunkExtensionIsRefused() {
        let text = "4;" + String(repeating: "x", count: 5000)
        #expect(throws: HTTPParseError.self) { try decode(.chunked, [Array(text.utf8)]) }
    }

    @Test func lengthLeavesTheNextMessage() throws {
        let result = try decode(.length(5), [Array("he".utf8), Array("lloGET".utf8)])
        #expect(result == ("hello", true, "GET"))
    }
}
