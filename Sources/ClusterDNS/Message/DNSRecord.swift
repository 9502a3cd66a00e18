import Netlink

/// TYPE values (RFC 1035, 3596, 2782, 6891 and IANA's list). A number, since any type is forwarded.
package struct DNSType: Hashable, Sendable, CustomStringConvertible {
    package let rawValue: UInt16
    package init(_ rawValue: UInt16) { self.rawValue = rawValue }

    package static let a = DNSType(1), ns = DNSType(2), cname = DNSType(5), soa = DNSType(6), ptr = DNSType(12)
    package static let hinfo = DNSType(13), mx = DNSType(15), txt = DNSType(16), aaaa = DNSType(28), srv = DNSType(33)
    package static let dname = DNSType(39), opt = DNSType(41), ixfr = DNSType(251), axfr = DNSType(252)
    package static let any = DNSType(255)

    package var description: String {
        switch self {
        case .a: "A"
        case .ns: "NS"
        case .cname: "CNAME"
        case .soa: "SOA"
        case .ptr: "PTR"
        case .mx: "MX"
        case .txt: "TXT"
        case .aaaa: "AAAA"
        case .srv: "SRV"
        case .any: "ANY"
        case DNSType(43): "DS"
        case DNSType(48): "DNSKEY"
        case DNSType(64): "SVCB"
        case DNSType(65): "HTTPS"
        default: "other"
        }
    }
}

/// RCODE values.
package enum DNSCode: UInt8, Sendable {
    case noError = 0, formatError, serverFailure, nameError, notImplemented, refused
    /// Extended (RFC 6891): 16, its high bits go into the OPT record.
    case badVersion = 16

    package var text: String {
        switch self {
        case .noError: "NOERROR"
        case .formatError: "FORMERR"
        case .serverFailure: "SERVFAIL"
        case .nameError: "NXDOMAIN"
        case .notImplemented: "NOTIMP"
        case .refused: "REFUSED"
        case .badVersion: "BADVERS"
        }
    }
}

/// A resource record of class IN.
package struct DNSRecord: Sendable, Equatable {
    package enum Data: Sendable, Equatable {
        case address(IPAddress)
        /// CNAME, NS, PTR, DNAME by the record's type.
        case name(DNSName)
        case service(priority: UInt16, weight: UInt16, port: UInt16, target: DNSName)
        case mail(preference: UInt16, DNSName)
        case authority(primary: DNSName, mailbox: DNSName, numbers: [UInt32])
        case text(String)
        case raw([UInt8])
    }
    package var name: DNSName
    package var type: DNSType
    package var ttl: UInt32
    package var data: Data

    package init(_ name: DNSName, _ type: DNSType, ttl: UInt32, _ data: Data) {
        (self.name, self.type, self.ttl, self.data) = (name, type, ttl, data)
    }

    package static func address(_ name: DNSName, ttl: UInt32, _ address: IPAddress) -> DNSRecord {
        DNSRecord(name, address.isIPv4 ? .a : .aaaa, ttl: ttl, .address(address))
    }
}
