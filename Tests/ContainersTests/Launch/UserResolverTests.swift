import Containers
import Testing

@Suite struct UserResolverTests {
    private let resolver = UserResolver(
        passwd: """
            root:x:0:0:root:/root:/bin/sh
            app:x:1000:1001:App:/home/app:/bin/sh
            broken line
            """,
        group: """
            root:x:0:root
            wheel:x:10:root,app
            app:x:1001:
            video:x:27:app
            """)

    private func resolve(_ image: String, _ change: (inout ContainerSecurity) -> Void = { _ in }) throws -> ResolvedUser
    {
        var security = ContainerSecurity()
        change(&security)
        return try resolver.resolve(image: image, security: security)
    }

    @Test func rootIsTheDefaultWithItsGroups() throws {
        #expect(try resolve("") == ResolvedUser(uid: 0, gid: 0, groups: [0, 10], home: "/root"))
    }

    @Test func nameOfTheImageIsLookedUp() throws {
        #expect(try resolve("app") == ResolvedUser(uid: 1000, gid: 1001, groups: [1001, 10, 27], home: "/home/app"))
        #expect(try resolve("app:video") == ResolvedUser(uid: 1000, gid: 27, groups: [27, 10], home: "/home/app"))
        #expect(try resolve("1000:5") == ResolvedUser(uid: 1000, gid: 5, groups: [5, 10, 27], home: "/home/app"))
    }

    @Test func numberWithoutEntryHasGroupZero() throws {
        #expect(try resolve("4711") == ResolvedUser(uid: 4711, gid: 0, groups: [0], home: "/"))
    }

    @Test func podReplacesTheImagesUser() throws {
        let user = try resolve("app:video") {
            $0.runAsUser = 0
            $0.runAsGroup = 7
            $0.supplementalGroups = [2000, 10]
        }
        #expect(user == ResolvedUser(uid: 0, gid: 7, groups: [7, 0, 10, 2000], home: "/root"))
    }

    @Test func strictPolicyIgnoresTheImagesGroups() throws {
        let user = try resolve("app") {
            $0.strictSupplementalGroups = true
            $0.supplementalGroups = [5]
        }
        #expect(user.groups == [1001, 5])
    }

    @Test func unknownNamesAreErrors() {
        let user = #expect(throws: RuntimeError.self) { try resolve("nobody") }
        #expect(user?.message == "unable to find user nobody: no matching entries in passwd file")
        let group = #expect(throws: RuntimeError.self) { try resolve("app:nogroup") }
        #expect(group?.message == "unable to find group nogroup: no matching entries in group file")
        #expect(throws: RuntimeError.self) { try resolve("99999999999") }
    }
}
