/// One challenge of a WWW-Authenticate header: a scheme and its parameters (RFC 9110, section 11.6.1).
struct RegistryChallenge: Sendable, Equatable {
    /// Lower case: "bearer", "basic".
    var scheme: String
    /// Names in lower case.
    var parameters: [String: String]

    /// All challenges of a header value. What does not parse ends the list.
    static func parse(_ header: String) -> [RegistryChallenge] {
        var scanner = Scanner(bytes: Array(header.utf8.prefix(8192)))
        var result: [RegistryChallenge] = []
        while true {
            scanner.skipSeparators()
            guard let scheme = scanner.token() else { return result }
            var challenge = RegistryChallenge(scheme: scheme.lowercased(), parameters: [:])
            while true {
                let mark = scanner.index
                scanner.skipSeparators()
                guard let name = scanner.token(), scanner.take(UInt8(ascii: "=")) else {
                    // The next challenge's scheme, or the end.
                    scanner.index = mark
                    break
                }
                guard let value = scanner.quoted() ?? scanner.token() else {
                    result.append(challenge)
                    return result
                }
                challenge.parameters[name.lowercased()] = value
            }
            result.append(challenge)
        }
    }

    private struct Scanner {
        let bytes: [UInt8]
        var index = 0

        mutating func skipSeparators() {
            while index < bytes.count, [0x20, 0x09, UInt8(ascii: ",")].contains(bytes[index]) { index += 1 }
        }

        mutating func take(_ byte: UInt8) -> Bool {
            guard index < bytes.count, bytes[index] == byte else { return false }
            index += 1
            return true
        }

        mutating func token() -> String? {
            let start = index
            while index < bytes.count, Self.isToken(bytes[index]) { index += 1 }
            return start == index ? nil : String(decoding: bytes[start..<index], as: UTF8.self)
        }

        mutating func quoted() -> String? {
            guard take(UInt8(ascii: "\"")) else { return nil }
            var value: [UInt8] = []
            while index < bytes.count {
                let byte = bytes[index]
                index += 1
                if byte == UInt8(ascii: "\"") { return String(decoding: value, as: UTF8.self) }
                if byte == UInt8(ascii: "\\"), index < bytes.count {
                    value.append(bytes[index])
                    index += 1
                } else {
                    value.append(byte)
                }
            }
            return nil
        }

        private static func isToken(_ c: UInt8) -> Bool {
            switch c {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: "!#$%&'*+-.^_`|~/:".utf8.contains(c)
            }
        }
    }
}
