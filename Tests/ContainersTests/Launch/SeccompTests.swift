import Containers
import Linux
import Testing

@Suite struct SeccompTests {
    @Test func defaultProfileCompilesToAProgramTheKernelTakes() throws {
        let program = try SeccompCompiler.compile(.runtimeDefault(capabilities: .containerDefault))
        #expect(program.count % 8 == 0)
        #expect(program.count / 8 <= 4096)
        #expect(program.count / 8 > 300)
    }

    @Test func capabilitiesOpenSystemCalls() {
        let plain = SeccompProfile.runtimeDefault(capabilities: .containerDefault)
        let admin = SeccompProfile.runtimeDefault(capabilities: CapabilitySet(name: "SYS_ADMIN") ?? [])
        func allows(_ profile: SeccompProfile, _ name: String) -> Bool {
            profile.rules.contains { $0.action == .allow && $0.arguments.isEmpty && $0.names.contains(name) }
        }
        #expect(!allows(plain, "mount"))
        #expect(!allows(plain, "clone"))
        #expect(allows(plain, "chroot"))
        #expect(allows(admin, "mount"))
        #expect(allows(admin, "clone"))
        #expect(!allows(admin, "chroot"))
        #expect(allows(plain, "openat2"))
        #expect(!allows(plain, "io_uring_setup"))
    }

    @Test func localhostProfileIsRead() throws {
        let text = """
            {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [
              {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 30},
              {"names": ["personality"], "action": "SCMP_ACT_KILL_PROCESS",
               "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]}]}
            """
        let profile = try SeccompProfile.parse(Array(text.utf8), path: "p.json")
        #expect(profile.defaultAction == .allow)
        #expect(profile.rules.map(\.action) == [.errno(30), .killProcess])
        #expect(profile.rules[1].arguments == [.init(index: 0, comparison: .equal, value: 8)])
        #expect(try SeccompCompiler.compile(profile).count > 0)
    }

    @Test(arguments: [
        ("{}", "seccomp profile p.json: defaultAction: expected an action such as SCMP_ACT_ALLOW, got null"),
        (
            #"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["x"],"action":"NO"}]}"#,
            #"seccomp profile p.json: syscalls[0].action: expected an action such as SCMP_ACT_ALLOW, got "NO""#
        ),
        (
            #"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["x"],"action":"SCMP_ACT_LOG","args":[{"index":9}]}]}"#,
            "seccomp profile p.json: syscalls[0].args[0].index: expected a number from 0 to 5"
        ),
    ])
    func badProfileNamesTheField(_ text: String, _ message: String) {
        let error = #expect(throws: RuntimeError.self) { try SeccompProfile.parse(Array(text.utf8), path: "p.json") }
        #expect(error?.message == message)
    }
}
