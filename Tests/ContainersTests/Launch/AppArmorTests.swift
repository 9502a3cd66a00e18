import Testing

@testable import Containers

@Suite struct AppArmorTests {
    private func profile(
        _ kind: ContainerSecurity.AppArmor?, enabled: Bool = true, loaded: Set<String> = [], privileged: Bool = false
    ) throws(RuntimeError) -> String? {
        var security = ContainerSecurity()
        (security.appArmor, security.privileged) = (kind, privileged)
        return try AppArmor.profile(security, enabled: enabled, loaded: loaded)
    }

    @Test func theDefaultIsAppliedWhereItIsLoaded() throws {
        let loaded: Set = [AppArmor.defaultProfile]
        for kind in [nil, ContainerSecurity.AppArmor.runtimeDefault] {
            #expect(try profile(kind, loaded: loaded) == "cri-containerd.apparmor.d")
            #expect(try profile(kind) == nil)
            #expect(try profile(kind, enabled: false, loaded: loaded) == nil)
            #expect(try profile(kind, loaded: loaded, privileged: true) == nil)
        }
        #expect(try profile(.unconfined, loaded: loaded) == "unconfined")
        #expect(try profile(.unconfined, enabled: false) == nil)
    }

    @Test func aProfileThatIsAskedForMustBeThere() throws {
        #expect(try profile(.localhost("mine"), loaded: ["mine"]) == "mine")
        let missing = #expect(throws: RuntimeError.self) { try profile(.localhost("mine"), loaded: ["other"]) }
        #expect(missing?.message.contains("mine") == true)
        let off = #expect(throws: RuntimeError.self) { try profile(.localhost("mine"), enabled: false) }
        #expect(off?.message.contains("AppArmor is not enabled on the host") == true)
    }
}
