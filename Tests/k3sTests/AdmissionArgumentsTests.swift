import ControlPlane
import Linux
import Testing

@testable import k3s

@Suite struct AdmissionArgumentsTests {
    private func file(_ text: String, _ body: (String) throws -> Void) throws {
        let path = "/tmp/k3s-admission-\(getpid())-\(UInt64.random(in: 0 ... .max)).yaml"
        try Files.writeAtomically(path, Array(text.utf8), mode: 0o600)
        defer { unlink(path) }
        try body(path)
    }

    private static func configuration(_ level: String) -> String {
        "{apiVersion: apiserver.config.k8s.io/v1, kind: AdmissionConfiguration, plugins: [{name: PodSecurity, configuration: "
            + "{apiVersion: pod-security.admission.config.k8s.io/v1, kind: PodSecurityConfiguration, defaults: {enforce: \(level)}}}]}"
    }

    @Test(arguments: ["", "--"]) func theFileOfTheLastFlagIsRead(_ dashes: String) throws {
        try file(Self.configuration("restricted")) { path in
            let flag = dashes + "admission-control-config-file="
            let found = try AdmissionArguments.podSecurity(["v=2", flag + "/none", flag + path])
            #expect(found != nil)
        }
        #expect(try AdmissionArguments.podSecurity(["v=2"]) == nil)
    }

    @Test func whatIsWrongStopsTheServer() throws {
        try file(Self.configuration("loose")) { path in
            do {
                _ = try AdmissionArguments.podSecurity(["admission-control-config-file=" + path])
                Issue.record("was taken")
            } catch let error as StartupError {
                #expect("\(error)".contains("\(path): defaults.enforce: \"loose\": must be one of"), "\(error)")
            }
        }
        #expect(throws: StartupError.self) {
            try AdmissionArguments.podSecurity(["admission-control-config-file=/nonexistent/file"])
        }
    }
}
