enum SPDYError: Error, Equatable, CustomStringConvertible {
    case protocolError(String)
    case frameTooLarge(Int)

    var description: String {
        switch self {
        case .protocolError(let why): "spdy: \(why)"
        case .frameTooLarge(let size): "spdy: frame of \(size) bytes"
        }
    }
}

/// RST_STREAM status codes (2.6.3).
enum SPDYStatus {
    static let protocolError: UInt32 = 1
    static let invalidStream: UInt32 = 2
    static let refusedStream: UInt32 = 3
    static let cancel: UInt32 = 5
    static let internalError: UInt32 = 6
    static let flowControlError: UInt32 = 7
}

/// A frame of SPDY/3.1 (2.2, 2.6), header blocks in the clear.
enum SPDYFrame: Equatable {
    case synStream(id: UInt32, associated: UInt32, priority: UInt8, headers: HTTPHeaderFields, fin: Bool)
    case synReply(id: UInt32, headers: HTTPHeaderFields, fin: Bool)
    case rstStream(id: UInt32, status: UInt32)
    /// (id, value)
    case settings([SPDYSetting])
    case ping(UInt32)
    case goAway(lastGood: UInt32, status: UInt32)
    case headers(id: UInt32, headers: HTTPHeaderFields, fin: Bool)
    case windowUpdate(id: UInt32, delta: UInt32)
    case data(id: UInt32, [UInt8], fin: Bool)
}

struct SPDYSetting: Equatable {
    static let maxConcurrentStreams: UInt32 = 4
    static let initialWindowSize: UInt32 = 7

    var id: UInt32
    var value: UInt32
}

/// Frames to bytes. Header blocks must be encoded in the order in which they are sent.
struct SPDYEncoder: ~Copyable {
    private var deflater: Deflater

    init() throws(ZlibError) {
        // A 2 KiB window holds the dictionary; a session costs 20 KB instead of 256.
        deflater = try Deflater(.zlib, level: 6, dictionary: SPDYHeaderBlock.dictionary, smallWindow: true)
    }

    mutating func encode(_ frame: SPDYFrame) -> [UInt8] {
        switch frame {
        case .synStream(let id, let associated, let priority, let headers, let fin):
            var body: [UInt8] = []
            appendUInt32(id, to: &body)
            appendUInt32(associated, to: &body)
            body.append(priority << 5)
            body.append(0)
            body.append(contentsOf: compress(headers))
            return control(1, flags: fin ? 1 : 0, body)
        case .synReply(let id, let headers, let fin):
            var body: [UInt8] = []
            appendUInt32(id, to: &body)
            body.append(contentsOf: compress(headers))
            return control(2, flags: fin ? 1 : 0, body)
        case .rstStream(let id, let status): return control(3, words: [id, status])
        case .settings(let settings):
            return control(4, words: [UInt32(settings.count)] + settings.flatMap { [$0.id, $0.value] })
        case .ping(let id): return control(6, words: [id])
        case .goAway(let lastGood, let status): return control(7, words: [lastGood, status])
        case .headers(let id, let headers, let fin):
            var body: [UInt8] = []
            appendUInt32(id, to: &body)
            body.append(contentsOf: compress(headers))
            return control(8, flags: fin ? 1 : 0, body)
        case .windowUpdate(let id, let delta): return control(9, words: [id, delta])
        case .data(let id, let bytes, let fin):
            var out: [UInt8] = []
            out.reserveCapacity(8 + bytes.count)
            appendUInt32(id & 0x7FFF_FFFF, to: &out)
            appendUInt32(UInt32(bytes.count) | (fin ? 1 << 24 : 0), to: &out)
            out.append(contentsOf: bytes)
            return out
        }
    }

    private mutating func compress(_ headers: HTTPHeaderFields) -> [UInt8] {
        deflater.compress(SPDYHeaderBlock.encode(headers)[...], flush: .sync)
    }

    private func control(_ type: UInt32, words: [UInt32]) -> [UInt8] {
        var body: [UInt8] = []
        for word in words { appendUInt32(word, to: &body) }
        return control(type, flags: 0, body)
    }

    private func control(_ type: UInt32, flags: UInt32, _ body: [UInt8]) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(8 + body.count)
        appendUInt32(0x8003_0000 | type, to: &out)
        appendUInt32(flags << 24 | UInt32(body.count), to: &out)
        out.append(contentsOf: body)
        return out
    }
}

