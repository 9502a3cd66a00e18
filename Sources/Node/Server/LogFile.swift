package import Codecs
internal import Linux

/// Lines of a container's log in CRI's form: `2026-01-02T03:04:05.000000006Z stdout F text`; P instead of F: the line
/// goes on in the next record.
package struct LogRecord: Sendable, Equatable {
    package var time: ArraySlice<UInt8>
    package var isError: Bool
    package var isPartial: Bool
    package var text: ArraySlice<UInt8>

    /// nil: not a record. `line` is without its newline.
    package init?(_ line: ArraySlice<UInt8>) {
        guard let first = line.firstIndex(of: 0x20), let second = line[(first + 1)...].firstIndex(of: 0x20) else {
            return nil
        }
        let rest = line[(second + 1)...]
        let third = rest.firstIndex(of: 0x20) ?? rest.endIndex
        guard third > rest.startIndex else { return nil }
        time = line[..<first]
        let stream = line[(first + 1)..<second]
        guard stream.elementsEqual("stdout".utf8) || stream.elementsEqual("stderr".utf8) else { return nil }
        isError = stream.elementsEqual("stderr".utf8)
        isPartial = rest[rest.startIndex] == UInt8(ascii: "P")
        text = third < rest.endIndex ? rest[(third + 1)...] : rest[rest.endIndex...]
    }

    package var timestamp: Timestamp? { Timestamp(String(decoding: time, as: UTF8.self)) }
}

package enum LogFile {
    /// The end of a log as plain text, for termination messages; "" where there is none.
    package static func tail(_ path: String, lines: Int, bytes: Int) -> String {
        guard let fd = try? FileDescriptor.open(path, O_RDONLY), let size = try? fd.status().st_size else { return "" }
        // Records carry about 50 bytes beside the text.
        let window = min(Int64(size), Int64(bytes + lines * 64) * 2)
        let raw = fd.raw
        _ = lseek(raw, off_t(Int64(size) - window), SEEK_SET)
        guard let data = try? Files.read(fd, limit: 64 << 20) else { return "" }
        var out: [[UInt8]] = []
        var open: [UInt8] = []
        for line in data.split(separator: 0x0A) {
            guard let record = LogRecord(line) else { continue }
            open += record.text
            if !record.isPartial {
                out.append(open + [0x0A])
                open = []
            }
        }
        if !open.isEmpty { out.append(open) }
        let text = out.suffix(lines).flatMap { $0 }
        return String(decoding: text.suffix(bytes), as: UTF8.self)
    }
}
