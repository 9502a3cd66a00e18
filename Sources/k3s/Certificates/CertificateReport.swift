import Codecs
import Linux
import Transport

/// A certificate as `k3s certificate check` and the monitor see it.
struct CertificateReport: Sendable {
    enum Status: String, Sendable {
        case good = "OK"
        case warning = "WARNING"
        case expired = "EXPIRED"
        case early = "NOT YET VALID"
    }

    var service: String
    var file: String
    var subject: DistinguishedName
    var issuer: String
    var usages: [String]
    var notBefore: Timestamp
    var notAfter: Timestamp
    var status: Status
    /// Nanoseconds until it runs out.
    var residual: Int64

    /// - Parameter days: fewer left are a warning.
    init(_ certificate: Certificate, service: String, file: String, now: Timestamp, days: Int64) {
        (self.service, self.file) = (service, file)
        subject = certificate.subject
        issuer = certificate.issuer.commonName
        usages = certificate.isCA ? ["CertSign"] : []
        let extended = certificate.extendedKeyUsages
        if extended.contains(.serverAuth) { usages.append("ServerAuth") }
        if extended.contains(.clientAuth) { usages.append("ClientAuth") }
        let range = Int64(-9_000_000_000)...9_000_000_000
        func time(_ seconds: Int64) -> Timestamp {
            Timestamp(seconds: min(max(seconds, range.lowerBound), range.upperBound))
        }
        (notBefore, notAfter) = (time(certificate.notBefore), time(certificate.notAfter))
        residual = notAfter.nanoseconds - now.nanoseconds
        if now < notBefore {
            status = .early
        } else if residual < 0 {
            status = .expired
        } else {
            status = residual < days * 86_400_000_000_000 ? .warning : .good
        }
    }

    /// Of the files that are there; the certificates that follow the first one in a file are those of authorities.
    static func read(
        _ files: ServiceCertificates, services: [String], now: Timestamp, days: Int64 = ClusterPKI.renewalDays
    ) throws -> [CertificateReport] {
        var found: [CertificateReport] = []
        for service in services {
            for path in try files.files(service) {
                guard let chain = try? Certificate.load(path + ".crt") else { continue }
                found += chain.map {
                    CertificateReport($0, service: service, file: Path.last(path) + ".crt", now: now, days: days)
                }
            }
        }
        return found
    }

    /// "CN=system:admin,O=system:masters", as Go writes a name.
    var name: String {
        let organizations = subject.organizations.map { "O=" + $0 }.joined(separator: "+")
        return "CN=\(subject.commonName)" + (organizations.isEmpty ? "" : "," + organizations)
    }

    /// What is wrong with it, in k3s's words; nil: nothing.
    func problem(_ who: String, days: Int64) -> String? {
        switch status {
        case .good: nil
        case .early: "\(who) is not valid before \(notBefore.rfc3339)"
        case .expired: "\(who) expired at \(notAfter.rfc3339)"
        case .warning: "\(who) will expire within \(days) days at \(notAfter.rfc3339)"
        }
    }

    // MARK: - Forms

    /// As `check` prints it: when it begins to be good, where that is to come.
    private var shownTime: Timestamp { status == .early ? notBefore : notAfter }

    func json() -> JSON {
        [
            "Filename": .string(file), "Subject": .string(subject.commonName), "Issuer": .string(issuer),
            "Usages": .strings(usages), "ExpiryTime": .string(shownTime.rfc3339), "ResidualTime": .int(residual),
            "Status": .string(status.rawValue),
        ]
    }

    func yaml() -> JSON {
        [
            "filename": .string(file), "subject": .string(subject.commonName), "issuer": .string(issuer),
            "usages": .strings(usages), "expirytime": .string(shownTime.rfc3339),
            "residualtime": .string(GoDuration.text(seconds: residual / 1_000_000_000)),
            "status": .string(status.rawValue),
        ]
    }

    static func table(_ reports: [CertificateReport]) -> String {
        let head = ["FILENAME", "SUBJECT", "USAGES", "EXPIRES", "RESIDUAL TIME", "STATUS"]
        let rows =
            [head, head.map { String(repeating: "-", count: $0.count) }]
            + reports.map { report in
                [
                    report.file, report.subject.commonName, report.usages.joined(separator: ","),
                    report.date, Self.relative(report.residual / 1_000_000_000), report.status.rawValue,
                ]
            }
        let widths = (0..<5).map { column in (rows.map { $0[column].count }.max() ?? 0) + 3 }
        return rows.map { row in zip(row, widths).map { $0.padding(to: $1) }.joined() + row[5] }
            .joined(separator: "\n")
    }

    /// "Jan 02, 2027 15:04 UTC"
    private var date: String {
        let parts = shownTime.rfc3339.split { "-T:".contains($0) }
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        guard parts.count >= 5, let month = Int(parts[1]), months.indices.contains(month - 1) else { return "" }
        return "\(months[month - 1]) \(parts[2]), \(parts[0]) \(parts[3]):\(parts[4]) UTC"
    }

    /// "11 months", "1 year": as people say it. Months have 30 days and years twelve of those.
    static func relative(_ seconds: Int64) -> String {
        let size = abs(seconds)
        let (minute, hour, day) = (Int64(60), Int64(3600), Int64(86_400))
        let (week, month, year) = (7 * day, 30 * day, 360 * day)
        switch size {
        case ..<1: return "now"
        case ..<2: return "1 second"
        case ..<minute: return "\(size) seconds"
        case ..<(2 * minute): return "1 minute"
        case ..<hour: return "\(size / minute) minutes"
        case ..<(2 * hour): return "1 hour"
        case ..<day: return "\(size / hour) hours"
        case ..<(2 * day): return "1 day"
        case ..<week: return "\(size / day) days"
        case ..<(2 * week): return "1 week"
        case ..<month: return "\(size / week) weeks"
        case ..<(2 * month): return "1 month"
        case ..<year: return "\(size / month) months"
        case ..<(18 * month): return "1 year"
        case ..<(2 * year): return "2 years"
        case ..<(37 * year): return "\(size / year) years"
        default: return "a long while"
        }
    }

    /// Prometheus's text format.
    static func metrics(_ reports: [CertificateReport]) -> String {
        let name = "k3s_certificate_expiration_seconds"
        var lines = [
            "# HELP \(name) Remaining lifetime in seconds of the certificate, labeled by certificate subject and usages.",
            "# TYPE \(name) gauge",
        ]
        var seen: Set<String> = []
        for report in reports {
            let labels = "{subject=\"\(report.name)\",usages=\"\(report.usages.joined(separator: ","))\"}"
            if seen.insert(labels).inserted { lines.append("\(name)\(labels) \(report.residual / 1_000_000_000)") }
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
