import NIOCore

/// Why a message is not HTTP/1.x that we accept. `status` is what a server answers.
enum HTTPParseError: Error, Equatable {
    case malformed(String)
    case headerTooLarge(limit: Int)
    case version(String)
    case transferEncoding(String)

    var status: Int {
        switch self {
        case .malformed: 400
        case .headerTooLarge: 431
        case .version: 505
        case .transferEncoding: 501
        }
    }

    var message: String {
        switch self {
        case .malformed(let why): "Bad Request: \(why)"
        case .headerTooLarge(let limit): "Request Header Fields Too Large: limit is \(limit) bytes"
        case .version(let version): "HTTP Version Not Supported: \(version)"
        case .transferEncoding(let name): "Unsupported transfer encoding: \(name)"
        }
    }
}

struct HTTPRequestHead: Equatable {
    var method: String
    var target: String
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    var minorVersion: Int
    var headers: HTTPHeaderFields
}

struct HTTPResponseHead: Equatable {
    var status: Int
    var minorVersion: Int
    var headers: HTTPHeaderFields
}

/// Takes whole message heads off a buffer as bytes arrive (RFC 9112 2-5). Lenient where Go's net/http is (a bare LF ends
/// a line, empty lines before a request), strict where smuggling lives (no folding, no space before the colon, no
/// control characters, tokens only).
struct HTTPHeadScanner {
    var limit: Int
    /// Bytes already searched for the end of the head.
    private var searched = 0

    init(limit: Int) {
        self.limit = limit
    }

    mutating func nextRequest(_ buffer: inout ByteBuffer) throws(HTTPParseError) -> HTTPRequestHead? {
        guard let length = try nextHead(&buffer) else { return nil }
        let result = buffer.withUnsafeReadableBytes { bytes in
            Result { () throws(HTTPParseError) in
                try HTTPHeadScanner.parseRequest(UnsafeRawBufferPointer(rebasing: bytes[..<length]))
            }
        }
        buffer.moveReaderIndex(forwardBy: length)
        return try result.get()
    }

    mutating func nextResponse(_ buffer: inout ByteBuffer) throws(HTTPParseError) -> HTTPResponseHead? {
        guard let length = try nextHead(&buffer) else { return nil }
        let result = buffer.withUnsafeReadableBytes { bytes in
            Result { () throws(HTTPParseError) in
                try HTTPHeadScanner.parseResponse(UnsafeRawBufferPointer(rebasing: bytes[..<length]))
            }
        }
        buffer.moveReaderIndex(forwardBy: length)
        return try result.get()
    }

    /// Length of the head at the front of the buffer, its empty line included; nil until it is whole.
    private mutating func nextHead(_ buffer: inout ByteBuffer) throws(HTTPParseError) -> Int? {
        if searched == 0 {
            while let byte = buffer.getInteger(at: buffer.readerIndex, as: UInt8.self), byte == 13 || byte == 10 {
                buffer.moveReaderIndex(forwardBy: 1)
            }
        }
        var found: Int?
        let from = searched
        buffer.withUnsafeReadableBytes { bytes in
            var index = from
            while index < bytes.count {
                if bytes[index] == 10 {
                    if index + 1 < bytes.count, bytes[index + 1] == 10 {
                        found = index + 2
                        return
                    }
                    if index + 2 < bytes.count, bytes[index + 1] == 13, bytes[index + 2] == 10 {
                        found = index + 3
                        return
                    }
                }
                index += 1
            }
        }
        if (found ?? buffer.readableBytes) > limit { throw .headerTooLarge(limit: limit) }
        // The end may straddle what comes next: look again at the last two bytes.
        searched = found == nil ? max(0, buffer.readableBytes - 2) : 0
        return found
    }

    // MARK: - Lines

    private struct Lines {
        var bytes: UnsafeRawBufferPointer
        var index = 0

        /// The next line without its end; nil at the empty line.
        mutating func next() -> UnsafeRawBufferPointer? {
            let start = index
            while index < bytes.count, bytes[index] != 10 { index += 1 }
            var end = index
            index += 1
            if end > start, bytes[end - 1] == 13 { end -= 1 }
            guard end > start else { return nil }
            return UnsafeRawBufferPointer(rebasing: bytes[start..<end])
        }
    }

    private static func text(_ bytes: Slice<UnsafeRawBufferPointer>) -> String {
        String(decoding: UnsafeRawBufferPointer(rebasing: bytes), as: UTF8.self)
    }

    private static func parseRequest(_ bytes: UnsafeRawBufferPointer) throws(HTTPParseError) -> HTTPRequestHead {
        var lines = Lines(bytes: bytes)
        guard let line = lines.next(), let first = line.firstIndex(of: 0x20), let last = line.lastIndex(of: 0x20),
            first > 0, last > first + 1
        else { throw .malformed("request line") }
        for byte in line[..<first] where !isTokenByte(byte) { throw .malformed("method") }
        for byte in line[(first + 1)..<last] where byte <= 0x20 || byte == 0x7F {
            throw .malformed("request target")
        }
        return HTTPRequestHead(
            method: text(line[..<first]), target: text(line[(first + 1)..<last]),
            minorVersion: try version(line[(last + 1)...]), headers: try fields(&lines))
    }

    private static func parseResponse(_ bytes: UnsafeRawBufferPointer) throws(HTTPParseError) -> HTTPResponseHead {
        var lines = Lines(bytes: bytes)
        guard let line = lines.next(), line.count >= 12, line[8] == 0x20 else { throw .malformed("status line") }
        let minor = try version(line[..<8])
        var status = 0
        for byte in line[9..<12] {
            guard byte >= 0x30, byte <= 0x39 else { throw .malformed("status code") }
            status = status * 10 + Int(byte - 0x30)
        }
        guard status >= 100, line.count == 12 || line[12] == 0x20 else { throw .malformed("status code") }
        return HTTPResponseHead(status: status, minorVersion: minor, headers: try fields(&lines))
    }

    private static func version(_ bytes: Slice<UnsafeRawBufferPointer>) throws(HTTPParseError) -> Int {
        guard bytes.count == 8, bytes.starts(with: "HTTP/".utf8) else { throw .malformed("HTTP version") }
        switch text(bytes) {
        case "HTTP/1.1": return 1
        case "HTTP/1.0": return 0
        case let other: throw .version(other)
        }
    }

    private static func fields(_ lines: inout Lines) throws(HTTPParseError) -> HTTPHeaderFields {
        var headers = HTTPHeaderFields()
        while let line = lines.next() {
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > 0 else {
                throw .malformed("header field without a name")
            }
            for byte in line[..<colon] where !isTokenByte(byte) { throw .malformed("header field name") }
            var start = colon + 1
            var end = line.count
            while start < end, line[start] == 0x20 || line[start] == 0x09 { start += 1 }
            while end > start, line[end - 1] == 0x20 || line[end - 1] == 0x09 { end -= 1 }
            for byte in line[start..<end] where (byte < 0x20 && byte != 0x09) || byte == 0x7F {
                throw .malformed("control character in header field \(text(line[..<colon]))")
            }
            headers.add(text(line[..<colon]), text(line[start..<end]))
        }
        return headers
    }
}

/// tchar of RFC 9110 5.6.2.
func isTokenByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "!"), UInt8(ascii: "#"),
        UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"), UInt8(ascii: "'"), UInt8(ascii: "*"),
        UInt8(ascii: "+"), UInt8(ascii: "."), UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"),
        UInt8(ascii: "|"), UInt8(ascii: "~"):
        true
    default: false
    }
}
