/// How a call ended: a code and a sentence for people. Source: grpc's doc/statuscodes.md.
package struct GRPCStatus: Error, Sendable, Equatable, CustomStringConvertible {
    /// A number, for a peer may know more of them than we do.
    package struct Code: RawRepresentable, Sendable, Equatable {
        package var rawValue: Int
        package init(rawValue: Int) { self.rawValue = rawValue }

        package static let ok = Code(rawValue: 0)
        package static let cancelled = Code(rawValue: 1)
        package static let unknown = Code(rawValue: 2)
        package static let invalidArgument = Code(rawValue: 3)
        package static let deadlineExceeded = Code(rawValue: 4)
        package static let notFound = Code(rawValue: 5)
        package static let alreadyExists = Code(rawValue: 6)
        package static let permissionDenied = Code(rawValue: 7)
        package static let resourceExhausted = Code(rawValue: 8)
        package static let failedPrecondition = Code(rawValue: 9)
        package static let aborted = Code(rawValue: 10)
        package static let outOfRange = Code(rawValue: 11)
        package static let unimplemented = Code(rawValue: 12)
        package static let `internal` = Code(rawValue: 13)
        package static let unavailable = Code(rawValue: 14)
        package static let dataLoss = Code(rawValue: 15)
        package static let unauthenticated = Code(rawValue: 16)

        private static let names = [
            "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists",
            "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented",
            "Internal", "Unavailable", "DataLoss", "Unauthenticated",
        ]

        /// As grpc-go prints it.
        package var name: String {
            Self.names.indices.contains(rawValue) ? Self.names[rawValue] : "Code(\(rawValue))"
        }
    }

    package var code: Code
    package var message: String

    package init(_ code: Code, _ message: String) { (self.code, self.message) = (code, message) }

    package static let ok = GRPCStatus(.ok, "")

    package var description: String { "rpc error: code = \(code.name) desc = \(message)" }

    var trailers: [GRPCHeader] {
        var list = [GRPCHeader("grpc-status", "\(code.rawValue)")]
        if !message.isEmpty { list.append(GRPCHeader("grpc-message", Self.percentEncoded(message))) }
        return list
    }

    /// From the trailers of a call, or its only headers; nil where they have none.
    init?(_ headers: [GRPCHeader]) {
        guard let text = headers.value("grpc-status") else { return nil }
        let code = Code(rawValue: Int(text) ?? Code.unknown.rawValue)
        self.init(code, Self.percentDecoded(headers.value("grpc-message") ?? ""))
    }

    /// Everything but printable ASCII, and the percent sign (PROTOCOL-HTTP2, "Status-Message").
    static func percentEncoded(_ text: String) -> String {
        var bytes: [UInt8] = []
        let digits = Array("0123456789ABCDEF".utf8)
        // A header that is too long would end the connection with the message unseen.
        for byte in text.utf8.prefix(8192) {
            if byte >= 0x20, byte <= 0x7E, byte != UInt8(ascii: "%") {
                bytes.append(byte)
            } else {
                bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    static func percentDecoded(_ text: String) -> String {
        let bytes = Array(text.utf8)
        var decoded: [UInt8] = []
        var at = 0
        while at < bytes.count {
            if bytes[at] == UInt8(ascii: "%"), at + 2 < bytes.count,
                let value = UInt8(String(decoding: bytes[at + 1...at + 2], as: UTF8.self), radix: 16)
            {
                decoded.append(value)
                at += 3
            } else {
                decoded.append(bytes[at])
                at += 1
            }
        }
        return String(decoding: decoded, as: UTF8.self)
    }
}

/// A header field of HTTP/2; names are in lower case.
package struct GRPCHeader: Sendable, Equatable {
    package var name: String
    package var value: String
    package init(_ name: String, _ value: String) { (self.name, self.value) = (name, value) }
}

extension [GRPCHeader] {
    package func value(_ name: String) -> String? { first { $0.name == name }?.value }
}

/// The form of `grpc-timeout`: at most eight digits and a unit (PROTOCOL-HTTP2).
enum GRPCTimeout {
    private static let units: [(letter: Character, nanoseconds: Int64)] = [
        ("n", 1), ("u", 1000), ("m", 1_000_000), ("S", 1_000_000_000), ("M", 60_000_000_000),
        ("H", 3_600_000_000_000),
    ]

    static func parse(_ text: String) -> Duration? {
        guard let letter = text.last, let unit = units.first(where: { $0.letter == letter }), text.utf8.count <= 9,
            let count = Int64(text.dropLast()), count >= 0
        else { return nil }
        let (nanoseconds, overflow) = count.multipliedReportingOverflow(by: unit.nanoseconds)
        return .nanoseconds(overflow ? .max : nanoseconds)
    }

    static func text(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        // A century is as good as never, and keeps the arithmetic small.
        if seconds >= 99_999_999 { return "99999999S" }
        var value = max(0, seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
        for unit in units {
            let count = (value + unit.nanoseconds - 1) / unit.nanoseconds
            if count <= 99_999_999 { return "\(count)\(unit.letter)" }
        }
        value = 99_999_999
        return "\(value)H"
    }
}
