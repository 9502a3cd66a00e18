import NIOCore

/// How the end of a body is found (RFC 9112 6.3).
enum HTTPBodyLength: Equatable {
    case none
    case length(Int64)
    case chunked
    /// Responses only.
    case untilClose

    /// Of a request. A message with both `Transfer-Encoding` and `Content-Length` is refused: the one thing that request
    /// smuggling needs.
    init(request head: HTTPRequestHead) throws(HTTPParseError) {
        self = try HTTPBodyLength.fromFields(head.headers, minorVersion: head.minorVersion) ?? .none
    }

    init(response head: HTTPResponseHead, method: String) throws(HTTPParseError) {
        if method == "HEAD" || head.status < 200 || head.status == 204 || head.status == 304 {
            self = .none
        } else {
            self = try HTTPBodyLength.fromFields(head.headers, minorVersion: head.minorVersion) ?? .untilClose
        }
    }

    private static func fromFields(
        _ headers: HTTPHeaderFields, minorVersion: Int
    ) throws(HTTPParseError) -> HTTPBodyLength? {
        if headers.contains("Transfer-Encoding") {
            let codings = headers.listMembers("Transfer-Encoding")
            guard codings.count == 1, asciiCaseInsensitiveEqual(codings[0], "chunked") else {
                throw .transferEncoding(codings.joined(separator: ", "))
            }
            if headers.contains("Content-Length") { throw .malformed("both Transfer-Encoding and Content-Length") }
            if minorVersion == 0 { throw .malformed("Transfer-Encoding in HTTP/1.0") }
            return .chunked
        }
        guard let first = headers["Content-Length"] else { return nil }
        for other in headers.values("Content-Length") where other != first {
            throw .malformed("differing Content-Length fields")
        }
        var length: Int64 = 0
        guard !first.isEmpty, first.utf8.count <= 18 else { throw .malformed("Content-Length") }
        for byte in first.utf8 {
            guard byte >= 0x30, byte <= 0x39 else { throw .malformed("Content-Length") }
            length = length * 10 + Int64(byte - 0x30)
        }
        return length == 0 ? HTTPBodyLength.none : .length(length)
    }
}

/// Takes body bytes off a buffer; a value without IO.
struct HTTPBodyDecoder {
    private enum State {
        case length(Int64)
        case untilClose
        case chunkSize(value: Int64, digits: Int, inExtension: Bool, sawCR: Bool, bytes: Int)
        case chunkData(Int64)
        case chunkEnd(sawCR: Bool)
        case trailer(lineBytes: Int, total: Int, sawCR: Bool)
        case done
    }

    enum Output: Equatable {
        case needMore
        case data(ByteBuffer)
        case end
    }

    private static let longestChunkLine = 4096
    private static let longestTrailer = 16 << 10
    private var state: State

    init(_ length: HTTPBodyLength) {
        switch length {
        case .none: state = .done
        case .length(let count): state = .length(count)
        case .chunked: state = .chunkSize(value: 0, digits: 0, inExtension: false, sawCR: false, bytes: 0)
        case .untilClose: state = .untilClose
        }
    }

    /// Whether a connection that ends now has ended the body too.
    var endsWithConnection: Bool {
        if case .untilClose = state { true } else { false }
    }

    mutating func next(_ buffer: inout ByteBuffer) throws(HTTPParseError) -> Output {
        while true {
            switch state {
            case .done: return .end
            case .length(let remaining):
                guard remaining > 0 else {
                    state = .done
                    return .end
                }
                guard let slice = take(remaining, &buffer) else { return .needMore }
                state = .length(remaining - Int64(slice.readableBytes))
                return .data(slice)
            case .untilClose:
                guard let slice = take(.max, &buffer) else { return .needMore }
                return .data(slice)
            case .chunkData(let remaining):
                guard remaining > 0 else {
                    state = .chunkEnd(sawCR: false)
                    continue
                }
                guard let slice = take(remaining, &buffer) else { return .needMore }
                state = .chunkData(remaining - Int64(slice.readableBytes))
                return .data(slice)
            case .chunkSize, .chunkEnd, .trailer:
                guard let byte = buffer.readInteger(as: UInt8.self) else { return .needMore }
                try step(byte)
            }
        }
    }

    private func take(_ most: Int64, _ buffer: inout ByteBuffer) -> ByteBuffer? {
        let count = Int(min(most, Int64(buffer.readableBytes)))
        return count > 0 ? buffer.readSlice(length: count) : nil
    }

    /// One byte of the framing around chunks.
    private mutating func step(_ byte: UInt8) throws(HTTPParseError) {
        switch state {
        case .chunkSize(let value, let digits, let inExtension, let sawCR, let bytes):
            guard bytes < HTTPBodyDecoder.longestChunkLine else { throw .malformed("chunk extension too long") }
            if sawCR {
                guard byte == 10, digits > 0 else { throw .malformed("chunk size line") }
                state = value == 0 ? .trailer(lineBytes: 0, total: 0, sawCR: false) : .chunkData(value)
            } else if byte == 13 {
                state = .chunkSize(
                    value: value, digits: digits, inExtension: inExtension, sawCR: true, bytes: bytes + 1)
            } else if inExtension {
                guard byte >= 0x20 || byte == 9 else { throw .malformed("chunk extension") }
                state = .chunkSize(value: value, digits: digits, inExtension: true, sawCR: false, bytes: bytes + 1)
            } else if let digit = hexDigitValue(byte) {
                guard digits < 15 else { throw .malformed("chunk size") }
                state = .chunkSize(
                    value: value << 4 | Int64(digit), digits: digits + 1, inExtension: false, sawCR: false,
                    bytes: bytes + 1)
            } else {
                guard digits > 0, byte == UInt8(ascii: ";") || byte == 0x20 || byte == 9 else {
                    throw .malformed("chunk size")
                }
                state = .chunkSize(value: value, digits: digits, inExtension: true, sawCR: false, bytes: bytes + 1)
            }
        case .chunkEnd(let sawCR):
            guard byte == (sawCR ? 10 : 13) else { throw .malformed("chunk not followed by CRLF") }
            state =
                sawCR
                ? .chunkSize(value: 0, digits: 0, inExtension: false, sawCR: false, bytes: 0) : .chunkEnd(sawCR: true)
        case .trailer(let lineBytes, let total, let sawCR):
            guard total < HTTPBodyDecoder.longestTrailer else { throw .malformed("trailer too long") }
            if sawCR {
                guard byte == 10 else { throw .malformed("trailer line") }
                state = lineBytes == 0 ? .done : .trailer(lineBytes: 0, total: total + 1, sawCR: false)
            } else if byte == 13 {
                state = .trailer(lineBytes: lineBytes, total: total + 1, sawCR: true)
            } else {
                guard byte >= 0x20 || byte == 9 else { throw .malformed("trailer line") }
                state = .trailer(lineBytes: lineBytes + 1, total: total + 1, sawCR: false)
            }
        case .length, .untilClose, .chunkData, .done: break
        }
    }
}
