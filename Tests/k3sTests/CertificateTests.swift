import Codecs
import KubeAPI
import Linux
import Logging
import Testing
import Transport

@testable import k3s

@Suite struct CertificateTests {
    /// The data directory of a server whose certificates were made at `now`.
    final class Server {
        let directory = "/tmp/k3s-certificates-\(UInt64.random(in: 0...UInt64.max))"
        let now = Timestamp("2026-01-01T00:00:00Z") ?? Timestamp(seconds: 0)
        var files: ServiceCertificates { ServiceCertificates(dataDirectory: directory) }

        init() throws {
            try Directories.make(directory + "/agent", mode: 0o700)
            try prepare(now)
        }
        deinit { try? Directories.removeTree(directory) }

        func prepare(_ now: Timestamp) throws {
            try Directories.make(directory + "/server", mode: 0o700)
            var parameters = ClusterPKIParameters(nodeName: "n1")
            parameters.now = now.seconds
            _ = try ClusterPKI.prepare(directory: directory + "/server/tls", parameters: parameters)
        }

        func reports(_ after: Int64, _ services: [String]? = nil) throws -> [CertificateReport] {
            try CertificateReport.read(
                files, services: services ?? files.services, now: now.advanced(by: .seconds(after * 86_400)))
        }

        func rotate(_ arguments: String...) throws {
            let values = try FlagParser(flags: CertificateCommand.commonFlags).parse(
                arguments, environment: { _ in nil })
            let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            try CertificateCommand(values: values, files: files, logger: logger).rotate(now: now)
        }

        func bytes(_ name: String) -> [UInt8]? { try? Files.readIfPresent(directory + "/" + name) }
    }

    @Test func aServersCertificatesAreFoundByService() throws {
        let server = try Server()
        let reports = try server.reports(0)
        #expect(reports.allSatisfy { $0.status == .good })
        let admin = try #require(reports.first { $0.file == "client-admin.crt" })
        #expect(admin.service == "admin" && admin.name == "CN=system:admin,O=system:masters")
        #expect(admin.usages == ["ClientAuth"])
        // A file holds the certificate and its authority's.
        #expect(reports.filter { $0.file == "client-admin.crt" }.map(\.usages) == [["ClientAuth"], ["CertSign"]])
        #expect(
            try server.reports(0, ["etcd"]).first { $0.file == "peer-server-client.crt" }?.usages
                == ["ServerAuth", "ClientAuth"])
        #expect(try server.reports(0, [ServiceCertificates.authorities]).count == 5)
        #expect(throws: UsageError.self) { try server.reports(0, ["nothing"]) }
    }

    @Test(arguments: [(-1, "NOT YET VALID"), (1, "OK"), (244, "OK"), (246, "WARNING"), (366, "EXPIRED")])
    func statusFollowsTheTime(_ day: Int64, _ status: String) throws {
        let report = try #require(try Server().reports(day, ["admin"]).first)
        #expect(report.status.rawValue == status)
        #expect((report.problem("x", days: 120) == nil) == (status == "OK"))
    }

    @Test func formsAreTheOriginals() throws {
        let report = try #require(try Server().reports(0, ["admin"]).first)
        #expect(report.json()["ExpiryTime"] == "2027-01-01T00:00:00Z")
        #expect(report.json()["ResidualTime"] == .int(365 * 86_400 * 1_000_000_000))
        #expect(report.yaml()["residualtime"] == "8760h0m0s")
        let lines = CertificateReport.table([report]).split(separator: "\n")
        #expect(
            lines[0] == "FILENAME           SUBJECT        USAGES       EXPIRES                  RESIDUAL TIME   STATUS"
        )
        #expect(
            lines[1] == "--------           -------        ------       -------                  -------------   ------"
        )
        #expect(
            lines[2]
                == "client-admin.crt   system:admin   ClientAuth   Jan 01, 2027 00:00 UTC   1 year          OK")
        let metrics = CertificateReport.metrics([report, report]).split(separator: "\n")
        #expect(metrics.count == 3)
        #expect(
            metrics[2]
                == "k3s_certificate_expiration_seconds{subject=\"CN=system:admin,O=system:masters\",usages=\"ClientAuth\"} 31536000"
        )
    }

    private static let day: Int64 = 86_400
    private static let spans: [(Int64, String)] = [
        (0, "now"), (59, "59 seconds"), (61, "1 minute"), (7200, "2 hours"), (3 * day, "3 days"), (8 * day, "1 week"),
        (15 * day, "2 weeks"), (45 * day, "1 month"), (119 * day, "3 months"), (365 * day, "1 year"),
        (3650 * day, "10 years"), (-day, "1 day"), (20_000 * day, "a long while"),
    ]

    @Test(arguments: spans) func spansAreSaidAsPeopleDo(_ seconds: Int64, _ text: String) {
        #expect(CertificateReport.relative(seconds) == text)
    }

    @Test func rotatingPutsAsideAndDeletesWhatTheNextStartMakes() throws {
        let server = try Server()
        try Files.write(server.directory + "/agent/client-kubelet.crt", [1])
        let (admin, ca) = (server.bytes("server/tls/client-admin.crt"), server.bytes("server/tls/server-ca.crt"))
        try server.rotate()
        let backup = "server/tls-\(server.now.seconds)"
        #expect(server.bytes("server/tls/client-admin.crt") == nil)
        #expect(server.bytes("server/tls/kube-scheduler/kube-scheduler.key") == nil)
        #expect(server.bytes("agent/client-kubelet.crt") == nil)
        #expect(server.bytes("server/tls/server-ca.crt") == ca)
        #expect(server.bytes(backup + "/client-admin.crt") == admin)
        #expect(server.bytes(backup + "/etcd/client.key") != nil)
        #expect(server.bytes(backup + "/client-kubelet.crt") == [1])
        #expect(try Files.status(server.directory + "/" + backup + "/client-admin.key").st_mode & 0o777 == 0o600)
        #expect(server.bytes("server/tls/dynamic-cert-regenerate") != nil)
        try server.prepare(server.now.advanced(by: .seconds(86_400)))
        #expect(server.bytes("server/tls/client-admin.crt") != admin)
    }

    @Test func onlyTheNamedServicesAreRotated() throws {
        let server = try Server()
        let admin = server.bytes("server/tls/client-admin.crt")
        try server.rotate("--service", "scheduler,supervisor", "-s", "etcd")
        #expect(server.bytes("server/tls/client-admin.crt") == admin)
        for gone in ["client-scheduler", "client-supervisor", "etcd/peer-server-client"] {
            #expect(server.bytes("server/tls/\(gone).crt") == nil, "\(gone)")
        }
        #expect(server.bytes("server/tls/dynamic-cert-regenerate") == nil)
        #expect(throws: UsageError.self) { try server.rotate("--service", "certificate-authority") }
    }

    @Test func anAgentHasItsOwn() throws {
        let directory = "/tmp/k3s-certificates-\(UInt64.random(in: 0...UInt64.max))"
        defer { try? Directories.removeTree(directory) }
        let files = ServiceCertificates(dataDirectory: directory)
        #expect(files.services == ["kube-proxy", "kubelet", "k3s-controller"])
    }
}
