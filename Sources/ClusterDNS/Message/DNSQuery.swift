/// A client's question, read from untrusted bytes.
package struct DNSQuery: Sendable, Equatable {
    package var id: UInt16
    package var flags: UInt16
    /// As asked: name in the client's spelling, type, class. Goes back unchanged.
    package var question: [UInt8]
    package var name: DNSName
    package var type: DNSType
    package var recordClass: UInt16
    package var edns: EDNS?

    package var wantsRecursion: Bool { flags & 0x100 != 0 }
    package var disablesChecking: Bool { flags & 0x10 != 0 }

    package enum Parsed: Sendable, Equatable {
        case query(DNSQuery)
        /// Answer with these bytes.
        case refusal([UInt8], DNSCode)
        /// No answer: not a query at all.
        case drop
    }

    /// Largest message that the client takes over UDP.
    package var datagramLimit: Int { min(max(512, Int(edns?.size ?? 512)), Int(EDNS.ownSize)) }

    /// Flags of the answer: response, recursion desired as asked, recursion available.
    package func answerFlags(_ code: DNSCode, authoritative: Bool) -> UInt16 {
        0x8080 | (flags & 0x0110) | (authoritative ? 0x0400 : 0) | UInt16(code.rawValue & 15)
    }

    package static func parse(_ bytes: UnsafeRawBufferPointer) -> Parsed {
        // An answer to an answer would make two servers talk for ever.
        guard bytes.count >= 12, bytes[2] & 0x80 == 0 else { return .drop }
        var reader = DNSReader(bytes)
        let id = UInt16(bytes[0]) << 8 | UInt16(bytes[1])
        let flags = UInt16(bytes[2]) << 8 | UInt16(bytes[3])
        func refuse(_ code: DNSCode, edns: EDNS? = nil) -> Parsed {
            var writer = DNSWriter(
                id: id, flags: 0x8000 | (flags & 0x7910) | UInt16(code.rawValue & 15), question: [], name: .root,
                limit: 512)
            return .refusal(writer.finish(edns: edns, extendedCode: code.rawValue >> 4), code)
        }
        // QUERY only; NOTIFY, UPDATE and the others have no meaning here.
        guard flags & 0x7800 == 0 else { return refuse(.notImplemented) }
        do throws(DNSFormatError) {
            reader.offset = 4
            let questions = try reader.short()
            let records = (try reader.short(), try reader.short(), try reader.short())
            guard questions == 1 else { return refuse(.formatError) }
            let name = try reader.name()
            let type = DNSType(try reader.short())
            let recordClass = try reader.short()
            var query = DNSQuery(
                id: id, flags: flags, question: Array(bytes[12..<reader.offset]), name: name, type: type,
                recordClass: recordClass)
            // A compressed question would point into the header: nobody sends one, and it could not be given back.
            guard query.question.count == name.wire.count + 4 else { return refuse(.formatError) }
            let total = Int(records.0) + Int(records.1) + Int(records.2)
            for index in 0..<total {
                let start = reader.offset
                try reader.skipName()
                let kind = DNSType(try reader.short())
                let size = try reader.short()
                let word = try reader.long()
                let length = Int(try reader.short())
                _ = try reader.take(length)
                guard kind == .opt else { continue }
                let isAdditional = index >= Int(records.0) + Int(records.1)
                // The root's name, and only one (RFC 6891, 6.1.1).
                guard isAdditional, bytes[start] == 0, query.edns == nil else { return refuse(.formatError) }
                query.edns = EDNS(size: size, version: UInt8(word >> 16 & 0xff), wantsDNSSEC: word & 0x8000 != 0)
            }
            if let edns = query.edns, edns.version != 0 { return refuse(.badVersion, edns: edns) }
            return .query(query)
        } catch {
            return refuse(.formatError)
        }
    }

    /// The question as we ask a server: our id, recursion wanted, our EDNS size.
    static func encode(id: UInt16, name: DNSName, type: DNSType, wantsDNSSEC: Bool, disablesChecking: Bool) -> [UInt8] {
        let question = name.wire + [UInt8(type.rawValue >> 8), UInt8(type.rawValue & 0xff), 0, 1]
        var writer = DNSWriter(
            id: id, flags: 0x0100 | (disablesChecking ? 0x10 : 0), question: question, name: name, limit: 1024)
        return writer.finish(edns: EDNS(size: EDNS.ownSize, wantsDNSSEC: wantsDNSSEC))
    }
}
