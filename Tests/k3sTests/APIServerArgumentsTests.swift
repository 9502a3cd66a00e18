import Testing

@testable import k3s

@Suite struct APIServerArgumentsTests {
    @Test func thePastIsKeptForAsLongAsTheArgumentSays() throws {
        #expect(try APIServerArguments([]).compactionInterval() == .seconds(300))
        #expect(try APIServerArguments(["etcd-compaction-interval=2m"]).compactionInterval() == .seconds(120))
        #expect(try APIServerArguments(["--etcd-compaction-interval=0"]).compactionInterval() == nil)
        for bad in ["soon", "-5s", ""] {
            #expect(throws: UsageError.self) {
                try APIServerArguments(["etcd-compaction-interval=" + bad]).compactionInterval()
            }
        }
    }

    @Test func whatHasNoEffectIsNamed() {
        let arguments = APIServerArguments([
            "admission-control-config-file=/x", "--feature-gates=A=true", "anonymous-auth",
        ])
        #expect(arguments.idle == ["feature-gates"])
    }
}
