/// The name/value block of SPDY/3 and its compression (SPDY Protocol draft 3.1, 2.6.10). Both directions of a session
/// have one zlib stream for all their blocks.
enum SPDYHeaderBlock {
    /// zlib dictionary of the specification: names with a 32-bit length in front, then frequent values. Adler-32 0xe3c6a7c2.
    static let dictionary: [UInt8] = {
        let words =
            "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age "
            + "allow authorization cache-control connection content-base content-encoding content-language "
            + "content-length content-location content-md5 content-range content-type date etag expect expires from "
            + "host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location "
            + "max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer "
            + "transfer-encoding upgrade user-agent vary via warning www-authenticate method get status"
        let more = ["200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"]
        let tail =
            "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
            + "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
            + "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
            + "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
            + "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
            + "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
        var bytes: [UInt8] = []
        for word in words.split(separator: " ").map(String.init) + more {
            appendUInt32(UInt32(word.utf8.count), to: &bytes)
            bytes.append(contentsOf: word.utf8)
        }
        bytes.append(contentsOf: tail.utf8)
        return bytes
    }()

    static func encode(_ headers: HTTPHeaderFields) -> [UInt8] {
        // One entry per name; values of a repeated name are joined by NUL.
        var entries: [(name: String, values: [String])] = []
        for field in headers.fields {
            let name = field.name.lowercased()
            if let index = entries.firstIndex(where: { $0.name == name }) {
                entries[index].values.append(field.value)
            } else {
                entries.append((name, [field.value]))
            }
        }
        var out: [UInt8] = []
        appendUInt32(UInt32(entries.count), to: &out)
        for entry in entries {
            appendUInt32(UInt32(entry.name.utf8.count), to: &out)
            out.append(contentsOf: entry.name.utf8)
            let value = entry.values.joined(separator: "\0")
            appendUInt32(UInt32(value.utf8.count), to: &out)
            out.append(contentsOf: value.utf8)
        }
        return out
    }

    static func decode(_ bytes: [UInt8]) throws(SPDYError) -> HTTPHeaderFields {
        var reader = SPDYReader(bytes[...])
        let count = try reader.uint32()
        guard count <= 256 else { throw .protocolError("\(count) headers in one block") }
        var headers = HTTPHeaderFields()
        for _ in 0..<count {
            let name = String(decoding: try reader.bytes(Int64(try reader.uint32())), as: UTF8.self)
            guard !name.isEmpty, !headers.contains(name) else { throw .protocolError("empty or repeated header name") }
            let value = try reader.bytes(Int64(try reader.uint32()))
            for part in value.split(separator: 0, omittingEmptySubsequences: false) {
                headers.add(name, String(decoding: part, as: UTF8.self))
            }
        }
        return headers
    }
}

func appendUInt32(_ value: UInt32, to bytes: inout [UInt8]) {
    bytes.append(UInt8(value >> 24))
    bytes.append(UInt8(value >> 16 & 255))
    bytes.append(UInt8(value >> 8 & 255))
    bytes.append(UInt8(value & 255))
}

/// Reads big-endian fields and checks every bound.
struct SPDYReader {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) {
        rest = bytes
    }

    var remaining: ArraySlice<UInt8> { rest }

    mutating func uint32() throws(SPDYError) -> UInt32 {
        var value: UInt32 = 0
        for byte in try bytes(4) { value = value << 8 | UInt32(byte) }
        return value
    }

    mutating func bytes(_ count: Int64) throws(SPDYError) -> ArraySlice<UInt8> {
        guard count <= Int64(rest.count) else { throw .protocolError("frame too short") }
        let end = rest.startIndex + Int(count)
        defer { rest = rest[end...] }
        return rest[..<end]
    }
}
