package enum WebSocketError: Error, Equatable, CustomStringConvertible {
    case protocolError(String)
    case tooLarge(limit: Int)
    case notUTF8
    case closed

    /// RFC 6455 7.4.1
    var closeCode: UInt16 {
        switch self {
        case .protocolError: 1002
        case .tooLarge: 1009
        case .notUTF8: 1007
        case .closed: 1000
        }
    }

    package var description: String {
        switch self {
        case .protocolError(let why): "websocket: \(why)"
        case .tooLarge(let limit): "websocket: message larger than \(limit) bytes"
        case .notUTF8: "websocket: text message is not UTF-8"
        case .closed: "websocket: connection closed"
        }
    }
}

enum WebSocketOpcode: UInt8, Sendable {
    case continuation = 0
    case text = 1
    case binary = 2
    case close = 8
    case ping = 9
    case pong = 10

    var isControl: Bool { rawValue >= 8 }
}

struct WebSocketFrame: Equatable {
    var fin: Bool
    var opcode: WebSocketOpcode
    var payload: [UInt8]

    /// The wire form (RFC 6455 5.2); clients mask.
    static func encode(
        fin: Bool = true, _ opcode: WebSocketOpcode, prefix: [UInt8] = [], _ payload: some Collection<UInt8>,
        mask: UInt32?
    ) -> [UInt8] {
        let count = prefix.count + payload.count
        var out: [UInt8] = []
        out.reserveCapacity(count + 14)
        out.append((fin ? 0x80 : 0) | opcode.rawValue)
        let maskBit: UInt8 = mask == nil ? 0 : 0x80
        if count < 126 {
            out.append(maskBit | UInt8(count))
        } else if count < 65536 {
            out.append(maskBit | 126)
            out.append(UInt8(count >> 8))
            out.append(UInt8(count & 255))
        } else {
            out.append(maskBit | 127)
            for shift in stride(from: 56, through: 0, by: -8) { out.append(UInt8(Int64(count) >> Int64(shift) & 255)) }
        }
        guard let mask else {
            out.append(contentsOf: prefix)
            out.append(contentsOf: payload)
            return out
        }
        for shift in stride(from: 24, through: 0, by: -8) { out.append(UInt8(mask >> UInt32(shift) & 255)) }
        let start = out.count
        out.append(contentsOf: prefix)
        out.append(contentsOf: payload)
        applyMask(mask, to: &out, from: start)
        return out
    }

    static func applyMask(_ mask: UInt32, to bytes: inout [UInt8], from start: Int) {
        let keys = [UInt8(mask >> 24), UInt8(mask >> 16 & 255), UInt8(mask >> 8 & 255), UInt8(mask & 255)]
        bytes.withUnsafeMutableBufferPointer { buffer in
            keys.withUnsafeBufferPointer { keys in
                for index in start..<buffer.count { buffer[index] ^= keys[(index - start) & 3] }
            }
        }
    }
}

/// Takes frames off a stream of bytes; a value without IO.
struct WebSocketFrameDecoder {
    /// Clients must mask, servers must not.
    let expectsMask: Bool
    let limit: Int
    private var buffer: [UInt8] = []
    private var start = 0

    init(expectsMask: Bool, limit: Int) {
        self.expectsMask = expectsMask
        self.limit = limit
    }

    mutating func feed(_ bytes: [UInt8]) {
        if start == buffer.count {
            buffer = bytes
            start = 0
        } else {
            if start > 0 {
                buffer.removeFirst(start)
                start = 0
            }
            buffer.append(contentsOf: bytes)
        }
    }

    mutating func next() throws(WebSocketError) -> WebSocketFrame? {
        let available = buffer.count - start
        guard available >= 2 else { return nil }
        let (first, second) = (buffer[start], buffer[start + 1])
        guard first & 0x70 == 0 else { throw .protocolError("reserved bits set") }
        guard let opcode = WebSocketOpcode(rawValue: first & 15) else {
            throw .protocolError("unknown opcode \(first & 15)")
        }
        let fin = first & 0x80 != 0
        guard (second & 0x80 != 0) == expectsMask else {
            throw .protocolError(expectsMask ? "client frame not masked" : "server frame masked")
        }
        var header = 2
        var length = Int64(second & 0x7F)
        if opcode.isControl, !fin || length > 125 { throw .protocolError("bad control frame") }
        if length == 126 {
            guard available >= 4 else { return nil }
            length = Int64(buffer[start + 2]) << 8 | Int64(buffer[start + 3])
            header = 4
        } else if length == 127 {
            guard available >= 10 else { return nil }
            guard buffer[start + 2] < 0x80 else { throw .protocolError("bad length") }
            length = 0
            for index in 2..<10 { length = length << 8 | Int64(buffer[start + index]) }
            header = 10
        }
        guard length <= Int64(limit) else { throw .tooLarge(limit: limit) }
        if expectsMask { header += 4 }
        guard Int64(available) >= Int64(header) + length else { return nil }
        let bodyStart = start + header
        var payload = Array(buffer[bodyStart..<(bodyStart + Int(length))])
        if expectsMask {
            var mask: UInt32 = 0
            for byte in buffer[(bodyStart - 4)..<bodyStart] { mask = mask << 8 | UInt32(byte) }
            WebSocketFrame.applyMask(mask, to: &payload, from: 0)
        }
        start = bodyStart + Int(length)
        if start == buffer.count {
            buffer = []
            start = 0
        }
        return WebSocketFrame(fin: fin, opcode: opcode, payload: payload)
    }
}
