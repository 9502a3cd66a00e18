import Codecs

/// Textual encoding of keys and certificates (RFC 7468). Text around the blocks is skipped, as Go and OpenSSL do.
package enum PEM {
    /// More than any bundle of ours; a bound on what an upload can make us decode.
    package static let limit = 1 << 20

    package struct Block: Sendable, Equatable {
        package var label: String
        package var der: [UInt8]

        package init(label: String, der: [UInt8]) {
            self.label = label
            self.der = der
        }
    }

    /// - Parameter what: names the input in errors.
    package static func blocks(_ text: [UInt8], what: String) throws(PKIError) -> [Block] {
        guard text.count <= limit else {
            throw .malformed(what: what, reason: "\(text.count) bytes of PEM text, at most \(limit) are read")
        }
        var blocks: [Block] = []
        var label: String?
        var body: [UInt8] = []
        for line in text.split(separator: 0x0A) {
            let line = trimmed(line)
            if let open = label {
                if let end = marker(line, "-----END ") {
                    guard end == open else {
                        throw .malformed(what: what, reason: "PEM block \(open) ends as \(end)")
                    }
                    guard let der = Base64.decode(String(decoding: body, as: UTF8.self)) else {
                        throw .malformed(what: what, reason: "PEM block \(open) is not base64")
                    }
                    blocks.append(Block(label: open, der: der))
                    label = nil
                } else if line.contains(UInt8(ascii: ":")) {
                    // Headers only come with encrypted keys of old; we have no passphrase.
                    throw .malformed(what: what, reason: "PEM block \(open) has headers; encrypted keys cannot be read")
                } else {
                    body += line
                }
            } else if let begin = marker(line, "-----BEGIN ") {
                label = begin
                body = []
            }
        }
        if let label { throw .malformed(what: what, reason: "PEM block \(label) has no end") }
        return blocks
    }

    package static func encode(_ block: Block) -> [UInt8] {
        var text = Array("-----BEGIN \(block.label)-----\n".utf8)
        let body = Array(Base64.encode(block.der).utf8)
        var start = 0
        while start < body.count {
            let end = min(start + 64, body.count)
            text += body[start..<end]
            text.append(0x0A)
            start = end
        }
        text += Array("-----END \(block.label)-----\n".utf8)
        return text
    }

    private static func trimmed(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        let blank: (UInt8) -> Bool = { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }
        var line = line.drop(while: blank)
        while let last = line.last, blank(last) { line.removeLast() }
        return line
    }

    private static func marker(_ line: ArraySlice<UInt8>, _ start: String) -> String? {
        let end = Array("-----".utf8)
        guard line.starts(with: start.utf8), line.suffix(5).elementsEqual(end),
            line.count >= start.utf8.count + end.count
        else { return nil }
        return String(decoding: line.dropFirst(start.utf8.count).dropLast(5), as: UTF8.self)
    }
}
