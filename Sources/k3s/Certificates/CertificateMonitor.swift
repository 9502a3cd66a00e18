import Codecs
import KubeAPI
import Linux
import Transport

/// Tells by events of the node when certificates run out: every half hour while there is something to tell, once after the
/// start when there is not. Source: k3s pkg/certmonitor.
struct CertificateMonitor: Sendable {
    /// Days: authorities have to be planned for.
    private static let authorityDays: Int64 = 365
    private static let interval: Duration = .seconds(1800)

    private let files: ServiceCertificates
    private let events: EventRecorder
    private let clock: any KubeClock
    private let node: String

    init(client: any KubeClient, clock: any KubeClock, node: String, dataDirectory: String) {
        files = ServiceCertificates(dataDirectory: dataDirectory)
        events = EventRecorder(client: client, clock: clock, component: "k3s-cert-monitor", host: node)
        (self.clock, self.node) = (clock, node)
    }

    /// Until the task is cancelled.
    func run() async {
        var isFirst = true
        while !Task.isCancelled {
            await check(isFirst: isFirst)
            isFirst = false
            await clock.sleep(for: Self.interval)
        }
    }

    func check(isFirst: Bool) async {
        let own = problems(files.services, days: ClusterPKI.renewalDays)
        let authorities =
            files.isServer ? problems([ServiceCertificates.authorities], days: Self.authorityDays) : []
        if !own.isEmpty {
            await tell(
                "CertificateExpirationWarning",
                "Node certificates require attention - restart k3s on this node to trigger automatic rotation: "
                    + own.joined(separator: "\n"))
        }
        if !authorities.isEmpty {
            await tell(
                "CACertificateExpirationWarning",
                "Certificate Authority certificates require attention - check k3s documentation and begin planning "
                    + "rotation: " + authorities.joined(separator: "\n"))
        }
        if isFirst, own.isEmpty, authorities.isEmpty {
            await tell(
                "CertificateExpirationOK", "Node and Certificate Authority certificates managed by k3s are OK",
                type: .normal)
        }
    }

    private func problems(_ services: [String], days: Int64) -> [String] {
        let reports = (try? CertificateReport.read(files, services: services, now: clock.now(), days: days)) ?? []
        var seen: Set<String> = []
        return reports.filter { seen.insert($0.service + $0.file + $0.name).inserted }.compactMap { report in
            // A leaf's issuers, which follow it in its file, are told as authorities.
            if report.usages == ["CertSign"], report.service != ServiceCertificates.authorities { return nil }
            return report.problem("\(report.service)/\(report.file): certificate \(report.name)", days: days)
        }
    }

    /// Events are of 1,024 bytes at most.
    private func tell(_ reason: String, _ message: String, type: EventType = .warning) async {
        let short = message.utf8.count > 1000 ? String(message.prefix(990)) + "..." : message
        await events.event(.node(node), type: type, reason: reason, short)
    }
}