/// Bytes to frames, with bounds on frame and header sizes. A control frame of an unknown type is skipped (2.2.1).
struct SPDYDecoder: ~Copyable {
    static let largestControlFrame = 64 << 10
    static let largestDataFrame = 1 << 20
    static let largestHeaders = 64 << 10

    private var inflater: Inflater
    private var buffer: [UInt8] = []
    private var start = 0

    // In two steps: where the first throws, Swift 6.2 would let go of the fields' initial values twice.
    init() throws(ZlibError) { self.init(try Inflater(dictionary: SPDYHeaderBlock.dictionary)) }
    private init(_ inflater: consuming Inflater) { self.inflater = inflater }

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

    mutating func next() throws(SPDYError) -> SPDYFrame? {
        while true {
            guard buffer.count - start >= 8 else { return nil }
            var header = SPDYReader(buffer[start..<(start + 8)])
            let first = try header.uint32()
            let second = try header.uint32()
            let length = Int(second & 0xFF_FFFF)
            let isControl = first & 0x8000_0000 != 0
            guard length <= (isControl ? SPDYDecoder.largestControlFrame : SPDYDecoder.largestDataFrame) else {
                throw .frameTooLarge(length)
            }
            guard buffer.count - start >= 8 + length else { return nil }
            let body = buffer[(start + 8)..<(start + 8 + length)]
            start += 8 + length
            let flags = UInt8(second >> 24)
            guard isControl else {
                guard first != 0 else { throw .protocolError("data on stream 0") }
                return .data(id: first, Array(body), fin: flags & 1 != 0)
            }
            guard first >> 16 & 0x7FFF == 3 else { throw .protocolError("version \(first >> 16 & 0x7FFF)") }
            if let frame = try control(first & 0xFFFF, flags, body) { return frame }
        }
    }

    private mutating func control(
        _ type: UInt32, _ flags: UInt8, _ body: ArraySlice<UInt8>
    ) throws(SPDYError) -> SPDYFrame? {
        var reader = SPDYReader(body)
        let fin = flags & 1 != 0
        switch type {
        case 1:
            let id = try streamID(&reader)
            let associated = try reader.uint32() & 0x7FFF_FFFF
            let priority = (try reader.bytes(2).first ?? 0) >> 5
            return .synStream(
                id: id, associated: associated, priority: priority, headers: try headers(reader.remaining), fin: fin)
        case 2:
            let id = try streamID(&reader)
            return .synReply(id: id, headers: try headers(reader.remaining), fin: fin)
        case 3:
            let id = try streamID(&reader)
            return .rstStream(id: id, status: try reader.uint32())
        case 4:
            let count = try reader.uint32()
            guard count <= 64 else { throw .protocolError("\(count) settings") }
            var settings: [SPDYSetting] = []
            for _ in 0..<count {
                let id = try reader.uint32() & 0xFF_FFFF
                settings.append(SPDYSetting(id: id, value: try reader.uint32()))
            }
            return .settings(settings)
        case 6: return .ping(try reader.uint32())
        case 7: return .goAway(lastGood: try reader.uint32() & 0x7FFF_FFFF, status: try reader.uint32())
        case 8:
            let id = try streamID(&reader)
            return .headers(id: id, headers: try headers(reader.remaining), fin: fin)
        case 9:
            let id = try reader.uint32() & 0x7FFF_FFFF
            let delta = try reader.uint32() & 0x7FFF_FFFF
            guard delta > 0 else { throw .protocolError("window update of 0") }
            return .windowUpdate(id: id, delta: delta)
        default: return nil
        }
    }

    private func streamID(_ reader: inout SPDYReader) throws(SPDYError) -> UInt32 {
        let id = try reader.uint32() & 0x7FFF_FFFF
        guard id != 0 else { throw .protocolError("stream 0") }
        return id
    }

    private mutating func headers(_ block: ArraySlice<UInt8>) throws(SPDYError) -> HTTPHeaderFields {
        do {
            return try SPDYHeaderBlock.decode(
                inflater.decompress(Array(block), limit: SPDYDecoder.largestHeaders))
        } catch let error as SPDYError {
            throw error
        } catch {
            throw .protocolError("header block: \(error)")
        }
    }
}
